//! Slots that operators hold: the order is kept in the database, so that a restart changes nothing of it, and the
//! planner follows it from the next turn on.

use super::world::World;
use crate::{
    clock,
    control::{Answer, Cause, Refused, Reply, SlotOrder},
    plan::{Assignee, HeldSlots, How, Place, SlotWish},
    status::orders::{self, SlotsRuled},
    store::{Store, StoreError},
    supervisor::WorkerId,
    units::SlotName,
};
use std::collections::BTreeMap;

/// The setting of the database with what operators hold.
const HELD: &str = "held";

/// What operators hold of the slots that are declared.
///
/// # Errors
/// The database does not answer.
pub(super) async fn declared(store: &Store, slots: &BTreeMap<SlotName, SlotWish>) -> Result<HeldSlots, StoreError> {
    let mut held = kept(store).await?;
    held.forget_undeclared(slots);
    Ok(held)
}

async fn kept(store: &Store) -> Result<HeldSlots, StoreError> {
    let text = store.setting(HELD).await?;
    Ok(match text.map(|text| serde_json::from_str(&text).map_err(|error| (text, error))) {
        Some(Ok(held)) => held,
        Some(Err((text, error))) => {
            tracing::warn!(setting = HELD, value = text, %error, "what operators hold cannot be read: nothing is held");
            HeldSlots::default()
        }
        None => HeldSlots::default(),
    })
}

impl World {
    /// Writes down what is held, when that is not what was kept: a slot that is no longer declared is forgotten.
    ///
    /// # Errors
    /// The database does not answer.
    pub async fn keep_held(&self) -> Result<(), StoreError> {
        if kept(&self.store).await? == self.desired.held {
            return Ok(());
        }
        self.store.set_setting(HELD, &serde_json::json!(self.desired.held).to_string()).await
    }

    /// Answers an order about slots; `None` means all of them.
    ///
    /// # Errors
    /// The database failed; nothing is held differently.
    pub(super) async fn hold(&mut self, place: Option<Place>, order: SlotOrder) -> Result<Answer, StoreError> {
        let places = match place {
            None => self.desired.slots.keys().map(|slot| Place { slot: slot.clone(), instance: None }).collect(),
            Some(place) => match self.judge(&place, order) {
                Ok(()) => vec![place],
                Err(refused) => return Ok(Err(refused)),
            },
        };
        let before = self.desired.held.clone();
        for place in &places {
            match how(order) {
                Some(how) => self.desired.held.hold(place.clone(), how, clock::now()),
                None => self.desired.held.let_go(place),
            }
        }
        if let Err(error) = self.keep_held().await {
            self.desired.held = before;
            return Err(error);
        }
        let about = |who: &Assignee| places.iter().any(|place| place.has(who));
        let stopped = if order == SlotOrder::PauseNow { self.stop_tasks(about) } else { Vec::new() };
        if order == SlotOrder::Resume {
            let ids = self.supervisor.views().into_iter().map(|view| view.id);
            let meant = |id: &WorkerId| about(&Assignee { slot: id.slot.clone(), instance: id.instance });
            ids.filter(meant).collect::<Vec<_>>().iter().for_each(|id| self.supervisor.forgive(id));
        }
        let names = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        tracing::info!(slot = names, order = order.verb(), stopped = stopped.len(), "an operator gave an order");
        let mut slots = self.slot_statuses(&self.supervisor.views());
        slots.retain(|status| about(&Assignee { slot: status.slot.clone(), instance: status.instance }));
        let format_version = orders::FORMAT_VERSION;
        Ok(Ok(Reply::Slots(SlotsRuled { format_version, order: order.verb().to_owned(), slots, stopped })))
    }

    /// Ends the tasks of these workers; each is told as stopped, and planned again once it is let go.
    fn stop_tasks(&mut self, about: impl Fn(&Assignee) -> bool) -> Vec<Place> {
        let busy = self.supervisor.views().into_iter().filter(|view| view.task.is_some()).map(|view| view.id);
        let busy: Vec<WorkerId> =
            busy.filter(|id| about(&Assignee { slot: id.slot.clone(), instance: id.instance })).collect();
        let now = clock::now();
        let ended = busy.into_iter().filter(|id| self.supervisor.stop(id, now));
        ended.map(|WorkerId { slot, instance }| Place { slot, instance: Some(instance) }).collect()
    }

    fn judge(&self, place: &Place, order: SlotOrder) -> Result<(), Refused> {
        let Some(wish) = self.desired.slots.get(&place.slot) else {
            let names = self.desired.slots.keys().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            let error = format!("there is no slot {}", place.slot);
            return Err(Refused::new(Cause::Unknown, error, format!("the manifest has {names}")));
        };
        let Some(instance) = place.instance else { return Ok(()) };
        if instance >= wish.count {
            let error = format!("there is no worker {place}");
            let last = wish.count.saturating_sub(1);
            return Err(Refused::new(Cause::Unknown, error, format!("give {0}/0 to {0}/{last}", place.slot)));
        }
        let who = Assignee { slot: place.slot.clone(), instance };
        let whole = self.desired.held.of(&who).map(|(holder, _)| holder).filter(|holder| holder.instance.is_none());
        match (how(order), whole) {
            (None, Some(holder)) => {
                let error = format!("worker {place} is held with all of slot {holder}");
                Err(Refused::new(Cause::Conflict, error, format!("`seald resume {holder}` lets all of it go")))
            }
            (None, None) | (Some(_), _) => Ok(()),
        }
    }
}

/// How an order holds a slot; `None` lets it go.
const fn how(order: SlotOrder) -> Option<How> {
    match order {
        SlotOrder::Cordon => Some(How::Cordoned),
        SlotOrder::Drain => Some(How::Drained),
        SlotOrder::Pause | SlotOrder::PauseNow => Some(How::Paused),
        SlotOrder::Resume => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::UnixMillis;
    use std::collections::BTreeSet;

    #[tokio::test]
    async fn what_is_kept_is_held_while_it_is_declared_and_makes_sense() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&format!("sqlite:{}", folder.path().join("seald.db").display())).await.unwrap();
        let wish = SlotWish { stages: BTreeSet::new(), count: 1, memory: None };
        let slots = BTreeMap::from([("cpu".parse().unwrap(), wish)]);
        assert!(declared(&store, &slots).await.unwrap().is_empty(), "nobody ever held anything");
        let mut held = HeldSlots::default();
        for place in ["cpu", "gone"] {
            held.hold(place.parse().unwrap(), How::Drained, UnixMillis::new(7));
        }
        store.set_setting(HELD, &serde_json::json!(held).to_string()).await.unwrap();
        held.let_go(&"gone".parse().unwrap());
        assert_eq!(declared(&store, &slots).await.unwrap(), held);
        for nonsense in ["", "{\"CPU\": 1}", "[\"cpu\"]"] {
            store.set_setting(HELD, nonsense).await.unwrap();
            assert!(declared(&store, &slots).await.unwrap().is_empty(), "{nonsense}");
        }
    }
}
