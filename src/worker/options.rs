//! The arguments of `seald worker`: what the supervisor tells a worker before it can speak.

use crate::{
    proofs::Prover,
    units::{Bytes, SlotName},
};
use std::ffi::OsString;

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
}

impl Options {
    /// The arguments that read back as these options, `worker` first.
    pub fn to_args(&self) -> Vec<OsString> {
        let Self { slot, instance, prover, cpus, memory } = self;
        let mut args = vec!["worker".to_owned(), "--slot".to_owned(), slot.to_string()];
        args.extend(["--instance".to_owned(), instance.to_string(), "--prover".to_owned(), prover.as_str().to_owned()]);
        if let Some(cpus) = cpus {
            let list: Vec<String> = cpus.iter().map(u32::to_string).collect();
            args.extend(["--cpus".to_owned(), list.join(",")]);
        }
        if let Some(memory) = memory {
            args.extend(["--memory".to_owned(), format!("{}B", memory.as_u64())]);
        }
        args.into_iter().map(OsString::from).collect()
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
        };
        let bare = Options { cpus: None, memory: None, prover: Prover::Real, ..full.clone() };
        for options in [full, bare] {
            assert_eq!(Line::try_parse_from(options.to_args()).unwrap().options, options);
        }
    }
}
