//! Who comes in at the control socket. Each is judged before a place is taken: whoever may not even look is told so and
//! sent away, nobody gets all places, and some are kept for operators, so that those who only look cannot keep them out.

use super::{
    ErrorBody,
    access::{self, Role},
    connection::{Connection, Patience},
    server::{Judge, Verdict},
};
use std::{
    collections::BTreeMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{UnixListener, UnixStream, unix::SocketAddr},
    sync::watch,
    task::JoinSet,
    time::timeout,
};

/// Connections at a time: operators' terminals, dashboards and scripts.
const PLACES: usize = 64;

/// Places that those who only look, and any one operator, never have all of.
const KEPT: usize = 16;

/// Places of one user who only looks.
const EACH: usize = 16;

/// How long somebody who is sent away gets to hear why.
const FAREWELL: Duration = Duration::from_secs(1);

/// A user whom the kernel does not name; no user has this number.
const NOBODY: u32 = u32::MAX;

/// A listening socket that judges.
#[derive(Debug)]
pub struct Door {
    socket: UnixListener,
    judge: Judge,
    operators: watch::Receiver<Option<String>>,
    patience: Patience,
    inside: Room,
    /// Those who are being judged.
    waiting: Room,
    /// Those who hear why they are sent away.
    leaving: Room,
    judging: JoinSet<Judged>,
    refusing: JoinSet<()>,
}

#[derive(Debug)]
struct Judged {
    stream: UnixStream,
    address: SocketAddr,
    uid: u32,
    verdict: Verdict,
}

impl Door {
    /// Listens on this socket. `operators`: the group whose members are operators.
    pub fn new(
        socket: UnixListener,
        judge: Judge,
        operators: watch::Receiver<Option<String>>,
        patience: Patience,
    ) -> Self {
        let [inside, waiting, leaving] = [Room::default(), Room::default(), Room::default()];
        let (judging, refusing) = (JoinSet::new(), JoinSet::new());
        Self { socket, judge, operators, patience, inside, waiting, leaving, judging, refusing }
    }

    /// Has somebody judged beside the others, as the user database may be a name service on the network.
    fn arrives(&mut self, stream: UnixStream, address: SocketAddr) {
        let peer = stream.peer_cred().ok().map(|credentials| (credentials.uid(), credentials.gid()));
        let uid = peer.map_or(NOBODY, |(uid, _)| uid);
        let expected = if access::is_known(uid) { Role::Operator } else { Role::Reader };
        // a user who comes faster than the judgement is let go without a word
        let Some(place) = self.waiting.take(uid, expected) else { return };
        let (judge, operators) = (self.judge, self.operators.borrow().clone());
        self.judging.spawn_blocking(move || {
            let verdict = judge(peer, operators.as_deref());
            drop(place);
            Judged { stream, address, uid, verdict }
        });
    }

    /// Lets somebody in, or sends them away.
    fn enters(&mut self, judged: Judged) -> Option<(Connection<UnixStream, Place>, SocketAddr)> {
        let Judged { stream, address, uid, verdict } = judged;
        let place = verdict.role.and_then(|role| self.inside.take(uid, role));
        if let Some(place) = place {
            return Some((Connection::new(stream, place, self.patience), address));
        }
        let full = || {
            let error = "too many ask seald at the same time, or too many of this user do".to_owned();
            (503, ErrorBody { error, help: "end some of the programs that ask, then ask again".to_owned() })
        };
        let (status, why) = verdict.words(Role::Reader).map_or_else(full, |words| (403, words));
        // there is a bound to politeness, too
        if let Some(place) = self.leaving.take(uid, Role::Reader) {
            self.refusing.spawn(refuse(stream, status, why, place));
        }
        None
    }
}

