//! The StorageMiner API of Lotus, as far as seald has something to say in it: JSON-RPC 2.0 by POST and by websocket on
//! `/rpc/v0`, at `[node] address`, for the dashboards, exporters and command-line tools that storage providers have.
//!
//! It answers from the newest [`Site`] and snapshot and from what the daemon's [`Lookup`] finds, beside the loop, and
//! changes nothing. The one order that it takes goes through the queue that the control socket's orders go through, and only
//! where `[node] api = "write"` allows it. Who may ask what is in the token that came with the request, see [`token`].
//!
//! The answers have Go's shapes: field names, `null` and `[]` as Lotus writes them. What tools make of each is noted where
//! it is built. Source of the shapes: Lotus 1.36, `api/api_storage.go`, `storage/sealer/storiface`.

mod answers;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzz;
mod method;
mod rpc;
mod sectors;
mod server;
mod site;
mod storage;
#[cfg(test)]
mod tests;
pub mod token;
mod words;
mod workers;

pub use answers::Desk;
pub use server::router;
pub use site::{File, Job, Known, Lookup, OnChain, Repo, Room, Site, Worker};
pub use token::{Permission, Secret};
