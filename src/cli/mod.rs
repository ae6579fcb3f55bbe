//! The command line: one file a subcommand, exit codes in one enum.

pub mod check;
