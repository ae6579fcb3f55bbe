//! Nodes that want to crash, hang or mislead: over both transports, byte by byte.

use super::*;
use futures_util::{SinkExt as _, StreamExt as _};
use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    task::JoinSet,
};
use tokio_tungstenite::{WebSocketStream, accept_async, tungstenite::Message};

/// A listener that hands each connection to a script.
struct Peer {
    address: String,
    connections: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Peer {
    async fn start<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(usize, TcpStream) -> F + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let mut serving = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                serving.spawn(script(counted.fetch_add(1, SeqCst), stream));
            }
        });
        Self { address, connections, _server: server }
    }

    /// Reads a request, answers with these bytes at once, and stays.
    async fn says(bytes: impl Into<Vec<u8>>) -> Self {
        let bytes = bytes.into();
        Self::start(move |_, mut stream| {
            let bytes = bytes.clone();
            async move {
                read_request(&mut stream).await;
                if stream.write_all(&bytes).await.is_ok() {
                    std::future::pending::<()>().await;
                }
            }
        })
        .await
    }

    /// A proper websocket; each call is handed to the script with its number.
    async fn speaks<F: Future<Output = ()> + Send + 'static>(
        script: impl Fn(Value, Arc<tokio::sync::Mutex<WebSocketStream<TcpStream>>>) -> F + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(script);
        Self::start(move |_, stream| {
            let script = Arc::clone(&script);
            async move {
                let Ok(socket) = accept_async(stream).await else { return };
                let socket = Arc::new(tokio::sync::Mutex::new(socket));
                loop {
                    let frame = socket.lock().await.next().await;
                    let Some(Ok(Message::Text(call))) = frame else { return };
                    script(serde_json::from_str(&call).unwrap(), Arc::clone(&socket)).await;
                }
            }
        })
        .await
    }

    fn ways(&self) -> [Endpoint; 2] {
        ["http", "ws"].map(|scheme| Endpoint { url: format!("{scheme}://{}", self.address), token: None })
    }

    fn socket(&self) -> Endpoint {
        let [_, socket] = self.ways();
        socket
    }
}

async fn read_request(stream: &mut TcpStream) {
    let mut read = Vec::new();
    let mut byte = [0];
    while !read.ends_with(b"\r\n\r\n") && stream.read(&mut byte).await.is_ok_and(|n| n > 0) {
        read.push(byte[0]);
    }
}

