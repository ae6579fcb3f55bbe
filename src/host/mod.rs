//! What this machine has, and what that means for a manifest. Facts and judgement only: nothing here changes anything.
//!
//! Read from the kernel's files. What could not be found out is absent and is not judged.

pub mod judge;
pub mod seen;
