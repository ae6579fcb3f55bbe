//! The server's side: one task that listens, and one that axum spawns for each connection and that ends with it.

use super::{
    Answer, Ask, Cause, ErrorBody, LONGEST_PATH, ManifestOrder, OrderBody, PledgeBody, Refused, Reply, Request,
    SlotOrder, SlotsBody, socket,
};
use crate::{
    plan::Place,
    sector::{State, operator::Order},
    units::{BadUnit, SectorNumber},
};
use axum::{
    Json, Router,
    body::Bytes,
    extract::{
        ConnectInfo, DefaultBodyLimit, Path as InPath, State as Shared, connect_info::Connected,
        rejection::BytesRejection,
    },
    http::StatusCode,
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
    serve::IncomingStream,
};
use serde::de::DeserializeOwned;
use std::{
    fs, io,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};
use tokio::{
    net::UnixListener,
    sync::{mpsc, oneshot},
};

/// Requests in the queue: an operator's terminal and a few scripts. The loop takes one a turn, so the last of them waits
/// for as many turns; whoever comes then is told to ask again.
pub const QUEUE: usize = 16;

/// Bytes of the largest request.
const BODY_LIMIT: usize = 4096;

/// The control socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The kernel has no room for its name.
    #[error(
        "the control socket {path} cannot be made: its path has more than {LONGEST_PATH} bytes. Choose a shorter state.dir"
    )]
    TooLong {
        /// The path.
        path: PathBuf,
    },
    /// It cannot be listened on.
    #[error("cannot listen on the control socket {path}")]
    Listen {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A socket that is listened on. Its file goes when this is dropped.
#[derive(Debug)]
pub struct Server {
    listener: UnixListener,
    file: SocketFile,
    requests: mpsc::Sender<Request>,
}

#[derive(Debug)]
struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        // one that stays is replaced by the next daemon
        fs::remove_file(&self.0).unwrap_or_default();
    }
}

impl Server {
    /// Listens in the state folder `dir`, whose lock the caller holds: a socket that is there already is a dead
    /// daemon's. Requests go to `requests`.
    ///
    /// # Errors
    /// See [`ServerError`].
    pub fn open(dir: &Path, requests: mpsc::Sender<Request>) -> Result<Self, ServerError> {
        let path = socket(dir).map_err(|path| ServerError::TooLong { path })?;
        let listen = |source| ServerError::Listen { path: path.clone(), source };
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(listen(error)),
            Ok(()) | Err(_) => {}
        }
        let listener = UnixListener::bind(&path).map_err(listen)?;
        let file = SocketFile(path.clone());
        // who connects before this line is judged by who they are all the same
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).map_err(listen)?;
        Ok(Self { listener, file, requests })
    }

    /// Serves until it is cancelled.
    pub async fn run(self) {
        let Self { listener, file, requests } = self;
        let service = router(requests).into_make_service_with_connect_info::<Peer>();
        // it answers until it is dropped: a connection that cannot be accepted is waited out inside
        if let Err(error) = axum::serve(listener, service).await {
            tracing::error!(error = %error, "the control socket cannot be served any more");
        }
        drop(file);
    }
}

/// Who is at the other end; absent when the kernel does not say.
#[derive(Debug, Clone, Copy)]
struct Peer(Option<u32>);

impl Connected<IncomingStream<'_, UnixListener>> for Peer {
    fn connect_info(stream: IncomingStream<'_, UnixListener>) -> Self {
        Self(stream.io().peer_cred().ok().map(|credentials| credentials.uid()))
    }
}

/// Whether a process of user `uid` may tell a daemon of user `own` what to do.
pub(super) fn may(uid: Option<u32>, own: u32) -> bool {
    uid.is_some_and(|uid| uid == own || uid == 0)
}

async fn guard(ConnectInfo(Peer(uid)): ConnectInfo<Peer>, request: axum::extract::Request, next: Next) -> Response {
    if may(uid, nix::unistd::geteuid().as_raw()) {
        return next.run(request).await;
    }
    let error = "only root and the user that seald runs as may ask it".to_owned();
    let help = "run the command as one of them".to_owned();
    (StatusCode::FORBIDDEN, Json(ErrorBody { error, help })).into_response()
}

fn router(requests: mpsc::Sender<Request>) -> Router {
    Router::new()
        .route("/v1/status", get(async |Shared(to): Shared<Loop>| answer(ask(&to, Ask::Status).await)))
        .route("/v1/plan", get(async |Shared(to): Shared<Loop>| manifest(&to, ManifestOrder::Preview).await))
        .route("/v1/reload", post(async |Shared(to): Shared<Loop>| manifest(&to, ManifestOrder::Reload).await))
        .route("/v1/rollback", post(async |Shared(to): Shared<Loop>| manifest(&to, ManifestOrder::Rollback).await))
        .route("/v1/pledge", post(pledge).delete(as_declared))
        .route("/v1/sectors/{number}/{verb}", post(order))
        .route("/v1/slots/{verb}", post(slots))
        .route("/v1/slots/{slot}/{verb}", post(slot))
        .fallback(async || answer(Err(unknown("there is nothing at this path"))))
        .method_not_allowed_fallback(async || answer(Err(unknown("this path does not take this method"))))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .layer(middleware::from_fn(guard))
        .with_state(requests)
}

type Loop = mpsc::Sender<Request>;

/// A body, as far as it could be read.
type Body = Result<Bytes, BytesRejection>;

fn whole(body: Body) -> Result<Bytes, Refused> {
    let help = format!("send at most {BODY_LIMIT} bytes");
    body.map_err(|why| malformed(&format!("the request cannot be read: {why}"), &help))
}

fn unknown(error: &str) -> Refused {
    Refused::new(Cause::Unknown, error, "use the `seald` of the same version as the daemon (`seald version`)")
}

