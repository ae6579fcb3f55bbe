//! Whether a node is to be believed: what it says of itself, its network and its head, held against what is known.
//! Pure: told the time, asks nothing.
//!
//! Time is held against heads on networks that keep it. Those of developers have a short challenge delay, and their
//! makers let epochs pass as they like; there only the other endpoints tell that one is behind.

use crate::units::Epoch;
use serde::{Deserialize, Serialize};

/// The API that is spoken here: major and minor of what Lotus and Forest report. Source: lotus-full-node-api 3b.
const API: (u32, u32) = (2, 3);

/// Epochs from pre-commit to seed on networks whose epochs keep the time. Source: lotus-full-node-api 0.
const KEEPS_TIME: i64 = 150;

/// A head may be this many epochs old: some epochs have no block.
const OLD_EPOCHS: u64 = 3;

/// Seconds that a block takes to spread. Source: lotus-full-node-api 0.
const PROPAGATION: u64 = 10;

/// Epochs that one endpoint may be behind the best of them: a head takes a moment to be everywhere.
const APART: i64 = 3;

/// What a node says of itself and its network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its API version, `major << 16 | minor << 8 | patch`.
    pub api: u32,
    /// Name of its network.
    pub network: String,
    /// The key of the genesis.
    pub genesis: Vec<String>,
    /// When the genesis was, in seconds since 1970.
    pub genesis_at: u64,
    /// Seconds of an epoch.
    pub block_delay_secs: u64,
    /// Epochs from pre-commit to seed.
    pub challenge_delay: i64,
}

/// What all endpoints must have in common. What nobody knows yet is learned from the first one that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Expected {
    /// The network that the state folder belongs to.
    pub network: Option<String>,
    /// The genesis that the other endpoints have.
    pub genesis: Option<Vec<String>>,
}

/// Where a node says that the chain is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadSeen {
    /// Height.
    pub height: Epoch,
    /// Seconds since 1970.
    pub timestamp: u64,
}

/// Why a node is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It speaks another API.
    #[error(
        "it speaks version {}.{} of the API, and {}.{} is wanted: use a node of the current Lotus or Forest release, \
         and its path /rpc/v1",
        .api >> 16, (.api >> 8) & 0xff, API.0, API.1
    )]
    Version {
        /// What it reports.
        api: u32,
    },
    /// It is on another network.
    #[error(
        "this state folder belongs to network {ours}, the node is on {found}: correct the endpoint, or give it another \
         state.dir"
    )]
    Network {
        /// The known one.
        ours: String,
        /// Its own.
        found: String,
    },
    /// It has another first block.
    #[error(
        "its genesis is {found}, that of the other endpoints {ours}: a network of the same name, but not the same; \
         correct chain.endpoints"
    )]
    Genesis {
        /// The known one.
        ours: String,
        /// Its own.
        found: String,
    },
    /// Its head is old.
    #[error(
        "its head is {epochs} epochs behind ({secs} s old): nothing is decided by it until it has caught up; look at \
         its sync state, and at this machine's clock"
    )]
    Old {
        /// Epochs.
        epochs: u64,
        /// Seconds.
        secs: u64,
    },
    /// Another endpoint is further.
    #[error(
        "its head is {epochs} epochs behind that of another endpoint: nothing is decided by it until it has caught up; \
         look at its sync state"
    )]
    Behind {
        /// Epochs.
        epochs: i64,
    },
    /// Its head has not been made yet.
    #[error("its head is {secs} s in the future: look at its clock, and at this machine's")]
    Future {
        /// Seconds.
        secs: u64,
    },
    /// Height and time of its head contradict each other.
    #[error(
        "its head says {height} at time {timestamp}, but that epoch is at {scheduled}: it does not tell the \
         truth, use another node"
    )]
    Contradiction {
        /// Of the head.
        height: Epoch,
        /// Of the head.
        timestamp: u64,
        /// By the genesis and the length of an epoch.
        scheduled: i128,
    },
}

