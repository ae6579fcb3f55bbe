//! Connections to a socket of ours, with a bound to their patience. Whoever says nothing and takes nothing is let go, and
//! whoever asks so slowly that a request does not become whole, so that nobody can keep the others out by keeping still.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::UnixStream,
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Sleep, sleep},
};

/// Connections at a time to a listener that judges nobody. Who comes then waits in the kernel's queue.
const CONNECTIONS: usize = 64;

/// How long is waited for the other side.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long a connection may say nothing, and take nothing of what it is told, while nothing is done for it.
    pub idle: Duration,
    /// How long the head of a request may take, and then its body. It begins with the first byte; of the first request
    /// with the connection.
    pub request: Duration,
}

impl Patience {
    /// A request is a few hundred bytes that are sent at once.
    pub const USUAL: Self = Self { idle: Duration::from_secs(10), request: Duration::from_secs(5) };
}

/// A listening socket whose connections are bounded.
#[derive(Debug)]
pub struct Listener<L> {
    socket: L,
    room: Arc<Semaphore>,
    patience: Patience,
}

impl<L> Listener<L> {
    /// Listens on this socket.
    pub fn new(socket: L, patience: Patience) -> Self {
        Self { socket, room: Arc::new(Semaphore::new(CONNECTIONS)), patience }
    }
}

impl<L: axum::serve::Listener> axum::serve::Listener for Listener<L> {
    type Io = Connection<L::Io, OwnedSemaphorePermit>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // never closed
            let place = Arc::clone(&self.room).acquire_owned().await.ok();
            let (stream, address) = self.socket.accept().await;
            if let Some(place) = place {
                return (Connection::new(stream, place, self.patience), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.socket.local_addr()
    }
}

/// Requests of one connection that are being answered: until then it may be silent.
#[derive(Debug, Clone, Default)]
pub struct Answering(Arc<Requests>);

#[derive(Debug, Default)]
struct Requests {
    now: AtomicU32,
    ever: AtomicU64,
}

impl Answering {
    /// Counts a request, whose head has come whole, until the value is dropped.
    pub fn begin(&self) -> Answered {
        self.0.now.fetch_add(1, Ordering::Relaxed);
        self.0.ever.fetch_add(1, Ordering::Relaxed);
        Answered(self.clone())
    }

    fn is_going_on(&self) -> bool {
        self.0.now.load(Ordering::Relaxed) > 0
    }

    fn ever(&self) -> u64 {
        self.0.ever.load(Ordering::Relaxed)
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answered(Answering);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection, with the place that it takes.
#[derive(Debug)]
pub struct Connection<S, P> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    /// By when the request that has begun must have come whole.
    request: Option<Pin<Box<Sleep>>>,
    patience: Patience,
    /// What is being answered on it.
    pub answering: Answering,
    /// How many requests had come whole when it was last read from.
    heard: u64,
    _place: P,
}

impl<P> Connection<UnixStream, P> {
    /// User and group of whoever is at the other end; `None` when the kernel does not say.
    pub fn peer(&self) -> Option<(u32, u32)> {
        self.stream.peer_cred().ok().map(|credentials| (credentials.uid(), credentials.gid()))
    }
}

impl<S, P> Connection<S, P> {
    /// A connection that was just made.
    pub fn new(stream: S, place: P, patience: Patience) -> Self {
        let (idle, request) = (Box::pin(sleep(patience.idle)), Some(Box::pin(sleep(patience.request))));
        Self { stream, idle, request, patience, answering: Answering::default(), heard: 0, _place: place }
    }

    fn rest<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            let patience = self.patience.idle;
            self.idle.set(sleep(patience));
            return progress;
        }
        if self.idle.as_mut().poll(context).is_pending() {
            return progress;
        }
        Poll::Ready(Err(late("nothing was said for too long")))
    }

    /// Whether a request takes too long to come whole; `came`: bytes that nothing is answered for yet did just now.
    fn is_slow(&mut self, context: &mut Context<'_>, came: bool) -> bool {
        if came && self.request.is_none() {
            self.request = Some(Box::pin(sleep(self.patience.request)));
        }
        self.request.as_mut().is_some_and(|request| request.as_mut().poll(context).is_ready())
    }
}

fn late(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, why)
}

impl<S: AsyncRead + Unpin, P: Unpin> AsyncRead for Connection<S, P> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let progress = Pin::new(&mut self.stream).poll_read(context, buffer);
        let ever = self.answering.ever();
        if ever != self.heard {
            (self.heard, self.request) = (ever, None);
        }
        if self.answering.is_going_on() {
            // while the daemon works for it, or tells it something, whoever asked has nothing to say
            return if progress.is_pending() { progress } else { self.rest(context, progress) };
        }
        if self.is_slow(context, buffer.filled().len() > before) {
            return Poll::Ready(Err(late("a request took too long to come")));
        }
        self.rest(context, progress)
    }
}

impl<S: AsyncWrite + Unpin, P: Unpin> AsyncWrite for Connection<S, P> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let progress = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.rest(context, progress)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
