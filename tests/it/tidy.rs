//! House rules as tests: what each room may use, how a file opens, how long it gets, what is never written.
//!
//! The rules are data at the top. Changing one is a change of the architecture and gets its own commit.

use crate::{files_below, read, root};
use std::path::{Path, PathBuf};

/// What the code of a room may name, besides itself: other rooms, or single items of them. Tests are code too.
const MAY_USE: &[(&str, &[&str])] = &[
    // the pure floor
    ("units", &[]),
    ("error", &[]),
    ("sector", &["units"]),
    ("manifest", &["units"]),
    ("outbox", &["units", "sector"]),
    // of the chain only the pure reading of a return value
    ("book", &["units", "sector", "outbox", "chain::messages"]),
    ("plan", &["units", "manifest", "sector", "outbox"]),
    ("status", &["units", "sector", "plan"]),
    // the shell
    ("clock", &["units"]),
    ("repo", &["units", "error", "sector", "worker::protocol", "clock", "plan::space"]),
    ("chain", &["units", "error", "outbox", "sector::MessageId", "clock"]),
    ("store", &["units", "error", "sector", "outbox", "book"]),
    ("proofs", &["units", "error", "sector", "clock"]),
    ("worker", &["units", "error", "repo", "proofs", "sector", "clock", "host"]),
    // of a worker: what is said to it, how it is started, whose end is its end, which process it is, and in tests its
    // beginning; of a repo only how a file is replaced
    (
        "supervisor",
        &[
            "units",
            "error",
            "worker::protocol",
            "worker::process",
            "worker::Options",
            "worker::Life",
            "worker::INVOCATION",
            "worker::serve",
            "repo::write_atomic",
            "sector",
            "proofs::Prover",
            "clock",
        ],
    ),
    ("devnet", &["units", "error", "chain", "proofs", "clock", "repo", "sector"]),
    ("control", &["units", "sector", "status", "plan::Place", "clock"]),
    // of the chain how it writes commitments and sets, and what it says of a sector; of the machine its memory
    (
        "api",
        &[
            "units",
            "sector",
            "status",
            "plan::Assignee",
            "control",
            "chain::cids",
            "chain::wire::BitField",
            "chain::SectorTerms",
            "chain::Ends",
            "host::memory",
            "manifest::Api",
        ],
    ),
    // facts about the machine, in the planner's words, held against the manifest
    ("host", &["units", "error", "manifest", "repo", "control", "clock", "plan", "supervisor::Places"]),
    ("daemon", &["*"]),
    ("cli", &["*"]),
    // tests only: the whole system without its shell
    ("simulation", &["*"]),
    // tests and fuzzing only: every decoder of foreign bytes
    ("fuzz", &["*"]),
    ("lib", &["*"]),
    ("main", &["*"]),
];

/// Lines of a file, its tests apart, above which it is listed, and above which it is refused.
const LONG: usize = 600;
const TOO_LONG: usize = 700;

/// Names that say nothing.
const EMPTY_NAMES: &[&str] = &["util", "utils", "common", "helper", "helpers", "misc", "manager"];

/// Beginnings of paths that exist on one developer's machine only. Split, so that this file does not hold them.
const PRIVATE_PATHS: &[(&str, &str)] = &[("/hom", "e/"), ("/roo", "t/"), ("/Use", "rs/"), ("/wor", "k/"), ("C:", "\\")];

/// Words that a document of ours does not have: promises, fillers, unfinished business.
const UNWANTED_WORDS: &[&str] = &[
    "blazing",
    "blazingly",
    "seamless",
    "seamlessly",
    "effortless",
    "effortlessly",
    "simply",
    "obviously",
    "easily",
    "cutting-edge",
    "world-class",
    "leverage",
    "utilize",
    "todo",
    "fixme",
    "tbd",
    "wip",
    "lorem",
    "coming soon",
];

/// A source file: where it is, what room it belongs to, and its text.
struct Source {
    path: String,
    room: String,
    /// Names of the modules from the crate root to this one.
    depth: usize,
    text: String,
}

