//! Calls over one websocket: connected when first needed, again with growing pauses when that fails, and never twice
//! at once. What happens on the connection is the [`Conversation`]'s.

use super::{
    Limits,
    conversation::{Call, Conversation, Stream},
    heads::Following,
    node::Address,
    trouble::{Attempt, Cause, NO_API, REDIRECTS, Trouble},
};
use crate::{chain::ChainError, clock, error::Chain};
use reqwest::{
    StatusCode,
    header::{AUTHORIZATION, USER_AGENT},
};
use std::{
    io,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    sync::{Mutex, mpsc, oneshot, watch},
    task::JoinSet,
    time,
};
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, pki_types::ServerName},
};
use tokio_tungstenite::{
    client_async_with_config,
    tungstenite::{
        self, Utf8Bytes, client::IntoClientRequest as _, handshake::client::Request, protocol::WebSocketConfig,
    },
};

/// Calls that wait to be written: as many as are in flight over all endpoints, so none ever waits for room.
const QUEUE: usize = super::CONCURRENT;

/// The pause before another attempt to connect doubles up to this many times its beginning.
const LONGEST_PAUSE: u32 = 16;

/// A connection, encrypted or not.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// An endpoint over a websocket.
pub(super) struct Socket {
    address: Arc<Address>,
    tls: Option<TlsConnector>,
    limits: Limits,
    link: Mutex<Link>,
    /// Somebody wants to hear of new heads.
    wanted: watch::Sender<bool>,
    following: watch::Sender<Following>,
}

/// The connection, or why there is none.
#[derive(Default)]
struct Link {
    calls: Option<mpsc::Sender<Call>>,
    /// The conversation, and none that has ended.
    tasks: JoinSet<()>,
    failed: Option<Failed>,
}

/// A failed attempt to connect.
struct Failed {
    why: String,
    pause: Duration,
    until: Instant,
}

impl Socket {
    /// # Errors
    /// [`ChainError::Invalid`] when it is to be encrypted and the machine has no root certificates.
    pub(super) fn new(address: Arc<Address>, limits: Limits) -> Result<Self, ChainError> {
        use rustls_platform_verifier::ConfigVerifierExt as _;
        let tls = address.is_encrypted().then(ClientConfig::with_platform_verifier).transpose().map_err(|why| {
            let help = "are the system's root certificates installed?";
            ChainError::Invalid { what: format!("cannot prepare wss ({help}): {}", Chain(&why)) }
        })?;
        let tls = tls.map(|config| TlsConnector::from(Arc::new(config)));
        let (link, wanted) = (Mutex::default(), watch::Sender::default());
        Ok(Self { address, tls, limits, link, wanted, following: watch::Sender::default() })
    }

    /// The text that answers a call.
    pub(super) async fn call(
        &self,
        method: &str,
        id: u64,
        body: String,
        deadline: Duration,
    ) -> Result<Utf8Bytes, Attempt> {
        let calls = self.calls(method).await?;
        let (reply, answer) = oneshot::channel();
        let gone = |what: &str| Trouble::Connect { node: self.name(), source: what.into() };
        // never full: see QUEUE
        calls.try_send(Call { id, body, reply }).map_err(|_| gone("the connection has just ended"))?;
        match time::timeout(deadline, answer).await {
            Ok(Ok(Ok(text))) => Ok(text),
            Ok(Ok(Err(end))) => Err(end.trouble(self.name(), self.limits.body).into()),
            // the conversation answers all calls when it ends; only its abort cannot
            Ok(Err(_)) => Err(self.lost("the connection was given up").into()),
            Err(_) => Err(self.lost(format!("none within {} s", deadline.as_secs_f32())).into()),
        }
    }

    /// Asks for news of heads. The receiver has seen what is so now.
    pub(super) fn follow(&self) -> watch::Receiver<Following> {
        self.wanted.send_if_modified(|wanted| !std::mem::replace(wanted, true));
        self.following.subscribe()
    }

    fn name(&self) -> String {
        self.address.name.clone()
    }

    fn lost(&self, source: impl Into<Cause>) -> Trouble {
        Trouble::Lost { node: self.name(), source: source.into() }
    }

