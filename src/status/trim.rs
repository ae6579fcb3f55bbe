//! When the cache of a proven sector is trimmed. Pure.

use super::{ChainStatus, words};
use crate::{sector::Record, units::Epoch};
use serde::{Deserialize, Serialize};

/// Until when the whole cache of a proven sector is kept: a reorganisation could ask for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trim {
    /// The head at which the activation is final, as far as finality is behind the head now; `None` while that is not known.
    pub epoch: Option<Epoch>,
    /// How many epochs are left until then; 0 once it is final.
    pub left: Option<i64>,
}

impl Trim {
    /// What is to come for `record`; `None` when there is nothing to trim, or not yet.
    pub fn of(record: &Record, chain: Option<&ChainStatus>) -> Option<Self> {
        let activation = record.activation.as_ref().filter(|_| record.is_untrimmed())?;
        let chain = chain.and_then(|chain| Some((chain.head?, chain.finalized?)));
        let left = chain.map(|(_, finalized)| activation.epoch.since(finalized).max(0));
        let epoch = chain.zip(left).map(|((head, _), left)| head.plus(left));
        Some(Self { epoch, left })
    }

    /// For a human.
    pub fn words(self, epoch_secs: Option<u64>) -> String {
        match (self.epoch, self.left) {
            (Some(_), Some(0)) => "whole; it is trimmed next, as its activation is final".to_owned(),
            (Some(epoch), Some(left)) => {
                let about = epoch_secs.map(|secs| format!(" ({})", words::epochs(left, secs))).unwrap_or_default();
                format!("whole, and trimmed after finality, at {epoch}{about}")
            }
            (None, _) | (_, None) => "whole, and trimmed after finality".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        sector::{Activation, State},
        status::Snapshot,
        units::{AttoFil, SectorNumber, SectorSize, UnixMillis},
    };

    #[test]
    fn a_whole_cache_is_said_to_be_trimmed_after_finality() {
        let number = SectorNumber::try_from(7).unwrap();
        let start = Record::new(number, SectorSize::KiB2.seal_proof(), "nvme".parse().unwrap(), UnixMillis::new(1));
        let (epoch, expiration) = (Epoch::new(1_000), Epoch::new(9_000));
        let activation = Some(Activation { epoch, expiration, pledge: AttoFil::ZERO });
        let proven = Record { state: State::Proving, activation, ..start };
        let at = |head: i64| {
            let (head, finalized) = (Some(Epoch::new(head)), Some(Epoch::new(head - 900)));
            ChainStatus { head, finalized, ..Snapshot::empty(UnixMillis::new(1)).chain }
        };
        let said = |record: &Record, chain: Option<ChainStatus>| {
            Trim::of(record, chain.as_ref()).map(|trim| trim.words(Some(30)))
        };
        let early = "whole, and trimmed after finality, at epoch 1900 (in about 7 h 25 min)";
        assert_eq!(said(&proven, Some(at(1_010))).as_deref(), Some(early));
        let due = "whole; it is trimmed next, as its activation is final";
        assert_eq!(said(&proven, Some(at(1_900))).as_deref(), Some(due));
        assert_eq!(said(&proven, None).as_deref(), Some("whole, and trimmed after finality"));
        let trimmed = Record { store: Some("hdd".parse().unwrap()), ..proven.clone() };
        assert_eq!(said(&trimmed, Some(at(1_010))), None);
        assert_eq!(said(&Record { state: State::CommitWait, ..proven }, Some(at(1_010))), None);
    }
}
