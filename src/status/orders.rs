//! What the daemon answers to an operator's order: the JSON of the control socket and of `--json`, and the same as
//! text. Pure.

use super::{SlotStatus, words};
use crate::{plan::Place, sector::State, units::SectorNumber};
use serde::{Deserialize, Serialize};

/// Raised when a field of these answers changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;

/// The answer to an order about one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ruling {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The sector.
    pub sector: SectorNumber,
    /// `retry`, `remove`, `terminate`, `set-state`.
    pub order: String,
    /// Its state after the answer.
    pub state: State,
    /// `false` when it costs something and nobody has agreed to that yet: nothing was changed.
    pub done: bool,
    /// What it costs, in FIL and in work; empty when it costs nothing.
    pub costs: Vec<String>,
}

impl Ruling {
    /// The ruling as text.
    pub fn render(&self) -> String {
        let Self { sector, order, state, done, costs, .. } = self;
        let head = if *done {
            format!("sector {sector}: {order} is recorded, it is in {state} now\n")
        } else {
            format!("sector {sector} is in {state}; {order} would cost:\n")
        };
        costs.iter().fold(head, |out, cost| format!("{out}  - {cost}\n"))
    }
}

/// The answer to `seald sectors pledge`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pledged {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// Sectors that the manifest declares.
    pub declared: u64,
    /// Sectors that are wanted in all, from now on.
    pub wanted: u64,
    /// Sectors in state Proving.
    pub proving: u64,
}

impl Pledged {
    /// The answer as text.
    pub fn render(&self) -> String {
        let Self { declared, wanted, proving, .. } = self;
        let mut out = format!("target: {} in all, {proving} proving\n", words::count(*wanted, "sector"));
        if wanted > declared {
            out.push_str(&format!(
                "{} of them ordered beyond pledge.sectors = {declared}; pledge.sectors = {wanted} declares them as well\n",
                wanted.saturating_sub(*declared)
            ));
        }
        out
    }
}

/// The answer to an order about slots.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SlotsRuled {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// `cordon`, `drain`, `pause`, `resume`.
    pub order: String,
    /// The workers it is about, as they are after it.
    pub slots: Vec<SlotStatus>,
    /// Those of them whose task is ended at once.
    pub stopped: Vec<Place>,
}

impl SlotsRuled {
    /// The answer as text.
    pub fn render(&self) -> String {
        let line = |status: &SlotStatus| {
            let SlotStatus { slot, instance, task, held, .. } = status;
            let place = Place { slot: slot.clone(), instance: Some(*instance) };
            let what = match (held, task) {
                (None, _) => "takes tasks".to_owned(),
                (Some(held), None) => format!("{}, it has no task", held.how.as_str()),
                (Some(held), Some(task)) if self.stopped.contains(&place) => {
                    format!("{}, {task} ends now and goes on later", held.how.as_str())
                }
                (Some(held), Some(task)) => format!("{}, it finishes {task} first", held.how.as_str()),
            };
            format!("slot {place}: {what}\n")
        };
        self.slots.iter().map(line).collect()
    }
}

/// The answer to `seald reload` and `seald rollback`, and to `seald plan` about what a reload would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// [`FORMAT_VERSION`].
    pub format_version: u32,
    /// The generation of the manifest that is in force.
    pub generation: u64,
    /// Whether the changes are in force; `false` when they were only looked at, or when there are none.
    pub applied: bool,
    /// Every setting that differs.
    pub changes: Vec<Changed>,
    /// What stands against it; empty when it was, or can be, brought into force.
    pub refused: Vec<String>,
    /// Tasks that are finished first, on workers that then go or are replaced.
    pub drains: Vec<String>,
    /// What else is worth knowing about the new manifest.
    pub warnings: Vec<String>,
}

/// One setting that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changed {
    /// Its key.
    pub key: String,
    /// Its value before, without secrets; absent when it was not set.
    pub from: Option<String>,
    /// Its value after.
    pub to: Option<String>,
    /// `live`, `new jobs`, `drain`, `restart`, `never`.
    pub class: String,
}

impl Reloaded {
    /// What was done, as text.
    pub fn render(&self) -> String {
        let Self { generation, applied, .. } = self;
        let nothing = if *applied { "" } else { "nothing changed; " };
        let head = format!("{nothing}generation {generation} of the manifest is in force\n");
        format!("{head}{}{}", self.told(|_| true), self.beside())
    }

    /// What a reload would do, as text: what it refuses first, as then nothing of the rest comes into force.
    pub fn render_preview(&self) -> String {
        let Self { generation, changes, refused, .. } = self;
        if changes.is_empty() && refused.is_empty() {
            return format!("a reload would change nothing of generation {generation}\n{}", self.beside());
        }
        if refused.is_empty() {
            let head = format!("a reload would change generation {generation}:\n");
            return format!("{head}{}{}", self.told(|_| true), self.beside());
        }
        let mut out = format!("`seald reload` refuses this manifest, and generation {generation} stays in force:\n");
        refused.iter().for_each(|line| out.push_str(&format!("  {line}\n")));
        // a refusal begins with the key that it is about
        let is_refused = |change: &Changed| {
            let rest = refused.iter().filter_map(|line| line.strip_prefix(&change.key));
            rest.into_iter().any(|rest| rest.starts_with([':', ' ']))
        };
        let others = self.told(|change| !is_refused(change));
        if !others.is_empty() {
            out.push_str("these changes wait for that:\n");
        }
        format!("{out}{others}{}", self.beside())
    }

