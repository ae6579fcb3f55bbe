//! `[miner]`: which actor this is, where it comes from, how it is reached and who sends its messages.
//!
//! The text alone is judged here. Whether a sender is an account of the actor, and its key in the node's wallet, only
//! the chain and the node can say.

use super::{
    model::{Account, Identity, Miner, Senders},
    problems::Key,
    raw,
    reader::Reader,
    resolve::optional,
    values,
};
use crate::units::{MinerId, Multiaddr, PeerId, SectorSize};
use fvm_shared::address::Protocol;
use std::str::FromStr;

/// `[miner]`; `None` when something in it is wrong.
pub fn miner(reader: &mut Reader<'_>, raw: raw::RawMiner) -> Option<Miner> {
    let raw::RawMiner { sector_size, actor, create, genesis, peer_id, multiaddrs, senders } = raw;
    let at = Key::of("miner");
    let key = at.name("sector_size");
    let words = SectorSize::ALL.map(|size| (size.to_string(), size));
    let words = words.each_ref().map(|(word, size)| (word.as_str(), *size));
    let sector_size = reader.required(&key, sector_size, &words.map(|(word, _)| word).join(" "));
    let sector_size = sector_size.and_then(|text| reader.word(&key, &text.0, "a sector size", &words));

    let given = [actor.is_some(), create.is_some(), genesis.is_some()];
    let ways = ["actor", "create", "genesis"].map(|way| at.name(way));
    let one_of = "exactly one of actor, create and genesis";
    let identity = match (actor, create, genesis) {
        (Some(actor), None, None) => reader.parse(&at.name("actor"), &actor.0, MinerId::from_str).map(Identity::Attach),
        (None, Some(raw), None) => created(reader, &at.name("create"), raw),
        (None, None, Some(raw)) => genesis_actor(reader, &at.name("genesis"), raw),
        (None, None, None) => {
            if !ways.iter().any(|way| reader.is_dealt_with(way)) {
                let problem = reader.about_table(&at, "does not say where the actor comes from").accepted(one_of);
                reader.refuse(&at.name("actor"), problem);
            }
            None
        }
        (_, _, _) => {
            let second = ways.iter().zip(given).filter(|(_, given)| *given).map(|(way, _)| way).nth(1);
            if let Some(way) = second {
                let problem = reader.about_table(way, "is one answer too many").accepted(one_of);
                reader.refuse(way, problem);
            }
            None
        }
    };
    let peer_id = optional(reader, &at.name("peer_id"), peer_id, PeerId::from_str);
    let multiaddrs = multiaddrs.map(|texts| addresses(reader, &at.name("multiaddrs"), &texts));
    let senders = senders_of(reader, &at.name("senders"), senders.unwrap_or_default());
    Some(Miner {
        sector_size: sector_size?,
        identity: identity?,
        peer_id: peer_id?,
        multiaddrs: match multiaddrs {
            Some(addresses) => Some(addresses?),
            None => None,
        },
        senders: senders?,
    })
}

fn addresses(reader: &mut Reader<'_>, at: &Key, texts: &[String]) -> Option<Vec<Multiaddr>> {
    // the miner actor's own bound on all of them. Source: lotus-full-node-api 6
    const MOST: usize = 1024;
    let read = texts.iter().enumerate().map(|(index, text)| reader.parse(&at.item(index), text, Multiaddr::from_str));
    // all of them, so that each wrong one is named
    let read: Vec<Option<Multiaddr>> = read.collect();
    let addresses: Vec<Multiaddr> = read.into_iter().collect::<Option<_>>()?;
    if addresses.iter().map(|address| address.as_bytes().len()).sum::<usize>() > MOST {
        let problem = reader.about(at, "are too long for the chain").accepted(format!("{MOST} bytes in all"));
        reader.refuse(at, problem);
        return None;
    }
    Some(addresses)
}

fn senders_of(reader: &mut Reader<'_>, at: &Key, raw: raw::RawSenders) -> Option<Senders> {
    let raw::RawSenders { precommit, commit, terminate } = raw;
    let mut list = |name: &str, texts: Option<Vec<String>>| {
        let key = at.name(name);
        let texts = texts.unwrap_or_default();
        let read = texts.iter().enumerate().map(|(index, text)| {
            let (address, _) = reader.parse(&key.item(index), text, values::parse_sender)?;
            Some(address)
        });
        let read: Vec<Option<String>> = read.collect();
        read.into_iter().collect::<Option<Vec<_>>>()
    };
    let (precommit, commit, terminate) =
        (list("precommit", precommit), list("commit", commit), list("terminate", terminate));
    Some(Senders { precommit: precommit?, commit: commit?, terminate: terminate? })
}

fn created(reader: &mut Reader<'_>, at: &Key, raw: raw::RawCreate) -> Option<Identity> {
    let raw::RawCreate { owner, worker } = raw;
    let accepted = "default, or an address f0…, f1…, f3…";
    let key = at.name("owner");
    let owner = reader.required(&key, owner, accepted);
    let owner = owner.and_then(|text| match text.0.as_str() {
        "default" => Some(Account::Default),
        "new" => {
            let problem = reader.about(&key, "is for the worker only: the owner's key is yours to keep");
            reader.refuse(&key, problem.accepted(accepted));
            None
        }
        address => {
            let (address, _) = reader.parse(&key, address, values::parse_address)?;
            Some(Account::Address(address))
        }
    });
    let accepted = "default, new, or a BLS address f3… (or its f0…)";
    let key = at.name("worker");
    let worker = reader.required(&key, worker, accepted);
    let worker = worker.and_then(|text| match text.0.as_str() {
        "default" => Some(Account::Default),
        "new" => Some(Account::New),
        address => {
            let (address, protocol) = reader.parse(&key, address, values::parse_address)?;
            if protocol == Protocol::Secp256k1 {
                let problem = reader.about(&key, "cannot be a worker: the network wants a BLS key").accepted(accepted);
                reader.refuse(&key, problem);
                return None;
            }
            Some(Account::Address(address))
        }
    });
    Some(Identity::Create { owner: owner?, worker: worker? })
}

fn genesis_actor(reader: &mut Reader<'_>, at: &Key, raw: raw::RawGenesis) -> Option<Identity> {
    let raw::RawGenesis { actor, presealed, metadata } = raw;
    let key = at.name("actor");
    let actor = reader.required(&key, actor, "an actor id address such as t01000");
    let actor = actor.and_then(|text| reader.parse(&key, &text.0, MinerId::from_str));
    let key = at.name("presealed");
    let folders = reader.required(&key, presealed, "a list of folders");
    let presealed = folders.and_then(|folders| {
        folders.iter().enumerate().map(|(index, text)| reader.path(&key.item(index), text)).collect()
    });
    let key = at.name("metadata");
    let metadata = reader.required(&key, metadata, "the path of the JSON file that the pre-seal tool wrote");
    let metadata = metadata.and_then(|text| reader.path(&key, &text));
    Some(Identity::Genesis { actor: actor?, presealed: presealed?, metadata: metadata? })
}
