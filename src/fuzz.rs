//! Every decoder of bytes that others wrote, as a function for a fuzzer, with what must hold whatever the bytes are.
//!
//! Such a function panics when a promise is broken: what decodes encodes back to the same, nothing decoded is larger
//! than its bytes allow, no error repeats all that it complains of. Built for tests and for cargo-fuzz only:
//! `tests/fuzz/run` fuzzes them, and the test below has each hold over its corpus and over changes of it.

use crate::{api, chain, control, devnet, repo, supervisor, worker};

/// A decoder under its name, which is that of its folder in `tests/fuzz/corpus`.
pub type Target = (&'static str, fn(&[u8]));

/// All of them.
pub const TARGETS: &[Target] = &[
    ("answers", chain::fuzz::answers),
    ("results", chain::fuzz::results),
    ("shapes", chain::fuzz::shapes),
    ("returns", chain::fuzz::returns),
    ("preseals", chain::fuzz::pre_seals),
    ("bitfields", chain::fuzz::bit_fields),
    ("contacts", chain::fuzz::contacts),
    ("names", chain::fuzz::names),
    ("messages", devnet::fuzz::messages),
    ("faults", devnet::fuzz::faults),
    ("markers", repo::fuzz::markers),
    ("lines", worker::fuzz::lines),
    ("kept", worker::fuzz::kept),
    ("launches", supervisor::fuzz::launches),
    ("orders", control::fuzz::orders),
    ("requests", api::fuzz::requests),
];

/// The target of that name.
pub fn target(name: &str) -> Option<fn(&[u8])> {
    TARGETS.iter().find(|(known, _)| *known == name).map(|(_, run)| *run)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{prelude::*, sample::Index, test_runner::TestRunner};
    use std::{collections::BTreeSet, fs, path::PathBuf};

    fn corpus() -> PathBuf {
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus")
    }

    /// What the corpus has for a target, by file.
    fn seeds(target: &str) -> Vec<(String, Vec<u8>)> {
        let files = fs::read_dir(corpus().join(target)).unwrap().map(|entry| entry.unwrap());
        let mut seeds: Vec<_> = files
            .map(|file| (file.file_name().to_string_lossy().into_owned(), fs::read(file.path()).unwrap()))
            .collect();
        seeds.sort();
        seeds
    }

    /// A change of some bytes.
    #[derive(Debug, Clone)]
    enum Change {
        /// Another byte.
        Put(Index, u8),
        /// One more byte.
        Insert(Index, u8),
        /// A piece gone.
        Cut(Index, u8),
        /// A piece said twice.
        Repeat(Index, u8),
        /// A number, or a byte that was one, as large as it gets.
        Swell(Index),
        /// The end missing.
        End(Index),
    }

    impl Change {
        fn any() -> impl Strategy<Value = Self> {
            prop_oneof![
                (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Put(at, byte)),
                (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Self::Insert(at, byte)),
                (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Self::Cut(at, length)),
                (any::<Index>(), any::<u8>()).prop_map(|(at, length)| Self::Repeat(at, length)),
                any::<Index>().prop_map(Self::Swell),
                any::<Index>().prop_map(Self::End),
            ]
        }

        fn make(&self, bytes: &mut Vec<u8>) {
            let length = bytes.len();
            let place = |at: &Index| at.index(length + 1);
            let piece = |at: &Index, size: u8| place(at)..length.min(place(at) + usize::from(size % 16));
            match self {
                Self::Put(at, byte) => {
                    if let Some(old) = bytes.get_mut(place(at)) {
                        *old = *byte;
                    }
                }
                Self::Insert(at, byte) => bytes.insert(place(at), *byte),
                Self::Cut(at, size) => drop(bytes.drain(piece(at, *size))),
                Self::Repeat(at, size) => {
                    let said = bytes[piece(at, *size)].to_vec();
                    drop(bytes.splice(place(at)..place(at), said));
                }
                Self::Swell(at) => {
                    let digit = bytes.iter().skip(place(at)).position(u8::is_ascii_digit).map(|n| n + place(at));
                    match digit {
                        Some(at) => drop(bytes.splice(at..=at, u64::MAX.to_string().into_bytes())),
                        None if place(at) < length => {
                            drop(
                                bytes.splice(
                                    place(at)..=place(at),
                                    [0x1b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
                                ),
                            );
                        }
                        None => {}
                    }
                }
                Self::End(at) => bytes.truncate(place(at)),
            }
        }
    }

    #[test]
    fn every_target_holds_over_its_corpus_and_a_thousand_changes_of_it() {
        for (name, run) in TARGETS {
            let seeds: Vec<_> = seeds(name).into_iter().map(|(_, seed)| seed).collect();
            assert!(!seeds.is_empty(), "{name} has no corpus");
            seeds.iter().for_each(|seed| run(seed));
            let config = ProptestConfig { cases: 1000, failure_persistence: None, ..ProptestConfig::default() };
            let changed = (proptest::sample::select(seeds), prop::collection::vec(Change::any(), 1..6));
            let held = TestRunner::new(config).run(&changed, |(mut bytes, changes)| {
                changes.iter().for_each(|change| change.make(&mut bytes));
                run(&bytes);
                Ok(())
            });
            assert!(held.is_ok(), "{name}: {}", held.unwrap_err());
        }
    }

    #[test]
    fn what_nodes_said_answers_a_question_and_what_is_odd_none() {
        for (name, seed) in seeds("results") {
            assert_eq!(chain::fuzz::answered(&seed) == 0, name.starts_with("odd-"), "{name}");
        }
    }

    #[test]
    fn every_corpus_has_a_target() {
        let folders = fs::read_dir(corpus()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let names = TARGETS.iter().map(|(name, _)| (*name).to_owned());
        assert_eq!(folders.collect::<BTreeSet<_>>(), names.collect::<BTreeSet<_>>());
        assert!(TARGETS.iter().all(|(name, _)| target(name).is_some()) && target("nothing").is_none());
    }
}
