//! The one task that owns the chain: takes requests, makes tipsets, writes the file, and only then answers.
//!
//! Readers get a copy of what was last written and never wait for a proof or for the disk.

use super::{
    chain::Chain,
    faults::{Fault, How, Rules},
    ledger::Message,
    persist::Home,
};
use crate::{
    clock,
    proofs::{self, PoRep, ProofError, Prover},
    units::{MinerId, UnixMillis},
};
use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use std::{collections::BTreeSet, future::Future, sync::Arc, time::Duration};
use tokio::{
    sync::{mpsc, oneshot, watch},
    time::MissedTickBehavior,
};

/// The file is at most this many epochs behind the head.
const SAVE_EVERY: i64 = 10;
/// Requests waiting for the owner: more than a client has in flight; a full queue makes callers wait.
const QUEUE: usize = 64;

/// What readers see.
#[derive(Debug, Clone)]
pub struct View {
    /// The chain.
    pub chain: Chain,
    /// Fault rules in force.
    pub rules: Rules,
}

/// A request that changes something.
#[derive(Debug)]
pub enum Request {
    /// Assign the next nonce, accept.
    Push {
        /// Gas is filled in.
        message: Message,
        /// Idempotency key.
        uuid: Option<String>,
        /// The message with its nonce.
        reply: oneshot::Sender<Result<Message, String>>,
    },
    /// Accept with the nonce it has; replaces a waiting message when it pays a quarter more.
    PushSigned {
        /// The message.
        message: Message,
        /// Its CID.
        reply: oneshot::Sender<Result<String, String>>,
    },
    /// What do the faults make of an estimate?
    Estimate {
        /// Method number.
        method: u64,
        /// Percent of the gas limit that is answered.
        reply: oneshot::Sender<Option<u64>>,
    },
    /// Make a wallet.
    NewWallet {
        /// Its address.
        reply: oneshot::Sender<String>,
    },
    /// Does this call fail?
    Call {
        /// Method without `Filecoin.`.
        method: String,
        /// How it fails, if it does.
        reply: oneshot::Sender<Option<How>>,
    },
    /// The fault API.
    Fault {
        /// What to do.
        fault: Fault,
        /// What it did, or why not.
        reply: oneshot::Sender<Result<Value, String>>,
    },
}

/// How the RPC reaches the owner.
#[derive(Debug, Clone)]
pub struct Handle {
    requests: mpsc::Sender<Request>,
    view: watch::Receiver<Arc<View>>,
    /// Who judges proofs.
    pub prover: Prover,
}

impl Handle {
    /// What is written now.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.view.borrow())
    }

    /// A receiver that tells of every new view.
    pub fn watch(&self) -> watch::Receiver<Arc<View>> {
        self.view.clone()
    }

    /// Asks the owner. `None` when the devnet is stopping.
    pub async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Option<T> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.ok()?;
        answer.await.ok()
    }
}

/// When tipsets are made by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Pace {
    Running,
    StalledUntil(UnixMillis),
    Stopped,
}

/// The owner of the chain.
pub struct Node {
    chain: Chain,
    rules: Rules,
    pace: Pace,
    manual: bool,
    prover: Prover,
    home: Arc<Home>,
    saved: i64,
    unsaved: bool,
    /// Messages whose proof could not be judged and that were logged for it.
    reported: BTreeSet<String>,
    view: watch::Sender<Arc<View>>,
    requests: mpsc::Receiver<Request>,
}

enum Event {
    Asked(usize),
    Tick,
    Stop,
}

type Answer = Box<dyn FnOnce() + Send>;

impl Node {
    /// Writes the chain and takes charge of it, then tells others its `url`. A manual node makes tipsets only when
    /// told to.
    ///
    /// # Errors
    /// When the chain cannot be written.
    pub async fn start(chain: Chain, home: Home, prover: Prover, manual: bool, url: &str) -> Result<(Self, Handle)> {
        let (sender, requests) = mpsc::channel(QUEUE);
        let rules = Rules::default();
        let (view, seen) = watch::channel(Arc::new(View { chain: chain.clone(), rules: rules.clone() }));
        let (home, pace, saved) = (Arc::new(home), Pace::Running, chain.head);
        let (unsaved, reported) = (true, BTreeSet::new());
        let mut node = Self { chain, rules, pace, manual, prover, home, saved, unsaved, reported, view, requests };
        node.save().await?;
        node.home.write_url(url)?;
        Ok((node, Handle { requests: sender, view: seen, prover }))
    }

    /// Runs until `stop`, then writes the chain once more.
    ///
    /// # Errors
    /// When the chain cannot be written: nothing was acknowledged since.
    pub async fn run(mut self, stop: impl Future<Output = ()> + Send) -> Result<()> {
        let mut ticks = tokio::time::interval(Duration::from_millis(self.chain.epoch_ms));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks.reset();
        let mut stop = std::pin::pin!(stop);
        let mut asked = Vec::new();
        loop {
            let event = tokio::select! {
                // a stop that was seen is not lost: the loop ends
                () = &mut stop => Event::Stop,
                // a cancelled tick comes again at the same moment
                _ = ticks.tick(), if !self.manual => Event::Tick,
                // a cancelled receive has taken nothing
                taken = self.requests.recv_many(&mut asked, QUEUE) => Event::Asked(taken),
            };
            match event {
                Event::Stop | Event::Asked(0) => break,
                Event::Tick if self.is_due() => {
                    self.mine().await?;
                    self.publish();
                }
                Event::Tick => {}
                Event::Asked(_) => {
                    let mut answers: Vec<Answer> = Vec::new();
                    for request in asked.drain(..) {
                        answers.push(self.serve(request).await?);
                    }
                    if self.unsaved {
                        self.save().await?;
                    }
                    self.publish();
                    answers.into_iter().for_each(|answer| answer());
                }
            }
        }
        self.save().await
    }

