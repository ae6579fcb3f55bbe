//! Placing is fair, stays on the machine, and does not move what need not move.

use super::*;
use proptest::prelude::*;

fn who(slot: &str, instance: u32) -> Assignee {
    Assignee { slot: slot.parse().unwrap(), instance }
}

/// Cores of two threads; the second threads are numbered after all first ones, as the kernel does it.
fn machine(nodes: u32, caches: u32, cores: u32) -> Vec<Cpu> {
    let all = nodes * caches * cores;
    let first = (0..all).map(|id| (id, id));
    let cpu = |(id, core): (u32, u32)| Cpu { id, core, cache: core / cores * cores, node: core / (caches * cores) };
    first.chain((0..all).map(|core| (all + core, core))).map(cpu).collect()
}

fn wants(layers: u32, others: u32) -> Vec<Want> {
    let want = |slot, load| move |instance| Want { who: who(slot, instance), load, cpus: None, near: None };
    (0..layers).map(want("pc1", Load::Layers)).chain((0..others).map(want("gpu", Load::Anything))).collect()
}

fn cpus(place: &Placement) -> BTreeSet<u32> {
    place.cpus.clone().unwrap()
}

#[test]
fn layers_get_cores_of_their_own_far_apart_and_the_rest_is_shared() {
    let placed = place(&machine(1, 2, 4), &wants(2, 1), &BTreeMap::new());
    let first = &placed[&who("pc1", 0)];
    assert_eq!(cpus(first), [0, 1, 8, 9].into());
    assert_eq!(first.why, "processors 0-1,8-9: 2 cores for its layers alone, below the cache of 0");
    assert_eq!(cpus(&placed[&who("pc1", 1)]), [4, 5, 12, 13].into(), "below the other cache");
    let shared = &placed[&who("gpu", 0)];
    assert_eq!(shared.why, "processors 2-3,6-7,10-11,14-15: what layers leave, shared");
    assert_eq!(cpus(shared).len(), 8);
}

#[test]
fn on_a_small_machine_nothing_is_placed_and_that_is_said() {
    let placed = place(&machine(1, 1, 2), &wants(1, 1), &BTreeMap::new());
    assert!(placed.values().all(|place| place.cpus.is_none()));
    assert_eq!(placed[&who("pc1", 0)].why, "any processor: 2 cores are too few to be divided");
    let placed = place(&machine(1, 1, 8), &wants(8, 1), &BTreeMap::new());
    assert!(placed.values().all(|place| place.cpus.is_none()));
    let why = "any processor: 8 cores are fewer than the 9 that its neighbours and it want";
    assert_eq!(placed[&who("gpu", 0)].why, why);
}

#[test]
fn without_layers_nobody_is_kept_from_a_processor() {
    let placed = place(&machine(1, 2, 8), &wants(0, 2), &BTreeMap::new());
    assert!(placed.values().all(|place| place.cpus.is_none()));
}

#[test]
fn what_the_manifest_says_stays_and_is_kept_free_of_others() {
    let mut wants = wants(4, 1);
    wants[0].cpus = Some([0].into());
    let placed = place(&machine(1, 2, 8), &wants, &BTreeMap::new());
    assert_eq!(cpus(&placed[&who("pc1", 0)]), [0].into());
    assert_eq!(placed[&who("pc1", 0)].why, "processors 0, as the manifest says");
    for (who, place) in placed.iter().filter(|(known, _)| **known != self::who("pc1", 0)) {
        assert!(!cpus(place).contains(&0), "{who}");
        assert!(who.slot.as_str() == "gpu" || !cpus(place).contains(&16), "{who} has the other thread of that core");
    }
}

#[test]
fn a_worker_with_a_gpu_stays_at_its_node() {
    let mut wants = wants(2, 2);
    wants[2].near = Some(1);
    let placed = place(&machine(2, 1, 8), &wants, &BTreeMap::new());
    let near = cpus(&placed[&who("gpu", 0)]);
    assert!(near.iter().all(|cpu| cpu % 16 >= 8), "{near:?}");
    assert!(placed[&who("gpu", 0)].why.contains("of node 1, where its GPU is"));
    assert!(cpus(&placed[&who("gpu", 1)]).len() > near.len());
}

fn any_machine() -> impl Strategy<Value = Vec<Cpu>> {
    (1..3_u32, 1..5_u32, 1..9_u32).prop_map(|(nodes, caches, cores)| machine(nodes, caches, cores))
}

proptest! {
    /// On whatever machine, with whatever is asked for: everybody is placed, on processors that are there, and while
    /// there are enough no core of layers has anybody else, nor reaches over two caches.
    #[test]
    fn no_core_of_layers_is_shared(machine in any_machine(), layers in 0..20_u32, others in 0..4_u32, told in 0..3_u32) {
        let mut wants = wants(layers, others);
        let all: BTreeSet<u32> = machine.iter().map(|cpu| cpu.id).collect();
        for (want, cpu) in wants.iter_mut().zip(0..told) {
            want.cpus = Some([cpu].into_iter().filter(|cpu| all.contains(cpu)).collect());
        }
        let placed = place(&machine, &wants, &BTreeMap::new());
        prop_assert_eq!(placed.len(), wants.len());
        prop_assert_eq!(&placed, &place(&machine, &wants, &BTreeMap::new()), "the same again");
        let of = |id: u32| machine.iter().find(|cpu| cpu.id == id).unwrap();
        for want in &wants {
            let Some(mine) = &placed[&want.who].cpus else { continue };
            prop_assert!(mine.is_subset(&all) && (!mine.is_empty() || want.cpus.is_some()));
            if want.load == Load::Anything || want.cpus.is_some() {
                continue;
            }
            prop_assert_eq!(mine.iter().map(|cpu| of(*cpu).cache).collect::<BTreeSet<_>>().len(), 1);
            let cores: BTreeSet<u32> = mine.iter().map(|cpu| of(*cpu).core).collect();
            for other in wants.iter().filter(|other| other.who != want.who) {
                let theirs = placed[&other.who].cpus.as_ref().unwrap();
                prop_assert!(theirs.iter().all(|cpu| !cores.contains(&of(*cpu).core)), "{} and {}", want.who, other.who);
            }
        }
    }

    /// A slot that is added or removed moves no layers, as long as everybody's share stays what it was.
    #[test]
    fn layers_stay_where_they_are(machine in any_machine(), layers in 1..9_u32, more in 1..5_u32) {
        let one = wants(layers, 1);
        let before = place(&machine, &one, &BTreeMap::new());
        let mut grown = wants(layers, 1 + more);
        let newcomer = Want { who: who("a-new-one", 0), load: Load::Layers, cpus: None, near: None };
        for with_layers in [false, true] {
            if with_layers {
                grown.insert(0, newcomer.clone());
            }
            let after = place(&machine, &grown, &before);
            let size = |placed: &BTreeMap<Assignee, Placement>| placed[&who("pc1", 0)].cpus.as_ref().map(BTreeSet::len);
            if size(&before) == size(&after) {
                for instance in 0..layers {
                    prop_assert_eq!(&after[&who("pc1", instance)].cpus, &before[&who("pc1", instance)].cpus);
                }
            }
        }
    }
}
