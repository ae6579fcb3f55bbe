//! What happened between two snapshots, one line for each change: what `seald run` prints when nobody watches a
//! terminal. Pure; only running figures are thinned out, by the snapshots' own time.

use super::{Alarm, Preparing, SectorStatus, SlotStatus, Snapshot, text, words};
use crate::{sector::State, units::UnixMillis};
use std::collections::BTreeMap;

/// A running figure gets a line this often.
const PROGRESS_EVERY_MS: u64 = 10_000;

/// Remembers what was said, and says what is new.
#[derive(Debug, Default)]
pub struct Narrator {
    /// The journal stamps each line itself, and has every change of a sector's state as an entry with fields.
    journal: bool,
    last: Option<Snapshot>,
    /// What was last said about a thing that runs.
    said: BTreeMap<String, Said>,
}

#[derive(Debug)]
struct Said {
    at: UnixMillis,
    /// The reason to wait it named; reasons that hold a running figure change all the time.
    waits_for: Option<String>,
}

impl Narrator {
    /// For lines that go to the journal, beside the log.
    pub fn for_journal() -> Self {
        Self { journal: true, ..Self::default() }
    }

    /// The lines that `snapshot` adds to what was told before; the first one tells everything.
    pub fn tell(&mut self, snapshot: &Snapshot) -> Vec<String> {
        let last = self.last.take();
        let before = last.as_ref();
        let mut lines = greeting(before, snapshot);
        self.preparing(before, snapshot, &mut lines);
        self.sectors(before, snapshot, &mut lines);
        slots(before, snapshot, &mut lines);
        target(before, snapshot, &mut lines);
        alarms(before, snapshot, &mut lines);
        self.last = Some(snapshot.clone());
        if self.journal {
            return lines;
        }
        let clock = words::clock(snapshot.at);
        lines.into_iter().map(|line| format!("{clock} {line}")).collect()
    }

    fn preparing(&mut self, before: Option<&Snapshot>, now: &Snapshot, lines: &mut Vec<String>) {
        let before = before.map(|b| b.preparing.as_slice()).unwrap_or_default();
        for Preparing { what, step, permille, eta_ms } in &now.preparing {
            let known = before.iter().find(|p| p.what == *what);
            if known.map(|p| &p.step) != Some(step) {
                self.say(what, now.at, None);
                lines.push(format!("preparing {what}: {step}"));
            } else if permille.is_some() && self.is_due(what, now.at) {
                self.say(what, now.at, None);
                lines.push(format!("preparing {what}: {step}{}", figures(*permille, *eta_ms)));
            }
        }
        for gone in before.iter().filter(|p| now.preparing.iter().all(|n| n.what != p.what)) {
            self.said.remove(&gone.what);
            lines.push(format!("prepared {}", gone.what));
        }
    }

    fn sectors(&mut self, before: Option<&Snapshot>, now: &Snapshot, lines: &mut Vec<String>) {
        let before = before.map(|b| b.sectors.as_slice()).unwrap_or_default();
        for sector in &now.sectors {
            let known = before.iter().find(|s| s.number == sector.number);
            let subject = format!("sector {}", sector.number);
            let news = |field: fn(&SectorStatus) -> &Option<String>| known.map(field) != Some(field(sector));
            let failure = text::failure_of(sector).filter(|_| news(|s| &s.failure));
            let told = lines.len();
            match known {
                // a trim that was put off: it counts already, and only what holds it up is news
                None if sector.state == State::Proving.as_str() && sector.waits_for.is_none() => {}
                None => lines.push(format!("{subject} {}{}", sector.state, waiting(sector))),
                Some(old) if old.state != sector.state && !self.journal => {
                    lines.push(format!("{subject} {} -> {}{}", old.state, sector.state, waiting(sector)));
                }
                Some(_) if failure.is_none() && self.is_due(&subject, now.at) => {
                    lines.extend(self.running(&subject, sector));
                }
                Some(_) => {}
            }
            lines.extend(failure.map(|failure| format!("{subject} {failure}")));
            if lines.len() > told {
                self.say(&subject, now.at, sector.waits_for.clone());
            }
        }
        // a sector leaves the list in one of two ways: it is proven, or its files are removed
        for gone in before.iter().filter(|s| now.sectors.iter().all(|n| n.number != s.number)) {
            self.said.remove(&format!("sector {}", gone.number));
            if self.journal || gone.state == State::Proving.as_str() {
                continue;
            }
            let removed = [State::Removing, State::Terminating].iter().any(|state| gone.state == state.as_str());
            let to = if removed { State::Removed } else { State::Proving };
            lines.push(format!("sector {} {} -> {to}", gone.number, gone.state));
        }
    }

