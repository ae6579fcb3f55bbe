//! What a node may say, for a fuzzer: see [`crate::fuzz`].

use super::{
    ChainError, Client, Endpoint, Message, TipSet, cids, messages,
    params::{BatchReturn, CreateMinerReturn, SectorPreCommitInfo, TerminateSectorsReturn},
    presealed,
    rpc::Recorded,
    wire,
};
use crate::{
    error::Chain,
    outbox::{Gas, Sent},
    sector::MessageId,
    units::{AttoFil, Epoch, Hash32, MinerId, Multiaddr, PeerId, SectorNumber, SectorSize, from_hex, to_hex},
};
use futures_util::FutureExt as _;
use serde::{Serialize, de::DeserializeOwned};
use std::{collections::BTreeSet, fmt::Debug};

/// The longest text that an error may have: it goes into the log and the status as it is.
const LONGEST_ERROR: usize = 16 << 10;

/// The answer of a client that does not wait, since all it is told is at hand. `None` for an error.
fn now<T>(answer: impl Future<Output = Result<T, ChainError>>) -> Option<T> {
    let Some(answer) = answer.now_or_never() else { panic!("a call waits, and its answer is there") };
    answer.map_err(|error| short(&error)).ok()
}

fn short(error: &(dyn std::error::Error + 'static)) {
    let length = Chain(error).to_string().len();
    assert!(length <= LONGEST_ERROR, "an error of {length} bytes");
}

/// All of an answer: the envelope, and what is in it.
pub fn answers(bytes: &[u8]) {
    let client = |success| {
        let answer = Recorded::Body { bytes: bytes.to_vec(), success };
        let Ok(client) = Client::recorded(answer) else { panic!("a client needs no more") };
        client
    };
    now(client(true).head());
    now(client(true).network_version());
    now(client(true).default_address());
    // a question would be repeated after a pause; what changes something is not
    now(client(false).new_bls_address());
    if let Ok(frame) = serde_json::from_slice::<wire::Frame>(bytes) {
        assert!(frame.method.is_none_or(|method| method.len() <= bytes.len()));
    }
}

/// The result of a call, as the answer to every question there is.
pub fn results(bytes: &[u8]) {
    answered(bytes);
}

/// How many questions these bytes answer.
pub(crate) fn answered(bytes: &[u8]) -> usize {
    let Ok(client) = Client::recorded(Recorded::Result(bytes.to_vec())) else { panic!("a client needs no more") };
    let told = [node(&client), miner(&client), sectors(&client, bytes), outbox(&client)];
    told.iter().flatten().filter(|answered| **answered).count()
}

fn at() -> TipSet {
    TipSet { key: vec!["bafy".to_owned()], height: Epoch::new(1000), timestamp: 0, base_fee: AttoFil::ZERO }
}

fn node(client: &Client) -> Vec<bool> {
    let (at, id) = (at(), MinerId::new(1000));
    vec![
        now(client.version()).is_some(),
        now(client.network_params()).is_some(),
        now(client.network_version()).is_some(),
        now(client.head()).is_some(),
        now(client.finalized()).is_some(),
        now(client.ticket(id, Epoch::new(1), &at)).is_some(),
        now(client.seed(id, Epoch::new(1), &at)).is_some(),
        now(client.creation_deposit(&at)).is_some(),
        now(client.epoch_reward(&at)).is_some(),
    ]
}

fn miner(client: &Client) -> Vec<bool> {
    let (at, id) = (at(), MinerId::new(1000));
    vec![
        now(client.miner_info(id, &at)).is_some(),
        now(client.funds(id, &at)).is_some(),
        now(client.power(id, &at)).is_some(),
        now(client.sector_count(id, &at)).is_some(),
        now(client.proving_deadline(id, &at)).is_some(),
        now(client.market_balance(id, &at)).is_some(),
        now(client.deadlines(id, &at)).is_some(),
        now(client.partitions(id, 1, &at)).is_some(),
        now(client.initial_pledge(1, SectorSize::KiB2, &at)).is_some(),
    ]
}

fn sectors(client: &Client, bytes: &[u8]) -> Vec<bool> {
    let (at, id) = (at(), MinerId::new(1000));
    let Some(number) = SectorNumber::try_from(7).ok() else { panic!("7 is a sector number") };
    let info = SectorPreCommitInfo {
        seal_proof: 5,
        sector_number: 7,
        sealed_cid: cids::sealed(Hash32([7; 32])),
        seal_rand_epoch: 1,
        deal_ids: Vec::new(),
        expiration: 2,
        unsealed_cid: None,
    };
    let active = now(client.active_sectors(id, 1, &at));
    assert!(active.as_ref().is_none_or(|sectors| sectors.len() <= bytes.len()));
    let ends = now(client.expirations(id, &[number].into(), &at));
    assert!(ends.as_ref().is_none_or(|ends| ends.len() <= bytes.len()));
    let (allocated, faults) = (now(client.allocated(id, &at)), now(client.faults(id, &at)));
    for set in allocated.iter().chain(&faults) {
        // one that is not empty has a highest number, since the next sector's is one more
        assert_eq!(set.max().is_none(), set.ranges.is_empty());
        assert!(set.max().is_none_or(|last| set.contains(last) && last.next().is_none_or(|next| !set.contains(next))));
    }
    vec![
        active.is_some(),
        ends.is_some(),
        now(client.sector_terms(id, number, &at)).is_some(),
        now(client.ends(id, number, &at)).is_some(),
        now(client.deadlines(id, &at)).is_some(),
        now(client.partitions(id, 1, &at)).is_some(),
        allocated.is_some(),
        faults.is_some(),
        now(client.expirations(id, &[number].into(), &at)).is_some(),
        now(client.sector_terms(id, number, &at)).is_some(),
        now(client.ends(id, number, &at)).is_some(),
        now(client.precommit(id, number, &at)).is_some(),
        now(client.sector(id, number, &at)).is_some(),
        now(client.is_allocated(id, number, &at)).is_some(),
        now(client.precommit_deposit(id, &info, &at)).is_some(),
        now(client.sector_location(id, number, &at)).is_some(),
    ]
}

fn outbox(client: &Client) -> Vec<bool> {
    let at = at();
    let wallet = "t3qfoulel6fy6gn3hjmbhpdpf6fs5aqjb5fkurhtwvgssizq4jey5nw4ptq5up6h7jk7frdvvobv52qzmgjinq";
    let message = Message {
        from: wallet.to_owned(),
        to: "t01000".to_owned(),
        value: AttoFil::ZERO,
        method: 28,
        params: vec![1, 2, 3],
    };
    let gas = Gas { limit: 1, fee_cap: AttoFil::ZERO, premium: AttoFil::ZERO };
    let id = MessageId("5f3c7b1e-8d2a-4a6b-9c0d-1e2f3a4b5c6d".to_owned());
    let pushed = now(client.push(&message, &id, AttoFil::ZERO));
    if let Some(sent) = &pushed {
        // what was pushed is kept such that it can be handed over again
        assert!(sent.signed.is_some());
        now(client.resend(sent));
        now(client.replace(sent, gas));
    }
    let nothing =
        Sent { cid: "bafy".to_owned(), nonce: 0, gas, signed: None, replaced: Vec::new(), at: Epoch::default() };
    vec![
        pushed.is_some(),
        now(client.resend(&nothing)).is_some(),
        now(client.balance(wallet)).is_some(),
        now(client.default_address()).is_some(),
        now(client.new_bls_address()).is_some(),
        now(client.has_key(wallet)).is_some(),
        now(client.lookup_id(wallet, &at)).is_some(),
        now(client.account_key(wallet, &at)).is_some(),
        now(client.estimate(&message, AttoFil::ZERO, &at)).is_some(),
        now(client.pending_like(&message)).is_some(),
        now(client.search("bafy", &at)).is_some(),
        now(client.next_nonce(wallet)).is_some(),
        now(client.fate("bafy", wallet, Some(1), &at)).is_some(),
    ]
}

/// What decodes encodes back to the same.
fn json<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&value).ok().and_then(|text| serde_json::from_slice::<T>(&text).ok());
    assert_eq!(again.as_ref(), Some(&value), "it changes on its way");
}

