//! What is known of each endpoint, and so who is asked first: those that are well, in the order of preference; then
//! those that did not answer a moment ago. Who is not believed is asked for its head alone.

use super::{
    Limits,
    trouble::{Attempt, Trouble},
};
use crate::{
    chain::health::{EndpointSeen, HeadSeen, Identity, Unfit},
    clock,
    error::Chain,
    units::Epoch,
};
use std::time::{Duration, Instant};

/// One endpoint.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// What it said of itself, and when.
    identity: Option<(Identity, Instant)>,
    /// Its head, and when it was there.
    head: Option<(HeadSeen, Instant)>,
    condition: Condition,
    /// It gave no answer then.
    away: Option<Instant>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
enum Condition {
    /// Nothing was asked yet.
    #[default]
    Unasked,
    Well,
    Unfit(Unfit),
    /// It answers that it does not want to.
    Refused(String),
    Unreachable(String),
}

fn is_recent(at: Instant, within: Duration) -> bool {
    clock::monotonic().duration_since(at) < within
}

impl Standing {
    /// What it said of itself lately.
    pub(super) fn identity(&self, limits: &Limits) -> Option<Identity> {
        self.identity.as_ref().filter(|(_, at)| is_recent(*at, limits.stand_in)).map(|(identity, _)| identity.clone())
    }

    /// Why nothing but its head is asked for.
    pub(super) const fn unfit(&self) -> Option<&Unfit> {
        match &self.condition {
            Condition::Unfit(why) => Some(why),
            Condition::Unasked | Condition::Well | Condition::Refused(_) | Condition::Unreachable(_) => None,
        }
    }

    /// It gave no answer, or none that is believed, a moment ago.
    pub(super) fn is_away(&self, limits: &Limits) -> bool {
        self.away.is_some_and(|at| is_recent(at, limits.stand_in))
    }

    /// Its head, if it was asked for lately and believed.
    pub(super) fn height(&self, within: Duration) -> Option<Epoch> {
        let believed = matches!(self.condition, Condition::Well);
        self.head.filter(|(_, at)| believed && is_recent(*at, within)).map(|(head, _)| head.height)
    }

    /// It said who it is.
    pub(super) fn identified(&mut self, identity: Identity) {
        self.identity = Some((identity, clock::monotonic()));
    }

    /// It said where the chain is.
    pub(super) fn headed(&mut self, head: HeadSeen) {
        self.head = Some((head, clock::monotonic()));
    }

    /// What was made of what it said.
    pub(super) fn judged(&mut self, judgement: Result<(), Unfit>) {
        match judgement {
            Ok(()) => {
                self.condition = Condition::Well;
                self.away = None;
            }
            Err(why) => {
                self.condition = Condition::Unfit(why);
                self.away = Some(clock::monotonic());
            }
        }
    }

    /// It answered a call.
    pub(super) fn answered(&mut self) {
        self.away = None;
        match &self.condition {
            Condition::Unreachable(_) | Condition::Refused(_) | Condition::Unasked => self.condition = Condition::Well,
            Condition::Well | Condition::Unfit(_) => {}
        }
    }

    /// It did not answer a call.
    pub(super) fn failed(&mut self, trouble: &Trouble) {
        if trouble.parts() {
            // what answers here next may be another node
            self.identity = None;
        }
        self.away = Some(clock::monotonic());
        self.condition = Condition::Unreachable(Chain(trouble).to_string());
    }

    /// It would not say who it is.
    pub(super) fn unidentified(&mut self, attempt: &Attempt) {
        match attempt {
            Attempt::Trouble(trouble) => self.failed(trouble),
            Attempt::Refused(error) => {
                self.away = Some(clock::monotonic());
                self.condition = Condition::Refused(error.to_string());
            }
        }
    }

    /// For operators.
    pub(super) fn show(&self, name: &str, in_use: bool) -> EndpointSeen {
        let (state, why) = match &self.condition {
            Condition::Unasked => ("unasked", None),
            Condition::Well => ("well", None),
            Condition::Unfit(why) => (why.word(), Some(why.to_string())),
            Condition::Refused(why) => ("refused", Some(why.clone())),
            Condition::Unreachable(why) => ("unreachable", Some(why.clone())),
        };
        let head = self.head.map(|(head, _)| head.height);
        EndpointSeen { name: name.to_owned(), state: state.to_owned(), why, head, in_use }
    }
}
