//! The server's side: one task that listens, and one that axum spawns for each connection and that ends with it. Who may
//! do what is decided here, by the role that each route needs; what only looks is answered in `looks`.

use super::{
    Answer, Ask, Cause, ErrorBody, Feed, LONGEST_PATH, ManifestOrder, OrderBody, PledgeBody, Refused, Reply, Request,
    SlotOrder, SlotsBody,
    access::{Peer, Role, Rules, is_known, role},
    connection::{Answering, Patience},
    door::Door,
    looks, socket,
};
use crate::{
    plan::Place,
    sector::{State, operator::Order},
    units::{BadUnit, SectorNumber},
};
use axum::{
    Json, Router,
    body::{Body, Bytes, to_bytes},
    extract::{ConnectInfo, Path as InPath, State as Shared, connect_info::Connected},
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
    sync::Arc,
    time::Duration,
};
use tokio::{
    net::UnixListener,
    sync::{Semaphore, mpsc, oneshot},
    time::timeout,
};

/// Requests in the queue: an operator's terminal and a few scripts. The loop takes one a turn, so the last of them waits
/// for as many turns; whoever comes then is told to ask again.
pub const QUEUE: usize = 16;

/// Listeners to the event stream at a time, so that room for orders is left.
const WATCHERS: usize = 32;

/// The longest time that any answer may take.
const LONGEST: Duration = Duration::from_secs(120);

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
    judge: Judge,
    patience: Patience,
}

/// Decides about who is at the other end, by the user and group that the kernel says, under the rules with this group of
/// operators.
pub(super) type Judge = fn(Option<(u32, u32)>, Option<&str>) -> Verdict;

/// What somebody may do.
#[derive(Debug, Clone)]
pub(super) struct Verdict {
    pub(super) role: Option<Role>,
    pub(super) rules: Rules,
    pub(super) operators: Option<String>,
}

fn judge(peer: Option<(u32, u32)>, operators: Option<&str>) -> Verdict {
    if peer.is_some_and(|(uid, _)| is_known(uid)) {
        // nobody has to be asked about them, so a name service that hangs does not keep them out
        return Verdict { role: Some(Role::Operator), rules: Rules::of_process(), operators: None };
    }
    let peer = peer.map(|(uid, gid)| Peer::look_up(uid, gid));
    let rules = Rules::look_up(operators);
    Verdict { role: role(peer.as_ref(), &rules), rules, operators: operators.map(str::to_owned) }
}

impl Verdict {
    /// Why not; `None` for whoever has the role that is needed.
    pub(super) fn words(&self, needed: Role) -> Option<ErrorBody> {
        if self.role.is_some_and(|role| role >= needed) {
            return None;
        }
        let (error, help) = self.rules.refusal(self.role, needed, self.operators.as_deref());
        Some(ErrorBody { error, help })
    }

    fn refusal(&self, needed: Role) -> Option<Response> {
        self.words(needed).map(|words| (StatusCode::FORBIDDEN, Json(words)).into_response())
    }
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
        // whoever can enter the folder may connect: each is judged by who they are
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).map_err(listen)?;
        Ok(Self { listener, file, requests, judge, patience: Patience::USUAL })
    }

    /// Lets a test say who is at the other end.
    #[cfg(test)]
    pub(super) fn judged_by(self, judge: Judge) -> Self {
        Self { judge, ..self }
    }

    /// Lets a test wait less.
    #[cfg(test)]
    pub(super) fn patient(self, patience: Patience) -> Self {
        Self { patience, ..self }
    }

    /// Serves until it is cancelled.
    pub async fn run(self, feed: Feed) {
        let Self { listener, file, requests, judge, patience } = self;
        let watchers = Arc::new(Semaphore::new(WATCHERS));
        let door = Door::new(listener, judge, feed.operators.clone(), patience);
        let desk = Desk { requests, feed, watchers, judge, patience };
        let service = router(desk).into_make_service_with_connect_info::<Caller>();
        // it answers until it is dropped: a connection that cannot be accepted is waited out inside
        if let Err(error) = axum::serve(door, service).await {
            tracing::error!(error = %error, "the control socket cannot be served any more");
        }
        drop(file);
    }
}

