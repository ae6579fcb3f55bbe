//! The one loop: observe, plan, apply.

pub mod connect;