    /// What there is to say about a sector that stands where it stood: how far it is, or a new reason to wait.
    fn running(&self, subject: &str, sector: &SectorStatus) -> Option<String> {
        let SectorStatus { state, step, permille, eta_ms, waits_for, .. } = sector;
        if permille.is_some() {
            let step = step.as_ref().map(|step| format!(" {step}")).unwrap_or_default();
            return Some(format!("{subject} {state}{step}{}", figures(*permille, *eta_ms)));
        }
        let said = self.said.get(subject).and_then(|said| said.waits_for.as_ref());
        (waits_for.is_some() && waits_for.as_ref() != said).then(|| format!("{subject} {state}{}", waiting(sector)))
    }

    fn say(&mut self, subject: &str, at: UnixMillis, waits_for: Option<String>) {
        self.said.insert(subject.to_owned(), Said { at, waits_for });
    }

    /// Whether nothing was said about `subject` for a while.
    fn is_due(&self, subject: &str, at: UnixMillis) -> bool {
        self.said.get(subject).is_none_or(|said| at.ms_since(said.at) >= PROGRESS_EVERY_MS)
    }
}

fn greeting(before: Option<&Snapshot>, now: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if before.is_none() {
        lines.push(format!("seald {}, pid {}, {}", now.version, now.pid, now.manifest));
        if text::is_simulated(now) {
            lines.push(text::SIMULATED.to_owned());
        }
    }
    let known = before.and_then(|b| b.miner);
    if let Some(miner) = now.miner.filter(|miner| known != Some(*miner)) {
        let network = now.chain.network.as_deref().unwrap_or("an unknown network");
        lines.push(format!("miner {miner} on {network}"));
    }
    match (before.and_then(|b| b.chain.trouble.as_ref()), &now.chain.trouble) {
        (old, Some(trouble)) if old != Some(trouble) => lines.push(format!("chain: {trouble}")),
        (Some(_), None) => lines.push("chain: answers again".to_owned()),
        (_, _) => {}
    }
    lines
}

fn slots(before: Option<&Snapshot>, now: &Snapshot, lines: &mut Vec<String>) {
    let is_down = |slot: &SlotStatus| matches!(slot.state.as_str(), "backoff" | "quarantined");
    for slot in &now.slots {
        let same = |s: &&SlotStatus| s.slot == slot.slot && s.instance == slot.instance;
        let old = before.and_then(|b| b.slots.iter().find(same));
        let name = format!("slot {}/{}", slot.slot, slot.instance);
        let note = slot.note.as_ref().map(|note| format!(": {note}")).unwrap_or_default();
        let held = |s: &SlotStatus| s.held.as_ref().map(|held| (held.how, held.place.clone()));
        match (old.and_then(held), held(slot)) {
            (was, Some((how, place))) if was != Some((how, place.clone())) => {
                lines.push(format!("{name} {} by an operator, until `seald resume {place}`", how.as_str()));
            }
            (Some(_), None) => lines.push(format!("{name} takes tasks again")),
            (_, _) => {}
        }
        match (old.is_some_and(is_down), is_down(slot)) {
            (was, true) if !was || old.is_some_and(|o| o.state != slot.state) => {
                lines.push(format!("{name} {}{note}", slot.state));
            }
            (true, false) => lines.push(format!("{name} {}", slot.state)),
            (_, _) => {}
        }
    }
}

fn target(before: Option<&Snapshot>, now: &Snapshot, lines: &mut Vec<String>) {
    let figures = |s: &Snapshot| (s.target.wanted, s.target.proving);
    if before.map(figures) != Some(figures(now)) {
        lines.push(format!("target {}", text::progress(&now.target)));
    }
}

fn alarms(before: Option<&Snapshot>, now: &Snapshot, lines: &mut Vec<String>) {
    let before = before.map(|b| b.alarms.as_slice()).unwrap_or_default();
    let raised = now.alarms.iter().filter(|alarm| !before.contains(alarm));
    lines.extend(raised.map(|Alarm { about, what, remedy }| format!("ALARM {about}: {what}; {remedy}")));
    let over = before.iter().filter(|alarm| !now.alarms.contains(alarm));
    lines.extend(over.map(|Alarm { about, what, .. }| format!("alarm over: {about}: {what}")));
}

fn figures(permille: Option<u16>, eta_ms: Option<u64>) -> String {
    let done = permille.map(|n| format!(" {}", words::percent(n))).unwrap_or_default();
    let eta = eta_ms.map(|ms| format!(" ETA {}", words::about(ms))).unwrap_or_default();
    format!("{done}{eta}")
}

fn waiting(sector: &SectorStatus) -> String {
    let Some(reason) = &sector.waits_for else { return String::new() };
    let until = sector.until.as_ref().map(|until| format!(" until {until}")).unwrap_or_default();
    format!(", waits for {reason}{until}")
}
