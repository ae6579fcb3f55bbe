//! A local chain in a box that speaks Lotus JSON-RPC: `seald devnet`.
//!
//! It imitates the parts of a Lotus full node and of the network's actors that sealing needs, in the real wire
//! format, and misbehaves on request. The ledger ([`ledger`], [`miner`], [`chain`]) is pure; one task ([`node`])
//! owns it, makes tipsets and writes the file; [`rpc`] reads what was written and sends the task requests. It does
//! not sign, does not talk to other nodes, and answers on loopback only.

pub mod address;
pub mod chain;
pub mod deadline;
pub mod faults;
#[cfg(any(test, fuzzing))]
#[cfg_attr(not(fuzzing), expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "of tests and fuzzing only"))]
pub(crate) mod fixture;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
pub mod gas;
pub mod ledger;
pub mod miner;
pub mod node;
pub mod persist;
pub mod randomness;
pub mod rpc;

use self::{
    chain::{Chain, Genesis},
    node::Node,
    persist::Home,
};
use crate::{
    chain::presealed::{self, Presealed},
    clock,
    proofs::Prover,
    units::Hash32,
};
use anyhow::{Context as _, Result, anyhow, bail};
use std::{
    collections::BTreeMap,
    net::SocketAddr,
    os::fd::AsFd as _,
    path::{Path, PathBuf},
    pin::pin,
};
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, UnixStream},
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};

/// Epochs from pre-commit to seed, as on every developer network.
const CHALLENGE_DELAY: i64 = 10;

/// How the devnet runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Folder of the chain; made when missing.
    pub dir: PathBuf,
    /// Loopback address to answer on; port 0 takes a free one (`<dir>/url` names it).
    pub listen: SocketAddr,
    /// Milliseconds of an epoch, at least 1. A chain keeps the one it was made with.
    pub epoch_ms: u64,
    /// Epochs only when the fault API says so.
    pub manual: bool,
    /// A miner with sealed sectors that a new chain begins with: the JSON file of a pre-seal.
    pub presealed: Option<PathBuf>,
    /// Who judges proofs.
    pub prover: Prover,
    /// Standard input is a socket of the daemon that owns this devnet: the end of it is the end of both.
    pub attached: bool,
}

/// Runs the devnet until SIGTERM, SIGINT or, when attached, the end of standard input. Then the chain is on disk.
///
/// # Errors
/// When the folder is in use, the address is not loopback or taken, or the chain can no longer be written.
pub async fn run(options: Options) -> Result<()> {
    let Options { dir, listen, epoch_ms, manual, presealed, prover, attached } = options;
    if !listen.ip().is_loopback() {
        bail!("a devnet has no access control: --listen must be a loopback address such as 127.0.0.1:0, not {listen}");
    }
    if epoch_ms == 0 {
        bail!("an epoch must last at least 1 ms");
    }
    // before anything is announced, so that no early signal is lost
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for signals")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for signals")?;
    let owner = attached.then(owner).transpose()?;

    let home = Home::open(&dir)?;
    let chain = open_chain(&home, epoch_ms, presealed.as_deref())?;
    let listener = TcpListener::bind(listen).await.with_context(|| format!("cannot listen on {listen}"))?;
    let url = format!("http://{}/rpc/v1", listener.local_addr().context("cannot read the address listened on")?);
    tracing::info!(network = chain.name, epoch = chain.head, url, prover = prover.as_str(), "devnet starts");
    let (node, handle) = Node::start(chain, home, prover, manual, &url).await?;

    let mut tasks = JoinSet::new();
    tasks.spawn(async move { axum::serve(listener, rpc::router(handle)).await });
    let mut server_ended = false;
    let stop = async {
        let mut gone = pin!(async {
            match owner {
                Some(stream) => until_end(stream).await,
                None => std::future::pending().await,
            }
        });
        // whichever comes first ends the devnet: what the others had to say does not matter any more
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = &mut gone => {}
            _ = tasks.join_next() => server_ended = true,
        }
    };
    // open connections are cut: every acknowledged message is on disk already
    node.run(stop).await?;
    if server_ended {
        bail!("the devnet's listener ended by itself; the chain is on disk");
    }
    Ok(())
}

fn open_chain(home: &Home, epoch_ms: u64, presealed: Option<&Path>) -> Result<Chain> {
    let now = clock::now().as_i64();
    if let Some(mut chain) = home.load()? {
        chain.resume(now);
        return Ok(chain);
    }
    let id = uuid::Uuid::new_v4();
    let seed: Hash32 = address::blake2b(&[b"seald devnet", id.as_bytes()]);
    let short: String = id.simple().to_string().chars().take(8).collect();
    let name = format!("devnet-{short}");
    let genesis = Genesis { name, seed, epoch_ms, challenge_delay: CHALLENGE_DELAY, at_ms: now };
    match presealed {
        Some(file) => Ok(Chain::with_miner(genesis, &presealed_miner(file)?)),
        None => Ok(Chain::new(genesis)),
    }
}

/// The one miner of a pre-seal's file.
fn presealed_miner(file: &Path) -> Result<Presealed> {
    let bytes = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
    let miners: BTreeMap<String, serde::de::IgnoredAny> =
        serde_json::from_slice(&bytes).with_context(|| format!("{} is not the file of a pre-seal", file.display()))?;
    let Some(actor) = miners.keys().next().filter(|_| miners.len() == 1).and_then(|name| name.parse().ok()) else {
        bail!("{} is to have one miner, such as \"t01000\"", file.display());
    };
    presealed::read(&bytes, actor).map_err(|problems| anyhow!("{}: {}", file.display(), problems.join("; ")))
}

/// Standard input as a socket.
fn owner() -> Result<UnixStream> {
    let doing = "an attached devnet needs a socket as its standard input";
    let copy = std::io::stdin().as_fd().try_clone_to_owned().context(doing)?;
    let stream = std::os::unix::net::UnixStream::from(copy);
    stream.set_nonblocking(true).context(doing)?;
    UnixStream::from_std(stream).context(doing)
}

/// Reads until the other end is gone. What it says is ignored.
async fn until_end(mut stream: UnixStream) {
    let mut bytes = [0; 64];
    while stream.read(&mut bytes).await.is_ok_and(|n| n > 0) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_attached_devnet_ends_with_its_owner_and_not_before() {
        let (owner, stdin) = UnixStream::pair().unwrap();
        let mut end = pin!(until_end(stdin));
        owner.try_write(b"noise").unwrap();
        assert!(futures_util::poll!(&mut end).is_pending());
        drop(owner);
        end.await;
    }
}
