//! File rules, with the simulated prover: what is reused, what is wiped, what is refused.

pub mod disk;

use super::*;
use crate::{
    units::{MinerId, SectorNumber},
    worker::folder::Finalized,
};
use std::fs;
use tempfile::TempDir;

/// A repo with one sector of 2 KiB.
pub struct Site {
    pub repo: TempDir,
    pub files: SectorFiles,
    pub sector: SectorRef,
}

pub fn site() -> Site {
    let repo = tempfile::tempdir().unwrap();
    Site { files: files_in(repo.path()), sector: sector(7, 1), repo }
}

pub fn files_in(repo: &Path) -> SectorFiles {
    let at = |kind: &str| repo.join(kind).join("s-t01000-7");
    SectorFiles { sealed: at("sealed"), cache: at("cache"), work: at("work") }
}

pub fn sector(number: u64, ticket: u8) -> SectorRef {
    SectorRef {
        miner: MinerId::new(1000),
        number: SectorNumber::try_from(number).unwrap(),
        proof: SectorSize::KiB2.seal_proof(),
        ticket: Hash32([ticket; 32]),
    }
}

const SEED: Hash32 = Hash32([9; 32]);

pub fn run(job: &Job) -> Result<Outcome, JobError> {
    Jobs::new(Prover::Simulated).run(job, &|_, permille| assert!(permille < 1000))
}

impl Site {
    pub fn precommit1(&self, ticket: u8, fresh: bool) -> Result<Outcome, JobError> {
        let sector = SectorRef { ticket: Hash32([ticket; 32]), ..self.sector.clone() };
        run(&Job::PreCommit1 { sector, files: self.files.clone(), fresh })
    }

    pub fn precommit2(&self) -> Result<Outcome, JobError> {
        run(&Job::PreCommit2 { sector: self.sector.clone(), files: self.files.clone() })
    }

    pub fn sealed(&self) -> Sealed {
        self.precommit1(1, false).unwrap();
        let Outcome::PreCommit2 { sealed } = self.precommit2().unwrap() else { panic!("not of this stage") };
        sealed
    }

    pub fn commit(&self, sealed: &Sealed, seed: Hash32) -> Result<Outcome, JobError> {
        let (sector, files) = (self.sector.clone(), self.files.clone());
        run(&Job::Commit { sector, files, sealed: sealed.clone(), seed })
    }

    pub fn layer(&self, number: u32) -> std::path::PathBuf {
        self.files.cache.join(layout::layer(number))
    }

    /// As after a kill in PreCommit1: the output is not kept, the ledger has this many entries.
    pub fn cut_precommit1(&self, entries: usize) {
        fs::remove_file(self.output("pc1.json")).unwrap();
        let folder = Folder::open(&self.files.work).unwrap();
        let mut layers = folder.layers().unwrap();
        layers.truncate(entries);
        folder.record_layers(&layers).unwrap();
    }

    pub fn output(&self, name: &str) -> std::path::PathBuf {
        self.files.work.join(name)
    }
}

pub fn class(result: Result<Outcome, JobError>) -> Class {
    result.unwrap_err().class
}

#[test]
fn a_sector_is_sealed_and_proven() {
    let site = site();
    let sealed = site.sealed();
    assert_eq!(sealed.comm_d, zero_comm_d(SectorSize::KiB2));
    let Outcome::Commit { porep } = site.commit(&sealed, SEED).unwrap() else { panic!() };
    let proof = from_hex(&porep).unwrap();
    assert!(proofs::verify_porep(Prover::Simulated, &statement(&site.sector, &sealed, SEED), &proof).unwrap());
}

#[test]
fn stages_that_are_done_are_not_done_again() {
    let site = site();
    let sealed = site.sealed();
    let first = site.commit(&sealed, SEED).unwrap();
    // would be noticed by each stage if it ran again
    fs::write(site.layer(1), vec![0xee; 2048]).unwrap();
    let replica = fs::read(&site.files.sealed).unwrap();
    assert_eq!(site.precommit1(1, false).unwrap(), Outcome::PreCommit1);
    assert_eq!(site.precommit2().unwrap(), Outcome::PreCommit2 { sealed: sealed.clone() });
    assert_eq!(site.commit(&sealed, SEED).unwrap(), first);
    assert_eq!(fs::read(&site.files.sealed).unwrap(), replica);
    assert_eq!(fs::read(site.layer(1)).unwrap(), vec![0xee; 2048]);
}

