//! Batches in the book: who is in them, what a message does to its sectors, and what a head does to messages.

use super::*;
use crate::{
    outbox::Executed,
    sector::EventKind,
    sector::{
        Next, next,
        tests::{CHAIN, NOW, POLICY, event},
    },
    units::{AttoFil, SectorSize},
};

fn number(n: u64) -> SectorNumber {
    n.try_into().unwrap()
}

fn id(name: &str) -> MessageId {
    MessageId(name.to_owned())
}

const TO_PRECOMMIT: [EventKind; 4] =
    [EventKind::Packed, EventKind::TicketDrawn, EventKind::PreCommit1Done, EventKind::PreCommit2Done];

/// Sectors 1 to `count` that wait for a pre-commit, in batch `m`.
fn waiting(count: u64) -> Book {
    let record = |n| {
        let start = Record::new(number(n), SectorSize::KiB2.seal_proof(), "nvme".parse().unwrap(), NOW);
        TO_PRECOMMIT.iter().fold(start, |record, kind| record.apply(&event(*kind), NOW).unwrap())
    };
    let mut book = Book::of((1..=count).map(record).collect(), Vec::new());
    let numbers: Vec<_> = (1..=count).map(number).collect();
    let change = book.join(MessageKind::PreCommit, None, &numbers, id("m"), NOW);
    book.committed(change);
    book
}

fn message() -> Message {
    let (from, to) = ("t01002".to_owned(), "t01000".to_owned());
    Message { from, to, value: AttoFil::ZERO, method: 28, params: vec![1] }
}

fn composed(members: &[u64], refused: &[u64]) -> Composed {
    let members: Vec<_> = members.iter().copied().map(number).collect();
    let message = (!members.is_empty()).then(|| (members, message()));
    Composed { message, refused: refused.iter().map(|n| (number(*n), "already allocated".to_owned())).collect() }
}

fn sent() -> Sent {
    let (cid, signed) = ("bafy".to_owned(), None);
    Sent { cid, nonce: 1, gas: Default::default(), signed, replaced: Vec::new(), at: Epoch::new(10) }
}

fn executed(height: i64) -> Fate {
    Fate::Executed(Executed { cid: "bafy".to_owned(), exit_code: 0, value: Vec::new(), height: Epoch::new(height) })
}

impl Book {
    fn follow(&mut self, change: Change) {
        self.committed(change);
    }

    fn state(&self, n: u64) -> State {
        self.records[&number(n)].state
    }

    fn sees(&mut self, head: i64, finalized: i64, fate: Fate) -> &BatchState {
        let fates = BTreeMap::from([(id("m"), fate)]);
        let change = self.seen(Epoch::new(head), Epoch::new(finalized), &fates, 2, NOW);
        self.committed(change);
        &self.batches[&id("m")].state
    }
}

// matrix: D17
#[test]
fn a_sector_joins_once() {
    let mut book = waiting(2);
    let again = book.join(MessageKind::PreCommit, Some(&id("m")), &[number(1)], id("n"), NOW);
    assert_eq!(again.batches[0].sectors, [number(1), number(2)], "one entry");
    let elsewhere = book.join(MessageKind::PreCommit, None, &[number(1)], id("n"), NOW);
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    let stranger = book.join(MessageKind::PreCommit, None, &[number(9)], id("n"), NOW);
    assert!(stranger.is_empty(), "no sector, no entry");
    book.follow(again);
}

#[test]
fn a_sector_that_moves_on_gives_its_place_up() {
    let mut book = waiting(2);
    for (n, left) in [(1, Some(vec![number(2)])), (2, None)] {
        let mut draft = book.draft(NOW);
        draft.event(number(n), event(EventKind::SealPreCommitFailed));
        let change = draft.finish();
        book.follow(change);
        match left {
            Some(left) => assert_eq!(book.batches[&id("m")].sectors, left),
            None => assert_eq!(book.batches[&id("m")].state.as_str(), "dissolved"),
        }
    }
}

