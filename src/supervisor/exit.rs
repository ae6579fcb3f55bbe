//! How a worker ended, and what kind of failure that is: pure, one word for each kind.

use crate::sector::Class;
use nix::libc;
use std::{fmt, time::Duration};

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It left because it was asked to.
    Asked,
    /// By itself.
    Code {
        /// Its exit code.
        code: i32,
        /// What it said last, or where that can be read.
        words: Option<String>,
    },
    /// By a signal that says no more.
    Signal(i32),
    /// The kernel killed it for memory.
    OutOfMemory,
    /// A file that was mapped into memory could not be written.
    DiskFull,
    /// Its GPU failed or is gone.
    GpuLost {
        /// What it said last.
        words: String,
    },
    /// The service manager killed it: not even its heart beat.
    Watchdog,
    /// We killed it: it did not say who it is in time.
    NoHello(Duration),
    /// We killed it: it fell silent.
    NoHeartbeat(Duration),
    /// We killed it: it beat its heart and got nowhere.
    Stuck(Duration),
    /// We killed it: its job took too long.
    Overdue,
    /// We killed it: it did not leave when it was asked to.
    Lingered,
    /// We killed it: what it said made no sense.
    Faulty(String),
    /// It never ran.
    NotStarted(String),
    /// It is gone, and nobody wrote down how.
    Unrecorded,
}

/// What the kernel says of an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Exit {
    /// What `ended` means. `out_of_memory`: the kernel killed for memory while it ran.
    pub fn of(ended: Ended, out_of_memory: bool, last_words: Option<String>) -> Self {
        match ended {
            Ended::Signal(libc::SIGKILL) if out_of_memory => Self::OutOfMemory,
            Ended::Signal(libc::SIGBUS) => Self::DiskFull,
            Ended::Signal(signal) => Self::Signal(signal),
            Ended::Code(code) => match last_words.filter(|_| code != 0) {
                Some(words) if tells_of_lost_gpu(&words) => Self::GpuLost { words },
                words => Self::Code { code, words },
            },
        }
    }

    /// What kind of thing failed. Never the sector's data: no end of a process says anything about bytes on disk.
    pub const fn class(&self) -> Class {
        match self {
            Self::OutOfMemory | Self::DiskFull => Class::Resource,
            // sysexits: a dependency is away, files cannot be read or written, try later, the configuration is wrong
            Self::Code { code: 69 | 74 | 75 | 78, .. } | Self::GpuLost { .. } => Class::Environment,
            Self::Asked
            | Self::Code { .. }
            | Self::Signal(_)
            | Self::Watchdog
            | Self::NoHello(_)
            | Self::NoHeartbeat(_)
            | Self::Stuck(_)
            | Self::Overdue
            | Self::Lingered
            | Self::Faulty(_)
            | Self::NotStarted(_)
            | Self::Unrecorded => Class::Worker,
        }
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked => f.write_str("left as asked"),
            Self::Code { code: 0, .. } => f.write_str("ended by itself"),
            Self::Code { code, words: Some(words) } => write!(f, "ended with exit code {code}: {words}"),
            Self::Code { code, words: None } => write!(f, "ended with exit code {code}"),
            Self::Signal(signal) => write!(f, "killed by signal {signal}"),
            Self::OutOfMemory => f.write_str("killed by the kernel, which was out of memory for it"),
            Self::DiskFull => {
                f.write_str("killed by signal 7: a mapped file could not be written, most likely the disk is full")
            }
            Self::GpuLost { words } => write!(f, "lost its GPU: {words}"),
            Self::Watchdog => f.write_str("killed by the service manager: its process stood still"),
            Self::NoHello(time) => write!(f, "said no hello for {} s", time.as_secs_f32()),
            Self::NoHeartbeat(time) => write!(f, "had no heartbeat for {} s", time.as_secs_f32()),
            Self::Stuck(time) => {
                write!(f, "was stuck: neither progress nor work of its processors for {} s", time.as_secs())
            }
            Self::Overdue => f.write_str("ran past its deadline"),
            Self::Lingered => f.write_str("did not leave in time"),
            Self::Faulty(why) | Self::NotStarted(why) => f.write_str(why),
            Self::Unrecorded => f.write_str("is gone, and no record says how it ended"),
        }
    }
}

/// Whether a library's or a driver's words mean that the GPU failed or is gone, and not merely full.
pub fn tells_of_lost_gpu(words: &str) -> bool {
    const LOST: [&str; 5] = ["CUDA_ERROR_", "cudaError", "GPU is lost", "fallen off the bus", "NVRM: Xid"];
    const FULL: [&str; 2] = ["CUDA_ERROR_OUT_OF_MEMORY", "cudaErrorMemoryAllocation"];
    LOST.iter().any(|lost| words.contains(lost)) && !FULL.iter().any(|full| words.contains(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_end_has_a_word_and_a_class() {
        let of = |ended, oom, words: &str| {
            let exit = Exit::of(ended, oom, Some(words.to_owned()));
            (exit.to_string(), exit.class())
        };
        let said = |text: &str, class| (text.to_owned(), class);
        let words = "cannot open libcuda.so";
        let coded = said("ended with exit code 127: cannot open libcuda.so", Class::Worker);
        assert_eq!(of(Ended::Code(127), false, words), coded);
        assert_eq!(of(Ended::Code(0), false, words), said("ended by itself", Class::Worker));
        assert_eq!(of(Ended::Signal(9), false, words), said("killed by signal 9", Class::Worker));
        assert_eq!(of(Ended::Signal(11), true, words), said("killed by signal 11", Class::Worker));
        assert_eq!(of(Ended::Signal(9), true, words).1, Class::Resource);
        assert_eq!(of(Ended::Signal(7), false, words).1, Class::Resource);
        for (code, class) in [
            (64, Class::Worker),
            (65, Class::Worker),
            (69, Class::Environment),
            (70, Class::Worker),
            (74, Class::Environment),
            (75, Class::Environment),
            (78, Class::Environment),
        ] {
            assert_eq!(of(Ended::Code(code), false, words).1, class, "{code}");
        }
        for lost in ["CUDA_ERROR_ECC_UNCORRECTABLE", "Unable to determine the device handle: GPU is lost"] {
            assert_eq!(of(Ended::Code(70), false, lost), said(&format!("lost its GPU: {lost}"), Class::Environment));
        }
        assert_eq!(of(Ended::Code(70), false, "CUDA_ERROR_OUT_OF_MEMORY").1, Class::Worker, "it is still there");
    }
}
