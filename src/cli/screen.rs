//! A text that is drawn over itself on a terminal. What it says is the caller's.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressFinish, ProgressStyle};

/// The end of the terminal that is drawn over. What was drawn last stays when it is dropped.
#[derive(Debug)]
pub struct Screen(ProgressBar);

impl Screen {
    /// Draws on stdout, when that is a terminal.
    pub fn new() -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stdout());
        let style = ProgressStyle::with_template("{msg}").unwrap_or_else(|_| ProgressStyle::default_spinner());
        Self(bar.with_style(style).with_finish(ProgressFinish::Abandon))
    }

    /// Whether stdout is a terminal.
    pub fn is_shown(&self) -> bool {
        !self.0.is_hidden()
    }

    /// Shows `text` in place of what was shown; `false` when stdout is no terminal.
    pub fn draw(&self, text: &str) -> bool {
        if self.0.is_hidden() {
            return false;
        }
        self.0.set_message(text.trim_end().to_owned());
        true
    }
}

impl Default for Screen {
    fn default() -> Self {
        Self::new()
    }
}
