//! Calls into filecoin-proofs-api.
//!
//! Errors get their class here, from the I/O error they were caused by when there is one. Files are read and
//! written by the library alone.

use super::{
    PoRep, ProofError, labels, layout, parents,
    stages::{Replica, class_of_io, class_of_text},
    zero_comm_d,
};
use crate::{
    sector::{Class, Sealed},
    units::{Hash32, SealProof, SectorSize},
};
use bellperson::groth16::aggregate::AggregateProof;
use blstrs::Bls12;
use filecoin_hashers::poseidon::PoseidonHasher;
use filecoin_proofs::{
    PoRepConfig,
    constants::{DRG_DEGREE, EXP_DEGREE},
};
use filecoin_proofs_api::{PaddedBytesAmount, PieceInfo, RegisteredAggregationProof, RegisteredSealProof, seal};
use serde::{Serialize, de::DeserializeOwned};
use std::{fs::File, io, os::unix::fs::FileExt as _};
use storage_proofs_core::{PoRepID, drgraph::Graph as _};
use storage_proofs_porep::stacked::StackedBucketGraph;

/// The graph of a sector's layers.
pub type Graph = StackedBucketGraph<PoseidonHasher>;

/// The graph that belongs to a proof type, with the id that it is drawn from.
pub fn graph(proof: SealProof) -> anyhow::Result<(Graph, PoRepID)> {
    let PoRepConfig { porep_id, api_version, .. } = registered(proof).as_v1_config();
    let nodes = usize::try_from(proof.sector_size().bytes().as_u64() / layout::NODE)?;
    Ok((Graph::new_stacked(nodes, DRG_DEGREE, EXP_DEGREE, porep_id, api_version)?, porep_id))
}

/// The aggregation that the network takes.
const AGGREGATION: RegisteredAggregationProof = RegisteredAggregationProof::SnarkPackV2;

/// The library's name of a proof type.
pub fn registered(proof: SealProof) -> RegisteredSealProof {
    match proof.sector_size() {
        SectorSize::KiB2 => RegisteredSealProof::StackedDrg2KiBV1_1,
        SectorSize::MiB8 => RegisteredSealProof::StackedDrg8MiBV1_1,
        SectorSize::MiB512 => RegisteredSealProof::StackedDrg512MiBV1_1,
        SectorSize::GiB32 => RegisteredSealProof::StackedDrg32GiBV1_1,
        SectorSize::GiB64 => RegisteredSealProof::StackedDrg64GiBV1_1,
    }
}

/// Verifies one proof of replication against the cached verifying key.
pub fn verify_porep(statement: &PoRep, bytes: &[u8]) -> Result<bool, ProofError> {
    seal::verify_seal(
        registered(statement.proof),
        statement.comm_r.0,
        statement.comm_d.0,
        statement.miner.to_prover_id(),
        statement.number.as_u64().into(),
        statement.ticket.0,
        statement.seed.0,
        bytes,
    )
    .map_err(|error| failed("verifying a proof", Class::Environment, &error))
}

/// Aggregates proofs of one proof type.
pub fn aggregate(members: &[(PoRep, Vec<u8>)]) -> Result<Vec<u8>, ProofError> {
    let doing = "aggregating proofs";
    let Some((first, _)) = members.first() else { return Err(nothing(doing)) };
    let (comm_rs, seeds) = commitments(members.iter().map(|(statement, _)| statement));
    let proofs: Vec<_> =
        members.iter().map(|(_, proof)| seal::SealCommitPhase2Output { proof: proof.clone() }).collect();
    seal::aggregate_seal_commit_proofs(registered(first.proof), AGGREGATION, &comm_rs, &seeds, &proofs)
        .map_err(|error| failed(doing, Class::Worker, &error))
}

/// Verifies an aggregate against the cached verifying key and the reference string. Bytes that are no aggregate at all
/// prove nothing.
pub fn verify_aggregate(statements: &[PoRep], bytes: &[u8]) -> Result<bool, ProofError> {
    let doing = "verifying an aggregate";
    let Some(first) = statements.first() else { return Err(nothing(doing)) };
    if AggregateProof::<Bls12>::read(bytes).is_err() {
        return Ok(false);
    }
    let (comm_rs, seeds) = commitments(statements.iter());
    let mut inputs = Vec::new();
    for PoRep { miner, number, proof, comm_r, comm_d, ticket, seed } in statements {
        let (prover, sector) = (miner.to_prover_id(), number.as_u64().into());
        let these = seal::get_seal_inputs(registered(*proof), comm_r.0, comm_d.0, prover, sector, ticket.0, seed.0)
            .map_err(|error| failed(doing, Class::Environment, &error))?;
        inputs.extend(these);
    }
    seal::verify_aggregate_seal_commit_proofs(
        registered(first.proof),
        AGGREGATION,
        bytes.to_vec(),
        &comm_rs,
        &seeds,
        inputs,
    )
    .map_err(|error| failed(doing, Class::Environment, &error))
}

fn commitments<'a>(statements: impl Iterator<Item = &'a PoRep>) -> (Vec<[u8; 32]>, Vec<[u8; 32]>) {
    statements.map(|statement| (statement.comm_r.0, statement.seed.0)).unzip()
}

fn nothing(doing: &'static str) -> ProofError {
    ProofError { class: Class::Data, doing, why: "there are no sectors in it".to_owned() }
}

