//! The store's tests: one suite, run on SQLite and on PostgreSQL, and what is particular to SQLite files.

mod files;
mod samples;
mod schema;
mod suite;

use super::Store;
use sqlx::Connection as _;

/// The same tests on both databases.
///
/// On SQLite each is a test by itself. PostgreSQL needs a server (`tests/postgres.sh start`), so its half is
/// one test that says by its name that it may have been left out; in CI leaving it out is a failure.
macro_rules! store_suite {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $test() {
                    let folder = tempfile::tempdir().unwrap();
                    super::suite::$test(&format!("sqlite:{}/seald.db", folder.path().display())).await;
                }
            )*
        }

        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn postgres_suite_skipped_unless_seald_test_postgres_is_set() {
            let Ok(server) = std::env::var("SEALD_TEST_POSTGRES") else {
                assert!(std::env::var_os("CI").is_none(), "CI must set SEALD_TEST_POSTGRES: see tests/postgres.sh");
                println!("SKIPPED: SEALD_TEST_POSTGRES is not set; the store was not tested on PostgreSQL");
                return;
            };
            $(
                println!("postgres::{}", stringify!($test));
                let schema = Schema::create(&server).await;
                suite::$test(&schema.url).await;
                schema.remove().await;
            )*
        }
    };
}

store_suite! {
    a_sector_comes_back_as_it_was,
    a_number_is_used_once,
    sectors_are_counted_by_state,
    a_change_is_all_or_nothing,
    ten_racers_have_one_winner,
    an_event_in_the_wrong_state_is_only_noted,
    history_replays_to_the_record,
    a_sector_has_one_live_message_of_a_kind,
    there_is_one_live_create_miner,
    a_sector_changes_its_batch_in_one_change,
    batches_move_along_their_edges_only,
    messages_of_the_first_schema_are_read,
    a_reorganisation_takes_a_landed_message_back,
    messages_are_listed_while_they_matter,
    rows_that_do_not_parse_are_named,
    readers_do_not_wait_for_the_writer,
    a_read_only_store_changes_nothing,
    a_generation_and_what_it_declines_change_together,
    settings_keep_the_last_value,
    durations_are_averaged,
    the_highest_peak_is_kept,
    another_schema_version_is_refused,
    opening_again_finds_everything,
}

/// A schema of its own for each test, on one server.
struct Schema {
    server: String,
    name: String,
    url: String,
}

impl Schema {
    async fn create(server: &str) -> Self {
        let name = format!("seald_{}", uuid::Uuid::new_v4().simple());
        let separator = if server.contains('?') { '&' } else { '?' };
        let url = format!("{server}{separator}options[search_path]={name}");
        let schema = Self { server: server.to_owned(), name, url };
        schema.run("CREATE SCHEMA").await;
        schema
    }

    async fn remove(self) {
        self.run("DROP SCHEMA").await;
    }

    async fn run(&self, what: &str) {
        let cascade = if what.starts_with("DROP") { " CASCADE" } else { "" };
        let statement = sqlx::AssertSqlSafe(format!("{what} {}{cascade}", self.name));
        let mut connection = sqlx::PgConnection::connect(&self.server).await.unwrap();
        sqlx::raw_sql(statement).execute(&mut connection).await.unwrap();
    }
}

/// Runs a statement behind the store's back.
async fn meddle(store: &Store, statement: &'static str) {
    sqlx::raw_sql(statement).execute(&store.writer).await.unwrap();
}
