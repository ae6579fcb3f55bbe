//! From the raw sections to the manifest's values: words, units, bounds, and what must or must not stand together
//! within one section. What sections claim from each other is `conflicts`.

use super::{
    equipment::{repos, slots},
    identity::miner,
    model::{
        Api, Batch, BatchRule, Chain, ChainSource, Control, Endpoint, Fees, Launcher, Manifest, Miner, Node, Params,
        Pledge, Repo, Slot, State, Task, Workers,
    },
    problems::{Key, Setting},
    raw,
    reader::Reader,
    values::{self, DatabaseUrl, parse_amount, parse_duration},
};
use crate::units::{BadUnit, Bytes, RepoName, SectorSize, SlotName};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    str::FromStr,
};

/// The sections, each `None` when something in it is wrong. Repos and slots that are wrong are left out.
pub struct Sections {
    /// `[miner]`
    pub miner: Option<Miner>,
    /// `[chain]`
    pub chain: Option<Chain>,
    /// `[state]`
    pub state: Option<State>,
    /// `[repo.NAME]`
    pub repos: BTreeMap<RepoName, Repo>,
    /// The roles of all repos, of wrong ones too.
    pub roles: BTreeSet<String>,
    /// `[slot.NAME]`
    pub slots: BTreeMap<SlotName, Slot>,
    /// The tasks of all slots, of wrong ones too.
    pub tasks: BTreeSet<Task>,
    /// `[pledge]`
    pub pledge: Option<Pledge>,
    /// `[fees]`
    pub fees: Option<Fees>,
    /// `[batch]`
    pub batch: Option<Batch>,
    /// `[node]`, when there is one.
    pub node: Option<Option<Node>>,
    /// `[params]`
    pub params: Option<Params>,
    /// `[workers]`
    pub workers: Option<Workers>,
    /// `[control]`
    pub control: Option<Control>,
}

impl Sections {
    /// Resolves every section.
    pub fn new(reader: &mut Reader<'_>, raw: raw::RawManifest) -> Self {
        let miner = miner(reader, raw.miner.unwrap_or_default());
        let size = miner.as_ref().map(|miner| miner.sector_size);
        let (repos, roles) = repos(reader, raw.repo.unwrap_or_default());
        let (slots, tasks) = slots(reader, raw.slot.unwrap_or_default());
        Self {
            chain: chain(reader, raw.chain.unwrap_or_default()),
            state: state(reader, raw.state.unwrap_or_default()),
            repos,
            roles,
            slots,
            tasks,
            pledge: pledge(reader, raw.pledge.unwrap_or_default(), size),
            fees: fees(reader, raw.fees.unwrap_or_default()),
            batch: batch(reader, raw.batch.unwrap_or_default()),
            node: node(reader, raw.node),
            params: params(reader, raw.params.unwrap_or_default()),
            workers: workers(reader, raw.workers.unwrap_or_default()),
            control: control(reader, raw.control.unwrap_or_default()),
            miner,
        }
    }

    /// The manifest; `None` when a section is wrong.
    pub fn into_manifest(self, files: Vec<PathBuf>) -> Option<Manifest> {
        let Self {
            miner,
            chain,
            state,
            repos,
            slots,
            pledge,
            fees,
            batch,
            node,
            params,
            workers,
            control,
            roles: _,
            tasks: _,
        } = self;
        Some(Manifest {
            files,
            miner: miner?,
            chain: chain?,
            state: state?,
            repos,
            slots,
            pledge: pledge?,
            fees: fees?,
            batch: batch?,
            node: node?,
            params: params?,
            workers: workers?,
            control: control?,
        })
    }
}

