//! The values only a manifest has: lists of CPUs, GPUs, database addresses, durations, amounts with their unit.
//!
//! Every parser takes the text as written and answers with the value or with what would have been accepted, worded
//! `a thing: list of what is accepted`; `Reader` shows both halves. Nothing here looks at the host.

use crate::units::{AttoFil, BadUnit};
use fvm_shared::address::{Network, Protocol};
use std::{
    collections::BTreeSet,
    fmt,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

fn bad(found: &str, wanted: &'static str) -> BadUnit {
    BadUnit { found: found.to_owned(), wanted }
}

/// CPU numbers, written `0-31,40`; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuSet(BTreeSet<u32>);

impl CpuSet {
    /// The numbers.
    pub const fn as_set(&self) -> &BTreeSet<u32> {
        &self.0
    }
}

impl FromStr for CpuSet {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        // more than any kernel is built for; keeps a slip such as 0-4294967295 from filling memory
        const MOST: u32 = 8192;
        let wanted = "a list of CPU numbers: such as 0-31,40";
        let mut set = BTreeSet::new();
        for part in s.split(',') {
            let (first, last) = part.trim().split_once('-').unwrap_or((part.trim(), part.trim()));
            let first: u32 = first.parse().map_err(|_| bad(s, wanted))?;
            let last: u32 = last.parse().map_err(|_| bad(s, wanted))?;
            if first > last || last >= MOST {
                return Err(bad(s, wanted));
            }
            set.extend(first..=last);
        }
        Ok(Self(set))
    }
}

impl fmt::Display for CpuSet {
    /// In the form it is written, runs joined: `0-3,8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut runs: Vec<(u32, u32)> = Vec::new();
        for cpu in &self.0 {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(*cpu) => *last = *cpu,
                Some(_) | None => runs.push((*cpu, *cpu)),
            }
        }
        let text = |(first, last): &(u32, u32)| {
            if first == last { first.to_string() } else { format!("{first}-{last}") }
        };
        f.write_str(&runs.iter().map(text).collect::<Vec<_>>().join(","))
    }
}

/// Which GPU a slot computes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gpu {
    /// One that no other slot names.
    Auto,
    /// The one with this UUID, as `nvidia-smi -L` prints it.
    Uuid(String),
}

impl FromStr for Gpu {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "a GPU: auto, or a UUID as `nvidia-smi -L` prints it, \
                      such as GPU-6f3a1b2c-0d4e-5f60-7182-93a4b5c6d7e8";
        if s == "auto" {
            return Ok(Self::Auto);
        }
        let uuid = s.strip_prefix("GPU-").or_else(|| s.strip_prefix("MIG-")).ok_or_else(|| bad(s, wanted))?;
        let groups: Vec<usize> = uuid.split('-').map(str::len).collect();
        if groups == [8, 4, 4, 4, 12] && uuid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
            Ok(Self::Uuid(s.to_owned()))
        } else {
            Err(bad(s, wanted))
        }
    }
}

impl fmt::Display for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Uuid(uuid) => f.write_str(uuid),
        }
    }
}

/// The address of the database: `sqlite:PATH` with an absolute path, or `postgres://…`.
/// Printing it hides the password.
#[derive(Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

impl DatabaseUrl {
    /// The SQLite file at this absolute path.
    pub fn sqlite(path: &Path) -> Self {
        Self(format!("sqlite:{}", path.display()))
    }

