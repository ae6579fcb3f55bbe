//! A node for the tests of this module: answers by script, over HTTP and over a websocket, remembers what it was
//! asked, imitates nothing.

use super::Endpoint;
use axum::{
    Router,
    body::Body,
    extract::{
        State,
        ws::{Message, WebSocketUpgrade},
    },
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::get,
};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tokio::{
    net::{TcpListener, TcpSocket},
    task::JoinSet,
};

/// One call as it arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    /// Which call this is, from 1.
    pub number: usize,
    /// Without `Filecoin.`.
    pub method: String,
    pub params: Value,
    pub authorization: Option<String>,
    pub path: String,
    pub id: Value,
}

/// What the node makes of it.
pub enum Reply {
    Result(Value),
    Error(i64, &'static str),
    /// Status, and body as it is.
    Raw(u16, String),
    Redirect(String),
    /// Never answers.
    Silence,
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

struct Shared {
    script: Box<Script>,
    asked: Mutex<Vec<Asked>>,
}

pub struct Fake {
    pub url: String,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl Fake {
    pub async fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let shared = Arc::new(Shared { script: Box::new(script), asked: Mutex::default() });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new().fallback(get(upgrade).post(answer)).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, _server: server }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint { url: self.url.clone(), token: None }
    }

    /// The same node over a websocket.
    pub fn socket(&self) -> Endpoint {
        Endpoint { url: self.url.replacen("http", "ws", 1), token: None }
    }

    /// Both ways to the node, for what is the same over both.
    pub fn ways(&self) -> [Endpoint; 2] {
        [self.endpoint(), self.socket()]
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.shared.asked.lock().unwrap().clone()
    }
}

/// An endpoint that refuses connections, for as long as the socket keeps its port from others.
pub fn nobody() -> (Endpoint, TcpSocket) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    (Endpoint { url: format!("http://{}", socket.local_addr().unwrap()), token: None }, socket)
}

async fn answer(State(shared): State<Arc<Shared>>, headers: HeaderMap, uri: axum::http::Uri, body: String) -> Response {
    let (status, location, body) = match shared.reply(&headers, uri.path(), &body) {
        (_, Reply::Raw(status, body)) => (status, None, body),
        (_, Reply::Redirect(to)) => (307, Some(to), String::new()),
        (_, Reply::Silence) => std::future::pending().await,
        (id, Reply::Result(result)) => (200, None, result_of(&id, &result)),
        // Lotus: 200 for its own errors, 500 for those of the protocol
        (id, Reply::Error(code, message)) => (if code < 0 { 500 } else { 200 }, None, error_of(&id, code, message)),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(to) = location {
        response.headers_mut().insert(header::LOCATION, to.parse().unwrap());
    }
    response
}

/// There are no statuses on a websocket: what is raw is sent as it is, and a redirection is the end.
async fn upgrade(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    uri: axum::http::Uri,
    upgrade: WebSocketUpgrade,
) -> Response {
    upgrade.on_upgrade(async move |mut socket| {
        while let Some(Ok(frame)) = socket.recv().await {
            let Message::Text(call) = frame else { continue };
            let body = match shared.reply(&headers, uri.path(), &call) {
                (_, Reply::Raw(_, body)) => body,
                (_, Reply::Redirect(_)) => return,
                (_, Reply::Silence) => continue,
                (id, Reply::Result(result)) => result_of(&id, &result),
                (id, Reply::Error(code, message)) => error_of(&id, code, message),
            };
            if socket.send(Message::text(body)).await.is_err() {
                return;
            }
        }
    })
}

fn result_of(id: &Value, result: &Value) -> String {
    json!({"jsonrpc": "2.0", "id": id, "result": result}).to_string()
}

fn error_of(id: &Value, code: i64, message: &str) -> String {
    let error = json!({"code": code, "message": message});
    json!({"jsonrpc": "2.0", "id": id, "result": null, "error": error}).to_string()
}

impl Shared {
    /// Remembers the call and answers it by script.
    fn reply(&self, headers: &HeaderMap, path: &str, body: &str) -> (Value, Reply) {
        let call: Value = serde_json::from_str(body).unwrap();
        assert_eq!(call["jsonrpc"], "2.0");
        let asked = {
            let mut all = self.asked.lock().unwrap();
            let asked = Asked {
                number: all.len() + 1,
                method: call["method"].as_str().unwrap().strip_prefix("Filecoin.").unwrap().to_owned(),
                params: call["params"].clone(),
                authorization: headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()),
                path: path.to_owned(),
                id: call["id"].clone(),
            };
            all.push(asked.clone());
            asked
        };
        (call["id"].clone(), (self.script)(&asked))
    }
}