// matrix: D8
#[test]
fn the_poisoned_one_leaves_and_the_others_are_sent() {
    let mut book = waiting(10);
    let change = book.seal(&id("m"), composed(&[1, 2, 3, 4, 6, 7, 8, 9, 10], &[5]), id("rest"), NOW);
    book.follow(change);
    let batch = &book.batches[&id("m")];
    assert_eq!((batch.state.clone(), batch.sectors.len()), (BatchState::Sealed, 9));
    assert_eq!(book.state(5), State::PreCommitFailed, "it asks the chain, which may show its pre-commit");
    assert!((1..=10).filter(|n| *n != 5).all(|n| book.state(n) == State::WaitSeed));
    assert!(!book.batches.contains_key(&id("rest")));
}

// matrix: D10
#[test]
fn a_batch_that_is_too_large_is_split_and_nobody_is_lost_or_sent_twice() {
    let mut book = waiting(5);
    let change = book.seal(&id("m"), composed(&[1, 2, 3], &[]), id("rest"), NOW);
    book.follow(change);
    let rest = &book.batches[&id("rest")];
    assert_eq!((rest.state.as_str(), &rest.sectors[..]), ("open", &[number(4), number(5)][..]));
    assert_eq!(rest.created, book.batches[&id("m")].created, "it is as old as the one it comes from");
    let change = book.seal(&id("rest"), composed(&[4, 5], &[]), id("more"), NOW);
    book.follow(change);
    assert!((1..=5).all(|n| book.state(n) == State::WaitSeed));
    assert_eq!(book.batches.len(), 2);
}

#[test]
fn a_message_composed_for_a_sector_that_moved_on_is_composed_again() {
    let mut book = waiting(3);
    let mut draft = book.draft(NOW);
    draft.event(number(2), event(EventKind::SealPreCommitFailed));
    let change = draft.finish();
    book.follow(change);
    let late = book.seal(&id("m"), composed(&[1, 2, 3], &[]), id("rest"), NOW);
    assert!(late.is_empty());
    assert_eq!(book.batches[&id("m")].sectors, [number(1), number(3)]);
}

#[test]
fn a_batch_of_which_nothing_is_left_is_dissolved() {
    let mut book = waiting(2);
    let change = book.seal(&id("m"), composed(&[], &[1, 2]), id("rest"), NOW);
    book.follow(change);
    assert_eq!(book.batches[&id("m")].state.as_str(), "dissolved");
    assert!((1..=2).all(|n| book.state(n) == State::PreCommitFailed));
}

#[test]
fn a_message_lands_comes_back_and_settles() {
    let mut book = waiting(1);
    let change = book.seal(&id("m"), composed(&[1], &[]), id("rest"), NOW);
    book.follow(change);
    let change = book.handed(&id("m"), Handed::Taken(sent()), NOW);
    book.follow(change);
    assert_eq!(book.sees(20, 5, executed(20)).as_str(), "landed");
    assert_eq!(book.sees(21, 6, Fate::Waiting), &BatchState::Sent, "a reorganisation");
    assert_eq!(book.sees(22, 7, executed(22)).as_str(), "landed");
    let Fate::Executed(moved) = executed(23) else { panic!() };
    assert_eq!(book.sees(23, 8, executed(23)), &BatchState::Landed(moved));
    assert_eq!(book.sees(40, 23, executed(23)).as_str(), "settled");
    assert_eq!(book.sees(41, 24, Fate::Waiting).as_str(), "settled");
}

// matrix: D5
#[test]
fn a_message_that_the_node_forgot_keeps_its_nonce() {
    let mut book = waiting(1);
    let change = book.seal(&id("m"), composed(&[1], &[]), id("rest"), NOW);
    book.follow(change);
    let change = book.handed(&id("m"), Handed::Taken(sent()), NOW);
    book.follow(change);
    for head in 20..25 {
        assert_eq!(book.sees(head, 0, Fate::Forgotten), &BatchState::Sent);
        assert_eq!(book.gone[&id("m")], Epoch::new(20), "since when, for the plan");
    }
    let again = Sent { at: Epoch::new(25), ..sent() };
    let change = book.handed(&id("m"), Handed::Taken(again.clone()), NOW);
    book.follow(change);
    assert!(book.gone.is_empty(), "it is not handed over again before another head says that it is gone");
    book.sees(26, 0, Fate::Waiting);
    assert_eq!((book.gone.len(), book.batches[&id("m")].sent.as_ref()), (0, Some(&again)));
}

