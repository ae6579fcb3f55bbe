//! What operators ask of a running daemon, answered by the loop between two turns.
//!
//! An order about a sector is judged on what is known now and recorded as an event, in the same way as any other fact;
//! the next turn acts on it. A worker or an errand that is busy with the sector goes on: what it tells later is judged
//! by the table, and kept in the history when it no longer applies.

use super::{holding, world::World};
use crate::{
    clock,
    control::{Answer, Ask, Cause, Refused, Reply, Request, verb},
    error::Chain,
    manifest::Manifest,
    plan::Desired,
    sector::{
        self,
        operator::{Order, Refusal, judge},
    },
    status::orders::{self, Pledged, Ruling},
    store::{Store, StoreError},
    units::SectorNumber,
};

/// The setting of the database with the sectors that are wanted in all, when an operator ordered more than the manifest
/// declared. The manifest is the floor: once it declares as many, the order says nothing any more.
const PLEDGED: &str = "pledged";

/// What the manifest declares, with what was ordered beyond it.
///
/// # Errors
/// The database does not answer.
pub(super) async fn desired(manifest: &Manifest, store: &Store) -> Result<Desired, StoreError> {
    let mut desired = Desired::of(manifest);
    let ordered = store.setting(PLEDGED).await?;
    match ordered.map(|text| text.parse::<u64>().map_err(|error| (text, error))) {
        Some(Ok(ordered)) => desired.sectors = desired.sectors.max(ordered),
        Some(Err((text, error))) => {
            tracing::warn!(setting = PLEDGED, value = text, %error, "an order for more sectors cannot be read");
        }
        None => {}
    }
    desired.held = holding::declared(store, &desired.slots).await?;
    Ok(desired)
}

impl World {
    /// Answers a request.
    ///
    /// # Errors
    /// The database failed, which the answer says as well.
    pub async fn on_request(&mut self, request: Request) -> Result<(), StoreError> {
        let Request { ask, reply } = request;
        let (answer, done) = match self.answer(ask).await {
            Ok(answer) => (answer, Ok(())),
            Err(error) => {
                let help = "see with `seald status` whether the database is well again, and with `seald sectors show` \
                            whether the order was recorded";
                (Err(Refused::new(Cause::Unavailable, Chain(&error).to_string(), help)), Err(error))
            }
        };
        // who asked may have given up waiting; what was done stays done
        drop(reply.send(answer));
        done
    }

    async fn answer(&mut self, ask: Ask) -> Result<Answer, StoreError> {
        match ask {
            Ask::Pledge(_) | Ask::PledgeAsDeclared | Ask::Sector { .. } | Ask::Slots { .. } if self.stale => {
                let why = "the database is being read again after a write that failed";
                Ok(Err(Refused::new(Cause::Unavailable, why, "ask again in a few seconds")))
            }
            Ask::Pledge(more) => match self.desired.sectors.checked_add(more.get()) {
                Some(wanted) => {
                    self.store.set_setting(PLEDGED, &wanted.to_string()).await?;
                    Ok(Ok(self.want(wanted)))
                }
                None => {
                    let why = format!("{more} more sectors cannot be counted");
                    Ok(Err(Refused::new(Cause::Conflict, why, "order fewer")))
                }
            },
            Ask::Manifest(_) => {
                // the loop has taken these out: a file is read and the host looked at before anything can be answered
                let why = "a manifest is read by the loop itself";
                Ok(Err(Refused::new(Cause::Unavailable, why, "ask again in a second")))
            }
            Ask::PledgeAsDeclared => {
                // a number that is kept would outlive what the manifest declares now
                self.store.forget_setting(PLEDGED).await?;
                Ok(Ok(self.want(self.manifest.pledge.sectors)))
            }
            Ask::Sector { number, order, yes } => self.order(number, order, yes).await,
            Ask::Slots { place, order } => self.hold(place, order).await,
        }
    }

    fn want(&mut self, wanted: u64) -> Reply {
        let declared = self.manifest.pledge.sectors;
        tracing::info!(declared, wanted, "an operator set the target");
        self.desired.sectors = wanted;
        let proving = self.proving();
        Reply::Pledged(Pledged { format_version: orders::FORMAT_VERSION, declared, wanted, proving })
    }

