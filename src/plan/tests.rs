//! Laws of the planner in random worlds, and the plans of one small world in full.

mod batches;
mod contact;
mod limits;
mod world;

use super::{
    space::{Reservations, Room},
    *,
};
use crate::{
    manifest,
    outbox::BatchState,
    sector::{
        self, State, Ticket,
        tests::{CHAIN, NOW},
    },
    units::{AttoFil, Bytes, Epoch},
};
use proptest::prelude::*;
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};
use world::{FINAL, SIZE, done, final_sector, number, precommit_sector, reversed, under_way, untrimmed_sector, world};

/// The sectors an action is for.
fn sectors_of(action: &Action) -> Vec<SectorNumber> {
    match action {
        Action::CreateSector { number, .. }
        | Action::Record { number, .. }
        | Action::DrawTicket(number)
        | Action::Run { number, .. } => vec![*number],
        Action::Join { sectors, .. } | Action::Seal { sectors, .. } | Action::Aggregate { sectors, .. } => {
            sectors.clone()
        }
        Action::OpenRepo(_)
        | Action::StopWorker(_)
        | Action::StartDevnet
        | Action::PrepareMiner
        | Action::PrepareParams(_)
        | Action::StartWorker(_)
        | Action::Announce { .. }
        | Action::Push { .. }
        | Action::Resend(_)
        | Action::Reprice { .. } => Vec::new(),
    }
}

fn worker_of(action: &Action) -> Option<&Assignee> {
    match action {
        Action::StopWorker(worker)
        | Action::StartWorker(worker)
        | Action::Run { worker, .. }
        | Action::Aggregate { worker, .. } => Some(worker),
        Action::OpenRepo(_)
        | Action::StartDevnet
        | Action::PrepareMiner
        | Action::PrepareParams(_)
        | Action::CreateSector { .. }
        | Action::Record { .. }
        | Action::DrawTicket(_)
        | Action::Join { .. }
        | Action::Seal { .. }
        | Action::Announce { .. }
        | Action::Push { .. }
        | Action::Resend(_)
        | Action::Reprice { .. } => None,
    }
}

fn held(plan: &Plan) -> BTreeSet<&Subject> {
    plan.holds.iter().map(|hold| &hold.about).collect()
}

fn created(plan: &Plan) -> Vec<(SectorNumber, &RepoName)> {
    let of = |action| if let &Action::CreateSector { number, ref repo } = action { Some((number, repo)) } else { None };
    plan.actions.iter().filter_map(of).collect()
}

