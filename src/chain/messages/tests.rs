//! The messages of a miner: their receivers, methods and amounts.

use super::*;
use crate::{
    chain::cids,
    error::Remedy,
    units::{Hash32, from_hex, to_hex},
};
use fvm_shared::address::Address;

const MINER: MinerId = MinerId::new(1000);

fn number(n: u64) -> SectorNumber {
    SectorNumber::try_from(n).unwrap()
}

#[test]
fn create_miner_goes_to_the_power_actor_with_the_deposit() {
    let key = Address::new_bls(&[7; 48]).unwrap();
    let text = format!("f{}", key.to_string().split_at(1).1);
    let miner = NewMiner {
        from: "t3sender",
        owner: &text,
        worker: &text,
        sector_size: SectorSize::KiB2,
        peer_id: None,
        multiaddrs: &[],
    };
    let message = create_miner_message(&miner, AttoFil::from_atto(101)).unwrap();
    let key = format!("583103{}", "07".repeat(48));
    assert_eq!(to_hex(&message.params), format!("85{key}{key}0a4080"));
    assert_eq!((message.from.as_str(), message.to.as_str(), message.method), ("t3sender", "t04", 2));
    assert_eq!(message.value, AttoFil::from_atto(101));
}

#[test]
fn how_a_miner_is_reached_is_said_in_the_networks_bytes() {
    let id = PeerId::from_bytes(vec![0, 4, 1, 2, 3, 4]).unwrap();
    let peer = change_peer_id_message(MINER, "t01", &id).unwrap();
    assert_eq!((peer.to.as_str(), peer.method, to_hex(&peer.params).as_str()), ("t01000", 4, "8146000401020304"));
    let address: Multiaddr = "/ip4/127.0.0.1/tcp/1105".parse().unwrap();
    let addresses = change_multiaddrs_message(MINER, "t01", &[address]).unwrap();
    assert_eq!((addresses.method, to_hex(&addresses.params).as_str()), (18, "818148047f000001060451"));
    let none = change_multiaddrs_message(MINER, "t01", &[]).unwrap();
    assert_eq!((to_hex(&none.params).as_str(), none.value), ("8180", AttoFil::ZERO));
}

#[test]
fn a_wrong_address_is_named() {
    let miner = NewMiner {
        from: "f01",
        owner: "f01",
        worker: "nonsense",
        sector_size: SectorSize::KiB2,
        peer_id: None,
        multiaddrs: &[],
    };
    let error = create_miner_message(&miner, AttoFil::ZERO).unwrap_err();
    assert!(error.to_string().contains("\"nonsense\""), "{error}");
    assert_eq!(error.remedy(), Remedy::Stop);
    assert!(parse_address("<empty>").is_err());
    assert_eq!(parse_address("f01000").unwrap(), parse_address("t01000").unwrap());
}

#[test]
fn a_pre_commit_carries_all_its_sectors() {
    let sector = |n| SectorPreCommitInfo {
        seal_proof: 8,
        sector_number: n,
        sealed_cid: cids::sealed(Hash32([9; 32])),
        seal_rand_epoch: 10,
        deal_ids: vec![],
        expiration: 20,
        unsealed_cid: None,
    };
    let message = precommit_message(MINER, "t3w", AttoFil::from_atto(5), vec![sector(1), sector(2)]).unwrap();
    assert_eq!((message.to.as_str(), message.method, message.value), ("t01000", 28, AttoFil::from_atto(5)));
    let params: PreCommitSectorBatchParams2 = from_slice(&message.params).unwrap();
    assert_eq!(params.sectors, [sector(1), sector(2)]);
}

#[test]
fn a_commit_lets_each_sector_stand_alone() {
    let proofs = vec![(number(3), vec![1; 192]), (number(1), vec![2; 192])];
    let message = commit_message(MINER, "t3w", AttoFil::ZERO, proofs).unwrap();
    let params: ProveCommitSectors3Params = from_slice(&message.params).unwrap();
    assert_eq!(message.method, 34);
    assert_eq!(params.sector_activations.iter().map(|s| s.sector_number).collect::<Vec<_>>(), [3, 1]);
    assert_eq!(params.sector_proofs[1].bytes(), [2; 192]);
    assert!(!params.require_activation_success && params.aggregate_proof.is_empty());
}

