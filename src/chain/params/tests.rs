//! Two judges: recorded bytes (lotus-full-node-api 5.1), and the actors' own crates on chance values.

use super::*;
use crate::{
    chain::cids,
    units::{Hash32, from_hex, to_hex},
};
use fil_actor_miner_state::v18 as miner;
use fil_actor_power_state::v18 as power;
use fvm_ipld_encoding::{from_slice, to_vec};
use proptest::prelude::*;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, fmt::Debug};

const R_CID: &str = "bagboea4b5abcatlxechwbp7kjpjguna6r6q7ejrhe6mdp3lf34pmswn27pkkiekz";
const R: &str = "d82a5829000182e20381e802204d77208f60bfea4bd26a341e8fa1f22627279837ed65df1ec959bafbd4a41159";

fn recorded<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: &T, parts: &[&str]) {
    let hex = parts.concat();
    assert_eq!(to_hex(&to_vec(value).unwrap()), hex);
    assert_eq!(&from_slice::<T>(&from_hex(&hex).unwrap()).unwrap(), value);
}

fn precommit() -> SectorPreCommitInfo {
    SectorPreCommitInfo {
        seal_proof: 5,
        sector_number: 7,
        sealed_cid: R_CID.parse().unwrap(),
        seal_rand_epoch: -850,
        deal_ids: vec![],
        expiration: 1_500_000,
        unsealed_cid: None,
    }
}

fn commit(numbers: std::ops::RangeInclusive<u64>) -> ProveCommitSectors3Params {
    ProveCommitSectors3Params {
        sector_activations: numbers.map(|n| SectorActivationManifest { sector_number: n, pieces: vec![] }).collect(),
        sector_proofs: vec![],
        aggregate_proof: RawBytes::default(),
        aggregate_proof_type: None,
        require_activation_success: false,
        require_notification_success: false,
    }
}

#[test]
fn create_miner_as_recorded() {
    let key = Address::new_bls(&[7; 48]).unwrap();
    let params = CreateMinerParams {
        owner: key,
        worker: key,
        window_post_proof_type: 10,
        peer: from_hex("002408011220").unwrap(),
        multiaddrs: vec![],
    };
    let key = format!("583103{}", "07".repeat(48));
    recorded(&params, &["85", &key, &key, "0a", "46002408011220", "80"]);
}

#[test]
fn create_miner_return_as_recorded() {
    let hex = "824300e9075502dae7cebd4a354ce30492f14b0d40c393d74702af";
    let made: CreateMinerReturn = from_slice(&from_hex(hex).unwrap()).unwrap();
    assert_eq!(made.id_address.id(), Ok(1001));
    recorded(&made, &[hex]);
}

#[test]
fn pre_commit_as_recorded() {
    let params = PreCommitSectorBatchParams2 { sectors: vec![precommit()] };
    recorded(&params, &["8181870507", R, "39035180", "1a0016e360", "f6"]);
}

#[test]
fn prove_commit_as_recorded() {
    let mut one = commit(7..=7);
    one.sector_proofs = vec![RawBytes::new(vec![0xaa, 0xbb])];
    one.require_activation_success = true;
    one.require_notification_success = true;
    recorded(&one, &["86818207808142aabb40f6f5f5"]);

    let mut aggregate = commit(1..=4);
    aggregate.aggregate_proof = RawBytes::new(vec![0xcc]);
    aggregate.aggregate_proof_type = Some(1);
    recorded(&aggregate, &["86848201808202808203808204808041cc01f4f4"]);

    recorded(&BatchReturn { success_count: 1, fail_codes: vec![] }, &["820180"]);
}

#[test]
fn terminations_as_recorded() {
    let sectors = BitField::try_from_bits([1, 2, 5]).unwrap();
    let params =
        TerminateSectorsParams { terminations: vec![TerminationDeclaration { deadline: 4, partition: 0, sectors }] };
    recorded(&params, &["818183040043a82801"]);
    recorded(&TerminateSectorsReturn { done: true }, &["81f5"]);
}

#[test]
fn method_numbers_are_the_actors() {
    assert_eq!(method::CREATE_MINER, power::Method::CreateMiner as u64);
    assert_eq!(method::SUBMIT_WINDOWED_POST, miner::Method::SubmitWindowedPoSt as u64);
    assert_eq!(method::TERMINATE_SECTORS, miner::Method::TerminateSectors as u64);
    assert_eq!(method::PRE_COMMIT_SECTOR_BATCH2, miner::Method::PreCommitSectorBatch2 as u64);
    assert_eq!(method::PROVE_COMMIT_SECTORS3, miner::Method::ProveCommitSectors3 as u64);
}

