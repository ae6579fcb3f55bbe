//! Snapshots of a daemon's life, for the views.

use seald::{
    plan::How,
    status::{
        Alarm, BatchStatus, ChainStatus, DeadlineStatus, EndpointStatus, FORMAT_VERSION, HeldStatus, Preparing,
        RepoStatus, Scheduling, SectorStatus, SlotStatus, Snapshot, Target,
    },
    units::{AttoFil, Bytes, Epoch, MinerId, UnixMillis},
};

/// 2026-03-01 12:03:41 UTC.
pub const NOW: UnixMillis = UnixMillis::new(1_772_366_621_000);

/// The first second: nothing known yet.
pub fn fresh() -> Snapshot {
    let preparing = |what: &str, step: &str, permille, eta_ms| Preparing {
        what: what.to_owned(),
        step: step.to_owned(),
        permille,
        eta_ms,
    };
    Snapshot {
        format_version: FORMAT_VERSION,
        at: NOW,
        version: "0.1.0".to_owned(),
        pid: 4242,
        manifest: "/etc/seald.toml".to_owned(),
        generation: Some(seald::status::Generation { number: 3, since: NOW }),
        miner: None,
        prover: "real".to_owned(),
        preparing: vec![
            preparing("devnet", "starting", None, None),
            preparing("Groth parameters for 2KiB", "generating stacked-proof", Some(437), Some(31_000)),
        ],
        chain: ChainStatus {
            network: None,
            head: None,
            seen: None,
            trouble: None,
            messages_pending: 0,
            worker_balance: None,
            epoch_secs: None,
            endpoints: Vec::new(),
        },
        target: Target { wanted: 5, ordered: 0, proving: 0, in_flight: 0, eta_ms: None },
        launcher: "systemd".to_owned(),
        slots: vec![slot("cpu", 0, "starting", None)],
        sectors: vec![],
        batches: vec![],
        counts: vec![],
        repos: vec![repo("nvme0", "ready")],
        scheduling: Scheduling::default(),
        stages: vec![],
        alarms: vec![],
    }
}

/// Sectors in every kind of stage.
pub fn sealing() -> Snapshot {
    Snapshot {
        generation: Some(seald::status::Generation { number: 3, since: NOW }),
        miner: Some(MinerId::new(1000)),
        preparing: vec![],
        chain: ChainStatus {
            network: Some("devnet".to_owned()),
            head: Some(Epoch::new(1234)),
            seen: Some(NOW.plus_ms(-2_000)),
            trouble: None,
            messages_pending: 2,
            worker_balance: Some(AttoFil::from_atto(99_500_000_000_000_000_000)),
            epoch_secs: Some(30),
            endpoints: vec![
                EndpointStatus {
                    name: "wss://node.example".to_owned(),
                    state: "behind".to_owned(),
                    why: Some("its head is 12 epochs behind that of another endpoint".to_owned()),
                    head: Some(Epoch::new(1222)),
                    in_use: false,
                },
                EndpointStatus {
                    name: "http://127.0.0.1:1234".to_owned(),
                    state: "well".to_owned(),
                    why: None,
                    head: Some(Epoch::new(1234)),
                    in_use: true,
                },
            ],
        },
        target: Target { wanted: 5, ordered: 0, proving: 2, in_flight: 3, eta_ms: Some(192_000) },
        launcher: "direct".to_owned(),
        slots: vec![
            slot("cpu", 0, "busy", Some("sector 3 precommit2")),
            slot("cpu", 1, "busy", Some("sector 4 commit")),
            slot("gpu0", 0, "idle", None),
        ],
        sectors: vec![
            SectorStatus {
                step: Some("tree-c".to_owned()),
                permille: Some(120),
                eta_ms: Some(4_000),
                slot: Some("cpu/0".to_owned()),
                ..sector(3, "PreCommit2")
            },
            SectorStatus {
                step: Some("SNARK".to_owned()),
                permille: Some(430),
                eta_ms: Some(31_000),
                slot: Some("cpu/1".to_owned()),
                ..sector(4, "Committing")
            },
            waiting(5, "WaitSeed", "the interactive seed", Some("epoch 1300")),
        ],
        counts: vec![
            ("Proving".to_owned(), 2),
            ("PreCommit2".to_owned(), 1),
            ("Committing".to_owned(), 1),
            ("WaitSeed".to_owned(), 1),
        ],
        repos: vec![repo("nvme0", "ready"), RepoStatus { roles: vec![], ..repo("old", "ready") }],
        ..fresh()
    }
}

