//! The snapshot as text: what `seald status` prints and what `seald run` keeps on a terminal.
//!
//! Pure. Nothing is cut: a line is longer than 100 columns only when a reason is.

use super::{
    Alarm, BatchStatus, ChainStatus, DaemonState, EndpointStatus, HeldStatus, Preparing, RepoStatus, STALE_MS,
    SectorStatus, SlotStatus, Snapshot, Target, WELL,
    paint::{Colour, Side, Table, Tone, cell, maybe, toned},
    words,
};
use crate::{sector::State, units::UnixMillis};
use std::time::Duration;

/// The whole status, each line ended.
pub fn render(snapshot: &Snapshot, now: UnixMillis, colour: Colour, daemon: DaemonState) -> String {
    let view = View { now, colour };
    let Snapshot { preparing, target, slots, sectors, batches, counts, repos, alarms, .. } = snapshot;
    let states: Vec<String> = counts.iter().map(|(state, n)| format!("{n} {state}")).collect();
    let states = if states.is_empty() { String::new() } else { format!("states  {}\n", states.join(", ")) };
    [
        view.shout(snapshot),
        view.head(snapshot, daemon),
        view.chain(snapshot),
        view.target(target),
        states,
        launcher(snapshot),
        view.section("preparing", view.preparing(preparing)),
        view.section("slots", view.slots(slots)),
        view.section("sectors in flight", view.sectors(sectors)),
        view.section("batches", view.batches(batches)),
        view.section("repos", view.repos(repos)),
        view.section("alarms", view.alarms(alarms)),
    ]
    .concat()
}

fn launcher(snapshot: &Snapshot) -> String {
    match snapshot.launcher.as_str() {
        "" => String::new(),
        "direct" => "workers direct: running stages end with the daemon\n".to_owned(),
        launcher => format!("workers {launcher}: running stages outlive the daemon\n"),
    }
}

/// The last words of `seald run --until-target`.
pub fn summary(snapshot: &Snapshot, elapsed: Duration) -> String {
    let Target { wanted, proving, .. } = snapshot.target;
    let took = words::exactly(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX));
    let mut out = if proving >= wanted {
        format!("target met: {} proven on chain in {took}\n", words::count(proving, "sector"))
    } else {
        format!("target not met: {proving} of {} proven on chain in {took}\n", words::count(wanted, "sector"))
    };
    if let Some(miner) = snapshot.miner {
        let network = snapshot.chain.network.as_deref().unwrap_or("an unknown network");
        out.push_str(&format!("miner {miner} on {network}"));
        out.push_str(&snapshot.chain.head.map(|head| format!(", {head}")).unwrap_or_default());
        out.push('\n');
    }
    let restarts: u64 = snapshot.slots.iter().map(|slot| u64::from(slot.restarts)).sum();
    if restarts > 0 {
        out.push_str(&format!("workers were restarted: {}\n", words::count(restarts, "time")));
    }
    for Alarm { about, what, remedy } in &snapshot.alarms {
        out.push_str(&format!("alarm: {about}: {what} ({remedy})\n"));
    }
    if is_simulated(snapshot) {
        out.push_str(&format!("{SIMULATED}\n"));
    }
    out
}

/// Said wherever the fake prover's work is shown.
pub const SIMULATED: &str = "!!! SIMULATED PROVER: nothing is sealed and nothing is proven !!!";

/// Whether the work shown is the fake prover's.
pub fn is_simulated(snapshot: &Snapshot) -> bool {
    snapshot.prover == super::SIMULATED_PROVER
}

/// The colour an operator knows a sector state by.
pub fn tone_of(state: &str) -> Tone {
    match state.parse::<State>() {
        Ok(State::Proving) => Tone::Green,
        Ok(State::Terminating | State::Removing | State::Removed) => Tone::Cyan,
        Ok(state) if !state.is_failure() => Tone::Yellow,
        Ok(_) | Err(_) => Tone::Red,
    }
}

/// `2/5 proving, 1 in flight, ETA 3 min`.
pub fn progress(target: &Target) -> String {
    let Target { wanted, ordered, proving, in_flight, eta_ms } = target;
    if is_empty(target) {
        return "no sectors are wanted".to_owned();
    }
    let ordered = if *ordered > 0 { format!(" ({ordered} ordered by command)") } else { String::new() };
    let eta = eta_ms.map(|ms| format!(", ETA {}", words::about(ms))).unwrap_or_default();
    let met = if *proving >= *wanted && *in_flight == 0 { ", target met" } else { "" };
    format!("{proving}/{wanted} proving{ordered}, {in_flight} in flight{eta}{met}")
}

const fn is_empty(target: &Target) -> bool {
    target.wanted == 0 && target.proving == 0 && target.in_flight == 0
}