fn in_flight(observed: &Observed) -> usize {
    let flying = |state: State| !state.is_final() && !state.is_given_up();
    observed.sectors.values().filter(|seen| flying(seen.record.state)).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn a_plan_under_way_leaves_nothing_to_do((desired, observed) in world()) {
        let first = plan(&desired, &observed);
        let after = first.actions.iter().fold(observed, under_way);
        prop_assert_eq!(plan(&desired, &after).actions, []);
    }

    #[test]
    fn plans_carried_out_come_to_an_end((desired, start) in world()) {
        let mut observed = start;
        for _ in 0..16 {
            let actions = plan(&desired, &observed).actions;
            if actions.is_empty() {
                return Ok(());
            }
            observed = actions.iter().fold(observed, done);
        }
        prop_assert_eq!(plan(&desired, &observed).actions, []);
    }

    #[test]
    fn the_same_world_gives_the_same_plan((desired, observed) in world()) {
        let desired_again =
            Desired { repos: reversed(&desired.repos), slots: reversed(&desired.slots), ..desired.clone() };
        let observed_again = Observed {
            repos: reversed(&observed.repos),
            workers: reversed(&observed.workers),
            sectors: reversed(&observed.sectors),
            batches: reversed(&observed.batches),
            ..observed.clone()
        };
        prop_assert_eq!(plan(&desired_again, &observed_again), plan(&desired, &observed));
    }

    #[test]
    fn nothing_that_is_not_ours_is_touched((desired, observed) in world()) {
        let wanted: BTreeSet<_> = desired.workers().collect();
        for action in plan(&desired, &observed).actions {
            match &action {
                Action::OpenRepo(name) => prop_assert!(desired.repos.contains_key(name)),
                Action::StopWorker(who) => {
                    prop_assert!(!wanted.contains(who) || desired.held.is_drained(who));
                    prop_assert!(observed.workers.contains_key(who));
                }
                Action::StartWorker(who) => {
                    prop_assert!(wanted.contains(who) && !desired.held.is_drained(who));
                    prop_assert!(!observed.workers.contains_key(who));
                }
                Action::StartDevnet => prop_assert!(desired.devnet),
                Action::PrepareMiner => prop_assert!(observed.miner != MinerSeen::Known),
                Action::PrepareParams(size) => prop_assert_eq!(*size, desired.sector_size),
                Action::CreateSector { number, repo } => {
                    prop_assert!(desired.repos.get(repo).is_some_and(|wish| wish.seal));
                    prop_assert!(observed.next_number.is_some_and(|next| *number >= next));
                    prop_assert!(!observed.sectors.contains_key(number));
                }
                Action::Run { stage, worker, repo, number } => {
                    let record = &observed.sectors[number].record;
                    prop_assert!(wanted.contains(worker));
                    prop_assert!(desired.slots[&worker.slot].stages.contains(stage));
                    prop_assert!(desired.repos.contains_key(&record.repo));
                    let wish = desired.repos[repo];
                    let allowed = if *stage == Stage::Finalize { wish.store } else { *repo == record.repo };
                    prop_assert!(allowed);
                    for name in [repo, &record.repo] {
                        prop_assert!(matches!(observed.repos.get(name), Some(RepoSeen::Open(_))));
                    }
                }
                Action::Announce { what, .. } => {
                    prop_assert!(desired.peer_id.is_some() || desired.multiaddrs.is_some(), "{}", what);
                }
                Action::Push { batch, .. } => {
                    prop_assert!(!observed.batches[batch].busy);
                    prop_assert_eq!(&observed.batches[batch].batch.state, &BatchState::Sealed);
                }
                Action::Resend(batch) | Action::Reprice { batch, .. } => {
                    prop_assert!(!observed.batches[batch].busy);
                    prop_assert_eq!(&observed.batches[batch].batch.state, &BatchState::Sent);
                }
                Action::Seal { batch, sectors, .. } | Action::Aggregate { batch, sectors, .. } => {
                    let BatchSeen { batch, busy, .. } = &observed.batches[batch];
                    let is_open = matches!(batch.state, BatchState::Open { .. });
                    prop_assert!(is_open && !busy && sectors.iter().all(|number| batch.sectors.contains(number)));
                }
                Action::Join { batch, .. } if batch.as_ref().is_some_and(|id| observed.batches[id].busy) => {
                    prop_assert!(false, "a batch is joined that is being sealed");
                }
                Action::Record { .. } | Action::DrawTicket(_) | Action::Join { .. } => {
                    prop_assert!(sectors_of(&action).iter().all(|number| observed.sectors[number].busy.is_none()));
                }
            }
        }
    }

    #[test]
    fn a_sector_and_a_worker_get_one_thing_to_do((desired, observed) in world()) {
        let plan = plan(&desired, &observed);
        let mut workers = BTreeSet::new();
        let mut sectors = BTreeSet::new();
        for action in &plan.actions {
            prop_assert!(worker_of(action).is_none_or(|who| workers.insert(who)), "{} twice: {:#?}", action, plan);
            for number in sectors_of(action) {
                prop_assert!(sectors.insert(number), "sector {} twice: {:#?}", number, plan);
            }
        }
        // and what is done now does not wait
        for about in held(&plan) {
            prop_assert!(!matches!(about, Subject::Sector(number) if sectors.contains(number)), "{:#?}", plan);
        }
    }

    #[test]
    fn a_plan_is_bounded((desired, observed) in world()) {
        let plan = plan(&desired, &observed);
        let size = observed.sectors.len() + observed.batches.len() + desired.repos.len();
        let workers = desired.workers().count() + observed.workers.len();
        prop_assert!(plan.actions.len() <= size + workers + 3 + 64);
        prop_assert!(plan.holds.len() <= size + 3 + 3);
    }

    #[test]
    fn nothing_waits_in_silence((desired, observed) in world()) {
        let plan = plan(&desired, &observed);
        let held = held(&plan);
        let acted: BTreeSet<_> = plan.actions.iter().flat_map(sectors_of).collect();
        for (number, seen) in &observed.sectors {
            let explained = acted.contains(number) || held.contains(&Subject::Sector(*number));
            prop_assert!(seen.record.state.is_final() || seen.busy.is_some() || explained, "{} {:#?}", number, plan);
        }
        for (id, seen) in observed.batches.iter().filter(|(_, seen)| seen.batch.state == BatchState::Sealed) {
            let pushes = |action: &Action| matches!(action, Action::Push { batch, .. } if batch == id);
            let explained = plan.actions.iter().any(pushes);
            prop_assert!(seen.busy || explained || held.contains(&Subject::Message(id.clone())), "{:#?}", plan);
        }
        for name in desired.repos.keys() {
            let open = matches!(observed.repos.get(name), Some(RepoSeen::Open(_)));
            let explained = plan.actions.contains(&Action::OpenRepo(name.clone()));
            prop_assert!(open || explained || held.contains(&Subject::Repo(name.clone())), "{:#?}", plan);
        }
        let away = |who: &Assignee| !observed.workers.contains_key(who) && !desired.held.is_drained(who);
        for who in desired.workers().filter(away) {
            prop_assert!(plan.actions.contains(&Action::StartWorker(who)));
        }
        if observed.miner != MinerSeen::Known {
            prop_assert!(held.contains(&Subject::Daemon) || plan.actions.contains(&Action::PrepareMiner));
            return Ok(());
        }
        let counted = observed.sectors.values().filter(|seen| !seen.record.state.is_given_up()).count() + created(&plan).len();
        let short = u64::try_from(counted).unwrap() < desired.sectors;
        prop_assert!(!short || held.contains(&Subject::Pledge), "{:#?}", plan);
        // who waits for the parameters can count on somebody getting them
        if plan.holds.iter().any(|hold| hold.reason == "the proof parameters") {
            let coming = plan.actions.contains(&Action::PrepareParams(SIZE));
            prop_assert!(coming || held.contains(&Subject::Daemon), "{:#?}", plan);
        }
    }

    #[test]
    fn what_an_operator_holds_gets_nothing_new((desired, observed) in world()) {
        for action in plan(&desired, &observed).actions {
            if let Action::Run { worker, .. } | Action::Aggregate { worker, .. } = &action {
                prop_assert_eq!(desired.held.of(worker), None);
            }
        }
    }

    #[test]
    fn a_wait_ends((desired, observed) in world()) {
        for hold in plan(&desired, &observed).holds {
            prop_assert!(!hold.reason.is_empty());
            match hold.until {
                WakeUp::Time(at) => prop_assert!(at > observed.now, "{:?}", hold),
                WakeUp::At(epoch) => prop_assert!(epoch > CHAIN.head, "{:?}", hold),
                WakeUp::NextHead | WakeUp::Funds | WakeUp::Operator => {}
            }
        }
    }

    #[test]
    fn no_more_sectors_are_created_than_wanted_allowed_and_finishable((desired, observed) in world()) {
        let plan = plan(&desired, &observed);
        let new = created(&plan);
        if new.is_empty() {
            return Ok(());
        }
        let flying = u64::try_from(in_flight(&observed) + new.len()).unwrap();
        prop_assert!(flying <= desired.max_in_flight);
        let counted = observed.sectors.values().filter(|seen| !seen.record.state.is_given_up()).count() + new.len();
        prop_assert!(u64::try_from(counted).unwrap() <= desired.sectors);
        let numbers: Vec<_> = new.iter().map(|(number, _)| number.as_u64()).collect();
        prop_assert!(numbers.is_sorted_by(|a, b| a < b));
        // the disk holds what is promised to all who seal there, the new ones among them
        for (_, repo) in &new {
            let Some(RepoSeen::Open(Room { free, used, reserve, max_use })) = observed.repos.get(*repo) else { panic!() };
            let here = observed.sectors.values().filter(|seen| seen.record.repo == **repo);
            let old = here.filter_map(|seen| space::still_to_write(SIZE, seen.record.state)).map(Bytes::as_u64);
            let fresh = new.iter().filter(|(_, other)| other == repo).map(|_| space::sealing_peak(SIZE).as_u64());
            let promised: u64 = old.chain(fresh).sum();
            prop_assert!(promised + reserve.as_u64() <= free.as_u64(), "{:#?}", plan);
            prop_assert!(max_use.is_none_or(|max| used.as_u64() + promised <= max.as_u64()), "{:#?}", plan);
        }
    }

    #[test]
    fn replicas_are_moved_only_where_all_of_them_fit((desired, observed) in world()) {
        let mut moved = Reservations::default();
        for action in plan(&desired, &observed).actions {
            let Action::Run { number, repo, .. } = &action else { continue };
            if observed.sectors[number].record.repo == *repo {
                continue;
            }
            let Some(RepoSeen::Open(room)) = observed.repos.get(repo) else { panic!() };
            prop_assert_eq!(moved.fits(repo, room, space::finalized_size(SIZE)), Ok(()));
            moved.add(*number, repo.clone(), space::finalized_size(SIZE));
        }
    }

    #[test]
    fn stop_comes_before_start_and_preparing_before_sealing((desired, observed) in world()) {
        let rank = |action: &Action| match action {
            Action::OpenRepo(_) => 0,
            Action::StopWorker(_) => 1,
            Action::StartWorker(_) => 2,
            Action::StartDevnet => 3,
            Action::PrepareMiner => 4,
            Action::PrepareParams(_) => 5,
            Action::Announce { .. } | Action::Record { .. } => 6,
            Action::Join { .. } => 7,
            Action::Seal { .. } => 8,
            Action::Push { .. } | Action::Resend(_) | Action::Reprice { .. } => 9,
            Action::DrawTicket(_) | Action::Run { .. } | Action::Aggregate { .. } => 10,
            Action::CreateSector { .. } => 11,
        };
        prop_assert!(plan(&desired, &observed).actions.iter().is_sorted_by_key(rank));
    }
}

