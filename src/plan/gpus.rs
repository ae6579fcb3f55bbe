//! Which GPU each worker gets, and which workers must do without one they need.

use super::Assignee;
use crate::{manifest::Gpu, units::Bytes};
use std::collections::{BTreeMap, BTreeSet};

/// A GPU as its driver shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GpuSeen {
    /// As `nvidia-smi -L` prints it.
    pub uuid: String,
    /// Its model.
    pub name: String,
    /// Its memory.
    pub memory: Bytes,
    /// The memory node it is at, when the machine says.
    pub node: Option<u32>,
    /// Why it must not be used.
    pub trouble: Option<String>,
}

/// A worker that is declared with a GPU.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// Who.
    pub who: Assignee,
    /// Which.
    pub gpu: Gpu,
}

/// Gives each worker the UUID of its GPU, or the reason why it has none. `before` is what each has now: a worker keeps
/// what it has while that is well and nobody names it.
pub fn assign(
    seen: &[GpuSeen],
    asks: &[Ask],
    before: &BTreeMap<Assignee, String>,
) -> BTreeMap<Assignee, Result<String, String>> {
    let mut given = BTreeMap::new();
    let mut free: BTreeSet<&str> =
        seen.iter().filter(|gpu| gpu.trouble.is_none()).map(|gpu| gpu.uuid.as_str()).collect();
    let mut auto = Vec::new();
    for Ask { who, gpu } in asks {
        match gpu {
            Gpu::Uuid(uuid) => {
                free.retain(|known| !known.eq_ignore_ascii_case(uuid));
                given.insert(who.clone(), named(seen, uuid));
            }
            Gpu::Auto => auto.push(who),
        }
    }
    let count = auto.len();
    let had = |who: &Assignee| before.get(who).map(String::as_str);
    let (settled, homeless): (Vec<_>, Vec<_>) =
        auto.into_iter().partition(|who| had(who).is_some_and(|uuid| free.remove(uuid)));
    given.extend(settled.into_iter().filter_map(|who| Some((who.clone(), Ok(before.get(who)?.clone())))));
    for who in homeless {
        let one = free.pop_first().map(str::to_owned);
        given.insert(who.clone(), one.ok_or_else(|| none_left(seen, count)));
    }
    given
}

/// A part of a GPU (`MIG-…`) is not among those the driver lists: it is taken as it is written.
fn named(seen: &[GpuSeen], uuid: &str) -> Result<String, String> {
    if !uuid.starts_with("GPU-") {
        return Ok(uuid.to_owned());
    }
    let known = seen.iter().find(|gpu| gpu.uuid.eq_ignore_ascii_case(uuid));
    let known = known.ok_or_else(|| format!("{uuid}, which the driver does not list now{}", listed(seen)))?;
    match &known.trouble {
        None => Ok(known.uuid.clone()),
        Some(trouble) => Err(format!("{uuid} to be well again: {trouble}")),
    }
}

fn none_left(seen: &[GpuSeen], count: usize) -> String {
    if seen.is_empty() {
        return "a GPU: the driver lists none".to_owned();
    }
    let ill: Vec<String> =
        seen.iter().filter_map(|gpu| Some(format!("; {} is ill: {}", gpu.uuid, gpu.trouble.as_ref()?))).collect();
    format!("a GPU of its own: {count} workers want any of {}{}", seen.len(), ill.concat())
}

