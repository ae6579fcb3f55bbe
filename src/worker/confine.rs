//! The limits of a worker process, put on before any work begins: processors, memory, no core dumps, a sandbox.

use super::{Options, group, sandbox};
use crate::{
    host::limits,
    units::{Bytes, SlotName},
};
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    sys::resource::{Resource, setrlimit},
    unistd::Pid,
};
use std::path::Path;

/// Applies the limits that must hold before any work begins, and answers what the sandbox is.
pub(super) fn confine(options: &Options) -> Result<String, String> {
    let Options { slot, instance, cpus, memory, writable, network, attach, prover: _, spec: _, invocation: _ } =
        options;
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|error| format!("cannot turn core dumps off: {error}"))?;
    for refused in limits::raise() {
        eprintln!("{refused}");
    }
    if let Some(memory) = memory {
        bound_memory(*memory)?;
    }
    cpus.as_ref().map_or(Ok(()), |cpus| pin(slot, *instance, cpus))?;
    let door = attach.as_deref().and_then(Path::parent).filter(|_| !writable.is_empty());
    let writable: Vec<_> = writable.iter().cloned().chain(door.map(Path::to_owned)).collect();
    Ok(sandbox::enter(&writable, *network))
}

/// In a group of its own where systemd gave it one; the kernel then ends what goes beyond, and says why.
fn bound_memory(memory: Bytes) -> Result<(), String> {
    match group::bound(memory) {
        Ok(true) => return Ok(()),
        Ok(false) => {}
        Err(why) => {
            eprintln!("memory is bounded by a limit of the process, as its control group cannot be used: {why}")
        }
    }
    // RLIMIT_DATA counts what is allocated. RLIMIT_AS would also count parameters and parent caches, which are only mapped
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
