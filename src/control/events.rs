//! `GET /v1/events`: a line for every move of a sector and for the snapshot as it changes, until whoever listens goes
//! away. A slow listener misses moves and is told how many; it never makes anybody wait.

use crate::{
    clock,
    status::{
        Snapshot,
        events::{Line, Move},
    },
};
use axum::{
    body::{Body, Bytes},
    http::header,
    response::{IntoResponse, Response},
};
use futures_util::stream;
use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, broadcast, watch},
    time::{Sleep, sleep},
};

/// Least time between two snapshots.
const APART: Duration = Duration::from_millis(250);

/// A line at least this often: less than a connection may be idle.
const ALIVE: Duration = Duration::from_secs(5);

/// What is told to one listener.
pub struct Events {
    status: watch::Receiver<Arc<Snapshot>>,
    moves: broadcast::Receiver<Arc<Move>>,
    /// Until the next snapshot may be told.
    pause: Pin<Box<Sleep>>,
    _place: OwnedSemaphorePermit,
}

impl Events {
    /// Everything from now on; the snapshot as it is comes first.
    pub fn new(
        mut status: watch::Receiver<Arc<Snapshot>>,
        moves: broadcast::Receiver<Arc<Move>>,
        place: OwnedSemaphorePermit,
    ) -> Self {
        status.mark_changed();
        Self { status, moves, pause: Box::pin(sleep(Duration::ZERO)), _place: place }
    }

    /// The answer to the request.
    pub fn into_response(self) -> Response {
        let lines = stream::unfold(self, |mut events| async move {
            let line = events.next().await?;
            let mut text = serde_json::to_vec(&line).ok()?;
            text.push(b'\n');
            Some((Ok::<_, Infallible>(Bytes::from(text)), events))
        });
        ([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response()
    }

    /// The next line; `None` when the daemon ends.
    pub async fn next(&mut self) -> Option<Line> {
        let Self { status, moves, pause, .. } = self;
        let changed = async {
            if !pause.is_elapsed() {
                pause.as_mut().await;
            }
            status.changed().await
        };
        // receiving and changes take nothing until they are ready, and the time of the next snapshot stays the same
        tokio::select! {
            biased;
            moved = moves.recv() => match moved {
                Ok(moved) => Some(Line::Sector(moved.as_ref().clone())),
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    self.status.mark_changed();
                    Some(Line::Lagged { missed })
                }
                Err(broadcast::error::RecvError::Closed) => None,
            },
            changed = changed => {
                changed.ok()?;
                self.pause.set(sleep(APART));
                Some(Line::Status { snapshot: Box::new(self.status.borrow_and_update().as_ref().clone()) })
            }
            () = sleep(ALIVE) => Some(Line::Alive { at: clock::now() }),
        }
    }
}
