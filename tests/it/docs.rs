//! Documents that are made from the code, and claims of documents that the code must keep.

use crate::{assert_golden, read, root};
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

/// A key of the manifest in a document, such as `repo.NAME.path`; `None` for other words.
fn schema_of<'a>(schema: &'a serde_json::Value, key: &str) -> Option<&'a serde_json::Value> {
    key.split('.').try_fold(schema, |table, part| {
        let named = table.get("properties").and_then(|keys| keys.get(part));
        named.or_else(|| table.get("additionalProperties").filter(|_| part == "NAME"))
    })
}

/// What a document puts into backticks, its fenced blocks apart.
fn quoted(text: &str) -> Vec<&str> {
    let prose = text.split("```").step_by(2);
    prose.flat_map(|part| part.split('`').skip(1).step_by(2)).collect()
}

/// What the page for those who come from Lotus sends them to exists: manifest keys, commands and their flags.
#[test]
fn what_takes_the_place_of_lotus_exists() {
    let page = read("docs/from-lotus.md");
    let schema = seald::manifest::schema();
    let sections: Vec<_> = schema["properties"].as_object().unwrap().keys().cloned().collect();
    let (mut keys, mut commands, mut wrong) = (0, 0, Vec::new());
    for word in quoted(&page) {
        let key = word.split(" = ").next().unwrap_or(word);
        if let Some(command) = word.strip_prefix("seald ") {
            commands += 1;
            wrong.extend(unknown_command(command).map(|why| format!("`{word}`: {why}")));
        } else if key.split_once('.').is_some_and(|(section, _)| sections.iter().any(|known| known == section)) {
            keys += 1;
            if schema_of(&schema, key).is_none() {
                wrong.push(format!("`{word}` is no key of the manifest"));
            }
        }
    }
    assert!(wrong.is_empty(), "docs/from-lotus.md:\n{}", wrong.join("\n"));
    assert!(keys > 50 && commands > 50, "only {keys} keys and {commands} commands were found");
    let words = "prose `seald run` and\n```toml\nnot `this`\n```\n`repo.NAME.path`";
    assert_eq!(quoted(words), ["seald run", "repo.NAME.path"]);
    assert!(schema_of(&schema, "repo.NAME.path").is_some() && schema_of(&schema, "repo.NAME.colour").is_none());
    assert!(unknown_command("sectors vanish").is_some() && unknown_command("run --sideways").is_some());
}

/// What is wrong with a command line that a document names. Its subcommands have a page of help, kept by another test, and
/// its flags are on it.
fn unknown_command(line: &str) -> Option<String> {
    let mut page = String::from("tests/it/golden/help/seald.txt");
    let mut help = read(&page);
    let words = line.split_whitespace().filter(|word| *word != "help").enumerate();
    // what follows a flag is its value
    let first_flag = line.split_whitespace().position(|word| word.starts_with("--")).unwrap_or(usize::MAX);
    for (at, word) in words {
        if word.starts_with("--") {
            if !help.contains(word) {
                return Some(format!("{page} has no {word}"));
            }
        } else if at < first_flag && help.contains("\nCommands:\n") {
            page = page.replace(".txt", &format!("-{word}.txt"));
            if !root().join(&page).exists() {
                return Some(format!("there is no {page}"));
            }
            help = read(&page);
        }
    }
    None
}

/// The manifest that the page shows is one, as it stands there.
#[test]
fn the_manifests_for_those_who_come_from_lotus_are_right() {
    let page = read("docs/from-lotus.md");
    let blocks: Vec<_> = page.split("```toml\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    let whole = blocks[1].lines().map(str::trim_start).collect::<Vec<_>>().join("\n");
    // the slots of the other block fit into it
    let (before, _) = whole.split_once("[slot.pc1]").unwrap();
    let (_, after) = whole.split_once("[pledge]").unwrap();
    for text in [whole.clone(), format!("{before}{}\n[pledge]{after}", blocks[0])] {
        let files = [seald::manifest::File { path: "seald.toml".into(), text }];
        let overrides = seald::manifest::Overrides { cwd: "/srv".into(), ..seald::manifest::Overrides::default() };
        let parsed = seald::manifest::parse(&files, &overrides);
        assert!(parsed.is_ok(), "{parsed:?}");
    }
}
