//! Every view of the pure half against its golden text.

use super::{
    golden,
    sample::{self, NOW},
};
use seald::{
    sector::{Activation, Class, Event, Failure, Landed, MessageId, Record, Sealed, Seed, State, Termination, Ticket},
    status::{
        DaemonState, Report, SectorStatus, Snapshot,
        changes::Narrator,
        info::{self, Account, Beneficiary, ChainState, Deadline, Due, Funds, InfoReport, Market, Share, Shown, Sync},
        paint::Colour,
        sectors::{self, Choice, HistoryLine, List, Names, OnChain, Show, Standings, Terms},
        stake::Stake,
        text,
        winning::Winning,
    },
    units::{AttoFil, Epoch, Hash32, MinerId, RepoName, SectorSize, UnixMillis},
};
use std::time::Duration;

#[test]
fn status_as_text() {
    let simulated = Snapshot { prover: "simulated".to_owned(), ..sample::sealing() };
    let views = [
        ("fresh", sample::fresh(), 0, DaemonState::Running),
        ("sealing", sample::sealing(), 0, DaemonState::Running),
        ("waiting", sample::waiting_only(), 0, DaemonState::Running),
        ("alarms", sample::alarms(), 0, DaemonState::Running),
        ("simulated", simulated, 0, DaemonState::Running),
        ("met", sample::met(), 0, DaemonState::Running),
        ("stopped", sample::sealing(), 180_000, DaemonState::Stopped),
        ("silent", sample::met(), 240_000, DaemonState::Running),
    ];
    for (name, snapshot, later, daemon) in views {
        let text = text::render(&snapshot, NOW.plus_ms(later), Colour::Plain, daemon);
        let wide: Vec<&str> = text.lines().filter(|line| line.chars().count() > 100).collect();
        assert!(wide.is_empty(), "{name}: {wide:?}");
        assert!(text.lines().all(|line| line.trim_end() == line), "{name}: a line ends in spaces");
        golden(&format!("status/{name}.txt"), &text);
    }
}

#[test]
fn colour_changes_no_letter() {
    for snapshot in [sample::fresh(), sample::sealing(), sample::alarms(), sample::met()] {
        let plain = text::render(&snapshot, NOW, Colour::Plain, DaemonState::Running);
        let ansi = text::render(&snapshot, NOW, Colour::Ansi, DaemonState::Running);
        assert_ne!(plain, ansi);
        assert_eq!(plain, without_escapes(&ansi));
    }
}

fn without_escapes(text: &str) -> String {
    let mut parts = text.split('\u{1b}');
    let first = parts.next().unwrap_or_default().to_owned();
    parts.fold(first, |out, part| out + part.split_once('m').map_or("", |(_, rest)| rest))
}

#[test]
fn well_is_a_living_daemon_with_fresh_facts_and_no_alarm() {
    let well = |snapshot, daemon, later| Report::new(snapshot, daemon, NOW.plus_ms(later)).is_well();
    assert!(well(sample::sealing(), DaemonState::Running, 1_000));
    assert!(!well(sample::sealing(), DaemonState::Stopped, 1_000));
    assert!(!well(sample::sealing(), DaemonState::Running, 60_000));
    assert!(!well(sample::alarms(), DaemonState::Running, 1_000));
}

#[test]
fn a_report_survives_json() {
    for snapshot in [sample::fresh(), sample::sealing(), sample::waiting_only(), sample::alarms(), sample::met()] {
        let report = Report::new(snapshot, DaemonState::Running, NOW);
        let json = serde_json::to_string(&report).unwrap();
        assert_eq!(serde_json::from_str::<Report>(&json).unwrap(), report);
    }
}

#[test]
fn status_as_json() {
    let report = Report::new(sample::sealing(), DaemonState::Running, NOW.plus_ms(1_500));
    golden("status/sealing.json", &(serde_json::to_string_pretty(&report).unwrap() + "\n"));
}

#[test]
fn summaries() {
    let simulated = Snapshot { prover: "simulated".to_owned(), ..sample::met() };
    let all = [sample::met(), sample::alarms(), simulated].map(|s| text::summary(&s, Duration::from_secs(432)));
    golden("status/summary.txt", &all.join("\n"));
}

