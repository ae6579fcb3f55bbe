//! The snapshot as Prometheus text: one table of metrics, from which the text and docs/metrics.md are made. Pure.
//!
//! Names begin with `seald_` and end with their unit. What is not known has no sample: there is no NaN.

use super::{Alarm, BatchStatus, HeldStatus, RepoStatus, SectorStatus, SlotStatus, Snapshot, StageStatus};
use crate::{
    sector::State,
    units::{AttoFil, UnixMillis},
};
use std::collections::BTreeMap;

/// What a metric is to Prometheus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Only grows while the daemon lives.
    Counter,
}

impl Kind {
    /// The word of the text format.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
        }
    }
}

/// One value with its labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Name and value of each label, in order.
    pub labels: Vec<(&'static str, String)>,
    /// A decimal number.
    pub value: String,
}

/// One metric.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Its name.
    pub name: &'static str,
    /// What it is to Prometheus.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says.
    pub help: &'static str,
    read: fn(&Snapshot) -> Vec<Sample>,
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Snapshot) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind: Kind::Gauge, labels, help, read }
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: fn(&Snapshot) -> Vec<Sample>,
) -> Metric {
    Metric { name, kind: Kind::Counter, labels, help, read }
}

/// Every metric, in the order in which they are printed. A name is a contract for dashboards and alert rules.
pub const METRICS: &[Metric] = &[
    gauge("seald_info", &["version", "miner", "network", "prover", "launcher"], "Which seald this is; always 1.", info),
    gauge("seald_facts_timestamp_seconds", &[], "When the facts of this page were true, Unix time.", |s| {
        one(seconds_at(s.at))
    }),
    gauge("seald_manifest_generation", &[], "Generation of the manifest that is in force; absent without one.", |s| {
        maybe(s.generation.map(|generation| generation.number))
    }),
    gauge("seald_manifest_applied_timestamp_seconds", &[], "Since when it is in force, Unix time.", |s| {
        maybe(s.generation.map(|generation| seconds_at(generation.since)))
    }),
    gauge("seald_preparing", &[], "Pieces of start-up work still going on.", |s| one(count(s.preparing.len()))),
    gauge("seald_alarms", &["about"], "Alarms raised now, by the kind of thing they are about.", alarms),
    gauge("seald_target_sectors", &[], "Sectors wanted in all, declared or ordered.", |s| one(s.target.wanted)),
    gauge("seald_target_ordered_sectors", &[], "Of them, ordered by command beyond the manifest.", |s| {
        one(s.target.ordered)
    }),
    gauge("seald_target_eta_seconds", &[], "Estimated time until the target is met; absent while unknown.", |s| {
        maybe(s.target.eta_ms.map(seconds))
    }),
    gauge("seald_proving_sectors", &[], "Sectors proven on chain.", |s| one(s.target.proving)),
    gauge("seald_in_flight_sectors", &[], "Sectors between creation and Proving.", |s| one(s.target.in_flight)),
    gauge("seald_sectors", &["state"], "Sectors by state; every state has a sample.", states),
    gauge("seald_waiting_sectors", &[], "Sectors in flight that wait for something.", |s| {
        one(count(s.sectors.iter().filter(|sector| sector.waits_for.is_some()).count()))
    }),
    gauge("seald_failed_sectors", &[], "Sectors in flight whose last attempt failed.", |s| {
        one(count(s.sectors.iter().filter(|sector| sector.failure.is_some()).count()))
    }),
    gauge("seald_longest_wait_seconds", &[], "How long a sector has waited for the same thing, the longest.", wait),
    gauge("seald_deadline_slack_epochs", &[], "Epochs to the nearest deadline of a sector; absent without one.", |s| {
        maybe(s.sectors.iter().filter_map(|sector| Some(sector.deadline.as_ref()?.slack)).min())
    }),
    gauge("seald_stage_seconds", &["stage"], "Mean duration of a stage here, once it was measured.", stages),
    gauge("seald_slots", &["slot", "state"], "Worker processes by slot and state.", slots),
    gauge("seald_slots_held", &["slot", "how"], "Worker processes that operators hold, by how.", held),
    counter("seald_slot_restarts_total", &["slot", "worker"], "Starts of a worker process after its first.", |s| {
        let sample = |slot: &SlotStatus| Sample {
            labels: vec![("slot", slot.slot.to_string()), ("worker", slot.instance.to_string())],
            value: slot.restarts.to_string(),
        };
        s.slots.iter().map(sample).collect()
    }),
    counter("seald_tasks_given_total", &[], "Tasks given to workers since the daemon started.", |s| {
        one(s.scheduling.tasks)
    }),
    counter("seald_tasks_done_total", &[], "Tasks that ended well since the daemon started.", |s| {
        one(s.scheduling.done)
    }),
    counter("seald_task_busy_seconds_total", &[], "Time workers spent on tasks that ended well.", |s| {
        one(micros(s.scheduling.busy_us))
    }),
    counter("seald_task_wait_seconds_total", &[], "Time free workers and tasks for them waited for each other.", |s| {
        one(micros(s.scheduling.wait_us))
    }),
    gauge("seald_task_longest_wait_seconds", &[], "The longest of these waits.", |s| {
        one(micros(s.scheduling.longest_wait_us))
    }),
    gauge("seald_batches", &["kind", "state"], "Messages that sectors share and that are not settled.", batches),
    gauge("seald_messages_pending", &[], "Messages that may still land.", |s| one(s.chain.messages_pending)),
    gauge("seald_chain_head_epoch", &[], "Height of the chain's head as last read.", |s| {
        maybe(s.chain.head.map(|head| head.as_i64()))
    }),
    gauge("seald_chain_read_age_seconds", &[], "Age of the last reading of the chain.", |s| {
        maybe(s.chain.seen.map(|seen| seconds(s.at.ms_since(seen))))
    }),
    gauge("seald_chain_trouble", &[], "1 while the chain cannot be read.", |s| {
        one(u64::from(s.chain.trouble.is_some()))
    }),
    gauge("seald_worker_balance_fil", &[], "Balance of the miner's worker account.", |s| {
        maybe(s.chain.worker_balance.map(fil))
    }),
    gauge("seald_repo_ready", &["repo"], "1 while the repo can be used.", |s| {
        repos(s, |repo| Some(u64::from(repo.state == "ready")))
    }),
    gauge("seald_repo_capacity_bytes", &["repo"], "Size of the repo's file system, or max_use if that is less.", |s| {
        repos(s, |repo| Some(repo.capacity.as_u64()))
    }),
    gauge("seald_repo_free_bytes", &["repo"], "Bytes that may still be written; absent without roles.", |s| {
        repos(s, |repo| (!repo.roles.is_empty()).then(|| repo.free.as_u64()))
    }),
    gauge("seald_repo_reserved_bytes", &["repo"], "Bytes promised to sectors in flight.", |s| {
        repos(s, |repo| Some(repo.reserved.as_u64()))
    }),
];