impl Unfit {
    /// One word for scripts.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Version { .. } => "other_version",
            Self::Network { .. } | Self::Genesis { .. } => "other_network",
            Self::Old { .. } | Self::Behind { .. } => "behind",
            Self::Future { .. } | Self::Contradiction { .. } => "not_believed",
        }
    }
}

/// An endpoint as it was last found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointSeen {
    /// Scheme, host and port.
    pub name: String,
    /// `unasked`, `well`, `unreachable`, `refused`, or a word of [`Unfit::word`].
    pub state: String,
    /// Why it is not well.
    pub why: Option<String>,
    /// Its head.
    pub head: Option<Epoch>,
    /// It is the one that is asked first.
    pub in_use: bool,
}

impl Identity {
    /// Whether epochs pass by the clock.
    const fn keeps_time(&self) -> bool {
        self.challenge_delay >= KEEPS_TIME && self.block_delay_secs > 0
    }

    /// Whether it speaks our language and is on our network.
    ///
    /// # Errors
    /// It does not, or is on another one.
    pub fn check(&self, expected: &Expected) -> Result<(), Unfit> {
        if (self.api >> 16, (self.api >> 8) & 0xff) != API {
            return Err(Unfit::Version { api: self.api });
        }
        if let Some(ours) = expected.network.as_ref().filter(|ours| **ours != self.network) {
            return Err(Unfit::Network { ours: ours.clone(), found: self.network.clone() });
        }
        match expected.genesis.as_ref().filter(|ours| **ours != self.genesis) {
            Some(ours) => Err(Unfit::Genesis { ours: ours.join(" "), found: self.genesis.join(" ") }),
            None => Ok(()),
        }
    }