/// A run told by changes, a snapshot a second.
#[test]
fn changes_are_told_once() {
    let at = |snapshot: Snapshot, second: i64| Snapshot { at: NOW.plus_ms(second * 1000), ..snapshot };
    let snark = |permille| {
        let mut snapshot = sample::sealing();
        let commit = snapshot.sectors.iter_mut().find(|s| s.state == "Committing").unwrap();
        commit.permille = Some(permille);
        snapshot
    };
    let mut run =
        vec![at(sample::fresh(), 0), at(sample::fresh(), 1), at(sample::fresh(), 11), at(sample::sealing(), 12)];
    run.extend((13..=33).map(|second| at(snark(u16::try_from(second * 20).unwrap()), second)));
    let moved: Vec<SectorStatus> = sample::sealing()
        .sectors
        .into_iter()
        .map(|s| {
            if s.state == "PreCommit2" {
                SectorStatus { state: "PreCommitting".to_owned(), permille: None, ..s }
            } else {
                s
            }
        })
        .collect();
    run.push(at(Snapshot { sectors: moved, ..sample::sealing() }, 34));
    run.push(at(sample::alarms(), 35));
    run.push(at(sample::alarms(), 36));
    run.push(at(sample::waiting_only(), 37));
    run.push(at(sample::met(), 38));
    let mut narrator = Narrator::default();
    let told: Vec<String> = run.iter().flat_map(|snapshot| narrator.tell(snapshot)).collect();
    golden("status/changes.txt", &(told.join("\n") + "\n"));
}

#[test]
fn a_sector_that_leaves_the_list_is_said_to_be_where_it_went() {
    for (state, words) in [("FinalizeSector", "FinalizeSector -> Proving"), ("Removing", "Removing -> Removed")] {
        let mut before = sample::sealing();
        before.sectors.truncate(1);
        before.sectors[0].state = state.to_owned();
        let mut narrator = Narrator::default();
        narrator.tell(&before);
        let after = Snapshot { sectors: vec![], ..before };
        let told = narrator.tell(&after).join("\n");
        assert!(told.contains(words), "{told}");
    }
}

fn hash(n: u8) -> Hash32 {
    Hash32([n; 32])
}

fn failure() -> Failure {
    Failure { class: Class::Environment, doing: "verifying a proof".to_owned(), error: "no parameters".to_owned() }
}

fn life() -> Vec<Event> {
    let message = |n: u8| Some(MessageId(format!("00000000-0000-4000-8000-0000000000{n:02}")));
    vec![
        Event::Packed,
        Event::TicketDrawn { ticket: Ticket { epoch: Epoch::new(-897), value: hash(1), read_at: Epoch::new(3) } },
        Event::AttemptFailed { failure: failure(), retry_at: NOW },
        Event::PreCommit1Done,
        Event::PreCommit2Done { sealed: Sealed { comm_r: hash(2), comm_d: hash(3) } },
        Event::PreCommitted { message: message(1) },
        Event::PreCommitLanded {
            landed: Landed { epoch: Epoch::new(20), deposit: AttoFil::from_atto(70_000_000_000_000_000) },
        },
        Event::SeedReady { seed: Seed { epoch: Epoch::new(30), value: hash(4) } },
        Event::ProofReady { porep: "ab".repeat(192) },
        Event::Committed { message: message(2) },
        Event::Proving {
            activation: Activation {
                epoch: Epoch::new(44),
                expiration: Epoch::new(1_555_244),
                pledge: AttoFil::from_atto(130_000_000_000_000_000),
            },
        },
        Event::Finalized { store: "hdd0".parse().unwrap() },
    ]
}

/// The first `events` of a sector's life, one a minute, and the history it leaves.
fn lived(number: u64, events: usize) -> (Record, Vec<HistoryLine>) {
    let repo: RepoName = "nvme0".parse().unwrap();
    let born = NOW.plus_ms(-3_600_000);
    let mut record = Record::new(number.try_into().unwrap(), SectorSize::KiB2.seal_proof(), repo, born);
    let mut history = Vec::new();
    for (event, minute) in life().into_iter().take(events).zip(1..) {
        let at = born.plus_ms(minute * 60_000);
        record = record.apply(&event, at).unwrap();
        history.push(HistoryLine { at, event, applied: true });
    }
    (record, history)
}

