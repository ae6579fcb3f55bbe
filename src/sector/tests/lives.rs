//! Random lives: what happens to a sector in any order.

use super::*;
use proptest::prelude::*;

/// What the world does next to a sector.
#[derive(Debug, Clone)]
enum Turn {
    /// The sector is asked what it wants under these facts, and it happens, well or badly.
    Tick { facts: usize, outcome: usize },
    /// Any event at all arrives.
    Noise(EventKind),
    /// The operator says to try again.
    Again,
}

fn turn() -> impl Strategy<Value = Turn> {
    let kind = proptest::sample::select(E::ALL.to_vec());
    prop_oneof![
        8 => (0..all_facts().len(), 0..8usize).prop_map(|(facts, outcome)| Turn::Tick { facts, outcome }),
        1 => kind.prop_map(Turn::Noise),
        1 => Just(Turn::Again),
    ]
}

/// What comes of a wish.
fn outcome(record: &Record, wish: Next, way: usize) -> Option<Event> {
    let (failure, retry_at) = (failure(), NOW);
    match wish {
        Next::Record(event) => Some(event),
        Next::DrawTicket => Some(Ev::TicketDrawn { ticket: ticket(8_000) }),
        Next::Work(Stage::PreCommit1 | Stage::PreCommit2) if way == 1 => {
            Some(Ev::SealPreCommitFailed { failure, retry_at })
        }
        Next::Work(_) | Next::SubmitPreCommit if way == 0 => Some(Ev::AttemptFailed { failure, retry_at }),
        Next::Work(Stage::PreCommit1) => {
            assert!(record.ticket.is_some(), "layers without a ticket: {record:#?}");
            Some(Ev::PreCommit1Done)
        }
        Next::Work(Stage::PreCommit2) => {
            assert!(record.ticket.is_some(), "a replica without a ticket: {record:#?}");
            Some(Ev::PreCommit2Done { sealed: sealed() })
        }
        Next::Work(Stage::Commit) => {
            assert!(record.ticket.is_some() && record.sealed.is_some(), "nothing to prove: {record:#?}");
            assert!(record.seed.is_some(), "a proof without a seed: {record:#?}");
            Some(if way == 1 {
                Ev::ComputeProofFailed { failure, retry_at }
            } else {
                Ev::ProofReady { porep: "aa".to_owned() }
            })
        }
        Next::Work(Stage::Finalize) => {
            assert!(record.activation.is_some(), "a cache is trimmed before the sector is on chain: {record:#?}");
            assert!(record.store.is_none() || record.state == S::FinalizeSector, "trimmed twice: {record:#?}");
            Some(Ev::Finalized { store: store().unwrap() })
        }
        Next::SubmitPreCommit => {
            assert!(record.ticket.is_some() && record.sealed.is_some(), "nothing to commit to: {record:#?}");
            Some(Ev::PreCommitted { message: message() })
        }
        Next::SubmitCommit => {
            let complete = record.porep.is_some() && record.seed.is_some() && record.sealed.is_some();
            assert!(complete, "nothing to send: {record:#?}");
            Some(Ev::Committed { message: message() })
        }
        Next::SubmitTerminate => Some(Ev::TerminateSent { message: message() }),
        Next::Work(Stage::Remove) => Some(Ev::RemoveDone),
        Next::Wait(_) | Next::Rest => None,
    }
}

/// What no event changes, and what each does.
fn assert_law(before: &Record, after: &Record) {
    assert_eq!(
        (after.number, after.proof, after.created, &after.repo),
        (before.number, before.proof, before.created, &before.repo)
    );
    assert_eq!(after.version, before.version + 1);
}

/// The record as a new process reads it.
fn restarted(record: &Record) -> Record {
    serde_json::from_str(&serde_json::to_string(record).unwrap()).unwrap()
}

/// The events as a new process reads them, applied to the record that the life began with.
fn replayed(start: &Record, history: &[(UnixMillis, Event)]) -> Record {
    let stored: Vec<(UnixMillis, Event)> = serde_json::from_str(&serde_json::to_string(history).unwrap()).unwrap();
    stored.iter().fold(start.clone(), |record, (at, event)| record.apply(event, *at).unwrap())
}

fn born() -> Record {
    Record::new(SectorNumber::try_from(7).unwrap(), SectorSize::KiB2.seal_proof(), "nvme0".parse().unwrap(), NOW)
}

