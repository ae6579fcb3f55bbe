//! The one integration binary: what can be said about seald from outside its rooms.
#![expect(clippy::disallowed_methods, reason = "these tests start the program")]
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helpers of tests, which clippy does not see as tests"
)]

mod cli;
mod daemon;
mod docs;
mod matrix;
mod package;
mod tidy;
#[cfg(feature = "proofs")]
mod worker;

use std::path::{Path, PathBuf};

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of the repository.
fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Every file below a folder of the repository, in order, relative to the root. Nothing when there is no such folder.
fn files_below(folder: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(root().join(folder)) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    let mut files = Vec::new();
    for path in paths {
        let relative = path.strip_prefix(root()).unwrap();
        if path.is_dir() {
            files.extend(files_below(relative.to_str().unwrap()));
        } else {
            files.push(relative.to_path_buf());
        }
    }
    files
}

/// Compares with a golden file, or rewrites it when `UPDATE_EXPECT` is set.
fn assert_golden(path: &str, found: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(root().join(path), found).unwrap();
    }
    let expected = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    assert!(found == expected, "{path} is stale: `UPDATE_EXPECT=1 cargo test` rewrites it\n--- found ---\n{found}");
}