#[test]
fn a_message_that_cannot_be_sent_is_refused_before() {
    let proofs = |count| (0..count).map(|n| (number(n), vec![0; 1920])).collect();
    assert!(commit_message(MINER, "t3w", AttoFil::ZERO, proofs(33)).is_ok());
    let error = commit_message(MINER, "t3w", AttoFil::ZERO, proofs(35)).unwrap_err();
    assert!(error.to_string().contains("send fewer sectors"), "{error}");
}

#[test]
fn a_new_miner_is_read_from_its_receipt() {
    let value = from_hex("824300e9075502dae7cebd4a354ce30492f14b0d40c393d74702af").unwrap();
    assert_eq!(decode_create_miner(&value).unwrap(), MinerId::new(1001));
    for wrong in [&b""[..], &value[1..], &[0x80]] {
        assert!(matches!(decode_create_miner(wrong), Err(ChainError::Malformed { .. })), "{wrong:?}");
    }
    let swapped = from_hex("825502dae7cebd4a354ce30492f14b0d40c393d74702af4300e907").unwrap();
    assert!(decode_create_miner(&swapped).is_err());
}

#[test]
fn each_sector_has_its_own_outcome() {
    let decode = |hex: &str, n| decode_batch_return(&from_hex(hex).unwrap(), n);
    assert_eq!(decode("820180", 1).unwrap(), [0]);
    // two of four: the second with 16, the last with 20
    assert_eq!(decode("8202828201108203 14".replace(' ', "").as_str(), 4).unwrap(), [0, 16, 0, 20]);
    for (hex, n, what) in [
        ("820180", 2, "a sector without an outcome"),
        ("820280", 1, "more outcomes than sectors"),
        ("820081820110", 1, "a position outside"),
        ("820181820000", 2, "a failure with code 0"),
        ("8200828200108200 11", 2, "one position twice"),
        ("8201828200108200 11", 2, "one position twice, counted right otherwise"),
        ("8101", 1, "another shape"),
        ("", 1, "nothing"),
    ] {
        assert!(matches!(decode(&hex.replace(' ', ""), n), Err(ChainError::Malformed { .. })), "{what}");
    }
}

#[test]
fn an_aggregate_has_no_single_proofs_and_its_sectors_ascend() {
    let four: Vec<SectorNumber> = [1, 2, 5, 9].into_iter().map(number).collect();
    let message = aggregate_commit_message(MINER, "t3w", AttoFil::from_atto(7), &four, vec![0xcc; 14_000]).unwrap();
    let params: ProveCommitSectors3Params = from_slice(&message.params).unwrap();
    assert_eq!((message.method, message.value), (34, AttoFil::from_atto(7)));
    assert_eq!((params.aggregate_proof_type, params.aggregate_proof.len()), (Some(1), 14_000));
    let numbers: Vec<u64> = params.sector_activations.iter().map(|activation| activation.sector_number).collect();
    assert!(params.sector_proofs.is_empty() && numbers == [1, 2, 5, 9]);

    let refused = |numbers: &[u64]| {
        let numbers: Vec<SectorNumber> = numbers.iter().copied().map(number).collect();
        aggregate_commit_message(MINER, "t3w", AttoFil::ZERO, &numbers, vec![]).unwrap_err().to_string()
    };
    for wrong in [vec![], vec![1, 2, 3], vec![1, 3, 2, 4], vec![1, 2, 2, 4], (0..820).collect()] {
        assert!(refused(&wrong).contains("4 to 819 sectors in ascending order"), "{wrong:?}");
    }
}

#[test]
fn a_termination_names_sectors_by_place() {
    let message = terminate_message(MINER, "t3o", vec![(4, 0, vec![number(5), number(1), number(2)])]).unwrap();
    assert_eq!((message.to.as_str(), message.method, message.value), ("t01000", 9, AttoFil::ZERO));
    assert_eq!(to_hex(&message.params), "818183040043a82801");
    let again = terminate_message(MINER, "t3o", vec![]).unwrap();
    assert_eq!(to_hex(&again.params), "8180");
    assert!(terminate_message(MINER, "t3o", vec![(4, 0, vec![])]).unwrap_err().to_string().contains("deadline 4"));
    assert!(decode_terminate(&[0x81, 0xf5]).unwrap() && !decode_terminate(&[0x81, 0xf4]).unwrap());
    assert!(decode_terminate(&[0xf5]).is_err());
}
