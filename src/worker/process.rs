//! What the kernel says of a process: when it started, what it used, and which start of the machine this is. By these a
//! process is told from a later one with its number.

use std::{fs, io};

/// What `/proc/PID/stat` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// When it started, in clock ticks since the machine did.
    pub start_ticks: u64,
    /// What all its threads, past ones too, used of the processors, in clock ticks.
    pub cpu_ticks: u64,
}

/// Asks about a process.
///
/// # Errors
/// It is gone, or the kernel speaks in another way than it promised.
pub fn stat(pid: u32) -> io::Result<Stat> {
    parse(&fs::read_to_string(format!("/proc/{pid}/stat"))?)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/stat cannot be understood")))
}

/// Which start of the machine this is.
///
/// # Errors
/// `/proc` is not there.
pub fn boot() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?.trim().to_owned())
}

/// The fields after the name, which is in brackets and may itself hold any character.
fn parse(text: &str) -> Option<Stat> {
    let (_, fields) = text.rsplit_once(") ")?;
    let number = |place: usize| fields.split_whitespace().nth(place)?.parse::<u64>().ok();
    // proc(5) counts from 1, and the first field here is its third: utime is 14, stime 15, starttime 22
    Some(Stat { start_ticks: number(19)?, cpu_ticks: number(11)?.saturating_add(number(12)?) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_moves_no_field() {
        let text = "7 (a) b (c) S 1 7 7 0 -1 4194560 1 2 3 4 50 6 0 0 20 0 9 0 12345 1000 200";
        assert_eq!(parse(text), Some(Stat { start_ticks: 12_345, cpu_ticks: 56 }));
        assert_eq!(parse("7 (a"), None);
    }

    #[test]
    fn this_process_is_known() {
        let stat = stat(std::process::id()).unwrap();
        assert!(stat.start_ticks > 0);
        assert_eq!(boot().unwrap().len(), 36);
    }
}
