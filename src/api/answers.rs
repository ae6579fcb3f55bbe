//! What each method answers: a look at the newest facts, or a question to the daemon's [`Lookup`], or an order.

use super::{
    method::{Method, document},
    rpc::Fault,
    sectors,
    site::{Lookup, Repo, Site},
    storage,
    token::{Permission, Permissions, Secret},
    workers::{self, moment},
};
use crate::{
    control::{Ask, Refused, Request, ask},
    manifest::Api,
    status::{Alarm, Snapshot},
    units::{MinerId, SectorNumber, UnixMillis, sector_file_name},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::{Map, Value, json};
use std::{net::SocketAddr, num::NonZeroU64, sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, mpsc, watch},
    time::timeout,
};
use uuid::Uuid;

/// Version 1.5.0 of the API. Lotus's workers ask for exactly this one. Source: storage-miner-api 2.
const API_VERSION: u32 = 66_816;

/// Seconds of an epoch on every network but local ones, until the chain was asked.
const EPOCH_SECS: u64 = 30;

/// The network whose addresses begin with an f; those of all others begin with a t.
const MAINNET: &str = "mainnet";

/// How long a new sector may take to exist before whoever ordered it is told that it comes later.
const CREATED: Duration = Duration::from_secs(30);

/// What the API is answered with.
pub struct Desk {
    /// What tokens are signed with, or why there is nothing to.
    pub secret: Result<Secret, String>,
    /// The newest site; `None` before the first turn of the loop.
    pub site: watch::Receiver<Option<Arc<Site>>>,
    /// The newest snapshot.
    pub status: watch::Receiver<Arc<Snapshot>>,
    /// What must be looked up.
    pub lookup: Arc<dyn Lookup>,
    /// The queue of orders.
    pub requests: mpsc::Sender<Request>,
    /// Where it is served.
    pub address: SocketAddr,
    /// The name of this machine.
    pub host: String,
    /// Which run of the daemon this is.
    pub session: Uuid,
    /// Since when it runs.
    pub began: UnixMillis,
    /// One pledge at a time, so that each is told a sector of its own.
    pub pledging: Semaphore,
}

impl Desk {
    /// Answers one call of somebody who may do `allowed`.
    ///
    /// # Errors
    /// Why there is no answer.
    pub(super) async fn answer(&self, allowed: &Permissions, method: &str, params: Vec<Value>) -> Result<Value, Fault> {
        let method = Method::of(method).map_err(Fault::no_method)?;
        let (name, needed) = (method.name(), method.permission());
        if !allowed.contains(&needed) {
            // the words are Lotus's: tools look for them
            let words = format!("missing permission to invoke '{name}' (need '{}')", needed.word());
            return Err(Fault::refused(words));
        }
        if params.len() != method.params() {
            let (found, wanted) = (params.len(), method.params());
            return Err(Fault::params(format!("wrong param count (method 'Filecoin.{name}'): {found} != {wanted}")));
        }
        let site =
            self.site.borrow().clone().ok_or_else(|| Fault::refused("seald is starting: ask again in a second"))?;
        let seen = Seen { desk: self, site, status: Arc::clone(&self.status.borrow()) };
        seen.answer(method, params).await
    }

    /// What is served now.
    pub(super) fn access(&self) -> Api {
        self.site.borrow().as_ref().map_or(Api::Read, |site| site.access)
    }
}

/// The facts at the moment of one call.
struct Seen<'a> {
    desk: &'a Desk,
    site: Arc<Site>,
    status: Arc<Snapshot>,
}

