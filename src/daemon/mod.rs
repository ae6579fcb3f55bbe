//! The one loop: observe, plan, apply.
