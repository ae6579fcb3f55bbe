//! What is heard of new heads: that there is one, never which. Truth is read by asking.

use tokio::sync::watch;

/// What a node tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Following {
    /// It tells of each new head.
    pub(super) open: bool,
    /// How often it did.
    pub(super) moves: u64,
}

/// News of heads, from the node that was asked first when this was made.
#[derive(Debug, Clone)]
pub struct Heads {
    pub(super) following: Option<watch::Receiver<Following>>,
}

impl Heads {
    pub(super) const fn of(following: Option<watch::Receiver<Following>>) -> Self {
        Self { following }
    }

    /// Of a node that tells nothing.
    pub const fn silent() -> Self {
        Self::of(None)
    }

    /// Whether it tells of each new head now.
    pub fn is_open(&self) -> bool {
        self.following.as_ref().is_some_and(|following| following.borrow().open)
    }

    /// Waits until the head may have moved, or until there will or will not be news from now on. Never ends where
    /// there is nothing to hear. Loses nothing when it is dropped.
    pub async fn heard(&mut self) {
        let heard = match &mut self.following {
            Some(following) => following.changed().await.is_ok(),
            None => false,
        };
        if !heard {
            self.following = None;
            std::future::pending::<()>().await;
        }
    }
}
