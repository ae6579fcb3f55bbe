//! The one integration binary: views of the pure half, and the program itself.
#![expect(clippy::disallowed_methods, reason = "these tests start the program")]
#![expect(clippy::unwrap_used, reason = "clippy does not see helpers of tests as tests")]

mod cli;
