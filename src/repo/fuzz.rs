//! What may lie in a repo, for a fuzzer: see [`crate::fuzz`].

use super::{Declared, layout, marker};
use crate::units::{Bytes, RepoName, sector_file_name};
use serde_json::Value;
use std::path::PathBuf;

/// Keys of the marker that follow the manifest.
const OURS: [&str; 4] = ["Weight", "CanSeal", "CanStore", "MaxStorage"];

/// A marker, and by its text the name of a file.
pub fn markers(bytes: &[u8]) {
    if let Some((miner, number)) = std::str::from_utf8(bytes).ok().and_then(layout::parse_name) {
        assert_eq!(sector_file_name(miner, number).as_bytes(), bytes);
    }
    let Ok(found) = marker::parse(bytes) else { return };
    let Ok(name) = "pool".parse::<RepoName>() else { panic!("pool is a name") };
    let declared = Declared {
        name,
        path: PathBuf::from("/srv/pool"),
        seal: true,
        store: false,
        max_use: Some(Bytes::new(1 << 40)),
        reserve: Bytes::new(0),
        weight: 10,
        require_mount: false,
    };
    let mut followed = found.clone();
    marker::follow(&mut followed, &declared);
    assert_eq!(marker::id_of(&found), marker::id_of(&followed), "another id");
    let text = format!("{:#}", Value::Object(followed));
    let Ok(kept) = marker::parse(text.as_bytes()) else { panic!("what was written cannot be read: {text}") };
    for (key, value) in found.iter().filter(|(key, _)| !OURS.contains(&key.as_str())) {
        // what is not kept is refused before anything is written; of a fraction the last digit may differ
        if marker::is_kept(value) && !value.to_string().contains(['.', 'e']) {
            assert_eq!(kept.get(key), Some(value), "the key {key} of others is not what it was");
        }
    }
}
