//! Real 2 KiB sectors through the whole program: layers, trees, SNARKs, and a chain that verifies each proof.
//!
//! Needs the Groth parameters, which `tests/run` makes; minutes of processor time.

use super::{
    proven::{assert_proven, assert_same_bytes},
    rig::{Kind, Rig, slay},
};

/// Whether the parameters are there; CI fails without them, others are told.
fn has_parameters(rig: &Rig, test: &str) -> bool {
    let check = rig.ask(&["params", "check"]);
    if check.status.success() {
        return true;
    }
    let what = "the Groth parameters of 2KiB sectors are missing: `seald params generate --sector-size 2KiB`";
    assert!(std::env::var_os("CI").is_none(), "{test}: {what}");
    eprintln!("SKIPPED {test}: {what}");
    false
}

// matrix: A1
#[test]
fn real_sectors_are_proven() {
    let rig = Rig::real(2);
    if has_parameters(&rig, "real_sectors_are_proven") {
        let told = rig.finish();
        assert!(told.contains("target met: 2 sectors") && !told.contains("SIMULATED"), "{told}");
        assert_proven(&rig);
    }
}

#[test]
fn real_sectors_survive_the_death_of_every_process() {
    let rig = Rig::real(2);
    if !has_parameters(&rig, "real_sectors_survive_the_death_of_every_process") {
        return;
    }
    let slay_all = |kind| rig.processes(kind).into_iter().for_each(slay);

    let mut run = rig.start();
    run.until("stage=\"precommit1\"");
    let mut told = run.killed();

    run = rig.start();
    run.until("stage=\"precommit2\"");
    slay_all(Kind::Worker);
    run.until("event=\"PreCommitLanded\"");
    told.push_str(&run.killed());

    run = rig.start();
    let is_proving = |sector: &serde_json::Value| sector["step"] == "SNARK";
    run.watch(&rig, |status| status["sectors"].as_array().unwrap().iter().any(is_proving));
    slay_all(Kind::Worker);
    run.until("kind=commit status=\"sent\"");
    slay_all(Kind::Devnet);
    told.push_str(&run.ends_well());

    assert!(told.contains("killed by signal 9"), "{told}");
    assert_proven(&rig);
    assert_same_bytes(&rig);
}
