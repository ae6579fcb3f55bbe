//! How times, sizes and shares are said to a human, the same in every view. Pure; always in UTC.

use crate::units::UnixMillis;

/// Thousandths, as every progress figure is kept.
const WHOLE: u64 = 1000;

const fn split(n: u64, by: u64) -> (u64, u64) {
    match (n.checked_div(by), n.checked_rem(by)) {
        (Some(whole), Some(rest)) => (whole, rest),
        (_, _) => (0, n),
    }
}

/// About how long: `31 s`, `3 min`, `1 h 12 min`, `2 d 4 h`.
pub fn about(ms: u64) -> String {
    let (seconds, _) = split(ms, 1000);
    let (minutes, _) = split(seconds, 60);
    let (hours, minute) = split(minutes, 60);
    let (days, hour) = split(hours, 24);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0 | 1, _, _) => format!("{hours} h {minute} min"),
        (_, _, _) => format!("{days} d {hour} h"),
    }
}

/// To the second: `7 min 12 s`. For a result, where [`about`] is for a running figure.
pub fn exactly(ms: u64) -> String {
    let (seconds, _) = split(ms, 1000);
    let (minutes, second) = split(seconds, 60);
    let (hours, minute) = split(minutes, 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min {second} s"),
        (_, _) => format!("{hours} h {minute} min {second} s"),
    }
}

/// When something that is to come comes: `in 3 min`, or `now`.
pub fn within(at: UnixMillis, now: UnixMillis) -> String {
    if at > now { format!("in {}", about(at.ms_since(now))) } else { "now".to_owned() }
}

/// How far an epoch is from another: `in about 33 min`, `about 5 min ago`.
pub fn epochs(distance: i64, epoch_secs: u64) -> String {
    let time = about(distance.unsigned_abs().saturating_mul(epoch_secs).saturating_mul(1000));
    if distance < 0 { format!("about {time} ago") } else { format!("in about {time}") }
}

/// `43 %` of 430 thousandths; never more than `100 %`.
pub fn percent(permille: u16) -> String {
    format!("{} %", split(u64::from(permille).min(WHOLE), 10).0)
}

/// A bar of `width` characters.
pub fn bar(done: u64, wanted: u64, width: u64) -> String {
    let share = u128::from(done.min(wanted)).saturating_mul(u128::from(width)).checked_div(u128::from(wanted));
    // nothing wanted is all there
    let full = share.and_then(|n| u64::try_from(n).ok()).unwrap_or(width);
    (0..width).map(|at| if at < full { '█' } else { '░' }).collect()
}

/// `12:03:41`.
pub fn clock(at: UnixMillis) -> String {
    timestamp(at).strftime("%H:%M:%S").to_string()
}

/// `2026-03-01 12:03:41`.
pub fn date(at: UnixMillis) -> String {
    timestamp(at).strftime("%Y-%m-%d %H:%M:%S").to_string()
}

fn timestamp(at: UnixMillis) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(at.as_i64()).unwrap_or_default()
}

/// A share with four decimals, such as `0.0131 %`; `0.0000 %` of nothing.
pub fn share(part: u128, whole: u128) -> String {
    let ppm = part.saturating_mul(1_000_000).checked_div(whole).unwrap_or(0);
    let (percent, rest) = (ppm.checked_div(10_000).unwrap_or(0), ppm.checked_rem(10_000).unwrap_or(0));
    format!("{percent}.{rest:04} %")
}

/// Bytes of any amount, as [`crate::units::Bytes`] prints them: a network has more than 2^64.
pub fn bytes(n: u128) -> String {
    const UNITS: [(&str, u32); 9] = [
        ("YiB", 80),
        ("ZiB", 70),
        ("EiB", 60),
        ("PiB", 50),
        ("TiB", 40),
        ("GiB", 30),
        ("MiB", 20),
        ("KiB", 10),
        ("B", 0),
    ];
    let (unit, bits) = UNITS.into_iter().find(|(_, bits)| n >> bits > 0).unwrap_or(("B", 0));
    let rest = n.saturating_sub((n >> bits) << bits);
    match (n >> bits, rest.saturating_mul(10) >> bits) {
        (whole, 0) => format!("{whole} {unit}"),
        (whole, tenth) => format!("{whole}.{tenth} {unit}"),
    }
}

/// `1 sector`, `2 sectors`.
pub fn count(n: u64, thing: &str) -> String {
    if n == 1 { format!("1 {thing}") } else { format!("{n} {thing}s") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_at_most_two_units() {
        let said: Vec<_> = [0, 59_999, 60_000, 3_599_999, 3_600_000, 172_799_999, 172_800_000].map(about).into();
        assert_eq!(said, ["0 s", "59 s", "1 min", "59 min", "1 h 0 min", "47 h 59 min", "2 d 0 h"]);
        assert_eq!(exactly(432_000), "7 min 12 s");
    }

    #[test]
    fn what_is_to_come_and_what_is_over_are_told_apart() {
        let at = UnixMillis::new;
        assert_eq!(within(at(61_000), at(0)), "in 1 min");
        assert_eq!([within(at(5), at(5)), within(at(4), at(5))], ["now", "now"]);
        assert_eq!([epochs(66, 30), epochs(-2, 30)], ["in about 33 min", "about 1 min ago"]);
    }

    #[test]
    fn a_share_of_nothing_is_zero() {
        assert_eq!(share(0, 0), "0.0000 %");
        assert_eq!(share(1, 3), "33.3333 %");
        assert_eq!(share(5, 5), "100.0000 %");
    }

    #[test]
    fn large_amounts_have_a_unit() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(2048), "2 KiB");
        assert_eq!(bytes(25u128 << 60), "25 EiB");
        assert_eq!(bytes((3 << 40) + (1 << 39)), "3.5 TiB");
    }

    #[test]
    fn a_bar_is_full_at_the_end_only() {
        assert_eq!(bar(0, 5, 10), "░░░░░░░░░░");
        assert_eq!(bar(4, 5, 10), "████████░░");
        assert_eq!(bar(7, 5, 10), "██████████");
        assert_eq!(bar(0, 0, 3), "███");
    }
}