fn chain(reader: &mut Reader<'_>, raw: raw::RawChain) -> Option<Chain> {
    // an epoch is final after 900; waiting longer than that for a message means something else was meant
    const FINALITY: i64 = 900;
    let raw::RawChain { endpoints, devnet, message_confidence, seed_confidence } = raw;
    let at = Key::of("chain");
    let mut confidence =
        |name: &str, value: Option<i64>| value.and_then(|value| reader.within(&at.name(name), value, 0, FINALITY));
    let message_confidence = confidence("message_confidence", message_confidence);
    let seed_confidence = confidence("seed_confidence", seed_confidence);
    let key = at.name("endpoints");
    let either = "either endpoints or devnet = true";
    let source = match (endpoints, devnet) {
        (Some(_), Some(true)) => {
            let problem = reader.about_table(&at.name("devnet"), "cannot stand beside endpoints").accepted(either);
            reader.refuse(&at.name("devnet"), problem);
            None
        }
        (None, Some(true)) => Some(ChainSource::Devnet),
        (Some(list), _) if !list.is_empty() => {
            let all: Vec<_> =
                list.into_iter().enumerate().map(|(index, raw)| endpoint(reader, &key.item(index), raw)).collect();
            all.into_iter().collect::<Option<Vec<_>>>().map(ChainSource::Endpoints)
        }
        (_, _) => {
            if !reader.is_dealt_with(&key) && !reader.is_dealt_with(&at.name("devnet")) {
                let problem = reader.about_table(&at, "does not say where the chain is").accepted(either);
                reader.refuse(&key, problem);
            }
            None
        }
    };
    Some(Chain { source: source?, message_confidence: message_confidence?, seed_confidence: seed_confidence? })
}

fn endpoint(reader: &mut Reader<'_>, at: &Key, raw: raw::RawEndpoint) -> Option<Endpoint> {
    let raw::RawEndpoint { url, token_file } = raw;
    let key = at.name("url");
    let accepted = "http://, https://, ws:// or wss:// with HOST:PORT/PATH, such as ws://127.0.0.1:1234/rpc/v1";
    let url = reader.required(&key, url, accepted);
    let url = url.and_then(|url| node_url(reader, &key, url, accepted));
    let key = at.name("token_file");
    let token_file = match token_file {
        Some(text) => Some(reader.path(&key, &text)?),
        None => None,
    };
    Some(Endpoint { url: url?, token_file })
}

fn node_url(reader: &mut Reader<'_>, key: &Key, url: String, accepted: &str) -> Option<String> {
    if values::node_host(&url).is_none() {
        let problem = reader.about(key, "is not the address of a node").accepted(accepted);
        reader.refuse(key, problem);
        return None;
    }
    Some(url)
}

fn http(reader: &mut Reader<'_>, key: &Key, url: String, accepted: &str) -> Option<String> {
    if values::http_host(&url).is_none() {
        let problem = reader.about(key, "is not an HTTP address").accepted(accepted);
        reader.refuse(key, problem);
        return None;
    }
    Some(url)
}

fn state(reader: &mut Reader<'_>, raw: raw::RawState) -> Option<State> {
    let raw::RawState { dir, url } = raw;
    let at = Key::of("state");
    let dir = dir.and_then(|text| reader.path(&at.name("dir"), &text));
    let key = at.name("url");
    let cwd = reader.cwd();
    let url = match (url, &dir) {
        (Some(text), _) => {
            let path = text.strip_prefix("sqlite:").map(|path| path.strip_prefix("//").unwrap_or(path));
            let placed = path.filter(|path| !path.is_empty()).is_none_or(|path| reader.is_placed(&key, path));
            let url = placed.then(|| reader.parse(&key, &text, |text| DatabaseUrl::parse(text, cwd)));
            url.flatten()
        }
        (None, Some(dir)) => {
            let url = DatabaseUrl::sqlite(&dir.join("seald.db"));
            let origin = reader.origin(&at.name("dir"))?;
            reader.derived.insert(key.to_string(), Setting { value: format!("{:?}", url.as_str()), origin });
            Some(url)
        }
        (None, None) => None,
    };
    Some(State { dir: dir?, url: url? })
}

/// A value that may be absent: `Some(None)` then, `None` when it is wrong.
pub fn optional<T>(
    reader: &mut Reader<'_>,
    key: &Key,
    text: Option<raw::Text>,
    parse: impl Fn(&str) -> Result<T, BadUnit>,
) -> Option<Option<T>> {
    match text {
        Some(text) => reader.parse(key, &text.0, parse).map(Some),
        None => Some(None),
    }
}

