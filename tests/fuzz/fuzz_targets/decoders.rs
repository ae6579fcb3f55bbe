//! One decoder, whose name is in `SEALD_FUZZ`, and whatever bytes the fuzzer finds. Which there are, and what must hold
//! of each, is in seald's `src/fuzz.rs`.
#![no_main]

use std::sync::LazyLock;

static TARGET: LazyLock<fn(&[u8])> = LazyLock::new(|| {
    let name = std::env::var("SEALD_FUZZ").unwrap_or_default();
    let known = || seald::fuzz::TARGETS.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
    seald::fuzz::target(&name).unwrap_or_else(|| panic!("SEALD_FUZZ is {name:?}: give one of {}", known()))
});

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| TARGET(bytes));