proptest! {
    // matrix: G4
    #[test]
    fn a_random_life_keeps_the_laws(turns in proptest::collection::vec(turn(), 0..120), noisy: bool) {
        let all = all_facts();
        let mut record = born();
        let mut history = Vec::new();
        for (at, turn) in turns.into_iter().enumerate() {
            let now = NOW.plus_ms(i64::try_from(at).unwrap());
            let event = match turn {
                Turn::Tick { facts, outcome: way } => {
                    let wish = next(&record, Some(&all[facts]), Some(CHAIN), &POLICY, NOW);
                    assert_awake(&record, Some(&all[facts]), &wish);
                    // noise may take a sector where no wish would, so the demands on wishes hold without it
                    if noisy { None } else { outcome(&record, wish, way) }
                }
                Turn::Noise(kind) => noisy.then(|| event(kind)),
                Turn::Again => Some(Ev::RetryAsked),
            };
            let Some(event) = event else { continue };
            match record.apply(&event, now) {
                Ok(after) => {
                    assert_law(&record, &after);
                    history.push((now, event));
                    record = after;
                }
                Err(refused) => {
                    prop_assert!(noisy || event == Ev::RetryAsked, "{refused}");
                    let listed = |(from, kind, _): &(_, _, _)| *from == record.state && *kind == event.kind();
                    prop_assert!(record.store.is_some() || !EDGES.iter().any(listed));
                }
            }
        }
        prop_assert_eq!(&replayed(&born(), &history), &record);
        prop_assert_eq!(restarted(&record), record);
    }
}

/// How many steps the long walk takes; `SEALD_TEST_STEPS` says another number.
const STEPS: u64 = 100_000;

/// A generator of numbers that look random, the same in each run (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let n = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((n ^ (n >> 31)) % u64::try_from(end).unwrap()).unwrap()
    }
}

// matrix: G1, G4
#[test]
fn a_long_walk_with_crashes_never_comes_to_a_state_without_a_way_on() {
    let steps = std::env::var("SEALD_TEST_STEPS").map_or(STEPS, |steps| steps.parse().unwrap());
    let all = all_facts();
    let mut dice = Dice(1);
    let (mut record, mut history) = (born(), Vec::new());
    let mut facts = &all[0];
    let mut reached = BTreeSet::from([record.state]);
    for step in 0..steps {
        // the same chain for a while, so that lives get somewhere
        if dice.below(6) == 0 {
            facts = &all[dice.below(all.len())];
        }
        let now = NOW.plus_ms(i64::try_from(step).unwrap());
        let wish = next(&record, Some(facts), Some(CHAIN), &POLICY, NOW);
        assert_awake(&record, Some(facts), &wish);
        let event = match dice.below(20) {
            0 => Some(event(E::ALL[dice.below(E::ALL.len())])),
            1 => Some(Ev::StateForced { state: S::ALL[dice.below(S::ALL.len())] }),
            2 => Some(Ev::RetryAsked),
            // a crash: what was being done is lost, and what was written is read
            3 => {
                assert_eq!(restarted(&record), record);
                None
            }
            way if is_complete(&record) => outcome(&record, wish, way % 8),
            _ => {
                if let Next::Record(event) = wish {
                    Some(event)
                } else {
                    None
                }
            }
        };
        if let Some(event) = event
            && let Ok(after) = record.apply(&event, now)
        {
            assert_law(&record, &after);
            history.push((now, event));
            record = after;
            reached.insert(record.state);
        }
        // a life ends, or gets too long to be replayed
        if record.state == S::Removed || history.len() == 1_000 {
            assert_eq!(replayed(&born(), &history), record);
            (record, history) = (born(), Vec::new());
        }
    }
    assert!(steps < STEPS || reached.len() == S::ALL.len(), "only {reached:?}");
}

/// Whether the record has what the work of its state needs: noise may have taken it where no wish would.
fn is_complete(record: &Record) -> bool {
    let sealed = record.ticket.is_some() && record.sealed.is_some();
    match record.state {
        S::PreCommit2 => record.ticket.is_some(),
        S::PreCommitting | S::Committing => sealed,
        S::FinalizeSector | S::Proving => record.activation.is_some(),
        _ => true,
    }
}

// ── every order of a few things ──

/// A small world: one sector, the chain, the messages, and a worker.
#[derive(Clone)]
struct World {
    record: Record,
    /// What the chain has of it.
    precommit: Option<OnChainPreCommit>,
    active: bool,
    seed: u8,
    /// Messages by their names: a pre-commit or a prove-commit, and whether it executed.
    messages: Vec<(MessageId, bool, MessageView)>,
    running: Option<(Stage, Attempt)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Thing {
    /// The present wish is carried out, a running handler has its result, or a message lands.
    Result,
    SeedChange,
    Restart,
    Force(State),
    Remove,
}

const THINGS: [Thing; 7] = [
    Thing::Result,
    Thing::SeedChange,
    Thing::Restart,
    Thing::Force(S::PreCommit1),
    Thing::Force(S::PreCommitting),
    Thing::Force(S::Committing),
    Thing::Remove,
];

impl World {
    fn facts(&self) -> Facts {
        let view =
            |id: &MessageId| self.messages.iter().find(|(known, _, _)| known == id).map(|(_, _, view)| view.clone());
        Facts {
            precommit: self.precommit.clone().filter(|_| !self.active),
            sector: self.active.then(|| OnChainSector { activation: activation(), faulty: false }),
            allocated: self.precommit.is_some(),
            ticket: Some((Epoch::new(8_000), ticket(8_000).value)),
            seed: self.precommit.as_ref().map(|_| seed(self.seed)),
            message: self.record.current_message().and_then(view),
        }
    }

    fn wish(&self) -> Next {
        next(&self.record, Some(&self.facts()), Some(ChainNow { finalized: HEAD, ..CHAIN }), &POLICY, NOW)
    }