/// Estimates and deadlines come from what stages took: an answer at once, or half a stage, says nothing of that.
#[test]
fn only_a_job_that_did_all_of_its_work_says_what_it_takes() {
    let site = site();
    let jobs = Jobs::new(Prover::Simulated);
    let did_all = |job: &Job| {
        let outcome = jobs.run(job, &|_, _| ()).unwrap();
        (outcome, jobs.did_all())
    };
    let (sector, files, to) = (site.sector.clone(), site.files.clone(), site.files.clone());
    let first = Job::PreCommit1 { sector: sector.clone(), files: files.clone(), fresh: false };
    let second = Job::PreCommit2 { sector: sector.clone(), files: files.clone() };
    assert_eq!([did_all(&first).1, did_all(&first).1], [true, false]);
    site.cut_precommit1(1);
    assert!(!did_all(&first).1, "it went on from a layer");
    let (Outcome::PreCommit2 { sealed }, true) = did_all(&second) else { panic!("not done, or not all of it") };
    assert!(!did_all(&second).1);
    let commit = Job::Commit { sector: sector.clone(), files: files.clone(), sealed, seed: SEED };
    assert_eq!([did_all(&commit).1, did_all(&commit).1], [true, false]);
    fs::remove_file(site.output("proof.json")).unwrap();
    assert!(!did_all(&commit).1, "the vanilla proof was kept");
    let finalize = Job::Finalize { sector, files, to };
    assert_eq!([did_all(&finalize).1, did_all(&finalize).1], [true, false]);
}

// matrix: B4, F14, B2
#[test]
fn a_killed_precommit1_keeps_the_layers_that_reached_the_disk() {
    let site = site();
    site.precommit1(1, false).unwrap();
    site.cut_precommit1(1);
    let kept = fs::metadata(site.layer(1)).unwrap().modified().unwrap();
    fs::write(site.layer(2), vec![0xbb; 2048]).unwrap();
    fs::write(&site.files.sealed, "left over").unwrap();
    site.precommit1(1, false).unwrap();
    assert_eq!(fs::metadata(site.layer(1)).unwrap().modified().unwrap(), kept, "a recorded layer is reused");
    assert_eq!(fs::read(site.layer(2)).unwrap(), vec![1; 2048], "one that may not have reached the disk is not");
    assert_eq!(fs::read(&site.files.sealed).unwrap(), vec![0; 2048]);
}

// matrix: B7
#[test]
fn layers_that_are_complete_are_found_when_the_output_was_not_kept() {
    let site = site();
    site.precommit1(1, false).unwrap();
    let output = fs::read(site.output("pc1.json")).unwrap();
    let modified = |number| fs::metadata(site.layer(number)).unwrap().modified().unwrap();
    let before = [modified(1), modified(2)];
    fs::remove_file(site.output("pc1.json")).unwrap();
    site.precommit1(1, false).unwrap();
    assert_eq!(fs::read(site.output("pc1.json")).unwrap(), output);
    assert_eq!([modified(1), modified(2)], before);
}

// matrix: B6, F13
#[test]
fn another_ticket_or_a_fresh_start_wipes_everything() {
    for (ticket, fresh) in [(2, false), (1, true)] {
        let site = site();
        let sealed = site.sealed();
        site.commit(&sealed, SEED).unwrap();
        fs::write(site.layer(1), vec![0xaa; 2048]).unwrap();
        site.precommit1(ticket, fresh).unwrap();
        assert_eq!(fs::read(site.layer(1)).unwrap(), vec![ticket; 2048]);
        assert!(!site.files.cache.join(layout::P_AUX).exists());
        assert!(!site.output("pc2.json").exists() && !site.output("proof.json").exists());
    }
}

#[test]
fn a_wipe_that_was_cut_short_is_finished_first() {
    let site = site();
    site.precommit1(1, false).unwrap();
    Folder::open(&site.files.work).unwrap().claim(&site.sector, true).unwrap();
    fs::write(site.layer(1), vec![0xaa; 2048]).unwrap();
    assert_eq!(class(site.precommit2()), Class::Data);
    site.precommit1(1, false).unwrap();
    assert_eq!(fs::read(site.layer(1)).unwrap(), vec![1; 2048]);
}

