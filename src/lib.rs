//! seald, the sealing appliance for Filecoin storage providers: one TOML manifest in, proven sectors out.
//!
//! The crate has two halves. The pure floor ([`units`], [`manifest`], [`sector`], [`outbox`], [`book`], [`plan`], [`status`]) holds
//! every decision and does no I/O. The shell (`repo`, `store`, `chain`, `proofs`, `worker`, `supervisor`,
//! `devnet`, `host`, `control`, `api`, `daemon`, `cli`) does things and decides nothing. See ARCHITECTURE.md.

pub mod api;
pub mod book;
pub mod chain;
pub mod cli;
pub mod clock;
pub mod control;
pub mod daemon;
pub mod devnet;
pub mod error;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
pub mod host;
pub mod manifest;
pub mod outbox;
pub mod plan;
pub mod proofs;
pub mod repo;
pub mod sector;
#[cfg(test)]
mod simulation;
pub mod status;
pub mod store;
pub mod supervisor;
pub mod units;
pub mod worker;

use std::{ffi::OsString, process::ExitCode};

/// The whole program: does what the arguments say (the first is the program's name) and gives its exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    cli::run(args)
}
