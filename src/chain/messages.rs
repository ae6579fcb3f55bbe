//! The messages the daemon sends, and what their return values say. Pure: builds and reads bytes, sends nothing.

use super::{
    ChainError, Message,
    params::{
        BatchReturn, ChangeMultiaddrsParams, ChangePeerIdParams, CreateMinerParams, CreateMinerReturn,
        PreCommitSectorBatchParams2, ProveCommitSectors3Params, SectorActivationManifest, SectorPreCommitInfo,
        TerminateSectorsParams, TerminateSectorsReturn, TerminationDeclaration, method,
    },
};
use crate::units::{AttoFil, MinerId, Multiaddr, PeerId, SectorNumber, SectorSize};
use fvm_ipld_bitfield::BitField;
use fvm_ipld_encoding::{BytesDe, RawBytes, from_slice, to_vec};
use fvm_shared::address::{Address, Network, Protocol};
use serde::Serialize;
use std::ops::RangeInclusive;

/// The power actor. Source: lotus-full-node-api 5.
const POWER_ACTOR: &str = "t04";

/// Parameters of a message stay below this many bytes, so that the signed message stays below 64 KiB.
/// Source: lotus-full-node-api 3.0.
const MAX_PARAMS: usize = 65_408;

/// Sectors of one aggregate. Source: lotus-full-node-api 5.
pub const AGGREGATED_SECTORS: RangeInclusive<usize> = 4..=819;

/// The network's number of the aggregation that it takes. Source: the same.
pub const SNARK_PACK_V2: i64 = 1;

/// Who a new miner belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewMiner<'a> {
    /// Pays and sends.
    pub from: &'a str,
    /// Owner account, known on chain.
    pub owner: &'a str,
    /// Worker account, BLS, known on chain.
    pub worker: &'a str,
    /// Size of its sectors, for good.
    pub sector_size: SectorSize,
    /// Its libp2p identity, if it is to have one from the beginning.
    pub peer_id: Option<&'a PeerId>,
    /// Where it is reached.
    pub multiaddrs: &'a [Multiaddr],
}

/// CreateMiner. `value` is the creation deposit with a margin; anything above it is the new miner's to use.
///
/// # Errors
/// [`ChainError::Invalid`] for a text that is not an address.
pub fn create_miner_message(miner: &NewMiner<'_>, value: AttoFil) -> Result<Message, ChainError> {
    let params = CreateMinerParams {
        owner: parse_address(miner.owner)?,
        worker: parse_address(miner.worker)?,
        window_post_proof_type: miner.sector_size.window_post_proof(),
        peer: miner.peer_id.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
        multiaddrs: raw(miner.multiaddrs),
    };
    Ok(Message {
        from: miner.from.to_owned(),
        to: POWER_ACTOR.to_owned(),
        value,
        method: method::CREATE_MINER,
        params: encode(&params)?,
    })
}

fn raw(addresses: &[Multiaddr]) -> Vec<BytesDe> {
    addresses.iter().map(|address| BytesDe(address.as_bytes().to_vec())).collect()
}

/// Nothing, to an address: makes it an account on chain.
pub fn new_account_message(from: &str, to: &str) -> Message {
    let (from, to) = (from.to_owned(), to.to_owned());
    Message { from, to, value: AttoFil::ZERO, method: method::SEND, params: Vec::new() }
}

/// ChangePeerID.
///
/// # Errors
/// [`ChainError::Invalid`] when it does not encode.
pub fn change_peer_id_message(miner: MinerId, from: &str, id: &PeerId) -> Result<Message, ChainError> {
    let params = encode(&ChangePeerIdParams { new_id: id.as_bytes().to_vec() })?;
    let (from, to) = (from.to_owned(), miner.to_address());
    Ok(Message { from, to, value: AttoFil::ZERO, method: method::CHANGE_PEER_ID, params })
}

/// ChangeMultiaddrs: these take the place of all that the chain has.
///
/// # Errors
/// [`ChainError::Invalid`] when it does not encode.
pub fn change_multiaddrs_message(miner: MinerId, from: &str, addresses: &[Multiaddr]) -> Result<Message, ChainError> {
    let params = encode(&ChangeMultiaddrsParams { new_multiaddrs: raw(addresses) })?;
    let (from, to) = (from.to_owned(), miner.to_address());
    Ok(Message { from, to, value: AttoFil::ZERO, method: method::CHANGE_MULTIADDRS, params })
}