// matrix: B8, B9
#[test]
fn a_killed_precommit2_is_repeated_from_the_restored_file() {
    let site = site();
    let sealed = site.sealed();
    let replica = fs::read(&site.files.sealed).unwrap();
    fs::remove_file(site.output("pc2.json")).unwrap();
    // half encoded, trees cut short
    fs::write(&site.files.sealed, [vec![0xcc; 1024], vec![0; 1024]].concat()).unwrap();
    fs::write(site.files.cache.join("sc-02-data-tree-c.dat"), "half").unwrap();
    assert_eq!(site.precommit2().unwrap(), Outcome::PreCommit2 { sealed });
    assert_eq!(fs::read(&site.files.sealed).unwrap(), replica);
}

#[test]
fn missing_or_short_layers_are_a_data_failure() {
    let site = site();
    site.precommit1(1, false).unwrap();
    fs::write(site.layer(2), "short").unwrap();
    assert_eq!(class(site.precommit2()), Class::Data);
    // and PreCommit1 does not believe its own output either
    site.precommit1(1, false).unwrap();
    site.precommit2().unwrap();
}

#[test]
fn another_seed_gets_another_proof_and_a_damaged_one_is_made_anew() {
    let site = site();
    let sealed = site.sealed();
    let first = site.commit(&sealed, SEED).unwrap();
    let other = site.commit(&sealed, Hash32([8; 32])).unwrap();
    assert_ne!(first, other);
    let kept = fs::read_to_string(site.output("proof.json")).unwrap();
    let (key, _) = kept.split_once('\n').unwrap();
    fs::write(site.output("proof.json"), format!("{key}\nc0ffee")).unwrap();
    assert_eq!(site.commit(&sealed, Hash32([8; 32])).unwrap(), other);
    let wrong = Sealed { comm_r: Hash32([1; 32]), ..sealed };
    assert_eq!(class(site.commit(&wrong, SEED)), Class::Data);
}

// matrix: F12
#[test]
fn nothing_is_sealed_over_a_finished_a_foreign_or_a_strange_sector() {
    let finished = site();
    let sealed = finished.sealed();
    let mark = Finalized { sector: finished.sector.clone(), to: finished.files.clone(), done: false };
    Folder::open(&finished.files.work).unwrap().mark_finalized(&mark).unwrap();
    let replica = fs::read(&finished.files.sealed).unwrap();
    assert_eq!(class(finished.precommit1(2, true)), Class::Data);
    assert_eq!(class(finished.precommit2()), Class::Data);
    assert_eq!(class(finished.commit(&sealed, SEED)), Class::Data);
    assert_eq!(fs::read(&finished.files.sealed).unwrap(), replica);

    let mut foreign = site();
    foreign.precommit1(1, false).unwrap();
    foreign.sector = sector(8, 1);
    assert_eq!(class(foreign.precommit1(1, true)), Class::Environment);
    assert_eq!(fs::read(foreign.layer(1)).unwrap(), vec![1; 2048]);

    let strange = site();
    make_directories(&strange.files).unwrap();
    fs::write(strange.files.cache.join(layout::P_AUX), [0; 64]).unwrap();
    assert_eq!(class(strange.precommit1(1, true)), Class::Environment);
    assert!(strange.files.cache.join(layout::P_AUX).exists());
}

// matrix: B16
#[test]
fn a_kept_vanilla_proof_is_used_again_and_a_damaged_one_is_made_anew() {
    let site = site();
    let sealed = site.sealed();
    let first = site.commit(&sealed, SEED).unwrap();
    let vanilla = fs::read(site.output("c1.json")).unwrap();
    let replica = fs::read(&site.files.sealed).unwrap();
    // killed in the SNARK: a vanilla proof could not be made from this file
    fs::remove_file(site.output("proof.json")).unwrap();
    fs::write(&site.files.sealed, vec![0; 2048]).unwrap();
    assert_eq!(site.commit(&sealed, SEED).unwrap(), first);

    // killed in the vanilla proof, or the disk lost a byte of it
    fs::write(&site.files.sealed, replica).unwrap();
    fs::remove_file(site.output("proof.json")).unwrap();
    fs::write(site.output("c1.json"), &vanilla[..vanilla.len() - 1]).unwrap();
    assert_eq!(site.commit(&sealed, SEED).unwrap(), first);
    assert_eq!(fs::read(site.output("c1.json")).unwrap(), vanilla);
}

