//! What this machine has: processors and their caches, GPUs, memory, limits. `plan` says what they mean.
//!
//! Read from the kernel's files and from the GPU driver. What could not be found out is absent.

pub mod gpu;
pub mod limits;
pub mod memory;
pub mod topology;
