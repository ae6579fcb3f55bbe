//! Single faults at chosen moments.