fn sources() -> Vec<Source> {
    let rust = files_below("src").into_iter().filter(|path| path.extension().is_some_and(|e| e == "rs"));
    let sources = rust.map(|path| {
        let inside = path.strip_prefix("src").unwrap().with_extension("");
        let mut modules: Vec<_> = inside.iter().map(|part| part.to_str().unwrap().to_owned()).collect();
        modules.retain(|name| name != "mod");
        let path = path.to_str().unwrap().to_owned();
        Source { room: modules[0].clone(), depth: modules.len(), text: read(&path), path }
    });
    sources.collect()
}

/// The text with comments and the insides of string literals blanked, line breaks kept.
fn bare(text: &str) -> String {
    let mut bare = String::with_capacity(text.len());
    let mut rest = text;
    let blank = |skipped: &str| skipped.chars().map(|c| if c == '\n' { '\n' } else { ' ' }).collect::<String>();
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("r#\"") {
            rest.find("\"#").filter(|end| *end > 2).map_or(rest.len(), |end| end + 2)
        } else if rest.starts_with("'\"'") {
            3
        } else if rest.starts_with('"') {
            string_length(rest)
        } else {
            bare.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        };
        bare.push_str(&blank(&rest[..length]));
        rest = &rest[length..];
    }
    bare
}

fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Every path below the crate root that the code names, with its line: `crate::a::B`, groups taken apart, and
/// `super` chains that end at the root.
fn crate_paths(source: &Source) -> Vec<(usize, String)> {
    let text = bare(&source.text);
    let mut starts: Vec<(usize, &str)> =
        text.match_indices("crate::").map(|(at, word)| (at, &text[at + word.len()..])).collect();
    let to_root = "super::".repeat(source.depth);
    starts.extend(text.match_indices(&to_root).map(|(at, word)| (at, &text[at + word.len()..])));
    let mut paths = Vec::new();
    for (at, rest) in starts {
        let line = text[..at].matches('\n').count() + 1;
        let mut found = Vec::new();
        expand(rest, "", &mut found);
        paths.extend(found.into_iter().map(|path| (line, path)));
    }
    paths
}

/// Reads one path or group; answers what follows it.
fn expand<'a>(text: &'a str, prefix: &str, found: &mut Vec<String>) -> &'a str {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        loop {
            rest = rest.trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return after;
            }
            let before = rest;
            rest = expand(rest, prefix, found).trim_start();
            rest = rest.strip_prefix(',').unwrap_or(rest);
            assert!(rest.len() < before.len(), "a group that cannot be read: {before:.40}");
        }
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_' && c != '*').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    let path = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}::{name}") };
    if let Some(below) = rest.strip_prefix("::").filter(|below| !below.starts_with('<')) {
        return expand(below, &path, found);
    }
    found.push(path);
    rest.trim_start().strip_prefix("as ").map_or(rest, |alias| {
        let end = alias.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(alias.len());
        &alias[end..]
    })
}

