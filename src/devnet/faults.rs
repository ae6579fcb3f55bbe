//! The fault API: what a test or a user may ask of the devnet besides what a real node does.
//!
//! `POST /devnet/v1/<fault>` with a JSON object of the fields below. Faults are not kept over a restart; what they
//! did to the chain is.

use super::{address, chain::FINALITY_LAG, ledger::Message, miner::Condition};
use crate::units::{AttoFil, MinerId, SectorNumber};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Most epochs of one `mine`: more than the life of a pre-commit.
const MOST_EPOCHS: i64 = 100_000;

/// One request of the fault API.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// The next `count` messages (of `method` only, when given) are accepted and forgotten: never included, and the
    /// sender's next message gets the same nonce.
    Drop {
        /// How many.
        #[serde(default = "one")]
        count: u64,
        /// Method number.
        method: Option<u64>,
    },
    /// The next `count` messages are included `epochs` later than they would be.
    Delay {
        /// How much later.
        epochs: i64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
        /// Method number.
        method: Option<u64>,
    },
    /// The next `count` estimates name `pct` percent of the gas limit that they should.
    Gas {
        /// Percent; below 80 a message runs out of gas, since estimates have a margin of a quarter.
        pct: u64,
        /// How many.
        #[serde(default = "one")]
        count: u64,
        /// Method number.
        method: Option<u64>,
    },
    /// Another gas limit of a block, and so of a message, from the next epoch on.
    BlockGas {
        /// Gas.
        gas: u64,
    },
    /// A message by somebody else's hand takes the sender's next nonce and is included at once.
    Foreign {
        /// The sender, the default wallet when not given.
        address: Option<String>,
    },
    /// The node forgets the messages in its mempool.
    Evict {
        /// Only those with this nonce.
        nonce: Option<u64>,
    },
    /// The next `count` calls of an RPC method fail, each with a chance of `pct` percent.
    Fail(Failing),
    /// The last `epochs` tipsets are replaced, by one more of them.
    Reorg {
        /// How many.
        epochs: i64,
        /// Their messages are included again this many epochs after the old head; at once when 0.
        #[serde(default)]
        delay: i64,
        /// Also below the finalized tipset.
        #[serde(default)]
        force: bool,
    },
    /// No tipsets by the clock, for `seconds` or until `resume`.
    Stall {
        /// For how long.
        seconds: Option<u32>,
    },
    /// Ends a stall.
    Resume,
    /// Another base fee from the next epoch on.
    BaseFee {
        /// AttoFIL per gas unit, decimal text.
        atto: AttoFil,
    },
    /// A proven sector becomes `faulty`, `active` again, or `terminated`.
    Sector {
        /// Its miner, such as `t01001`. Either prefix.
        miner: String,
        /// Its number.
        number: SectorNumber,
        /// What it becomes.
        condition: Condition,
    },
    /// That many epochs now, whatever the clock says.
    Mine {
        /// How many.
        #[serde(default = "one_epoch")]
        epochs: i64,
    },
    /// Funds out of nowhere (the reserve).
    Fund {
        /// Who gets them.
        address: String,
        /// AttoFIL, decimal text.
        atto: AttoFil,
    },
    /// All websockets are cut.
    Disconnect,
    /// All `ChainNotify` channels are closed, as Lotus does to readers that are too slow.
    CloseChannels,
    /// `ChainNotify` channels stay open, and say nothing more.
    Mute,
    /// Forgets all rules (`drop`, `delay`, `gas`, `fail`, `stall`, `mute`).
    Clear,
}

