//! What workers, daemons of other versions and earlier attempts wrote, for a fuzzer: see [`crate::fuzz`].

use super::{
    folder::{Finalized, Head, Key, Manifest, output_of},
    jobs::proof_bytes,
    ledger::Entry,
    protocol::{Order, Report, SectorRef},
};
use crate::{
    sector::Sealed,
    units::{Hash32, MinerId, SectorNumber, SectorSize},
};
use serde::{Serialize, de::DeserializeOwned};
use std::fmt::Debug;

fn json<T: DeserializeOwned + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<T>(bytes) else { return };
    let again = serde_json::to_vec(&value).ok().and_then(|text| serde_json::from_slice::<T>(&text).ok());
    assert_eq!(again.as_ref(), Some(&value), "it changes on its way");
}

/// Without what it was started as: that is the daemon's own, and a number in it may lose its last digit.
fn without_spec(report: Report) -> Report {
    match report {
        Report::Hello(mut hello) => {
            hello.spec = None;
            hello.ended = hello.ended.map(|(job, end)| (job, Box::new(without_spec(*end))));
            Report::Hello(hello)
        }
        Report::Heartbeat | Report::Progress { .. } | Report::Done { .. } | Report::Failed { .. } => report,
    }
}

/// A line of a worker, or to one.
pub fn lines(bytes: &[u8]) {
    json::<Order>(bytes);
    let Ok(line) = std::str::from_utf8(bytes) else { return };
    let Some(report) = Report::read(line).map(without_spec) else { return };
    let again = serde_json::to_string(&report).ok().and_then(|text| Report::read(&text));
    assert_eq!(again.as_ref(), Some(&report), "it changes on its way");
}

fn sector() -> SectorRef {
    let Some(number) = SectorNumber::try_from(7).ok() else { panic!("7 is a sector number") };
    let (miner, proof) = (MinerId::new(1000), SectorSize::KiB2.seal_proof());
    SectorRef { miner, number, proof, ticket: Hash32([1; 32]) }
}

/// Files of a work folder: the output of a phase under its head, and the notes beside it.
pub fn kept(bytes: &[u8]) {
    let key = Key::of_replica(&sector());
    // a file with another head, or with none, is nobody's; behind the right one every output comes back
    let found = output_of(bytes.to_vec(), &key);
    assert!(found.is_none_or(|output| bytes.ends_with(&output)));
    let Ok(mut whole) = serde_json::to_vec(&Head::of(&key, bytes)) else { panic!("a head is text") };
    whole.push(b'\n');
    whole.extend_from_slice(bytes);
    assert_eq!(output_of(whole, &key).as_deref(), Some(bytes));
    json::<Sealed>(bytes);
    json::<Finalized>(bytes);
    json::<Vec<Entry>>(bytes);
    serde_json::from_slice::<Manifest>(bytes).ok();
    assert!(proof_bytes(bytes).is_none_or(|proof| proof.len().saturating_mul(2) == bytes.len()));
}