fn pledge(reader: &mut Reader<'_>, raw: raw::RawPledge, size: Option<SectorSize>) -> Option<Pledge> {
    const EPOCH_SECONDS: u64 = 30;
    const DAY: u64 = 86_400;
    // more than any site has sealed at once; with none in flight nothing would ever be sealed
    const MOST_IN_FLIGHT: u64 = 10_000;
    let raw::RawPledge { sectors, power, max_in_flight, lifetime } = raw;
    let at = Key::of("pledge");
    let one_of = "sectors = NUMBER or power = SIZE, one of them";
    let key = at.name("power");
    let power = optional(reader, &key, power, Bytes::from_str);
    let sectors = match (sectors, power) {
        (Some(_), Some(Some(_))) => {
            let problem = reader.about_table(&key, "says the same as sectors").accepted(one_of);
            reader.refuse(&key, problem);
            None
        }
        (Some(sectors), _) => Some(sectors),
        (None, Some(Some(power))) => size.map(|size| sectors_of(reader, &key, power, size)),
        (None, Some(None)) => reader.required(&at.name("sectors"), None, one_of),
        (None, None) => None,
    };
    let key = at.name("max_in_flight");
    let max_in_flight = max_in_flight.and_then(|number| reader.within(&key, number, 1, MOST_IN_FLIGHT));
    let key = at.name("lifetime");
    let lifetime = lifetime.and_then(|text| reader.parse(&key, &text.0, parse_duration)).and_then(|lifetime| {
        // 180 days are the least from activation on, and a sector may activate up to 32 days after its pre-commit;
        // 1278 days are the most, less a margin of two days for the epochs that pass before it is on chain
        if (212 * DAY..=1276 * DAY).contains(&lifetime.as_secs()) {
            return lifetime.as_secs().checked_div(EPOCH_SECONDS).and_then(|epochs| i64::try_from(epochs).ok());
        }
        let problem = reader.about(&key, "is out of bounds").accepted("212d to 1276d");
        reader.refuse(&key, problem);
        None
    });
    Some(Pledge { sectors: sectors?, max_in_flight: max_in_flight?, lifetime_epochs: lifetime? })
}

fn sectors_of(reader: &mut Reader<'_>, key: &Key, power: Bytes, size: SectorSize) -> u64 {
    let sectors = power.as_u64().div_ceil(size.bytes().as_u64());
    if !power.as_u64().is_multiple_of(size.bytes().as_u64()) {
        let warning = reader.about(key, format!("is not a multiple of {size}: rounded up to {sectors} sectors"));
        reader.warnings.push(warning);
    }
    if let Some(origin) = reader.origin(key) {
        let derived = Setting { value: sectors.to_string(), origin };
        reader.derived.insert("pledge.sectors".to_owned(), derived);
    }
    sectors
}

fn fees(reader: &mut Reader<'_>, raw: raw::RawFees) -> Option<Fees> {
    let raw::RawFees { max_precommit, max_commit, base_fee_ceiling, deadline_margin, urgent_factor, replace_after } =
        raw;
    let at = Key::of("fees");
    let max_precommit = optional(reader, &at.name("max_precommit"), max_precommit, parse_amount);
    let max_commit = optional(reader, &at.name("max_commit"), max_commit, parse_amount);
    let base_fee_ceiling = optional(reader, &at.name("base_fee_ceiling"), base_fee_ceiling, parse_amount);
    let deadline_margin = optional(reader, &at.name("deadline_margin"), deadline_margin, parse_duration);
    let urgent_factor = urgent_factor.and_then(|factor| reader.within(&at.name("urgent_factor"), factor, 1, 1_000));
    let replace_after = optional(reader, &at.name("replace_after"), replace_after, parse_duration);
    Some(Fees {
        max_precommit: max_precommit??,
        max_commit: max_commit??,
        base_fee_ceiling: base_fee_ceiling?,
        deadline_margin: deadline_margin??,
        urgent_factor: u32::try_from(urgent_factor?).ok()?,
        replace_after: replace_after??,
    })
}