struct View {
    now: UnixMillis,
    colour: Colour,
}

impl View {
    fn shout(&self, snapshot: &Snapshot) -> String {
        if !is_simulated(snapshot) {
            return String::new();
        }
        format!("{}\n", self.colour.paint(Tone::Shout, SIMULATED))
    }

    fn head(&self, snapshot: &Snapshot, daemon: DaemonState) -> String {
        let Snapshot { version, pid, manifest, at, alarms, .. } = snapshot;
        let age = self.now.ms_since(*at);
        let (tone, running) = match daemon {
            DaemonState::Running if age < STALE_MS => (Tone::Green, format!("running, pid {pid}")),
            DaemonState::Running => {
                (Tone::Red, format!("running, pid {pid}, but silent; facts are {} old", words::about(age)))
            }
            DaemonState::Stopped => (Tone::Red, format!("not running; facts are {} old", words::about(age))),
        };
        let alarms = match alarms.len() {
            0 => String::new(),
            n => format!("   {}", self.colour.paint(Tone::Red, &words::count(u64::try_from(n).unwrap_or(0), "alarm"))),
        };
        let name = self.colour.paint(Tone::Strong, &format!("seald {version}"));
        format!("{name}   {}   {manifest}{alarms}\n", self.colour.paint(tone, &running))
    }

    fn chain(&self, snapshot: &Snapshot) -> String {
        let chain = &snapshot.chain;
        let miner = snapshot.miner.map_or_else(|| "not known yet".to_owned(), |id| id.to_string());
        let head = chain.head.map_or_else(|| "no head yet".to_owned(), |head| head.to_string());
        let seen =
            chain.seen.map(|seen| format!(", {} ago", words::about(self.now.ms_since(seen)))).unwrap_or_default();
        let mut parts = vec![
            format!("miner   {}", self.colour.paint(Tone::Blue, &miner)),
            format!("network {}", chain.network.as_deref().unwrap_or("not known yet")),
            format!("{head}{seen}"),
        ];
        if chain.messages_pending > 0 {
            parts.push(format!("{} pending", words::count(chain.messages_pending, "message")));
        }
        parts.extend(chain.worker_balance.map(|balance| format!("worker {balance}")));
        let trouble = chain.trouble.as_ref().map(|why| format!("chain   {}\n", self.colour.paint(Tone::Red, why)));
        format!("{}\n{}{}", parts.join("   "), trouble.unwrap_or_default(), self.endpoints(chain))
    }

    /// The nodes, where there is a choice or something is wrong with the only one that the trouble does not say.
    fn endpoints(&self, chain: &ChainStatus) -> String {
        let is_told = |node: &EndpointStatus| node.state == WELL || chain.trouble.is_some();
        if matches!(chain.endpoints.as_slice(), [] | [_]) && chain.endpoints.iter().all(is_told) {
            return String::new();
        }
        let line = |node: &EndpointStatus| {
            let tone = if node.state == WELL { Tone::Green } else { Tone::Yellow };
            let head = node.head.map(|head| format!("   {head}")).unwrap_or_default();
            let used = if node.in_use { "   in use" } else { "" };
            let why = node.why.as_ref().map(|why| format!("        {why}\n")).unwrap_or_default();
            let state = self.colour.paint(tone, &node.state.replace('_', " "));
            format!("node    {}   {state}{used}{head}\n{why}", node.name)
        };
        chain.endpoints.iter().map(line).collect()
    }

    fn target(&self, target: &Target) -> String {
        if is_empty(target) {
            return format!("target  {}\n", progress(target));
        }
        let tone = if target.proving >= target.wanted { Tone::Green } else { Tone::Yellow };
        let bar = self.colour.paint(tone, &words::bar(target.proving, target.wanted, 20));
        format!("target  {bar} {}\n", progress(target))
    }

    fn section(&self, title: &str, body: String) -> String {
        if body.is_empty() {
            return String::new();
        }
        format!("\n{}\n{body}", self.colour.paint(Tone::Strong, title))
    }

    fn preparing(&self, preparing: &[Preparing]) -> String {
        let mut table =
            Table::new(&[("", Side::Left), ("", Side::Left), ("", Side::Left), ("", Side::Right), ("", Side::Left)]);
        for Preparing { what, step, permille, eta_ms } in preparing {
            let bar = permille.map(|n| words::bar(u64::from(n), 1000, 20)).unwrap_or_default();
            let eta = eta_ms.map(|ms| format!("ETA {}", words::about(ms)));
            let done = permille.map(words::percent);
            table.row([cell(what), cell(step), toned(bar, Tone::Yellow), maybe(done), maybe(eta)], None);
        }
        table.render(self.colour)
    }