    /// Where to send calls: the connection that is there, or a new one.
    async fn calls(&self, method: &str) -> Result<mpsc::Sender<Call>, Attempt> {
        let mut link = self.link.lock().await;
        while link.tasks.try_join_next().is_some() {}
        if let Some(calls) = link.calls.as_ref().filter(|calls| !calls.is_closed()) {
            return Ok(calls.clone());
        }
        let now = clock::monotonic();
        if let Some(failed) = link.failed.as_ref().filter(|failed| now < failed.until) {
            let wait = failed.until.saturating_duration_since(now).as_secs_f32();
            let source = format!("{}; tried again in {wait:.1} s", failed.why).into();
            return Err(Trouble::Connect { node: self.name(), source }.into());
        }
        let connecting = time::timeout(self.limits.connect, self.connect(method));
        let stream = connecting.await.unwrap_or_else(|_| {
            let source = format!("no answer within {} s", self.limits.connect.as_secs_f32()).into();
            Err(Trouble::Connect { node: self.name(), source }.into())
        });
        match stream {
            Ok(stream) => {
                let (calls, queue) = mpsc::channel(QUEUE);
                let wanted = self.wanted.subscribe();
                let conversation = Conversation::new(stream, queue, self.following.clone(), wanted, self.limits);
                link.tasks.spawn(conversation.run(self.name()));
                link.calls = Some(calls.clone());
                link.failed = None;
                Ok(calls)
            }
            Err(attempt) => {
                if let Attempt::Trouble(trouble) = &attempt {
                    link.failed = Some(self.failed(link.failed.take(), trouble));
                }
                Err(attempt)
            }
        }
    }

    fn failed(&self, before: Option<Failed>, trouble: &Trouble) -> Failed {
        let longest = self.limits.back_off.saturating_mul(LONGEST_PAUSE);
        let pause = before.map_or(self.limits.back_off, |failed| failed.pause.saturating_mul(2)).min(longest);
        let now = clock::monotonic();
        let why =
            if let Trouble::Connect { source, .. } = trouble { source.to_string() } else { Chain(trouble).to_string() };
        Failed { why, pause, until: now.checked_add(pause).unwrap_or(now) }
    }

    async fn connect(&self, method: &str) -> Result<Stream, Attempt> {
        let connect = |source: Cause| Attempt::Trouble(Trouble::Connect { node: self.name(), source });
        let request = self.request().map_err(|e| connect(e.into()))?;
        let io = self.open().await.map_err(|e| connect(e.into()))?;
        let limit = Some(self.limits.body);
        let config = WebSocketConfig::default().max_message_size(limit).max_frame_size(limit);
        match client_async_with_config(request, io, Some(config)).await {
            Ok((stream, _)) => Ok(stream),
            Err(tungstenite::Error::Http(answer)) => Err(self.refused(method, answer.status())),
            Err(error) => Err(connect(error.into())),
        }
    }

    /// The node speaks HTTP here, but no websocket.
    fn refused(&self, method: &str, status: StatusCode) -> Attempt {
        if status == StatusCode::UNAUTHORIZED || status == StatusCode::FORBIDDEN {
            return Attempt::Refused(self.address.unauthorized(method, status));
        }
        let advice = if status.is_redirection() { REDIRECTS } else { NO_API };
        Trouble::Upgrade { node: self.name(), status, advice }.into()
    }

    async fn open(&self) -> io::Result<Box<dyn Io>> {
        let url = &self.address.url;
        let host = url.host_str().unwrap_or_default();
        // of an IPv6 address in a URL, what is between the brackets
        let host = host.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(host);
        let plain = TcpStream::connect((host, url.port_or_known_default().unwrap_or_default())).await?;
        plain.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(Box::new(plain)) };
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(tls.connect(name, plain).await?))
    }

    fn request(&self) -> Result<Request, tungstenite::Error> {
        let mut request = self.address.url.as_str().into_client_request()?;
        for name in [AUTHORIZATION, USER_AGENT] {
            if let Some(value) = self.address.headers.get(&name) {
                request.headers_mut().insert(name, value.clone());
            }
        }
        Ok(request)
    }
}
