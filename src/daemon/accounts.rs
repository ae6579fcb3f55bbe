//! Reads who can send a miner's messages: the keys of its accounts, the node's wallet, and what they hold.

use crate::{
    chain::{ChainError, MinerInfo, Node, TipSet},
    outbox::{Account, Accounts},
};
use std::collections::{BTreeMap, BTreeSet};

/// The worker and the accounts of these names; `None` when the chain has no account for the worker.
///
/// # Errors
/// The node does not answer one of the questions.
pub async fn read<N: Node>(
    client: &N,
    info: &MinerInfo,
    names: &BTreeSet<String>,
    at: &TipSet,
) -> Result<Option<Accounts>, ChainError> {
    let Some(worker) = account(client, info.worker.clone(), at).await? else { return Ok(None) };
    let mut named = BTreeMap::new();
    for name in names {
        let found = match client.lookup_id(name, at).await? {
            Some(id) if id == worker.id => Some(worker.clone()),
            Some(id) => account(client, id, at).await?,
            None => None,
        };
        named.insert(name.clone(), found);
    }
    let allowed = [&info.owner, &info.worker].into_iter().chain(&info.control).cloned().collect();
    Ok(Some(Accounts { worker, allowed, named }))
}

async fn account<N: Node>(client: &N, id: String, at: &TipSet) -> Result<Option<Account>, ChainError> {
    let Some(key) = client.account_key(&id, at).await? else { return Ok(None) };
    let (in_wallet, balance) = tokio::try_join!(client.has_key(&key), client.balance(&id))?;
    Ok(Some(Account { id, key, in_wallet, balance }))
}
