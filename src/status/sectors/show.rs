//! `seald sectors show`.

use super::{FORMAT_VERSION, OnChain, failed, is_about};
use crate::{
    sector::{Event, MessageId, Record, Sealed},
    status::{
        BatchStatus, DaemonState, DeadlineStatus, SectorStatus, Snapshot,
        paint::{Colour, Side, Table, Tone, cell, toned},
        stake::Stake,
        text, words,
    },
    units::{Hash32, SectorSize, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// One line of a sector's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLine {
    /// When.
    pub at: UnixMillis,
    /// What happened.
    pub event: Event,
    /// Whether it moved the sector; `false` for an event that met the wrong state.
    pub applied: bool,
}

/// What the chain calls the sector's commitments and messages.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Names {
    /// CID of CommD.
    pub comm_d: Option<String>,
    /// CID of CommR.
    pub comm_r: Option<String>,
    /// CID of the pre-commit message: the one that executed, or was handed over last.
    pub precommit: Option<String>,
    /// The same of the prove-commit.
    pub commit: Option<String>,
    /// The same of the termination.
    pub termination: Option<String>,
}

/// What the text shows beyond the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shown {
    /// The bytes of the proof, hexadecimal.
    pub proof: bool,
}

/// `seald sectors show N`: everything that is known.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Show {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Whether the daemon runs: without it nothing happens.
    pub daemon: DaemonState,
    /// The durable record.
    pub sector: Record,
    /// What the daemon last said about it; absent when it is not in flight.
    pub status: Option<SectorStatus>,
    /// The messages that carry it with others, as far as they are not settled.
    pub batches: Vec<BatchStatus>,
    /// Seconds of an epoch, once known.
    pub epoch_secs: Option<u64>,
    /// What the chain calls its commitments and messages.
    #[serde(default)]
    pub names: Names,
    /// What the chain says of it now, when it was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_chain: Option<OnChain>,
    /// Everything that happened to it, oldest first.
    pub history: Vec<HistoryLine>,
}

impl Show {
    /// The report on `sector`. `last` is the daemon's last snapshot.
    pub fn new(sector: Record, history: Vec<HistoryLine>, daemon: DaemonState, last: Option<&Snapshot>) -> Self {
        let status = last.and_then(|last| last.sectors.iter().find(|status| is_about(status, &sector))).cloned();
        let batches = last.iter().flat_map(|last| &last.batches);
        let batches = batches.filter(|batch| batch.sectors.contains(&sector.number)).cloned().collect();
        let epoch_secs = last.and_then(|last| last.chain.epoch_secs);
        let names = Names::default();
        let format_version = FORMAT_VERSION;
        Self { format_version, daemon, sector, status, batches, epoch_secs, names, on_chain: None, history }
    }

    /// The report as text.
    pub fn render(&self, shown: Shown, now: UnixMillis, colour: Colour) -> String {
        let Record { number, state, entered, .. } = &self.sector;
        let since = words::about(now.ms_since(*entered));
        let name = colour.paint(Tone::Strong, &format!("sector {number}"));
        let mut out = format!("{name}   {} for {since}\n", colour.paint(text::tone_of(state.as_str()), state.as_str()));
        let mut facts = Table::new(&[("", Side::Left), ("", Side::Left)]);
        let why = self.why(now).into_iter().chain(self.stakes(now)).map(|(key, value)| (key, Some(value)));
        for (key, value) in why.chain(self.facts(shown)).chain(places_of(&self.sector)) {
            if let Some(value) = value {
                facts.row([toned(key, Tone::Dim), cell(value)], None);
            }
        }
        out.push_str(&facts.render(colour));
        if let Some(on_chain) = &self.on_chain {
            out.push_str(&on_chain.render(self.epoch_secs, colour));
        }
        let mut history = Table::new(&[("time (utc)", Side::Left), ("event", Side::Left), ("", Side::Left)]);
        for HistoryLine { at, event, applied } in &self.history {
            let tone = if *applied { Tone::Plain } else { Tone::Dim };
            let refused = if *applied { "" } else { "did not apply " };
            let name = toned(event.kind().as_str(), tone);
            history.row([cell(words::date(*at)), name, toned(format!("{refused}{}", brief(event)).trim(), tone)], None);
        }
        if !self.history.is_empty() {
            out.push_str(&format!("\n{}\n{}", colour.paint(Tone::Strong, "history"), history.render(colour)));
        }
        out
    }

