//! Workers and what they do, as Lotus's `WorkerStats`, `WorkerJobs` and `SealingSchedDiag` have them. Pure.

use super::{
    sectors::sector_id,
    site::{Job, Site, Worker},
    words::{stage_of, task, tasks},
};
use crate::{
    host::memory::Memory,
    plan::Assignee,
    sector::State,
    status::SectorStatus,
    units::{MinerId, UnixMillis},
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use uuid::{Builder, Uuid};

/// A name as a UUID, which Lotus's clients insist on: the same for the same words, so that dashboards keep their lines.
fn named(words: &str) -> Uuid {
    let hash = blake2b_simd::Params::new().hash_length(16).hash(words.as_bytes());
    let mut bytes = [0; 16];
    bytes.iter_mut().zip(hash.as_bytes()).for_each(|(byte, from)| *byte = *from);
    Builder::from_random_bytes(bytes).into_uuid()
}

/// The id of a worker: of its place, whichever process has it.
pub fn worker_id(host: &str, who: &Assignee) -> Uuid {
    named(&format!("seald worker {host} {who}"))
}

fn job_id(job: &Job) -> Uuid {
    named(&format!("seald job {} {} {}", job.task, job.sector, job.stage.as_str()))
}

/// A moment as Go writes it.
pub fn moment(at: UnixMillis) -> String {
    Timestamp::from_millisecond(at.as_i64()).unwrap_or_default().to_string()
}

/// `WorkerStats`. `GPUs` is never null and `MemPhysical` never 0: tools take the length of the one and divide by the other.
pub fn stats(site: &Site, host: &str, memory: Memory) -> Value {
    let stats =
        site.workers.iter().map(|worker| (worker_id(host, &worker.who).to_string(), stat(site, worker, host, memory)));
    Value::Object(stats.collect())
}

fn stat(site: &Site, worker: &Worker, host: &str, memory: Memory) -> Value {
    let Worker { who, stages, enabled, cpus, gpu, memory: taken, job } = worker;
    let Memory { physical, used, swap, swap_used } = memory;
    let gpus: Vec<_> = gpu.iter().collect();
    let counts: Map<String, Value> = job.iter().map(|job| (counted(site, job), json!(1))).collect();
    let busy = job.is_some();
    json!({
        "Info": {
            // one line a worker: several share the machine
            "Hostname": format!("{host}:{who}"),
            "IgnoreResources": false,
            "Resources": {
                "MemPhysical": physical.as_u64().max(1),
                "MemUsed": used.as_u64(),
                "MemSwap": swap.as_u64(),
                "MemSwapUsed": swap_used.as_u64(),
                "CPUs": cpus,
                "GPUs": gpus,
                "Resources": null,
            },
        },
        "Tasks": stages.iter().flat_map(|stage| tasks(*stage)).collect::<Vec<_>>(),
        "Enabled": enabled,
        "MemUsedMin": taken.as_u64(),
        "MemUsedMax": taken.as_u64(),
        "GpuUsed": u8::from(busy && gpu.is_some()),
        "CpuUse": if busy { *cpus } else { 0 },
        "TaskCounts": counts,
    })
}

fn counted(site: &Site, job: &Job) -> String {
    format!("{}:{}", site.sector_size.seal_proof().as_i64(), task(job.stage))
}

/// `WorkerJobs`: every worker with a job.
pub fn jobs(site: &Site, miner: MinerId, host: &str) -> Value {
    let jobs = site.workers.iter().filter_map(|worker| {
        let job = worker.job.as_ref()?;
        let sector = sector_id(miner, job.sector);
        let line = json!({
            "ID": { "Sector": sector, "ID": job_id(job) },
            "Sector": sector,
            "Task": task(job.stage),
            // it runs; what waits has no worker yet and is in SealingSchedDiag
            "RunWait": 0,
            "Start": moment(job.since),
            "Hostname": format!("{host}:{}", worker.who),
        });
        Some((worker_id(host, &worker.who).to_string(), json!([line])))
    });
    Value::Object(jobs.collect())
}

/// `SealingSchedDiag`: stages that wait for a worker, and workers that wait for a stage.
pub fn waiting(site: &Site, miner: MinerId, host: &str, sectors: &[SectorStatus]) -> Value {
    let requests = sectors.iter().filter(|sector| sector.slot.is_none()).filter_map(|sector| {
        let stage = stage_of(sector.state.parse::<State>().ok()?)?;
        Some(json!({
            "Sector": sector_id(miner, sector.number),
            "TaskType": task(stage),
            "Priority": 0,
            "SchedId": named(&format!("seald wait {} {}", sector.number, sector.entered.as_i64())),
        }))
    });
    let open = site.workers.iter().filter(|worker| worker.enabled && worker.job.is_none());
    let open: Vec<_> = open.map(|worker| worker_id(host, &worker.who)).collect();
    json!({
        "SchedInfo": { "Requests": requests.collect::<Vec<_>>(), "OpenWindows": open },
        "ReturnedWork": null,
        "Waiting": null,
        "CallToWork": {},
        "EarlyRet": null,
    })
}

/// `StorageGetLocks`: the files of a sector belong to the worker that has it. Each list counts, by kind of file: unsealed,
/// sealed, cache, update, update-cache, piece.
pub fn locks(site: &Site, miner: MinerId) -> Value {
    let lock = |job: &Job| json!({ "Sector": sector_id(miner, job.sector), "Write": [0, 1, 1, 0, 0, 0], "Read": [0, 0, 0, 0, 0, 0] });
    let locks: Vec<_> = site.workers.iter().filter_map(|worker| worker.job.as_ref()).map(lock).collect();
    json!({ "Locks": locks })
}
