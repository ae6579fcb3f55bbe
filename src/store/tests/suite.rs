//! What holds on every database. Each test gets the address of an empty one.

use super::{meddle, samples::*};
use crate::{
    outbox::{Batch, BatchState, MessageKind},
    sector::{EDGES, Event, EventKind, Record, Stage, State},
    store::{Change, Generation, HistoryEntry, Store, StoreError, Took, Unreadable, known_version},
    units::{Bytes, SectorSize, UnixMillis},
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

pub(super) async fn sectors_are_counted_by_state(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.count_by_state().await.unwrap(), []);
    for n in 1..=4 {
        let (_, change) = change(&created(&store, n).await, &Event::Packed);
        if n < 4 {
            store.commit(&change).await.unwrap();
        }
    }
    // what cannot be read is counted all the same
    meddle(&store, "UPDATE sectors SET record = '{', state = 'Sealing' WHERE number = 3").await;
    let counted = store.count_by_state().await.unwrap();
    let counted: Vec<_> = counted.iter().map(|(state, number)| (state.as_str(), *number)).collect();
    assert_eq!(counted, [("Packing", 1), ("PreCommit1", 2), ("Sealing", 1)]);
    let listed = store.states().await.unwrap();
    let listed: Vec<_> = listed.iter().map(|(number, state)| (number.as_u64(), state.as_str())).collect();
    assert_eq!(listed, [(1, "PreCommit1"), (2, "PreCommit1"), (3, "Sealing"), (4, "Packing")]);
}

