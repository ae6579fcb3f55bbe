//! The generator against the library's own, and the files it leaves.

use super::*;
use crate::proofs::params::{FileState, Origin};
use bellperson::{Index, LinearCombination, Variable, groth16};
use ff::Field as _;
use std::{collections::BTreeSet, sync::Mutex};

/// `x^2 · y = z` a few times over, with a public result: variables in a only, in b only, in both and in neither.
#[derive(Clone)]
struct Chain(u64);

impl Circuit<Scalar> for Chain {
    fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
        let none = || Err(SynthesisError::AssignmentMissing);
        let result = cs.alloc_input(|| "result", none)?;
        let mut last = result;
        for i in 0..self.0 {
            let x = cs.alloc(|| "x", none)?;
            let y = cs.alloc(|| "y", none)?;
            let square = cs.alloc(|| "square", none)?;
            cs.enforce(|| "square", |lc| lc + x, |lc| lc + x, |lc| lc + square);
            let three: LinearCombination<Scalar> = LinearCombination::zero() + (Scalar::from(i), CS::one()) + y;
            cs.enforce(|| "z", |lc| lc + square, |lc| lc + &three - x, |lc| lc + last - y);
            last = x;
        }
        Ok(())
    }
}

fn watch(_: usize) -> bool {
    true
}

#[test]
fn the_same_trapdoor_gives_the_librarys_bytes() {
    for length in [1, 2, 3, 100] {
        let secret = Trapdoor::draw();
        let Trapdoor { g1, g2, alpha, beta, gamma, delta, tau } = &secret;
        let (g1, g2) = ((*g1).into(), (*g2).into());
        let theirs =
            groth16::generate_parameters::<Bls12, _>(Chain(length), g1, g2, *alpha, *beta, *gamma, *delta, *tau);
        let mut want = Vec::new();
        theirs.unwrap().write(&mut want).unwrap();

        let counts = synthesis::count(Chain(length), &watch).unwrap();
        let at_tau = synthesis::evaluate(Chain(length), counts, tau, &watch).unwrap();
        let (first, second) = setup::points(&at_tau, counts);
        let told = Mutex::new((0, 0));
        let made = |first: usize, second: usize| {
            let mut told = told.lock().unwrap();
            *told = (told.0 + first, told.1 + second);
            true
        };
        let mut have = Vec::new();
        let key = setup::write(at_tau, counts, &secret, &mut have, &made).unwrap();
        assert!(have == want, "{length}");
        assert!(setup::holds_together(&key));
        assert!(u64::try_from(have.len()).unwrap() <= setup::most_bytes(counts));
        assert_eq!(*told.lock().unwrap(), (first - 1, second), "h has one point less than the domain");
    }
}

#[test]
fn a_variable_without_a_constraint_is_refused_as_the_library_does() {
    struct Loose;
    impl Circuit<Scalar> for Loose {
        fn synthesize<CS: ConstraintSystem<Scalar>>(self, cs: &mut CS) -> Result<(), SynthesisError> {
            let x = cs.alloc(|| "x", || Ok(Scalar::ONE))?;
            cs.alloc(|| "loose", || Ok(Scalar::ONE))?;
            cs.enforce(|| "x", |lc| lc + x, |lc| lc + Variable(Index::Input(0)), |lc| lc + x);
            Ok(())
        }
    }
    let trapdoor = Trapdoor::draw();
    let counts = synthesis::count(Loose, &watch).unwrap();
    let at_tau = synthesis::evaluate(Loose, counts, &trapdoor.tau, &watch).unwrap();
    let refused = setup::write(at_tau, counts, &trapdoor, &mut io::sink(), &|_, _| true);
    assert!(matches!(refused, Err(SynthesisError::UnconstrainedVariable)));
}

fn set() -> Set<Chain> {
    let file = |name: &str, kind| ParamFile {
        name: name.to_owned(),
        purpose: Purpose::PoRep,
        kind,
        published: "00".repeat(16),
    };
    Set {
        purpose: Purpose::PoRep,
        params: file("chain.params", Kind::Parameters),
        key: file("chain.vk", Kind::VerifyingKey),
        sector_size: SectorSize::KiB2.bytes(),
        blank: Box::new(|| Ok(Chain(50))),
    }
}

fn names(dir: &Path) -> BTreeSet<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

#[test]
fn the_files_are_good_and_the_second_of_two_finds_them() {
    let dir = tempfile::tempdir().unwrap();
    let makers = Mutex::new(BTreeSet::new());
    std::thread::scope(|scope| {
        for maker in 0..2 {
            let (makers, dir) = (&makers, dir.path());
            scope.spawn(move || {
                let report = |progress: super::super::Progress| {
                    if progress.step.starts_with("making") {
                        makers.lock().unwrap().insert(maker);
                    }
                };
                make(&[set()], dir, "lock", &Meter::new(&report, &AtomicBool::new(false))).unwrap();
            });
        }
    });
    assert_eq!(makers.lock().unwrap().len(), 1);
    let files = [set().params, set().key];
    let reports = check::check_files(files.to_vec(), dir.path(), true).unwrap();
    assert!(reports.iter().all(|report| report.state == FileState::Good(Origin::Generated)), "{reports:?}");
    assert_eq!(check::lacking_of(files.to_vec(), dir.path()), []);
    assert_eq!(fs::read_to_string(dir.path().join("chain.meta")).unwrap(), r#"{"sector_size":2048}"#);
    let want = ["chain.meta", "chain.params", "chain.params.seald.json", "chain.vk", "chain.vk.seald.json", "lock"];
    assert_eq!(names(dir.path()), want.map(str::to_owned).into());
}

#[test]
fn a_damaged_set_is_made_again_and_a_stopped_one_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let make = |cancel: bool| make(&[set()], dir.path(), "lock", &Meter::new(&|_| (), &AtomicBool::new(cancel)));
    assert!(matches!(make(true), Err(ParamsError::Cancelled)));
    assert_eq!(names(dir.path()), BTreeSet::from(["lock".to_owned()]));

    make(false).unwrap();
    let path = dir.path().join("chain.params");
    let mut bytes = fs::read(&path).unwrap();
    bytes[1000] ^= 1;
    fs::write(&path, &bytes).unwrap();
    make(false).unwrap();
    let pair = vec![set().params, set().key];
    let reports = check::check_files(pair, dir.path(), true).unwrap();
    assert!(reports.iter().all(|report| report.state == FileState::Good(Origin::Generated)), "{reports:?}");
}