    /// The lines by which storage providers know a sector, in the order of old.
    fn facts(&self, shown: Shown) -> Vec<Line> {
        let Record { number, state, ticket, sealed, seed, porep, precommit, commit, .. } = &self.sector;
        let Record { failure, attempts, termination, .. } = &self.sector;
        let Names { comm_d, comm_r, .. } = &self.names;
        let landed = precommit.as_ref().and_then(|p| p.landed.as_ref());
        let proof = porep.as_ref().map(|hex| match shown {
            Shown { proof: true } => hex.clone(),
            Shown { proof: false } => format!("{} bytes, verified", hex.len().div_euclid(2)),
        });
        let failure = failure.as_ref().map(failed);
        let hash = |pick: fn(&Sealed) -> Hash32| sealed.as_ref().map(|sealed| pick(sealed).to_string());
        vec![
            ("SectorID", Some(number.to_string())),
            ("Status", Some(state.to_string())),
            ("CIDcommD", comm_d.clone().or_else(|| hash(|sealed| sealed.comm_d))),
            ("CIDcommR", comm_r.clone().or_else(|| hash(|sealed| sealed.comm_r))),
            ("Ticket", ticket.as_ref().map(|ticket| ticket.value.to_string())),
            ("TicketH", ticket.as_ref().map(|ticket| format!("{}, read at {}", ticket.epoch.as_i64(), ticket.read_at))),
            ("Seed", seed.as_ref().map(|seed| seed.value.to_string())),
            ("SeedH", seed.as_ref().map(|seed| seed.epoch.as_i64().to_string())),
            ("Proof", proof),
            ("Precommit", precommit.as_ref().map(|p| sent(self.names.precommit.as_ref(), p.message.as_ref()))),
            ("", landed.map(|landed| format!("on chain since {}, deposit {}", landed.epoch, landed.deposit))),
            ("Commit", commit.as_ref().map(|c| sent(self.names.commit.as_ref(), c.message.as_ref()))),
            ("Terminate", termination.as_ref().map(|t| sent(self.names.termination.as_ref(), t.message.as_ref()))),
            ("", termination.as_ref().and_then(|t| Some(format!("ended at {}", t.epoch?)))),
            ("Deals", Some("none: a capacity sector".to_owned())),
            ("Retries", Some(attempts.to_string())),
            ("Last Err", failure),
        ]
    }

    /// Why it stands where it stands.
    fn why(&self, now: UnixMillis) -> Vec<(&'static str, String)> {
        let mut why = Vec::new();
        if let Some(status) = &self.status {
            if let (Some(slot), step) = (&status.slot, status.step.as_deref().unwrap_or("working")) {
                let done = status.permille.map(|n| format!(" {}", words::percent(n))).unwrap_or_default();
                let eta = status.eta_ms.map(|ms| format!(", ETA {}", words::about(ms))).unwrap_or_default();
                why.push(("doing", format!("{step} on {slot}{done}{eta}")));
            }
            if let Some(reason) = &status.waits_for {
                why.push(("waits for", reason.clone()));
                let since =
                    status.since.map(|at| format!("{} UTC, {}", words::date(at), words::about(now.ms_since(at))));
                why.extend(since.map(|since| ("since", since)));
                let next_head = || "the next chain head".to_owned();
                why.push(("until", status.until.clone().unwrap_or_else(next_head)));
            }
        }
        let Record { state, failure, attempts, retry_at, .. } = &self.sector;
        if let Some(failure) = failure {
            why.push(("failure", format!("{} ({})", failed(failure), words::count(u64::from(*attempts), "attempt"))));
        }
        if let Some(at) = retry_at.filter(|at| *at > now) {
            why.push(("next try", format!("in {}", words::about(at.ms_since(now)))));
        }
        if self.daemon == DaemonState::Stopped && !state.is_final() {
            why.push(("stands still", "the daemon is not running; start it with `seald run`".to_owned()));
        }
        why
    }

