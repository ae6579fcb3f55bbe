//! The miner on chain, as `seald info` shows it: asked by the daemon for its readers, or by the command line itself when
//! no daemon runs.

use crate::{
    chain::{self, ChainError, Client, TipSet},
    status::{
        info::{
            Account, Beneficiary, ChainState, Deadline, Due, FORMAT_VERSION, Funds, InfoReport, Market, Share, Sync,
        },
        winning::Winning,
    },
    units::{AttoFil, MinerId, UnixMillis},
};
use futures_util::future::try_join_all;
use std::{future::Future, time::Duration};

/// Control accounts whose balance is asked for: an actor takes ten, and all questions together stay below twenty.
const CONTROLS: usize = 7;

/// What is known beside the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Now.
    pub at: UnixMillis,
    /// Since when the daemon runs; `None` when none was asked.
    pub running_since: Option<UnixMillis>,
    /// The miner.
    pub miner: MinerId,
    /// Number of sectors per state.
    pub states: Vec<(String, u64)>,
}

/// Asks the chain everything at one tipset, most of it at the same time: 11 calls and one for each account, however many
/// sectors there are.
///
/// # Errors
/// The chain cannot be read.
pub async fn survey(client: &Client, known: Known) -> Result<InfoReport, ChainError> {
    let miner = known.miner;
    let head = client.head().await?;
    let (params, actor, power, count, funds, deadlines, market, due, reward) = tokio::try_join!(
        client.network_params(),
        actor(client, miner, &head),
        client.power(miner, &head),
        client.sector_count(miner, &head),
        client.funds(miner, &head),
        unless_refused(client.deadlines(miner, &head)),
        unless_refused(client.market_balance(miner, &head)),
        unless_refused(due(client, miner, &head)),
        unless_refused(client.epoch_reward(&head)),
    )?;
    let Actor { info, worker_balance, controls } = actor;
    let chain::MinerInfo { owner, worker, control, sector_size, beneficiary, .. } = info;
    let power_share = Share { miner: power.quality_adjusted, network: power.total_quality_adjusted };
    let epoch = Duration::from_secs(params.block_delay_secs);
    let winning = power.has_min_power.then(|| Winning::expected(power_share, epoch, reward)).flatten();
    let daily_fee = deadlines.as_ref().and_then(|deadlines| {
        deadlines.iter().try_fold(AttoFil::ZERO, |sum, deadline| sum.checked_add(deadline.daily_fee))
    });
    let deadline = due.map(|(window, partitions)| deadline(window, deadlines.as_deref(), partitions.as_deref()));
    let not_asked = control.len().saturating_sub(controls.len());
    Ok(InfoReport {
        format_version: FORMAT_VERSION,
        at: known.at,
        running_since: known.running_since,
        head: head.height,
        chain: chain_state(params, &head, known.at),
        miner,
        sector_size,
        byte_power: Share { miner: power.raw, network: power.total_raw },
        adjusted_power: power_share,
        has_min_power: power.has_min_power,
        committed: count.live,
        proving: count.active.saturating_add(count.faulty),
        faulty: count.faulty,
        winning,
        funds: held(funds),
        daily_fee,
        owner,
        worker,
        worker_balance,
        controls,
        controls_not_asked: u64::try_from(not_asked).unwrap_or(u64::MAX),
        beneficiary: taker(beneficiary),
        market: market.map(|chain::MarketBalance { escrow, locked }| Market { escrow, locked }),
        states: known.states,
        deadline,
    })
}

/// The miner actor and the accounts it pays from.
struct Actor {
    info: chain::MinerInfo,
    worker_balance: AttoFil,
    controls: Vec<Account>,
}

async fn actor(client: &Client, miner: MinerId, head: &TipSet) -> Result<Actor, ChainError> {
    let info = client.miner_info(miner, head).await?;
    let controls = try_join_all(
        info.control
            .iter()
            .take(CONTROLS)
            .map(async |address| Ok(Account { address: address.clone(), balance: client.balance(address).await? })),
    );
    let (worker_balance, controls) = tokio::try_join!(client.balance(&info.worker), controls)?;
    Ok(Actor { info, worker_balance, controls })
}

/// The window that is open or comes next, and the partitions that are due in it.
async fn due(
    client: &Client,
    miner: MinerId,
    head: &TipSet,
) -> Result<(chain::ProvingDeadline, Option<Vec<chain::PartitionCount>>), ChainError> {
    let window = client.proving_deadline(miner, head).await?;
    let partitions = unless_refused(client.partitions(miner, window.index, head)).await?;
    Ok((window, partitions))
}

fn deadline(
    window: chain::ProvingDeadline,
    deadlines: Option<&[chain::DeadlineState]>,
    partitions: Option<&[chain::PartitionCount]>,
) -> Deadline {
    let chain::ProvingDeadline { index, open, close } = window;
    let posted = usize::try_from(index).ok().and_then(|index| Some(deadlines?.get(index)?.posted));
    let due = partitions.zip(posted).map(|(partitions, posted)| {
        let sum = |of: fn(&chain::PartitionCount) -> u64| partitions.iter().map(of).fold(0, u64::saturating_add);
        Due {
            partitions: sum(|partition| u64::from(partition.live > 0)),
            posted,
            sectors: sum(|partition| partition.live),
            faulty: sum(|partition| partition.faulty),
            recovering: sum(|partition| partition.recovering),
        }
    });
    Deadline { index, open, close, due }
}

fn chain_state(params: chain::NetworkParams, head: &TipSet, at: UnixMillis) -> ChainState {
    let chain::NetworkParams { name, block_delay_secs, .. } = params;
    let made = i64::try_from(head.timestamp).unwrap_or(i64::MAX).saturating_mul(1000);
    let age_secs = Duration::from_millis(at.ms_since(UnixMillis::new(made))).as_secs();
    ChainState {
        network: name,
        epoch_secs: block_delay_secs,
        age_secs,
        sync: Sync::of(age_secs, block_delay_secs),
        base_fee: head.base_fee,
    }
}

fn held(funds: chain::Funds) -> Funds {
    let chain::Funds { balance, pre_commit_deposits, initial_pledge, vesting, fee_debt, available } = funds;
    Funds {
        balance,
        precommit: pre_commit_deposits,
        pledge: initial_pledge,
        vesting,
        locked: initial_pledge.checked_add(vesting).unwrap_or(initial_pledge),
        debt: fee_debt,
        available,
    }
}

fn taker(found: chain::Beneficiary) -> Beneficiary {
    let chain::Beneficiary { address, quota, used, expiration, pending } = found;
    Beneficiary { address, quota, used, expiration, pending }
}

/// What a node may not have an answer to, such as the market of a network without one.
async fn unless_refused<T>(asked: impl Future<Output = Result<T, ChainError>>) -> Result<Option<T>, ChainError> {
    match asked.await {
        Ok(answer) => Ok(Some(answer)),
        Err(ChainError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests;
