//! The limits of a worker process, put on before any work begins: processors, memory, no core dumps.

use super::Options;
use crate::units::{Bytes, SlotName};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, setrlimit},
    unistd::Pid,
};

/// Applies the limits that must hold before any work begins.
pub(super) fn confine(options: &Options) -> Result<(), String> {
    let Options { slot, instance, cpus, memory, .. } = options;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| format!("cannot turn core dumps off: {error}"))?;
    if let Some(memory) = memory {
        limit_memory(*memory)?;
    }
    cpus.as_ref().map_or(Ok(()), |cpus| pin(slot, *instance, cpus))
}

/// RLIMIT_DATA counts what is allocated. RLIMIT_AS would also count parameters and parent caches, which are only mapped.
fn limit_memory(memory: Bytes) -> Result<(), String> {
    let bytes = memory.as_u64();
    setrlimit(Resource::RLIMIT_DATA, bytes, bytes).map_err(|error| format!("cannot limit memory to {memory}: {error}"))
}

/// Read back, because a cpuset above this process may silently take processors away.
fn pin(slot: &SlotName, instance: u32, cpus: &[u32]) -> Result<(), String> {
    let apply = || -> nix::Result<bool> {
        let mut wanted = CpuSet::new();
        for cpu in cpus {
            wanted.set(usize::try_from(*cpu).map_err(|_| nix::errno::Errno::EINVAL)?)?;
        }
        sched_setaffinity(Pid::from_raw(0), &wanted)?;
        Ok(sched_getaffinity(Pid::from_raw(0))? == wanted)
    };
    match apply() {
        Ok(true) => Ok(()),
        Ok(false) => Err(format!("{slot}/{instance} may not use all of the processors {cpus:?}: check its cpuset")),
        Err(error) => Err(format!("{slot}/{instance} cannot run on processors {cpus:?}: {error}")),
    }
}