// ── one small world ──

fn text(plan: &Plan) -> Vec<String> {
    let holds = plan.holds.iter().map(|hold| format!("{} waits for {}", hold.about, hold.reason));
    plan.actions.iter().map(ToString::to_string).chain(holds).collect()
}

pub(super) fn devnet() -> Desired {
    let overrides = manifest::Overrides { cwd: "/box".into(), ..manifest::Overrides::default() };
    let loaded = manifest::load(Path::new("examples/configs/devnet.toml"), &overrides).unwrap();
    Desired::of(&loaded.manifest)
}

/// Nothing is there yet.
fn fresh() -> Observed {
    Observed {
        now: NOW,
        chain: None,
        base_fee: AttoFil::from_atto(100),
        chain_trouble: None,
        devnet_running: false,
        miner: MinerSeen::Unknown,
        params: ParamsSeen::Missing,
        repos: BTreeMap::new(),
        workers: BTreeMap::new(),
        sectors: BTreeMap::new(),
        batches: BTreeMap::new(),
        quarantined: 0,
        funds: Funds {
            accounts: Some(world::worker_has(AttoFil::from_atto(1_000_000_000_000_000_000_000))),
            costs: Some(Costs { deposit: AttoFil::from_atto(3), pledge: AttoFil::from_atto(5) }),
        },
        contact: ContactSeen::default(),
        network_version: Some(28),
        next_number: None,
        durations: BTreeMap::new(),
        running: BTreeMap::new(),
        memory: crate::plan::MemorySeen::default(),
        barred: BTreeMap::new(),
    }
}