impl axum::serve::Listener for Door {
    type Io = Connection<UnixStream, Place>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            // each arm only waits: who is not taken from the socket or from the judgement yet stays there
            tokio::select! {
                (stream, address) = axum::serve::Listener::accept(&mut self.socket) => self.arrives(stream, address),
                Some(judged) = self.judging.join_next() => {
                    if let Some(inside) = judged.ok().and_then(|judged| self.enters(judged)) {
                        return inside;
                    }
                }
                Some(_) = self.refusing.join_next() => {}
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Tells somebody why, and ends the connection.
async fn refuse(mut stream: UnixStream, status: u16, why: ErrorBody, _place: Place) {
    let body = serde_json::json!(why).to_string();
    let length = body.len();
    let head = format!("HTTP/1.1 {status} no\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n");
    let told = async {
        let mut heard = [0; 1024];
        // an answer before the question would be taken for noise
        if stream.read(&mut heard).await? > 0 {
            stream.write_all(format!("{head}connection: close\r\n\r\n{body}").as_bytes()).await?;
            stream.shutdown().await?;
            // what is unread at the end would be told as a broken connection
            while stream.read(&mut heard).await? > 0 {}
        }
        io::Result::Ok(())
    };
    // whoever does not listen has missed it
    drop(timeout(FAREWELL, told).await);
}

/// Places, and who has them.
#[derive(Debug, Clone, Default)]
struct Room(Arc<Mutex<Taken>>);

/// How many places are taken.
#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_readers: usize,
    by_user: BTreeMap<u32, usize>,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    room: Room,
    uid: u32,
    role: Role,
}

impl Room {
    /// A place for this user, if there is one.
    fn take(&self, uid: u32, role: Role) -> Option<Place> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.begin(uid, role).then(|| Place { room: self.clone(), uid, role })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.room.0.lock().unwrap_or_else(PoisonError::into_inner).end(self.uid, self.role);
    }
}

impl Taken {
    /// Counts one more, where that is allowed.
    fn begin(&mut self, uid: u32, role: Role) -> bool {
        let open = PLACES.saturating_sub(KEPT);
        let own = self.by_user.get(&uid).copied().unwrap_or_default();
        let allowed = match role {
            Role::Operator => own < open,
            Role::Reader => own < EACH && self.by_readers < open,
        };
        if !allowed || self.all >= PLACES {
            return false;
        }
        self.all = self.all.saturating_add(1);
        self.by_readers = self.by_readers.saturating_add(usize::from(role == Role::Reader));
        self.by_user.insert(uid, own.saturating_add(1));
        true
    }

    fn end(&mut self, uid: u32, role: Role) {
        self.all = self.all.saturating_sub(1);
        self.by_readers = self.by_readers.saturating_sub(usize::from(role == Role::Reader));
        match self.by_user.get(&uid).copied() {
            Some(own) if own > 1 => drop(self.by_user.insert(uid, own.saturating_sub(1))),
            Some(_) | None => drop(self.by_user.remove(&uid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(taken: &mut Taken, uid: u32, role: Role) -> usize {
        (0..2 * PLACES).take_while(|_| taken.begin(uid, role)).count()
    }

    #[test]
    fn nobody_gets_all_places_and_operators_always_find_one() {
        let mut taken = Taken::default();
        let readers: Vec<usize> = (1000..1010).map(|uid| fill(&mut taken, uid, Role::Reader)).collect();
        assert_eq!((readers[0], readers.iter().sum::<usize>()), (EACH, PLACES - KEPT));
        assert_eq!(fill(&mut taken, 0, Role::Operator), KEPT);
        assert_eq!(fill(&mut taken, 7, Role::Operator), 0);
        taken.end(1000, Role::Reader);
        assert!(taken.begin(1000, Role::Reader) && !taken.begin(1000, Role::Reader));

        let mut taken = Taken::default();
        assert_eq!(fill(&mut taken, 7, Role::Operator), PLACES - KEPT);
        assert_eq!(fill(&mut taken, 0, Role::Operator), KEPT);
        (0..KEPT).for_each(|_| taken.end(0, Role::Operator));
        (0..PLACES - KEPT).for_each(|_| taken.end(7, Role::Operator));
        assert_eq!((taken.all, taken.by_readers, taken.by_user.len()), (0, 0, 0));
    }
}
