//! The most memory that a job takes: sampled while it runs, since the kernel's own high-water mark counts mapped files.
//!
//! Parameters and the cache of parents are mapped files of up to 200 GB, which the kernel takes back when somebody needs
//! the room; counting them would keep stages apart that fit beside each other.

use crate::units::Bytes;
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

/// What the running job took so far.
#[derive(Debug, Default)]
pub struct Footprint(AtomicU64);

impl Footprint {
    /// A job begins.
    pub fn begin(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// Looks once; to be called every second.
    pub fn sample(&self) {
        let now = fs::read_to_string("/proc/self/status").ok().and_then(|text| own_memory(&text));
        self.0.fetch_max(now.map_or(0, Bytes::as_u64), Ordering::Relaxed);
    }

    /// The most since the job began.
    pub fn peak(&self) -> Option<Bytes> {
        self.sample();
        Some(self.0.load(Ordering::Relaxed)).filter(|bytes| *bytes > 0).map(Bytes::new)
    }
}

/// What a `/proc/PID/status` file says of memory that belongs to no file.
fn own_memory(text: &str) -> Option<Bytes> {
    let kib = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()
    };
    Bytes::new(kib("RssAnon:")?.saturating_add(kib("RssShmem:").unwrap_or(0))).checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_of_files_is_not_counted() {
        let text = "VmHWM:\t  9000 kB\nRssAnon:\t    3000 kB\nRssFile:\t    5000 kB\nRssShmem:\t      24 kB\n";
        assert_eq!(own_memory(text), Some(Bytes::new(3024 * 1024)));
        assert_eq!(own_memory("Name:\tseald\n"), None);
    }

    #[test]
    fn the_most_counts_until_the_next_job_begins() {
        let footprint = Footprint::default();
        let before = footprint.peak().unwrap();
        let big = vec![1_u8; 64 << 20];
        footprint.sample();
        assert!(std::hint::black_box(big).iter().all(|byte| *byte == 1));
        let most = footprint.peak().unwrap();
        assert!(most.less(before) >= Bytes::new(48 << 20), "{before} then {most}");
        footprint.begin();
        assert!(footprint.peak().unwrap() <= most);
    }
}
