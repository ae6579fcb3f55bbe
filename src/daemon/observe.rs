//! Turns what the daemon knows into the planner's [`Observed`], and into the questions for the chain.

use super::{
    errands::Miner,
    observer::{Awaited, ChainView, Questions},
    world::{Pause, World},
};
use crate::{
    book::Book,
    chain::{ChainError, Message, messages},
    manifest::{self, Senders},
    outbox::{Batch, BatchState, MessageKind},
    plan::{Announced, Assignee, BatchSeen, ContactSeen, Funds, Observed, SectorSeen},
    sector::{self, ChainNow, MessageId, Record, State},
    units::{AttoFil, MinerId, SectorNumber, SectorSize, UnixMillis},
};
use std::collections::{BTreeMap, BTreeSet};

impl World {
    /// What is, now.
    pub fn observed(&self, now: UnixMillis) -> Observed {
        let (view, trouble) = {
            let sight = self.sight.borrow();
            (sight.view.clone(), sight.trouble.clone())
        };
        let devnet_up = self.devnet.as_ref().is_some_and(|devnet| devnet.view().state == "running");
        Observed {
            now,
            chain: view.as_ref().map(|view| chain_now(view, now)),
            base_fee: view.as_ref().map_or(AttoFil::ZERO, |view| view.head.base_fee),
            chain_trouble: trouble,
            devnet_running: self.devnet_started || devnet_up || !self.desired.devnet,
            miner: self.miner_seen.clone(),
            params: self.params.clone(),
            repos: self.repos.iter().map(|(name, desk)| (name.clone(), desk.seen.clone())).collect(),
            workers: self.workers_seen(),
            sectors: self.book.records.values().map(|record| (record.number, self.sector_seen(record, now))).collect(),
            quarantined: self.quarantined(),
            batches: batches_seen(&self.book, &self.handling, &self.batch_pauses),
            funds: view.as_ref().map_or_else(Funds::default, |view| funds(view)),
            contact: self.contact(view.as_deref()),
            network_version: view.as_ref().and_then(|view| view.network_version),
            next_number: self.next_number(),
            durations: self.durations.clone(),
            running: self.tasks.values().map(|task| (task.worker.clone(), task.stage)).collect(),
            memory: self.machine.memory().clone(),
            barred: self.machine.barred(),
        }
    }

    /// What the chain says of how the miner is reached, and the newest messages that were to change it.
    fn contact(&self, view: Option<&ChainView>) -> ContactSeen {
        let announcement = |kind: MessageKind| {
            let batch = self.book.newest(kind)?.clone();
            let wanted = self.announcement(kind, "").and_then(|message| message.ok());
            let is_wanted = batch.message.as_ref().zip(wanted.as_ref()).is_some_and(|(a, b)| a.params == b.params);
            Some(Announced { batch, is_wanted })
        };
        let kinds = [MessageKind::ChangePeerId, MessageKind::ChangeMultiaddrs];
        ContactSeen {
            on_chain: view.and_then(|view| view.contact.clone()),
            newest: kinds.into_iter().filter_map(announcement).collect(),
        }
    }

    /// The message that makes the chain say what the manifest wants; `None` when that wants nothing.
    pub(super) fn announcement(&self, kind: MessageKind, from: &str) -> Option<Result<Message, ChainError>> {
        let Miner { id, .. } = self.miner.as_ref()?;
        let manifest::Miner { peer_id, multiaddrs, .. } = &self.manifest.miner;
        match kind {
            MessageKind::ChangePeerId => {
                peer_id.as_ref().map(|peer_id| messages::change_peer_id_message(*id, from, peer_id))
            }
            MessageKind::ChangeMultiaddrs => {
                multiaddrs.as_ref().map(|addresses| messages::change_multiaddrs_message(*id, from, addresses))
            }
            MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::PreCommit
            | MessageKind::Commit
            | MessageKind::Terminate => None,
        }
    }

    fn workers_seen(&self) -> BTreeMap<Assignee, bool> {
        let idle: BTreeSet<_> =
            self.supervisor.views().into_iter().filter(|view| view.state == "idle").map(|view| view.id).collect();
        let is_idle = |who: &Assignee| idle.iter().any(|id| id.slot == who.slot && id.instance == who.instance);
        self.started.iter().map(|who| (who.clone(), is_idle(who))).collect()
    }

    fn sector_seen(&self, record: &Record, now: UnixMillis) -> SectorSeen {
        let number = record.number;
        let task = self.tasks.values().find(|task| task.number == number);
        let paused = self.pauses.get(&number).filter(|pause| pause.until > now);
        let busy = task
            .map(|task| format!("{} on {}", task.stage.as_str(), task.worker))
            .or_else(|| {
                let (_, worker) = self.unplaced.values().find(|(at, _)| *at == number)?;
                Some(format!("a job of another version of seald on {worker}"))
            })
            .or_else(|| self.errand_of.get(&number).map(|doing| (*doing).to_owned()))
            .or_else(|| paused.map(|pause| format!("the node: {}", pause.why)));
        SectorSeen { record: record.clone(), facts: self.facts(record), busy }
    }

    fn quarantined(&self) -> u64 {
        let sectors = self.unreadable.iter().filter(|row| row.what.starts_with("sectors "));
        u64::try_from(sectors.count()).unwrap_or(u64::MAX)
    }

