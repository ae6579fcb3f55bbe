//! A call as one POST. The pool of connections is reqwest's.

use super::{
    node::{Address, Answer},
    trouble::{Attempt, Trouble},
};
use std::{sync::Arc, time::Duration};

/// An endpoint over HTTP.
pub(super) struct Http {
    address: Arc<Address>,
    client: reqwest::Client,
    /// Largest answer in bytes.
    limit: usize,
}

impl Http {
    pub(super) const fn new(address: Arc<Address>, client: reqwest::Client, limit: usize) -> Self {
        Self { address, client, limit }
    }

    pub(super) async fn call(
        &self,
        method: &str,
        body: String,
        deadline: Duration,
    ) -> Result<Answer<Vec<u8>>, Attempt> {
        let Address { url, headers, .. } = self.address.as_ref();
        let sent = self.client.post(url.clone()).headers(headers.clone()).body(body);
        let answer = sent.timeout(deadline).send().await.map_err(|source| self.lost(source))?;
        let status = answer.status();
        self.address.judge(method, status)?;
        Ok(Answer { status, body: self.read(answer).await? })
    }

    async fn read(&self, mut answer: reqwest::Response) -> Result<Vec<u8>, Trouble> {
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|source| self.lost(source))? {
            if body.len().saturating_add(chunk.len()) > self.limit {
                return Err(Trouble::TooLarge { node: self.address.name.clone(), limit: self.limit });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn lost(&self, source: reqwest::Error) -> Trouble {
        let node = self.address.name.clone();
        let source = source.without_url();
        if source.is_connect() {
            Trouble::Connect { node, source: source.into() }
        } else {
            Trouble::Lost { node, source: source.into() }
        }
    }
}