impl Seen<'_> {
    async fn answer(&self, method: Method, params: Vec<Value>) -> Result<Value, Fault> {
        let Self { desk, site, status } = self;
        let mut given = Given(params.into_iter());
        Ok(match method {
            Method::Version => self.version(),
            Method::Session => json!(desk.session),
            Method::StartTime => json!(moment(desk.began)),
            Method::AuthVerify => self.verified(&given.next::<String>("a token")?)?,
            Method::AuthNew => self.new_token(&given.next::<Vec<String>>("a list of permissions")?)?,
            Method::LogList => json!(["seald"]),
            Method::LogAlerts => alerts(&status.alarms, status.at),
            Method::Discover => document(&status.version),
            Method::RuntimeSubsystems => json!(["Sealing", "SectorStorage"]),
            Method::ActorAddress => json!(self.address()?),
            Method::ActorSectorSize => self.sector_size(&given.next::<String>("the address of a miner")?)?,
            Method::ActorAddressConfig => address_config(),
            Method::SectorsList => sectors::numbers(&self.sectors().await?),
            Method::SectorsStatus => {
                let number = given.next("the number of a sector")?;
                self.sector(number, given.next("true for what the chain has of it, else false")?).await?
            }
            Method::SectorsSummary => sectors::summary(&status.counts),
            Method::SectorsListInStates => {
                let wanted: Vec<String> = given.next("a list of states")?;
                sectors::in_states(&self.sectors().await?, &wanted)
            }
            Method::SectorNumAssignerMeta => sectors::assigner(&self.sectors().await?, site.next_number),
            Method::SectorsRefs | Method::SectorNumReservations => json!({}),
            Method::PledgeSector => self.pledge().await?,
            Method::WorkerStats => workers::stats(site, &desk.host, desk.lookup.memory()),
            Method::WorkerJobs => workers::jobs(site, self.miner()?, &desk.host),
            Method::SealingSchedDiag => {
                // true has Lotus schedule at once; seald does that by itself
                given.next::<bool>("true or false")?;
                workers::waiting(site, self.miner()?, &desk.host, &status.sectors)
            }
            Method::StorageList => self.storage_list().await?,
            Method::StorageLocal => storage::local(&site.repos),
            Method::StorageInfo => {
                storage::info(self.repo(&given.next::<String>("the id of a storage path")?)?, &self.url())
            }
            Method::StorageStat => {
                let repo = self.repo(&given.next::<String>("the id of a storage path")?)?;
                storage::stat(repo).map_err(|why| Fault::refused(format!("{}: {why}", repo.path.display())))?
            }
            Method::StorageFindSector => {
                let sector: SectorId = given.next("the id of a sector, {\"Miner\": 1000, \"Number\": 1}")?;
                let wanted: u8 = given.next("kinds of files: 1 unsealed, 2 sealed, 4 cache, or a sum of them")?;
                // their size, and whether they may be fetched: from elsewhere, which seald does not do
                self.holders(sector, wanted).await?
            }
            Method::StorageGetLocks => match site.miner {
                Some(miner) => workers::locks(site, miner),
                None => json!({ "Locks": [] }),
            },
            Method::SectorPreCommitPending => self.pending("pre_commit")?,
            Method::SectorCommitPending => self.pending("commit")?,
            Method::SectorTerminatePending => self.pending("terminate")?,
            Method::MarketListDeals => json!([]),
        })
    }

    fn version(&self) -> Value {
        let network = self.status.chain.network.as_deref().map(|name| format!("+{name}")).unwrap_or_default();
        json!({
            "Version": format!("seald-{}{network}", self.status.version),
            "APIVersion": API_VERSION,
            "BlockDelay": self.status.chain.epoch_secs.unwrap_or(EPOCH_SECS),
            "Agent": "seald",
        })
    }

    fn verified(&self, token: &str) -> Result<Value, Fault> {
        let allowed = self.secret()?.verify(token);
        let allowed =
            allowed.ok_or_else(|| Fault::refused("the token is not one of this seald: `seald api token` makes one"))?;
        Ok(json!(allowed))
    }

    /// The new token, as bytes are written in JSON.
    fn new_token(&self, wanted: &[String]) -> Result<Value, Fault> {
        let wanted: Result<Permissions, String> = wanted.iter().map(|word| word.parse::<Permission>()).collect();
        Ok(json!(STANDARD.encode(self.secret()?.sign(&wanted.map_err(Fault::params)?))))
    }

    fn secret(&self) -> Result<&Secret, Fault> {
        self.desk.secret.as_ref().map_err(Fault::refused)
    }

    fn miner(&self) -> Result<MinerId, Fault> {
        let unknown = || Fault::refused("the miner is not known yet: `seald status` says what it waits for");
        self.site.miner.ok_or_else(unknown)
    }

    /// The miner with the letter of its network.
    fn address(&self) -> Result<String, Fault> {
        let miner = self.miner()?;
        let main = self.status.chain.network.as_deref() == Some(MAINNET);
        Ok(if main { miner.to_string() } else { miner.to_address() })
    }

    fn sector_size(&self, address: &str) -> Result<Value, Fault> {
        let miner = self.miner()?;
        // f and t stand for the same actor
        if address.parse() != Ok(miner) {
            return Err(Fault::refused(format!("{address:.80} is not the miner of this seald: ask for {miner}")));
        }
        Ok(json!(self.site.sector_size.bytes().as_u64()))
    }

    async fn sectors(&self) -> Result<Vec<(SectorNumber, crate::sector::State)>, Fault> {
        self.desk.lookup.sectors().await.map_err(refused)
    }

    async fn sector(&self, number: SectorNumber, with_chain: bool) -> Result<Value, Fault> {
        let lookup = &self.desk.lookup;
        let known = lookup.sector(number).await.map_err(refused)?;
        let on_chain = if with_chain { lookup.on_chain(number).await.map_err(refused)? } else { None };
        Ok(sectors::status(&known, on_chain.as_ref()))
    }

    async fn storage_list(&self) -> Result<Value, Fault> {
        let mut list = Map::new();
        for repo in &self.site.repos {
            // one that cannot be used is there all the same; StorageStat says why it is not
            let files = match repo.room {
                Ok(_) => self.desk.lookup.files(repo.clone()).await.map_err(refused)?,
                Err(_) => Vec::new(),
            };
            list.insert(repo.id.clone(), storage::declarations(&files));
        }
        Ok(Value::Object(list))
    }

    /// The paths that have one of these kinds of files of a sector.
    async fn holders(&self, SectorId { miner, number }: SectorId, wanted: u8) -> Result<Value, Fault> {
        let miner = MinerId::new(miner);
        let mut holders = Vec::new();
        for repo in self.site.repos.iter().filter(|repo| repo.room.is_ok()) {
            let found = self.desk.lookup.kinds(repo.clone(), miner, number).await.map_err(refused)?;
            let name = KINDS.iter().find(|(bit, _)| bit & found & wanted != 0).map(|(_, name)| *name);
            let file = name.map(|name| format!("{name}/{}", sector_file_name(miner, number)));
            holders.extend(file.map(|file| storage::holder(repo, &self.url(), &file)));
        }
        Ok(json!(holders))
    }

    fn repo(&self, id: &str) -> Result<&Repo, Fault> {
        let found = self.site.repos.iter().find(|repo| repo.id == id);
        found.ok_or_else(|| Fault::refused(format!("there is no storage path {id:.80}: StorageLocal lists them")))
    }

    /// Where Lotus would serve files. An address that stands for all of the machine's is no address to go to.
    fn url(&self) -> String {
        let Desk { address, host, .. } = self.desk;
        if address.ip().is_unspecified() {
            return format!("http://{host}:{}/remote", address.port());
        }
        format!("http://{address}/remote")
    }

    /// Sectors of the open batches of a kind.
    fn pending(&self, kind: &str) -> Result<Value, Fault> {
        let miner = self.miner()?;
        let open = self.status.batches.iter().filter(|batch| batch.kind == kind && batch.state == "open");
        let sectors = open.flat_map(|batch| &batch.sectors).map(|number| sectors::sector_id(miner, *number));
        Ok(json!(sectors.collect::<Vec<_>>()))
    }

    /// Orders one sector more, and waits for it to be there.
    async fn pledge(&self) -> Result<Value, Fault> {
        if self.site.access != Api::Write {
            let words = "PledgeSector changes something, which node.api of the manifest does not allow: \
                         set node.api = \"write\", then `seald reload`; or use `seald sectors pledge`";
            return Err(Fault::refused(words));
        }
        let miner = self.miner()?;
        let _one = self.desk.pledging.acquire().await.map_err(|_| Fault::refused("seald is ending"))?;
        let last = |sectors: &[(SectorNumber, _)]| sectors.iter().map(|(number, _)| *number).max();
        let before = last(&self.sectors().await?);
        let mut status = self.desk.status.clone();
        ask(&self.desk.requests, Ask::Pledge(NonZeroU64::MIN)).await.map_err(refused)?;
        let created = async {
            loop {
                // numbers only grow
                let newest = status.borrow_and_update().sectors.iter().map(|sector| sector.number).max();
                if let Some(number) = newest.filter(|number| before.is_none_or(|before| *number > before)) {
                    return Ok(sectors::sector_id(miner, number));
                }
                status.changed().await.map_err(|_| Fault::refused("the sector is ordered, and seald is ending"))?;
            }
        };
        // whoever heard nothing would order another
        let later = "the sector is ordered and does not exist yet: do not order it again; \
                     `seald status` says what it waits for";
        timeout(CREATED, created).await.unwrap_or_else(|_| Err(Fault::refused(later)))
    }
}