// matrix: B17
#[test]
fn a_proof_is_on_disk_before_it_is_told() {
    let site = site();
    let sealed = site.sealed();
    let first = site.commit(&sealed, SEED).unwrap();
    let kept = fs::read(site.output("proof.json")).unwrap();
    fs::remove_file(site.output("proof.json")).unwrap();
    assert_eq!(site.commit(&sealed, SEED).unwrap(), first);
    assert_eq!(fs::read(site.output("proof.json")).unwrap(), kept);
}

// matrix: E3
#[test]
fn a_proof_that_does_not_verify_is_never_told_and_never_the_sectors_fault() {
    let site = site();
    let sealed = site.sealed();
    let good = site.commit(&sealed, SEED).unwrap();
    let key = Key::of_proof(&site.sector, &sealed, SEED);
    for _ in 0..2 {
        fs::remove_file(site.output("proof.json")).unwrap();
        Folder::open(&site.files.work).unwrap().keep(Kept::Vanilla, &key, b"of another seed").unwrap();
        assert_eq!(class(site.commit(&sealed, SEED)), Class::Worker);
        assert!(!site.output("proof.json").exists());
        assert_eq!(site.commit(&sealed, SEED).unwrap(), good, "the next one has a new vanilla proof");
    }
}

// matrix: E4
#[test]
fn a_replica_that_fails_its_self_check_is_not_reported() {
    let site = site();
    site.precommit1(1, false).unwrap();
    // the simulated prover's vanilla proof needs the replica: what the trees stage leaves is spoilt as it ends
    let jobs = Jobs::new(Prover::Simulated);
    let spoil = |step: &str, _: u16| {
        if step == "self-check" {
            fs::write(&site.files.sealed, vec![0; 2048]).unwrap();
        }
    };
    let job = Job::PreCommit2 { sector: site.sector.clone(), files: site.files.clone() };
    let error = jobs.run(&job, &spoil).unwrap_err();
    assert!(error.class == Class::Data && error.error.contains("self-check"), "{error}");
    assert!(!site.output("pc2.json").exists(), "so no pre-commit can be made of it");
    site.precommit2().unwrap();
}

#[test]
fn a_repo_that_is_not_there_is_not_made() {
    let site = site();
    let files = files_in(&site.repo.path().join("not mounted"));
    let job = Job::PreCommit1 { sector: site.sector.clone(), files, fresh: false };
    assert_eq!(class(run(&job)), Class::Environment);
    assert!(!site.repo.path().join("not mounted").exists());
}

// matrix: F1, F3
#[test]
fn two_processes_never_work_on_one_sector() {
    let site = site();
    site.precommit1(1, false).unwrap();
    let lock = Folder::open(&site.files.work).unwrap();
    assert_eq!(class(site.precommit2()), Class::Resource, "it costs no attempt");
    drop(lock);
    site.precommit2().unwrap();
}

#[test]
fn progress_is_a_share_of_what_is_known() {
    assert_eq!(share(5, 10, 100, 900), 500);
    assert_eq!(share(20, 10, 100, 900), 900);
    assert_eq!(share(5, 0, 100, 900), 100);
}

#[cfg(feature = "proofs")]
mod real {
    use super::*;
    use crate::worker::aggregate::tests::a_real_proof_is_aggregated;

    fn run(job: &Job) -> Result<Outcome, JobError> {
        Jobs::new(Prover::Real).run(job, &|_, _| ())
    }

    /// The construction that is written down here is the library's: each of its labels follows, and no other does.
    #[test]
    fn the_labels_of_the_library_hold_and_a_changed_bit_does_not() {
        let site = site();
        let SectorRef { miner, number, ticket, proof } = site.sector.clone();
        let replica = replica(&site.sector, &site.files);
        let config = filecoin_proofs_api::RegisteredSealProof::StackedDrg2KiBV1_1.as_v1_config();
        let id = storage_proofs_porep::stacked::generate_replica_id::<filecoin_hashers::poseidon::PoseidonHasher, _>(
            &miner.to_prover_id(),
            number.as_u64(),
            &ticket.0,
            zero_comm_d(proof.sector_size()).0,
            &config.porep_id,
        );
        assert_eq!(stages::replica_id(&replica).0.as_slice(), AsRef::<[u8]>::as_ref(&id));

        run(&Job::PreCommit1 { sector: site.sector.clone(), files: site.files.clone(), fresh: false }).unwrap();
        let all: Vec<u64> = (0..64).collect();
        for layer in [1, 2] {
            assert!(stages::labels_hold(Prover::Real, &replica, layer, &all).unwrap(), "layer {layer}");
            for node in [0, 1, 17, 63] {
                let mut bytes = fs::read(site.layer(layer)).unwrap();
                bytes[node * 32] ^= 1;
                fs::write(site.layer(layer), &bytes).unwrap();
                assert!(!stages::labels_hold(Prover::Real, &replica, layer, &[node as u64]).unwrap());
                bytes[node * 32] ^= 1;
                fs::write(site.layer(layer), &bytes).unwrap();
            }
        }
    }