    /// The chosen changes, one a line.
    fn told(&self, is_chosen: impl Fn(&Changed) -> bool) -> String {
        let said = |value: &Option<String>| value.clone().unwrap_or_else(|| "not set".to_owned());
        let line = |Changed { key, from, to, class }: &Changed| match from == to {
            true => format!("  {key}: another secret ({class})\n"),
            false => format!("  {key}: {} -> {} ({class})\n", said(from), said(to)),
        };
        self.changes.iter().filter(|change| is_chosen(change)).map(line).collect()
    }

    /// What else there is to know.
    fn beside(&self) -> String {
        let drains = self.drains.iter().map(|line| format!("  finished first: {line}\n"));
        drains.chain(self.warnings.iter().map(|line| format!("  warning: {line}\n"))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{plan::How, status::HeldStatus, units::UnixMillis};

    fn ruling(done: bool, costs: &[&str]) -> Ruling {
        Ruling {
            format_version: FORMAT_VERSION,
            sector: SectorNumber::try_from(4).unwrap(),
            order: "remove".to_owned(),
            state: State::WaitSeed,
            done,
            costs: costs.iter().map(|cost| (*cost).to_owned()).collect(),
        }
    }

    #[test]
    fn an_order_that_was_not_agreed_to_lists_every_cost() {
        let text = ruling(false, &["the deposit of 0.07 FIL", "the sealing work"]).render();
        assert_eq!(
            text,
            "sector 4 is in WaitSeed; remove would cost:\n  - the deposit of 0.07 FIL\n  - the sealing work\n"
        );
        assert_eq!(ruling(true, &[]).render(), "sector 4: remove is recorded, it is in WaitSeed now\n");
    }

    #[test]
    fn an_order_about_slots_says_what_becomes_of_their_tasks() {
        let slot = |instance, task: Option<&str>, how: Option<How>| SlotStatus {
            slot: "gpu0".parse().unwrap(),
            instance,
            state: "busy".to_owned(),
            pid: None,
            task: task.map(str::to_owned),
            placement: None,
            restarts: 0,
            note: None,
            held: how.map(|how| HeldStatus { place: "gpu0".parse().unwrap(), how, since: UnixMillis::new(1) }),
        };
        let ruled = SlotsRuled {
            format_version: FORMAT_VERSION,
            order: "pause".to_owned(),
            slots: vec![
                slot(0, Some("sector 3 commit"), Some(How::Paused)),
                slot(1, Some("sector 4 commit"), Some(How::Paused)),
                slot(2, None, Some(How::Drained)),
                slot(3, None, None),
            ],
            stopped: vec!["gpu0/1".parse().unwrap()],
        };
        assert_eq!(
            ruled.render(),
            "slot gpu0/0: paused, it finishes sector 3 commit first\n\
             slot gpu0/1: paused, sector 4 commit ends now and goes on later\n\
             slot gpu0/2: drained, it has no task\n\
             slot gpu0/3: takes tasks\n"
        );
    }

    #[test]
    fn a_reload_says_what_it_changed_and_what_it_waits_for() {
        let changed = Changed {
            key: "slot.gpu0.gpu".to_owned(),
            from: None,
            to: Some("\"auto\"".to_owned()),
            class: "drain".to_owned(),
        };
        let reloaded = Reloaded {
            format_version: FORMAT_VERSION,
            generation: 3,
            applied: true,
            changes: vec![changed],
            refused: Vec::new(),
            drains: vec!["sector 3 commit on gpu0/0".to_owned()],
            warnings: Vec::new(),
        };
        assert_eq!(
            reloaded.render(),
            "generation 3 of the manifest is in force\n  slot.gpu0.gpu: not set -> \"auto\" (drain)\n  \
             finished first: sector 3 commit on gpu0/0\n"
        );
        let same = Reloaded { applied: false, changes: Vec::new(), drains: Vec::new(), ..reloaded };
        assert_eq!(same.render(), "nothing changed; generation 3 of the manifest is in force\n");
    }

    #[test]
    fn a_preview_says_first_what_a_reload_refuses() {
        let changed = |key: &str, class: &str| {
            let (from, to) = (Some("1".to_owned()), Some("2".to_owned()));
            Changed { key: key.to_owned(), from, to, class: class.to_owned() }
        };
        let preview = Reloaded {
            format_version: FORMAT_VERSION,
            generation: 3,
            applied: false,
            changes: vec![changed("miner.actor", "never"), changed("pledge.sectors", "live")],
            refused: vec!["miner.actor: 1 becomes 2 (why)".to_owned()],
            drains: Vec::new(),
            warnings: vec!["the disk is slow".to_owned()],
        };
        assert_eq!(
            preview.render_preview(),
            "`seald reload` refuses this manifest, and generation 3 stays in force:\n  miner.actor: 1 becomes 2 (why)\n\
             these changes wait for that:\n  pledge.sectors: 1 -> 2 (live)\n  warning: the disk is slow\n"
        );
        let taken = Reloaded { refused: Vec::new(), warnings: Vec::new(), ..preview };
        assert_eq!(
            taken.render_preview(),
            "a reload would change generation 3:\n  miner.actor: 1 -> 2 (never)\n  pledge.sectors: 1 -> 2 (live)\n"
        );
        let same = Reloaded { changes: Vec::new(), ..taken };
        assert_eq!(same.render_preview(), "a reload would change nothing of generation 3\n");
    }

    #[test]
    fn what_was_ordered_beyond_the_manifest_is_said() {
        let pledged = Pledged { format_version: FORMAT_VERSION, declared: 2, wanted: 5, proving: 1 };
        assert!(pledged.render().contains("3 of them ordered beyond pledge.sectors = 2"), "{}", pledged.render());
        let declared = Pledged { wanted: 2, ..pledged };
        assert_eq!(declared.render(), "target: 2 sectors in all, 1 proving\n");
    }
}