/// PreCommitSectorBatch2: one wrong sector fails them all. `value` is the deposit, or less when the miner's own
/// balance covers the rest.
///
/// # Errors
/// [`ChainError::Invalid`] when it would not fit a message.
pub fn precommit_message(
    miner: MinerId,
    from: &str,
    value: AttoFil,
    sectors: Vec<SectorPreCommitInfo>,
) -> Result<Message, ChainError> {
    Ok(Message {
        from: from.to_owned(),
        to: miner.to_address(),
        value,
        method: method::PRE_COMMIT_SECTOR_BATCH2,
        params: encode(&PreCommitSectorBatchParams2 { sectors })?,
    })
}

/// ProveCommitSectors3 with one proof per sector: each sector stands or falls alone, see [`decode_batch_return`].
/// `value` is what pledge is missing beyond the deposits.
///
/// # Errors
/// [`ChainError::Invalid`] when it would not fit a message.
pub fn commit_message(
    miner: MinerId,
    from: &str,
    value: AttoFil,
    proofs: Vec<(SectorNumber, Vec<u8>)>,
) -> Result<Message, ChainError> {
    let (sector_activations, sector_proofs) = proofs
        .into_iter()
        .map(|(number, proof)| {
            (SectorActivationManifest { sector_number: number.as_u64(), pieces: Vec::new() }, RawBytes::new(proof))
        })
        .unzip();
    let params = ProveCommitSectors3Params {
        sector_activations,
        sector_proofs,
        aggregate_proof: RawBytes::default(),
        aggregate_proof_type: None,
        require_activation_success: false,
        require_notification_success: false,
    };
    Ok(Message {
        from: from.to_owned(),
        to: miner.to_address(),
        value,
        method: method::PROVE_COMMIT_SECTORS3,
        params: encode(&params)?,
    })
}

/// ProveCommitSectors3 with one proof of all: it stands or falls with the proof, and a sector that comes too late falls
/// alone, see [`decode_batch_return`]. The sectors are in ascending order, the order in which they were aggregated.
/// `value` is what pledge is missing beyond the deposits.
///
/// # Errors
/// [`ChainError::Invalid`] when the sectors are too few, too many or not ascending, or it would not fit a message.
pub fn aggregate_commit_message(
    miner: MinerId,
    from: &str,
    value: AttoFil,
    sectors: &[SectorNumber],
    aggregate: Vec<u8>,
) -> Result<Message, ChainError> {
    if !AGGREGATED_SECTORS.contains(&sectors.len()) || !sectors.is_sorted_by(|a, b| a < b) {
        return Err(ChainError::Invalid {
            what: format!(
                "an aggregate is of {} to {} sectors in ascending order, not of these {}: send their proofs one by one",
                AGGREGATED_SECTORS.start(),
                AGGREGATED_SECTORS.end(),
                sectors.len()
            ),
        });
    }
    let activation =
        |number: &SectorNumber| SectorActivationManifest { sector_number: number.as_u64(), pieces: vec![] };
    let params = ProveCommitSectors3Params {
        sector_activations: sectors.iter().map(activation).collect(),
        sector_proofs: Vec::new(),
        aggregate_proof: RawBytes::new(aggregate),
        aggregate_proof_type: Some(SNARK_PACK_V2),
        require_activation_success: false,
        require_notification_success: false,
    };
    Ok(Message {
        from: from.to_owned(),
        to: miner.to_address(),
        value,
        method: method::PROVE_COMMIT_SECTORS3,
        params: encode(&params)?,
    })
}

