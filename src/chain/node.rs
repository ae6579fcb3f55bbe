//! What the daemon asks of a node: so that the whole of it can be run against a chain without a network.

use super::{
    ChainError, Client, Executed, Fate, Gas, Location, Message, MinerInfo, PreCommitInfo, SectorInfo, SectorSet, Sent,
    TipSet, params::SectorPreCommitInfo,
};
use crate::{
    sector::MessageId,
    units::{AttoFil, Epoch, Hash32, MinerId, SectorNumber, SectorSize},
};

macro_rules! node {
    ($($(#[$doc:meta])* fn $name:ident($($arg:ident: $ty:ty),*) -> $out:ty;)*) => {
        /// A node. Every question about state is asked at a tipset. Errors are those of [`Client`]'s methods.
        pub trait Node: Clone + Send + Sync + 'static {
            $($(#[$doc])* fn $name(&self, $($arg: $ty),*) -> impl Future<Output = Result<$out, ChainError>> + Send;)*
        }

        impl Node for Client {
            $(fn $name(&self, $($arg: $ty),*) -> impl Future<Output = Result<$out, ChainError>> + Send {
                Client::$name(self, $($arg),*)
            })*
        }
    };
}

node! {
    /// The head.
    fn head() -> TipSet;
    /// The highest epoch that no reorganisation can undo.
    fn finalized() -> Epoch;
    /// The version of the network at the head.
    fn network_version() -> u32;
    /// Randomness for a replica.
    fn ticket(miner: MinerId, epoch: Epoch, at: &TipSet) -> Hash32;
    /// Randomness for a proof.
    fn seed(miner: MinerId, epoch: Epoch, at: &TipSet) -> Hash32;
    /// The miner actor.
    fn miner_info(miner: MinerId, at: &TipSet) -> MinerInfo;
    /// A pre-commit; `None` when there is none.
    fn precommit(miner: MinerId, number: SectorNumber, at: &TipSet) -> Option<PreCommitInfo>;
    /// A sector; `None` when there is none.
    fn sector(miner: MinerId, number: SectorNumber, at: &TipSet) -> Option<SectorInfo>;
    /// Numbers ever used.
    fn allocated(miner: MinerId, at: &TipSet) -> SectorSet;
    /// Sectors listed as faulty.
    fn faults(miner: MinerId, at: &TipSet) -> SectorSet;
    /// The deposit that one pre-commit would lock.
    fn precommit_deposit(miner: MinerId, info: &SectorPreCommitInfo, at: &TipSet) -> AttoFil;
    /// The pledge that one sector would lock.
    fn initial_pledge(lifetime: i64, size: SectorSize, at: &TipSet) -> AttoFil;
    /// The id address of an address; `None` when the chain does not know it.
    fn lookup_id(address: &str, at: &TipSet) -> Option<String>;
    /// The key address of an account; `None` when it is none.
    fn account_key(address: &str, at: &TipSet) -> Option<String>;
    /// Whether the node's wallet can sign for a key address.
    fn has_key(address: &str) -> bool;
    /// Funds of an address.
    fn balance(address: &str) -> AttoFil;
    /// What sending a message would cost; the actor's refusal as an error with code 3.
    fn estimate(message: &Message, max_fee: AttoFil, at: &TipSet) -> Gas;
    /// Signs and publishes a message under the sender's next nonce; again with the same id, it is the same message.
    fn push(message: &Message, id: &MessageId, max_fee: AttoFil) -> Sent;
    /// Publishes a signed message again.
    fn resend(known: &Sent) -> Sent;
    /// Replaces a pending message by a dearer one with its nonce.
    fn replace(known: &Sent, gas: Gas) -> Sent;
    /// A pending message that does the same.
    fn pending_like(message: &Message) -> Option<Sent>;
    /// The deadline and partition of a sector; `None` when it is in none.
    fn sector_location(miner: MinerId, number: SectorNumber, at: &TipSet) -> Option<Location>;
    /// Where a message executed.
    fn search(cid: &str, at: &TipSet) -> Option<Executed>;
    /// What became of a message.
    fn fate(cid: &str, from: &str, nonce: Option<u64>, at: &TipSet) -> Fate;
}
