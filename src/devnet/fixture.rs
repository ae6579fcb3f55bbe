//! A chain for tests, with the steps of a sealing client. Simulated proofs, no clock, no socket, no file.

use super::{
    chain::{Chain, Genesis},
    gas,
    ledger::{Message, Receipt, Verify},
    node::verifier,
    randomness::{INTERACTIVE_SEAL, SEAL_RANDOMNESS},
};
use crate::{
    chain::{
        cids,
        messages::SNARK_PACK_V2,
        params::{
            CreateMinerParams, CreateMinerReturn, PreCommitSectorBatchParams2, ProveCommitSectors3Params,
            SectorActivationManifest, SectorPreCommitInfo, method,
        },
    },
    proofs::{PoRep, Prover, simulated},
    units::{AttoFil, Hash32, MinerId, SectorNumber, SectorSize},
};
use fvm_ipld_encoding::RawBytes;
use fvm_shared::address::Address;

pub const FIL: i128 = 1_000_000_000_000_000_000;

pub fn chain() -> Chain {
    let (name, seed) = ("devnet-test".to_owned(), Hash32([42; 32]));
    Chain::new(Genesis { name, seed, epoch_ms: 1000, challenge_delay: 10, at_ms: 1_700_000_000_000 })
}

pub fn mine(chain: &mut Chain, epochs: i64) {
    mine_with(chain, epochs, &verifier(Prover::Simulated));
}

/// Tipsets on schedule, with another judge of proofs.
pub fn mine_with(chain: &mut Chain, epochs: i64, verify: Verify<'_>) {
    for _ in 0..epochs {
        let now = chain.time_ms(chain.head + 1);
        let block = chain.prepare(now).run(verify);
        chain.append(block);
    }
}

/// Replaces the last `epochs` tipsets by one more; their messages wait until `delay` epochs after the old head.
pub fn reorganise(chain: &mut Chain, epochs: i64, delay: i64, verify: Verify<'_>) {
    let old = chain.head;
    chain.rollback(epochs, delay).unwrap();
    mine_with(chain, old - chain.head + 1, verify);
}

pub fn message(chain: &Chain, to: &str, value: AttoFil, method: u64, params: Vec<u8>) -> Message {
    let from = chain.wallets().next().unwrap();
    let (fee_cap, premium) = (AttoFil::from_atto(1000), AttoFil::from_atto(10));
    let nonce = chain.next_nonce(&from);
    let message = Message { from, to: to.to_owned(), nonce, value, gas_limit: 0, fee_cap, premium, method, params };
    Message { gas_limit: gas::used_by(&message), ..message }
}

/// Sends from the default wallet and mines until it executed.
pub fn send(chain: &mut Chain, to: &str, value: AttoFil, method: u64, params: Vec<u8>) -> Receipt {
    let message = message(chain, to, value, method, params);
    let next = chain.head + 1;
    let cid = chain.accept(message, None, Some(next));
    mine(chain, 2);
    chain.receipt(&cid).unwrap().1.clone()
}

pub fn create_params(wallet: &str, proof: i64) -> Vec<u8> {
    let owner = super::address::parse(wallet).unwrap();
    let params = CreateMinerParams {
        owner,
        worker: owner,
        window_post_proof_type: proof,
        peer: Vec::new(),
        multiaddrs: Vec::new(),
    };
    fvm_ipld_encoding::to_vec(&params).unwrap()
}

/// A miner with 100 FIL at its disposal.
pub fn create_miner(chain: &mut Chain) -> u64 {
    let wallet = chain.wallets().next().unwrap();
    let params = create_params(&wallet, SectorSize::KiB2.window_post_proof());
    let receipt = send(chain, "t04", AttoFil::from_atto(100 * FIL), method::CREATE_MINER, params);
    assert_eq!(receipt.exit_code, 0, "{receipt:?}");
    let made: CreateMinerReturn = fvm_ipld_encoding::from_slice(&receipt.value).unwrap();
    assert_ne!(made.robust_address, Address::new_id(0));
    made.id_address.id().unwrap()
}

