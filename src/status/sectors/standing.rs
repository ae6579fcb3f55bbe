//! What the chain says of sectors, as `seald sectors` shows it beside what the database says.

use crate::{
    status::{
        paint::{Cell, Colour, Side, Table, Tone, cell, toned},
        words,
    },
    units::{AttoFil, Epoch, SectorNumber},
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Of many sectors: which the chain has and counts. All of it was read at one head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standings {
    /// Height of that head.
    pub head: Epoch,
    /// Those that are on chain, with the epoch each expires at.
    pub expirations: BTreeMap<SectorNumber, Epoch>,
    /// Those that count: proven and not faulty.
    pub active: BTreeSet<SectorNumber>,
}

/// Of one sector: whether it is on chain, and on what terms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnChain {
    /// Height of the head it was read at.
    pub head: Epoch,
    /// Its terms; absent before its proof and after its end.
    pub terms: Option<Terms>,
}

/// A sector's terms on chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// Registered seal proof.
    pub seal_proof: i64,
    /// Epoch of activation.
    pub activation: Epoch,
    /// Epoch of expiration.
    pub expiration: Epoch,
    /// Bytes times epochs of deals, decimal; 0 for a capacity sector.
    #[serde(with = "crate::status::info::decimal")]
    pub deal_weight: u128,
    /// The same of verified deals.
    #[serde(with = "crate::status::info::decimal")]
    pub verified_deal_weight: u128,
    /// Locked pledge.
    pub initial_pledge: AttoFil,
    /// Epoch its power counts from.
    pub power_base: Epoch,
    /// What it costs a day.
    pub daily_fee: AttoFil,
    /// When it ends if nothing happens; absent when the node does not say.
    pub on_time: Option<Epoch>,
    /// When it ends before that if its fault lasts.
    pub early: Option<Epoch>,
    /// The deadline it is proven in.
    pub deadline: Option<u64>,
    /// Its partition there.
    pub partition: Option<u64>,
}

impl OnChain {
    /// As lines below the sector's own.
    pub(super) fn render(&self, epoch_secs: Option<u64>, colour: Colour) -> String {
        let head = self.head;
        let heading = colour.paint(Tone::Strong, &format!("on chain at {head}"));
        let Some(terms) = &self.terms else {
            return format!("\n{heading}\n  {}\n", "the chain has no such sector: not yet, or no more");
        };
        let Terms { seal_proof, activation, expiration, deal_weight, verified_deal_weight, .. } = terms;
        let Terms { initial_pledge, power_base, daily_fee, on_time, early, deadline, partition, .. } = terms;
        let when = |epoch: Epoch| moment(epoch, head, epoch_secs);
        let place = deadline.zip(*partition).map(|(deadline, partition)| format!("{deadline}, partition {partition}"));
        let unknown = || "not told by the node".to_owned();
        let rows = [
            ("SealProof", seal_proof.to_string()),
            ("Activation", when(*activation)),
            ("Expiration", when(*expiration)),
            ("DealWeight", deal_weight.to_string()),
            ("VerifiedDealWeight", verified_deal_weight.to_string()),
            ("InitialPledge", initial_pledge.to_string()),
            ("DailyFee", daily_fee.to_string()),
            ("PowerBase", when(*power_base)),
            ("OnTime", on_time.map_or_else(unknown, when)),
            ("Early", early.map_or_else(|| "no, it is not faulty".to_owned(), when)),
            ("Deadline", place.unwrap_or_else(|| "none yet".to_owned())),
        ];
        let mut table = Table::new(&[("", Side::Left), ("", Side::Left)]);
        for (key, value) in rows {
            table.row([toned(key, Tone::Dim), cell(value)], None);
        }
        format!("\n{heading}\n{}", table.render(colour))
    }
}

/// `1555244 (in about 539 d 21 h)`; without the second part as long as nobody knows how long an epoch is.
pub(super) fn moment(epoch: Epoch, head: Epoch, epoch_secs: Option<u64>) -> String {
    let about = epoch_secs.map(|secs| format!(" ({})", words::epochs(epoch.since(head), secs)));
    format!("{}{}", epoch.as_i64(), about.unwrap_or_default())
}

/// `YES`, `NO`, or that nobody knows.
pub(super) fn yes_no(known: Option<bool>) -> Cell {
    match known {
        Some(true) => toned("YES", Tone::Green),
        Some(false) => toned("NO", Tone::Red),
        None => toned("-", Tone::Dim),
    }
}