/// Reads ours as the actor's type and the actor's as ours, with the same bytes all the way.
fn same_as<Theirs: Serialize + DeserializeOwned, Ours: Serialize + DeserializeOwned + PartialEq + Debug>(ours: &Ours) {
    let bytes = to_vec(ours).unwrap();
    let theirs: Theirs = from_slice(&bytes).unwrap();
    assert_eq!(to_hex(&to_vec(&theirs).unwrap()), to_hex(&bytes));
    assert_eq!(&from_slice::<Ours>(&bytes).unwrap(), ours);
}

/// A sector number of the network: up to 2^63 − 1.
fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..1000u64, 0..=i64::MAX.unsigned_abs()]
}

fn sector() -> impl Strategy<Value = SectorPreCommitInfo> {
    let cid = (any::<[u8; 32]>(), any::<Option<[u8; 32]>>());
    (5..=9i64, number(), cid, any::<i64>(), any::<i64>()).prop_map(
        |(seal_proof, sector_number, (r, d), seal_rand_epoch, expiration)| SectorPreCommitInfo {
            seal_proof,
            sector_number,
            sealed_cid: cids::sealed(Hash32(r)),
            seal_rand_epoch,
            deal_ids: vec![],
            expiration,
            unsealed_cid: d.map(|d| cids::unsealed(Hash32(d))),
        },
    )
}

fn proof() -> impl Strategy<Value = RawBytes> {
    prop_oneof![Just(192usize), Just(1920), 0..300usize].prop_map(|length| RawBytes::new(vec![0x5a; length]))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn pre_commits_are_the_actors(sectors in prop::collection::vec(sector(), 0..5)) {
        same_as::<miner::PreCommitSectorBatchParams2, _>(&PreCommitSectorBatchParams2 { sectors });
    }

    #[test]
    fn prove_commits_are_the_actors(
        sectors in prop::collection::vec((number(), proof()), 0..5),
        aggregate in prop::option::of(proof()),
        flags in any::<(bool, bool)>(),
    ) {
        let (numbers, sector_proofs): (Vec<_>, Vec<_>) = sectors.into_iter().unzip();
        same_as::<miner::ProveCommitSectors3Params, _>(&ProveCommitSectors3Params {
            sector_activations: numbers
                .into_iter()
                .map(|sector_number| SectorActivationManifest { sector_number, pieces: vec![] })
                .collect(),
            sector_proofs,
            aggregate_proof_type: aggregate.as_ref().map(|_| 1),
            aggregate_proof: aggregate.unwrap_or_default(),
            require_activation_success: flags.0,
            require_notification_success: flags.1,
        });
    }

    #[test]
    fn terminations_are_the_actors(
        places in prop::collection::vec((0..48u64, 0..9u64, prop::collection::btree_set(number(), 1..30)), 0..4),
        done: bool,
    ) {
        let declaration = |(deadline, partition, numbers): (u64, u64, BTreeSet<u64>)| {
            let sectors = BitField::try_from_bits(numbers.clone()).unwrap();
            assert!(sectors.iter().eq(numbers));
            TerminationDeclaration { deadline, partition, sectors }
        };
        let terminations = places.into_iter().map(declaration).collect();
        same_as::<miner::TerminateSectorsParams, _>(&TerminateSectorsParams { terminations });
        same_as::<miner::TerminateSectorsReturn, _>(&TerminateSectorsReturn { done });
    }

    #[test]
    fn batch_returns_are_the_actors(success_count: u32, fails in prop::collection::vec(any::<(u32, u32)>(), 0..5)) {
        let fail_codes = fails.into_iter().map(|(idx, code)| FailCode { idx, code }).collect();
        same_as::<miner::ProveCommitSectors3Return, _>(&BatchReturn { success_count, fail_codes });
    }

    #[test]
    fn new_miners_are_the_actors(
        owner: u64,
        worker in any::<[u8; 32]>(),
        post in 10..=14i64,
        peer in prop::collection::vec(any::<u8>(), 0..128),
        multiaddrs in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..3),
    ) {
        let owner = Address::new_id(owner);
        let worker = Address::new_bls(&[worker, worker].concat()[..48]).unwrap();
        let params = CreateMinerParams {
            owner,
            worker,
            window_post_proof_type: post,
            peer,
            multiaddrs: multiaddrs.into_iter().map(BytesDe).collect(),
        };
        same_as::<power::CreateMinerParams, _>(&params);
        same_as::<power::CreateMinerReturn, _>(&CreateMinerReturn { id_address: owner, robust_address: worker });
    }
}