#[test]
fn sectors_list_as_text_and_json() {
    let records: Vec<Record> = [(12, 3), (5, 7), (1, 12), (3, 4), (4, 9)].map(|(n, events)| lived(n, events).0).into();
    let last = sample::sealing();
    let unreadable = vec!["sectors row 9: unknown state \"Sealing\"".to_owned()];
    let list = List::new(&records, unreadable, &Choice::default(), Some(&last));
    golden("sectors/list.txt", &list.render(NOW, Colour::Plain));
    golden("sectors/list.json", &(serde_json::to_string_pretty(&list).unwrap() + "\n"));
    let standings = Standings {
        head: Epoch::new(1_234),
        expirations: [(1, 1_555_244), (4, 1_555_300)].map(|(n, at)| (n.try_into().unwrap(), Epoch::new(at))).into(),
        active: [1.try_into().unwrap()].into(),
    };
    let known = list.clone().with(Ok(standings));
    golden("sectors/list-chain.txt", &known.render(NOW, Colour::Plain));
    golden("sectors/list-chain.json", &(serde_json::to_string_pretty(&known).unwrap() + "\n"));
    let away = list.with(Err("no chain endpoint answers ChainHead (1 tried)".to_owned()));
    golden("sectors/list-away.txt", &away.render(NOW, Colour::Plain));
    assert_eq!(List::new(&[], vec![], &Choice::default(), None).render(NOW, Colour::Plain), "no sectors\n");
}

#[test]
fn a_list_holds_only_what_was_chosen() {
    let records: Vec<Record> = [(12, 3), (5, 7), (1, 12), (3, 4), (4, 9)].map(|(n, events)| lived(n, events).0).into();
    let last = sample::sealing();
    let chosen = |choice: Choice| -> Vec<u64> {
        List::new(&records, vec![], &choice, Some(&last)).sectors.iter().map(|row| row.number.as_u64()).collect()
    };
    let all = Choice::default();
    assert_eq!(chosen(all.clone()), [1, 3, 4, 5, 12]);
    assert_eq!(chosen(Choice { state: vec![State::Proving], ..all.clone() }), [1]);
    assert_eq!(chosen(Choice { state: vec![State::WaitSeed, State::Proving], ..all.clone() }), [1, 5]);
    assert_eq!(chosen(Choice { failed: true, ..all.clone() }), [12]);
    assert_eq!(chosen(Choice { waiting: true, ..all.clone() }), [5]);
    assert_eq!(chosen(Choice { why: Some("no Parameters".to_owned()), ..all.clone() }), [12]);
    assert_eq!(chosen(Choice { why: Some("SEED".to_owned()), ..all.clone() }), [5]);
    assert_eq!(chosen(Choice { why: Some("seed".to_owned()), failed: true, ..all }), [] as [u64; 0]);
}

#[test]
fn sectors_show_as_text() {
    let last = sample::sealing();
    let (record, history) = lived(1, 12);
    golden(
        "sectors/proving.txt",
        &Show::new(record, history, DaemonState::Running, Some(&last)).render(
            sectors::Shown::default(),
            NOW,
            Colour::Plain,
        ),
    );
    let (record, history) = lived(4, 8);
    golden(
        "sectors/committing.txt",
        &Show::new(record, history, DaemonState::Running, Some(&last)).render(
            sectors::Shown::default(),
            NOW,
            Colour::Plain,
        ),
    );
    let (record, mut history) = lived(12, 3);
    history.push(HistoryLine { at: NOW, event: Event::CommitReverted, applied: false });
    let show = Show::new(record, history, DaemonState::Stopped, Some(&last));
    golden("sectors/failed.txt", &show.render(sectors::Shown::default(), NOW.plus_ms(-3_590_000), Colour::Plain));
    let last = sample::waiting_only();
    for (name, number, events) in [("waiting", 5, 7), ("batched", 6, 10)] {
        let (record, history) = lived(number, events);
        let show = Show::new(record, history, DaemonState::Running, Some(&last));
        golden(&format!("sectors/{name}.txt"), &show.render(sectors::Shown::default(), NOW, Colour::Plain));
    }
}