/// TerminateSectors: ends sectors for good, by deadline and partition. The actor takes none of a deadline that is open
/// or next. It brings no funds: the fee is paid from the pledge that it frees.
///
/// # Errors
/// [`ChainError::Invalid`] for a partition without sectors, and when it would not fit a message.
pub fn terminate_message(
    miner: MinerId,
    from: &str,
    sectors: Vec<(u64, u64, Vec<SectorNumber>)>,
) -> Result<Message, ChainError> {
    let declaration = |(deadline, partition, numbers): (u64, u64, Vec<SectorNumber>)| {
        let sectors = BitField::try_from_bits(numbers.iter().map(|number| number.as_u64())).ok();
        match sectors.filter(|sectors| !sectors.is_empty()) {
            Some(sectors) => Ok(TerminationDeclaration { deadline, partition, sectors }),
            None => Err(ChainError::Invalid {
                what: format!("deadline {deadline}, partition {partition}: name the sectors to terminate"),
            }),
        }
    };
    let terminations = sectors.into_iter().map(declaration).collect::<Result<_, _>>()?;
    Ok(Message {
        from: from.to_owned(),
        to: miner.to_address(),
        value: AttoFil::ZERO,
        method: method::TERMINATE_SECTORS,
        params: encode(&TerminateSectorsParams { terminations })?,
    })
}

/// Whether a TerminateSectors message left nothing to do; if not, it is sent again without sectors.
///
/// # Errors
/// [`ChainError::Malformed`] when `value` is not its return value.
pub fn decode_terminate(value: &[u8]) -> Result<bool, ChainError> {
    let TerminateSectorsReturn { done } =
        from_slice(value).map_err(|e| ChainError::malformed("TerminateSectors", e))?;
    Ok(done)
}

/// The miner a CreateMiner message made.
///
/// # Errors
/// [`ChainError::Malformed`] when `value` is not its return value.
pub fn decode_create_miner(value: &[u8]) -> Result<MinerId, ChainError> {
    let made: CreateMinerReturn = from_slice(value).map_err(|e| ChainError::malformed("CreateMiner", e))?;
    let id = made.id_address.id().map_err(|e| ChainError::malformed("CreateMiner", e))?;
    Ok(MinerId::new(id))
}

/// The exit code of each of the `sectors` a prove-commit message carried, in the order of its parameters; 0 is
/// success. For a message that executed with exit code 0.
///
/// # Errors
/// [`ChainError::Malformed`] when `value` is not the outcome of that many sectors.
pub fn decode_batch_return(value: &[u8], sectors: usize) -> Result<Vec<i64>, ChainError> {
    let wrong = |why: String| ChainError::malformed("ProveCommitSectors3", why);
    let BatchReturn { success_count, fail_codes } = from_slice(value).map_err(|e| wrong(e.to_string()))?;
    let mut codes = vec![0i64; sectors];
    for failed in &fail_codes {
        let code = usize::try_from(failed.idx).ok().and_then(|at| codes.get_mut(at));
        *code.ok_or_else(|| wrong(format!("it names position {} of {sectors}", failed.idx)))? = failed.code.into();
    }
    // a position named twice or a failure with code 0 does not add up
    let succeeded = codes.iter().filter(|code| **code == 0).count();
    if usize::try_from(success_count) == Ok(succeeded) && succeeded.saturating_add(fail_codes.len()) == sectors {
        Ok(codes)
    } else {
        Err(wrong(format!("it counts {success_count} successes and {} failures of {sectors}", fail_codes.len())))
    }
}

/// An address as text, of either network prefix.
///
/// # Errors
/// [`ChainError::Invalid`] for anything else.
pub fn parse_address(text: &str) -> Result<Address, ChainError> {
    let network = if text.starts_with('f') { Network::Mainnet } else { Network::Testnet };
    network.parse_address(text).map_err(|why| ChainError::Invalid {
        what: format!("{text:?} is not an address such as f01000 or f3…: {why}"),
    })
}

/// Whether an address is that of a BLS key.
///
/// # Errors
/// [`ChainError::Invalid`] for what is no address.
pub fn is_bls(text: &str) -> Result<bool, ChainError> {
    Ok(parse_address(text)?.protocol() == Protocol::BLS)
}

/// Whether this is an id address rather than a key's or an actor's lasting one.
pub(super) fn is_id(address: &Address) -> bool {
    address.protocol() == Protocol::ID
}

fn encode<T: Serialize>(params: &T) -> Result<Vec<u8>, ChainError> {
    let bytes = to_vec(params)
        .map_err(|why| ChainError::Invalid { what: format!("message parameters do not encode: {why}") })?;
    if bytes.len() > MAX_PARAMS {
        return Err(ChainError::Invalid {
            what: format!(
                "message parameters of {} bytes do not fit a message ({MAX_PARAMS} bytes): send fewer sectors in it",
                bytes.len()
            ),
        });
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
