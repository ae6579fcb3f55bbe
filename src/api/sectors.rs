//! Sectors as Lotus's `SectorInfo` has them, and lists of their numbers. Pure.

use super::{
    site::{Known, OnChain},
    words::{STARTED, kind, state},
};
use crate::{
    chain::{
        cids::{sealed, unsealed, zero_comm_d},
        wire::BitField,
    },
    sector::{Record, State},
    status::sectors::{HistoryLine, brief},
    units::{Epoch, Hash32, MinerId, SectorNumber, UnixMillis, from_hex},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// `SectorsStatus`. What the chain has of it is zero unless that was asked for and the chain has it.
pub fn status(known: &Known, on_chain: Option<&OnChain>) -> Value {
    let Known { record, history, precommit, commit } = known;
    let Record { number, proof, ticket, seed, porep, sealed: commitments, .. } = record;
    let ticket = ticket.as_ref().map(|ticket| (ticket.value, ticket.epoch));
    let seed = seed.as_ref().map(|seed| (seed.value, seed.epoch));
    let failure = record.failure.as_ref().map(|failure| format!("{}: {}", failure.doing, failure.error));
    let size = proof.sector_size();
    let epoch = |of: fn(&OnChain) -> Option<Epoch>| on_chain.and_then(of).map_or(0, Epoch::as_i64);
    let amount = |of: fn(&OnChain) -> String| on_chain.map_or_else(|| "0".to_owned(), of);
    // a sector without deals is one piece of zeros, and a deal of number 0 stands for that piece
    let filler = json!({
        "Piece": { "Size": size.bytes().as_u64(), "PieceCID": link(unsealed(zero_comm_d(size))) },
        "DealInfo": null,
    });
    json!({
        "SectorID": number,
        "State": state(record.state),
        "CommD": commitments.as_ref().map(|of| link(unsealed(of.comm_d))),
        "CommR": commitments.as_ref().map(|of| link(sealed(of.comm_r))),
        "Proof": porep.as_deref().and_then(from_hex).map(|proof| STANDARD.encode(proof)),
        "Deals": [0],
        "Pieces": [filler],
        "Ticket": randomness(ticket),
        "Seed": randomness(seed),
        "PreCommitMsg": precommit.as_ref().map(link),
        "CommitMsg": commit.as_ref().map(link),
        "Retries": record.invalid_proofs,
        "ToUpgrade": false,
        "ReplicaUpdateMessage": null,
        "LastErr": failure.unwrap_or_default(),
        "Log": log(record, history),
        "SealProof": on_chain.map_or(proof.as_i64(), |on_chain| on_chain.terms.seal_proof),
        "Activation": epoch(|on_chain| Some(on_chain.terms.activation)),
        "Expiration": epoch(|on_chain| Some(on_chain.terms.expiration)),
        "DealWeight": amount(|on_chain| on_chain.terms.deal_weight.to_string()),
        "VerifiedDealWeight": amount(|on_chain| on_chain.terms.verified_deal_weight.to_string()),
        "InitialPledge": amount(|on_chain| on_chain.terms.pledge.as_atto().to_string()),
        "OnTime": epoch(|on_chain| Some(on_chain.ends?.on_time)),
        "Early": epoch(|on_chain| on_chain.ends?.early),
    })
}

fn link(cid: impl ToString) -> Value {
    json!({ "/": cid.to_string() })
}

fn randomness(drawn: Option<(Hash32, Epoch)>) -> Value {
    let value = drawn.map(|(value, _)| STANDARD.encode(value.0));
    json!({ "Value": value, "Epoch": drawn.map_or(0, |(_, epoch)| epoch.as_i64()) })
}

/// Never empty, as tools read its first line without asking: that says when and as what the sector began.
fn log(record: &Record, history: &[HistoryLine]) -> Vec<Value> {
    let line = |kind: &str, at: UnixMillis, what: String| json!({ "Kind": kind, "Timestamp": at.as_i64().div_euclid(1000).max(0), "Trace": "", "Message": what });
    let said = |what: &str| json!({ "User": what }).to_string();
    let began = line(STARTED, record.created, said(""));
    // one that met the wrong state changed nothing, and Lotus would not have logged it as an event
    let applied = history.iter().filter(|line| line.applied);
    let rest = applied.map(|HistoryLine { at, event, .. }| line(kind(event.kind()), *at, said(&brief(event))));
    std::iter::once(began).chain(rest).collect()
}

/// `SectorsSummary`: states without sectors are left out.
pub fn summary(counts: &[(String, u64)]) -> Value {
    let named = counts.iter().filter_map(|(name, count)| Some((state(name.parse().ok()?).to_owned(), *count)));
    json!(named.collect::<BTreeMap<String, u64>>())
}

/// `SectorsList`.
pub fn numbers(sectors: &[(SectorNumber, State)]) -> Value {
    json!(sectors.iter().map(|(number, _)| number).collect::<Vec<_>>())
}

/// `SectorsListInStates`. Names that Lotus does not know are passed over, and `null` is none, both as Lotus does it.
pub fn in_states(sectors: &[(SectorNumber, State)], wanted: &[String]) -> Value {
    let is_wanted = |of: State| wanted.iter().any(|name| name == state(of));
    let found: Vec<_> = sectors.iter().filter(|(_, of)| is_wanted(*of)).map(|(number, _)| number).collect();
    if found.is_empty() { Value::Null } else { json!(found) }
}

/// `SectorNumAssignerMeta`.
pub fn assigner(sectors: &[(SectorNumber, State)], next: Option<SectorNumber>) -> Value {
    let used = BitField::from_ranges(&ranges(sectors));
    let above = sectors.iter().filter_map(|(number, _)| number.next()).max();
    // until the chain was asked, the lowest that seald did not use itself
    let next = next.or(above).map_or(0, SectorNumber::as_u64);
    json!({ "Reserved": BitField::from_ranges(&[]), "Allocated": used, "InUse": used, "Next": next })
}

/// Half-open, ascending, not touching.
fn ranges(sectors: &[(SectorNumber, State)]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in sectors.iter().map(|(number, _)| number.as_u64()) {
        match ranges.last_mut() {
            Some((_, end)) if *end == number => *end = number.saturating_add(1),
            Some(_) | None => ranges.push((number, number.saturating_add(1))),
        }
    }
    ranges
}

/// A sector's full name.
pub fn sector_id(miner: MinerId, number: SectorNumber) -> Value {
    json!({ "Miner": miner.as_u64(), "Number": number })
}