#[test]
fn sectors_show_with_what_the_chain_says() {
    let (record, history) = lived(1, 12);
    let last = sample::waiting_only();
    let names = Names {
        comm_d: Some("baga6ea4sea".to_owned()),
        comm_r: Some("bagboea4b5abc".to_owned()),
        precommit: Some("bafy2bzaceq1".to_owned()),
        commit: Some("bafy2bzaceq2".to_owned()),
        termination: None,
    };
    let terms = Terms {
        seal_proof: 5,
        activation: Epoch::new(44),
        expiration: Epoch::new(1_555_244),
        deal_weight: 0,
        verified_deal_weight: 0,
        initial_pledge: fil(130),
        power_base: Epoch::new(44),
        daily_fee: fil(1),
        on_time: Some(Epoch::new(1_555_244)),
        early: Some(Epoch::new(122_000)),
        deadline: Some(17),
        partition: Some(0),
    };
    let on_chain = |terms: Option<Terms>| Some(OnChain { head: Epoch::new(1_234), terms });
    let show = Show::new(record, history, DaemonState::Running, Some(&last));
    let show = Show { names, on_chain: on_chain(Some(terms)), history: vec![], ..show };
    golden("sectors/on-chain.txt", &show.render(sectors::Shown { proof: true }, NOW, Colour::Plain));
    golden("sectors/on-chain.json", &(serde_json::to_string_pretty(&show).unwrap() + "\n"));
    let json = serde_json::to_string(&show).unwrap();
    assert_eq!(serde_json::from_str::<Show>(&json).unwrap(), show);
    let none = Show { on_chain: on_chain(None), ..show };
    let text = none.render(sectors::Shown::default(), NOW, Colour::Plain);
    assert!(text.contains("the chain has no such sector: not yet, or no more"), "{text}");
}

#[test]
fn a_status_about_another_state_is_not_shown() {
    let (record, history) = lived(4, 9);
    let last = Snapshot { at: UnixMillis::new(0), ..sample::alarms() };
    assert_eq!(Show::new(record, history, DaemonState::Running, Some(&last)).status, None);
}

#[test]
fn what_hangs_on_a_sector_follows_its_life() {
    let deposit = AttoFil::from_atto(70_000_000_000_000_000);
    let pledge = AttoFil::from_atto(130_000_000_000_000_000);
    for events in 0..=12 {
        let expected = match events {
            0..7 => None,
            7..11 => Some(Stake::Deposit(deposit)),
            _ => Some(Stake::Pledge(pledge)),
        };
        assert_eq!(Stake::of(&lived(1, events).0), expected, "after {events} events");
    }
    let (mut record, _) = lived(1, 8);
    record.state = State::FailedUnrecoverable;
    assert_eq!(Stake::of(&record), Some(Stake::Lost(deposit)));
    assert_eq!(Stake::Lost(deposit).locked(), None);
    let (mut record, _) = lived(1, 12);
    record.state = State::Removing;
    assert_eq!(Stake::of(&record), Some(Stake::Pledge(pledge)));
    record.termination = Some(Termination { message: None, epoch: Some(Epoch::new(90)) });
    assert_eq!(Stake::of(&record), None);
}

fn fil(milli: i128) -> AttoFil {
    AttoFil::from_atto(milli * 1_000_000_000_000_000)
}

