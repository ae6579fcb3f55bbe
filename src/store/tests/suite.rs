//! What holds on every database. Each test gets the address of an empty one.

use super::{meddle, samples::*};
use crate::{
    sector::{EDGES, Event, EventKind, Record, Stage, State},
    store::{Change, HistoryEntry, MessageKind, MessageStatus, Store, StoreError, Took, Unreadable},
    units::{SectorSize, UnixMillis},
};
use proptest::{
    collection::vec,
    prelude::any,
    strategy::{Strategy as _, ValueTree as _},
    test_runner::TestRunner,
};
use std::{collections::BTreeSet, time::Duration};
use tokio::{task::JoinSet, time::timeout};

pub(super) async fn a_sector_comes_back_as_it_was(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.sectors().await.unwrap(), (vec![], vec![]));
    assert_eq!(store.max_number().await.unwrap(), None);
    let largest = u64::try_from(i64::MAX).unwrap();
    for n in [9, largest, 0, 10] {
        created(&store, n).await;
    }
    let (read, unreadable) = store.sectors().await.unwrap();
    assert_eq!((read, unreadable), ([0, 9, 10, largest].map(sector).to_vec(), vec![]));
    assert_eq!(store.sector(number(10)).await.unwrap(), Some(sector(10)));
    assert_eq!(store.sector(number(11)).await.unwrap(), None);
    assert_eq!(store.max_number().await.unwrap(), Some(number(largest)));
    assert_eq!(store.history(number(9)).await.unwrap(), vec![]);
}

pub(super) async fn a_number_is_used_once(url: &str) {
    let store = Store::open(url).await.unwrap();
    let (packed, change) = change(&created(&store, 7).await, &Event::Packed);
    store.commit(&change).await.unwrap();
    let again = store.create(&[sector(7)]).await.unwrap_err();
    assert_eq!(again.to_string(), "sector number 7 is already taken");
    let with_others = store.create(&[sector(6), sector(7), sector(8)]).await.unwrap_err();
    assert!(matches!(with_others, StoreError::Taken { number } if number == packed.number));
    assert_eq!(store.sectors().await.unwrap().0, vec![packed.clone()], "all or none");
    assert_eq!(store.sector(number(7)).await.unwrap(), Some(packed));
}

pub(super) async fn a_change_is_all_or_nothing(url: &str) {
    let store = Store::open(url).await.unwrap();
    let (one, two) = (created(&store, 1).await, created(&store, 2).await);
    let nothing_happened = async || {
        assert_eq!(store.sectors().await.unwrap().0, vec![one.clone(), two.clone()]);
        assert_eq!(store.history(number(1)).await.unwrap(), vec![]);
        assert_eq!(store.messages().await.unwrap().0.len(), 1);
    };
    store.add_message(&message("a", MessageKind::Commit, &[])).await.unwrap();
    let both = |message| Change {
        sectors: vec![
            (two.apply(&Event::Packed, NOW).unwrap(), Event::Packed),
            change(&one, &Event::Packed).1.sectors[0].clone(),
        ],
        message,
        at: NOW,
        ..Change::default()
    };

    let error = store.commit(&both(Some(message("a", MessageKind::PreCommit, &[1])))).await.unwrap_err();
    assert!(matches!(error, StoreError::DuplicateMessage { .. }), "{error:?}");
    nothing_happened().await;
    let error = store.commit(&both(Some(message("b", MessageKind::PreCommit, &[1, 2, 3])))).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownSector { number } if number.as_u64() == 3), "{error:?}");
    nothing_happened().await;
    let mut stale = both(None);
    stale.sectors[0].0.version = 5;
    let error = store.commit(&stale).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { number, expected: 4 } if number.as_u64() == 2), "{error:?}");
    nothing_happened().await;

    let sent = message("b", MessageKind::PreCommit, &[2, 1]);
    store.commit(&both(Some(sent.clone()))).await.unwrap();
    assert_eq!(store.message(&id("b")).await.unwrap(), Some(sent));
    assert_eq!(store.sector(number(1)).await.unwrap().unwrap().state, State::PreCommit1);
    let entry = HistoryEntry { at: NOW, event: Event::Packed, applied: true };
    assert_eq!(store.history(number(2)).await.unwrap(), vec![entry]);
}

