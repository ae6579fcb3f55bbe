//! How errors are shown and what a caller does about them. There is no crate-wide error type:
//! every border (`store`, `chain`, `repo`, `supervisor`, `proofs`) has its own enum.

use std::fmt;

/// Prints an error with all its causes: `a: b: c`.
pub struct Chain<'a>(pub &'a (dyn std::error::Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}

/// What to do about a failure; decided once, where the error type is defined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Passes by itself: try again after a back-off.
    Retry,
    /// Needs something from outside (an operator, space, a node): keep the work, show why, look again.
    Hold,
    /// Cannot work as declared: stop and say so.
    Stop,
}