fn listed(seen: &[GpuSeen]) -> String {
    let list: Vec<&str> = seen.iter().map(|gpu| gpu.uuid.as_str()).collect();
    if list.is_empty() { String::new() } else { format!("; it lists {}", list.join(", ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn uuid(n: u32) -> String {
        format!("GPU-{n:07}F-0000-0000-0000-000000000000")
    }

    fn gpu(n: u32) -> GpuSeen {
        let memory = Bytes::new(24 << 30);
        GpuSeen { uuid: uuid(n), name: "made up".to_owned(), memory, node: None, trouble: None }
    }

    fn ask(instance: u32, gpu: Gpu) -> Ask {
        Ask { who: who(instance), gpu }
    }

    fn who(instance: u32) -> Assignee {
        Assignee { slot: "gpu".parse().unwrap(), instance }
    }

    #[test]
    fn a_named_gpu_is_kept_from_those_that_take_any() {
        let asks = [ask(0, Gpu::Auto), ask(1, Gpu::Uuid(uuid(0).replace('F', "f"))), ask(2, Gpu::Auto)];
        let given = assign(&[gpu(0), gpu(1)], &asks, &BTreeMap::new());
        assert_eq!(given[&who(1)], Ok(uuid(0)), "as the driver writes it");
        assert_eq!(given[&who(0)], Ok(uuid(1)));
        assert_eq!(given[&who(2)], Err("a GPU of its own: 2 workers want any of 2".to_owned()));
    }

    #[test]
    fn a_gpu_that_is_ill_or_gone_is_given_to_nobody_and_the_reason_is_said() {
        let ill = GpuSeen { trouble: Some("GPU is lost".to_owned()), ..gpu(0) };
        let asks = [ask(0, Gpu::Uuid(uuid(0))), ask(1, Gpu::Uuid(uuid(9))), ask(2, Gpu::Auto), ask(3, Gpu::Auto)];
        let given = assign(&[ill, gpu(1)], &asks, &BTreeMap::from([(who(2), uuid(0))]));
        assert_eq!(given[&who(0)], Err(format!("{} to be well again: GPU is lost", uuid(0))));
        let gone = format!("{}, which the driver does not list now; it lists {}, {}", uuid(9), uuid(0), uuid(1));
        assert_eq!(given[&who(1)], Err(gone));
        assert_eq!(given[&who(2)], Ok(uuid(1)), "the other one, as its own is lost");
        let short = format!("a GPU of its own: 2 workers want any of 2; {} is ill: GPU is lost", uuid(0));
        assert_eq!(given[&who(3)], Err(short));
        let none = assign(&[], &[ask(0, Gpu::Auto)], &BTreeMap::new());
        assert_eq!(none[&who(0)], Err("a GPU: the driver lists none".to_owned()));
    }

    #[test]
    fn a_part_of_a_gpu_is_taken_as_it_is_written() {
        let part = "MIG-00000000-0000-0000-0000-000000000000";
        let given = assign(&[gpu(0)], &[ask(0, Gpu::Uuid(part.to_owned()))], &BTreeMap::new());
        assert_eq!(given[&who(0)], Ok(part.to_owned()));
    }

    proptest! {
        /// Nobody shares a GPU that nobody named, nobody goes without one while there is one, and who has one keeps it
        /// while it is there.
        #[test]
        fn gpus_are_given_once_and_stay(gpus in 0..6_u32, workers in 0..6_u32, lost in 0..6_u32, more in 0..3_u32) {
            let seen: Vec<_> = (0..gpus).map(gpu).collect();
            let asks = |count: u32| (0..count).map(|n| ask(n, Gpu::Auto)).collect::<Vec<_>>();
            let first = assign(&seen, &asks(workers), &BTreeMap::new());
            let had: BTreeMap<_, _> = first.iter().filter_map(|(who, got)| Some((who.clone(), got.clone().ok()?))).collect();
            prop_assert_eq!(had.values().collect::<BTreeSet<_>>().len(), had.len());
            prop_assert_eq!(had.len(), usize::try_from(gpus.min(workers)).unwrap());
            let left: Vec<_> = seen.into_iter().filter(|gpu| gpu.uuid != uuid(lost)).collect();
            let then = assign(&left, &asks(workers + more), &had);
            for (who, uuid_had) in had.iter().filter(|(_, had)| **had != uuid(lost)) {
                prop_assert_eq!(&then[who], &Ok(uuid_had.clone()));
            }
        }
    }
}
