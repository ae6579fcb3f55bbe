//! Where a node listens and how to prove who asks: the endpoints of the manifest, read into URLs.
//!
//! Opens no connection and reads no file: the token comes in as text.

use super::ChainError;
use reqwest::Url;
use std::fmt;

/// The stable API of Lotus and Forest. Source: lotus-full-node-api 1.2.
const API_PATH: &str = "/rpc/v1";

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// This text without the white space around it, as token files end with a line break.
    pub fn new(text: &str) -> Self {
        Self(text.trim().to_owned())
    }

    /// The text itself, to be sent to the node and nowhere else.
    pub(super) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// A URL (`http://127.0.0.1:1234`, with `/rpc/v1` when it has no path) or a multiaddr
    /// (`/ip4/127.0.0.1/tcp/1234/http`). The schemes `ws` and `wss`, or `/ws` and `/wss`, make it one connection for
    /// all calls, on which the node also tells of new heads.
    pub url: String,
    /// Sent as bearer token. Needs the permissions read, write and sign.
    pub token: Option<Secret>,
}

impl Endpoint {
    /// Where to send calls, and by its scheme, how.
    pub(super) fn to_url(&self) -> Result<Url, ChainError> {
        let given = self.url.trim();
        let text = if given.starts_with('/') { from_multiaddr(given) } else { Some(given.to_owned()) };
        // what a URL may hide is not repeated in an error
        if text.as_deref().is_some_and(|text| text.contains(['@', '?'])) {
            return Err(ChainError::Invalid {
                what: "a chain endpoint has a user, password or query in its URL: put the token into its token_file"
                    .to_owned(),
            });
        }
        let url = text.and_then(|text| Url::parse(&text).ok());
        let is_known = |url: &Url| matches!(url.scheme(), "http" | "https" | "ws" | "wss") && url.has_host();
        let mut url = url.filter(is_known).ok_or_else(|| ChainError::Invalid {
            what: format!(
                "{given:?} is not a chain endpoint: write a URL such as http://127.0.0.1:1234/rpc/v1 or a \
                         multiaddr such as /ip4/127.0.0.1/tcp/1234/http"
            ),
        })?;
        if url.path() == "/" {
            url.set_path(API_PATH);
        }
        Ok(url)
    }
}

fn from_multiaddr(text: &str) -> Option<String> {
    let mut parts = text.split('/').skip(1);
    let host = match (parts.next()?, parts.next()?) {
        ("ip4" | "dns" | "dns4" | "dns6", host) => host.to_owned(),
        ("ip6", host) => format!("[{host}]"),
        _ => return None,
    };
    let port: u16 = parts.next().filter(|part| *part == "tcp").and_then(|_| parts.next())?.parse().ok()?;
    let rest: Vec<_> = parts.collect();
    let has = |words: &[&str]| rest.iter().any(|part| words.contains(part));
    let scheme = match (has(&["ws", "wss"]), has(&["wss", "tls", "https"])) {
        (false, false) => "http",
        (false, true) => "https",
        (true, false) => "ws",
        (true, true) => "wss",
    };
    Some(format!("{scheme}://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Result<String, ChainError> {
        Endpoint { url: text.to_owned(), token: None }.to_url().map(String::from)
    }

    #[test]
    fn urls_and_multiaddrs_lead_to_the_stable_api() {
        for (given, wanted) in [
            ("http://127.0.0.1:1234", "http://127.0.0.1:1234/rpc/v1"),
            ("http://127.0.0.1:1234/", "http://127.0.0.1:1234/rpc/v1"),
            ("https://node.example/some/path", "https://node.example/some/path"),
            ("ws://node:1234", "ws://node:1234/rpc/v1"),
            ("wss://node/rpc/v1", "wss://node/rpc/v1"),
            (" /ip4/127.0.0.1/tcp/1234/http\n", "http://127.0.0.1:1234/rpc/v1"),
            ("/ip6/::1/tcp/2345/ws", "ws://[::1]:2345/rpc/v1"),
            ("/dns/node/tcp/444/wss", "wss://node:444/rpc/v1"),
            ("/dns/node/tcp/444/tls/ws", "wss://node:444/rpc/v1"),
            ("/dns4/node/tcp/444/tls/http", "https://node:444/rpc/v1"),
        ] {
            assert_eq!(url(given).unwrap(), wanted, "{given}");
        }
    }

    #[test]
    fn anything_else_is_refused_with_an_example() {
        for wrong in
            ["", "/", "node:1234", "ftp://node", "/ip4/1.2.3.4", "/ip4/1.2.3.4/udp/1", "/ip4/h/tcp/65536", "/unix/x"]
        {
            let text = url(wrong).unwrap_err().to_string();
            assert!(text.contains("/ip4/127.0.0.1/tcp/1234/http"), "{wrong}: {text}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_refused_and_not_repeated() {
        for wrong in ["http://user:hunter2@node:1", "http://node:1/rpc/v1?token=hunter2", "/dns/u:hunter2@h/tcp/1"] {
            let text = url(wrong).unwrap_err().to_string();
            assert!(text.contains("token_file") && !text.contains("hunter2"), "{text}");
        }
    }

    #[test]
    fn a_secret_is_never_printed() {
        let endpoint = Endpoint { url: "http://n".to_owned(), token: Some(Secret::new("hunter2\n")) };
        let secret = endpoint.token.clone().unwrap();
        assert!(!format!("{endpoint:?} {endpoint:#?} {secret}").contains("hunter2"));
        assert_eq!(secret.reveal(), "hunter2");
    }
}