    /// `sqlite:PATH` (relative to `cwd` when it is) or `postgres://USER:PASSWORD@HOST/DATABASE`.
    ///
    /// # Errors
    /// Any other scheme, and an address without path or host.
    pub fn parse(s: &str, cwd: &Path) -> Result<Self, BadUnit> {
        let wanted = "a database address: sqlite:/var/lib/seald/seald.db or postgres://user:password@host/database";
        let refused = || BadUnit { found: redact(s), wanted };
        if let Some(path) = s.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path.starts_with(':') {
                return Err(refused());
            }
            return Ok(Self::sqlite(&absolute(path, cwd)));
        }
        let rest = s.strip_prefix("postgres://").or_else(|| s.strip_prefix("postgresql://"));
        let host = rest.and_then(|rest| rest.split(['/', '?']).next()).unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default();
        if host.is_empty() { Err(refused()) } else { Ok(Self(s.to_owned())) }
    }

    /// The whole address, password included: only for opening the database.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of an SQLite database.
    pub fn sqlite_path(&self) -> Option<&Path> {
        self.0.strip_prefix("sqlite:").map(Path::new)
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.0))
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DatabaseUrl({self})")
    }
}

/// The text with every secret that an address may hold replaced by `***`: whoever it logs in as, the whole of what is
/// before an `@`, as a token alone can be; and each value of its query, whatever it is called.
pub fn redact(text: &str) -> String {
    let Some((scheme, rest)) = text.split_once("://") else { return text.to_owned() };
    let (place, query) = rest.split_once(['?', '#']).map_or((rest, None), |(place, query)| (place, Some(query)));
    if query.is_some_and(|query| query.contains('@')) {
        // a password with an unescaped '?', or a query with an '@': what is secret cannot be told from what is not
        return format!("{scheme}://***");
    }
    // an unescaped '/' in a password would end the host early, so the last '@' of all counts
    let (login, place) = place.rsplit_once('@').map_or(("", place), |(_, place)| ("***@", place));
    // one without a name is all value
    let hide = |pair: &str| pair.split_once('=').map_or("***".to_owned(), |(name, _)| format!("{name}=***"));
    let query = query.map(|query| format!("?{}", query.split('&').map(hide).collect::<Vec<_>>().join("&")));
    format!("{scheme}://{login}{place}{}", query.unwrap_or_default())
}

/// Host and port of an `http://` or `https://` address; `None` when it is not one.
pub fn http_host(url: &str) -> Option<(String, u16)> {
    let (rest, default) =
        url.strip_prefix("http://").map(|r| (r, 80)).or_else(|| url.strip_prefix("https://").map(|r| (r, 443)))?;
    host_port(rest, default)
}

/// Host and port of a node, which is reached over HTTP or over a websocket.
pub fn node_host(url: &str) -> Option<(String, u16)> {
    let plain = url.strip_prefix("ws://").map(|rest| (rest, 80));
    let socket = plain.or_else(|| url.strip_prefix("wss://").map(|rest| (rest, 443)));
    socket.map_or_else(|| http_host(url), |(rest, default)| host_port(rest, default))
}

/// Host and port at the start of what follows the `://` of an address.
pub fn host_port(rest: &str, default: u16) -> Option<(String, u16)> {
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let authority = authority.rsplit('@').next().unwrap_or_default();
    let (host, port) = match authority.strip_prefix('[').and_then(|v6| v6.split_once(']')) {
        Some((host, "")) => (host, None),
        Some((host, port)) => (host, Some(port.strip_prefix(':')?)),
        None => authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Some(default), |port| port.parse().ok())?;
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':');
    (!host.is_empty() && host.chars().all(fits)).then(|| (host.to_owned(), port))
}

/// The name of a group of the system, as Debian's tools accept it.
///
/// # Errors
/// Anything else, a number too: it is looked up by its name.
pub fn parse_group(s: &str) -> Result<String, BadUnit> {
    let first = |c: char| c.is_ascii_lowercase() || c == '_';
    let fits = |c: char| first(c) || c.is_ascii_digit() || c == '-';
    if (1..=32).contains(&s.len()) && s.starts_with(first) && s.chars().all(fits) {
        return Ok(s.to_owned());
    }
    Err(bad(s, "the name of a group: small letters, digits, - and _, such as seald-operators"))
}

