//! Questions about the node, its tipsets and its randomness.

use super::{Answer, Question, error, key_of, refuse, show, with};
use crate::{
    chain::wire::{Blob, BlockHeader, NetworkParams, TipSet, TipSetKey, Version},
    devnet::{address, chain::FINALITY_LAG, node::View},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

/// Version 2.3.0 of the API: what clients of `/rpc/v1` compare. Source: lotus-full-node-api 3b.
const API_VERSION: u32 = 131_840;
const NETWORK_VERSION: u32 = 28;

/// Answers a method of this group; `None` when it is not one.
pub fn answer(method: &str, q: &Question) -> Option<Answer> {
    let chain = &q.view.chain;
    Some(match method {
        "Version" => q.params.none().and_then(|()| {
            let (version, agent) = (format!("seald-devnet+{}", env!("CARGO_PKG_VERSION")), "seald devnet".to_owned());
            show(&Version { version, api_version: API_VERSION, block_delay: block_delay(&q.view), agent })
        }),
        "AuthVerify" => q.params.read::<(String,)>(1).and_then(|_| show(&["read", "write", "sign", "admin"])),
        "StateNetworkName" => q.params.none().map(|()| Value::from(chain.name.clone())),
        "StateNetworkVersion" => {
            q.params.read(1).and_then(|(key,)| q.height(&key)).map(|_| Value::from(NETWORK_VERSION))
        }
        "StateGetNetworkParams" => q.params.none().and_then(|()| network_params(&q.view)),
        "SyncState" => q.params.none().map(|()| json!({ "ActiveSyncs": [], "VMApplied": 0 })),
        "ChainHead" => q.params.none().and_then(|()| tipset(&q.view, chain.head)),
        "ChainGetGenesis" => q.params.none().and_then(|()| tipset(&q.view, 0)),
        "ChainGetFinalizedTipSet" => {
            q.params.none().and_then(|()| tipset(&q.view, chain.head.saturating_sub(FINALITY_LAG).max(0)))
        }
        "ChainGetTipSet" => {
            q.params.read(1).and_then(|(key,)| q.height(&key)).and_then(|height| tipset(&q.view, height))
        }
        // there are no null rounds: the nearest tipset is always the one at the height
        "ChainGetTipSetByHeight" | "ChainGetTipSetAfterHeight" => by_height(q),
        "StateGetRandomnessFromTickets" => randomness(q, Source::Tickets),
        "StateGetRandomnessFromBeacon" => randomness(q, Source::Beacon),
        _ => return None,
    })
}

/// Seconds between epochs, rounded up: clients count in whole seconds.
fn block_delay(view: &View) -> u64 {
    view.chain.epoch_ms.div_ceil(1000)
}

fn network_params(view: &View) -> Answer {
    let params = NetworkParams {
        network_name: view.chain.name.clone(),
        block_delay_secs: block_delay(view),
        consensus_miner_min_power: 2048,
        pre_commit_challenge_delay: view.chain.challenge_delay,
    };
    let genesis = view.chain.time_ms(0).div_euclid(1000);
    with(&params, json!({ "ForkUpgradeParams": {}, "Eip155ChainID": 31_415_926, "GenesisTimestamp": genesis }))
}

fn by_height(q: &Question) -> Answer {
    let (height, key): (i64, TipSetKey) = q.params.read(2)?;
    let from = q.height(&key)?;
    if height > from {
        return refuse("looking for tipset with height greater than start point");
    }
    tipset(&q.view, height.max(0))
}

/// A tipset of one block, with all the fields of a Lotus header.
pub fn tipset(view: &View, height: i64) -> Answer {
    let chain = &view.chain;
    let parents = if height > 0 { key_of(view, height.saturating_sub(1)) } else { TipSetKey::default() };
    let header = BlockHeader {
        miner: address::id(1000),
        parents,
        parent_weight: height.to_string(),
        height,
        timestamp: u64::try_from(chain.time_ms(height).div_euclid(1000)).unwrap_or(0),
        parent_base_fee: chain.base_fee(height),
    };
    let blob = |bytes: &[u8]| STANDARD.encode(bytes);
    let object = |what: &str| json!({ "/": address::cbor_cid(format!("{what} of {height}").as_bytes()) });
    let signature = json!({ "Type": 2, "Data": blob(&[0; 96]) });
    let block = with(
        &header,
        json!({
            "Ticket": { "VRFProof": blob(&chain.randomness.ticket(height)) },
            "ElectionProof": { "WinCount": 1, "VRFProof": blob(&[0; 96]) },
            "BeaconEntries": [{ "Round": height, "Data": blob(&chain.randomness.beacon(height)) }],
            "WinPoStProof": null,
            "ParentStateRoot": object("state"),
            "ParentMessageReceipts": object("receipts"),
            "Messages": object("messages"),
            "BLSAggregate": signature,
            "BlockSig": signature,
            "ForkSignaling": 0,
        }),
    )?;
    with(&TipSet { cids: key_of(view, height), blocks: Vec::new(), height }, json!({ "Blocks": [block] }))
}

#[derive(Clone, Copy)]
enum Source {
    Tickets,
    Beacon,
}

fn randomness(q: &Question, source: Source) -> Answer {
    let (domain, epoch, entropy, key): (i64, i64, Blob, TipSetKey) = q.params.read(4)?;
    if epoch > q.height(&key)? {
        return Err(error(super::code::APPLICATION, "cannot draw randomness from the future"));
    }
    let random = &q.view.chain.randomness;
    let drawn = match source {
        Source::Tickets => random.from_tickets(domain, epoch, &entropy.0),
        Source::Beacon => random.from_beacon(domain, epoch, &entropy.0),
    };
    show(&Blob(drawn.0.to_vec()))
}
