//! The test matrix of sealing: every scenario with the tests that play it, as `docs/test-matrix.md`.
//!
//! A test names its rows in a comment above it, `// matrix: B5, B7`. `tests/run` joins the table with the outcome of each
//! test and prints it row by row.

use crate::{assert_golden, files_below, read};
use std::{collections::BTreeMap, fmt::Write as _};

/// Every row: what happens, in a few words. A star marks what no version of Lotus does as it should be.
const ROWS: &[(&str, &str)] = &[
    ("A1", "a sector goes from nothing to Proving, each step once"),
    ("A2", "300 sectors share messages of at most 256"),
    ("A3", "each pair of the table leads where it says"),
    ("A4 ★", "each pair outside of the table changes nothing"),
    ("A5", "a restart in any state does nothing twice"),
    ("A6 ★", "a forced state wins over a late result, whose message is still followed"),
    ("A7", "two things happen at once: the order does not matter"),
    ("A8", "rows that cannot be read are set aside, the others run"),
    ("A9 ★", "an event for an unknown number makes no sector"),
    ("A10", "remove and terminate are judged in every state"),
    ("B1", "killed between a number and its record"),
    ("B2", "killed while packing"),
    ("B3", "killed between drawing a ticket and recording it"),
    ("B4 ★", "killed in PC1: goes on after the last good layer"),
    ("B5 ★", "power lost in PC1: an empty layer is found and made again"),
    ("B6", "killed in PC1, and the ticket expires: no layer is used again"),
    ("B7", "killed after PC1, before its result was recorded"),
    ("B8 ★", "killed in PC2: the replica is restored first, CommR is the same"),
    ("B9", "killed after PC2, before CommR was recorded"),
    ("B10", "killed with a sealed batch that was not sent"),
    ("B11 ★", "killed between a push and its record: found, not sent again"),
    ("B12", "killed with a message in the pool: waits for the same"),
    ("B13", "the pre-commit lands while seald is down"),
    ("B14", "killed while waiting for the seed"),
    ("B15", "the seed comes and grows old while seald is down"),
    ("B16", "killed in C1, after it, and in C2"),
    ("B17", "killed with a proof that was not recorded"),
    ("B18", "killed between the push of a proof and its record"),
    ("B19", "the proof lands while seald is down"),
    ("B20", "killed while a cache is trimmed"),
    ("B21", "killed while a replica is copied"),
    ("B22", "killed between the copy and the removal of the source"),
    ("B23", "killed while a sector is removed"),
    ("B24", "what fails again and again is paused, then parked; others go on"),
    ("C1 ★", "no node for an hour, in each state"),
    ("C2", "one question fails: only its step waits"),
    ("C3", "a node that is behind decides no deadline"),
    ("C4", "a reorganisation takes the pre-commit before its seed"),
    ("C5", "a reorganisation moves the pre-commit while C2 runs"),
    ("C6", "a reorganisation changes the seed, not its epoch"),
    ("C7 ★", "a reorganisation changes the ticket: nothing is sent for that replica"),
    ("C8 ★", "a reorganisation takes the proof while the sector is finalised"),
    ("C9", "a seed is told twice, or too late"),
    ("C10", "epochs without a block"),
    ("C11", "the network is upgraded between pre-commit and proof"),
    ("C12", "the head goes back, or between two forks"),
    ("C13", "the clock jumps"),
    ("D1", "a pre-commit runs out of gas"),
    ("D2", "a pre-commit lacks funds"),
    ("D3", "a proof runs out of gas: the same proof is sent again"),
    ("D4", "a dearer message with the same nonce lands"),
    ("D5", "the pool forgets a message: the same goes again"),
    ("D6", "somebody else's message takes the nonce"),
    ("D7", "the base fee stays above the cap until the deadline is near"),
    ("D8", "one of ten is pre-committed already"),
    ("D9", "one of ten expires between simulation and execution"),
    ("D10", "a message is too large: its halves go, each once"),
    ("D11 ★", "one of five is not activated by a message that succeeds"),
    ("D12", "one pre-commit of a batch of proofs was cleaned up"),
    ("D13", "one of four proofs is wrong: found before it is sent"),
    ("D14", "a proof exactly at the end of the challenge delay, and one epoch later"),
    ("D15", "an expiration outside of what the network takes"),
    ("D16", "funds for some of the sectors"),
    ("D17", "a sector wants into a batch twice"),
    ("D18 ★", "sectors keep coming: the batch goes with its oldest"),
    ("E1", "PC1 fails once, some times, always"),
    ("E2", "PC2 fails once, some times"),
    ("E3", "C1 fails; C2 fails; a proof is invalid once, twice"),
    ("E4", "the check after PC2 fails: no pre-commit"),
    ("E5", "a ticket expires before PC1, in it, in PC2, in the queue"),
    ("E6", "a ticket at the last epoch, one before, one after"),
    ("E7", "a deadline is near: no batch is filled"),
    ("E8", "the deadline of a proof is missed: lost, and the deposit named"),
    ("E9", "a worker answers for another sector or attempt"),
    ("E10", "a worker answers twice"),
    ("E11 ★", "parameters, GPU or memory fail: never sealed again for that"),
    ("F1", "a worker dies in PC1"),
    ("F2", "the daemon starts again while a worker computes"),
    ("F3", "two attempts at one sector: one of them is fenced off"),
    ("F4 ★", "no worker for a stage: waits, does not fail"),
    ("F5", "a full disk at any step: goes on when there is room"),
    ("F6", "room for N sectors takes N and not one more"),
    ("F7", "a repo becomes unusable: its sectors wait and say so"),
    ("F8 ★", "a fetch is cut"),
    ("F9", "a fetch has a flipped bit"),
    ("F10", "two stores have the sector"),
    ("F11 ★", "a strange file among the replicas is reported and left alone"),
    ("F12 ★", "a number that has a proven replica is refused before anything is touched"),
    ("F13", "layers of another ticket"),
    ("F14", "a sealed file with old content"),
    ("F15", "limits of workers hold over random schedules"),
    ("F16", "nobody starves while small work keeps coming"),
    ("G1", "a random walk with crashes: no state without a way on"),
    ("G2", "all orders of five things that can happen at once"),
    ("G3", "a thousand sectors on a forking chain: money is conserved, nothing is sent twice"),
    ("G4", "the history replays to the record"),
    ("G5", "the table is the documented one"),
];

