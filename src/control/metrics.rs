//! The page of metrics, and the listener on the network that serves it at the address that the manifest names, together
//! with whatever else is served there. To anybody who can reach it the page tells nothing that could change anything.

use super::connection::{Answering, Listener, Patience};
use crate::status::{Snapshot, metrics};
use axum::{
    Router,
    extract::{ConnectInfo, Request, State as Shared, connect_info::Connected},
    http::header,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
    serve::IncomingStream,
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

impl Connected<IncomingStream<'_, Listener<TcpListener>>> for Answering {
    fn connect_info(stream: IncomingStream<'_, Listener<TcpListener>>) -> Self {
        stream.io().answering.clone()
    }
}

/// The request has come whole.
async fn answered(ConnectInfo(answering): ConnectInfo<Answering>, request: Request, next: Next) -> Response {
    let _answered = answering.begin();
    next.run(request).await
}

/// The metrics of the newest snapshot: `GET /metrics`.
pub fn metrics_router(status: watch::Receiver<Arc<Snapshot>>) -> Router {
    let look = async |Shared(status): Shared<watch::Receiver<Arc<Snapshot>>>| page(&Arc::clone(&status.borrow()));
    Router::new().route("/metrics", get(look)).with_state(status)
}

/// Serves these routes on this address until it is cancelled. Why it cannot, and for as long as it cannot, goes to
/// `trouble`; it tries again. A handler that keeps a connection for longer than one request says so with its
/// [`Answering`], which comes as the connection's `ConnectInfo`.
pub async fn serve_network(address: SocketAddr, router: Router, trouble: watch::Sender<Option<String>>) {
    let router = router.layer(middleware::from_fn(answered));
    loop {
        let served = match TcpListener::bind(address).await {
            Ok(listener) => {
                trouble.send_replace(None);
                let service = router.clone().into_make_service_with_connect_info::<Answering>();
                axum::serve(Listener::new(listener, Patience::USUAL), service).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = served {
            trouble.send_replace(Some(format!("cannot listen on {address}: {error}")));
        }
        sleep(AGAIN).await;
    }
}
