//! Worker processes: started, watched, restarted, stopped.
