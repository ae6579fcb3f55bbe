//! What a client hears over a websocket.

use super::{Client, devnet};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

struct Listener(WebSocketStream<TcpStream>);

impl Listener {
    async fn connect(http: &Client) -> Self {
        let host = http.base.strip_prefix("http://").unwrap();
        let stream = TcpStream::connect(host).await.unwrap();
        Self(client_async(format!("ws://{host}/rpc/v1"), stream).await.unwrap().0)
    }

    async fn say(&mut self, text: impl ToString) {
        self.0.send(Message::text(text.to_string())).await.unwrap();
    }

    /// The next text; `None` at the end.
    async fn hear(&mut self) -> Option<Value> {
        loop {
            match self.0.next().await?.ok()? {
                Message::Text(text) => return Some(serde_json::from_str(&text).unwrap()),
                Message::Ping(_) => {}
                other @ (Message::Binary(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("{other:?}")
                }
            }
        }
    }

    /// Opens a channel with this request; its number.
    async fn follow(&mut self, request: u64, height: i64) -> u64 {
        self.say(json!({ "jsonrpc": "2.0", "id": request, "method": "Filecoin.ChainNotify", "params": [] })).await;
        let answer = self.hear().await.unwrap();
        assert_eq!(answer["id"], request);
        let channel = answer["result"].as_u64().unwrap();
        assert_eq!(self.changes(channel).await, [("current".to_owned(), height)]);
        channel
    }

    async fn changes(&mut self, channel: u64) -> Vec<(String, i64)> {
        let told = self.hear().await.unwrap();
        assert_eq!((&told["method"], &told["params"][0]), (&json!("xrpc.ch.val"), &json!(channel)), "{told}");
        assert!(told.get("id").is_none(), "a notification has no number");
        let change = |c: &Value| (c["Type"].as_str().unwrap().to_owned(), c["Val"]["Height"].as_i64().unwrap());
        told["params"][1].as_array().unwrap().iter().map(change).collect()
    }
}

fn told(changes: &[(&str, i64)]) -> Vec<(String, i64)> {
    changes.iter().map(|(kind, height)| ((*kind).to_owned(), *height)).collect()
}

#[tokio::test]
async fn heads_are_told_as_they_come_and_go() {
    let dir = tempfile::tempdir().unwrap();
    let (http, _tasks) = devnet(dir.path()).await;
    let head = http.chain().head;
    let mut listener = Listener::connect(&http).await;
    let channel = listener.follow(7, head).await;
    http.mine(2).await;
    assert_eq!(listener.changes(channel).await, told(&[("apply", head + 1), ("apply", head + 2)]));
    http.fault("reorg", json!({ "epochs": 1 })).await;
    let expected = [("revert", head + 2), ("apply", head + 2), ("apply", head + 3)];
    assert_eq!(listener.changes(channel).await, told(&expected));

    // a rule changes no head, and says nothing
    http.fault("drop", json!({})).await;
    http.fault("mute", json!({})).await;
    http.mine(1).await;
    http.fault("clear", json!({})).await;
    assert_eq!(listener.changes(channel).await, told(&[("apply", head + 4)]));

    listener.say(json!({ "jsonrpc": "2.0", "method": "xrpc.cancel", "params": [7] })).await;
    assert_eq!(listener.hear().await.unwrap()["method"], "xrpc.ch.close");
    let again = listener.follow(8, head + 4).await;
    assert_ne!(again, channel);
    http.fault("close_channels", json!({})).await;
    let closed = listener.hear().await.unwrap();
    assert_eq!((&closed["method"], &closed["params"]), (&json!("xrpc.ch.close"), &json!([again])));
    http.fault("disconnect", json!({})).await;
    assert_eq!(listener.hear().await, None);
}

#[tokio::test]
async fn calls_are_answered_over_a_websocket_as_over_http() {
    let dir = tempfile::tempdir().unwrap();
    let (http, _tasks) = devnet(dir.path()).await;
    let mut listener = Listener::connect(&http).await;
    for (request, has) in [
        (json!({ "id": 1, "method": "Filecoin.StateNetworkVersion", "params": [[]] }), "result"),
        (json!({ "id": 1, "method": "Filecoin.Nothing", "params": [] }), "error"),
        (json!({ "id": 1, "method": "Filecoin.StateNetworkVersion", "params": [] }), "error"),
        (json!({ "id": 1 }), "error"),
        (json!([]), "error"),
    ] {
        listener.say(&request).await;
        let answer = listener.hear().await.unwrap();
        assert!(answer.get(has).is_some(), "{request}: {answer}");
        if request.is_object() {
            assert_eq!(answer, http.post("/rpc/v1", request.to_string()).await.1);
        }
    }
    listener.say("noise").await;
    assert_eq!(listener.hear().await.unwrap()["error"]["code"], -32700);
    let (_, text) = http.refusal("ChainNotify", json!([])).await;
    assert!(text.contains("no out channel support"), "{text}");
    // a call that a rule lets end without an answer takes the connection with it
    http.fault("fail", json!({ "method": "ChainHead", "how": "http500" })).await;
    listener.say(json!({ "id": 2, "method": "Filecoin.ChainHead", "params": [] })).await;
    assert_eq!(listener.hear().await, None);
}
