//! `seald params`: the Groth parameters and the SRS of a sector size, checked or made available.

use super::{Global, failure::Outcome, unconnected};
use crate::units::SectorSize;
use clap::{Args, Subcommand};
use std::path::PathBuf;

/// Arguments of `seald params`.
#[derive(Debug, Args)]
pub struct ParamsArgs {
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

/// What to do with parameters.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Verify the digest of every file that the sector size needs
    Check(FilesArgs),
    /// Fetch the files that are missing or wrong, resuming what is half there
    Fetch(FetchArgs),
    /// Generate the files of a test size (2KiB, 8MiB, 512MiB) on this machine
    Generate(FilesArgs),
}

/// Which files.
#[derive(Debug, Clone, Args)]
pub struct FilesArgs {
    /// Sector size, instead of the manifest's miner.sector_size
    #[arg(long, value_name = "SIZE")]
    pub size: Option<SectorSize>,
    /// Folder of the files, instead of the manifest's params.dir
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Which files, from where.
#[derive(Debug, Clone, Args)]
pub struct FetchArgs {
    /// Which files.
    #[command(flatten)]
    pub files: FilesArgs,
    /// Base address of the published files, instead of the manifest's params.mirror
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
}

/// Runs `seald params`.
///
/// # Errors
/// A file is missing, wrong, or cannot be made available.
pub fn run(_: &Global, args: &ParamsArgs) -> Outcome {
    Err(unconnected(match args.verb {
        Verb::Check(_) => "params check",
        Verb::Fetch(_) => "params fetch",
        Verb::Generate(_) => "params generate",
    }))
}