fn report() -> InfoReport {
    let adjusted_power = Share { miner: 1000 << 35, network: 20 << 60 };
    InfoReport {
        format_version: info::FORMAT_VERSION,
        at: NOW,
        running_since: Some(NOW.plus_ms(-7_380_000)),
        head: Epoch::new(5_000_000),
        chain: ChainState {
            network: "mainnet".to_owned(),
            epoch_secs: 30,
            age_secs: 12,
            sync: Sync::Ok,
            base_fee: AttoFil::from_atto(123_456_000),
        },
        miner: MinerId::new(1000),
        sector_size: SectorSize::GiB32,
        byte_power: Share { miner: 1000 << 35, network: 3 << 60 },
        adjusted_power,
        has_min_power: true,
        committed: 1002,
        proving: 1002,
        faulty: 2,
        winning: Winning::expected(adjusted_power, Duration::from_secs(30), Some(fil(80_000))),
        funds: Funds {
            balance: fil(500_000),
            precommit: fil(1_500),
            pledge: fil(130_000),
            vesting: fil(20_000),
            locked: fil(150_000),
            debt: AttoFil::ZERO,
            available: fil(348_500),
        },
        daily_fee: Some(fil(7)),
        owner: "f01001".to_owned(),
        worker: "f01002".to_owned(),
        worker_balance: fil(12_340),
        controls: vec![Account { address: "f01003".to_owned(), balance: fil(3_000) }],
        controls_not_asked: 0,
        beneficiary: own(),
        market: Some(Market { escrow: AttoFil::ZERO, locked: AttoFil::ZERO }),
        states: [("WaitSeed", 3), ("Proving", 1000), ("SealFailed", 1), ("PreCommit1", 0), ("Removed", 4)]
            .map(|(s, n)| (s.to_owned(), n))
            .into(),
        deadline: Some(Deadline {
            index: 7,
            open: Epoch::new(5_000_042),
            close: Epoch::new(5_000_102),
            due: Some(Due { partitions: 1, posted: 0, sectors: 21, faulty: 2, recovering: 1 }),
        }),
    }
}

fn own() -> Beneficiary {
    let (quota, used) = (AttoFil::ZERO, AttoFil::ZERO);
    Beneficiary { address: "f01001".to_owned(), quota, used, expiration: Epoch::new(0), pending: None }
}

#[test]
fn info_as_text_and_json() {
    let shown = Shown::default();
    golden("info/large.txt", &report().render(shown, Colour::Plain));
    golden("info/large.json", &(serde_json::to_string_pretty(&report()).unwrap() + "\n"));
    golden("info/colours.txt", &report().render(shown, Colour::Ansi).replace('\u{1b}', "^"));
    let hidden = report().render(Shown { without_sectors: true }, Colour::Plain);
    assert!(report().render(shown, Colour::Plain).starts_with(&hidden) && !hidden.contains("Sectors:"), "{hidden}");
    let json = serde_json::to_string(&report()).unwrap();
    assert_eq!(serde_json::from_str::<InfoReport>(&json).unwrap(), report());
}

/// Everything that is only said when it is so.
#[test]
fn info_of_a_miner_in_trouble() {
    let late = ChainState { age_secs: 3_723, sync: Sync::Behind, ..report().chain };
    let other = Beneficiary {
        address: "f01009".to_owned(),
        quota: fil(1_000_000),
        used: fil(2_500),
        expiration: Epoch::new(6_000_000),
        pending: Some("f01010".to_owned()),
    };
    let funds = Funds { debt: fil(400_000), available: fil(-51_500), ..report().funds };
    let trouble = InfoReport {
        running_since: None,
        chain: late,
        funds,
        beneficiary: other,
        controls_not_asked: 3,
        states: [("Proving", 1), ("Sealing", 2)].map(|(s, n)| (s.to_owned(), n)).into(),
        ..report()
    };
    golden("info/trouble.txt", &trouble.render(Shown::default(), Colour::Plain));
    golden("info/trouble-colours.txt", &trouble.render(Shown::default(), Colour::Ansi).replace('\u{1b}', "^"));
}

#[test]
fn info_at_zero_power() {
    let none = Share { miner: 0, network: 0 };
    let zero = InfoReport {
        byte_power: none,
        adjusted_power: none,
        has_min_power: false,
        winning: Winning::expected(none, Duration::from_secs(30), Some(fil(80_000))),
        committed: 0,
        proving: 0,
        faulty: 0,
        controls: vec![],
        daily_fee: None,
        states: vec![],
        market: None,
        deadline: None,
        ..report()
    };
    golden("info/zero.txt", &zero.render(Shown::default(), Colour::Plain));
    // enough for the network's minimum, which may be none at all
    let some = InfoReport { has_min_power: true, ..zero };
    assert!(some.render(Shown::default(), Colour::Plain).contains("none: without power no blocks are won"));
}