    async fn order(&mut self, number: SectorNumber, order: Order, yes: bool) -> Result<Answer, StoreError> {
        let Some(record) = self.book.records.get(&number) else { return Ok(Err(self.no_sector(number))) };
        let chain = self.observed(clock::now()).chain;
        let verdict = match judge(record, self.facts(record).as_ref(), chain, order) {
            Ok(verdict) => verdict,
            Err(Refusal { why, next }) => return Ok(Err(Refused::new(Cause::Conflict, why, next))),
        };
        let done = yes || !verdict.needs_yes;
        if done {
            tracing::info!(sector = %number, order = verb(order), "an operator gave an order");
            self.record_all(vec![(number, verdict.event)]).await?;
        }
        let state = self.book.records.get(&number).map_or(sector::State::Packing, |record| record.state);
        Ok(Ok(Reply::Ruling(Ruling {
            format_version: orders::FORMAT_VERSION,
            sector: number,
            order: verb(order).to_owned(),
            state,
            done,
            costs: verdict.costs,
        })))
    }

    /// Nothing is made for a number that nobody knows.
    fn no_sector(&self, number: SectorNumber) -> Refused {
        let row = self.unreadable.iter().find(|row| row.what == format!("sectors {number}"));
        match row {
            Some(row) => {
                let why = format!("sector {number} is quarantined, its record cannot be read: {}", row.error);
                Refused::new(Cause::Conflict, why, "restore the database from a backup; the sector's files are kept")
            }
            None => {
                let why = format!("there is no sector {number}");
                Refused::new(Cause::Unknown, why, "`seald sectors list` shows the sectors there are")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        daemon::{Source, start},
        manifest,
        proofs::Prover,
    };
    use std::path::Path;
    use tokio::sync::{mpsc, oneshot};

    #[tokio::test]
    async fn the_manifest_is_the_floor_of_what_was_ordered() {
        let folder = tempfile::tempdir().unwrap();
        let overrides = manifest::Overrides { cwd: folder.path().to_owned(), ..manifest::Overrides::default() };
        let manifest = manifest::load(Path::new("examples/configs/devnet.toml"), &overrides).unwrap().manifest;
        std::fs::create_dir_all(&manifest.state.dir).unwrap();
        let store = Store::open(manifest.state.url.as_str()).await.unwrap();
        let declared = manifest.pledge.sectors;
        assert_eq!(desired(&manifest, &store).await.unwrap(), Desired::of(&manifest));
        for (ordered, wanted) in [("5", 5), ("1", declared), ("many", declared), ("-3", declared), ("7", 7)] {
            store.set_setting(PLEDGED, ordered).await.unwrap();
            assert_eq!(desired(&manifest, &store).await.unwrap().sectors, wanted, "{ordered}");
        }
    }

    #[tokio::test]
    async fn an_order_that_is_taken_back_leaves_the_target_to_the_manifest() {
        let folder = tempfile::tempdir().unwrap();
        let overrides = manifest::Overrides { cwd: folder.path().to_owned(), ..manifest::Overrides::default() };
        let source = Source { path: "examples/configs/devnet.toml".into(), overrides };
        let proposal = source.read().unwrap();
        let (mut world, _lock, ..) =
            start::world(source, proposal, Prover::Simulated, mpsc::channel(1).0).await.unwrap();
        let declared = world.manifest.pledge.sectors;
        let mut ask = async |ask| {
            let (reply, answer) = oneshot::channel();
            world.on_request(Request { ask, reply }).await.unwrap();
            let Ok(Reply::Pledged(pledged)) = answer.await.unwrap() else { panic!("refused") };
            assert_eq!((pledged.declared, pledged.wanted), (declared, world.desired.sectors));
            pledged.wanted
        };
        assert_eq!(ask(Ask::Pledge(4.try_into().unwrap())).await, declared + 4);
        assert_eq!(ask(Ask::PledgeAsDeclared).await, declared);
        let mut fewer = Manifest::clone(&world.manifest);
        fewer.pledge.sectors = declared - 1;
        let after = desired(&fewer, &world.store).await.unwrap();
        assert_eq!(after.sectors, declared - 1, "nothing of the order is left");
    }
}
