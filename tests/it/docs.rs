//! Documents that are made from the code, and claims of documents that the code must keep.

use crate::{assert_golden, read};
use seald::sector::{EDGES, State};
use std::fmt::Write as _;

/// What a document's fenced blocks hold.
fn code_blocks(text: &str) -> String {
    let blocks = text.split("```").skip(1).step_by(2);
    blocks.map(|block| block.split_once('\n').map_or("", |(_language, code)| code)).collect()
}

#[test]
fn the_sector_table_is_the_one_in_the_code() {
    let mut text = String::from(
        "# The life of a sector\n\n\
         Made from `seald::sector::EDGES` by `tests/it/docs.rs`; `UPDATE_EXPECT=1 tests/run` writes it anew.\n\n\
         | state | event | next state |\n| --- | --- | --- |\n",
    );
    for (from, event, to) in EDGES {
        writeln!(text, "| {from} | {} | {} |", event.as_str(), if from == to { "same" } else { to.as_str() }).unwrap();
    }
    let dead_ends = State::ALL.iter().filter(|state| !EDGES.iter().any(|(from, _, _)| from == *state));
    let dead_ends: Vec<_> = dead_ends.map(|state| state.as_str()).collect();
    writeln!(text, "\nNothing leaves {}.", dead_ends.join(", ")).unwrap();
    text.push_str(
        "An event that has no line for a state is refused: it is kept in the sector's history and moves nothing.\n",
    );
    text.push_str(
        "AttemptFailed, CommitReverted, Finalized and RetryAsked lead on from Proving, and CommitReverted from Faulty and \
         FaultReported, only until the sector's cache is trimmed.\n",
    );
    text.push_str(
        "An operator's StateForced leads from every state but Removing and Removed to each state whose data the \
         record has.\n",
    );
    assert_golden("docs/sector-table.md", &text);
}

#[test]
fn the_list_of_metrics_is_the_one_in_the_code() {
    assert_golden("docs/metrics.md", &seald::status::metrics::document());
}

#[test]
fn the_readme_has_the_two_commands() {
    let code = code_blocks(&read("README.md"));
    for command in ["cargo run --release -- run --config examples/configs/devnet.toml --until-target", "tests/run"] {
        assert!(code.lines().any(|line| line == command), "README.md has no code line {command:?}");
    }
}

#[test]
fn the_architecture_stays_short_and_names_every_room() {
    let text = read("ARCHITECTURE.md");
    assert!(text.lines().count() <= 300, "{} lines", text.lines().count());
    for module in read("src/lib.rs").lines().filter_map(|line| line.strip_prefix("pub mod ")) {
        let room = module.trim_end_matches(';');
        let named = text.contains(&format!("`{room}/`")) || text.contains(&format!("`{room}.rs`"));
        assert!(named, "ARCHITECTURE.md does not say what `{room}` is");
    }
}

/// Each test that ARCHITECTURE.md names as the keeper of an invariant exists.
#[test]
fn the_invariants_name_tests_that_exist() {
    let text = read("ARCHITECTURE.md");
    let mut code = String::new();
    for file in crate::files_below("src").into_iter().chain(crate::files_below("tests")) {
        if file.extension().is_some_and(|extension| extension == "rs") {
            code.push_str(&read(file.to_str().unwrap()));
        }
    }
    let (_, invariants) = text.split_once("## Invariants").unwrap();
    let invariants = invariants.split("\n## ").next().unwrap();
    for name in invariants.split('`').skip(1).step_by(2).filter_map(|quoted| quoted.strip_prefix("test ")) {
        assert!(code.contains(&format!("fn {name}(")), "ARCHITECTURE.md names a test {name}, and there is none");
    }
}
