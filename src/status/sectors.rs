//! What `seald sectors list` and `seald sectors show` print. Pure: the reports are filled by the command, from the
//! database and from the last snapshot; text is rendered from the same values that `--json` prints.

mod list;
mod show;
mod standing;

pub use list::{Choice, List, Row};
pub use show::{HistoryLine, Names, Show, Shown, brief};
pub use standing::{OnChain, Standings, Terms};

use super::SectorStatus;
use crate::sector::{Failure, Record};

/// Raised when a field of these reports changes its meaning or goes away.
pub const FORMAT_VERSION: u32 = 1;

/// A status that speaks of another state is older than the record.
fn is_about(status: &SectorStatus, record: &Record) -> bool {
    status.number == record.number && status.state == record.state.as_str()
}

fn failed(Failure { class, doing, error }: &Failure) -> String {
    format!("{}: {doing}: {error}", class.as_str())
}
