//! Orders about the manifest while the loop runs: read beside it, then brought into force whole, or refused.
//!
//! Those that change something are done one after the other, in the order they came; a preview holds up nobody.

use super::{
    DaemonError, Loop,
    generation::{self, How, Prepared},
    observer, tell_service,
};
use crate::{
    clock,
    control::{Answer, Cause, ManifestOrder, Refused, Reply},
    error::Chain,
    manifest::Problem,
    store::StoreError,
};
use std::{collections::VecDeque, sync::Arc};
use tokio::{sync::oneshot, task::JoinSet};

/// Orders that may wait for the one that is being done, and previews that may be made at once.
const QUEUE: usize = 16;

/// Who waits for an answer; nobody when it was a signal that asked.
type Asker = Option<oneshot::Sender<Answer>>;

/// Orders about the manifest.
#[derive(Debug, Default)]
pub struct Orders {
    /// What is being read and held against this host.
    reading: JoinSet<Read>,
    /// Whether one of them is to change something.
    changing: bool,
    /// What comes after it.
    waiting: VecDeque<(ManifestOrder, Asker)>,
}

/// A manifest that was read.
#[derive(Debug)]
pub struct Read {
    order: ManifestOrder,
    reply: Asker,
    read: Result<Prepared, Vec<Problem>>,
}

impl Orders {
    /// The next one that was read; `None` while nothing is.
    pub async fn next(&mut self) -> Option<Read> {
        // a reading catches its own panics
        self.reading.join_next().await.and_then(Result::ok)
    }
}

impl Loop {
    /// Begins to read what an order is about, or lets it wait for its turn.
    pub async fn on_order(&mut self, order: ManifestOrder, reply: Asker) -> Result<(), StoreError> {
        let full = match order {
            ManifestOrder::Preview => self.orders.reading.len() > QUEUE,
            ManifestOrder::Reload | ManifestOrder::Rollback => self.orders.waiting.len() >= QUEUE,
        };
        if full {
            let what = "too many orders about the manifest wait for their turn";
            answer(reply, Err(Refused::new(Cause::Unavailable, what, "ask again in a minute")));
            return Ok(());
        }
        if order == ManifestOrder::Preview {
            self.read(order, reply, None);
            return Ok(());
        }
        self.orders.waiting.push_back((order, reply));
        self.take_up().await
    }

    /// Begins with the first order that waits, when none is being done.
    async fn take_up(&mut self) -> Result<(), StoreError> {
        while !self.orders.changing
            && let Some((order, reply)) = self.orders.waiting.pop_front()
        {
            let files = match order {
                ManifestOrder::Preview | ManifestOrder::Reload => None,
                ManifestOrder::Rollback => match self.world.generation_before().await? {
                    Some(files) => Some(files),
                    None => {
                        let help = "edit the manifest, then `seald reload`";
                        answer(reply, Err(generation::refused("there is no generation before the one in force", help)));
                        continue;
                    }
                },
            };
            let now = sd_notify::NotifyState::monotonic_usec_now();
            now.map_or_else(|_| (), |now| tell_service(&[sd_notify::NotifyState::Reloading, now]));
            self.orders.changing = true;
            self.read(order, reply, files);
        }
        Ok(())
    }

    fn read(&mut self, order: ManifestOrder, reply: Asker, files: Option<Vec<crate::manifest::File>>) {
        let source = self.world.in_force.source.clone();
        self.orders.reading.spawn(async move { Read { order, reply, read: source.prepare(files).await } });
    }

    /// Brings a manifest that was read into force, or says why not; either is answered.
    pub async fn on_read(&mut self, read: Read) -> Result<(), DaemonError> {
        let Read { order, reply, read } = read;
        let answered = self.judge(order, read).await?;
        if order != ManifestOrder::Preview {
            self.orders.changing = false;
            tell_service(&[sd_notify::NotifyState::Ready]);
        }
        if let (Err(refused), ManifestOrder::Reload) = (&answered, order) {
            tracing::error!(reason = %refused.error, "the manifest is refused, nothing changed");
            self.world.in_force.refused = Some((clock::now(), refused.error.clone()));
        }
        answer(reply, answered);
        let done = self.take_up().await;
        Ok(self.survive(done)?)
    }

    async fn judge(
        &mut self,
        order: ManifestOrder,
        read: Result<Prepared, Vec<Problem>>,
    ) -> Result<Answer, DaemonError> {
        let help = "correct it, then `seald reload`; what is in force stays in force";
        let Prepared { proposal, warnings, is_on_disk } = match read {
            Ok(prepared) => prepared,
            Err(problems) => {
                let what = format!("the manifest cannot be used:{}", generation::listed(&problems));
                return Ok(Err(generation::refused(&what, help)));
            }
        };
        let mut told = self.world.compare(&proposal, &warnings);
        let how = match order {
            ManifestOrder::Preview => return Ok(Ok(Reply::Reloaded(told))),
            ManifestOrder::Reload => How::Reload,
            ManifestOrder::Rollback => How::Rollback { is_on_disk },
        };
        if !told.refused.is_empty() {
            return Ok(Err(generation::refused(&told.refused.join("\n  "), help)));
        }
        if told.changes.is_empty() && !self.world.in_force.declined {
            // only words differ: the places of settings are the new file's
            self.world.in_force.proposal = proposal;
            self.world.in_force.refused = None;
            return Ok(Ok(Reply::Reloaded(told)));
        }
        let chain_differs = proposal.loaded.manifest.chain != self.world.manifest.chain;
        let done = self.world.enforce(proposal, how).await;
        if let Err(error) = &done {
            let why = Chain(error).to_string();
            self.survive(done)?;
            return Ok(Err(Refused::new(Cause::Unavailable, why, "see `seald status`, then `seald reload` again")));
        }
        if chain_differs {
            self.observe_anew().await;
        }
        self.turn().await?;
        (told.applied, told.generation) = (true, self.world.in_force.generation.number);
        Ok(Ok(Reply::Reloaded(told)))
    }

    /// The chain is asked by the new manifest's rules; nothing that the old observer saw counts.
    async fn observe_anew(&mut self) {
        self.observer.shutdown().await;
        let (questions, sight) = self.observing.clone();
        sight.send_replace(observer::Sight::default());
        self.observer.spawn(observer::run(Arc::clone(&self.world.manifest), questions, sight));
    }
}

/// Who asked may have gone meanwhile; what was done stays done.
fn answer(reply: Asker, answer: Answer) {
    if let Some(reply) = reply {
        drop(reply.send(answer));
    }
}
