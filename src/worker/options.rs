//! The arguments of `seald worker`: what the supervisor tells a worker before it can speak.

use crate::{
    proofs::Prover,
    units::{Bytes, SlotName},
};
use std::{ffi::OsString, path::PathBuf};

/// One worker process.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// The slot it belongs to.
    #[arg(long)]
    pub slot: SlotName,
    /// Which of the slot's processes it is, from 0.
    #[arg(long)]
    pub instance: u32,
    /// The prover it runs.
    #[arg(long, value_parser = prover)]
    pub prover: Prover,
    /// The only processors it may run on; absent means all.
    #[arg(long, value_delimiter = ',')]
    pub cpus: Option<Vec<u32>>,
    /// Most memory it may allocate, with unit.
    #[arg(long, value_parser = bytes)]
    pub memory: Option<Bytes>,
    /// A folder below which it may write, besides those that every worker needs; without any it may write everywhere.
    #[arg(long)]
    pub writable: Vec<PathBuf>,
    /// May use the network.
    #[arg(long)]
    pub network: bool,
    /// Outlive the daemon, and serve any later one at this socket, which is made here.
    #[arg(long)]
    pub attach: Option<PathBuf>,
    /// What it is started as, to be told back to a later daemon.
    #[arg(long)]
    pub spec: Option<String>,
    /// The name that the service manager gave this process.
    #[arg(long)]
    pub invocation: Option<String>,
}

impl Options {
    /// The arguments that read back as these options, `worker` first.
    pub fn to_args(&self) -> Vec<OsString> {
        let Self { slot, instance, prover, cpus, memory, writable, network, attach, spec, invocation } = self;
        let mut args = vec!["worker".to_owned(), "--slot".to_owned(), slot.to_string()];
        args.extend(["--instance".to_owned(), instance.to_string(), "--prover".to_owned(), prover.as_str().to_owned()]);
        if let Some(cpus) = cpus {
            let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
            args.extend(["--cpus".to_owned(), list.join(",")]);
        }
        if let Some(memory) = memory {
            args.extend(["--memory".to_owned(), format!("{}B", memory.as_u64())]);
        }
        let mut args: Vec<_> = args.into_iter().map(OsString::from).collect();
        args.extend(writable.iter().flat_map(|path| ["--writable".into(), path.into()]));
        args.extend(network.then(|| "--network".into()));
        if let Some(attach) = attach {
            args.extend(["--attach".into(), attach.into()]);
        }
        for (name, text) in [("--spec", spec), ("--invocation", invocation)] {
            args.extend(text.iter().flat_map(|text| [OsString::from(name), text.into()]));
        }
        args
    }
}

fn prover(word: &str) -> Result<Prover, String> {
    [Prover::Real, Prover::Simulated]
        .into_iter()
        .find(|prover| prover.as_str() == word)
        .ok_or_else(|| "a prover is `real` or `simulated`".to_owned())
}

fn bytes(text: &str) -> Result<Bytes, crate::units::BadUnit> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    #[test]
    fn arguments_read_back_as_the_options_they_came_from() {
        let full = Options {
            slot: "gpu0".parse().unwrap(),
            instance: 3,
            prover: Prover::Simulated,
            cpus: Some(vec![0, 2, 5]),
            memory: Some(Bytes::new(72 << 30)),
            writable: vec!["/srv/a".into(), "/srv/b c".into()],
            network: true,
            attach: Some("/run/seald-workers/gpu0.3.sock".into()),
            spec: Some(r#"{"env":{}}"#.to_owned()),
            invocation: Some("0123".to_owned()),
        };
        let bare = Options {
            cpus: None,
            memory: None,
            writable: Vec::new(),
            network: false,
            prover: Prover::Real,
            ..full.clone()
        };
        let least = Options { attach: None, spec: None, invocation: None, ..bare.clone() };
        for options in [full, bare, least] {
            assert_eq!(Line::try_parse_from(options.to_args()).unwrap().options, options);
        }
    }
}