/// Every shape of the node's JSON.
pub fn shapes(bytes: &[u8]) {
    json::<wire::Request<Vec<wire::CidJson>>>(bytes);
    json::<wire::Response<Option<String>>>(bytes);
    json::<wire::RpcError>(bytes);
    json::<wire::CidJson>(bytes);
    json::<wire::Blob>(bytes);
    json::<wire::TipSetKey>(bytes);
    json::<wire::TipSet>(bytes);
    json::<wire::BlockHeader>(bytes);
    json::<wire::Message>(bytes);
    json::<wire::MessageSendSpec>(bytes);
    json::<wire::Signature>(bytes);
    json::<wire::SignedMessage>(bytes);
    json::<wire::MessageReceipt>(bytes);
    json::<wire::MsgLookup>(bytes);
    json::<wire::MinerInfo>(bytes);
    json::<wire::SectorPreCommitInfo>(bytes);
    json::<wire::SectorPreCommitOnChainInfo>(bytes);
    json::<wire::SectorOnChainInfo>(bytes);
    json::<wire::NetworkParams>(bytes);
    json::<wire::Claim>(bytes);
    json::<wire::MinerPower>(bytes);
    json::<wire::MinerSectors>(bytes);
    json::<wire::ProvingDeadline>(bytes);
    json::<wire::SectorLocation>(bytes);
    json::<wire::MarketBalance>(bytes);
    json::<wire::ActorState<wire::MinerState>>(bytes);
    json::<wire::ActorState<wire::RewardState>>(bytes);
    json::<wire::Version>(bytes);
    json::<wire::BitField>(bytes);
    json::<wire::Deadline>(bytes);
    json::<wire::Partition>(bytes);
    json::<wire::SectorExpiration>(bytes);
    json::<wire::BeneficiaryTerm>(bytes);
    json::<wire::PendingBeneficiary>(bytes);
}

