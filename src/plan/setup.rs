//! Everything that must be there before sectors can be sealed: repos, chain, miner, parameters, workers.

use super::{Action, Desired, MinerSeen, Observed, ParamsSeen, Plan, RepoSeen, Subject};
use crate::{outbox::Accounts, sector::WakeUp};
use std::collections::BTreeSet;

pub(super) fn plan(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    repos(desired, observed, plan);
    workers(desired, observed, plan);
    chain(desired, observed, plan);
    miner(observed, plan);
    params(desired, observed, plan);
}

fn repos(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    for name in desired.repos.keys() {
        match observed.repos.get(name) {
            None | Some(RepoSeen::Closed) => plan.actions.push(Action::OpenRepo(name.clone())),
            Some(RepoSeen::Unusable { again, .. }) if *again <= observed.now => {
                plan.actions.push(Action::OpenRepo(name.clone()));
            }
            Some(RepoSeen::Unusable { why, again }) => {
                plan.hold(Subject::Repo(name.clone()), why.clone(), WakeUp::Time(*again));
            }
            Some(RepoSeen::Open(_)) => {}
        }
    }
}

fn workers(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    // a drained worker that has a task is told to leave as well, which it does when that is done
    let mut wanted: BTreeSet<_> = desired.workers().filter(|who| !desired.held.is_drained(who)).collect();
    for (who, why) in &observed.barred {
        if wanted.remove(who) {
            plan.hold(Subject::Slot(who.slot.clone()), format!("{why} (worker {who})"), WakeUp::NextHead);
        }
    }
    let surplus = observed.workers.keys().filter(|who| !wanted.contains(who));
    plan.actions.extend(surplus.cloned().map(Action::StopWorker));
    let missing = wanted.into_iter().filter(|who| !observed.workers.contains_key(who));
    plan.actions.extend(missing.map(Action::StartWorker));
}

fn chain(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    if desired.devnet && !observed.devnet_running {
        plan.actions.push(Action::StartDevnet);
    }
    if observed.chain.is_none() {
        let why = observed.chain_trouble.clone().unwrap_or_else(|| "the first answer".to_owned());
        plan.hold(Subject::Daemon, format!("the chain: {why}"), WakeUp::NextHead);
    } else if let Some(why) = &observed.chain_trouble {
        plan.hold(Subject::Daemon, format!("the chain to answer again: {why}"), WakeUp::NextHead);
    }
}

fn miner(observed: &Observed, plan: &mut Plan) {
    match &observed.miner {
        MinerSeen::Known => {
            // no message is tried by who cannot send it
            let unfit = observed.funds.accounts.iter().flat_map(Accounts::unfit);
            unfit.for_each(|unfit| plan.hold(Subject::Daemon, format!("the miner: {unfit}"), WakeUp::Operator));
        }
        MinerSeen::Preparing { step } => plan.hold(Subject::Daemon, format!("the miner: {step}"), WakeUp::NextHead),
        MinerSeen::Failed { why, again } if *again > observed.now => {
            plan.hold(Subject::Daemon, format!("the miner: {why}"), WakeUp::Time(*again));
        }
        MinerSeen::Unknown | MinerSeen::Failed { .. } if observed.chain.is_some() => {
            plan.actions.push(Action::PrepareMiner);
        }
        MinerSeen::Unknown | MinerSeen::Failed { .. } => {
            plan.hold(Subject::Daemon, "the miner: the chain must be read first", WakeUp::NextHead);
        }
    }
}

fn params(desired: &Desired, observed: &Observed, plan: &mut Plan) {
    let in_flight = observed.sectors.values().any(|seen| !seen.record.state.is_final());
    if desired.sectors == 0 && !in_flight {
        return;
    }
    match &observed.params {
        ParamsSeen::Ready => {}
        ParamsSeen::Preparing => plan.hold(
            Subject::Daemon,
            format!("the proof parameters for {} sectors", desired.sector_size),
            WakeUp::NextHead,
        ),
        ParamsSeen::Failed { why, again } if *again > observed.now => {
            plan.hold(Subject::Daemon, format!("the proof parameters: {why}"), WakeUp::Time(*again));
        }
        ParamsSeen::Missing | ParamsSeen::Failed { .. } => {
            plan.actions.push(Action::PrepareParams(desired.sector_size));
        }
    }
}
