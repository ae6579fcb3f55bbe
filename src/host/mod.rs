//! What this machine has: processors and their caches, GPUs, memory, limits, folders; and what that means for a manifest.
//! Only the limits of this process itself are ever changed.
//!
//! Read from the kernel's files and from the GPU driver. What could not be found out is absent and is not judged.

pub mod gpu;
pub mod group;
pub mod judge;
pub mod limits;
pub mod memory;
pub mod seen;
pub mod topology;