/// A sector as Lotus names it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct SectorId {
    miner: u64,
    number: SectorNumber,
}

/// Kinds of files that seald has, by Lotus's bits.
const KINDS: [(u8, &str); 3] = [(1, "unsealed"), (2, "sealed"), (4, "cache")];

/// The parameters of a call that are not taken yet; their number is right.
struct Given(std::vec::IntoIter<Value>);

impl Given {
    /// The next one.
    fn next<T: DeserializeOwned>(&mut self, wanted: &str) -> Result<T, Fault> {
        let value = self.0.next().unwrap_or_default();
        // a token may be among them
        serde_json::from_value(value)
            .map_err(|_| Fault::params(format!("a parameter cannot be understood: give {wanted}")))
    }
}

fn refused(Refused { cause: _, error, help }: Refused) -> Fault {
    Fault::refused(format!("{error}: {help}"))
}

/// `LogAlerts`. An alarm is there while its cause is; when it began is not known to the snapshot, which says when it was.
fn alerts(alarms: &[Alarm], at: UnixMillis) -> Value {
    let alert = |Alarm { about, what, remedy }: &Alarm| {
        json!({
            "Type": { "System": "seald", "Subsystem": about },
            "Active": true,
            "LastActive": { "Type": "raised", "Message": { "message": what, "remedy": remedy }, "Time": moment(at) },
            "LastResolved": null,
        })
    };
    json!(alarms.iter().map(alert).collect::<Vec<_>>())
}

/// `ActorAddressConfig`: the worker account sends everything.
fn address_config() -> Value {
    json!({
        "PreCommitControl": [],
        "CommitControl": [],
        "TerminateControl": [],
        "DealPublishControl": [],
        "DisableOwnerFallback": false,
        "DisableWorkerFallback": false,
    })
}
