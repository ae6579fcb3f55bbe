//! The page of metrics, and the listener on the network that serves it: `GET /metrics` and nothing else, to anybody who can
//! reach the address that the manifest names. It tells nothing that could change anything.

use super::connection::{IDLE, Listener};
use crate::status::{Snapshot, metrics};
use axum::{
    Router,
    extract::State as Shared,
    http::header,
    response::{IntoResponse, Response},
    routing::get,
};
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpListener, sync::watch, time::sleep};

/// The content type of Prometheus's text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// An address that cannot be listened on is tried again after this long.
const AGAIN: Duration = Duration::from_secs(5);

/// The page.
pub(super) fn page(snapshot: &Snapshot) -> Response {
    ([(header::CONTENT_TYPE, METRICS_TYPE)], metrics::render(snapshot)).into_response()
}

/// Serves the metrics of the newest snapshot on this address until it is cancelled. Why it cannot, and for as long as it
/// cannot, goes to `trouble`; it tries again.
pub async fn serve_metrics(
    address: SocketAddr,
    status: watch::Receiver<Arc<Snapshot>>,
    trouble: watch::Sender<Option<String>>,
) {
    let look = async |Shared(status): Shared<watch::Receiver<Arc<Snapshot>>>| page(&Arc::clone(&status.borrow()));
    let router = Router::new().route("/metrics", get(look)).with_state(status);
    loop {
        let served = match TcpListener::bind(address).await {
            Ok(listener) => {
                trouble.send_replace(None);
                axum::serve(Listener::new(listener, IDLE), router.clone()).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            trouble.send_replace(Some(format!("cannot listen on {address}: {error}")));
        }
        sleep(AGAIN).await;
    }
}