/// Who is at the other end, absent when the kernel does not say; and what is being answered there.
#[derive(Debug, Clone)]
struct Caller {
    peer: Option<(u32, u32)>,
    answering: Answering,
}

impl Connected<IncomingStream<'_, Door>> for Caller {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        let connection = stream.io();
        Self { peer: connection.peer(), answering: connection.answering.clone() }
    }
}

/// What every request is answered with.
#[derive(Clone)]
pub(super) struct Desk {
    requests: Loop,
    pub(super) feed: Feed,
    pub(super) watchers: Arc<Semaphore>,
    judge: Judge,
    patience: Patience,
}

/// Lets in who may at least look, and says further in what they may do.
async fn guard(
    Shared(desk): Shared<Desk>,
    ConnectInfo(caller): ConnectInfo<Caller>,
    request: axum::extract::Request,
    next: Next,
) -> Response {
    let _answered = caller.answering.begin();
    let patience = desk.patience.request;
    let operators = desk.feed.operators.borrow().clone();
    // the user database may be a name service on the network
    let verdict = tokio::task::spawn_blocking(move || (desk.judge)(caller.peer, operators.as_deref())).await;
    let Ok(verdict) = verdict else {
        return answer(Err(Refused::new(Cause::Unavailable, "seald is ending", "ask again once it runs")));
    };
    if let Some(refused) = verdict.refusal(Role::Reader) {
        return refused;
    }
    let mut request = match timeout(patience, whole(request)).await {
        Ok(Ok(request)) => request,
        Ok(Err(refused)) => return answer(Err(refused)),
        Err(_) => return answer(Err(malformed("the request took too long to come", "send all of it at once"))),
    };
    request.extensions_mut().insert(verdict);
    let late = || Refused::new(Cause::Unavailable, "this took too long", "see with `seald status` what seald does");
    timeout(LONGEST, next.run(request)).await.unwrap_or_else(|_| answer(Err(late())))
}

/// Lets in operators only.
async fn operators(request: axum::extract::Request, next: Next) -> Response {
    match request.extensions().get::<Verdict>().map(|verdict| verdict.refusal(Role::Operator)) {
        Some(None) => next.run(request).await,
        Some(Some(refused)) => refused,
        None => StatusCode::FORBIDDEN.into_response(),
    }
}

fn router(desk: Desk) -> Router {
    let orders = Router::new()
        .route("/v1/reload", post(async |Shared(desk): Shared<Desk>| manifest(&desk, ManifestOrder::Reload).await))
        .route("/v1/rollback", post(async |Shared(desk): Shared<Desk>| manifest(&desk, ManifestOrder::Rollback).await))
        .route("/v1/pledge", post(pledge).delete(as_declared))
        .route("/v1/sectors/{number}/{verb}", post(order))
        .route("/v1/slots/{verb}", post(slots))
        .route("/v1/slots/{slot}/{verb}", post(slot))
        .route_layer(middleware::from_fn(operators));
    let looks = Router::new()
        .route("/v1/status", get(looks::status))
        .route("/v1/events", get(looks::events))
        .route("/v1/sectors", get(looks::sectors))
        .route("/v1/sectors/{number}", get(looks::sector))
        .route("/v1/sectors/{number}/chain", get(looks::on_chain))
        .route("/v1/info", get(looks::info))
        .route("/v1/plan", get(async |Shared(desk): Shared<Desk>| manifest(&desk, ManifestOrder::Preview).await))
        .route("/v1/metrics", get(looks::metrics))
        .route("/v1/version", get(looks::version));
    orders
        .merge(looks)
        .fallback(async || answer(Err(unknown("there is nothing at this path"))))
        .method_not_allowed_fallback(async || answer(Err(unknown("this path does not take this method"))))
        .layer(middleware::from_fn_with_state(desk.clone(), guard))
        .with_state(desk)
}

