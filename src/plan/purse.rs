//! What is left in the wallets of those who send a miner's messages, and who of them pays for what.
//!
//! Each kind of message has its senders in order of preference. A message comes from one of them; what sectors will owe
//! later is kept back where it will be paid from.

use crate::{
    manifest::Senders,
    outbox::{Account, Accounts, Ledger, MessageKind, Short},
    units::AttoFil,
};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Purse<'a> {
    accounts: &'a Accounts,
    declared: &'a Senders,
    /// By id address.
    ledgers: BTreeMap<&'a str, Ledger>,
}

impl<'a> Purse<'a> {
    /// Of which nothing is spoken for.
    pub(super) fn new(accounts: &'a Accounts, declared: &'a Senders) -> Self {
        let all = accounts.named.values().flatten().chain([&accounts.worker]);
        let ledgers = all.map(|account| (account.id.as_str(), Ledger::new(account.balance))).collect();
        Self { accounts, declared, ledgers }
    }

    /// Who can send messages of this kind, the preferred first. Empty when no key is in the node's wallet.
    pub(super) fn senders(&self, kind: MessageKind) -> Vec<&'a Account> {
        let Senders { precommit, commit, terminate } = self.declared;
        let declared: &[String] = match kind {
            MessageKind::PreCommit => precommit,
            MessageKind::Commit => commit,
            MessageKind::Terminate => terminate,
            MessageKind::NewAccount
            | MessageKind::CreateMiner
            | MessageKind::ChangePeerId
            | MessageKind::ChangeMultiaddrs => &[],
        };
        self.accounts.usable(declared)
    }

    /// Funds of one account that were spoken for before.
    pub(super) fn reserve_of(&mut self, id: &str, amount: AttoFil) {
        if let Some(ledger) = self.ledgers.get_mut(id) {
            ledger.reserve(amount);
        }
    }

    /// Funds that messages of this kind will need: of the first sender that has them, of the last where none has.
    pub(super) fn reserve(&mut self, kind: MessageKind, amount: AttoFil) {
        let ids: Vec<&str> = self.senders(kind).into_iter().map(|account| account.id.as_str()).collect();
        let has = |id: &&&str| self.ledgers.get(**id).is_some_and(|ledger| ledger.free() >= amount);
        if let Some(id) = ids.iter().find(has).or(ids.last()) {
            self.reserve_of(id, amount);
        }
    }

    /// Takes funds of one account for something new.
    ///
    /// # Errors
    /// [`Short`] when they are not there; nothing is taken.
    pub(super) fn claim_of(&mut self, id: &str, amount: AttoFil) -> Result<(), Short> {
        self.ledgers.get_mut(id).map_or(Ok(()), |ledger| ledger.claim(amount))
    }

    /// Takes funds that messages of this kind will need later: of the first sender that has them.
    ///
    /// # Errors
    /// What the first is short of, with its id; nothing is taken.
    pub(super) fn claim(&mut self, kind: MessageKind, amount: AttoFil) -> Result<(), (String, Short)> {
        let mut first = None;
        for account in self.senders(kind) {
            match self.claim_of(&account.id, amount) {
                Ok(()) => return Ok(()),
                Err(short) => drop(first.get_or_insert((account.id.clone(), short))),
            }
        }
        first.map_or(Ok(()), Err)
    }

    /// The wallet of an account, for people.
    pub(super) fn words(&self, id: &str) -> String {
        let whose = if id == self.accounts.worker.id { "the worker's wallet" } else { "the wallet" };
        format!("{whose} {id}")
    }
}