    // matrix: B5, B7, B8, B9, B16, B17, E4, F14
    /// One real sector, through every stage whose parameters this machine has.
    #[test]
    fn a_real_sector_is_sealed_resumed_and_proven() {
        let site = site();
        let (sector, files) = (site.sector.clone(), site.files.clone());
        let precommit1 = Job::PreCommit1 { sector: sector.clone(), files: files.clone(), fresh: false };
        let precommit2 = Job::PreCommit2 { sector: sector.clone(), files: files.clone() };
        run(&precommit1).unwrap();
        let layers = [fs::read(site.layer(1)).unwrap(), fs::read(site.layer(2)).unwrap()];
        let output = fs::read(site.output("pc1.json")).unwrap();
        site.cut_precommit1(1);
        fs::write(site.layer(2), vec![0; 2048]).unwrap();
        run(&precommit1).unwrap();
        assert_eq!(fs::read(site.output("pc1.json")).unwrap(), output);
        assert_eq!([fs::read(site.layer(1)).unwrap(), fs::read(site.layer(2)).unwrap()], layers);

        let Outcome::PreCommit2 { sealed } = run(&precommit2).unwrap() else { panic!() };
        let names = files::names(&files.cache).unwrap();
        let sizes: Vec<_> = names.iter().map(|name| files::length(&files.cache.join(name)).unwrap()).collect();
        assert!(replica_is_whole(&files, SectorSize::KiB2), "{names:?} {sizes:?}");
        let tree = |name: String| files::length(&files.cache.join(name));
        let [tree_c, tree_r] = [layout::tree_c(SectorSize::KiB2), layout::tree_r_last(SectorSize::KiB2)];
        assert_eq!(tree_c.into_iter().map(tree).collect::<Vec<_>>(), [Some(2336)]);
        assert_eq!(tree_r.into_iter().map(tree).collect::<Vec<_>>(), [Some(32)]);

        // cut short after half of the encoding: the restored file must give the same replica
        let replica = fs::read(&files.sealed).unwrap();
        fs::remove_file(site.output("pc2.json")).unwrap();
        fs::write(&files.sealed, [&replica[..1024], &[0; 1024]].concat()).unwrap();
        assert_eq!(run(&precommit2).unwrap(), Outcome::PreCommit2 { sealed: sealed.clone() });
        assert_eq!(fs::read(&files.sealed).unwrap(), replica);

        let commit = Job::Commit { sector: sector.clone(), files: files.clone(), sealed: sealed.clone(), seed: SEED };
        let result = run(&commit);
        assert!(site.output("c1.json").exists());
        match (result, params::ready(SectorSize::KiB2, &params::default_dir())) {
            (Ok(Outcome::Commit { porep }), true) => {
                let proof = from_hex(&porep).unwrap();
                assert_eq!(proof.len(), 192);
                assert!(proofs::verify_porep(Prover::Real, &statement(&sector, &sealed, SEED), &proof).unwrap());
                assert_eq!(run(&commit).unwrap(), Outcome::Commit { porep });
                a_real_proof_is_aggregated(&statement(&sector, &sealed, SEED), &proof);
            }
            // a machine without Groth parameters says so and nothing worse; one that has them makes the proof
            (Err(error), false) => assert_eq!(error.class, Class::Environment, "{error}"),
            (other, ready) => panic!("parameters ready: {ready}, yet {other:?}"),
        }

        // a replica file with something in it does not become data
        fs::remove_file(site.output("pc1.json")).unwrap();
        fs::remove_file(site.output("pc2.json")).unwrap();
        run(&precommit1).unwrap();
        assert_eq!(run(&precommit2).unwrap(), Outcome::PreCommit2 { sealed });

        // a layer that lost its content in a power cut is a data failure, found by the self-check
        fs::write(site.layer(2), vec![0; 2048]).unwrap();
        fs::remove_file(site.output("pc2.json")).unwrap();
        assert_eq!(class(run(&precommit2)), Class::Data);
    }
}