pub(super) async fn ten_racers_have_one_winner(url: &str) {
    let stores = [Store::open(url).await.unwrap(), Store::open(url).await.unwrap()];
    let start = created(&stores[0], 1).await;
    let mut racers = JoinSet::new();
    for store in stores.iter().cycle().take(10) {
        let (store, change) = (store.clone(), change(&start, &Event::Packed).1);
        racers.spawn(async move { store.commit(&change).await });
    }
    let ends = racers.join_all().await;
    let conflicts = ends.iter().filter(|end| matches!(end, Err(StoreError::Conflict { expected: 0, .. }))).count();
    assert_eq!((ends.iter().filter(|end| end.is_ok()).count(), conflicts), (1, 9), "{ends:?}");
    assert_eq!(stores[1].history(number(1)).await.unwrap().len(), 1);
}

pub(super) async fn an_event_in_the_wrong_state_is_only_noted(url: &str) {
    let store = Store::open(url).await.unwrap();
    let record = created(&store, 4).await;
    let strange = event(EventKind::ProofReady, 3);
    store.note(number(4), &strange, UnixMillis::new(12)).await.unwrap();
    assert_eq!(store.sector(number(4)).await.unwrap(), Some(record));
    let entry = HistoryEntry { at: UnixMillis::new(12), event: strange.clone(), applied: false };
    assert_eq!(store.history(number(4)).await.unwrap(), vec![entry]);
    let error = store.note(number(5), &strange, NOW).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no sector 5");
}

/// Random walks over the table, one from every state, with events in between that do not apply.
pub(super) async fn history_replays_to_the_record(url: &str) {
    let store = Store::open(url).await.unwrap();
    let mut runner = TestRunner::default();
    for (n, state) in (0..).zip(State::ALL.iter().copied()) {
        let walk = vec(any::<(u16, u8)>(), 10..40).new_tree(&mut runner).unwrap().current();
        let mut first = sector(n);
        first.state = state;
        store.create(std::slice::from_ref(&first)).await.unwrap();
        let mut record = first.clone();
        for (choice, payload) in &walk {
            let (choice, at) = (usize::from(*choice), later(&record));
            let stray = event(EventKind::ALL[choice % EventKind::ALL.len()], *payload);
            if record.apply(&stray, at).is_err() {
                store.note(number(n), &stray, at).await.unwrap();
            }
            let edges: Vec<_> = EDGES.iter().filter(|(from, _, _)| *from == record.state).collect();
            let Some((_, kind, _)) = edges.get(choice % edges.len().max(1)) else { break };
            let event = event(*kind, *payload);
            record = record.apply(&event, at).unwrap();
            store.commit(&Change { sectors: vec![(record.clone(), event)], at, ..Change::default() }).await.unwrap();
        }
        let history = store.history(number(n)).await.unwrap();
        let applied = history.iter().filter(|entry| entry.applied).count();
        assert_eq!(u64::try_from(applied).unwrap(), record.version, "{walk:?}");
        assert_eq!(replay(first, &history), record, "{walk:?}");
        assert_eq!(store.sector(number(n)).await.unwrap(), Some(record), "{walk:?}");
    }
}

fn later(record: &Record) -> UnixMillis {
    NOW.plus_ms(i64::try_from(record.version).unwrap() * 1000)
}

fn replay(first: Record, history: &[HistoryEntry]) -> Record {
    let applied = history.iter().filter(|entry| entry.applied);
    applied.fold(first, |record, entry| record.apply(&entry.event, entry.at).unwrap())
}