/// Everything is there, and nothing sealed.
fn ready(desired: &Desired) -> Observed {
    let room = Room { free: Bytes::new(10 << 30), used: Bytes::default(), reserve: Bytes::default(), max_use: None };
    Observed {
        chain: Some(CHAIN),
        devnet_running: true,
        miner: MinerSeen::Known,
        params: ParamsSeen::Ready,
        repos: desired.repos.keys().map(|name| (name.clone(), RepoSeen::Open(room))).collect(),
        workers: desired.workers().map(|who| (who, true)).collect(),
        next_number: Some(number(0)),
        ..fresh()
    }
}

#[test]
fn a_fresh_devnet_is_prepared() {
    let expected = [
        "initialise and lock repo disk",
        "start worker cpu/0",
        "start worker light/0",
        "start the local chain",
        "make the proof parameters for 2KiB sectors available",
        "seald waits for the chain: the first answer",
        "seald waits for the miner: the chain must be read first",
        "pledge waits for the miner, then 2 sectors are sealed",
    ];
    assert_eq!(text(&plan(&devnet(), &fresh())), expected);
}

#[test]
fn a_ready_devnet_gets_its_sectors() {
    let desired = devnet();
    let start = ready(&desired);
    let first = plan(&desired, &start);
    assert_eq!(text(&first), ["create sector 0 in repo disk", "create sector 1 in repo disk"]);
    let packing = first.actions.iter().fold(start, done);
    let second = plan(&desired, &packing);
    assert_eq!(text(&second), ["record Packed of sector 0", "record Packed of sector 1"]);
    let sealing = second.actions.iter().fold(packing, done);
    assert_eq!(text(&plan(&desired, &sealing)), ["draw the ticket of sector 0", "draw the ticket of sector 1"]);
}