/// `5m`, `540d`, `1h 30m`, `0s`.
///
/// # Errors
/// Anything else: a unit is always needed.
pub fn parse_duration(s: &str) -> Result<Duration, BadUnit> {
    let wanted = "a duration: a number with the unit s, m, h or d, such as 90s, 5m, 1h 30m or 540d";
    let refused = || bad(s, wanted);
    let mut total = 0u64;
    let mut rest = s.trim();
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(refused)?;
        let (number, tail) = rest.split_at_checked(digits).ok_or_else(refused)?;
        let mut after = tail.chars();
        let factor = match after.next() {
            Some('s') => 1,
            Some('m') => 60,
            Some('h') => 3600,
            Some('d') => 86_400,
            Some(_) | None => return Err(refused()),
        };
        let number: u64 = number.parse().map_err(|_| refused())?;
        total = number.checked_mul(factor).and_then(|part| total.checked_add(part)).ok_or_else(refused)?;
        rest = after.as_str().trim_start();
    }
    Ok(Duration::from_secs(total))
}

/// `0.5 FIL`, `0.1 nanoFIL`, `100 attoFIL` (`aFIL` for short).
///
/// # Errors
/// Anything else: a unit is always needed, and nothing below one attoFIL exists.
pub fn parse_amount(s: &str) -> Result<AttoFil, BadUnit> {
    const ATTO_PER_NANO: i128 = 1_000_000_000;
    let wanted = "an amount: a number with the unit FIL, nanoFIL or attoFIL, such as 0.5 FIL";
    let refused = |_| bad(s, wanted);
    let text = s.trim();
    if let Some(number) = text.strip_suffix("nanoFIL") {
        let scaled = AttoFil::parse_fil(number).map_err(refused)?.as_atto();
        let exact = scaled.checked_rem(ATTO_PER_NANO) == Some(0);
        return scaled
            .checked_div(ATTO_PER_NANO)
            .filter(|_| exact)
            .map(AttoFil::from_atto)
            .ok_or_else(|| bad(s, wanted));
    }
    let atto = text.strip_suffix("attoFIL").or_else(|| text.strip_suffix("aFIL")).map(str::trim);
    if let Some(atto) = atto {
        return atto.parse::<u64>().map(|n| AttoFil::from_atto(n.into())).map_err(|_| bad(s, wanted));
    }
    if text.ends_with("FIL") { AttoFil::parse_fil(text).map_err(refused) } else { Err(bad(s, wanted)) }
}

/// An account address that can own a miner or sign for one: `f0…`, `f1…` or `f3…`, checksum verified.
///
/// # Errors
/// Other protocols, and an address whose checksum says that it was mistyped.
pub fn parse_address(s: &str) -> Result<(String, Protocol), BadUnit> {
    let wanted = "an account: default, or an address f0…, f1… or f3… whose checksum is right";
    let network = if s.starts_with('t') { Network::Testnet } else { Network::Mainnet };
    let address = network.parse_address(s).map_err(|_| bad(s, wanted))?;
    let protocol = address.protocol();
    if matches!(protocol, Protocol::ID | Protocol::Secp256k1 | Protocol::BLS) {
        Ok((s.to_owned(), protocol))
    } else {
        Err(bad(s, wanted))
    }
}

/// An account that sends messages, checksum verified.
///
/// # Errors
/// Anything else.
pub fn parse_sender(s: &str) -> Result<(String, Protocol), BadUnit> {
    let wanted = "an account: an address f0…, f1… or f3… whose checksum is right";
    parse_address(s).map_err(|_| bad(s, wanted))
}

/// The path against `cwd`, with `.` and `..` resolved by name only (a manifest is read without looking at disks).
pub fn absolute(path: &str, cwd: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in cwd.join(path).components() {
        match part {
            std::path::Component::CurDir => {}
            std::path::Component::ParentDir => {
                out.pop();
            }
            std::path::Component::Prefix(_) | std::path::Component::RootDir | std::path::Component::Normal(_) => {
                out.push(part);
            }
        }
    }
    out
}
