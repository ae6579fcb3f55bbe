//! Connections to a socket of ours, bounded: so many at a time, and none of them idle for long. Whoever says nothing
//! and takes nothing is let go, so that nobody can keep the others out by keeping still.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
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

/// Connections at a time: operators' terminals, dashboards and scripts. Who comes then waits in the kernel's queue.
const CONNECTIONS: usize = 64;

/// How long a connection may say nothing, and take nothing of what it is told, while nothing is done for it.
pub const IDLE: Duration = Duration::from_secs(10);

/// A listening socket whose connections are bounded.
#[derive(Debug)]
pub struct Listener<L> {
    socket: L,
    room: Arc<Semaphore>,
    idle: Duration,
}

impl<L> Listener<L> {
    /// Listens on this socket; a connection that is idle for so long is closed.
    pub fn new(socket: L, idle: Duration) -> Self {
        Self { socket, room: Arc::new(Semaphore::new(CONNECTIONS)), idle }
    }
}

impl<L: axum::serve::Listener> axum::serve::Listener for Listener<L> {
    type Io = Connection<L::Io>;
    type Addr = L::Addr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // never closed
            let place = Arc::clone(&self.room).acquire_owned().await.ok();
            let (stream, address) = self.socket.accept().await;
            if let Some(place) = place {
                return (Connection::new(stream, place, self.idle), address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<L::Addr> {
        self.socket.local_addr()
    }
}

/// Requests of one connection that are being answered: until then it may be silent.
#[derive(Debug, Clone, Default)]
pub struct Answering(Arc<AtomicU32>);

impl Answering {
    /// Counts a request until the value is dropped.
    pub fn begin(&self) -> Answered {
        self.0.fetch_add(1, Ordering::Relaxed);
        Answered(self.clone())
    }

    fn is_going_on(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub struct Answered(Answering);

impl Drop for Answered {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    idle: Pin<Box<Sleep>>,
    patience: Duration,
    /// What is being answered on it.
    pub answering: Answering,
    _place: OwnedSemaphorePermit,
}

impl Connection<UnixStream> {
    /// User and group of whoever is at the other end; `None` when the kernel does not say.
    pub fn peer(&self) -> Option<(u32, u32)> {
        self.stream.peer_cred().ok().map(|credentials| (credentials.uid(), credentials.gid()))
    }
}

impl<S> Connection<S> {
    fn new(stream: S, place: OwnedSemaphorePermit, patience: Duration) -> Self {
        Self { stream, idle: Box::pin(sleep(patience)), patience, answering: Answering::default(), _place: place }
    }

    fn rest<T>(&mut self, context: &mut Context<'_>, progress: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if progress.is_ready() {
            let patience = self.patience;
            self.idle.set(sleep(patience));
            return progress;
        }
        if self.idle.as_mut().poll(context).is_pending() {
            return progress;
        }
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nothing was said for too long")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Connection<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let progress = Pin::new(&mut self.stream).poll_read(context, buffer);
        // while the daemon works for it, or tells it something, whoever asked has nothing to say
        if progress.is_pending() && self.answering.is_going_on() {
            return progress;
        }
        self.rest(context, progress)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Connection<S> {
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
