//! Makes the structured reference string that aggregates of test networks' proofs are made and verified with: powers
//! of two secrets in both groups.
//!
//! The file is one for all sizes, and the published one, which is 500 times as long, is as good: it stays.

use super::{
    FileState, ParamFile, ParamsError, at, check,
    files::{self, Marker},
    generate::hold,
    progress::Meter,
};
use crate::units::Bytes;
use bellperson::groth16::aggregate::{GenericSRS, setup_fake_srs};
use blstrs::{Bls12, pairing};
use rand_core::OsRng;
use std::path::Path;

/// Most proofs of an aggregate: 819 sectors of one proof each, as test sizes have, made up to a power of two. There are
/// twice as many powers.
const PROOFS: usize = 1024;

/// Makes the file, unless a good one is there. About a second of all cores.
///
/// # Errors
/// The file cannot be looked at or written, or it did not come out as it should.
pub fn make(file: &ParamFile, dir: &Path, meter: &Meter<'_>) -> Result<(), ParamsError> {
    files::make_room(dir, Bytes::default())?;
    // two sizes share this file
    let _lock = hold(&dir.join(".seald-srs.lock"), meter)?;
    let reports = check::check_files(vec![file.clone()], dir, true)?;
    if reports.iter().all(|report| matches!(report.state, FileState::Good(_))) {
        return Ok(());
    }
    if !meter.advance("making the reference string of aggregates", 0) {
        return Err(ParamsError::Cancelled);
    }
    let path = dir.join(&file.name);
    let srs = setup_fake_srs::<Bls12, _>(&mut OsRng, PROOFS);
    let mut bytes = Vec::new();
    srs.write(&mut bytes).map_err(at("write", &path))?;
    if !holds_together(&srs) {
        let why = "a point came out wrong: check this machine's memory".to_owned();
        return Err(ParamsError::Library { purpose: file.purpose.as_str(), why });
    }
    files::make_room(dir, Bytes::new(u64::try_from(bytes.len()).unwrap_or(u64::MAX)))?;
    Marker::write(&path, files::digest_text(&blake2b_simd::blake2b(&bytes)))?;
    files::put(&path, &bytes)
}

/// Whether the last powers of each secret are one step apart, in either group. A few pairings.
fn holds_together(srs: &GenericSRS<Bls12>) -> bool {
    let GenericSRS { g_alpha_powers, g_beta_powers, h_alpha_powers, h_beta_powers } = srs;
    let differ = g_alpha_powers.get(1) != g_beta_powers.get(1);
    let step = |g: &[blstrs::G1Affine], h: &[blstrs::G2Affine]| match (g, h) {
        ([.., before, last], [first, second, .., h_before, h_last]) => {
            pairing(last, first) == pairing(before, second) && pairing(before, h_last) == pairing(last, h_before)
        }
        _ => false,
    };
    differ && step(g_alpha_powers, h_alpha_powers) && step(g_beta_powers, h_beta_powers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        proofs::params::{Kind, Origin, can_aggregate, catalog},
        units::SectorSize,
    };
    use std::{fs, sync::atomic::AtomicBool};

    #[test]
    fn a_reference_string_is_made_once_and_made_again_when_it_was_changed() {
        let dir = tempfile::tempdir().unwrap();
        let file = catalog::files(SectorSize::KiB2).unwrap().into_iter().find(|file| file.kind == Kind::Srs).unwrap();
        let cancel = AtomicBool::new(false);
        let meter = Meter::new(&|_| (), &cancel);
        assert!(!can_aggregate(SectorSize::KiB2, dir.path()));
        make(&file, dir.path(), &meter).unwrap();
        let path = dir.path().join(&file.name);
        let made = fs::read(&path).unwrap();
        let state = || check::check_files(vec![file.clone()], dir.path(), true).unwrap().remove(0).state;
        assert_eq!(state(), FileState::Good(Origin::Generated));
        assert!(can_aggregate(SectorSize::KiB2, dir.path()));
        let read = GenericSRS::<Bls12>::read(&mut made.as_slice()).unwrap();
        assert_eq!((read.g_alpha_powers.len(), read.h_beta_powers.len()), (2 * PROOFS, 2 * PROOFS));
        let swapped = GenericSRS { g_alpha_powers: read.g_beta_powers.clone(), ..read.clone() };
        assert!(holds_together(&read) && !holds_together(&swapped));

        make(&file, dir.path(), &meter).unwrap();
        assert!(fs::read(&path).unwrap() == made, "a good file stays");
        fs::write(&path, &made[1..]).unwrap();
        assert!(!can_aggregate(SectorSize::KiB2, dir.path()));
        make(&file, dir.path(), &meter).unwrap();
        let again = fs::read(&path).unwrap();
        assert!(again.len() == made.len() && again != made, "other secrets each time");
    }
}
