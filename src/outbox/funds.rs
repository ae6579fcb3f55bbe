//! What of the sender's funds is still free: its balance without what messages under way may take, and without the
//! pledge of sectors that have their deposit locked already. A deposit that no pledge could follow would be burnt.

use crate::units::AttoFil;

/// The sender's account, as far as it is spoken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    balance: AttoFil,
    claimed: AttoFil,
}

/// More is wanted than there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{missing} more (it holds {balance}, {claimed} of it is spoken for)")]
pub struct Short {
    /// How much more is needed.
    pub missing: AttoFil,
    /// What the account holds.
    pub balance: AttoFil,
    /// What of it is spoken for.
    pub claimed: AttoFil,
}

impl Ledger {
    /// An account of which nothing is spoken for.
    pub const fn new(balance: AttoFil) -> Self {
        Self { balance, claimed: AttoFil::ZERO }
    }

    /// Funds that were spoken for before, whether they are there or not.
    pub fn reserve(&mut self, amount: AttoFil) {
        self.claimed = sum(self.claimed, amount);
    }

    /// Takes `amount` for something new.
    ///
    /// # Errors
    /// [`Short`] when it is not there; nothing is taken.
    pub fn claim(&mut self, amount: AttoFil) -> Result<(), Short> {
        let Self { balance, claimed } = *self;
        let wanted = sum(claimed, amount);
        if wanted > balance {
            let missing = balance.checked_sub(wanted).map_or(amount, |less| AttoFil::from_atto(less.as_atto().abs()));
            return Err(Short { missing, balance, claimed });
        }
        self.claimed = wanted;
        Ok(())
    }

    /// What is free.
    pub fn free(&self) -> AttoFil {
        self.balance.checked_sub(self.claimed).unwrap_or(AttoFil::ZERO).max(AttoFil::ZERO)
    }
}

fn sum(a: AttoFil, b: AttoFil) -> AttoFil {
    a.checked_add(b).unwrap_or(AttoFil::from_atto(i128::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fil(atto: i128) -> AttoFil {
        AttoFil::from_atto(atto)
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut ledger = Ledger::new(fil(100));
        ledger.reserve(fil(30));
        assert_eq!(ledger.claim(fil(70)), Ok(()));
        assert_eq!(ledger.claim(fil(7)).unwrap_err().missing, fil(7));
        ledger.reserve(fil(50));
        assert_eq!(ledger.claim(fil(7)).unwrap_err().missing, fil(57));
        assert_eq!(ledger.free(), fil(0));
    }

    proptest! {
        #[test]
        fn no_more_is_given_out_than_there_is(balance in 0..1_000i128, wishes in proptest::collection::vec(0..300i128, 0..20)) {
            let mut ledger = Ledger::new(fil(balance));
            let given: i128 = wishes.iter().filter(|wish| ledger.claim(fil(**wish)).is_ok()).sum();
            prop_assert!(given <= balance);
            prop_assert_eq!(ledger.free(), fil(balance - given));
        }
    }
}