fn is_below(path: &str, allowed: &str) -> bool {
    path.strip_prefix(allowed).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[test]
fn rooms_use_only_what_the_table_allows() {
    let mut broken = Vec::new();
    for source in sources() {
        let Some((_, allowed)) = MAY_USE.iter().find(|(room, _)| *room == source.room) else {
            broken.push(format!("{}: room `{}` is not in the table", source.path, source.room));
            continue;
        };
        for (line, path) in crate_paths(&source) {
            let room = path.split("::").next().unwrap_or_default();
            // macros and items of the root itself, and modules of the room seen through `super`
            let is_room = MAY_USE.iter().any(|(known, _)| *known == room);
            let fine = !is_room || room == source.room || allowed.iter().any(|a| *a == "*" || is_below(&path, a));
            if !fine {
                let allowed = allowed.join(", ");
                broken.push(format!("{}:{line}: `{}` uses `{path}`; it may use: {allowed}", source.path, source.room));
            }
        }
    }
    assert!(
        broken.is_empty(),
        "dependencies that the table in tests/it/tidy.rs does not allow:\n{}",
        broken.join("\n")
    );
}

#[test]
fn paths_are_read_as_the_compiler_reads_them() {
    let source = Source {
        path: String::new(),
        room: "a".to_owned(),
        depth: 2,
        text: "use crate::{b::{C, d::*, E as F}, g};\n// crate::comment\nlet x = crate::h::I::new(\"crate::text\");\n\
               use super::super::j::K;\nuse super::L;"
            .to_owned(),
    };
    let expected = [(1, "b::C"), (1, "b::d::*"), (1, "b::E"), (1, "g"), (3, "h::I::new"), (4, "j::K")];
    let expected: Vec<_> = expected.iter().map(|(line, path)| (*line, (*path).to_owned())).collect();
    assert_eq!(crate_paths(&source), expected);
    assert!(is_below("sector::MessageId", "sector::MessageId") && is_below("sector::State", "sector"));
    assert!(!is_below("sector::State", "sector::MessageId") && !is_below("sectors", "sector"));
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<_> = sources().into_iter().filter(|s| !s.text.starts_with("//! ")).map(|s| s.path).collect();
    assert!(silent.is_empty(), "files that do not open with `//! `: {silent:#?}");
}

#[test]
fn files_stay_short() {
    let mut refused = Vec::new();
    for source in sources() {
        if source.path.ends_with("/tests.rs") || source.path.contains("/tests/") {
            continue;
        }
        let code = source.text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let lines = code.lines().count();
        if lines > LONG {
            println!("{}: {lines} lines; above {LONG} it wants to be two", source.path);
        }
        if lines > TOO_LONG {
            refused.push(format!("{}: {lines} lines", source.path));
        }
    }
    assert!(refused.is_empty(), "files above {TOO_LONG} lines without their tests: {refused:#?}");
}

#[test]
fn modules_are_nouns_of_the_domain() {
    let empty: Vec<_> = files_below("src")
        .into_iter()
        .filter(|path| path.with_extension("").iter().any(|part| EMPTY_NAMES.iter().any(|name| part == *name)))
        .collect();
    assert!(empty.is_empty(), "module names that say nothing: {empty:#?}");
}

/// Everything that people read, code included.
fn texts() -> Vec<(String, String)> {
    let mut paths: Vec<_> = ["src", "tests", "docs", "examples", "debian", "packaging", ".ci", ".github"]
        .iter()
        .flat_map(|folder| files_below(folder))
        .collect();
    paths.extend(files_at_the_root());
    let texts = paths.into_iter().filter_map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some((path.to_str()?.to_owned(), text))
    });
    texts.collect()
}

fn files_at_the_root() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let ours = entries.filter(|path| path.extension().is_some_and(|e| e == "md" || e == "toml"));
    ours.map(|path| path.strip_prefix(root()).unwrap().to_path_buf()).collect()
}

#[test]
fn no_text_names_one_machine() {
    let private: Vec<_> = PRIVATE_PATHS.iter().map(|(first, second)| format!("{first}{second}")).collect();
    let mut broken = Vec::new();
    for (path, text) in texts() {
        for (number, line) in text.lines().enumerate() {
            let names_one = private.iter().any(|start| {
                // a path begins a word; `a/work/b` is a folder of ours
                line.match_indices(start.as_str()).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|c| !(c.is_alphanumeric() || "}>_-.~*".contains(c)))
                })
            });
            if names_one {
                broken.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "paths that exist on one machine only:\n{}", broken.join("\n"));
}

#[test]
fn documents_promise_nothing_and_leave_nothing_open() {
    let mut broken = Vec::new();
    for (path, text) in texts() {
        let is_document = Path::new(&path).extension().is_some_and(|extension| extension == "md");
        for (number, line) in text.lines().enumerate() {
            let line = format!(" {} ", line.to_lowercase().replace(|c: char| !c.is_alphanumeric() && c != '-', " "));
            let found = UNWANTED_WORDS.iter().find(|word| is_document && line.contains(&format!(" {word} ")));
            if let Some(word) = found {
                broken.push(format!("{path}:{}: {word:?}", number + 1));
            }
        }
        let open = if path.starts_with("src/") { postponed(&text) } else { Vec::new() };
        broken
            .extend(open.into_iter().map(|line| format!("{path}:{line}: unfinished business belongs in the tracker")));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Lines of code or comment that put something off.
fn postponed(text: &str) -> Vec<usize> {
    let marks =
        [["TO", "DO"].concat(), ["FIX", "ME"].concat(), ["unimple", "mented!"].concat(), ["to", "do!("].concat()];
    let lines = text.lines().enumerate();
    lines.filter(|(_, line)| marks.iter().any(|mark| line.contains(mark))).map(|(number, _)| number + 1).collect()
}