fn http(status: &str, headers: &str, body: &str) -> String {
    format!("HTTP/1.1 {status}\r\n{headers}connection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

fn answer(id: &Value) -> Message {
    Message::text(json!({ "jsonrpc": "2.0", "id": id, "result": 28 }).to_string())
}

/// Bounds for peers that never come to an end.
fn short() -> Limits {
    Limits { connect: Duration::from_millis(400), silence: Duration::from_millis(400), ..impatient() }
}

/// Whatever it is, the call ends with an error, and a better node is asked in its place.
async fn is_passed_over(peer: &Peer, what: &str) {
    let good = version(28).await;
    for way in peer.ways() {
        let alone = ask(&rpc(std::slice::from_ref(&way), short())).await;
        assert!(alone.is_err(), "{what}: {}: {alone:?}", way.url);
        let both = rpc(&[way.clone(), good.endpoint()], short());
        assert_eq!(ask(&both).await.unwrap(), 28, "{what}: {}", way.url);
    }
}

#[tokio::test]
async fn bytes_that_are_no_answer_are_passed_over() {
    let huge = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(1 << 20));
    let endless = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{}", u64::MAX, "y".repeat(10_000));
    for (what, bytes) in [
        ("nothing", String::new()),
        ("noise", "\u{0}\u{1}\u{2}SSH-2.0-OpenSSH\r\n\r\n".to_owned()),
        ("half a status", "HTTP/1.1 2".to_owned()),
        ("half a header", "HTTP/1.1 200 OK\r\ncontent-le".to_owned()),
        ("half a body", "HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n{\"jsonrpc\":\"2.0\",\"id\":1,".to_owned()),
        ("a huge header", huge),
        ("a body without an end", endless),
        ("a chunk without an end", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffff\r\n{".to_owned()),
        ("an answer to another call", http("200 OK", "", r#"{"jsonrpc":"2.0","id":77,"result":28}"#)),
        ("a wrong type", http("200 OK", "", r#"{"jsonrpc":"2.0","id":1,"result":{"28":28}}"#)),
        ("deep nesting", http("200 OK", "", &"[".repeat(3000))),
        ("an upgrade without a key", "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\n\r\n".to_owned()),
        ("an upgrade to noise", "HTTP/1.1 101 Switching Protocols\r\n\r\nnoise".to_owned()),
        ("500", http("500 Internal Server Error", "", "")),
        ("a page", http("404 Not Found", "", "<html>")),
        ("a redirection", http("301 Moved Permanently", "location: http://127.0.0.1:1/rpc/v1\r\n", "")),
    ] {
        is_passed_over(&Peer::says(bytes).await, what).await;
    }
}

#[tokio::test]
async fn a_byte_now_and_then_is_no_answer() {
    let trickle = Peer::start(|_, mut stream| async move {
        read_request(&mut stream).await;
        let text = "HTTP/1.1 200 OK\r\n".bytes().chain(std::iter::repeat(b'x'));
        for byte in text {
            if stream.write_all(&[byte]).await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    });
    is_passed_over(&trickle.await, "a trickle").await;
    let gone = Peer::start(|_, stream| async move { drop(stream) });
    is_passed_over(&gone.await, "a connection that is closed at once").await;
}

#[tokio::test]
async fn a_websocket_is_refused_as_a_call_is() {
    for (status, why) in
        [("401 Unauthorized", "wants a token"), ("403 Forbidden", "wants a token"), ("302 Found", "redirects")]
    {
        let peer = Peer::says(http(status, "location: http://127.0.0.1:1/\r\n", "")).await;
        for way in peer.ways() {
            let error = ask(&rpc(&[way], limits())).await.unwrap_err();
            assert!(Chain(&error).to_string().contains(why), "{status}: {}", Chain(&error));
        }
    }
}

#[tokio::test]
async fn frames_that_are_no_answer_end_the_connection() {
    for (what, frame, why) in [
        ("binary", Message::binary(vec![1, 2, 3]), "not text"),
        ("noise", Message::text("noise"), "something else than JSON-RPC"),
        ("a list", Message::text("[]"), "something else than JSON-RPC"),
        ("nothing in it", Message::text("{}"), "neither a number nor a method"),
        ("a text for a number", Message::text(r#"{"jsonrpc":"2.0","id":"1","result":28}"#), "JSON-RPC"),
        ("the failure of nobody's call", Message::text(r#"{"id":null,"error":{"code":1,"message":"x"}}"#), "JSON-RPC"),
        ("deep nesting", Message::text("[".repeat(3000)), "JSON-RPC"),
        ("too much", Message::text("x".repeat(5000)), "more than 4096 bytes"),
        ("a close", Message::Close(None), "the connection ended"),
    ] {
        let peer = Peer::speaks(move |_, socket| {
            let frame = frame.clone();
            async move { drop(socket.lock().await.send(frame).await) }
        })
        .await;
        let error = ask(&rpc(&[peer.socket()], limits())).await.unwrap_err();
        assert!(Chain(&error).to_string().contains(why), "{what}: {}", Chain(&error));
    }
}

#[tokio::test]
async fn an_answer_of_the_wrong_type_leaves_the_connection_as_it_is() {
    let node = Fake::start(|asked| match asked.number {
        1 => Reply::Result(json!("28")),
        2 => Reply::Error(1, "no"),
        _ => Reply::Result(json!(28)),
    })
    .await;
    let rpc = rpc(&[node.socket()], limits());
    assert!(matches!(ask(&rpc).await.unwrap_err(), ChainError::Malformed { .. }));
    assert!(matches!(ask(&rpc).await.unwrap_err(), ChainError::Refused { code: 1, .. }));
    assert_eq!(ask(&rpc).await.unwrap(), 28);
}

#[tokio::test]
async fn answers_find_their_calls_in_any_order() {
    // none is answered before all have come; the last one first, and each with its own number
    let held = Arc::new(tokio::sync::Mutex::new(Vec::new()));
    let peer = Peer::speaks(move |call, socket| {
        let held = Arc::clone(&held);
        async move {
            let mut held = held.lock().await;
            held.push(call["id"].clone());
            if held.len() == CONCURRENT {
                let mut socket = socket.lock().await;
                for id in held.iter().rev() {
                    let text = json!({ "jsonrpc": "2.0", "id": id, "result": id }).to_string();
                    socket.send(Message::text(text)).await.unwrap();
                }
            }
        }
    })
    .await;
    let rpc = rpc(&[peer.socket()], limits());
    let answers: Vec<_> = futures_util::future::join_all((0..CONCURRENT).map(|_| ask(&rpc))).await;
    let mut numbers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=8).collect::<Vec<_>>());
    assert_eq!(peer.connections.load(SeqCst), 1, "one connection for all");
}

#[tokio::test]
async fn answers_to_nobody_are_passed_over() {
    let peer = Peer::speaks(|call, socket| async move {
        let mut socket = socket.lock().await;
        for id in [json!(1_000_000), json!(u64::MAX), json!(0)] {
            socket.send(answer(&id)).await.unwrap();
        }
        socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[5,28]}"#)).await.unwrap();
        socket.send(Message::text(r#"{"jsonrpc":"2.0","method":"Filecoin.EthSubscription","id":1}"#)).await.unwrap();
        socket.send(answer(&call["id"])).await.unwrap();
        // an answer twice is one to nobody
        socket.send(answer(&call["id"])).await.unwrap();
    })
    .await;
    let rpc = rpc(&[peer.socket()], limits());
    for _ in 0..3 {
        assert_eq!(ask(&rpc).await.unwrap(), 28);
    }
    assert_eq!(peer.connections.load(SeqCst), 1);
}

#[tokio::test]
async fn notifications_without_end_hold_up_no_answer() {
    let peer = Peer::speaks(|call, socket| async move {
        let mut socket = socket.lock().await;
        let noise = Message::text(r#"{"jsonrpc":"2.0","method":"xrpc.ch.val","params":[5,[]]}"#);
        for _ in 0..200 {
            socket.feed(noise.clone()).await.unwrap();
        }
        socket.send(answer(&call["id"])).await.unwrap();
        while socket.feed(noise.clone()).await.is_ok() {}
    })
    .await;
    let rpc = rpc(&[peer.socket()], short());
    assert_eq!(ask(&rpc).await.unwrap(), 28);
    // the flood goes on, and the next call is not answered in it
    assert!(matches!(ask(&rpc).await.unwrap_err(), ChainError::Unreachable { .. }));
}

#[tokio::test]
async fn what_is_lost_with_a_connection_is_repeated_only_where_that_is_safe() {
    // the first connection takes a call and ends; the next one answers
    let taken = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&taken);
    let peer = Peer::speaks(move |call, socket| {
        let number = counted.fetch_add(1, SeqCst);
        async move {
            let mut socket = socket.lock().await;
            if number == 0 {
                socket.close(None).await.unwrap()
            } else {
                socket.send(answer(&call["id"])).await.unwrap()
            }
        }
    })
    .await;
    let write = rpc(&[peer.socket()], limits());
    let lost = write.call::<u64>(Kind::Write, "MpoolPushMessage", [1]).await.unwrap_err();
    assert!(matches!(lost, ChainError::Unreachable { .. }), "{lost:?}");
    assert_eq!(taken.load(SeqCst), 1, "a message that may have arrived is not handed over again");

    taken.store(0, SeqCst);
    assert_eq!(ask(&rpc(&[peer.socket()], limits())).await.unwrap(), 28);
    assert_eq!(taken.load(SeqCst), 2);
}

#[tokio::test]
async fn a_write_that_found_no_websocket_is_made_elsewhere() {
    let (good, peer) = (version(28).await, Peer::says(http("503 Service Unavailable", "", "")).await);
    let rpc = rpc(&[peer.socket(), good.socket()], limits());
    assert_eq!(rpc.call::<u64>(Kind::Write, "MpoolPushMessage", [1]).await.unwrap(), 28);
}

#[tokio::test]
async fn a_connection_on_which_nothing_is_heard_is_given_up() {
    let peer = Peer::speaks(|_, _| async {}).await;
    let patient = Limits { silence: Duration::from_millis(200), ..limits() };
    let error = ask(&rpc(&[peer.socket()], patient)).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("nothing was heard for 0.2 s"), "{}", Chain(&error));
    assert_eq!(peer.connections.load(SeqCst), 3, "once a round");
}

#[tokio::test]
async fn a_node_that_is_away_is_not_called_at_each_call() {
    let peer = Peer::start(|_, stream| async move { drop(stream) }).await;
    let rpc = rpc(&[peer.socket()], Limits { back_off: Duration::from_secs(3600), ..limits() });
    let once = Ask { kind: Kind::Read, method: "Version", params: &(), unfit_too: false };
    let first = rpc.round(&once, &|_, _: &u64| Ok(())).await;
    assert!(matches!(first, Err(Attempt::Trouble(trouble)) if trouble.unsent()));
    let second = rpc.round(&once, &|_, _: &u64| Ok(())).await;
    let Err(Attempt::Trouble(trouble)) = second else { panic!("no trouble") };
    assert!(Chain(&trouble).to_string().contains("tried again in"), "{}", Chain(&trouble));
    assert_eq!(peer.connections.load(SeqCst), 1);
}

/// A node with a channel of heads: `ChainNotify` is answered, then the script runs.
async fn notifying<F: Future<Output = ()> + Send + 'static>(
    then: impl Fn(usize, Arc<tokio::sync::Mutex<WebSocketStream<TcpStream>>>) -> F + Send + Sync + 'static,
) -> Peer {
    let asked = AtomicUsize::new(0);
    let then = Arc::new(then);
    Peer::speaks(move |call, socket| {
        let is_notify = call["method"] == "Filecoin.ChainNotify";
        let number = asked.fetch_add(usize::from(is_notify), SeqCst);
        let then = Arc::clone(&then);
        async move {
            let text = json!({ "jsonrpc": "2.0", "id": call["id"], "result": if is_notify { 5 } else { 28 } });
            socket.lock().await.send(Message::text(text.to_string())).await.unwrap();
            if is_notify {
                then(number, socket).await;
            }
        }
    })
    .await
}

fn on_channel(method: &str, channel: u64) -> Message {
    Message::text(json!({ "jsonrpc": "2.0", "method": method, "params": [channel, []] }).to_string())
}

async fn until(heads: &mut Heads, open: bool) {
    while heads.is_open() != open {
        heads.heard().await;
    }
}

#[tokio::test]
async fn heads_are_told_while_the_channel_is_open() {
    let peer = notifying(|number, socket| async move {
        let mut socket = socket.lock().await;
        // another channel's values are not ours
        socket.send(on_channel("xrpc.ch.val", 6)).await.unwrap();
        socket.send(on_channel("xrpc.ch.val", 5)).await.unwrap();
        socket.send(on_channel("xrpc.ch.close", 6)).await.unwrap();
        // the first channel is closed, and another one asked for
        if number == 0 {
            socket.send(on_channel("xrpc.ch.close", 5)).await.unwrap();
        }
    })
    .await;
    let rpc = rpc(&[peer.socket()], limits());
    let mut heads = rpc.heads();
    assert!(!heads.is_open(), "there is no connection yet");
    assert_eq!(ask(&rpc).await.unwrap(), 28);
    let moves = |heads: &Heads| heads.following.as_ref().unwrap().borrow().moves;
    while moves(&heads) < 2 {
        heads.heard().await;
    }
    until(&mut heads, true).await;
    assert_eq!((moves(&heads), peer.connections.load(SeqCst)), (2, 1));
}

#[tokio::test]
async fn a_lost_channel_is_news() {
    let peer = notifying(|_, socket| async move { socket.lock().await.close(None).await.unwrap() }).await;
    let rpc = rpc(&[peer.socket()], limits());
    let mut heads = rpc.heads();
    drop(ask(&rpc).await);
    // opened and closed: two pieces of news, or one when they come together
    heads.heard().await;
    until(&mut heads, false).await;
}

#[tokio::test]
async fn a_node_without_a_channel_is_polled() {
    let node = Fake::start(|asked| match asked.method.as_str() {
        "ChainNotify" => Reply::Error(-32601, "method not found"),
        _ => Reply::Result(json!(28)),
    })
    .await;
    let plain = rpc(&[node.endpoint()], limits());
    assert!(plain.heads().following.is_none());
    let rpc = rpc(&[node.socket()], limits());
    let heads = rpc.heads();
    while node.asked().iter().all(|asked| asked.method != "ChainNotify") {
        assert_eq!(ask(&rpc).await.unwrap(), 28);
    }
    assert_eq!(ask(&rpc).await.unwrap(), 28);
    assert!(!heads.is_open());
}