pub(super) async fn a_sector_has_one_live_message_of_a_kind(url: &str) {
    let store = Store::open(url).await.unwrap();
    for n in 1..=3 {
        created(&store, n).await;
    }
    store.add_message(&message("a", MessageKind::PreCommit, &[1, 2])).await.unwrap();
    let second = message("b", MessageKind::PreCommit, &[3, 2]);
    let error = store.add_message(&second).await.unwrap_err();
    let said = "a pre_commit message of sector 2 is still under way: wait until it has landed or was refused";
    assert_eq!(error.to_string(), said);
    assert_eq!(store.message(&id("b")).await.unwrap(), None);
    store.add_message(&message("c", MessageKind::Commit, &[2])).await.unwrap();
    store.set_message(&id("a"), &pushed(1), 1).await.unwrap();
    assert!(store.add_message(&second).await.is_err());
    store.set_message(&id("a"), &refused(), 1).await.unwrap();
    store.add_message(&second).await.unwrap();
}

pub(super) async fn there_is_one_live_create_miner(url: &str) {
    let store = Store::open(url).await.unwrap();
    store.add_message(&message("a", MessageKind::CreateMiner, &[])).await.unwrap();
    let error = store.add_message(&message("b", MessageKind::CreateMiner, &[])).await.unwrap_err();
    assert!(error.to_string().starts_with("a create_miner message is still under way"), "{error}");
    let error = store.add_message(&message("a", MessageKind::CreateMiner, &[])).await.unwrap_err();
    assert_eq!(error.to_string(), "message a is recorded already");
    store.set_message(&id("a"), &landed(5), 1).await.unwrap();
    store.add_message(&message("b", MessageKind::CreateMiner, &[])).await.unwrap();
    let error = store.revert_message(&id("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::LiveMessage { kind: MessageKind::CreateMiner, .. }), "{error:?}");
}

pub(super) async fn messages_only_move_down(url: &str) {
    let store = Store::open(url).await.unwrap();
    let steps = [MessageStatus::Intended, pushed(u64::MAX), landed(9), refused()];
    let allowed = |from: usize, to: usize| from == to || (from < to && to != 3) || (from < 2 && to == 3);
    for (from, start) in steps.iter().enumerate() {
        for (to, end) in steps.iter().enumerate() {
            let mut message = message(&format!("{from}-{to}"), MessageKind::Commit, &[]);
            message.status = start.clone();
            store.add_message(&message).await.unwrap();
            let done = store.set_message(&message.id, end, 7).await;
            match done {
                Ok(()) => (message.status, message.attempts) = (end.clone(), 7),
                Err(StoreError::Backwards { .. }) => assert!(!allowed(from, to)),
                Err(error) => panic!("{error:?}"),
            }
            assert_eq!(message.status == *end, allowed(from, to), "{from} to {to}");
            assert_eq!(store.message(&message.id).await.unwrap(), Some(message));
        }
    }
    let error = store.set_message(&id("none"), &refused(), 0).await.unwrap_err();
    assert_eq!(error.to_string(), "there is no message none");
    let error = store.set_message(&id("3-3"), &pushed(1), 0).await.unwrap_err();
    assert_eq!(error.to_string(), "message 3-3 is refused and cannot become pushed");
}

pub(super) async fn a_reorganisation_takes_a_landed_message_back(url: &str) {
    let store = Store::open(url).await.unwrap();
    created(&store, 1).await;
    store.add_message(&message("a", MessageKind::PreCommit, &[1])).await.unwrap();
    let error = store.revert_message(&id("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::Backwards { .. }), "{error:?}");
    store.set_message(&id("a"), &pushed(3), 2).await.unwrap();
    store.set_message(&id("a"), &landed(10), 2).await.unwrap();
    assert_eq!(store.revert_message(&id("a")).await.unwrap(), pushed(3));
    let back = store.message(&id("a")).await.unwrap().unwrap();
    assert_eq!((back.status, back.attempts), (pushed(3), 2));
    // live again: nothing may take its place
    assert!(store.add_message(&message("b", MessageKind::PreCommit, &[1])).await.is_err());

    store.set_message(&id("a"), &landed(11), 2).await.unwrap();
    store.add_message(&message("b", MessageKind::PreCommit, &[1])).await.unwrap();
    let error = store.revert_message(&id("a")).await.unwrap_err();
    assert!(matches!(error, StoreError::LiveMessage { .. }), "{error:?}");
    assert_eq!(store.message(&id("a")).await.unwrap().unwrap().status, landed(11));
    // found on chain without a recorded push
    store.set_message(&id("b"), &landed(12), 0).await.unwrap();
    assert_eq!(store.revert_message(&id("b")).await.unwrap(), MessageStatus::Intended);
    let error = store.revert_message(&id("none")).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownMessage { .. }), "{error:?}");
}

pub(super) async fn messages_are_listed_while_they_matter(url: &str) {
    let store = Store::open(url).await.unwrap();
    let mut finals = Vec::new();
    for (n, state) in (0..).zip(State::ALL.iter().copied()) {
        let mut record = sector(n);
        record.state = state;
        store.create(std::slice::from_ref(&record)).await.unwrap();
        let mut landed_message = message(&format!("landed-{state}"), MessageKind::Commit, &[n]);
        landed_message.status = landed(1);
        store.add_message(&landed_message).await.unwrap();
        if state.is_final() {
            finals.push(n);
        }
    }
    store.add_message(&message("live", MessageKind::PreCommit, &finals)).await.unwrap();
    store.add_message(&message("miner", MessageKind::CreateMiner, &[])).await.unwrap();
    store.set_message(&id("miner"), &landed(1), 1).await.unwrap();
    let (listed, unreadable) = store.messages().await.unwrap();
    assert_eq!(unreadable, vec![]);
    let listed: BTreeSet<String> = listed.into_iter().map(|message| message.id.0).collect();
    let open = State::ALL.iter().filter(|state| !state.is_final()).map(|state| format!("landed-{state}"));
    assert_eq!(listed, open.chain(["live".to_owned(), "miner".to_owned()]).collect());
}

pub(super) async fn rows_that_do_not_parse_are_named(url: &str) {
    let store = Store::open(url).await.unwrap();
    for n in 1..=5 {
        created(&store, n).await;
    }
    for name in ["a", "b", "c"] {
        store.add_message(&message(name, MessageKind::Commit, &[])).await.unwrap();
    }
    store.note(number(1), &Event::Packed, NOW).await.unwrap();
    meddle(&store, "UPDATE sectors SET record = '{\"number\":2' WHERE number = 2").await;
    meddle(&store, "UPDATE sectors SET state = 'Dancing' WHERE number = 4").await;
    meddle(&store, "UPDATE sectors SET version = -1 WHERE number = 5").await;
    meddle(&store, "UPDATE messages SET kind = 'gift' WHERE id = 'a'").await;
    meddle(&store, "UPDATE messages SET outcome = '{\"status\":\"refused\",\"why\":\"\"}' WHERE id = 'c'").await;
    meddle(&store, "UPDATE events SET event = '{}' WHERE sector = 1").await;

    let names = |unreadable: Vec<Unreadable>| unreadable.into_iter().map(|row| row.what).collect::<Vec<_>>();
    let (read, unreadable) = store.sectors().await.unwrap();
    assert_eq!(read, [1, 3].map(sector).to_vec());
    assert!(unreadable[1].error.contains("state Dancing"), "{unreadable:?}");
    assert_eq!(names(unreadable), ["sectors 2", "sectors 4", "sectors 5"]);
    assert_eq!(store.max_number().await.unwrap(), Some(number(5)));
    let error = store.sector(number(2)).await.unwrap_err();
    assert!(error.to_string().starts_with("sectors 2 cannot be read: column record: EOF"), "{error}");
    let (read, unreadable) = store.messages().await.unwrap();
    assert_eq!(read, vec![message("b", MessageKind::Commit, &[])]);
    assert_eq!(names(unreadable), ["messages a", "messages c"]);
    let error = store.history(number(1)).await.unwrap_err();
    assert!(error.to_string().starts_with("events 1/1 cannot be read"), "{error}");
}

pub(super) async fn readers_do_not_wait_for_the_writer(url: &str) {
    let store = Store::open(url).await.unwrap();
    let before = created(&store, 1).await;
    let other = Store::open_read_only(url).await.unwrap();
    let mut writing = store.begin().await.unwrap();
    sqlx::raw_sql("UPDATE sectors SET version = 9 WHERE number = 1").execute(&mut *writing).await.unwrap();
    for reader in [&store, &other] {
        let read = timeout(Duration::from_secs(5), reader.sectors()).await.expect("a reader waits").unwrap();
        assert_eq!(read.0, vec![before.clone()]);
    }
    timeout(Duration::from_secs(5), Store::open_read_only(url)).await.expect("opening waits").unwrap();
    writing.rollback().await.unwrap();
}

pub(super) async fn a_read_only_store_changes_nothing(url: &str) {
    let store = Store::open(url).await.unwrap();
    created(&store, 1).await;
    let reader = Store::open_read_only(url).await.unwrap();
    assert_eq!(reader.sectors().await.unwrap().0, vec![sector(1)]);
    assert!(matches!(reader.create(&[sector(2)]).await, Err(StoreError::Query { .. })));
    assert!(matches!(reader.commit(&change(&sector(1), &Event::Packed).1).await, Err(StoreError::Query { .. })));
    assert_eq!(store.sectors().await.unwrap().0, vec![sector(1)]);
}

pub(super) async fn settings_keep_the_last_value(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.setting("miner").await.unwrap(), None);
    for value in ["f01000", "", "it's \"f01001\" ✓"] {
        store.set_setting("miner", value).await.unwrap();
        assert_eq!(store.setting("miner").await.unwrap().as_deref(), Some(value));
    }
    assert_eq!(store.setting("Miner").await.unwrap(), None);
}

pub(super) async fn durations_are_averaged(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.durations().await.unwrap(), vec![]);
    let record = async |stage, size, ms| {
        let durations = vec![Took { stage, size, ms }];
        store.commit(&Change { durations, at: NOW, ..Change::default() }).await.unwrap();
    };
    for ms in [1000, 2000, 3000] {
        record(Stage::PreCommit1, SectorSize::GiB32, ms).await;
    }
    record(Stage::Commit, SectorSize::KiB2, u64::MAX).await;
    let largest = u64::try_from(i64::MAX).unwrap();
    let mean = ("precommit1".to_owned(), SectorSize::GiB32, 2000, 3);
    assert_eq!(store.durations().await.unwrap(), vec![("commit".to_owned(), SectorSize::KiB2, largest, 1), mean]);
    for _ in 0..60 {
        record(Stage::PreCommit1, SectorSize::GiB32, 10_000).await;
    }
    let (_, _, average, samples) = store.durations().await.unwrap()[1];
    assert!((9_900..=10_000).contains(&average) && samples == 63, "{average} of {samples}");
}

pub(super) async fn another_schema_version_is_refused(url: &str) {
    let store = Store::open(url).await.unwrap();
    created(&store, 1).await;
    meddle(&store, "UPDATE _sqlx_migrations SET version = 1000").await;
    for error in [Store::open(url).await.unwrap_err(), Store::open_read_only(url).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { found: 1000, known: 1 }), "{error:?}");
    }
    assert_eq!(store.sectors().await.unwrap().0, vec![sector(1)]);
    meddle(&store, "DROP TABLE _sqlx_migrations").await;
    let error = Store::open_read_only(url).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 0, known: 1 }), "{error:?}");
}

pub(super) async fn opening_again_finds_everything(url: &str) {
    let first = Store::open(url).await.unwrap();
    let (packed, change) = change(&created(&first, 1).await, &Event::Packed);
    first.commit(&change).await.unwrap();
    first.writer.close().await;
    first.reader.close().await;
    let second = Store::open(url).await.unwrap();
    assert_eq!(second.sectors().await.unwrap().0, vec![packed]);
    assert_eq!(second.history(number(1)).await.unwrap().len(), 1);
}