#[test]
fn a_ticket_is_drawn_for_a_free_worker_only_and_keeps_it() {
    let mut desired = devnet();
    desired.slots.retain(|name, _| name.as_str() == "cpu");
    let mut observed = ready(&desired);
    while !plan(&desired, &observed).actions.contains(&Action::DrawTicket(number(0))) {
        observed = plan(&desired, &observed).actions.iter().fold(observed, done);
    }
    let waits = "sector 1 waits for the precommit1 worker to be free";
    assert_eq!(text(&plan(&desired, &observed)), ["draw the ticket of sector 0", waits]);
    let drawing = under_way(observed, &Action::DrawTicket(number(0)));
    assert_eq!(text(&plan(&desired, &drawing)), [waits]);
}

#[test]
fn the_pledge_says_what_holds_it() {
    let mut desired = devnet();
    desired.max_in_flight = 1;
    let busy = "pledge waits for sectors in flight to be finished: 1 are allowed, 1 more wanted";
    assert_eq!(text(&plan(&desired, &ready(&desired))), ["create sector 0 in repo disk", busy]);
    let unread = Observed { next_number: None, ..ready(&devnet()) };
    let unknown = "pledge waits for the chain to say which sector numbers are free";
    assert_eq!(text(&plan(&devnet(), &unread)), [unknown]);
    let mut full = ready(&devnet());
    let room = Room { free: Bytes::new(1 << 20), used: Bytes::default(), reserve: Bytes::default(), max_use: None };
    full.repos.values_mut().for_each(|repo| *repo = RepoSeen::Open(room));
    let [hold] = &text(&plan(&devnet(), &full))[..] else { panic!() };
    assert!(hold.starts_with("pledge waits for space for another sector: "), "{hold}");
}

