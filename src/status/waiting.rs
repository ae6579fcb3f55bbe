//! Since when a sector waits for what it waits for: told by two snapshots, one after the other. Pure.

use super::SectorStatus;
use crate::units::{SectorNumber, UnixMillis};
use std::collections::BTreeMap;

/// Sets `since` of every sector that waits: the moment the snapshot before had, when the sector waited for the same
/// thing then, or else `at`.
pub fn carry(before: &[SectorStatus], sectors: &mut [SectorStatus], at: UnixMillis) {
    let known: BTreeMap<SectorNumber, &SectorStatus> = before.iter().map(|status| (status.number, status)).collect();
    for sector in sectors {
        let same = known.get(&sector.number).filter(|old| old.state == sector.state && same_wait(old, sector));
        sector.since = sector.waits_for.as_ref().map(|_| same.and_then(|old| old.since).unwrap_or(at));
    }
}

/// A reason may hold a running figure: that does not make it another one.
fn same_wait(a: &SectorStatus, b: &SectorStatus) -> bool {
    let words = |status: &SectorStatus| -> Option<String> {
        status.waits_for.as_ref().map(|reason| reason.chars().filter(|c| !c.is_ascii_digit()).collect())
    };
    words(a) == words(b)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waiting(number: u64, state: &str, reason: Option<&str>) -> SectorStatus {
        SectorStatus {
            waits_for: reason.map(str::to_owned),
            ..SectorStatus::new(SectorNumber::try_from(number).unwrap(), state, UnixMillis::new(1))
        }
    }

    #[test]
    fn a_wait_is_as_old_as_its_reason() {
        let at = UnixMillis::new;
        let mut first = vec![
            waiting(1, "WaitSeed", Some("the seed, 12 epochs left")),
            waiting(2, "CommitWait", Some("the node")),
            waiting(3, "PreCommit1", None),
            waiting(4, "PreCommit2", Some("a worker")),
        ];
        carry(&[], &mut first, at(100));
        assert_eq!(
            first.iter().map(|s| s.since).collect::<Vec<_>>(),
            [Some(at(100)), Some(at(100)), None, Some(at(100))]
        );
        let mut second = vec![
            waiting(1, "WaitSeed", Some("the seed, 3 epochs left")),
            waiting(2, "CommitWait", Some("the message")),
            waiting(3, "PreCommit1", Some("a worker")),
            waiting(4, "PreCommitting", Some("a worker")),
            waiting(5, "PreCommit1", Some("a worker")),
        ];
        carry(&first, &mut second, at(200));
        let since: Vec<_> = second.iter().map(|s| s.since).collect();
        assert_eq!(since, [at(100), at(200), at(200), at(200), at(200)].map(Some));
    }
}