// matrix: A6
#[test]
fn a_late_answer_about_a_message_is_not_lost() {
    let mut book = waiting(1);
    let change = book.seal(&id("m"), composed(&[1], &[]), id("rest"), NOW);
    book.follow(change);
    let change = book.handing(&id("m"), NOW);
    book.follow(change);
    // the sector went another way while the message was on its way to the node
    let mut draft = book.draft(NOW);
    draft.event(number(1), event(EventKind::ChainPreCommitFailed));
    let change = draft.finish();
    book.follow(change);
    let change = book.handed(&id("m"), Handed::Taken(sent()), NOW);
    assert_eq!(change.batches[0].state, BatchState::Sent, "it is followed all the same");
    book.follow(change);
    assert!(book.batch_of(number(1), MessageKind::PreCommit).is_some(), "and no second one is made meanwhile");
}

// matrix: A9
#[test]
fn an_event_of_a_number_without_a_sector_makes_no_sector() {
    let book = waiting(1);
    let mut draft = book.draft(NOW);
    draft.event(number(77), event(EventKind::ProofReady));
    assert!(draft.finish().is_empty());
}

#[test]
fn a_message_that_nobody_has_seen_is_not_sent_for_a_sector_that_is_not_there_any_more() {
    for tried in [false, true] {
        let mut book = waiting(2);
        let change = book.seal(&id("m"), composed(&[1, 2], &[]), id("rest"), NOW);
        book.follow(change);
        if tried {
            let change = book.handing(&id("m"), NOW);
            book.follow(change);
        }
        let mut draft = book.draft(NOW);
        draft.event(number(1), event(EventKind::RemoveAsked));
        let change = draft.finish();
        book.follow(change);
        // one that may have arrived is followed to its end
        assert_eq!(book.batches[&id("m")].state.as_str(), if tried { "sealed" } else { "dissolved" });
    }
}

// matrix: D11
#[test]
fn a_message_that_a_reorganisation_took_back_may_land_again_for_those_without_another() {
    let mut book = waiting(2);
    let change = book.seal(&id("m"), composed(&[1, 2], &[]), id("rest"), NOW);
    book.follow(change);
    let change = book.handed(&id("m"), Handed::Taken(sent()), NOW);
    book.follow(change);
    book.sees(20, 0, executed(20));
    // sector 1 was not taken: it goes again, alone
    let mut draft = book.draft(NOW);
    draft.event(number(1), event(EventKind::ChainPreCommitFailed));
    draft.event(number(1), event(EventKind::RetryPreCommit));
    let change = draft.finish();
    book.follow(change);
    let change = book.join(MessageKind::PreCommit, None, &[number(1)], id("n"), NOW);
    book.follow(change);
    assert_eq!(book.sees(21, 0, Fate::Waiting).as_str(), "landed", "two live messages of sector 1 there cannot be");
    let read = BTreeMap::from([(number(2), Facts::default())]);
    let fates = BTreeMap::from([(id("m"), Fate::Waiting)]);
    let facts = book.facts(&book.records[&number(2)], &read, &fates, |_| None).unwrap();
    assert_eq!(facts.message, Some(MessageView::Pushed), "sector 2 waits for it");
}