#[test]
fn a_sector_says_which_held_slot_it_waits_for_and_what_ends_that() {
    let mut desired = devnet();
    let observed = [0, 1].map(|n| Action::CreateSector { number: number(n), repo: "disk".parse().unwrap() });
    let observed = observed.iter().fold(ready(&desired), done);
    let place: Place = "cpu".parse().unwrap();
    desired.slots.retain(|name, _| *name == place.slot);
    desired.held.hold(place.clone(), How::Cordoned, NOW);
    let packed = observed.sectors.keys().copied().collect::<Vec<_>>();
    let observed = packed.into_iter().fold(observed, |world, number| {
        done(world, &Action::Record { number, event: sector::tests::event(sector::EventKind::Packed) })
    });
    let held = "slot cpu, which is cordoned: `seald resume cpu` lets it go on";
    let said = plan(&desired, &observed);
    let told = text(&said);
    assert!(told.contains(&format!("sector 0 waits for {held}")), "{told:#?}");
    let of_the_pledge: Vec<_> = told.iter().filter(|line| line.starts_with("pledge waits for")).collect();
    assert_eq!(of_the_pledge.len(), 1, "{told:#?}");
    assert!(of_the_pledge[0].contains(&format!("precommit1 by {held}")), "{told:#?}");
    assert!(said.holds.iter().all(|hold| hold.until == WakeUp::Operator), "{said:#?}");
    desired.held.hold(place.clone(), How::Drained, NOW);
    assert!(matches!(plan(&desired, &observed).actions[..], [Action::StopWorker(_), ..]));
    desired.held.let_go(&place);
    assert!(text(&plan(&desired, &observed)).contains(&"draw the ticket of sector 0".to_owned()));
}

#[test]
fn two_replicas_are_not_moved_into_room_for_one() {
    let mut desired = devnet();
    let nvme = RepoWish { seal: true, store: false, weight: 0 };
    let hdd = RepoWish { seal: false, store: true, weight: 0 };
    desired.repos = BTreeMap::from([("hdd".parse().unwrap(), hdd), ("nvme".parse().unwrap(), nvme)]);
    let mut observed = Observed { chain: Some(FINAL), ..ready(&desired) };
    let room = |free| Room { free, used: Bytes::default(), reserve: Bytes::default(), max_use: None };
    observed.repos.insert("hdd".parse().unwrap(), RepoSeen::Open(room(space::finalized_size(SIZE))));
    // the same when the trim was put off
    for sector in [final_sector, untrimmed_sector] {
        let mut observed = observed.clone();
        observed.sectors = [0, 1].map(|n| (number(n), sector(n))).into();
        let first = plan(&desired, &observed);
        let [run, wait] = &text(&first)[..] else { panic!("{first:#?}") };
        assert_eq!(run, "run finalize of sector 0 on light/0");
        assert!(wait.starts_with("sector 1 waits for a repo with role store: "), "{wait}");
        // nor while the first is on its way
        let moving = first.actions.iter().fold(observed, under_way);
        assert_eq!(text(&plan(&desired, &moving)).len(), 1);
    }
}

#[test]
fn a_sector_that_waits_for_its_trim_holds_no_place_of_another() {
    let mut desired = devnet();
    let mut observed = Observed { chain: Some(CHAIN), ..ready(&desired) };
    (desired.sectors, desired.max_in_flight) = (2, 1);
    observed.sectors = BTreeMap::from([(number(0), untrimmed_sector(0))]);
    observed.next_number = Some(number(1));
    assert_eq!(text(&plan(&desired, &observed)), ["create sector 1 in repo disk"]);
}

#[test]
fn sectors_in_flight_get_their_parameters_though_no_more_are_wanted() {
    let desired = devnet();
    let observed = Observed { params: ParamsSeen::Missing, ..ready(&desired) };
    let observed = plan(&desired, &observed).actions.iter().fold(observed, done);
    assert!(observed.sectors.values().any(|seen| seen.record.state == State::Packing));
    let none = Desired { sectors: 0, ..desired };
    let missing = Observed { params: ParamsSeen::Missing, ..observed };
    assert!(plan(&none, &missing).actions.contains(&Action::PrepareParams(SIZE)));
}

