//! Calls into filecoin-proofs-api.

use super::{PoRep, ProofError};
use crate::{sector::Class, units::SealProof};
use filecoin_proofs_api::{RegisteredSealProof, seal};

/// The library's name of a proof type.
pub fn registered(proof: SealProof) -> RegisteredSealProof {
    use crate::units::SectorSize;
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
    .map_err(|error| ProofError {
        class: Class::Environment,
        doing: "verifying a proof",
        why: format!("{error:#}"),
    })
}
