//! What the chain says of how the miner is reached, and what the manifest wants it to say: one message each, sent once.

use super::{Action, Desired, MinerSeen, Observed, Plan, Subject};
use crate::{
    outbox::{Batch, BatchState, MessageKind, OVERTAKEN},
    sector::{WakeUp, exit_code},
    units::{Multiaddr, PeerId},
};
use std::fmt;

/// How the miner is reached, as the chain has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Contact {
    /// Its libp2p identity.
    pub peer_id: Option<PeerId>,
    /// Its addresses.
    pub multiaddrs: Vec<Multiaddr>,
}

/// What the chain says, and the messages that were to change it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ContactSeen {
    /// `None` until it was read.
    pub on_chain: Option<Contact>,
    /// The newest message of each kind, if there ever was one.
    pub newest: Vec<Announced>,
}

/// A message that was to change what the chain says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announced {
    /// The message.
    pub batch: Batch,
    /// It says what the manifest wants now.
    pub is_wanted: bool,
}

/// Something that the chain is to say of the miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Announcement {
    /// Its libp2p identity.
    PeerId(PeerId),
    /// All of its addresses.
    Multiaddrs(Vec<Multiaddr>),
}

impl Announcement {
    /// The kind of message that says it.
    pub const fn kind(&self) -> MessageKind {
        match self {
            Self::PeerId(_) => MessageKind::ChangePeerId,
            Self::Multiaddrs(_) => MessageKind::ChangeMultiaddrs,
        }
    }

    /// The key of the manifest.
    const fn key(&self) -> &'static str {
        match self {
            Self::PeerId(_) => "miner.peer_id",
            Self::Multiaddrs(_) => "miner.multiaddrs",
        }
    }
}

impl fmt::Display for Announcement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::PeerId(id) => write!(f, "peer id {id}"),
            Self::Multiaddrs(addresses) => write!(f, "addresses {}", list(addresses)),
        }
    }
}

fn list(addresses: &[Multiaddr]) -> String {
    let texts: Vec<_> = addresses.iter().map(ToString::to_string).collect();
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

pub(super) fn plan(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let wanted =
        [desired.peer_id.clone().map(Announcement::PeerId), desired.multiaddrs.clone().map(Announcement::Multiaddrs)];
    if observed.miner != MinerSeen::Known {
        return;
    }
    for wanted in wanted.into_iter().flatten() {
        announce(&wanted, desired, observed, plan);
    }
}

fn announce(wanted: &Announcement, desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let key = wanted.key();
    let Some((on_chain, chain)) = observed.contact.on_chain.as_ref().zip(observed.chain) else {
        plan.hold(Subject::Daemon, format!("{key}: what the chain says of the miner"), WakeUp::NextHead);
        return;
    };
    let (same, there) = match wanted {
        Announcement::PeerId(id) => {
            let there = on_chain.peer_id.as_ref().map_or_else(|| "none".to_owned(), ToString::to_string);
            (on_chain.peer_id.as_ref() == Some(id), there)
        }
        Announcement::Multiaddrs(addresses) => (on_chain.multiaddrs == *addresses, list(&on_chain.multiaddrs)),
    };
    if same {
        return;
    }
    let about = format!("{key}: the chain has {there}");
    let newest = observed.contact.newest.iter().find(|announced| announced.batch.kind == wanted.kind());
    match newest.map(|announced| (announced.is_wanted, &announced.batch.state)) {
        Some((_, BatchState::Open { .. } | BatchState::Sealed | BatchState::Sent)) => {
            let reason = format!("{about}; the message that changes it to {wanted} is on its way");
            plan.hold(Subject::Daemon, reason, WakeUp::NextHead);
        }
        // what it did may be taken back, or shows at a later head only
        Some((_, BatchState::Landed(executed)))
            if chain.head.since(executed.height) < desired.policy.message_confidence =>
        {
            plan.hold(Subject::Daemon, format!("{about}; its message to be deep enough"), WakeUp::NextHead);
        }
        Some((true, BatchState::Landed(executed) | BatchState::Settled(executed))) if executed.exit_code != 0 => {
            let why = exit_code::words(executed.exit_code);
            let reason = format!("{about}; the message for {wanted} failed: {why}. Correct {key}, then `seald reload`");
            plan.hold(Subject::Daemon, reason, WakeUp::Operator);
        }
        Some((true, BatchState::Dissolved { why })) if why != OVERTAKEN => {
            let reason = format!("{about}; the node refuses {wanted}: {why}. Correct {key}, then `seald reload`");
            plan.hold(Subject::Daemon, reason, WakeUp::Operator);
        }
        Some((_, BatchState::Landed(_) | BatchState::Settled(_) | BatchState::Dissolved { .. })) | None => {
            // who it is that lacks a key is said once, for all messages
            let accounts = observed.funds.accounts.as_ref();
            let sender = accounts.and_then(|accounts| accounts.usable(&desired.senders.commit).first().copied());
            if let Some(sender) = sender {
                plan.actions.push(Action::Announce { what: wanted.clone(), from: sender.id.clone() });
            }
        }
    }
}