/// A chain at this head, and sectors with tickets of these epochs, to be sealed on one worker.
fn sealing(desired: &mut Desired, tickets: &[i64]) -> Observed {
    desired.slots.retain(|name, _| name.as_str() == "cpu");
    let mut observed = ready(desired);
    let sectors = tickets.iter().zip(0..).map(|(epoch, n)| {
        let mut seen = precommit_sector(n);
        seen.record.state = State::PreCommit1;
        seen.record.repo = "disk".parse().unwrap();
        seen.record.ticket = seen.record.ticket.map(|ticket| Ticket { epoch: Epoch::new(*epoch), ..ticket });
        (number(n), seen)
    });
    observed.sectors = sectors.collect();
    desired.sectors = 0;
    observed
}

// matrix: F16, E5
#[test]
fn the_sector_with_the_least_time_left_is_first_of_its_stage_and_later_stages_come_before() {
    let mut desired = devnet();
    let mut observed = sealing(&mut desired, &[9_000, 8_000, 8_500]);
    let runs = |observed: &Observed| {
        let actions = plan(&desired, observed).actions;
        actions.iter().filter(|a| matches!(a, Action::Run { .. })).map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(runs(&observed), ["run precommit1 of sector 1 on cpu/0"]);
    // however little time another has, a later stage frees what earlier ones need
    observed.sectors.get_mut(&number(0)).unwrap().record.state = State::PreCommit2;
    assert_eq!(runs(&observed), ["run precommit2 of sector 0 on cpu/0"]);
}

// matrix: E5
#[test]
fn what_was_measured_decides_whether_a_ticket_is_begun_or_drawn() {
    let mut desired = devnet();
    desired.policy.margin = 100;
    let mut observed = sealing(&mut desired, &[7_000]);
    let of = |ms: u64| BTreeMap::from([(Stage::PreCommit1, ms), (Stage::PreCommit2, ms)]);
    // 780 epochs of 30 seconds are left
    observed.durations = of(11_600_000);
    assert_eq!(text(&plan(&desired, &observed)), ["run precommit1 of sector 0 on cpu/0"]);
    observed.durations = of(11_700_000);
    assert_eq!(text(&plan(&desired, &observed)), ["record TicketExpired of sector 0"]);
    observed.sectors.get_mut(&number(0)).unwrap().record.ticket = None;
    assert_eq!(text(&plan(&desired, &observed)), ["draw the ticket of sector 0"]);
    observed.durations = of(43_200_000);
    let [hold] = &text(&plan(&desired, &observed))[..] else { panic!() };
    assert!(hold.starts_with("sector 0 waits for an operator: sealing to the pre-commit takes about 2885"), "{hold}");
}

#[test]
fn what_is_given_up_is_made_up_for_and_holds_no_place() {
    let mut desired = devnet();
    let mut observed = ready(&desired);
    (desired.sectors, desired.max_in_flight) = (1, 1);
    for state in State::ALL.iter().filter(|state| state.is_given_up()) {
        let mut seen = precommit_sector(0);
        seen.record.state = *state;
        observed.sectors = BTreeMap::from([(number(0), seen)]);
        observed.next_number = Some(number(1));
        let created = plan(&desired, &observed)
            .actions
            .contains(&Action::CreateSector { number: number(1), repo: "disk".parse().unwrap() });
        assert!(created, "{state}");
    }
}

#[test]
fn a_sector_is_removed_by_the_slot_that_finalizes_and_terminated_by_message() {
    let desired = Desired { sectors: 0, ..devnet() };
    let mut observed = ready(&desired);
    let mut seen = final_sector(0);
    seen.record.repo = "disk".parse().unwrap();
    seen.record.state = State::Terminating;
    observed.sectors = BTreeMap::from([(number(0), seen)]);
    assert_eq!(text(&plan(&desired, &observed)), ["put sectors 0 into a terminate batch"]);
    let seen = observed.sectors.get_mut(&number(0)).unwrap();
    seen.record.state = State::Removing;
    seen.facts = Some(crate::sector::Facts::default());
    assert_eq!(text(&plan(&desired, &observed)), ["run remove of sector 0 on light/0"]);
}
