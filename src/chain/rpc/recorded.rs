//! An endpoint that answers every call with the same bytes, at once and without a connection: what a node may say,
//! for fuzzing and for tests of what is made of it.

use super::{Limits, Rpc, node::Node};
use crate::chain::ChainError;
use reqwest::StatusCode;
use std::sync::atomic::AtomicU64;
use tokio::sync::Semaphore;

/// What comes back.
#[derive(Debug, Clone)]
pub enum Recorded {
    /// These bytes, with HTTP status 200 or 500.
    Body {
        /// All of the answer.
        bytes: Vec<u8>,
        /// The status is 200.
        success: bool,
    },
    /// An answer to the call with these bytes as its result.
    Result(Vec<u8>),
}

impl Recorded {
    pub(super) fn body(&self, id: u64) -> Vec<u8> {
        match self {
            Self::Body { bytes, .. } => bytes.clone(),
            Self::Result(bytes) => {
                let mut body = format!(r#"{{"jsonrpc":"2.0","id":{id},"result":"#).into_bytes();
                body.extend_from_slice(bytes);
                body.push(b'}');
                body
            }
        }
    }

    pub(super) const fn status(&self) -> StatusCode {
        match self {
            Self::Body { success: false, .. } => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Body { success: true, .. } | Self::Result(_) => StatusCode::OK,
        }
    }
}

impl Rpc {
    /// One endpoint with this answer.
    pub(in crate::chain) fn recorded(answer: Recorded) -> Result<Self, ChainError> {
        Ok(Self {
            nodes: vec![Node::recorded(answer)?],
            limits: Limits::default(),
            permits: Semaphore::new(super::CONCURRENT),
            next_id: AtomicU64::new(1),
            expected: None,
        })
    }
}