pub(super) async fn a_number_is_used_once(url: &str) {
    let store = Store::open(url).await.unwrap();
    let (packed, change) = change(&created(&store, 7).await, &Event::Packed);
    store.commit(&change).await.unwrap();
    let again = create(&store, &[sector(7)]).await.unwrap_err();
    assert_eq!(again.to_string(), "sector number 7 is already taken");
    let with_others = create(&store, &[sector(6), sector(7), sector(8)]).await.unwrap_err();
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
        assert_eq!(store.batches().await.unwrap().0.len(), 1);
    };
    store.put_batch(&sealed("a", MessageKind::Commit, &[])).await.unwrap();
    let both = |batch: Option<Batch>| Change {
        sectors: vec![
            (two.apply(&Event::Packed, NOW).unwrap(), Event::Packed),
            change(&one, &Event::Packed).1.sectors[0].clone(),
        ],
        batches: batch.into_iter().collect(),
        at: NOW,
        ..Change::default()
    };

    let opened = Batch::open(id("a"), MessageKind::Commit, vec![number(1)], NOW);
    let error = store.commit(&both(Some(opened))).await.unwrap_err();
    assert!(matches!(error, StoreError::Backwards { from: "sealed", to: "open", .. }), "{error:?}");
    nothing_happened().await;
    let error = store.commit(&both(Some(sealed("b", MessageKind::PreCommit, &[1, 2, 3])))).await.unwrap_err();
    assert!(matches!(error, StoreError::UnknownSector { number } if number.as_u64() == 3), "{error:?}");
    nothing_happened().await;
    let mut stale = both(None);
    stale.sectors[0].0.version = 5;
    let error = store.commit(&stale).await.unwrap_err();
    assert!(matches!(error, StoreError::Conflict { number, expected: 4 } if number.as_u64() == 2), "{error:?}");
    nothing_happened().await;

    let batch = sealed("b", MessageKind::PreCommit, &[2, 1]);
    store.commit(&both(Some(batch.clone()))).await.unwrap();
    assert_eq!(store.batch(&id("b")).await.unwrap(), Some(batch));
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
    note(&store, number(4), &strange, UnixMillis::new(12)).await.unwrap();
    assert_eq!(store.sector(number(4)).await.unwrap(), Some(record));
    let entry = HistoryEntry { at: UnixMillis::new(12), event: strange.clone(), applied: false };
    assert_eq!(store.history(number(4)).await.unwrap(), vec![entry]);
    let error = note(&store, number(5), &strange, NOW).await.unwrap_err();
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
        create(&store, std::slice::from_ref(&first)).await.unwrap();
        let mut record = first.clone();
        for (choice, payload) in &walk {
            let (choice, at) = (usize::from(*choice), later(&record));
            let stray = event(EventKind::ALL[choice % EventKind::ALL.len()], *payload);
            if record.apply(&stray, at).is_err() {
                note(&store, number(n), &stray, at).await.unwrap();
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

// matrix: D17
pub(super) async fn a_sector_has_one_live_message_of_a_kind(url: &str) {
    let store = Store::open(url).await.unwrap();
    for n in 1..=3 {
        created(&store, n).await;
    }
    let first = sealed("a", MessageKind::PreCommit, &[1, 2]);
    store.put_batch(&first).await.unwrap();
    for second in [
        sealed("b", MessageKind::PreCommit, &[3, 2]),
        Batch::open(id("b"), MessageKind::PreCommit, vec![number(2)], NOW),
    ] {
        let error = store.put_batch(&second).await.unwrap_err();
        let said = "a pre_commit message of sector 2 is still under way: wait until it has landed or was given up";
        assert_eq!(error.to_string(), said);
    }
    assert_eq!(store.batch(&id("b")).await.unwrap(), None);
    store.put_batch(&sealed("c", MessageKind::Commit, &[2])).await.unwrap();
    store.put_batch(&sent(&first, 1)).await.unwrap();
    let second = sealed("b", MessageKind::PreCommit, &[3, 2]);
    assert!(store.put_batch(&second).await.is_err());
    store.put_batch(&dissolved(&sent(&first, 1))).await.unwrap();
    store.put_batch(&second).await.unwrap();
}

pub(super) async fn a_sector_changes_its_batch_in_one_change(url: &str) {
    let store = Store::open(url).await.unwrap();
    for n in 1..=2 {
        created(&store, n).await;
    }
    let open = |name: &str, numbers: &[u64]| {
        let numbers = numbers.iter().copied().map(number).collect();
        Batch::open(id(name), MessageKind::PreCommit, numbers, NOW)
    };
    store.put_batch(&open("m", &[1, 2])).await.unwrap();
    // whichever of the two rows is written first
    for (rest, with) in [("a", 1), ("z", 2)] {
        let left = 3 - with;
        let batches = vec![open(rest, &[with]), open("m", &[left])];
        store.commit(&Change { batches, ..Change::default() }).await.unwrap();
        assert_eq!(store.batch(&id("m")).await.unwrap(), Some(open("m", &[left])));
        let back = vec![dissolved(&open(rest, &[])), open("m", &[1, 2])];
        store.commit(&Change { batches: back, ..Change::default() }).await.unwrap();
    }
}

pub(super) async fn there_is_one_live_create_miner(url: &str) {
    let store = Store::open(url).await.unwrap();
    let first = sealed("a", MessageKind::CreateMiner, &[]);
    store.put_batch(&first).await.unwrap();
    let second = sealed("b", MessageKind::CreateMiner, &[]);
    let error = store.put_batch(&second).await.unwrap_err();
    assert!(error.to_string().starts_with("a create_miner message is still under way"), "{error}");
    store.put_batch(&landed(&first, 5)).await.unwrap();
    store.put_batch(&second).await.unwrap();
    let error = store.put_batch(&first).await.unwrap_err();
    assert!(matches!(error, StoreError::LiveMessage { kind: MessageKind::CreateMiner, .. }), "{error:?}");
}

pub(super) async fn batches_move_along_their_edges_only(url: &str) {
    let store = Store::open(url).await.unwrap();
    let stages = |name: &str| {
        let sealed = sealed(name, MessageKind::Commit, &[]);
        let open = Batch::open(sealed.id.clone(), MessageKind::Commit, Vec::new(), NOW);
        let sent = sent(&sealed, u64::MAX);
        let landed = landed(&sent, 9);
        let BatchState::Landed(executed) = landed.state.clone() else { panic!() };
        let settled = Batch { state: BatchState::Settled(executed), ..landed.clone() };
        [open, sealed.clone(), sent, landed, settled, dissolved(&sealed)]
    };
    for from in 0..6 {
        for to in 0..6 {
            let name = format!("{from}-{to}");
            let (start, end) = (stages(&name)[from].clone(), stages(&name)[to].clone());
            store.put_batch(&start).await.unwrap();
            let done = store.put_batch(&end).await;
            let stands = store.batch(&id(&name)).await.unwrap().unwrap();
            match done {
                Ok(()) => assert_eq!(stands, end),
                Err(StoreError::Backwards { .. }) => assert_eq!(stands, start),
                Err(error) => panic!("{error:?}"),
            }
            assert_eq!(start.state.may_become(&end.state), stands == end, "{name}");
        }
    }
    let error = store.put_batch(&stages("5-5")[2]).await.unwrap_err();
    assert_eq!(error.to_string(), "message 5-5 is dissolved and cannot become sent");
}

pub(super) async fn a_reorganisation_takes_a_landed_message_back(url: &str) {
    let store = Store::open(url).await.unwrap();
    created(&store, 1).await;
    let first = sent(&sealed("a", MessageKind::PreCommit, &[1]), 3);
    store.put_batch(&sealed("a", MessageKind::PreCommit, &[1])).await.unwrap();
    store.put_batch(&first).await.unwrap();
    store.put_batch(&landed(&first, 10)).await.unwrap();
    store.put_batch(&first).await.unwrap();
    assert_eq!(store.batch(&id("a")).await.unwrap(), Some(first.clone()));
    // live again: nothing may take its place
    let second = sealed("b", MessageKind::PreCommit, &[1]);
    assert!(store.put_batch(&second).await.is_err());
    store.put_batch(&landed(&first, 11)).await.unwrap();
    store.put_batch(&second).await.unwrap();
    let error = store.put_batch(&first).await.unwrap_err();
    assert!(matches!(error, StoreError::LiveMessage { .. }), "{error:?}");
    assert_eq!(store.batch(&id("a")).await.unwrap(), Some(landed(&first, 11)));
}

/// What the version before this one wrote.
pub(super) async fn messages_of_the_first_schema_are_read(url: &str) {
    let store = Store::open(url).await.unwrap();
    store.put_batch(&sealed("a", MessageKind::Commit, &[])).await.unwrap();
    meddle(&store, "UPDATE messages SET status = 'pushed', outcome = '{\"status\":\"pushed\",\"cid\":\"bafy\",\"nonce\":3}', pushed = '{\"cid\":\"bafy\",\"nonce\":3}'").await;
    sqlx::raw_sql(include_str!("../migrations/sqlite/0002_batches.sql")).execute(&store.writer).await.unwrap();
    let read = store.batch(&id("a")).await.unwrap().unwrap();
    assert_eq!(read.state, BatchState::Sent);
    assert_eq!(read.sent.map(|sent| (sent.cid, sent.nonce)), Some(("bafy".to_owned(), 3)));
}

pub(super) async fn messages_are_listed_while_they_matter(url: &str) {
    let store = Store::open(url).await.unwrap();
    let mut finals = Vec::new();
    for (n, state) in (0..).zip(State::ALL.iter().copied()) {
        let mut record = sector(n);
        record.state = state;
        create(&store, std::slice::from_ref(&record)).await.unwrap();
        let sealed = sealed(&format!("ended-{state}"), MessageKind::Commit, &[n]);
        store.put_batch(&settled(&sealed, 1)).await.unwrap();
        if state.is_final() {
            finals.push(n);
        }
    }
    store.put_batch(&sealed("live", MessageKind::PreCommit, &finals)).await.unwrap();
    store.put_batch(&landed(&sealed("miner", MessageKind::CreateMiner, &[]), 1)).await.unwrap();
    // a reorganisation may take it back, whatever its sectors are by now
    store.put_batch(&landed(&sealed("landed", MessageKind::Terminate, &finals), 1)).await.unwrap();
    let (listed, unreadable) = store.batches().await.unwrap();
    assert_eq!(unreadable, vec![]);
    let listed: BTreeSet<String> = listed.into_iter().map(|message| message.id.0).collect();
    let open = State::ALL.iter().filter(|state| !state.is_final()).map(|state| format!("ended-{state}"));
    assert_eq!(listed, open.chain(["landed", "live", "miner"].map(str::to_owned)).collect());
}

pub(super) async fn rows_that_do_not_parse_are_named(url: &str) {
    let store = Store::open(url).await.unwrap();
    for n in 1..=5 {
        created(&store, n).await;
    }
    for name in ["a", "b", "c"] {
        store.put_batch(&sealed(name, MessageKind::Commit, &[])).await.unwrap();
    }
    note(&store, number(1), &Event::Packed, NOW).await.unwrap();
    meddle(&store, "UPDATE sectors SET record = '{\"number\":2' WHERE number = 2").await;
    meddle(&store, "UPDATE sectors SET state = 'Dancing' WHERE number = 4").await;
    meddle(&store, "UPDATE sectors SET version = -1 WHERE number = 5").await;
    meddle(&store, "UPDATE messages SET kind = 'gift' WHERE id = 'a'").await;
    meddle(&store, "UPDATE messages SET outcome = '{\"status\":\"dissolved\",\"why\":\"\"}' WHERE id = 'c'").await;
    meddle(&store, "UPDATE events SET event = '{}' WHERE sector = 1").await;

    let names = |unreadable: Vec<Unreadable>| unreadable.into_iter().map(|row| row.what).collect::<Vec<_>>();
    let (read, unreadable) = store.sectors().await.unwrap();
    assert_eq!(read, [1, 3].map(sector).to_vec());
    assert!(unreadable[1].error.contains("state Dancing"), "{unreadable:?}");
    assert_eq!(names(unreadable), ["sectors 2", "sectors 4", "sectors 5"]);
    assert_eq!(store.max_number().await.unwrap(), Some(number(5)));
    let error = store.sector(number(2)).await.unwrap_err();
    assert!(error.to_string().starts_with("sectors 2 cannot be read: column record: EOF"), "{error}");
    let (read, unreadable) = store.batches().await.unwrap();
    assert_eq!(read, vec![sealed("b", MessageKind::Commit, &[])]);
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
    assert!(matches!(create(&reader, &[sector(2)]).await, Err(StoreError::Query { .. })));
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
    for _ in 0..2 {
        store.forget_setting("miner").await.unwrap();
        assert_eq!(store.setting("miner").await.unwrap(), None);
    }
}

pub(super) async fn durations_are_averaged(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.durations().await.unwrap(), vec![]);
    let record = async |stage, size, ms| {
        let durations = vec![Took { stage, size, ms, peak: None }];
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

pub(super) async fn the_highest_peak_is_kept(url: &str) {
    let store = Store::open(url).await.unwrap();
    for peak in [Some(700), Some(900), None, Some(800)] {
        let (stage, size) = (Stage::Commit, SectorSize::KiB2);
        let durations = vec![Took { stage, size, ms: 1, peak: peak.map(Bytes::new) }];
        store.commit(&Change { durations, at: NOW, ..Change::default() }).await.unwrap();
    }
    assert_eq!(store.peaks().await.unwrap(), vec![("commit".to_owned(), SectorSize::KiB2, Bytes::new(900))]);
}

pub(super) async fn another_schema_version_is_refused(url: &str) {
    let store = Store::open(url).await.unwrap();
    created(&store, 1).await;
    let last = known_version();
    // the row of the newest step
    meddle(
        &store,
        "UPDATE _sqlx_migrations SET version = 1000 WHERE version = (SELECT MAX(version) FROM _sqlx_migrations)",
    )
    .await;
    for error in [Store::open(url).await.unwrap_err(), Store::open_read_only(url).await.unwrap_err()] {
        assert!(matches!(error, StoreError::Newer { found: 1000, known } if known == last), "{error:?}");
    }
    assert_eq!(store.sectors().await.unwrap().0, vec![sector(1)]);
    meddle(&store, "DROP TABLE _sqlx_migrations").await;
    let error = Store::open_read_only(url).await.unwrap_err();
    assert!(matches!(error, StoreError::Older { found: 0, known } if known == last), "{error:?}");
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

pub(super) async fn a_generation_and_what_it_declines_change_together(url: &str) {
    let store = Store::open(url).await.unwrap();
    assert_eq!(store.generations(9).await.unwrap(), []);
    assert_eq!(store.declined_generation().await.unwrap(), None);
    let nth = |number: u64| Generation {
        number,
        applied: UnixMillis::new(i64::try_from(number).unwrap()),
        note: "reload".to_owned(),
        files: format!("[\"text {number}\"]"),
    };
    store.begin_generation(&nth(1), None).await.unwrap();
    store.begin_generation(&nth(2), Some(1)).await.unwrap();
    assert_eq!(store.declined_generation().await.unwrap(), Some(1));
    // one that is there already takes nothing along
    store.begin_generation(&Generation { note: "another".to_owned(), ..nth(2) }, None).await.unwrap_err();
    assert_eq!(store.declined_generation().await.unwrap(), Some(1));
    assert_eq!(store.generations(9).await.unwrap(), [nth(2), nth(1)]);
    store.begin_generation(&nth(3), None).await.unwrap();
    assert_eq!(store.declined_generation().await.unwrap(), None);
    assert_eq!(store.generations(1).await.unwrap(), [nth(3)]);
}