async fn pledge(Shared(to): Shared<Loop>, body: Body) -> Response {
    answer(match whole(body).and_then(|body| read(&body)) {
        Ok(PledgeBody { count }) => ask(&to, Ask::Pledge(count)).await,
        Err(refused) => Err(refused),
    })
}

async fn as_declared(Shared(to): Shared<Loop>) -> Response {
    answer(ask(&to, Ask::PledgeAsDeclared).await)
}

async fn order(Shared(to): Shared<Loop>, InPath((number, verb)): InPath<(String, String)>, body: Body) -> Response {
    answer(match whole(body).and_then(|body| order_of(&number, &verb, &body)) {
        Ok(wanted) => ask(&to, wanted).await,
        Err(refused) => Err(refused),
    })
}

fn order_of(number: &str, verb: &str, body: &[u8]) -> Result<Ask, Refused> {
    let help = "give the number of a sector, as `seald sectors list` shows it";
    let number: SectorNumber = number.parse().map_err(|why: BadUnit| malformed(&why.to_string(), help))?;
    let OrderBody { yes, state } = if body.is_empty() { OrderBody::default() } else { read(body)? };
    let order = match (verb, state) {
        ("retry", None) => Order::Retry,
        ("remove", None) => Order::Remove,
        ("terminate", None) => Order::Terminate,
        ("set-state", Some(state)) => Order::SetState(state),
        ("set-state", None) => return Err(malformed("set-state wants a state", &states())),
        ("retry" | "remove" | "terminate", Some(_)) => {
            return Err(malformed("only set-state takes a state", "leave `state` away"));
        }
        (_, _) => return Err(unknown("there is no such order")),
    };
    Ok(Ask::Sector { number, order, yes })
}

async fn manifest(to: &Loop, order: ManifestOrder) -> Response {
    answer(ask(to, Ask::Manifest(order)).await)
}

async fn slot(Shared(to): Shared<Loop>, InPath((slot, verb)): InPath<(String, String)>, body: Body) -> Response {
    answer(match whole(body).and_then(|body| slot_order_of(Some(&slot), &verb, &body)) {
        Ok(wanted) => ask(&to, wanted).await,
        Err(refused) => Err(refused),
    })
}

async fn slots(Shared(to): Shared<Loop>, InPath(verb): InPath<String>, body: Body) -> Response {
    answer(match whole(body).and_then(|body| slot_order_of(None, &verb, &body)) {
        Ok(wanted) => ask(&to, wanted).await,
        Err(refused) => Err(refused),
    })
}

fn slot_order_of(slot: Option<&str>, verb: &str, body: &[u8]) -> Result<Ask, Refused> {
    let SlotsBody { instance, now } = if body.is_empty() { SlotsBody::default() } else { read(body)? };
    let order = match (verb, now) {
        ("cordon", false) => SlotOrder::Cordon,
        ("drain", false) => SlotOrder::Drain,
        ("pause", false) => SlotOrder::Pause,
        ("pause", true) => SlotOrder::PauseNow,
        ("resume", false) => SlotOrder::Resume,
        ("cordon" | "drain" | "resume", true) => {
            return Err(malformed("only pause takes `now`", "leave `now` away, or pause the slot"));
        }
        (_, _) => return Err(unknown("there is no such order")),
    };
    let place = match (slot, instance) {
        (None, None) => None,
        (None, Some(_)) => return Err(malformed("an instance of which slot?", "name the slot in the path")),
        (Some(slot), instance) => {
            let help = "give the name of a slot, as `seald status` shows it";
            let slot = slot.parse().map_err(|why: BadUnit| malformed(&why.to_string(), help))?;
            Some(Place { slot, instance })
        }
    };
    Ok(Ask::Slots { place, order })
}

fn states() -> String {
    format!("give one of {}", State::ALL.iter().map(|state| state.as_str()).collect::<Vec<_>>().join(", "))
}

fn malformed(error: &str, help: &str) -> Refused {
    Refused::new(Cause::Malformed, error, help)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let help = "use the `seald` of the same version as the daemon (`seald version`)";
    serde_json::from_slice(body).map_err(|why| malformed(&format!("the request cannot be understood: {why}"), help))
}

/// Hands a request to the loop and waits for its answer.
async fn ask(to: &Loop, ask: Ask) -> Answer {
    let (reply, answered) = oneshot::channel();
    let unavailable = |error: &str, help: &str| Refused::new(Cause::Unavailable, error, help);
    match to.try_send(Request { ask, reply }) {
        Err(mpsc::error::TrySendError::Full(_)) => {
            return Err(unavailable("seald has too many requests waiting", "ask again in a second"));
        }
        // a loop that has ended drops the answer as well
        Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => {}
    }
    let ending = || unavailable("seald is ending", "start it again, then see with `seald sectors show` what was done");
    answered.await.unwrap_or_else(|_| Err(ending()))
}

fn answer(answer: Answer) -> Response {
    match answer {
        Ok(Reply::Status(snapshot)) => Json(snapshot.as_ref()).into_response(),
        Ok(Reply::Pledged(pledged)) => Json(pledged).into_response(),
        Ok(Reply::Ruling(ruling)) => Json(ruling).into_response(),
        Ok(Reply::Reloaded(reloaded)) => Json(reloaded).into_response(),
        Ok(Reply::Slots(ruled)) => Json(ruled).into_response(),
        Err(Refused { cause, error, help }) => {
            let status = match cause {
                Cause::Malformed => StatusCode::BAD_REQUEST,
                Cause::Unknown => StatusCode::NOT_FOUND,
                Cause::Conflict => StatusCode::CONFLICT,
                Cause::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            };
            (status, Json(ErrorBody { error, help })).into_response()
        }
    }
}