/// Nothing moves, and each line says why.
pub fn waiting_only() -> Snapshot {
    Snapshot {
        launcher: "direct".to_owned(),
        slots: vec![SlotStatus {
            held: Some(HeldStatus { place: "cpu".parse().unwrap(), how: How::Cordoned, since: NOW.plus_ms(-300_000) }),
            ..slot("cpu", 0, "idle", None)
        }],
        sectors: vec![
            waiting(3, "PreCommit1", "a chain head: no endpoint answers", None),
            waiting(4, "PreCommitting", "the base fee to fall below 5 nanoFIL", Some("epoch 4100")),
            SectorStatus {
                since: Some(NOW.plus_ms(-720_000)),
                deadline: Some(DeadlineStatus {
                    what: "its proof to be on chain".to_owned(),
                    epoch: Epoch::new(87_570),
                    slack: 86_336,
                }),
                stake: Some(AttoFil::from_atto(70_000_000_000_000_000)),
                ..waiting(5, "WaitSeed", "the interactive seed", Some("epoch 1300 (in about 33 min)"))
            },
            waiting(6, "CommitWait", "message bafy…q2 to land", Some("epoch 1250")),
        ],
        batches: vec![
            BatchStatus {
                id: "7".to_owned(),
                kind: "commit".to_owned(),
                state: "sent".to_owned(),
                sectors: vec![6.try_into().unwrap()],
                oldest: NOW.plus_ms(-1_900_000),
                leaves: None,
                waits_for: Some("its message to land".to_owned()),
                cids: vec!["bafy2bzaceq1".to_owned(), "bafy2bzaceq2".to_owned()],
            },
            BatchStatus {
                id: "8".to_owned(),
                kind: "pre_commit".to_owned(),
                state: "open".to_owned(),
                sectors: vec![4.try_into().unwrap()],
                oldest: NOW.plus_ms(-63_000),
                leaves: Some(NOW.plus_ms(537_000)),
                waits_for: Some("company, or its time".to_owned()),
                cids: vec![],
            },
        ],
        target: Target { wanted: 1000, ordered: 3, proving: 2, in_flight: 4, eta_ms: None },
        chain: ChainStatus {
            trouble: Some("no chain endpoint answers ChainHead (2 tried): connection refused".to_owned()),
            ..sealing().chain
        },
        ..sealing()
    }
}

/// Things an operator must look at.
pub fn alarms() -> Snapshot {
    let down = SlotStatus {
        pid: None,
        placement: None,
        restarts: 5,
        note: Some("killed for memory 5 times in 10 min".to_owned()),
        ..slot("cpu", 1, "quarantined", None)
    };
    Snapshot {
        launcher: "direct".to_owned(),
        slots: vec![slot("cpu", 0, "idle", None), down],
        sectors: vec![SectorStatus {
            failure: Some("resource: writing layer 2: no space left on device".to_owned()),
            attempts: 3,
            waits_for: Some("an operator: 3 attempts failed".to_owned()),
            ..sector(3, "SealFailed")
        }],
        repos: vec![repo("nvme0", "not mounted")],
        alarms: vec![
            alarm(
                "sector 3",
                "3 attempts at precommit1 failed",
                "make space in /srv/nvme0; seald tries again by itself",
            ),
            alarm("slot cpu/1", "quarantined", "give it more memory (slot.cpu.memory), then `systemctl reload seald`"),
        ],
        ..sealing()
    }
}

/// All that was declared is there.
pub fn met() -> Snapshot {
    Snapshot {
        launcher: "direct".to_owned(),
        slots: vec![slot("cpu", 0, "idle", None)],
        sectors: vec![],
        counts: vec![("Proving".to_owned(), 5)],
        target: Target { wanted: 5, ordered: 0, proving: 5, in_flight: 0, eta_ms: None },
        ..sealing()
    }
}

fn slot(name: &str, instance: u32, state: &str, task: Option<&str>) -> SlotStatus {
    SlotStatus {
        slot: name.parse().unwrap(),
        instance,
        state: state.to_owned(),
        pid: Some(4243 + instance),
        task: task.map(str::to_owned),
        placement: None,
        restarts: 0,
        note: None,
        held: None,
    }
}

fn sector(number: u64, state: &str) -> SectorStatus {
    SectorStatus::new(number.try_into().unwrap(), state, NOW.plus_ms(-63_000))
}

fn waiting(number: u64, state: &str, reason: &str, until: Option<&str>) -> SectorStatus {
    SectorStatus { waits_for: Some(reason.to_owned()), until: until.map(str::to_owned), ..sector(number, state) }
}

fn repo(name: &str, state: &str) -> RepoStatus {
    RepoStatus {
        name: name.parse().unwrap(),
        path: format!("/srv/{name}"),
        state: state.to_owned(),
        roles: vec!["seal".to_owned(), "store".to_owned()],
        capacity: Bytes::new(4 << 40),
        free: Bytes::new(3 << 40),
        reserved: Bytes::new(905 << 30),
    }
}

fn alarm(about: &str, what: &str, remedy: &str) -> Alarm {
    Alarm { about: about.to_owned(), what: what.to_owned(), remedy: remedy.to_owned() }
}
