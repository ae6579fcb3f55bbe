//! What messages cost in gas: a price list of the order of the network's, so that batches have the limits and the
//! advantages that they have there.
//!
//! The prices of aggregates are the network's own. Those of a sector's share of a message were set so that a batch of
//! 290 single proofs fills a block, an aggregate of 5 is cheaper than 5 proofs, and the largest aggregate fits.

use super::ledger::Message;
use crate::chain::params::{PreCommitSectorBatchParams2, ProveCommitSectors3Params, TerminateSectorsParams, method};
use serde::de::DeserializeOwned;

/// Gas of one block, and so of one message. Source: lotus-full-node-api 3.0.
pub const BLOCK_GAS_LIMIT: u64 = 10_000_000_000;

const TRANSFER: u64 = 500_000;
const CREATE_MINER: u64 = 30_000_000;
const OTHER: u64 = 10_000_000;
/// Of a batch, whatever is in it.
const BATCH: u64 = 20_000_000;
/// Of a byte of parameters. Source: the network's price of storage.
const BYTE: u64 = 1300;
const PRE_COMMIT: u64 = 14_000_000;
const ACTIVATION: u64 = 8_000_000;
const TERMINATION: u64 = 4_000_000;
/// Of verifying one proof among those of a batch.
const PROOF: u64 = 26_000_000;
/// Of verifying an aggregate, from so many proofs on, and of each proof in it. Source: the network's price list.
const AGGREGATE: [(u64, u64); 8] = [
    (4, 103_994_170),
    (7, 112_356_810),
    (13, 122_912_610),
    (26, 137_559_930),
    (52, 162_039_100),
    (103, 210_960_780),
    (205, 318_351_180),
    (410, 528_274_980),
];
const AGGREGATED_PROOF: u64 = 449_900;

/// Gas that executing the message takes: decided by its parameters, so that an estimate is exact.
pub fn used_by(message: &Message) -> u64 {
    let work = match message.method {
        0 => TRANSFER,
        method::CREATE_MINER => CREATE_MINER,
        method::PRE_COMMIT_SECTOR_BATCH2 => {
            let sectors = of(message, |params: PreCommitSectorBatchParams2| count(params.sectors.len()));
            BATCH.saturating_add(PRE_COMMIT.saturating_mul(sectors))
        }
        method::PROVE_COMMIT_SECTORS3 => {
            let sectors = of(message, |params: ProveCommitSectors3Params| count(params.sector_activations.len()));
            let proofs = of(message, |params: ProveCommitSectors3Params| count(params.sector_proofs.len()));
            let proving = if proofs == 0 { aggregate(sectors) } else { PROOF.saturating_mul(proofs) };
            BATCH.saturating_add(ACTIVATION.saturating_mul(sectors)).saturating_add(proving)
        }
        method::TERMINATE_SECTORS => {
            // a few bytes of run lengths can name 2^64 sectors, and there can be several declarations
            let sectors = of(message, |params: TerminateSectorsParams| {
                params.terminations.iter().fold(0u64, |sum, t| sum.saturating_add(t.sectors.len()))
            });
            BATCH.saturating_add(TERMINATION.saturating_mul(sectors))
        }
        _ => OTHER,
    };
    BYTE.saturating_mul(count(message.params.len())).saturating_add(work)
}

fn aggregate(proofs: u64) -> u64 {
    let step = AGGREGATE.iter().take_while(|(least, _)| *least <= proofs).last().map_or(0, |(_, gas)| *gas);
    AGGREGATED_PROOF.saturating_mul(proofs).saturating_add(step)
}

/// How many of something the parameters have; none when they do not decode, which costs no more than reading them.
fn of<T: DeserializeOwned>(message: &Message, how_many: impl FnOnce(T) -> u64) -> u64 {
    fvm_ipld_encoding::from_slice(&message.params).map_or(0, how_many)
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devnet::fixture::{capacity, chain, message, pre_commit_params, prove_params};
    use crate::{chain::params::TerminationDeclaration, units::AttoFil};
    use fvm_ipld_bitfield::{BitField, iter::Ranges};
    use fvm_ipld_encoding::RawBytes;

    fn gas(method: u64, params: Vec<u8>) -> u64 {
        used_by(&message(&chain(), "t01001", AttoFil::ZERO, method, params))
    }

    fn proofs(sectors: u64) -> u64 {
        let proofs: Vec<_> = (0..sectors).map(|n| (n, vec![0; 192])).collect();
        gas(method::PROVE_COMMIT_SECTORS3, fvm_ipld_encoding::to_vec(&prove_params(&proofs, false)).unwrap())
    }

    fn aggregated(sectors: u64, bytes: usize) -> u64 {
        let proofs: Vec<_> = (0..sectors).map(|n| (n, Vec::new())).collect();
        let mut params = prove_params(&proofs, false);
        params.sector_proofs.clear();
        params.aggregate_proof = RawBytes::new(vec![0; bytes]);
        params.aggregate_proof_type = Some(1);
        gas(method::PROVE_COMMIT_SECTORS3, fvm_ipld_encoding::to_vec(&params).unwrap())
    }

    #[test]
    fn gas_grows_with_the_sectors_of_a_message() {
        let pre_commits =
            |n: usize| gas(method::PRE_COMMIT_SECTOR_BATCH2, pre_commit_params(vec![capacity(&chain(), 1); n]));
        assert!(pre_commits(2) > pre_commits(1) && pre_commits(2) < 2 * pre_commits(1));
        assert!(pre_commits(256) < BLOCK_GAS_LIMIT);
        assert!(proofs(100) > 50 * proofs(1) && proofs(100) < 100 * proofs(1));
        assert!(proofs(290) < BLOCK_GAS_LIMIT && proofs(300) > BLOCK_GAS_LIMIT);
        assert_eq!(gas(method::PRE_COMMIT_SECTOR_BATCH2, vec![0xff]), BATCH + BYTE, "nonsense is no sector");
    }

    #[test]
    fn declarations_of_more_sectors_than_can_be_counted_cost_all_there_is() {
        let every = || BitField::from_ranges(Ranges::new(std::iter::once(0..u64::MAX - 1)));
        let declaration = |deadline| TerminationDeclaration { deadline, partition: 0, sectors: every() };
        let params = TerminateSectorsParams { terminations: (0..3).map(declaration).collect() };
        let params = fvm_ipld_encoding::to_vec(&params).unwrap();
        assert!(params.len() < 100);
        assert_eq!(gas(method::TERMINATE_SECTORS, params), u64::MAX);
    }

    #[test]
    fn an_aggregate_is_cheaper_than_its_proofs_from_five_on() {
        // an aggregate of test size has tens of kilobytes, whatever it holds
        for sectors in [8, 13, 100, 290] {
            assert!(aggregated(sectors, 20_000) < proofs(sectors), "{sectors}");
        }
        assert!(aggregate(4) > 4 * PROOF && aggregate(5) < 5 * PROOF);
        assert!(aggregated(4, 20_000) > proofs(4));
        assert!(aggregated(819, 65_000) < BLOCK_GAS_LIMIT);
    }
}