/// The snapshot in Prometheus's text format, version 0.0.4.
pub fn render(snapshot: &Snapshot) -> String {
    let mut out = String::new();
    for Metric { name, kind, labels: _, help, read } in METRICS {
        let samples = read(snapshot);
        if samples.is_empty() {
            continue;
        }
        out.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {}\n", kind.as_str()));
        for Sample { labels, value } in samples {
            let labels: Vec<String> =
                labels.iter().map(|(label, text)| format!("{label}=\"{}\"", escaped(text))).collect();
            let labels = if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
            out.push_str(&format!("{name}{labels} {value}\n"));
        }
    }
    out
}

/// The list of metrics as a document.
pub fn document() -> String {
    let mut out = String::from(
        "# Metrics\n\n\
         Made from `seald::status::metrics::METRICS` by `tests/it/docs.rs`; `UPDATE_EXPECT=1 tests/run` writes it anew.\n\n\
         `seald metrics` prints them, `GET /v1/metrics` on the control socket answers them, and with `[node] address` in\n\
         the manifest `GET /metrics` on that address does. The alert rules in `packaging/monitoring` want the job to be called\n\
         `seald`:\n\n\
         ```yaml\nscrape_configs:\n  - job_name: seald\n    static_configs:\n      - targets: [\"10.0.0.2:3456\"]\n```\n\n\
         | name | type | labels | meaning |\n| --- | --- | --- | --- |\n",
    );
    for Metric { name, kind, labels, help, read: _ } in METRICS {
        let labels: Vec<String> = labels.iter().map(|label| format!("`{label}`")).collect();
        out.push_str(&format!("| `{name}` | {} | {} | {help} |\n", kind.as_str(), labels.join(", ")));
    }
    out
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

fn one(value: impl ToString) -> Vec<Sample> {
    vec![Sample { labels: Vec::new(), value: value.to_string() }]
}

fn maybe(value: Option<impl ToString>) -> Vec<Sample> {
    value.map(one).unwrap_or_default()
}

fn count(n: usize) -> u64 {
    u64::try_from(n).unwrap_or(u64::MAX)
}

/// Milliseconds as seconds.
fn seconds(ms: u64) -> String {
    decimal(u128::from(ms), 3)
}

fn seconds_at(at: UnixMillis) -> String {
    decimal(u128::from(at.ms_since(UnixMillis::default())), 3)
}

fn micros(us: u64) -> String {
    decimal(u128::from(us), 6)
}

fn fil(amount: AttoFil) -> String {
    let sign = if amount.as_atto() < 0 { "-" } else { "" };
    format!("{sign}{}", decimal(amount.as_atto().unsigned_abs(), 18))
}

/// `n` as a number with so many decimals: exact, where a float would not be.
fn decimal(n: u128, decimals: usize) -> String {
    let digits = format!("{n:0>width$}", width = decimals.saturating_add(1));
    let (whole, fraction) = digits.split_at(digits.len().saturating_sub(decimals));
    format!("{whole}.{fraction}").trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// How many of each, by labels.
fn tally<const N: usize>(names: [&'static str; N], things: impl Iterator<Item = [String; N]>) -> Vec<Sample> {
    let mut sums: BTreeMap<[String; N], u64> = BTreeMap::new();
    for thing in things {
        let sum = sums.entry(thing).or_default();
        *sum = sum.saturating_add(1);
    }
    let sample = |(values, n): ([String; N], u64)| Sample {
        labels: names.into_iter().zip(values).collect(),
        value: n.to_string(),
    };
    sums.into_iter().map(sample).collect()
}

fn info(snapshot: &Snapshot) -> Vec<Sample> {
    let labels = vec![
        ("version", snapshot.version.clone()),
        ("miner", snapshot.miner.map(|miner| miner.to_string()).unwrap_or_default()),
        ("network", snapshot.chain.network.clone().unwrap_or_default()),
        ("prover", snapshot.prover.clone()),
        ("launcher", snapshot.launcher.clone()),
    ];
    vec![Sample { labels, value: "1".to_owned() }]
}

/// The kind of thing an alarm is about: `sector` for `sector 3`, `proof parameters` as it is.
fn alarms(snapshot: &Snapshot) -> Vec<Sample> {
    let kind = |alarm: &Alarm| {
        let (first, rest) = alarm.about.split_once(' ').unwrap_or((&alarm.about, ""));
        let numbered = matches!(first, "sector" | "sectors" | "batches" | "slot" | "repo") && !rest.is_empty();
        [if numbered { first.to_owned() } else { alarm.about.clone() }]
    };
    let found = tally(["about"], snapshot.alarms.iter().map(kind));
    // a rule that looks for none needs a sample
    if found.is_empty() {
        vec![Sample { labels: vec![("about", "nothing".to_owned())], value: "0".to_owned() }]
    } else {
        found
    }
}

fn states(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |state: &State| {
        let known = snapshot.counts.iter().find(|(name, _)| name == state.as_str());
        Sample { labels: vec![("state", state.to_string())], value: known.map_or(0, |(_, n)| *n).to_string() }
    };
    State::ALL.iter().map(of).collect()
}

fn wait(snapshot: &Snapshot) -> Vec<Sample> {
    let waits = |sector: &SectorStatus| sector.waits_for.as_ref().and(sector.since);
    let longest = snapshot.sectors.iter().filter_map(waits).map(|since| snapshot.at.ms_since(since)).max();
    one(seconds(longest.unwrap_or(0)))
}

fn stages(snapshot: &Snapshot) -> Vec<Sample> {
    let sample = |StageStatus { stage, mean_ms }: &StageStatus| Sample {
        labels: vec![("stage", stage.as_str().to_owned())],
        value: seconds(*mean_ms),
    };
    snapshot.stages.iter().map(sample).collect()
}

fn slots(snapshot: &Snapshot) -> Vec<Sample> {
    tally(["slot", "state"], snapshot.slots.iter().map(|slot| [slot.slot.to_string(), slot.state.clone()]))
}

fn held(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |slot: &SlotStatus| {
        let HeldStatus { how, .. } = slot.held.as_ref()?;
        Some([slot.slot.to_string(), how.as_str().to_owned()])
    };
    tally(["slot", "how"], snapshot.slots.iter().filter_map(of))
}

fn batches(snapshot: &Snapshot) -> Vec<Sample> {
    let of = |BatchStatus { kind, state, .. }: &BatchStatus| [kind.clone(), state.clone()];
    tally(["kind", "state"], snapshot.batches.iter().map(of))
}

fn repos(snapshot: &Snapshot, value: impl Fn(&RepoStatus) -> Option<u64>) -> Vec<Sample> {
    let sample = |repo: &RepoStatus| {
        Some(Sample { labels: vec![("repo", repo.name.to_string())], value: value(repo)?.to_string() })
    };
    snapshot.repos.iter().filter_map(sample).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{status::Scheduling, units::Bytes};
    use std::collections::BTreeSet;

    fn snapshot() -> Snapshot {
        let alarm = |about: &str| Alarm { about: about.to_owned(), what: String::new(), remedy: String::new() };
        let slot = SlotStatus {
            slot: "gpu0".parse().unwrap(),
            instance: 1,
            state: "idle".to_owned(),
            pid: None,
            task: None,
            placement: None,
            restarts: 3,
            note: None,
            held: Some(HeldStatus {
                place: "gpu0".parse().unwrap(),
                how: crate::plan::How::Drained,
                since: UnixMillis::new(1),
            }),
        };
        let mut snapshot = Snapshot {
            prover: "a \"strange\" \\ one\n".to_owned(),
            slots: vec![slot],
            alarms: vec![alarm("sector 3"), alarm("sector 4"), alarm("proof parameters")],
            scheduling: Scheduling { tasks: 2, wait_us: 1_500, longest_wait_us: 1_000, done: 1, busy_us: 2_000_000 },
            ..Snapshot::empty(UnixMillis::new(1_772_366_621_005))
        };
        snapshot.chain.worker_balance = Some(AttoFil::from_atto(-1_500_000_000_000_000_000));
        snapshot
    }

    /// As a Prometheus server reads a line: name, labels, a number.
    fn parse(line: &str) -> (String, f64) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        let name = series.split('{').next().unwrap();
        assert!(name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'), "{line}");
        if let Some(labels) = series.strip_prefix(name).filter(|labels| !labels.is_empty()) {
            assert!(labels.starts_with('{') && labels.ends_with("\"}"), "{line}");
            let bare = labels.replace("\\\\", "").replace("\\\"", "");
            assert_eq!(bare.matches('"').count() % 2, 0, "{line}");
        }
        let value: f64 = value.parse().unwrap();
        assert!(value.is_finite(), "{line}");
        (name.to_owned(), value)
    }

    #[test]
    fn every_line_parses_and_no_value_is_missing_or_endless() {
        for snapshot in [snapshot(), Snapshot::empty(UnixMillis::new(0))] {
            let text = render(&snapshot);
            let mut told = BTreeSet::new();
            for line in text.lines() {
                if let Some(about) = line.strip_prefix("# TYPE ") {
                    assert!(told.insert(about.split(' ').next().unwrap().to_owned()), "{line} comes twice");
                } else if !line.starts_with("# HELP ") {
                    assert!(told.contains(&parse(line).0), "{line} has no type");
                }
            }
            let series: Vec<&str> = text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .filter_map(|line| line.rsplit_once(' '))
                .map(|(s, _)| s)
                .collect();
            assert_eq!(series.iter().collect::<BTreeSet<_>>().len(), series.len(), "a series comes twice");
        }
    }

    /// An alert about a repo that is nearly full must not tell of one that nothing is written to.
    #[test]
    fn only_a_repo_that_is_written_to_has_free_space() {
        let repo = |name: &str, roles: &[&str]| RepoStatus {
            name: name.parse().unwrap(),
            path: String::new(),
            state: "ready".to_owned(),
            roles: roles.iter().map(|role| (*role).to_owned()).collect(),
            capacity: Bytes::new(9),
            free: Bytes::new(1),
            reserved: Bytes::default(),
        };
        let snapshot = Snapshot { repos: vec![repo("new", &["store"]), repo("old", &[])], ..snapshot() };
        let text = render(&snapshot);
        let of = |name: &str| text.lines().filter(|line| line.starts_with(name)).collect::<Vec<_>>();
        assert_eq!(of("seald_repo_free_bytes{"), ["seald_repo_free_bytes{repo=\"new\"} 1"]);
        assert_eq!(of("seald_repo_ready{").len(), 2);
    }

    #[test]
    fn names_and_labels_are_what_the_list_says() {
        for Metric { name, kind, labels, read, .. } in METRICS {
            assert!(name.starts_with("seald_"), "{name}");
            assert_eq!(name.ends_with("_total"), *kind == Kind::Counter, "{name}");
            for sample in read(&snapshot()) {
                assert_eq!(sample.labels.iter().map(|(label, _)| *label).collect::<Vec<_>>(), *labels, "{name}");
            }
        }
    }

    #[test]
    fn values_are_exact() {
        let text = render(&snapshot());
        for line in [
            "seald_facts_timestamp_seconds 1772366621.005",
            "seald_alarms{about=\"sector\"} 2",
            "seald_alarms{about=\"proof parameters\"} 1",
            "seald_slots_held{slot=\"gpu0\",how=\"drained\"} 1",
            "seald_slot_restarts_total{slot=\"gpu0\",worker=\"1\"} 3",
            "seald_task_wait_seconds_total 0.0015",
            "seald_task_busy_seconds_total 2",
            "seald_worker_balance_fil -1.5",
            "seald_sectors{state=\"Proving\"} 0",
        ] {
            assert!(text.lines().any(|found| found == line), "no line {line:?} in\n{text}");
        }
        assert!(text.contains("prover=\"a \\\"strange\\\" \\\\ one\\n\""), "{text}");
        assert_eq!(
            (decimal(0, 3), decimal(100, 0), decimal(5, 18)),
            ("0".to_owned(), "100".to_owned(), "0.000000000000000005".to_owned())
        );
    }
}
