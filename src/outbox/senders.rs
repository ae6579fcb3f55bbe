//! Who may send a miner's messages, and who of them can: the owner, the worker and the control addresses of the actor,
//! with a key in the node's wallet.
//!
//! Pure. The manifest names accounts in order of preference; the worker comes after them, whatever it names.

use crate::units::AttoFil;
use std::collections::{BTreeMap, BTreeSet};

/// An account as the chain and the node's wallet show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Its id address.
    pub id: String,
    /// Its key address.
    pub key: String,
    /// The node's wallet can sign for it.
    pub in_wallet: bool,
    /// What it holds.
    pub balance: AttoFil,
}

/// The accounts of a miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accounts {
    /// Its worker.
    pub worker: Account,
    /// Id addresses of everybody who may send its messages: owner, worker, control addresses.
    pub allowed: BTreeSet<String>,
    /// The accounts that the manifest names, as it names them; `None` for one that the chain has no account for.
    pub named: BTreeMap<String, Option<Account>>,
}

/// Why an account that the manifest names sends nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The chain does not know it, or it is no account of a key.
    #[error("{named} is no account on chain that has a key: name one of {accepted}")]
    Unknown {
        /// As the manifest has it.
        named: String,
        /// Those that may send.
        accepted: String,
    },
    /// The actor does not take its messages.
    #[error(
        "{named} ({id}) is neither owner nor worker nor control address of the miner: name one of {accepted}, or make \
         it a control address first"
    )]
    Stranger {
        /// As the manifest has it.
        named: String,
        /// Its id address.
        id: String,
        /// Those that may send.
        accepted: String,
    },
    /// The node cannot sign for it.
    #[error("the key {key} of {id} is not in the node's wallet: `lotus wallet import` puts it there")]
    NoKey {
        /// Its id address.
        id: String,
        /// Its key address.
        key: String,
    },
}

impl Accounts {
    /// Those of a list of the manifest that can send, in its order, and then the worker if it can. Each once.
    pub fn usable(&self, declared: &[String]) -> Vec<&Account> {
        let named = declared.iter().filter_map(|name| self.judge(name).ok()).chain(fit(&self.worker).ok());
        let mut found: Vec<&Account> = Vec::new();
        for account in named {
            if !found.iter().any(|known| known.id == account.id) {
                found.push(account);
            }
        }
        found
    }

    /// An account that the manifest names.
    ///
    /// # Errors
    /// [`Unfit`] when it sends nothing; also while it was not looked up yet.
    pub fn judge(&self, named: &str) -> Result<&Account, Unfit> {
        let accepted = || self.allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
        let Some(Some(account)) = self.named.get(named) else {
            return Err(Unfit::Unknown { named: named.to_owned(), accepted: accepted() });
        };
        if !self.allowed.contains(&account.id) {
            let (named, id) = (named.to_owned(), account.id.clone());
            return Err(Unfit::Stranger { named, id, accepted: accepted() });
        }
        fit(account)
    }

    /// Everything that is wrong with the worker and with the accounts that the manifest names.
    pub fn unfit(&self) -> Vec<Unfit> {
        let named = self.named.keys().filter_map(|name| self.judge(name).err());
        let mut found: Vec<Unfit> = fit(&self.worker).err().into_iter().chain(named).collect();
        found.dedup();
        found
    }

    /// The account with this id address, if it was asked about.
    pub fn find(&self, id: &str) -> Option<&Account> {
        let named = self.named.values().flatten();
        std::iter::once(&self.worker).chain(named).find(|account| account.id == id)
    }
}

/// An account that can sign.
///
/// # Errors
/// [`Unfit::NoKey`].
fn fit(account: &Account) -> Result<&Account, Unfit> {
    if account.in_wallet {
        return Ok(account);
    }
    Err(Unfit::NoKey { id: account.id.clone(), key: account.key.clone() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(id: &str, in_wallet: bool) -> Account {
        Account { id: id.to_owned(), key: format!("t3{id}"), in_wallet, balance: AttoFil::ZERO }
    }

    fn accounts(worker: bool) -> Accounts {
        Accounts {
            worker: account("t01", worker),
            allowed: ["t00", "t01", "t02", "t03"].map(str::to_owned).into(),
            named: [
                ("t02", Some(account("t02", true))),
                ("t3three", Some(account("t03", false))),
                ("t01", Some(account("t01", worker))),
                ("t09", Some(account("t09", true))),
                ("t3new", None),
            ]
            .map(|(name, account)| (name.to_owned(), account))
            .into(),
        }
    }

    #[test]
    fn the_first_that_can_sign_comes_first_and_the_worker_last_and_nobody_twice() {
        let ids = |accounts: &Accounts, declared: &[&str]| {
            let declared: Vec<_> = declared.iter().map(|name| (*name).to_owned()).collect();
            accounts.usable(&declared).into_iter().map(|account| account.id.clone()).collect::<Vec<_>>()
        };
        let both = accounts(true);
        assert_eq!(ids(&both, &[]), ["t01"]);
        assert_eq!(ids(&both, &["t3three", "t02"]), ["t02", "t01"]);
        assert_eq!(ids(&both, &["t01", "t02"]), ["t01", "t02"]);
        assert_eq!(ids(&both, &["t09", "t3new", "t08"]), ["t01"], "of another, not on chain, never asked about");
        assert_eq!(ids(&accounts(false), &["t02"]), ["t02"]);
        assert!(ids(&accounts(false), &[]).is_empty());
    }

    #[test]
    fn each_that_cannot_send_is_named_with_what_to_do() {
        let told: Vec<_> = accounts(false).unfit().iter().map(ToString::to_string).collect();
        let all = told.join("\n");
        assert!(told[0].contains("t3t01 of t01") && told[0].contains("`lotus wallet import`"), "{all}");
        assert!(
            all.contains("t09 (t09) is neither owner nor worker") && all.contains("one of t00, t01, t02, t03"),
            "{all}"
        );
        assert!(all.contains("t3new is no account on chain") && all.contains("t3t03 of t03"), "{all}");
        assert!(!all.contains("t02 "), "{all}");
    }
}
