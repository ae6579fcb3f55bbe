//! The two folders of migrations describe the same tables, and all their files are built in.

use crate::store::open::MIGRATIONS;

/// The statements without comments and without the one word that may differ.
fn statements(text: &str) -> Vec<String> {
    let code = text.lines().map(|line| line.split("--").next().unwrap_or("")).collect::<Vec<_>>().join("\n");
    let words = code.replace("BYTEA", "BLOB").split_whitespace().collect::<Vec<_>>().join(" ");
    words.split(';').map(|statement| statement.trim().to_owned()).filter(|statement| !statement.is_empty()).collect()
}

#[test]
fn both_databases_get_the_same_tables() {
    for (name, sqlite, postgres) in MIGRATIONS {
        assert_eq!(statements(sqlite), statements(postgres), "{name}");
    }
}

#[test]
fn columns_are_only_of_types_that_mean_the_same_everywhere() {
    for table in MIGRATIONS.iter().flat_map(|(_, sqlite, _)| statements(sqlite)) {
        let Some(columns) = table.strip_prefix("CREATE TABLE IF NOT EXISTS ") else {
            let again = [" INDEX IF NOT EXISTS ", "DROP INDEX IF EXISTS ", "UPDATE messages SET status = "];
            assert!(again.iter().any(|words| table.contains(words)), "cannot be run again: {table}");
            continue;
        };
        let (_, columns) = columns.split_once('(').unwrap();
        let (columns, _) = columns.rsplit_once(')').unwrap();
        let columns = columns.split(", PRIMARY KEY (").next().unwrap();
        for column in columns.split(',') {
            let kind = column.split_whitespace().nth(1).unwrap_or_default();
            assert!(["BIGINT", "TEXT", "BLOB"].contains(&kind), "{column}");
        }
    }
}

#[test]
fn every_file_is_built_in() {
    for folder in ["sqlite", "postgres"] {
        let path = format!("{}/src/store/migrations/{folder}", env!("CARGO_MANIFEST_DIR"));
        let mut files: Vec<_> =
            std::fs::read_dir(path).unwrap().map(|file| file.unwrap().file_name().into_string().unwrap()).collect();
        files.sort();
        let built = MIGRATIONS.iter().zip(1..).map(|((name, _, _), version)| format!("{version:04}_{name}.sql"));
        assert_eq!(files, built.collect::<Vec<_>>(), "{folder}");
    }
}
