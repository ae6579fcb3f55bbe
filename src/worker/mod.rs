//! The worker process: takes jobs over its socket, runs them, reports. Knows neither chain nor database.

pub mod protocol;