    /// Asks the observer what the records need to know; only a change wakes it.
    pub fn ask(&self) {
        let Some(miner) = self.miner.as_ref().map(|miner| miner.id) else { return };
        let terms = (self.manifest.pledge.lifetime_epochs, self.desired.sector_size);
        let network = self.miner.as_ref().map(|miner| miner.network.clone());
        let Senders { precommit, commit, terminate } = &self.manifest.miner.senders;
        let senders = precommit.iter().chain(commit).chain(terminate).cloned().collect();
        let asked = Questions { network, senders, ..questions(&self.book, miner, terms) };
        self.questions.send_if_modified(|known| {
            let changed = *known != asked;
            *known = asked;
            changed
        });
    }

    /// Whether a proven sector is to be trimmed within so many epochs, as far as is known.
    pub fn trims_soon(&self, epochs: i64) -> bool {
        let sight = self.sight.borrow();
        let soon = |record: &Record| {
            let ahead =
                |view: &std::sync::Arc<ChainView>| Some(record.activation.as_ref()?.epoch.since(view.finalized));
            record.is_untrimmed() && sight.view.as_ref().and_then(ahead).is_none_or(|ahead| ahead <= epochs)
        };
        self.book.records.values().any(soon)
    }

    /// Sectors on which work is going on or waited for. One that is proven is at rest until its cache can be trimmed: only
    /// the trim itself, and what holds that up, is work.
    pub fn at_work(&self, is_held: impl Fn(&SectorNumber) -> bool) -> impl Iterator<Item = (&SectorNumber, &Record)> {
        let running: BTreeSet<SectorNumber> = self.tasks.values().map(|task| task.number).collect();
        self.book.records.iter().filter(move |(number, record)| {
            let proven = record.state == State::Proving;
            let trims = record.is_untrimmed() && (running.contains(number) || is_held(number));
            record.state != State::Removed && (!proven || trims)
        })
    }
}

/// Who can pay, and what things cost.
pub fn funds(view: &ChainView) -> Funds {
    Funds { accounts: view.accounts.clone(), costs: view.costs }
}

/// The chain as a view shows it.
pub fn chain_now(view: &ChainView, now: UnixMillis) -> ChainNow {
    ChainNow {
        head: view.head.height,
        finalized: view.finalized,
        challenge_delay: view.network.pre_commit_challenge_delay,
        epoch_secs: view.network.block_delay_secs,
        stale: sector::is_stale(view.since, now, view.network.block_delay_secs),
    }
}

/// The batches that may still land, and those that a reorganisation took back; `handling` are those that an errand is about.
pub fn batches_seen(
    book: &Book,
    handling: &BTreeSet<MessageId>,
    pauses: &BTreeMap<MessageId, Pause>,
) -> BTreeMap<MessageId, BatchSeen> {
    let matters = |batch: &&Batch| batch.state.is_live() || book.gone.contains_key(&batch.id);
    let live = book.batches.values().filter(|batch| !batch.kind.is_of_creation()).filter(matters);
    let seen = |batch: &Batch| BatchSeen {
        busy: handling.contains(&batch.id),
        retry_at: pauses.get(&batch.id).map(|pause| pause.until),
        gone_since: book.gone.get(&batch.id).copied(),
        aggregate: book.aggregated_sectors(&batch.id),
        batch: batch.clone(),
    };
    live.map(|batch| (batch.id.clone(), seen(batch))).collect()
}

/// What the records and batches need to know of the chain; `terms` are lifetime and size of a sector.
pub fn questions(book: &Book, miner: MinerId, terms: (i64, SectorSize)) -> Questions {
    let mut asked = Questions { miner: Some(miner), ..Questions::default() };
    for record in book.records.values() {
        match record.state {
            State::Proving if record.is_untrimmed() => drop(asked.sectors.insert(record.number, None)),
            State::Proving => drop(asked.proven.insert(record.number)),
            State::Removed => {}
            State::PreCommit1 | State::PreCommitting => {
                asked.sectors.insert(record.number, record.ticket.as_ref().map(|ticket| ticket.epoch));
            }
            // an order to remove one of the first three is judged by what the chain has of it
            State::FailedUnrecoverable
            | State::PackingFailed
            | State::FaultedFinal
            | State::Packing
            | State::PreCommit2
            | State::WaitSeed
            | State::Committing
            | State::CommitWait
            | State::FinalizeSector
            | State::SealFailed
            | State::PreCommitFailed
            | State::ComputeProofFailed
            | State::CommitFailed
            | State::Faulty
            | State::FaultReported
            | State::Terminating
            | State::Removing => drop(asked.sectors.insert(record.number, None)),
        }
        if matches!(record.state, State::PreCommit2 | State::PreCommitting | State::Committing) {
            asked.terms = Some(terms);
        }
    }
    // by batch and not by sector: one that no sector waits for any more may land all the same
    asked.messages = book.batches.values().filter_map(awaited_of).collect();
    asked
}

fn awaited_of(batch: &Batch) -> Option<(MessageId, Awaited)> {
    let from = batch.message.as_ref().filter(|_| !batch.kind.is_of_creation())?.from.clone();
    let (cid, nonce) = match (&batch.state, &batch.sent) {
        (BatchState::Sent, Some(sent)) => (sent.cid.clone(), Some(sent.nonce)),
        (BatchState::Landed(executed), sent) => (executed.cid.clone(), sent.as_ref().map(|sent| sent.nonce)),
        (
            BatchState::Open { .. }
            | BatchState::Sealed
            | BatchState::Sent
            | BatchState::Settled(_)
            | BatchState::Dissolved { .. },
            _,
        ) => return None,
    };
    Some((batch.id.clone(), Awaited { cid, from, nonce }))
}