/// Phase 1. Zeros in, so the sealed file is only extended: the caller empties it.
pub fn precommit1(replica: &Replica<'_>) -> Result<Vec<u8>, ProofError> {
    let doing = "computing layers";
    graph(replica.proof)
        .and_then(|(graph, porep_id)| parents::ensure(&graph, porep_id))
        .map_err(|error| failed(doing, Class::Environment, &error))?;
    let output = seal::seal_pre_commit_phase1(
        registered(replica.proof),
        replica.cache,
        "/dev/zero",
        replica.sealed,
        replica.miner.to_prover_id(),
        replica.number.as_u64().into(),
        replica.ticket.0,
        &zeros(replica.proof),
    )
    .map_err(|error| failed(doing, Class::Worker, &error))?;
    to_json(doing, &output)
}

/// Draws the graph's parents of each node and computes its label from theirs.
pub fn labels_hold(replica: &Replica<'_>, layer: u32, nodes: &[u64]) -> Result<bool, ProofError> {
    let check = || -> anyhow::Result<bool> {
        let (graph, _) = graph(replica.proof)?;
        let id = labels::replica_id(replica);
        let open = |layer| File::open(replica.cache.join(layout::layer(layer)));
        let (own, before) = (open(layer)?, if layer > 1 { Some(open(layer.saturating_sub(1))?) } else { None });
        for node in nodes {
            let mut drawn = [0; DRG_DEGREE + EXP_DEGREE];
            if *node > 0 {
                graph.parents(usize::try_from(*node)?, &mut drawn)?;
            }
            // the first ones are in the node's own layer, the others in the one before
            let (base, expanded) = drawn.split_at(DRG_DEGREE);
            let base = base.iter().filter(|_| *node > 0).map(|parent| read_label(&own, u64::from(*parent)));
            let before = before.iter().filter(|_| *node > 0);
            let expanded =
                before.flat_map(|file| expanded.iter().map(move |parent| read_label(file, u64::from(*parent))));
            let parents = base.chain(expanded).collect::<io::Result<Vec<_>>>()?;
            if labels::label(&id, layer, *node, &parents).0 != read_label(&own, *node)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    check().map_err(|error| failed("checking labels", Class::Worker, &error))
}

fn read_label(layer: &File, node: u64) -> io::Result<[u8; 32]> {
    let mut label = [0; 32];
    layer.read_exact_at(&mut label, node.saturating_mul(layout::NODE))?;
    Ok(label)
}

/// Phase 2. The library checks layers and tree-d against phase 1 first, hence class `Data`.
pub fn precommit2(replica: &Replica<'_>, phase1: &[u8]) -> Result<Sealed, ProofError> {
    let doing = "building trees";
    let phase1 = from_json(doing, Class::Data, phase1)?;
    let output = seal::seal_pre_commit_phase2(phase1, replica.cache, replica.sealed)
        .map_err(|error| failed(doing, Class::Data, &error))?;
    Ok(Sealed { comm_r: Hash32(output.comm_r), comm_d: Hash32(output.comm_d) })
}

/// Commit phase 1. The library verifies each vanilla proof it makes.
pub fn vanilla(replica: &Replica<'_>, sealed: &Sealed, seed: Hash32) -> Result<Vec<u8>, ProofError> {
    let doing = "computing vanilla proofs";
    let output = seal::seal_commit_phase1(
        replica.cache,
        replica.sealed,
        replica.miner.to_prover_id(),
        replica.number.as_u64().into(),
        replica.ticket.0,
        seed.0,
        seal::SealPreCommitPhase2Output {
            registered_proof: registered(replica.proof),
            comm_r: sealed.comm_r.0,
            comm_d: sealed.comm_d.0,
        },
        &zeros(replica.proof),
    )
    .map_err(|error| failed(doing, Class::Data, &error))?;
    to_json(doing, &output)
}

/// Commit phase 2.
pub fn snark(statement: &PoRep, vanilla: &[u8]) -> Result<Vec<u8>, ProofError> {
    let doing = "computing the SNARK";
    let vanilla = from_json(doing, Class::Worker, vanilla)?;
    seal::seal_commit_phase2(vanilla, statement.miner.to_prover_id(), statement.number.as_u64().into())
        .map(|output| output.proof)
        .map_err(|error| failed(doing, Class::Worker, &error))
}

/// The pieces of a sector of zeros: one, as large as the sector.
fn zeros(proof: SealProof) -> [PieceInfo; 1] {
    let size = proof.sector_size();
    [PieceInfo { commitment: zero_comm_d(size).0, size: PaddedBytesAmount(size.bytes().as_u64()).into() }]
}

/// `class` is that of an error which no I/O error caused.
fn failed(doing: &'static str, class: Class, error: &anyhow::Error) -> ProofError {
    let why = format!("{error:#}");
    let class = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(class_of_io)
        .or_else(|| class_of_text(&why))
        .unwrap_or(class);
    ProofError { class, doing, why }
}

fn to_json(doing: &'static str, output: &impl Serialize) -> Result<Vec<u8>, ProofError> {
    serde_json::to_vec(output).map_err(|error| ProofError { class: Class::Worker, doing, why: error.to_string() })
}

fn from_json<T: DeserializeOwned>(doing: &'static str, class: Class, bytes: &[u8]) -> Result<T, ProofError> {
    serde_json::from_slice(bytes).map_err(|error| ProofError {
        class,
        doing,
        why: format!("the output of the phase before cannot be read: {error}"),
    })
}
