//! The planner: what is wanted and what is, in; what to do and what to wait for, out.