// matrix: D9
#[test]
fn of_ten_that_failed_together_nine_are_sent_again_and_the_expired_one_is_sealed_anew() {
    let mut book = waiting(10);
    let old = book.records.get_mut(&number(5)).unwrap().ticket.as_mut().unwrap();
    old.epoch = CHAIN.head.plus(-POLICY.ticket_max_age);
    let all: Vec<u64> = (1..=10).collect();
    let change = book.seal(&id("m"), composed(&all, &[]), id("rest"), NOW);
    book.follow(change);
    let change = book.handed(&id("m"), Handed::Taken(sent()), NOW);
    book.follow(change);
    // the whole message is refused because of one
    let refused = Executed { cid: "bafy".to_owned(), exit_code: 16, value: Vec::new(), height: CHAIN.head.plus(-20) };
    book.sees(CHAIN.head.as_i64(), 0, Fate::Executed(refused.clone()));
    let fates = BTreeMap::from([(id("m"), Fate::Executed(refused))]);
    let later = NOW.plus_ms(60 * 60_000);
    for n in 1..=10 {
        let mut wants = None;
        for _ in 0..8 {
            let record = &book.records[&number(n)];
            let ticket = record.ticket.as_ref().map(|ticket| (ticket.epoch, ticket.value));
            let read = BTreeMap::from([(number(n), Facts { ticket, ..Facts::default() })]);
            let facts = book.facts(record, &read, &fates, |_| None);
            let answer = next(record, facts.as_ref(), Some(CHAIN), &POLICY, later);
            let Next::Record(event) = answer else {
                wants = Some(answer);
                break;
            };
            let mut draft = book.draft(later);
            draft.event(number(n), event);
            let change = draft.finish();
            book.follow(change);
            if book.records[&number(n)].retry_at.is_some_and(|at| at > later) {
                let mut record = book.records[&number(n)].clone();
                record.retry_at = None;
                book.records.insert(number(n), record);
            }
        }
        let expected = if n == 5 { Next::DrawTicket } else { Next::SubmitPreCommit };
        assert_eq!(wants, Some(expected), "sector {n}: {:#?}", book.records[&number(n)]);
    }
}

#[test]
fn a_message_and_its_successor_that_are_taken_back_together_are_one_live_message_and_one_to_look_after() {
    let mut book = waiting(1);
    let sent_as = |nonce| Sent { nonce, ..sent() };
    let send = |book: &mut Book, name: &str, nonce| {
        let change = book.seal(&id(name), composed(&[1], &[]), id("rest"), NOW);
        book.follow(change);
        let change = book.handed(&id(name), Handed::Taken(sent_as(nonce)), NOW);
        book.follow(change);
    };
    send(&mut book, "m", 1);
    book.sees(20, 0, executed(20));
    // it executed without success: another is sent, and executes too
    for kind in [EventKind::ChainPreCommitFailed, EventKind::RetryPreCommit] {
        let mut draft = book.draft(NOW);
        draft.event(number(1), event(kind));
        let change = draft.finish();
        book.follow(change);
    }
    let later = NOW.plus_ms(1);
    let change = book.join(MessageKind::PreCommit, None, &[number(1)], id("n"), later);
    book.follow(change);
    send(&mut book, "n", 2);
    let fates = |fate: Fate| BTreeMap::from([(id("m"), fate.clone()), (id("n"), fate)]);
    let change = book.seen(Epoch::new(26), Epoch::new(0), &fates(executed(25)), 2, later);
    book.follow(change);
    // a reorganisation takes both back, and the node forgets them
    let change = book.seen(Epoch::new(27), Epoch::new(0), &fates(Fate::Forgotten), 2, later);
    book.follow(change);
    assert_eq!((book.batches[&id("m")].state.as_str(), book.batches[&id("n")].state.as_str()), ("landed", "sent"));
    // nonce 2 never executes before nonce 1: both are handed over again
    let change = book.seen(Epoch::new(28), Epoch::new(0), &fates(Fate::Forgotten), 2, later);
    book.follow(change);
    assert_eq!(book.gone.keys().collect::<Vec<_>>(), [&id("m"), &id("n")]);
    let change = book.handed(&id("m"), Handed::Taken(sent_as(1)), later);
    book.follow(change);
    assert!(!book.gone.contains_key(&id("m")));
}