/// A capacity sector with a good ticket and expiration for the next epoch.
pub fn capacity(chain: &Chain, number: u64) -> SectorPreCommitInfo {
    SectorPreCommitInfo {
        seal_proof: SectorSize::KiB2.seal_proof().as_i64(),
        sector_number: number,
        sealed_cid: cids::sealed(comm_r(number)),
        seal_rand_epoch: chain.head - 900,
        deal_ids: Vec::new(),
        expiration: chain.head + 1_000_000,
        unsealed_cid: None,
    }
}

pub fn comm_r(number: u64) -> Hash32 {
    super::address::blake2b(&[b"replica", &number.to_be_bytes()])
}

pub fn pre_commit_params(sectors: Vec<SectorPreCommitInfo>) -> Vec<u8> {
    fvm_ipld_encoding::to_vec(&PreCommitSectorBatchParams2 { sectors }).unwrap()
}

pub fn pre_commit(chain: &mut Chain, miner: u64, sectors: Vec<SectorPreCommitInfo>) -> Receipt {
    let params = pre_commit_params(sectors);
    send(chain, &format!("t0{miner}"), AttoFil::ZERO, method::PRE_COMMIT_SECTOR_BATCH2, params)
}

/// The proof a worker computes from what the chain tells it now.
pub fn proof(chain: &Chain, miner: u64, number: u64) -> Vec<u8> {
    let tip = chain.tip();
    let (ticket_epoch, epoch) =
        tip.miners[&miner].pre_commits.get(&number).map_or((0, 0), |p| (p.ticket_epoch, p.epoch));
    let miner = MinerId::new(miner);
    let entropy = miner.to_entropy();
    simulated::porep(&PoRep {
        miner,
        number: SectorNumber::try_from(number).unwrap(),
        proof: SectorSize::KiB2.seal_proof(),
        comm_r: comm_r(number),
        comm_d: cids::zero_comm_d(SectorSize::KiB2),
        ticket: chain.randomness.from_tickets(SEAL_RANDOMNESS, ticket_epoch, &entropy),
        seed: chain.randomness.from_beacon(INTERACTIVE_SEAL, epoch + chain.challenge_delay, &entropy),
    })
}

pub fn prove_params(proofs: &[(u64, Vec<u8>)], all: bool) -> ProveCommitSectors3Params {
    let activation = |(sector_number, _): &(u64, Vec<u8>)| SectorActivationManifest {
        sector_number: *sector_number,
        pieces: Vec::new(),
    };
    ProveCommitSectors3Params {
        sector_activations: proofs.iter().map(activation).collect(),
        sector_proofs: proofs.iter().map(|(_, proof)| RawBytes::new(proof.clone())).collect(),
        aggregate_proof: RawBytes::default(),
        aggregate_proof_type: None,
        require_activation_success: all,
        require_notification_success: false,
    }
}

/// The aggregate of good proofs, in this order.
pub fn aggregate_params(chain: &Chain, miner: u64, numbers: &[u64]) -> ProveCommitSectors3Params {
    let proofs: Vec<_> = numbers.iter().map(|n| (*n, proof(chain, miner, *n))).collect();
    let aggregate = simulated::aggregate(proofs.iter().map(|(_, proof)| proof.as_slice()));
    ProveCommitSectors3Params {
        sector_proofs: Vec::new(),
        aggregate_proof: RawBytes::new(aggregate),
        aggregate_proof_type: Some(SNARK_PACK_V2),
        ..prove_params(&proofs, false)
    }
}

pub fn prove(chain: &mut Chain, miner: u64, params: &ProveCommitSectors3Params) -> Receipt {
    let params = fvm_ipld_encoding::to_vec(params).unwrap();
    send(chain, &format!("t0{miner}"), AttoFil::ZERO, method::PROVE_COMMIT_SECTORS3, params)
}

/// Proves with good proofs.
pub fn prove_all(chain: &mut Chain, miner: u64, numbers: &[u64]) -> Receipt {
    let proofs: Vec<_> = numbers.iter().map(|n| (*n, proof(chain, miner, *n))).collect();
    prove(chain, miner, &prove_params(&proofs, true))
}
