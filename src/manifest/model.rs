//! What a manifest says, once it is known to be right: every value checked, every default filled in, every path absolute.
//!
//! These types are made by `resolve` and by nothing else, and have no serde: the text form is `raw`'s.

use super::values::{CpuSet, DatabaseUrl, Gpu};
use crate::units::{AttoFil, Bytes, MinerId, Multiaddr, PeerId, RepoName, SectorSize, SlotName};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::SocketAddr,
    path::PathBuf,
    time::Duration,
};

/// One valid manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Manifest {
    /// The files it was read from, absolute, lowest layer first.
    pub files: Vec<PathBuf>,
    /// `[miner]`
    pub miner: Miner,
    /// `[chain]`
    pub chain: Chain,
    /// `[state]`
    pub state: State,
    /// `[repo.NAME]`
    pub repos: BTreeMap<RepoName, Repo>,
    /// `[slot.NAME]`
    pub slots: BTreeMap<SlotName, Slot>,
    /// `[pledge]`
    pub pledge: Pledge,
    /// `[fees]`
    pub fees: Fees,
    /// `[batch]`
    pub batch: Batch,
    /// `[node]`; absent: nothing listens on the network.
    pub node: Option<Node>,
    /// `[params]`
    pub params: Params,
    /// `[workers]`
    pub workers: Workers,
    /// `[control]`
    pub control: Control,
}

/// Who may tell the running daemon what to do, besides root and its own user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// Members of this group of the system may give orders.
    pub operator_group: Option<String>,
}

/// Which miner this is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miner {
    /// Size of every sector; fixed for the life of the actor.
    pub sector_size: SectorSize,
    /// Where the actor comes from.
    pub identity: Identity,
    /// Its libp2p identity on chain; `None` leaves what is there.
    pub peer_id: Option<PeerId>,
    /// Where the chain says that it is reached; `None` leaves what is there.
    pub multiaddrs: Option<Vec<Multiaddr>>,
    /// Who sends its messages.
    pub senders: Senders,
}

/// Accounts that send messages about sectors, by kind, in order of preference; after them always the worker. Each is
/// owner, worker or a control address of the actor, which the chain says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Senders {
    /// Pre-commits.
    pub precommit: Vec<String>,
    /// Prove-commits.
    pub commit: Vec<String>,
    /// Terminations.
    pub terminate: Vec<String>,
}

/// Where the miner actor comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Identity {
    /// It exists on chain.
    Attach(MinerId),
    /// It is created once with CreateMiner, then remembered in the state.
    Create {
        /// Who owns it; never [`Account::New`].
        owner: Account,
        /// Who signs and pays for messages; a BLS account.
        worker: Account,
    },
    /// It is part of a network's genesis block, with sectors already sealed.
    Genesis {
        /// The actor in the genesis block.
        actor: MinerId,
        /// Folders of the sealed sectors.
        presealed: Vec<PathBuf>,
        /// The JSON file the pre-seal tool wrote.
        metadata: PathBuf,
    },
}

/// An account that the node's wallet can sign for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Account {
    /// The node's default wallet address.
    Default,
    /// A BLS key made for this miner in the node's wallet.
    New,
    /// This address, checksum verified: `f0…`, `f1…` or `f3…` (`t…` on test networks).
    Address(String),
}

/// How the chain is reached and how far it is trusted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    /// Where the node is.
    pub source: ChainSource,
    /// Epochs on top of a message before it counts.
    pub message_confidence: i64,
    /// Epochs after the seed epoch before the seed counts.
    pub seed_confidence: i64,
}

/// Where the node is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ChainSource {
    /// Lotus-compatible nodes, in order of preference; never empty.
    Endpoints(Vec<Endpoint>),
    /// seald starts and supervises its own devnet.
    Devnet,
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// `http://`, `https://`, `ws://` or `wss://`.
    pub url: String,
    /// File that holds the API token, when the node wants one.
    pub token_file: Option<PathBuf>,
}

/// Where seald keeps what it did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// Folder of the daemon's own files.
    pub dir: PathBuf,
    /// The database.
    pub url: DatabaseUrl,
}

/// One storage path for sectors. Neither `seal` nor `store`: read only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repo {
    /// The folder.
    pub path: PathBuf,
    /// Sectors are sealed here (fast scratch).
    pub seal: bool,
    /// Finished sectors stay here.
    pub store: bool,
    /// seald never uses more than this here.
    pub max_use: Option<Bytes>,
    /// Free space of the file system that seald leaves alone.
    pub reserve: Bytes,
    /// Preference among repos that fit: the most is chosen first, 0 only when nothing else fits.
    pub weight: u64,
    /// Refuse to use the path unless something is mounted on it.
    pub require_mount: bool,
}