fn batch(reader: &mut Reader<'_>, raw: raw::RawBatch) -> Option<Batch> {
    // the miner actor's own bounds: sectors in one PreCommitSectorBatch2; in one ProveCommitSectors3 whose proofs are not
    // aggregated (its parameters must fit a message); and proofs in one aggregate
    const MOST_PRECOMMITS: u64 = 256;
    const MOST_COMMITS: u64 = 33;
    const AGGREGATES: (u64, u64) = (4, 819);
    let raw::RawBatch { precommit, commit, aggregate_from } = raw;
    let at = Key::of("batch.aggregate_from");
    let aggregate_from = match aggregate_from? {
        0 => None,
        from => Some(reader.within(&at, from, AGGREGATES.0, AGGREGATES.1)?),
    };
    let most_commits = if aggregate_from.is_some() { AGGREGATES.1 } else { MOST_COMMITS };
    let precommit = batch_rule(reader, "batch.precommit", precommit.unwrap_or_default(), MOST_PRECOMMITS);
    let commit = batch_rule(reader, "batch.commit", commit.unwrap_or_default(), most_commits);
    Some(Batch { precommit: precommit?, commit: commit?, aggregate_from })
}

fn batch_rule(reader: &mut Reader<'_>, at: &str, raw: raw::RawBatchRule, most: u64) -> Option<BatchRule> {
    let raw::RawBatchRule { max, wait } = raw;
    let at = Key::of(at);
    let max = max.and_then(|max| reader.within(&at.name("max"), max, 1, most));
    let wait = optional(reader, &at.name("wait"), wait, parse_duration);
    Some(BatchRule { max: max?, wait: wait?? })
}

fn node(reader: &mut Reader<'_>, raw: Option<raw::RawNode>) -> Option<Option<Node>> {
    let Some(raw::RawNode { address, api }) = raw else { return Some(None) };
    let words = Api::ALL.map(|api| (api.word(), api));
    let api = api.and_then(|text| reader.word(&Key::of("node.api"), &text.0, "what the API allows", &words));
    let key = Key::of("node.address");
    let accepted = "an IP address and a port, such as 10.0.0.2:3456";
    let address = reader.required(&key, address, accepted)?;
    match address.parse::<std::net::SocketAddr>() {
        Ok(address) if address.port() != 0 => Some(Some(Node { address, api: api? })),
        Ok(_) | Err(_) => {
            let problem = reader.about(&key, "is not an address to listen on").accepted(accepted);
            reader.refuse(&key, problem);
            None
        }
    }
}

fn control(reader: &mut Reader<'_>, raw: raw::RawControl) -> Option<Control> {
    let raw::RawControl { operator_group } = raw;
    let key = Key::of("control.operator_group");
    let operator_group = match operator_group {
        Some(name) => Some(reader.parse(&key, &name, values::parse_group)?),
        None => None,
    };
    Some(Control { operator_group })
}

fn params(reader: &mut Reader<'_>, raw: raw::RawParams) -> Option<Params> {
    let raw::RawParams { dir, mirror } = raw;
    let at = Key::of("params");
    let dir = dir.and_then(|text| reader.path(&at.name("dir"), &text));
    let mirror = match mirror {
        Some(url) => Some(http(reader, &at.name("mirror"), url, "http://HOST/PATH or https://…")?),
        None => None,
    };
    Some(Params { dir: dir?, mirror })
}

fn workers(reader: &mut Reader<'_>, raw: raw::RawWorkers) -> Option<Workers> {
    let raw::RawWorkers { launcher } = raw;
    let words = Launcher::ALL.map(|launcher| (launcher.word(), launcher));
    let launcher = reader.word(&Key::of("workers.launcher"), &launcher?.0, "a launcher", &words)?;
    Some(Workers { launcher })
}
