//! What a kill and a power cut can leave of layers and ledger.

use super::*;
use crate::{
    sector::Class,
    worker::{
        folder::Folder,
        jobs::tests::{Site, class, site},
        protocol::SectorRef,
    },
};
use std::{fs, time::SystemTime};

fn modified(site: &Site, layer: u32) -> SystemTime {
    fs::metadata(site.layer(layer)).unwrap().modified().unwrap()
}

/// A sector whose PreCommit1 was killed when `done` of its layers were in the ledger.
fn killed(done: usize) -> Site {
    let site = site();
    site.precommit1(1, false).unwrap();
    site.cut_precommit1(done);
    site
}

fn count(site: &Site) -> usize {
    Folder::open(&site.files.work).unwrap().layers().unwrap().len()
}

fn replica(site: &Site) -> Replica<'_> {
    let SectorRef { miner, number, proof, ticket } = site.sector;
    Replica { miner, number, proof, ticket, cache: &site.files.cache, sealed: &site.files.sealed }
}

fn valid(site: &Site) -> u32 {
    let folder = Folder::open(&site.files.work).unwrap();
    Ledger::open(Prover::Simulated, &folder, replica(site)).unwrap().valid_layers()
}

#[test]
fn each_layer_has_its_entry_when_it_is_finished_and_nothing_but_the_next_counts() {
    let site = site();
    site.precommit1(1, false).unwrap();
    site.cut_precommit1(0);
    let layers = [1, 2].map(|layer| fs::read(site.layer(layer)).unwrap());
    let folder = Folder::open(&site.files.work).unwrap();
    let mut ledger = Ledger::open(Prover::Simulated, &folder, replica(&site)).unwrap();
    assert!(!site.layer(1).exists() && !site.layer(2).exists(), "without an entry they are nothing");
    fs::write(site.layer(2), &layers[1]).unwrap();
    assert!(!ledger.is_next_there());
    fs::write(site.layer(1), &layers[0][1..]).unwrap();
    assert!(!ledger.is_next_there(), "not whole");
    for (layer, content) in (1..).zip(&layers) {
        fs::write(site.layer(layer), content).unwrap();
        assert!(ledger.is_next_there());
        ledger.finished().unwrap();
        assert_eq!((ledger.valid_layers(), folder.layers().unwrap().len()), (layer, layer as usize));
    }
    assert!(!ledger.is_next_there());
}

// matrix: B5
#[test]
fn a_layer_that_a_power_cut_emptied_is_computed_anew() {
    type Cut = fn(&mut Vec<u8>);
    let cuts: [Cut; 4] = [
        |bytes| bytes.fill(0),
        // the tail never reached the disk
        |bytes| bytes[2016..].fill(0),
        |bytes| bytes.truncate(1024),
        |bytes| bytes[1000] ^= 1,
    ];
    for (place, cut) in cuts.into_iter().enumerate() {
        for damaged in [1, 2] {
            let site = killed(2);
            let untouched = modified(&site, 1);
            let mut bytes = fs::read(site.layer(damaged)).unwrap();
            cut(&mut bytes);
            fs::write(site.layer(damaged), bytes).unwrap();
            site.precommit1(1, false).unwrap();
            for layer in [1, 2] {
                assert_eq!(fs::read(site.layer(layer)).unwrap(), vec![1; 2048], "cut {place} of layer {damaged}");
            }
            assert_eq!(modified(&site, 1) == untouched, damaged == 2, "cut {place} of layer {damaged}");
            assert_eq!(count(&site), 2);
        }
    }
}

#[test]
fn a_lost_torn_or_foreign_ledger_costs_layers_and_nothing_else() {
    let half = |text: Vec<u8>| text[..text.len() / 2].to_vec();
    let old = |_: Vec<u8>| b"[1,2]".to_vec();
    let reordered = |text: Vec<u8>| {
        let mut entries: Vec<serde_json::Value> = serde_json::from_slice(&text).unwrap();
        entries.reverse();
        serde_json::to_vec(&entries).unwrap()
    };
    let of_another =
        |text: Vec<u8>| String::from_utf8(text).unwrap().replace(&"01".repeat(32), &"02".repeat(32)).into();
    let changes: [&dyn Fn(Vec<u8>) -> Vec<u8>; 5] = [&half, &old, &reordered, &of_another, &|_| Vec::new()];
    for change in changes {
        let site = killed(2);
        let path = site.output("layers.json");
        fs::write(&path, change(fs::read(&path).unwrap())).unwrap();
        assert_eq!(valid(&site), 0);
        assert!(!site.layer(1).exists() && !site.layer(2).exists());
        site.precommit1(1, false).unwrap();
        assert_eq!(count(&site), 2);
    }
    let site = killed(2);
    fs::write(site.output("layers.json.part"), "[{\"layer\":1,").unwrap();
    assert_eq!(valid(&site), 2, "a write that was cut short left the old one in place");
    let site = killed(1);
    assert_eq!(valid(&site), 1, "the last entry never reached the disk");
    assert!(site.layer(1).exists() && !site.layer(2).exists());
}

/// The hash says only that a layer is what was written. That it is right, its labels say.
#[test]
fn a_layer_that_was_written_wrong_is_not_built_upon() {
    let site = killed(2);
    let wrong = [vec![1; 1024], vec![7; 1024]].concat();
    fs::write(site.layer(2), wrong).unwrap();
    let folder = Folder::open(&site.files.work).unwrap();
    let text = fs::read_to_string(site.output("layers.json")).unwrap();
    let mut entries: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap();
    entries[1]["hash"] = files::hash_of(&site.layer(2)).unwrap().to_string().into();
    fs::write(site.output("layers.json"), serde_json::to_vec(&entries).unwrap()).unwrap();
    drop(folder);
    assert_eq!(valid(&site), 1);
    assert!(!site.layer(2).exists());
}

// matrix: F5
#[test]
fn a_layer_that_finds_no_space_is_a_resource_failure_and_the_layers_before_it_stay() {
    let site = killed(1);
    let first = modified(&site, 1);
    // the simulated prover writes a layer beside its place
    let beside = site.layer(2).with_extension(".tmp");
    std::os::unix::fs::symlink("/dev/full", &beside).unwrap();
    assert_eq!(class(site.precommit1(1, false)), Class::Resource);
    assert_eq!((count(&site), modified(&site, 1)), (1, first));
    fs::remove_file(beside).unwrap();
    site.precommit1(1, false).unwrap();
    assert_eq!((count(&site), modified(&site, 1)), (2, first));
}