fn cbor<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = fvm_ipld_encoding::from_slice::<T>(bytes) else { return };
    let again = fvm_ipld_encoding::to_vec(&value).ok().and_then(|text| fvm_ipld_encoding::from_slice(&text).ok());
    assert_eq!(again.as_ref(), Some(&value), "it changes on its way");
}

/// Return values of messages.
pub fn returns(bytes: &[u8]) {
    cbor::<BatchReturn>(bytes);
    cbor::<CreateMinerReturn>(bytes);
    cbor::<TerminateSectorsReturn>(bytes);
    messages::decode_terminate(bytes).map_err(|error| short(&error)).ok();
    messages::decode_create_miner(bytes).map_err(|error| short(&error)).ok();
    for sectors in [0, 1, 2, 3, 4, 5, 819] {
        if let Ok(codes) = messages::decode_batch_return(bytes, sectors).map_err(|error| short(&error)) {
            assert_eq!(codes.len(), sectors);
        }
    }
}

/// Descriptions of sectors that were sealed for a genesis block.
pub fn pre_seals(bytes: &[u8]) {
    match presealed::read(bytes, MinerId::new(1000)) {
        Ok(found) => {
            let numbers: BTreeSet<_> = found.sectors.iter().map(|sector| sector.number).collect();
            assert_eq!(numbers.len(), found.sectors.len(), "a number twice");
            assert!(found.sectors.iter().all(|sector| sector.proof.sector_size() == found.sector_size));
        }
        Err(problems) => {
            assert!((1..=8).contains(&problems.len()), "{} problems", problems.len());
            assert!(problems.iter().all(|problem| problem.len() < 4_000), "a problem repeats what it is about");
        }
    }
}

/// Sets of sector numbers: a few bytes may name every number there is.
pub fn bit_fields(bytes: &[u8]) {
    let Ok(set) = serde_json::from_slice::<wire::BitField>(bytes) else { return };
    let Some(ranges) = set.to_ranges() else { return };
    assert_eq!(set.count(), Some(ranges.iter().map(|(start, end)| end - start).sum()), "another count");
    assert!(ranges.len() <= set.0.len(), "more ranges than runs");
    assert!(ranges.iter().all(|(start, end)| start < end), "an empty range");
    assert!(ranges.iter().zip(ranges.iter().skip(1)).all(|((_, end), (start, _))| end < start), "ranges that touch");
    assert_eq!(wire::BitField::from_ranges(&ranges).to_ranges(), Some(ranges), "it changes on its way");
}

/// How others reach a miner, as the chain keeps it.
pub fn contacts(bytes: &[u8]) {
    let address = Multiaddr::of_chain(bytes.to_vec());
    if let Ok(shown) = address.to_string().parse::<Multiaddr>() {
        assert_eq!(shown, address, "one address looks like another");
    }
    if let Some(id) = PeerId::from_bytes(bytes.to_vec()) {
        assert_eq!(id.to_string().parse().as_ref(), Ok(&id), "a peer id changes on its way");
    }
}

/// Texts that stand for something: addresses, CIDs, amounts, numbers, endpoints.
pub fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(address) = messages::parse_address(text) {
        // printed with the prefix of one network, whichever it was read with
        assert_eq!(messages::parse_address(&address.to_string()).as_ref().ok(), Some(&address));
    }
    if let Ok(cid) = cids::parse(text) {
        assert_eq!(cids::parse(&cid.to_string()), Ok(cid), "a CID changes on its way");
        assert!(cids::comm_r(&cid).is_ok_and(|hash| cids::sealed(hash) == cid) || cids::comm_r(&cid).is_err());
        assert!(cids::comm_d(&cid).is_ok_and(|hash| cids::unsealed(hash) == cid) || cids::comm_d(&cid).is_err());
    }
    if let Ok(amount) = AttoFil::try_from(text.to_owned()) {
        assert_eq!(AttoFil::try_from(String::from(amount)), Ok(amount));
        assert!(!amount.to_string().is_empty());
    }
    if let Ok(amount) = AttoFil::parse_fil(text) {
        assert!(amount >= AttoFil::ZERO, "{text:?} is negative");
    }
    if let Ok(miner) = text.parse::<MinerId>() {
        assert_eq!(miner.to_address().parse(), Ok(miner));
    }
    if let Ok(number) = text.parse::<SectorNumber>() {
        assert_eq!(number.to_string().parse(), Ok(number));
    }
    if let Ok(address) = text.parse::<Multiaddr>() {
        assert_eq!(address.to_string().parse().as_ref(), Ok(&address), "a multiaddress changes on its way");
    }
    if let Ok(id) = text.parse::<PeerId>() {
        assert_eq!(id.to_string(), text);
    }
    if let Some(found) = from_hex(text) {
        assert_eq!(from_hex(&to_hex(&found)), Some(found));
    }
    let endpoint = Endpoint { url: text.to_owned(), token: None };
    if let Ok(url) = endpoint.to_url() {
        assert!(url.has_host() && url.password().is_none(), "{url}");
    }
}
