//! The chain's randomness: tickets that a reorganisation changes, and a beacon that only the epoch decides.
//!
//! The formulas are the network's (lotus-full-node-api 4); the bytes drawn from are hashes of the chain's seed
//! instead of signatures.

use super::address::blake2b;
use crate::units::Hash32;
use serde::{Deserialize, Serialize};

/// Domain of a PoRep ticket.
pub const SEAL_RANDOMNESS: i64 = 5;
/// Domain of a PoRep seed.
pub const INTERACTIVE_SEAL: i64 = 6;

/// From one height on: which branch the chain is on, and what the clock said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Branch {
    /// First height.
    pub from: i64,
    /// Different for every branch this chain ever took.
    pub salt: u64,
    /// Milliseconds since 1970 of the first height.
    pub at_ms: i64,
}

/// Seed and branches: enough to recompute every ticket, beacon entry and block id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Randomness {
    seed: Hash32,
    branches: Vec<Branch>,
    next_salt: u64,
}

impl Randomness {
    /// A chain with this seed whose genesis is at this time.
    pub fn new(seed: Hash32, at_ms: i64) -> Self {
        Self { seed, branches: vec![Branch { from: 0, salt: 0, at_ms }], next_salt: 1 }
    }

    /// The seed.
    pub const fn seed(&self) -> &Hash32 {
        &self.seed
    }

    /// From `from` on the chain takes a branch it never took before.
    pub fn fork(&mut self, from: i64, at_ms: i64) {
        self.branches.retain(|branch| branch.from < from);
        self.branches.push(Branch { from, salt: self.next_salt, at_ms });
        self.next_salt = self.next_salt.saturating_add(1);
    }

    /// The branch at a height; before genesis it is that of genesis.
    pub fn branch(&self, height: i64) -> Branch {
        let at = self.branches.iter().rev().find(|branch| branch.from <= height).or_else(|| self.branches.first());
        at.copied().unwrap_or(Branch { from: 0, salt: 0, at_ms: 0 })
    }

    /// The 96 ticket bytes of the tipset at a height.
    pub fn ticket(&self, height: i64) -> Vec<u8> {
        let height = height.max(0);
        let salt = self.branch(height).salt.to_be_bytes();
        blake2b(&[b"ticket", &self.seed.0, &salt, &height.to_be_bytes()]).0.repeat(3)
    }

    /// The 96 beacon bytes of an epoch, the same on every branch.
    pub fn beacon(&self, epoch: i64) -> Vec<u8> {
        blake2b(&[b"beacon", &self.seed.0, &epoch.max(0).to_be_bytes()]).0.repeat(3)
    }

    /// Ticket randomness; epochs before genesis draw from genesis.
    pub fn from_tickets(&self, domain: i64, epoch: i64, entropy: &[u8]) -> Hash32 {
        draw(&self.ticket(epoch), domain, epoch, entropy)
    }

    /// Beacon randomness.
    pub fn from_beacon(&self, domain: i64, epoch: i64, entropy: &[u8]) -> Hash32 {
        draw(&self.beacon(epoch), domain, epoch, entropy)
    }
}

fn draw(base: &[u8], domain: i64, epoch: i64, entropy: &[u8]) -> Hash32 {
    blake2b(&[&domain.to_be_bytes(), &blake2b(&[base]).0, &epoch.to_be_bytes(), entropy])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::{MinerId, to_hex};

    #[test]
    fn draws_match_the_networks_vectors() {
        let entropy = MinerId::new(1000).to_entropy();
        let ticket = draw(&[0; 96], SEAL_RANDOMNESS, -850, &entropy);
        assert_eq!(to_hex(&ticket.0), "54169195feb52d4b40fbabf2bc18eacb771040ddd5adbc334c5153f9e26f1edb");
        let commit = draw(&[0; 96], 9, 1234, &[]);
        assert_eq!(to_hex(&commit.0), "e5ec4e2dcfeb36d3cba7765aee2e64c96fd5ce788d16773db79ce5271c1f27af");
    }

    #[test]
    fn a_fork_changes_tickets_after_it_and_no_beacon() {
        let mut random = Randomness::new(Hash32([1; 32]), 0);
        let before = (random.ticket(4), random.ticket(5), random.beacon(5));
        random.fork(5, 0);
        assert_eq!(random.ticket(4), before.0);
        assert_ne!(random.ticket(5), before.1);
        assert_eq!(random.beacon(5), before.2);
        let salt = random.branch(9).salt;
        random.fork(3, 0);
        assert_ne!(random.branch(9).salt, salt, "a salt is never used twice");
        assert_eq!(random.ticket(-900), random.ticket(0));
    }
}
