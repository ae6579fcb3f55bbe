//! A node for the tests of this module: answers by script, remembers what it was asked, imitates nothing.

use super::Endpoint;
use axum::{
    Router,
    body::Body,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::Response,
    routing::post,
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
    id: Value,
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
        let app = Router::new().fallback(post(answer)).with_state(Arc::clone(&shared));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, shared, _server: server }
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint { url: self.url.clone(), token: None }
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
    let call: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(call["jsonrpc"], "2.0");
    let asked = {
        let mut all = shared.asked.lock().unwrap();
        let asked = Asked {
            number: all.len() + 1,
            method: call["method"].as_str().unwrap().strip_prefix("Filecoin.").unwrap().to_owned(),
            params: call["params"].clone(),
            authorization: headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned()),
            path: uri.path().to_owned(),
            id: call["id"].clone(),
        };
        all.push(asked.clone());
        asked
    };
    let (status, location, body) = match (shared.script)(&asked) {
        Reply::Result(result) => (200, None, json!({"jsonrpc": "2.0", "id": asked.id, "result": result}).to_string()),
        Reply::Error(code, message) => {
            let error = json!({"code": code, "message": message});
            // Lotus: 200 for its own errors, 500 for those of the protocol
            let status = if code < 0 { 500 } else { 200 };
            (status, None, json!({"jsonrpc": "2.0", "id": asked.id, "result": null, "error": error}).to_string())
        }
        Reply::Raw(status, body) => (status, None, body),
        Reply::Redirect(to) => (307, Some(to), String::new()),
        Reply::Silence => std::future::pending().await,
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(to) = location {
        response.headers_mut().insert(header::LOCATION, to.parse().unwrap());
    }
    response
}