pub(super) type Loop = mpsc::Sender<Request>;

/// The request with all of its body.
async fn whole(request: axum::extract::Request) -> Result<axum::extract::Request, Refused> {
    let (head, body) = request.into_parts();
    let help = format!("send at most {BODY_LIMIT} bytes");
    let body = to_bytes(body, BODY_LIMIT).await;
    let body = body.map_err(|why| malformed(&format!("the request cannot be read: {why}"), &help))?;
    Ok(axum::extract::Request::from_parts(head, Body::from(body)))
}

fn unknown(error: &str) -> Refused {
    Refused::new(Cause::Unknown, error, "use the `seald` of the same version as the daemon (`seald version`)")
}

async fn pledge(Shared(desk): Shared<Desk>, body: Bytes) -> Response {
    answer(match read(&body) {
        Ok(PledgeBody { count }) => ask(&desk.requests, Ask::Pledge(count)).await,
        Err(refused) => Err(refused),
    })
}

async fn as_declared(Shared(desk): Shared<Desk>) -> Response {
    answer(ask(&desk.requests, Ask::PledgeAsDeclared).await)
}

async fn order(Shared(desk): Shared<Desk>, InPath((number, verb)): InPath<(String, String)>, body: Bytes) -> Response {
    answer(match order_of(&number, &verb, &body) {
        Ok(wanted) => ask(&desk.requests, wanted).await,
        Err(refused) => Err(refused),
    })
}

pub(super) fn order_of(number: &str, verb: &str, body: &[u8]) -> Result<Ask, Refused> {
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

async fn manifest(desk: &Desk, order: ManifestOrder) -> Response {
    answer(ask(&desk.requests, Ask::Manifest(order)).await)
}

async fn slot(Shared(desk): Shared<Desk>, InPath((slot, verb)): InPath<(String, String)>, body: Bytes) -> Response {
    answer(match slot_order_of(Some(&slot), &verb, &body) {
        Ok(wanted) => ask(&desk.requests, wanted).await,
        Err(refused) => Err(refused),
    })
}

async fn slots(Shared(desk): Shared<Desk>, InPath(verb): InPath<String>, body: Bytes) -> Response {
    answer(match slot_order_of(None, &verb, &body) {
        Ok(wanted) => ask(&desk.requests, wanted).await,
        Err(refused) => Err(refused),
    })
}

pub(super) fn slot_order_of(slot: Option<&str>, verb: &str, body: &[u8]) -> Result<Ask, Refused> {
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

pub(super) fn malformed(error: &str, help: &str) -> Refused {
    Refused::new(Cause::Malformed, error, help)
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refused> {
    let help = "use the `seald` of the same version as the daemon (`seald version`)";
    serde_json::from_slice(body).map_err(|why| malformed(&format!("the request cannot be understood: {why}"), help))
}

/// Hands a request to the loop and waits for its answer.
///
/// # Errors
/// Why nothing was done.
pub async fn ask(to: &mpsc::Sender<Request>, ask: Ask) -> Answer {
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

pub(super) fn answer(answer: Answer) -> Response {
    match answer {
        Ok(Reply::Pledged(pledged)) => Json(pledged).into_response(),
        Ok(Reply::Ruling(ruling)) => Json(ruling).into_response(),
        Ok(Reply::Reloaded(reloaded)) => Json(reloaded).into_response(),
        Ok(Reply::Slots(ruled)) => Json(ruled).into_response(),
        Err(Refused { cause, error, help }) => {
            // each is a code that HTTP has
            let status = StatusCode::from_u16(cause.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (status, Json(ErrorBody { error, help })).into_response()
        }
    }
}
