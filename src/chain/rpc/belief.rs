//! Asks nodes who they are and where their head is, and holds that against what is known. The judgement is
//! [`health`](crate::chain::health)'s.

use super::{
    Ask, Kind, Rpc,
    node::Node,
    trouble::{Attempt, Trouble},
};
use crate::{
    chain::{
        ChainError,
        health::{EndpointSeen, Expected, HeadSeen, Identity},
        wire,
    },
    clock,
    units::Epoch,
};
use std::sync::{MutexGuard, PoisonError};

/// Of a method without parameters.
const NONE: [(); 0] = [];

const HEAD: &str = "ChainHead";

impl Rpc {
    /// The head of the first endpoint whose head is believed.
    ///
    /// # Errors
    /// As [`Rpc::call`]; [`ChainError::Unreachable`] also when no endpoint is believed.
    pub(in crate::chain) async fn head(&self) -> Result<wire::TipSet, ChainError> {
        let ask = Ask { kind: Kind::Read, method: HEAD, params: &NONE, unfit_too: true };
        self.ask(&ask, |node, tipset| self.believe_head(node, tipset)).await
    }

    /// Asks all endpoints that are not in use who they are and where they are: so that it is known who could stand
    /// in, and who can be gone back to.
    pub(in crate::chain) async fn look_around(&self) {
        let in_use = self.in_use().map(Node::name);
        let others = self.nodes.iter().filter(|node| Some(node.name()) != in_use);
        futures_util::future::join_all(others.map(|node| self.look_at(node))).await;
    }

    /// How each endpoint was found last.
    pub(in crate::chain) fn seen(&self) -> Vec<EndpointSeen> {
        let in_use = self.in_use().map(Node::name);
        let show = |node: &Node| node.standing().show(&node.name(), Some(node.name()) == in_use);
        self.nodes.iter().map(show).collect()
    }

    fn expected(&self) -> Option<MutexGuard<'_, Expected>> {
        self.expected.as_ref().map(|expected| expected.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn in_use(&self) -> Option<&Node> {
        self.order().into_iter().find(|node| node.standing().unfit().is_none())
    }

    async fn look_at(&self, node: &Node) {
        if self.believed(node, true).await.is_err() {
            return;
        }
        match self.attempt::<wire::TipSet>(node, Kind::Read, HEAD, &NONE).await {
            // what is made of it is kept with the node
            Ok(tipset) => drop(self.believe_head(node, &tipset)),
            Err(attempt) => node.standing().unidentified(&attempt),
        }
    }

    /// Whether this endpoint may be asked: it is on our network and, unless `unfit_too`, its head was believed.
    pub(super) async fn believed(&self, node: &Node, unfit_too: bool) -> Result<(), Trouble> {
        if self.expected.is_none() {
            return Ok(());
        }
        let identity = match self.known(node) {
            Some(identity) => identity,
            None => self.identify(node).await?,
        };
        if let Err(source) = self.check(&identity) {
            node.standing().judged(Err(source.clone()));
            return Err(Trouble::Unfit { node: node.name(), source });
        }
        let unfit = node.standing().unfit().cloned().filter(|_| !unfit_too);
        unfit.map_or(Ok(()), |source| Err(Trouble::Unfit { node: node.name(), source }))
    }

    fn known(&self, node: &Node) -> Option<Identity> {
        node.standing().identity(&self.limits)
    }

    /// Holds it against what is expected, and expects from now on what nobody had said before.
    fn check(&self, identity: &Identity) -> Result<(), crate::chain::health::Unfit> {
        let Some(mut expected) = self.expected() else { return Ok(()) };
        identity.check(&expected)?;
        expected.network.get_or_insert_with(|| identity.network.clone());
        expected.genesis.get_or_insert_with(|| identity.genesis.clone());
        Ok(())
    }

    async fn identify(&self, node: &Node) -> Result<Identity, Trouble> {
        let _alone = node.identifying.lock().await;
        // another call may have asked meanwhile
        if let Some(identity) = self.known(node) {
            return Ok(identity);
        }
        match self.ask_identity(node).await {
            Ok(identity) => {
                let mut standing = node.standing();
                standing.answered();
                standing.identified(identity.clone());
                Ok(identity)
            }
            Err(attempt) => {
                node.standing().unidentified(&attempt);
                Err(match attempt {
                    // of the call that is to be made it is still true that it was not
                    Attempt::Trouble(trouble) if trouble.unsent() => trouble,
                    Attempt::Trouble(trouble) => Trouble::Unknown { node: node.name(), source: trouble.into() },
                    Attempt::Refused(error) => Trouble::Unknown { node: node.name(), source: error.into() },
                })
            }
        }
    }

    async fn ask_identity(&self, node: &Node) -> Result<Identity, Attempt> {
        let version: wire::Version = self.attempt(node, Kind::Read, "Version", &NONE).await?;
        let params: wire::NetworkParams = self.attempt(node, Kind::Read, "StateGetNetworkParams", &NONE).await?;
        let genesis: wire::TipSet = self.attempt(node, Kind::Read, "ChainGetGenesis", &NONE).await?;
        Ok(Identity {
            api: version.api_version,
            network: params.network_name,
            genesis_at: genesis.blocks.first().map_or(0, |block| block.timestamp),
            genesis: genesis.cids.0.into_iter().map(|link| link.cid).collect(),
            block_delay_secs: params.block_delay_secs,
            challenge_delay: params.pre_commit_challenge_delay,
        })
    }

    fn believe_head(&self, node: &Node, tipset: &wire::TipSet) -> Result<(), Trouble> {
        let Some(identity) = self.known(node) else { return Ok(()) };
        let timestamp = tipset.blocks.first().map_or(0, |block| block.timestamp);
        let head = HeadSeen { height: Epoch::new(tipset.height), timestamp };
        let now = u64::try_from(clock::now().as_i64().div_euclid(1000)).unwrap_or(0);
        let others = self.nodes.iter().filter(|other| !std::ptr::eq(*other, node));
        let best = others.filter_map(|other| other.standing().height(self.limits.stand_in)).max();
        let judgement = identity.check_head(head, now, best);
        let mut standing = node.standing();
        standing.headed(head);
        standing.judged(judgement.clone());
        judgement.map_err(|source| Trouble::Unfit { node: node.name(), source })
    }
}
