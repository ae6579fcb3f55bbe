//! The parameter files of each sector size: their names as the proofs library computes them and their published
//! digests as it carries them. No list of our own, so a new library version brings its own files.

use super::{ParamFile, ParamsError};
use crate::units::SectorSize;

/// Without the proofs library nobody knows the names.
///
/// # Errors
/// Always.
#[cfg(not(feature = "proofs"))]
pub fn files(_size: SectorSize) -> Result<Vec<ParamFile>, ParamsError> {
    Err(ParamsError::NotBuilt)
}

#[cfg(feature = "proofs")]
pub use with_library::{files, post_proof};

#[cfg(feature = "proofs")]
mod with_library {
    use super::{ParamFile, ParamsError, SectorSize};
    use crate::proofs::{
        params::{Kind, Purpose},
        real::registered,
    };
    use filecoin_proofs_api::RegisteredPoStProof;
    use std::path::PathBuf;
    use storage_proofs_core::parameter_cache::{PARAMETERS, SRS_PARAMETERS};

    /// The files of a size, those of sealing first.
    ///
    /// # Errors
    /// When the library cannot name them, or has no digest for one.
    pub fn files(size: SectorSize) -> Result<Vec<ParamFile>, ParamsError> {
        let seal = registered(size.seal_proof());
        let (window, winning) = (post_proof(size, Purpose::WindowPost), post_proof(size, Purpose::WinningPost));
        let mut files = vec![
            published(Purpose::PoRep, Kind::Parameters, seal.cache_params_path())?,
            published(Purpose::PoRep, Kind::VerifyingKey, seal.cache_verifying_key_path())?,
            published(Purpose::WindowPost, Kind::Parameters, window.cache_params_path())?,
            published(Purpose::WindowPost, Kind::VerifyingKey, window.cache_verifying_key_path())?,
            published(Purpose::WinningPost, Kind::Parameters, winning.cache_params_path())?,
            published(Purpose::WinningPost, Kind::VerifyingKey, winning.cache_verifying_key_path())?,
        ];
        // one file for all sizes
        for (name, data) in SRS_PARAMETERS.iter() {
            let (name, published) = (name.clone(), data.digest.clone());
            files.push(ParamFile { name, purpose: Purpose::Aggregation, kind: Kind::Srs, published });
        }
        Ok(files)
    }

    /// The library's name of the proof of spacetime that `purpose` is about; window PoSt unless it is winning PoSt.
    /// Parameters are the same in all versions of a proof.
    pub fn post_proof(size: SectorSize, purpose: Purpose) -> RegisteredPoStProof {
        use RegisteredPoStProof as Proof;
        let winning = purpose == Purpose::WinningPost;
        match size {
            SectorSize::KiB2 if winning => Proof::StackedDrgWinning2KiBV1,
            SectorSize::KiB2 => Proof::StackedDrgWindow2KiBV1_2,
            SectorSize::MiB8 if winning => Proof::StackedDrgWinning8MiBV1,
            SectorSize::MiB8 => Proof::StackedDrgWindow8MiBV1_2,
            SectorSize::MiB512 if winning => Proof::StackedDrgWinning512MiBV1,
            SectorSize::MiB512 => Proof::StackedDrgWindow512MiBV1_2,
            SectorSize::GiB32 if winning => Proof::StackedDrgWinning32GiBV1,
            SectorSize::GiB32 => Proof::StackedDrgWindow32GiBV1_2,
            SectorSize::GiB64 if winning => Proof::StackedDrgWinning64GiBV1,
            SectorSize::GiB64 => Proof::StackedDrgWindow64GiBV1_2,
        }
    }

    fn published<E: std::fmt::Display>(
        purpose: Purpose,
        kind: Kind,
        path: Result<PathBuf, E>,
    ) -> Result<ParamFile, ParamsError> {
        let library = |why: String| ParamsError::Library { purpose: purpose.as_str(), why };
        let path = path.map_err(|error| library(format!("{error:#}")))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        match PARAMETERS.get(&name) {
            Some(data) => Ok(ParamFile { published: data.digest.clone(), name, purpose, kind }),
            None => Err(library(format!("{name} is not among the published files"))),
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn every_size_has_published_files_of_its_own_size() {
            for size in SectorSize::ALL {
                let files = files(size).unwrap();
                let sized = files.iter().filter_map(|file| PARAMETERS.get(&file.name));
                assert!(sized.clone().all(|data| data.sector_size == size.bytes().as_u64()), "{size}");
                assert_eq!((sized.count(), files.len()), (6, 7), "{size}");
            }
        }
    }
}
