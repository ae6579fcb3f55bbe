//! What this machine has: processors and their caches, GPUs, memory, folders; and what that means for a manifest. Facts
//! and judgement only: nothing here changes anything.
//!
//! Read from the kernel's files and from the GPU driver. What could not be found out is absent and is not judged.

pub mod gpu;
pub mod judge;
pub mod memory;
pub mod seen;
pub mod topology;