    /// Whether its head, at `now` in seconds since 1970, is one to decide by. `best` is the highest head that another
    /// endpoint has.
    ///
    /// # Errors
    /// It is too old, or cannot be.
    pub fn check_head(&self, head: HeadSeen, now: u64, best: Option<Epoch>) -> Result<(), Unfit> {
        let HeadSeen { height, timestamp } = head;
        if self.keeps_time() {
            let delay = self.block_delay_secs;
            let scheduled = i128::from(height.as_i64())
                .saturating_mul(i128::from(delay))
                .saturating_add(i128::from(self.genesis_at));
            if scheduled != i128::from(timestamp) {
                return Err(Unfit::Contradiction { height, timestamp, scheduled });
            }
            let secs = now.saturating_sub(timestamp);
            if secs > delay.saturating_mul(OLD_EPOCHS).saturating_add(PROPAGATION) {
                return Err(Unfit::Old { epochs: secs.checked_div(delay).unwrap_or(0), secs });
            }
            let secs = timestamp.saturating_sub(now);
            if secs > delay.saturating_add(PROPAGATION) {
                return Err(Unfit::Future { secs });
            }
        }
        match best.map(|best| best.as_i64().saturating_sub(height.as_i64())).filter(|epochs| *epochs > APART) {
            Some(epochs) => Err(Unfit::Behind { epochs }),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENESIS_AT: u64 = 1_598_306_400;

    fn mainnet() -> Identity {
        Identity {
            api: 0x0002_0300,
            network: "mainnet".to_owned(),
            genesis: vec!["bafy-genesis".to_owned()],
            genesis_at: GENESIS_AT,
            block_delay_secs: 30,
            challenge_delay: 150,
        }
    }

    fn head(height: i64) -> HeadSeen {
        HeadSeen { height: Epoch::new(height), timestamp: at(height) }
    }

    fn at(height: i64) -> u64 {
        GENESIS_AT + u64::try_from(height).unwrap() * 30
    }

    #[test]
    fn another_version_is_refused_with_its_number_and_what_is_wanted() {
        let nothing = Expected::default();
        for api in [0x0002_0300, 0x0002_0307] {
            assert_eq!(Identity { api, ..mainnet() }.check(&nothing), Ok(()));
        }
        for (api, found) in [(0x0001_0500, "1.5"), (0x0002_0400, "2.4"), (0x0003_0300, "3.3"), (0, "0.0")] {
            let why = Identity { api, ..mainnet() }.check(&nothing).unwrap_err();
            let text = why.to_string();
            assert!(text.contains(&format!("version {found} of the API, and 2.3 is wanted")), "{text}");
            assert_eq!(why.word(), "other_version");
        }
    }

    #[test]
    fn another_network_or_genesis_is_not_believed() {
        let known = |network: &str, genesis: &str| Expected {
            network: Some(network.to_owned()),
            genesis: Some(vec![genesis.to_owned()]),
        };
        assert_eq!(mainnet().check(&known("mainnet", "bafy-genesis")), Ok(()));
        let network = mainnet().check(&known("calibrationnet", "bafy-genesis")).unwrap_err();
        assert!(network.to_string().contains("belongs to network calibrationnet, the node is on mainnet"));
        let genesis = mainnet().check(&known("mainnet", "bafy-other")).unwrap_err();
        assert!(genesis.to_string().contains("its genesis is bafy-genesis, that of the other endpoints bafy-other"));
        assert_eq!((network.word(), genesis.word()), ("other_network", "other_network"));
    }

    #[test]
    fn an_old_head_is_behind_and_says_by_how_much() {
        let node = mainnet();
        // three epochs and the time to spread
        for age in [0, 1, 30, 100] {
            assert_eq!(node.check_head(head(1000), at(1000) + age, None), Ok(()), "{age}");
        }
        assert_eq!(node.check_head(head(1000), at(1000) + 101, None), Err(Unfit::Old { epochs: 3, secs: 101 }));
        let why = node.check_head(head(0), at(5_000_000), None).unwrap_err();
        assert_eq!((why.word(), why.to_string().contains("5000000 epochs behind")), ("behind", true));
    }

    #[test]
    fn a_head_that_cannot_be_is_not_believed() {
        let node = mainnet();
        // the newest time with an old height, and an old time with the newest height
        for (height, timestamp) in
            [(500, at(1000)), (1000, at(500)), (1000, at(1000) + 1), (-1, 0), (i64::MAX, u64::MAX)]
        {
            let head = HeadSeen { height: Epoch::new(height), timestamp };
            let why = node.check_head(head, at(1000), None).unwrap_err();
            assert!(matches!(why, Unfit::Contradiction { .. }), "{why:?}");
            assert_eq!(why.word(), "not_believed");
        }
        // a clock may be a little off
        assert_eq!(node.check_head(head(1001), at(1000), None), Ok(()));
        assert_eq!(node.check_head(head(1002), at(1000), None), Err(Unfit::Future { secs: 60 }));
    }

    #[test]
    fn the_other_endpoints_tell_too() {
        let node = mainnet();
        let with = |best| node.check_head(head(1000), at(1000), Some(Epoch::new(best)));
        for best in [0, 1000, 1003] {
            assert_eq!(with(best), Ok(()));
        }
        assert_eq!(with(1004), Err(Unfit::Behind { epochs: 4 }));
    }

    #[test]
    fn developers_let_time_pass_as_they_like() {
        let node = Identity { challenge_delay: 10, block_delay_secs: 4, ..mainnet() };
        for (height, timestamp) in [(0, 0), (1_000_000, 5), (7, u64::MAX)] {
            let head = HeadSeen { height: Epoch::new(height), timestamp };
            assert_eq!(node.check_head(head, at(1000), None), Ok(()));
            let best = Some(Epoch::new(height + 10));
            assert_eq!(node.check_head(head, at(1000), best), Err(Unfit::Behind { epochs: 10 }));
        }
    }

    #[test]
    fn an_epoch_without_length_divides_nothing() {
        let node = Identity { block_delay_secs: 0, ..mainnet() };
        assert_eq!(node.check_head(head(1000), at(2000), None), Ok(()));
        let node = Identity { block_delay_secs: u64::MAX, ..mainnet() };
        assert!(node.check_head(head(1000), at(1000), None).is_err());
    }
}