    fn apply(&mut self, event: &Event) {
        self.record = self.record.apply(event, NOW.plus_ms(i64::try_from(self.record.version).unwrap())).unwrap();
    }

    /// Hands a message over: there is never another of its kind that may land or has landed.
    fn send(&mut self, commit: bool) {
        assert!(!self.messages.iter().any(|(_, kind, _)| *kind == commit), "a second one: {:#?}", self.record);
        assert!(!self.active && (commit || self.precommit.is_none()), "{:#?}", self.record);
        let id = MessageId(if commit { "commit" } else { "precommit" }.to_owned());
        let message = Some(id.clone());
        self.apply(&if commit { Ev::Committed { message } } else { Ev::PreCommitted { message } });
        self.messages.push((id, commit, MessageView::Pushed));
    }

    /// The first message that has not executed does.
    fn land(&mut self) -> bool {
        let Some((_, commit, view)) = self.messages.iter_mut().find(|(_, _, view)| *view == MessageView::Pushed) else {
            return false;
        };
        *view = MessageView::Landed { exit_code: 0, own: true, height: Epoch::new(9_000) };
        if *commit {
            self.active = true;
        } else {
            self.precommit = Some(OnChainPreCommit {
                epoch: landed().epoch,
                ticket_epoch: Epoch::new(8_000),
                comm_r: sealed().comm_r,
                deposit: landed().deposit,
            });
        }
        true
    }

    fn run(&mut self, thing: Thing) {
        match thing {
            Thing::Result => self.result(),
            Thing::SeedChange => self.seed = 3 - self.seed,
            Thing::Restart => {
                self.record = restarted(&self.record);
                self.running = None;
            }
            Thing::Force(state) => self.order(super::super::operator::Order::SetState(state)),
            Thing::Remove => self.order(super::super::operator::Order::Remove),
        }
        let wish = self.wish();
        assert_awake(&self.record, Some(&self.facts()), &wish);
        if self.active {
            let spoilt = matches!(wish, Next::Work(Stage::Remove));
            assert!(!spoilt, "an active sector loses its files: {:#?}", self.record);
        }
    }

    fn order(&mut self, order: super::super::operator::Order) {
        let judged = super::super::operator::judge(&self.record, Some(&self.facts()), Some(CHAIN), order);
        if let Ok(verdict) = judged {
            self.apply(&verdict.event);
            assert!(self.running.as_ref().is_none_or(|(_, attempt)| *attempt != self.record.attempt()));
        }
    }

    fn result(&mut self) {
        if let Some((stage, attempt)) = self.running.take() {
            // a result of another attempt is noted, and changes nothing
            if self.record.attempt() == attempt {
                let event = outcome(&self.record, Next::Work(stage), 7).unwrap();
                self.apply(&event);
            }
            return;
        }
        match self.wish() {
            Next::Record(event) => self.apply(&event),
            Next::DrawTicket => self.apply(&Ev::TicketDrawn { ticket: ticket(8_000) }),
            Next::Work(stage) => self.running = Some((stage, self.record.attempt())),
            Next::SubmitPreCommit => self.send(false),
            Next::SubmitCommit => self.send(true),
            Next::SubmitTerminate => panic!("nobody asked for it"),
            Next::Wait(_) | Next::Rest => {
                self.land();
            }
        }
    }

    /// Goes on undisturbed, until nothing more happens.
    fn end(mut self) -> (State, Next) {
        for _ in 0..60 {
            let wish = self.wish();
            let idle = matches!(wish, Next::Wait(_) | Next::Rest) && self.running.is_none();
            if idle && !self.land() {
                return (self.record.state, wish);
            }
            if !idle {
                self.result();
            }
        }
        panic!("no end: {:#?}", self.record);
    }
}

// matrix: G2
#[test]
fn every_order_of_five_things_ends_well() {
    let mut ends = std::collections::BTreeMap::new();
    let mut world =
        World { record: born(), precommit: None, active: false, seed: 1, messages: Vec::new(), running: None };
    // from every step of an ordinary life
    for _ in 0..40 {
        walk(&world, 5, &mut ends);
        if world.record.state == S::Proving {
            break;
        }
        world.run(Thing::Result);
    }
    assert_eq!(world.record.state, S::Proving);
    let [proving, removed] = [S::Proving, S::Removed].map(|state| ends.remove(&state).unwrap());
    assert!(proving > 10_000 && removed > 10_000, "{proving} {removed}");
    assert_eq!(ends, std::collections::BTreeMap::new(), "other ends");
}

fn walk(world: &World, left: usize, ends: &mut std::collections::BTreeMap<State, u64>) {
    if left == 0 {
        let (state, wish) = world.clone().end();
        assert!(wish == Next::Rest || wish_of_an_operator(&wish), "{state} {wish:?}");
        *ends.entry(state).or_default() += 1;
        return;
    }
    for thing in THINGS {
        let mut next = world.clone();
        next.run(thing);
        walk(&next, left - 1, ends);
    }
}

fn wish_of_an_operator(wish: &Next) -> bool {
    matches!(wish, Next::Wait(Wait { until: WakeUp::Operator, .. }))
}
