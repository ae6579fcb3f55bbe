//! The labels of a layer by the published construction of stacked DRGs, one node at a time: enough to spot-check a
//! layer that somebody else computed, far too slow to compute one.
//!
//! Pure but for the graph, which the proofs library draws.

use super::{stages::Replica, zero_comm_d};
use crate::units::Hash32;
use multihash_codetable::{Code, MultihashDigest};

/// Parents that go into a label; they are repeated until there are as many.
#[cfg(feature = "proofs")]
const HASHED: usize = 37;

/// What binds every label to miner, number, ticket, data and proof type.
pub fn replica_id(replica: &Replica<'_>) -> Hash32 {
    let Replica { miner, number, proof, ticket, .. } = replica;
    // identity of the proof type as little-endian number, a nonce of zero, no features
    let mut porep_id = [0; 32];
    porep_id.iter_mut().zip(proof.as_i64().to_le_bytes()).for_each(|(to, from)| *to = from);
    let comm_d = zero_comm_d(proof.sector_size());
    let number = number.as_u64().to_be_bytes();
    element(&[&miner.to_prover_id()[..], &number[..], &ticket.0[..], &comm_d.0[..], &porep_id[..]].concat())
}

/// The label of a node whose parents have these labels; the first node of a layer has none.
#[cfg(feature = "proofs")]
pub fn label(replica_id: &Hash32, layer: u32, node: u64, parents: &[[u8; 32]]) -> Hash32 {
    let mut text = replica_id.0.to_vec();
    text.extend(layer.to_be_bytes());
    text.extend(node.to_be_bytes());
    text.extend([0; 20]);
    parents.iter().cycle().take(HASHED).for_each(|parent| text.extend(parent));
    element(&text)
}

/// SHA-256 cut to 254 bits.
fn element(text: &[u8]) -> Hash32 {
    let mut element = [0; 32];
    element.copy_from_slice(Code::Sha2_256.digest(text).digest());
    if let Some(top) = element.last_mut() {
        *top &= 0x3f;
    }
    Hash32(element)
}
