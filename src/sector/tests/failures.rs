//! Failures: how often, how long, and what they lead to.