/// The names of all faults with an example body each: what `GET /devnet/v1` lists.
pub const EXAMPLES: [(&str, &str); 18] = [
    ("drop", r#"{"count":1,"method":28}"#),
    ("delay", r#"{"epochs":20,"count":1,"method":34}"#),
    ("gas", r#"{"pct":50,"count":1,"method":28}"#),
    ("block_gas", r#"{"gas":1000000000}"#),
    ("foreign", r#"{"address":"t01000"}"#),
    ("evict", r#"{"nonce":3}"#),
    ("fail", r#"{"method":"StateGetActor","count":3,"pct":100,"how":"error"}"#),
    ("reorg", r#"{"epochs":4,"delay":0,"force":false}"#),
    ("stall", r#"{"seconds":30}"#),
    ("resume", "{}"),
    ("base_fee", r#"{"atto":"5000000000"}"#),
    ("sector", r#"{"miner":"t01001","number":0,"condition":"faulty"}"#),
    ("mine", r#"{"epochs":10}"#),
    ("fund", r#"{"address":"t01000","atto":"1000000000000000000"}"#),
    ("disconnect", "{}"),
    ("close_channels", "{}"),
    ("mute", "{}"),
    ("clear", "{}"),
];

/// Calls of an RPC method that are to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failing {
    /// Method without `Filecoin.`; `*` is every one.
    pub method: String,
    /// How many calls are looked at.
    #[serde(default = "one")]
    pub count: u64,
    /// Chance of each to fail.
    #[serde(default = "certain")]
    pub pct: u8,
    /// In what way.
    #[serde(default)]
    pub how: How,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// JSON-RPC error 1.
    #[default]
    Error,
    /// HTTP status 500 without a body.
    Http500,
    /// The request does its work, but the answer never comes.
    Hang,
}

const fn one() -> u64 {
    1
}

const fn one_epoch() -> i64 {
    1
}

const fn certain() -> u8 {
    100
}

impl Fault {
    /// Reads a request of the fault API.
    ///
    /// # Errors
    /// A text that says what is accepted.
    pub fn read(name: &str, body: &[u8]) -> Result<Self, String> {
        let text: &[u8] = if body.is_empty() { b"{}" } else { body };
        let mut fields: serde_json::Map<String, Value> =
            serde_json::from_slice(text).map_err(|error| format!("the body must be a JSON object: {error}"))?;
        fields.insert("fault".to_owned(), Value::from(name));
        let example = EXAMPLES.iter().find(|(fault, _)| *fault == name).map(|(_, body)| *body);
        let hint = example.map_or_else(|| "GET /devnet/v1 lists them".to_owned(), |body| format!("example: {body}"));
        let fault: Self = serde_json::from_value(Value::Object(fields)).map_err(|error| format!("{error}; {hint}"))?;
        fault.check().map(|()| fault).map_err(|why| format!("{why}; {hint}"))
    }

    fn check(&self) -> Result<(), String> {
        match self {
            Self::Reorg { epochs, force, .. } if *epochs > FINALITY_LAG && !force => Err(format!(
                "the tipset {FINALITY_LAG} epochs back is final: give \"force\":true to break that promise"
            )),
            Self::Delay { epochs: delay, .. } | Self::Reorg { delay, .. } if !(0..=MOST_EPOCHS).contains(delay) => {
                Err(format!("the delay must be 0 to {MOST_EPOCHS} epochs"))
            }
            Self::Mine { epochs } if !(1..=MOST_EPOCHS).contains(epochs) => {
                Err(format!("epochs must be 1 to {MOST_EPOCHS}"))
            }
            Self::BaseFee { atto } | Self::Fund { atto, .. } if *atto < AttoFil::ZERO => {
                Err("an amount must not be negative".to_owned())
            }
            Self::Gas { pct, .. } if *pct > 1000 => Err("pct must be 0 to 1000".to_owned()),
            Self::Fail(failing) if failing.pct > 100 => Err("pct must be 0 to 100".to_owned()),
            Self::Sector { miner, .. } => miner.parse::<MinerId>().map(|_| ()).map_err(|error| error.to_string()),
            Self::Drop { .. }
            | Self::Delay { .. }
            | Self::Gas { .. }
            | Self::BlockGas { .. }
            | Self::Foreign { .. }
            | Self::Evict { .. }
            | Self::Fail(_)
            | Self::Reorg { .. }
            | Self::Stall { .. }
            | Self::Resume
            | Self::BaseFee { .. }
            | Self::Mine { .. }
            | Self::Fund { .. }
            | Self::Disconnect
            | Self::CloseChannels
            | Self::Mute
            | Self::Clear => Ok(()),
        }
    }
}

/// A rule about the next messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Rule {
    count: u64,
    method: Option<u64>,
    /// Epochs of delay; `None` drops.
    delay: Option<i64>,
}

/// A rule about the next estimates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct GasRule {
    count: u64,
    method: Option<u64>,
    pct: u64,
}

/// The rules in force.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct Rules {
    /// About messages, first come first served.
    messages: Vec<Rule>,
    /// About estimates, likewise.
    gas: Vec<GasRule>,
    /// About calls.
    pub calls: Vec<Failing>,
    /// How often all websockets were cut.
    pub cuts: u64,
    /// How often all channels were closed.
    pub closings: u64,
    /// Channels say nothing.
    pub mute: bool,
    /// Calls looked at so far: what chance is drawn from.
    draws: u64,
}

impl Rules {
    /// No rules. What happened to websockets is not undone.
    pub fn clear(&mut self) {
        *self = Self { cuts: self.cuts, closings: self.closings, ..Self::default() };
    }

    /// Adds a rule about messages: a delay in epochs, or `None` to drop them.
    pub fn add(&mut self, count: u64, method: Option<u64>, delay: Option<i64>) {
        self.messages.push(Rule { count, method, delay });
    }

    /// From which height on the message may be included; `None` when it is to be forgotten.
    pub fn not_before(&mut self, message: &Message, next: i64) -> Option<i64> {
        let fits = |rule: &&mut Rule| rule.method.is_none_or(|method| method == message.method);
        let Some(rule) = self.messages.iter_mut().find(fits) else { return Some(next) };
        rule.count = rule.count.saturating_sub(1);
        let height = rule.delay.map(|epochs| next.saturating_add(epochs));
        self.messages.retain(|rule| rule.count > 0);
        height
    }

    /// Adds a rule about estimates.
    pub fn add_gas(&mut self, count: u64, method: Option<u64>, pct: u64) {
        self.gas.push(GasRule { count, method, pct });
    }

    /// Whether some rule is about estimates.
    pub const fn concern_gas(&self) -> bool {
        !self.gas.is_empty()
    }

    /// Percent of its gas limit that an estimate of this method names. Uses up the rule.
    pub fn gas_pct(&mut self, method: u64) -> Option<u64> {
        let rule = self.gas.iter_mut().find(|rule| rule.method.is_none_or(|wanted| wanted == method))?;
        rule.count = rule.count.saturating_sub(1);
        let pct = rule.pct;
        self.gas.retain(|rule| rule.count > 0);
        Some(pct)
    }

    /// Whether some rule is about this method.
    pub fn concern(&self, method: &str) -> bool {
        self.calls.iter().any(|failing| failing.method == method || failing.method == "*")
    }

    /// How this call fails, if it does. Uses up the rule.
    pub fn call(&mut self, method: &str) -> Option<How> {
        let failing = self.calls.iter_mut().find(|failing| failing.method == method || failing.method == "*")?;
        failing.count = failing.count.saturating_sub(1);
        let (pct, how) = (failing.pct, failing.how);
        self.calls.retain(|failing| failing.count > 0);
        self.draws = self.draws.saturating_add(1);
        let drawn = address::blake2b(&[b"draw", &self.draws.to_be_bytes()]).0;
        let percent = u16::from_be_bytes([drawn[0], drawn[1]]) % 100;
        (percent < u16::from(pct)).then_some(how)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_accepted() {
        for (name, body) in EXAMPLES {
            Fault::read(name, body.as_bytes()).unwrap();
        }
    }

    #[test]
    fn refusals_say_what_is_accepted() {
        let refused = |name: &str, body: &str| Fault::read(name, body.as_bytes()).unwrap_err();
        assert!(refused("explode", "{}").contains("`base_fee`"), "{}", refused("explode", "{}"));
        assert!(refused("drop", r#"{"cuont":1}"#).contains("expected `count` or `method`"));
        assert!(refused("reorg", r#"{"epochs":6}"#).contains("force"));
        assert!(refused("sector", r#"{"miner":"x","number":0,"condition":"active"}"#).contains("f01000"));
        assert!(refused("sector", r#"{"miner":"t01","number":0,"condition":"ill"}"#).contains("`terminated`"));
        assert!(refused("mine", "[]").contains("JSON object"));
    }

    #[test]
    fn chance_is_neither_never_nor_always() {
        let failing = Failing { method: "*".to_owned(), count: 200, pct: 50, how: How::Http500 };
        let mut rules = Rules { calls: vec![failing], ..Rules::default() };
        let failed = (0..200).filter(|_| rules.call("ChainHead").is_some()).count();
        assert!((60..140).contains(&failed), "{failed}");
        assert_eq!((rules.call("ChainHead"), rules.calls.len()), (None, 0));
    }
}