/// Rows whose feature is not there yet.
const LATER: &[(&str, &str)] = &[
    ("F8", "sectors are not fetched from other machines yet"),
    ("F9", "sectors are not fetched from other machines yet"),
    ("F10", "sectors are not fetched from other machines yet"),
];

/// The tests of each row, from the comments above them.
fn tests() -> BTreeMap<String, Vec<String>> {
    let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for path in files_below("src").into_iter().chain(files_below("tests")) {
        if path.extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let mut rows: Vec<String> = Vec::new();
        for line in read(path.to_str().unwrap()).lines().map(str::trim) {
            if let Some(named) = line.strip_prefix("// matrix: ") {
                rows.extend(named.split(',').map(|row| row.trim().to_owned()));
            } else if let Some((before, after)) = line.split_once("fn ")
                && (before.is_empty() || before.ends_with("async ") || before.ends_with(") "))
            {
                let name: String = after.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                for row in rows.drain(..) {
                    tests.entry(row).or_default().push(name.clone());
                }
            }
        }
        assert!(rows.is_empty(), "{}: rows {rows:?} are named above no test", path.display());
    }
    tests
}

#[test]
fn every_row_of_the_matrix_has_a_test_or_a_reason() {
    let mut tests = tests();
    let mut text = String::from(
        "# The test matrix\n\n\
         Made by `tests/it/matrix.rs` from the comments above the tests; `UPDATE_EXPECT=1 tests/run` writes it anew.\n\
         `tests/run` prints it with the outcome of each row. A star marks what no version of Lotus does as it should be.\n\n\
         | row | what happens | tests |\n| --- | --- | --- |\n",
    );
    let mut missing = Vec::new();
    for (name, scenario) in ROWS {
        let row = name.trim_end_matches(" ★");
        let later = LATER.iter().find(|(later, _)| *later == row).map(|(_, why)| *why);
        let found = match (tests.remove(row), later) {
            (Some(mut found), None) => {
                found.sort();
                found.dedup();
                found.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join(", ")
            }
            (None, Some(why)) => format!("not yet: {why}"),
            (Some(found), Some(_)) => panic!("{row} is said to come later, and has tests: {found:?}"),
            (None, None) => {
                missing.push(row);
                continue;
            }
        };
        writeln!(text, "| {name} | {scenario} | {found} |").unwrap();
    }
    assert!(missing.is_empty(), "no test plays {missing:?}");
    assert!(tests.is_empty(), "tests name rows that are not in the matrix: {tests:?}");
    assert_eq!(ROWS.len(), 97);
    assert_golden("docs/test-matrix.md", &text);
}