    /// What time and money depend on it.
    fn stakes(&self, now: UnixMillis) -> Vec<(&'static str, String)> {
        let mut stakes = Vec::new();
        if let Some(DeadlineStatus { what, epoch, slack }) = self.status.as_ref().and_then(|s| s.deadline.as_ref()) {
            let time = |secs: u64| words::about(slack.unsigned_abs().saturating_mul(secs).saturating_mul(1000));
            let about = self.epoch_secs.map(|secs| format!(", about {}", time(secs))).unwrap_or_default();
            let late = if *slack < 0 { "missed by" } else { "slack" };
            let slack = words::count(slack.unsigned_abs(), "epoch");
            stakes.push(("deadline", format!("{what} by {epoch} ({late} {slack}{about})")));
        }
        let stake = match Stake::of(&self.sector) {
            Some(Stake::Deposit(amount)) => format!("deposit of {amount}, locked on chain"),
            Some(Stake::Pledge(amount)) => format!("pledge of {amount}, locked on chain"),
            Some(Stake::Lost(amount)) => format!("deposit of {amount}, lost: no proof comes any more"),
            None => "nothing is locked on chain".to_owned(),
        };
        stakes.push(("at stake", stake));
        for BatchStatus { id, kind, state, sectors, oldest, leaves, waits_for, cids } in &self.batches {
            let count = words::count(u64::try_from(sectors.len()).unwrap_or(u64::MAX), "sector");
            let age = words::about(now.ms_since(*oldest));
            let leaves = leaves.map(|at| format!(", leaves {}", words::within(at, now))).unwrap_or_default();
            stakes.push(("batch", format!("{kind} {id}: {state}, {count}, the oldest for {age}{leaves}")));
            stakes.extend(waits_for.iter().map(|reason| ("", format!("waits for {reason}"))));
            stakes.extend(cids.iter().map(|cid| ("", format!("message {cid}"))));
        }
        stakes
    }
}

type Line = (&'static str, Option<String>);

/// A message: by its CID when a node took it, and by its id here.
fn sent(cid: Option<&String>, id: Option<&MessageId>) -> String {
    match (cid, id) {
        (Some(cid), Some(MessageId(id))) => format!("{cid} (message {id})"),
        (Some(cid), None) => cid.clone(),
        (None, Some(MessageId(id))) => format!("message {id}"),
        (None, None) => "found on chain".to_owned(),
    }
}

/// Where it is kept, and what it is worth.
fn places_of(record: &Record) -> Vec<Line> {
    let Record { proof, repo, store, created, activation, .. } = record;
    let size: SectorSize = proof.sector_size();
    vec![
        ("created", Some(format!("{} UTC", words::date(*created)))),
        ("size", Some(format!("{size}, seal proof {}", proof.as_i64()))),
        ("sealed in", Some(format!("repo {repo}"))),
        ("kept in", store.as_ref().map(|store| format!("repo {store}"))),
        ("active", activation.as_ref().map(|a| format!("since {}, expires at {}", a.epoch, a.expiration))),
        ("pledge", activation.as_ref().map(|a| a.pledge.to_string())),
    ]
}

/// What came with an event, in a few words; empty when nothing did.
pub fn brief(event: &Event) -> String {
    match event {
        Event::PackingFailed { failure } | Event::GivenUp { failure } => failed(failure),
        Event::AttemptFailed { failure, .. }
        | Event::SealPreCommitFailed { failure, .. }
        | Event::ChainPreCommitFailed { failure, .. }
        | Event::ComputeProofFailed { failure, .. }
        | Event::CommitFailed { failure, .. }
        | Event::TerminateFailed { failure, .. } => failed(failure),
        Event::TicketDrawn { ticket } => ticket.epoch.to_string(),
        Event::PreCommit2Done { sealed } => format!("CommR {}", sealed.comm_r),
        Event::PreCommitted { message } | Event::Committed { message } | Event::TerminateSent { message } => {
            message.as_ref().map_or_else(|| "found on chain".to_owned(), |id| format!("message {}", id.0))
        }
        Event::PreCommitLanded { landed } => format!("{}, deposit {}", landed.epoch, landed.deposit),
        Event::SeedReady { seed } => seed.epoch.to_string(),
        Event::ProofReady { porep } => format!("{} bytes", porep.len().div_euclid(2)),
        Event::Proving { activation } => format!("{}, pledge {}", activation.epoch, activation.pledge),
        Event::Finalized { store } => format!("repo {store}"),
        Event::Imported { activation, store, .. } => format!("{}, repo {store}", activation.epoch),
        Event::Terminated { epoch } => epoch.to_string(),
        Event::StateForced { state } => state.to_string(),
        Event::Packed
        | Event::TicketExpired
        | Event::PreCommit1Done
        | Event::PreCommitReverted
        | Event::CommitReverted
        | Event::RetrySeal
        | Event::RetryPreCommit
        | Event::RetryWaitSeed
        | Event::RetryComputeProof
        | Event::RetryInvalidProof
        | Event::RetrySubmitCommit
        | Event::RetryCommitWait
        | Event::Faulty
        | Event::FaultReported
        | Event::Recovered
        | Event::FaultedFinal
        | Event::RetryAsked
        | Event::TerminateAsked
        | Event::TerminateReverted
        | Event::RemoveAsked
        | Event::RemoveDone => String::new(),
    }
}
