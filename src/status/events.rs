//! The stream of `GET /v1/events` and of `seald status --watch --json`: one JSON object a line, told apart by `kind`.
//! Pure.

use super::Snapshot;
use crate::{
    sector::State,
    units::{SectorNumber, UnixMillis},
};
use serde::{Deserialize, Serialize};

/// Something that happened to one sector.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The sector.
    pub number: SectorNumber,
    /// Its state before; `None` for a sector that was just created.
    pub from: Option<State>,
    /// Its state after; the same for a step within a state.
    pub to: State,
    /// What happened, in the words of the sector table; `Created` for a new one.
    pub event: String,
    /// When it was recorded.
    pub at: UnixMillis,
}

/// One line of the stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Line {
    /// The whole snapshot: at first, after a change, and after [`Line::Lagged`]; at most four a second.
    Status {
        /// The snapshot.
        snapshot: Box<Snapshot>,
    },
    /// A sector moved. Every move of the time of the connection comes, in order, unless [`Line::Lagged`] says otherwise.
    Sector(Move),
    /// The reader was too slow for this many moves, which are lost to it. A snapshot follows.
    Lagged {
        /// How many.
        missed: u64,
    },
    /// The daemon does not run; said by `seald status --watch`, never by the daemon.
    Down {
        /// When that was found.
        at: UnixMillis,
    },
    /// Nothing happened for a while; the connection lives.
    Alive {
        /// When.
        at: UnixMillis,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_told_apart_by_their_kind() {
        let moved = Move {
            number: SectorNumber::try_from(3).unwrap(),
            from: Some(State::Packing),
            to: State::PreCommit1,
            event: "Packed".to_owned(),
            at: UnixMillis::new(7),
        };
        let lines = [
            Line::Sector(moved),
            Line::Lagged { missed: 4 },
            Line::Alive { at: UnixMillis::new(8) },
            Line::Status { snapshot: Box::new(Snapshot::empty(UnixMillis::new(9))) },
        ];
        let texts = lines.each_ref().map(|line| serde_json::to_string(line).unwrap());
        assert_eq!(
            texts[..3],
            [
                r#"{"kind":"sector","number":3,"from":"Packing","to":"PreCommit1","event":"Packed","at":7}"#,
                r#"{"kind":"lagged","missed":4}"#,
                r#"{"kind":"alive","at":8}"#,
            ]
        );
        assert!(texts[3].starts_with(r#"{"kind":"status","snapshot":{"format_version":1,"#), "{}", texts[3]);
        assert_eq!(texts.map(|text| serde_json::from_str::<Line>(&text).unwrap()), lines);
    }
}
