//! What operators hold: slots, or single workers of them, that get no new task until they are let go again. Pure.

use super::{Assignee, SlotWish};
use crate::units::{BadUnit, SlotName, UnixMillis};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, str::FromStr};

/// How something is held, the mildest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// No new task; its workers stay.
    Cordoned,
    /// No new task for a while; its workers stay, and their tasks may have been ended.
    Paused,
    /// No new task; its workers leave when their task is done.
    Drained,
}

impl How {
    /// The word in `status` and in answers.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cordoned => "cordoned",
            Self::Paused => "paused",
            Self::Drained => "drained",
        }
    }
}

/// A slot with all its workers, or one of them: `gpu0`, `gpu0/1`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Place {
    /// The slot.
    pub slot: SlotName,
    /// One of its workers, from 0; `None` for all of them.
    pub instance: Option<u32>,
}

impl Place {
    /// Whether this worker belongs to it.
    pub fn has(&self, who: &Assignee) -> bool {
        self.slot == who.slot && self.instance.is_none_or(|instance| instance == who.instance)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.instance {
            Some(instance) => write!(f, "{}/{instance}", self.slot),
            None => write!(f, "{}", self.slot),
        }
    }
}

impl FromStr for Place {
    type Err = BadUnit;
    fn from_str(text: &str) -> Result<Self, BadUnit> {
        let wanted = "a slot such as gpu0, or one worker of it such as gpu0/1";
        let bad = || BadUnit { found: text.to_owned(), wanted };
        let (slot, instance) = match text.split_once('/') {
            Some((slot, instance)) => (slot, Some(instance.parse().map_err(|_| bad())?)),
            None => (text, None),
        };
        Ok(Self { slot: slot.parse().map_err(|_| bad())?, instance })
    }
}

impl TryFrom<String> for Place {
    type Error = BadUnit;
    fn try_from(text: String) -> Result<Self, BadUnit> {
        text.parse()
    }
}

impl From<Place> for String {
    fn from(place: Place) -> Self {
        place.to_string()
    }
}

/// How a place is held, and since when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// How.
    pub how: How,
    /// Since when.
    pub since: UnixMillis,
}

/// Everything that is held.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeldSlots(BTreeMap<Place, Held>);

impl HeldSlots {
    /// Holds a place. What was said of single workers of a slot no longer counts once all of it is held; a place that is
    /// held in the same way already is held since then.
    pub fn hold(&mut self, place: Place, how: How, now: UnixMillis) {
        if place.instance.is_none() {
            self.0.retain(|known, _| known.slot != place.slot || known.instance.is_none());
        }
        let held = self.0.entry(place).or_insert(Held { how, since: now });
        if held.how != how {
            *held = Held { how, since: now };
        }
    }

    /// Lets a place go, with every worker of a slot.
    pub fn let_go(&mut self, place: &Place) {
        self.0.retain(|known, _| known.slot != place.slot || (place.instance.is_some() && known != place));
    }

    /// Forgets what is not declared any more.
    pub fn forget_undeclared(&mut self, slots: &BTreeMap<SlotName, SlotWish>) {
        self.0.retain(|place, _| {
            slots.get(&place.slot).is_some_and(|wish| place.instance.is_none_or(|instance| instance < wish.count))
        });
    }

    /// What holds this worker: of itself and its slot the stricter.
    pub fn of(&self, who: &Assignee) -> Option<(Place, Held)> {
        let of = |instance| {
            let place = Place { slot: who.slot.clone(), instance };
            self.0.get(&place).map(|held| (place, *held))
        };
        [of(None), of(Some(who.instance))].into_iter().flatten().max_by_key(|(_, held)| held.how)
    }

    /// Whether this worker shall leave when its task is done.
    pub fn is_drained(&self, who: &Assignee) -> bool {
        self.of(who).is_some_and(|(_, held)| held.how == How::Drained)
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn place(text: &str) -> Place {
        text.parse().unwrap()
    }

    fn who(slot: &str, instance: u32) -> Assignee {
        Assignee { slot: slot.parse().unwrap(), instance }
    }

    fn at(ms: i64) -> UnixMillis {
        UnixMillis::new(ms)
    }

    #[test]
    fn a_place_is_a_slot_or_one_worker_of_it() {
        for text in ["gpu0", "gpu0/1"] {
            assert_eq!(place(text).to_string(), text);
        }
        for wrong in ["", "GPU", "gpu0/", "gpu0/x", "gpu0/-1", "gpu0/1/2"] {
            assert!(wrong.parse::<Place>().is_err(), "{wrong}");
        }
        assert!(place("gpu0").has(&who("gpu0", 3)) && place("gpu0/3").has(&who("gpu0", 3)));
        assert!(!place("gpu0/1").has(&who("gpu0", 3)) && !place("gpu1").has(&who("gpu0", 3)));
    }

    #[test]
    fn of_a_slot_and_its_worker_the_stricter_counts() {
        let mut held = HeldSlots::default();
        held.hold(place("gpu0"), How::Cordoned, at(1));
        held.hold(place("gpu0/1"), How::Drained, at(2));
        assert_eq!(held.of(&who("gpu0", 0)).unwrap().1, Held { how: How::Cordoned, since: at(1) });
        assert_eq!(held.of(&who("gpu0", 1)).unwrap(), (place("gpu0/1"), Held { how: How::Drained, since: at(2) }));
        assert!(held.is_drained(&who("gpu0", 1)) && !held.is_drained(&who("gpu0", 0)));
        assert_eq!(held.of(&who("pc1", 0)), None);
        held.hold(place("gpu0"), How::Cordoned, at(9));
        assert_eq!(held.of(&who("gpu0", 1)).unwrap().1, Held { how: How::Cordoned, since: at(1) }, "all of it is held");
    }

    #[test]
    fn letting_go_of_a_slot_lets_all_of_it_go() {
        let mut held = HeldSlots::default();
        held.hold(place("gpu0/0"), How::Paused, at(1));
        held.hold(place("gpu0/1"), How::Paused, at(1));
        held.hold(place("pc1"), How::Drained, at(1));
        held.let_go(&place("gpu0/0"));
        assert!(held.of(&who("gpu0", 0)).is_none() && held.of(&who("gpu0", 1)).is_some());
        held.let_go(&place("gpu0"));
        assert!(held.of(&who("gpu0", 1)).is_none() && held.of(&who("pc1", 0)).is_some());
        held.let_go(&place("pc1"));
        assert!(held.is_empty());
    }

    #[test]
    fn what_is_kept_is_read_again_and_what_is_no_longer_declared_is_forgotten() {
        let mut held = HeldSlots::default();
        for text in ["gpu0", "pc1/0", "pc1/5"] {
            held.hold(place(text), How::Drained, at(7));
        }
        let text = serde_json::to_string(&held).unwrap();
        assert!(text.contains("\"pc1/5\":{\"how\":\"drained\",\"since\":7}"), "{text}");
        let mut held: HeldSlots = serde_json::from_str(&text).unwrap();
        let wish = SlotWish { stages: BTreeSet::new(), count: 2, memory: None };
        let declared = BTreeMap::from([("pc1".parse().unwrap(), wish)]);
        held.forget_undeclared(&declared);
        assert!(held.of(&who("pc1", 0)).is_some() && held.of(&who("gpu0", 0)).is_none());
        assert!(held.of(&who("pc1", 5)).is_none());
    }
}