    fn is_due(&mut self) -> bool {
        if matches!(self.pace, Pace::StalledUntil(until) if clock::now() >= until) {
            self.pace = Pace::Running;
        }
        self.pace == Pace::Running
    }

    fn publish(&self) {
        self.view.send_replace(Arc::new(View { chain: self.chain.clone(), rules: self.rules.clone() }));
    }

    async fn save(&mut self) -> Result<()> {
        let (home, chain) = (Arc::clone(&self.home), self.chain.clone());
        tokio::task::spawn_blocking(move || home.save(&chain)).await.context("writing the chain was interrupted")??;
        self.saved = self.chain.head;
        self.unsaved = false;
        Ok(())
    }

    /// One more tipset, written when it has messages or the file is too far behind.
    async fn mine(&mut self) -> Result<()> {
        let job = self.chain.prepare(clock::now().as_i64());
        let prover = self.prover;
        let block = tokio::task::spawn_blocking(move || job.run(&verifier(prover))).await.context("a tipset failed")?;
        for (cid, error) in &block.undecided {
            if !self.reported.insert(cid.clone()) {
                continue;
            }
            tracing::warn!(message = cid, error = %error, "a message waits: its proof cannot be judged");
        }
        let has_messages = self.chain.append(block);
        if has_messages || self.chain.head.saturating_sub(self.saved) >= SAVE_EVERY {
            self.save().await?;
        }
        Ok(())
    }

    async fn serve(&mut self, request: Request) -> Result<Answer> {
        Ok(match request {
            Request::Push { message, uuid, reply } => {
                self.unsaved = true;
                answer(reply, self.chain.push(message, uuid, &mut self.rules))
            }
            Request::PushSigned { message, reply } => {
                self.unsaved = true;
                answer(reply, self.chain.push_signed(message, &mut self.rules))
            }
            Request::Estimate { method, reply } => answer(reply, self.rules.gas_pct(method)),
            Request::NewWallet { reply } => {
                self.unsaved = true;
                answer(reply, self.chain.add_wallet())
            }
            Request::Call { method, reply } => answer(reply, self.rules.call(&method)),
            Request::Fault { fault, reply } => {
                let done = self.inject(fault).await?;
                let head = self.chain.head;
                answer(reply, done.map(|()| json!({ "ok": true, "head": head })))
            }
        })
    }

    async fn inject(&mut self, fault: Fault) -> Result<Result<(), String>> {
        tracing::info!(?fault, "a fault was asked for");
        self.unsaved = true;
        match fault {
            Fault::Drop { count, method } => self.rules.add(count, method, None),
            Fault::Delay { epochs, count, method } => self.rules.add(count, method, Some(epochs)),
            Fault::Gas { pct, count, method } => self.rules.add_gas(count, method, pct),
            Fault::BlockGas { gas } => self.chain.set_block_gas(gas),
            Fault::Foreign { address } => {
                let from = address.or_else(|| self.chain.wallets().next()).unwrap_or_default();
                let from = self.chain.tip().key_address(&from).unwrap_or(from);
                if let Err(why) = self.chain.push_foreign(&from) {
                    return Ok(Err(why));
                }
                self.mine().await?;
            }
            Fault::Evict { nonce } => {
                self.chain.evict(None, nonce);
            }
            Fault::Fail(failing) => self.rules.calls.push(failing),
            Fault::Reorg { epochs, delay, force: _ } => return self.reorg(epochs, delay).await,
            Fault::Stall { seconds: None } => self.pace = Pace::Stopped,
            Fault::Stall { seconds: Some(seconds) } => {
                let until = clock::now().plus_ms(i64::from(seconds).saturating_mul(1000));
                self.pace = Pace::StalledUntil(until);
            }
            Fault::Resume => self.pace = Pace::Running,
            Fault::BaseFee { atto } => self.chain.set_base_fee(atto),
            Fault::Sector { miner, number, condition } => {
                let id = miner.parse::<MinerId>().map_or(0, MinerId::as_u64);
                return Ok(self.chain.interfere(|state| {
                    let miner = state.miner_mut(id).ok_or_else(|| format!("{miner} is not a miner"))?;
                    miner.set_condition(number.as_u64(), condition)
                }));
            }
            Fault::Mine { epochs } => {
                for _ in 0..epochs {
                    self.mine().await?;
                }
            }
            Fault::Fund { address, atto } => return Ok(self.chain.interfere(|state| state.fund(&address, atto))),
            Fault::Disconnect => self.rules.cuts = self.rules.cuts.saturating_add(1),
            Fault::CloseChannels => self.rules.closings = self.rules.closings.saturating_add(1),
            Fault::Mute => self.rules.mute = true,
            Fault::Clear => {
                self.rules.clear();
                self.pace = Pace::Running;
            }
        }
        Ok(Ok(()))
    }

    async fn reorg(&mut self, epochs: i64, delay: i64) -> Result<Result<(), String>> {
        let old_head = self.chain.head;
        if let Err(why) = self.chain.rollback(epochs, delay) {
            return Ok(Err(why));
        }
        // one more than before: a heavier chain is what makes nodes switch
        while self.chain.head <= old_head {
            self.mine().await?;
        }
        Ok(Ok(()))
    }
}

/// The judge of proofs, for the ledger.
pub fn verifier(prover: Prover) -> impl Fn(&[PoRep], &[u8]) -> Result<bool, ProofError> + Sync {
    move |claimed, bytes| proofs::verify(prover, claimed, bytes)
}

fn answer<T: Send + 'static>(reply: oneshot::Sender<T>, value: T) -> Answer {
    // a caller that went away is not told
    Box::new(move || drop(reply.send(value)))
}