    fn slots(&self, slots: &[SlotStatus]) -> String {
        let mut table = Table::new(&[
            ("slot", Side::Left),
            ("state", Side::Left),
            ("task", Side::Left),
            ("pid", Side::Right),
            ("restarts", Side::Right),
            ("note", Side::Left),
        ]);
        for SlotStatus { slot, instance, state, pid, task, restarts, note, held, placement: _ } in slots {
            let tone = match state.as_str() {
                "busy" => Tone::Yellow,
                "backoff" | "quarantined" => Tone::Red,
                _ => Tone::Plain,
            };
            let restarts = (*restarts > 0).then_some(restarts);
            let name = cell(format!("{slot}/{instance}"));
            let held = held.as_ref().map(|held| toned(self.held(held), Tone::Yellow));
            table.row(
                [name, toned(state, tone), maybe(task.as_ref()), maybe(*pid), maybe(restarts), maybe(note.as_ref())],
                held,
            );
        }
        table.render(self.colour)
    }

    fn held(&self, HeldStatus { place, how, since }: &HeldStatus) -> String {
        let age = words::about(self.now.ms_since(*since));
        format!("{} by an operator for {age}, no new task: `seald resume {place}`", how.as_str())
    }

    fn sectors(&self, sectors: &[SectorStatus]) -> String {
        let mut table = Table::new(&[
            ("sector", Side::Right),
            ("state", Side::Left),
            ("for", Side::Left),
            ("step", Side::Left),
            ("done", Side::Right),
            ("eta", Side::Left),
            ("slot", Side::Left),
            ("waits for", Side::Left),
            ("until", Side::Left),
        ]);
        for sector in sectors {
            let SectorStatus { number, state, entered, step, permille, eta_ms, slot, waits_for, until, .. } = sector;
            let cells = [
                cell(number),
                toned(state, tone_of(state)),
                cell(words::about(self.now.ms_since(*entered))),
                maybe(step.as_ref()),
                maybe(permille.map(words::percent)),
                maybe(eta_ms.map(words::about)),
                maybe(slot.as_ref()),
                maybe(waits_for.as_ref()),
                maybe(until.as_ref()),
            ];
            table.row(cells, failure_of(sector).map(|why| toned(why, Tone::Red)));
        }
        table.render(self.colour)
    }

    fn batches(&self, batches: &[BatchStatus]) -> String {
        let mut table = Table::new(&[
            ("batch", Side::Left),
            ("for", Side::Left),
            ("state", Side::Left),
            ("sectors", Side::Right),
            ("oldest", Side::Left),
            ("leaves", Side::Left),
            ("waits for", Side::Left),
        ]);
        for BatchStatus { id, kind, state, sectors, oldest, leaves, waits_for, .. } in batches {
            let cells = [
                // enough to tell them apart; `sectors show` has all of it
                cell(id.chars().take(8).collect::<String>()),
                cell(kind),
                toned(state, Tone::Yellow),
                cell(sectors.len()),
                cell(words::about(self.now.ms_since(*oldest))),
                maybe(leaves.map(|at| words::within(at, self.now))),
                maybe(waits_for.as_ref()),
            ];
            table.row(cells, None);
        }
        table.render(self.colour)
    }

    fn repos(&self, repos: &[RepoStatus]) -> String {
        let mut table = Table::new(&[
            ("repo", Side::Left),
            ("state", Side::Left),
            ("roles", Side::Left),
            ("free", Side::Right),
            ("reserved", Side::Right),
            ("capacity", Side::Right),
            ("path", Side::Left),
        ]);
        for RepoStatus { name, path, state, roles, capacity, free, reserved } in repos {
            let tone = if state == "ready" { Tone::Green } else { Tone::Red };
            let roles = if roles.is_empty() { "read only".to_owned() } else { roles.join(" ") };
            let sizes = [cell(free), cell(reserved), cell(capacity)];
            let row = [cell(name), toned(state, tone), cell(roles)].into_iter().chain(sizes).chain([cell(path)]);
            table.row(row, None);
        }
        table.render(self.colour)
    }

    fn alarms(&self, alarms: &[Alarm]) -> String {
        let line = |Alarm { about, what, remedy }: &Alarm| {
            format!("  {}\n      {remedy}\n", self.colour.paint(Tone::Red, &format!("{about}: {what}")))
        };
        alarms.iter().map(line).collect()
    }
}

/// `attempt 2 failed: …`, when the last one did.
pub fn failure_of(sector: &SectorStatus) -> Option<String> {
    let failure = sector.failure.as_ref()?;
    let attempt = if sector.attempts > 0 { format!("attempt {} failed", sector.attempts) } else { "failed".to_owned() };
    Some(format!("{attempt}: {failure}"))
}
