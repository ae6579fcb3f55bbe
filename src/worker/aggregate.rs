//! Aggregating the proofs of several sectors. It has no files: proofs come with the order, the aggregate goes back.

use super::{
    jobs::{JobError, Say},
    protocol::{Aggregated, Outcome, Proven},
};
use crate::{
    proofs::{self, PoRep, Prover, params, zero_comm_d},
    sector::Class,
    units::{MinerId, SealProof, from_hex, to_hex},
};

/// Verifies each proof, so that a wrong one is told by its sector, then aggregates them and verifies that.
///
/// # Errors
/// Class `Environment` when parameters are not there, `Data` when the proofs are good and the aggregate is not.
pub fn aggregate(
    prover: Prover,
    miner: MinerId,
    proof: SealProof,
    sectors: &[Proven],
    say: Say<'_>,
) -> Result<Outcome, JobError> {
    let size = proof.sector_size();
    let dir = params::default_dir();
    if prover == Prover::Real && !params::can_aggregate(size, &dir) {
        let get = if params::can_generate(size) { "generate" } else { "fetch" };
        let dir = dir.display();
        let what = format!("{dir} has no reference string for aggregates: run `seald params {get}`");
        return Err(JobError::new(Class::Environment, what));
    }
    say("verifying proofs", 10);
    let (mut members, mut wrong) = (Vec::new(), Vec::new());
    for Proven { number, comm_r, ticket, seed, porep } in sectors {
        let statement = PoRep {
            miner,
            number: *number,
            proof,
            comm_r: *comm_r,
            comm_d: zero_comm_d(size),
            ticket: *ticket,
            seed: *seed,
        };
        match from_hex(porep) {
            Some(bytes) if proofs::verify_porep(prover, &statement, &bytes)? => members.push((statement, bytes)),
            Some(_) | None => wrong.push(*number),
        }
    }
    if !wrong.is_empty() {
        return Ok(Outcome::Aggregate { aggregated: Aggregated::Wrong(wrong) });
    }
    say("aggregating", 300);
    let bytes = proofs::aggregate(prover, &members)?;
    say("verifying the aggregate", 900);
    let statements: Vec<PoRep> = members.into_iter().map(|(statement, _)| statement).collect();
    if !proofs::verify_aggregate(prover, &statements, &bytes)? {
        return Err(JobError::new(Class::Data, "the aggregate that was made does not verify"));
    }
    Ok(Outcome::Aggregate { aggregated: Aggregated::Proof(to_hex(&bytes)) })
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::{
        proofs::simulated,
        units::{Hash32, SectorNumber, SectorSize},
        worker::{jobs::Jobs, protocol::Job},
    };

    const MINER: MinerId = MinerId::new(1000);

    fn statement(number: u64) -> PoRep {
        let proof = SectorSize::KiB2.seal_proof();
        let [comm_r, ticket, seed] = [1, 2, 3].map(|byte| Hash32([byte; 32]));
        let number = SectorNumber::try_from(number).unwrap();
        PoRep { miner: MINER, number, proof, comm_r, comm_d: zero_comm_d(SectorSize::KiB2), ticket, seed }
    }

    fn proven(statement: &PoRep, proof: &[u8]) -> Proven {
        let PoRep { number, comm_r, ticket, seed, .. } = *statement;
        Proven { number, comm_r, ticket, seed, porep: to_hex(proof) }
    }

    fn run(prover: Prover, miner: MinerId, sectors: Vec<Proven>) -> Result<Aggregated, JobError> {
        let job = Job::Aggregate { miner, proof: SectorSize::KiB2.seal_proof(), sectors };
        let Outcome::Aggregate { aggregated } = Jobs::new(prover).run(&job, &|_, _| ())? else {
            panic!("the outcome of another job")
        };
        Ok(aggregated)
    }

    // matrix: D13
    #[test]
    fn a_proof_that_does_not_hold_is_told_by_its_sector_and_nothing_is_aggregated() {
        let statements: Vec<PoRep> = (1..=4).map(statement).collect();
        let mut sectors: Vec<Proven> = statements.iter().map(|s| proven(s, &simulated::porep(s))).collect();
        let Aggregated::Proof(aggregate) = run(Prover::Simulated, MINER, sectors.clone()).unwrap() else {
            panic!("four good proofs")
        };
        let bytes = from_hex(&aggregate).unwrap();
        assert!(proofs::verify(Prover::Simulated, &statements, &bytes).unwrap());
        let swapped = [1, 0, 2, 3].map(|n: usize| statements[n].clone());
        assert!(!proofs::verify(Prover::Simulated, &swapped, &bytes).unwrap(), "order counts");

        sectors[2].seed = Hash32([9; 32]);
        sectors[3].porep = "not hexadecimal".to_owned();
        let wrong = [3, 4].map(|n| SectorNumber::try_from(n).unwrap()).to_vec();
        assert_eq!(run(Prover::Simulated, MINER, sectors).unwrap(), Aggregated::Wrong(wrong));
    }

    /// With a real proof, which takes a minute to make: an aggregate does not care that its members are the same.
    #[cfg(feature = "proofs")]
    pub fn a_real_proof_is_aggregated(statement: &PoRep, proof: &[u8]) {
        let sectors = vec![proven(statement, proof); 5];
        let made = run(Prover::Real, statement.miner, sectors.clone());
        if !params::can_aggregate(SectorSize::KiB2, &params::default_dir()) {
            assert_eq!(made.unwrap_err().class, Class::Environment);
            return;
        }
        let Aggregated::Proof(aggregate) = made.unwrap() else { panic!("five good proofs") };
        let bytes = from_hex(&aggregate).unwrap();
        let claimed = vec![statement.clone(); 5];
        assert!(proofs::verify(Prover::Real, &claimed, &bytes).unwrap());
        let other = PoRep { seed: Hash32([8; 32]), ..statement.clone() };
        let mut wrong = claimed.clone();
        wrong[1] = other.clone();
        assert!(!proofs::verify(Prover::Real, &wrong, &bytes).unwrap());
        assert!(!proofs::verify(Prover::Real, &claimed, &bytes[1..]).unwrap(), "no aggregate at all");

        let mut sectors = sectors;
        sectors[4].seed = other.seed;
        assert_eq!(run(Prover::Real, statement.miner, sectors).unwrap(), Aggregated::Wrong(vec![statement.number]));
    }
}
