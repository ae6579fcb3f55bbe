//! `seald version`: what this build is made of.

use super::failure::{Exit, Outcome, print, print_json};
use crate::{status, store, worker::protocol};
use clap::Args;
use serde::Serialize;

/// The filecoin-proofs-api this build links; a test compares it with Cargo.lock.
const PROOFS_API: &str = "19.1.0";

/// Arguments of `seald version`.
#[derive(Debug, Args)]
pub struct VersionArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// What this build is made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// Of this report.
    pub format_version: u32,
    /// Of seald.
    pub seald: &'static str,
    /// Of filecoin-proofs-api; absent in a build without real proofs.
    pub proofs: Option<&'static str>,
    /// How the proofs library was built; empty is plain CPU code.
    pub proofs_features: Vec<&'static str>,
    /// Of `seald status --json`.
    pub status_format: u32,
    /// Of `seald sectors … --json`.
    pub sectors_format: u32,
    /// Of `seald info --json`.
    pub info_format: u32,
    /// Of the database.
    pub store_schema: i64,
    /// Of what daemon and workers say to each other.
    pub worker_protocol: u32,
}

impl Version {
    /// This build.
    pub fn of_this_build() -> Self {
        let features = [
            ("cuda", cfg!(feature = "cuda")),
            ("cuda-supraseal", cfg!(feature = "cuda-supraseal")),
            ("opencl", cfg!(feature = "opencl")),
            ("multicore-sdr", cfg!(feature = "multicore-sdr")),
        ];
        Self {
            format_version: 1,
            seald: env!("CARGO_PKG_VERSION"),
            proofs: cfg!(feature = "proofs").then_some(PROOFS_API),
            proofs_features: features.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect(),
            status_format: status::FORMAT_VERSION,
            sectors_format: status::sectors::FORMAT_VERSION,
            info_format: status::info::FORMAT_VERSION,
            store_schema: store::known_version(),
            worker_protocol: protocol::PROTOCOL,
        }
    }

    /// The report as text.
    pub fn render(&self) -> String {
        let features = if self.proofs_features.is_empty() { "cpu".to_owned() } else { self.proofs_features.join(", ") };
        let proofs = match self.proofs {
            Some(version) => format!("filecoin-proofs-api {version} ({features})"),
            None => "none: this build has the simulated prover only".to_owned(),
        };
        let Self { seald, status_format, sectors_format, info_format, store_schema, worker_protocol, .. } = self;
        format!(
            "seald {seald}\nproofs: {proofs}\nformats: status {status_format}, sectors {sectors_format}, \
             info {info_format}, database {store_schema}, worker protocol {worker_protocol}\n"
        )
    }
}

/// Runs `seald version`.
///
/// # Errors
/// Stdout cannot be written.
pub fn run(args: &VersionArgs) -> Outcome {
    let version = Version::of_this_build();
    if args.json {
        print_json(&version)?
    } else {
        print(&version.render())?
    }
    Ok(Exit::Well)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proofs_library_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        assert!(lock.contains(&format!("name = \"filecoin-proofs-api\"\nversion = \"{PROOFS_API}\"")));
    }
}
