//! The whole system in one thread: the planner, the book, the errands and the chain are the real ones; time, the disk,
//! the workers and everything that goes wrong are drawn from one seed.
//!
//! A run with the same seed is the same run. [`run`] is the shell's turn without a runtime: it can be cut at every
//! point where the shell waits for a write or for a node, and goes on from what [`disk`] holds. [`laws`] says what must
//! be true after every step. `SEALD_TEST_SEEDS=<n>` walks through that many worlds, `SEALD_TEST_SEED=<n>` through one.

mod chaos;
mod dice;
mod disk;
mod laws;
mod node;
mod run;
mod scenarios;
mod work;
mod worlds;