/// A kind of worker and how many run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// What they do; never empty.
    pub tasks: BTreeSet<Task>,
    /// How many processes; at least 1.
    pub count: u32,
    /// Their GPU; `None` computes on the CPU.
    pub gpu: Option<Gpu>,
    /// Their cores; `None` leaves that to the system.
    pub cpus: Option<CpuSet>,
    /// Memory bound of one process.
    pub memory: Option<Bytes>,
}

/// A task a slot can take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Task {
    /// Writes deal data.
    AddPiece,
    /// Layers.
    PreCommit1,
    /// Trees and replica.
    PreCommit2,
    /// The sealing proof.
    Commit,
    /// Trims the cache and moves the sector to its store.
    Finalize,
    /// Fetches sectors from other machines.
    Fetch,
    /// Proves the storage of a deadline.
    WindowPost,
    /// Proves storage to win a block.
    WinningPost,
}

impl Task {
    /// All of them, in the order of a sector's life.
    pub const ALL: [Self; 8] = [
        Self::AddPiece,
        Self::PreCommit1,
        Self::PreCommit2,
        Self::Commit,
        Self::Finalize,
        Self::Fetch,
        Self::WindowPost,
        Self::WinningPost,
    ];

    /// The manifest's word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::AddPiece => "addpiece",
            Self::PreCommit1 => "precommit1",
            Self::PreCommit2 => "precommit2",
            Self::Commit => "commit",
            Self::Finalize => "finalize",
            Self::Fetch => "fetch",
            Self::WindowPost => "windowpost",
            Self::WinningPost => "winningpost",
        }
    }

    /// Whether this version runs it; the other words are reserved.
    pub const fn runs(self) -> bool {
        match self {
            Self::PreCommit1 | Self::PreCommit2 | Self::Commit | Self::Finalize => true,
            Self::AddPiece | Self::Fetch | Self::WindowPost | Self::WinningPost => false,
        }
    }
}

impl fmt::Display for Task {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// How much is to be sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pledge {
    /// Sectors to be proven on chain in all. A declared `power` is rounded up to whole sectors, with a warning.
    pub sectors: u64,
    /// Sectors between ticket and proof at any time.
    pub max_in_flight: u64,
    /// How long a sector is promised, in epochs.
    pub lifetime_epochs: i64,
}

/// What messages may cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fees {
    /// Most gas fee of one pre-commit message.
    pub max_precommit: AttoFil,
    /// Most gas fee of one prove-commit message.
    pub max_commit: AttoFil,
    /// No message is sent while a unit of gas costs more than this, except near a deadline.
    pub base_fee_ceiling: Option<AttoFil>,
    /// This close to a deadline a message leaves without regard to the ceiling and to batch waits.
    pub deadline_margin: Duration,
    /// How many times its cap a message may cost at a deadline.
    pub urgent_factor: u32,
    /// A message that pays less than the base fee is replaced by a dearer one after this long.
    pub replace_after: Duration,
}

/// How sectors share messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Pre-commits.
    pub precommit: BatchRule,
    /// Prove-commits.
    pub commit: BatchRule,
    /// From this many proofs on they are aggregated where that is cheaper; `None` never.
    pub aggregate_from: Option<u64>,
}

/// When a batch leaves: full, or its oldest sector has waited long enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchRule {
    /// Most sectors in one message.
    pub max: u64,
    /// Longest wait of a sector for company.
    pub wait: Duration,
}

/// This machine on its network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Node {
    /// Where `/metrics` and the StorageMiner API are served.
    pub address: SocketAddr,
    /// What the API allows.
    pub api: Api,
}

/// What the StorageMiner API allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Nothing: it is not served.
    Off,
    /// Looking.
    Read,
    /// Orders too.
    Write,
}

impl Api {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Off, Self::Read, Self::Write];

    /// The word of the manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Read => "read",
            Self::Write => "write",
        }
    }
}

/// The proof parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Params {
    /// Where they are kept.
    pub dir: PathBuf,
    /// Base address to fetch them from.
    pub mirror: Option<String>,
}

/// How worker processes are started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Workers {
    /// Who starts them.
    pub launcher: Launcher,
}

/// Who starts worker processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Launcher {
    /// systemd where its socket is there for this user, else the daemon.
    Auto,
    /// systemd, through a socket unit: they outlive the daemon.
    Systemd,
    /// The daemon: they end with it.
    Direct,
}

impl Launcher {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Auto, Self::Systemd, Self::Direct];

    /// The word of the manifest.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Systemd => "systemd",
            Self::Direct => "direct",
        }
    }
}
