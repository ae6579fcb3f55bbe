//! Quantities and identities of the sealing domain, one type each, so that they cannot be mixed up.
//!
//! Pure values: no I/O, no clock. Every constructor checks, every `Display` prints the unit.

mod contact;

pub use contact::{Multiaddr, PeerId};

use serde::{Deserialize, Serialize};
use std::{fmt, str::FromStr};

/// What was wrong with a text that should have been one of the quantities below, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found:?} is not {wanted}")]
pub struct BadUnit {
    /// The text as given.
    pub found: String,
    /// What is accepted, with an example.
    pub wanted: &'static str,
}

fn bad(found: &str, wanted: &'static str) -> BadUnit {
    BadUnit { found: found.to_owned(), wanted }
}

/// A sector number: 0 to 2^63 − 1, the network's own limit (so it fits a database BIGINT).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct SectorNumber(u64);

impl SectorNumber {
    /// The number as the chain's JSON and CBOR carry it.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The number after this one; `None` past the network's limit.
    pub fn next(self) -> Option<Self> {
        self.0.checked_add(1).and_then(|n| Self::try_from(n).ok())
    }
}

impl TryFrom<u64> for SectorNumber {
    type Error = BadUnit;
    fn try_from(n: u64) -> Result<Self, BadUnit> {
        if i64::try_from(n).is_ok() {
            Ok(Self(n))
        } else {
            Err(bad(&n.to_string(), "a sector number from 0 to 2^63-1"))
        }
    }
}

impl From<SectorNumber> for u64 {
    fn from(n: SectorNumber) -> u64 {
        n.0
    }
}

impl FromStr for SectorNumber {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "a sector number, such as 7";
        s.parse::<u64>().ok().and_then(|n| Self::try_from(n).ok()).ok_or_else(|| bad(s, wanted))
    }
}

impl fmt::Display for SectorNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The actor id of a miner: `f01000` on mainnet, `t01000` on test networks; both texts are accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MinerId(u64);

impl MinerId {
    /// The miner with this actor id.
    pub const fn new(id: u64) -> Self {
        Self(id)
    }

    /// The bare actor id.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The address as the node's JSON takes it. Lotus and Forest accept either network prefix.
    pub fn to_address(self) -> String {
        format!("t0{}", self.0)
    }

    /// CBOR byte string of the ID address (protocol byte 0, unsigned LEB128 id): the entropy of every
    /// randomness draw. Source: lotus-full-node-api 4.1.
    pub fn to_entropy(self) -> Vec<u8> {
        // LEB128 of a u64 is at most 10 bytes, so the CBOR head (major type 2, length below 24) is one byte
        let payload = self.to_leb128();
        let head = u8::try_from(payload.len()).unwrap_or(u8::MAX).saturating_add(0x41);
        [head, 0].into_iter().chain(payload).collect()
    }

    /// The prover id of the proofs library: the LEB128 actor id, zero-padded to 32 bytes.
    pub fn to_prover_id(self) -> [u8; 32] {
        let mut id = [0u8; 32];
        for (to, from) in id.iter_mut().zip(self.to_leb128()) {
            *to = from;
        }
        id
    }

    fn to_leb128(self) -> Vec<u8> {
        let mut rest = self.0;
        let mut out = Vec::new();
        loop {
            let byte = u8::try_from(rest & 0x7f).unwrap_or(0);
            rest >>= 7;
            if rest == 0 {
                out.push(byte);
                return out;
            }
            out.push(byte | 0x80);
        }
    }
}

impl FromStr for MinerId {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "an actor id address, such as f01000";
        let digits = s.strip_prefix("f0").or_else(|| s.strip_prefix("t0")).ok_or_else(|| bad(s, wanted))?;
        digits.parse().map(Self).map_err(|_| bad(s, wanted))
    }
}

impl TryFrom<String> for MinerId {
    type Error = BadUnit;
    fn try_from(s: String) -> Result<Self, BadUnit> {
        s.parse()
    }
}

impl From<MinerId> for String {
    fn from(id: MinerId) -> String {
        id.to_string()
    }
}

impl fmt::Display for MinerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "f0{}", self.0)
    }
}

/// `s-t01000-7`: the name of a sector's files, always with the `t0` prefix, on every network.
pub fn sector_file_name(miner: MinerId, number: SectorNumber) -> String {
    format!("s-t0{}-{number}", miner.0)
}

/// A chain epoch. May be negative on a young network (a ticket is drawn 900 epochs back).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Epoch(i64);

impl Epoch {
    /// The epoch with this height.
    pub const fn new(height: i64) -> Self {
        Self(height)
    }

    /// The height as the chain's JSON carries it.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// This epoch moved by `epochs` (negative: back). Saturates at the ends of the range, which no chain reaches.
    #[must_use]
    pub const fn plus(self, epochs: i64) -> Self {
        Self(self.0.saturating_add(epochs))
    }

    /// Epochs from `earlier` to this one; negative when `earlier` is later.
    pub const fn since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "epoch {}", self.0)
    }
}

/// Wall-clock time, milliseconds since 1970. For display and back-off only: deadlines are epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UnixMillis(i64);

impl UnixMillis {
    /// The moment this many milliseconds after 1970.
    pub const fn new(ms: i64) -> Self {
        Self(ms)
    }

    /// Milliseconds since 1970.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// This moment moved by `ms`.
    #[must_use]
    pub const fn plus_ms(self, ms: i64) -> Self {
        Self(self.0.saturating_add(ms))
    }

    /// Milliseconds from `earlier` to this moment, 0 when the clock went backwards.
    pub fn ms_since(self, earlier: Self) -> u64 {
        u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0)
    }
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(u64);

const BYTE_UNITS: [(&str, u64); 6] =
    [("PiB", 1 << 50), ("TiB", 1 << 40), ("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

impl Bytes {
    /// This many bytes.
    pub const fn new(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The plain number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The sum; `None` past 2^64 − 1.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// `self − other`, 0 when `other` is larger.
    #[must_use]
    pub const fn less(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }

    /// `self × factor`; `None` past 2^64 − 1.
    pub fn checked_mul(self, factor: u64) -> Option<Self> {
        self.0.checked_mul(factor).map(Self)
    }
}

impl FromStr for Bytes {
    type Err = BadUnit;
    /// `32GiB`, `3.5TiB`, `2048B`. Binary units only: `GB` is refused because it means two things.
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "a size with a binary unit: B, KiB, MiB, GiB, TiB or PiB, such as 3.5TiB";
        let text = s.trim();
        for (unit, factor) in BYTE_UNITS {
            let Some(number) = text.strip_suffix(unit) else { continue };
            let (whole, fraction) = number.trim().split_once('.').unwrap_or((number.trim(), ""));
            let whole: u64 = whole.parse().map_err(|_| bad(s, wanted))?;
            let base = whole.checked_mul(factor).ok_or_else(|| bad(s, wanted))?;
            let part = if fraction.is_empty() {
                0
            } else {
                let digits = u32::try_from(fraction.len()).ok().filter(|n| *n <= 9).ok_or_else(|| bad(s, wanted))?;
                let numerator: u64 = fraction.parse().map_err(|_| bad(s, wanted))?;
                let scaled = u128::from(numerator).checked_mul(u128::from(factor)).ok_or_else(|| bad(s, wanted))?;
                u64::try_from(scaled.checked_div(10u128.pow(digits)).unwrap_or(0)).map_err(|_| bad(s, wanted))?
            };
            return base.checked_add(part).map(Self).ok_or_else(|| bad(s, wanted));
        }
        Err(bad(s, wanted))
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, factor) = BYTE_UNITS.into_iter().find(|(_, factor)| self.0 >= *factor).unwrap_or(("B", 1));
        let whole = self.0.checked_div(factor).unwrap_or(0);
        let tenths = u128::from(self.0.checked_rem(factor).unwrap_or(0)).saturating_mul(10);
        match tenths.checked_div(u128::from(factor)).unwrap_or(0) {
            0 => write!(f, "{whole} {unit}"),
            tenth => write!(f, "{whole}.{tenth} {unit}"),
        }
    }
}

/// The sector sizes the network knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum SectorSize {
    /// 2 KiB: test networks.
    #[serde(rename = "2KiB")]
    KiB2,
    /// 8 MiB: test networks.
    #[serde(rename = "8MiB")]
    MiB8,
    /// 512 MiB: test networks.
    #[serde(rename = "512MiB")]
    MiB512,
    /// 32 GiB.
    #[serde(rename = "32GiB")]
    GiB32,
    /// 64 GiB.
    #[serde(rename = "64GiB")]
    GiB64,
}

impl SectorSize {
    /// All of them, smallest first.
    pub const ALL: [Self; 5] = [Self::KiB2, Self::MiB8, Self::MiB512, Self::GiB32, Self::GiB64];

    /// Raw bytes of one sector.
    pub const fn bytes(self) -> Bytes {
        Bytes(match self {
            Self::KiB2 => 2 << 10,
            Self::MiB8 => 8 << 20,
            Self::MiB512 => 512 << 20,
            Self::GiB32 => 32 << 30,
            Self::GiB64 => 64 << 30,
        })
    }

    /// SDR layers of this size (11 for production sizes, 2 for test sizes).
    pub const fn layers(self) -> u32 {
        match self {
            Self::KiB2 | Self::MiB8 | Self::MiB512 => 2,
            Self::GiB32 | Self::GiB64 => 11,
        }
    }

    /// The window PoSt proof type (V1_1) of miners of this size: 10 to 14.
    pub const fn window_post_proof(self) -> i64 {
        self.seal_proof().0 + 5
    }

    /// The interactive V1_1 seal proof type of this size: 5 to 9.
    pub const fn seal_proof(self) -> SealProof {
        SealProof(match self {
            Self::KiB2 => 5,
            Self::MiB8 => 6,
            Self::MiB512 => 7,
            Self::GiB32 => 8,
            Self::GiB64 => 9,
        })
    }
}

impl FromStr for SectorSize {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        Self::ALL
            .into_iter()
            .find(|size| size.to_string() == s)
            .ok_or_else(|| bad(s, "a sector size: 2KiB, 8MiB, 512MiB, 32GiB or 64GiB"))
    }
}

impl fmt::Display for SectorSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KiB2 => "2KiB",
            Self::MiB8 => "8MiB",
            Self::MiB512 => "512MiB",
            Self::GiB32 => "32GiB",
            Self::GiB64 => "64GiB",
        })
    }
}

/// A registered seal proof number. Only the interactive V1_1 types (5 to 9) are sealed by this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct SealProof(i64);

impl SealProof {
    /// The registered number.
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// The sector size this proof type is for.
    pub fn sector_size(self) -> SectorSize {
        SectorSize::ALL.into_iter().find(|size| size.seal_proof() == self).unwrap_or(SectorSize::GiB64)
    }
}

impl TryFrom<i64> for SealProof {
    type Error = BadUnit;
    fn try_from(n: i64) -> Result<Self, BadUnit> {
        if (5..=9).contains(&n) {
            Ok(Self(n))
        } else {
            Err(bad(&n.to_string(), "an interactive V1_1 seal proof, 5 to 9"))
        }
    }
}

impl From<SealProof> for i64 {
    fn from(p: SealProof) -> i64 {
        p.0
    }
}

/// An amount of FIL in attoFIL (10^-18 FIL). Travels as a decimal string.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttoFil(i128);

const ATTO_PER_FIL: i128 = 1_000_000_000_000_000_000;

impl AttoFil {
    /// Nothing.
    pub const ZERO: Self = Self(0);

    /// This many attoFIL.
    pub const fn from_atto(atto: i128) -> Self {
        Self(atto)
    }

    /// The number of attoFIL.
    pub const fn as_atto(self) -> i128 {
        self.0
    }

    /// The sum; `None` past the range.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// The difference; `None` past the range.
    pub fn checked_sub(self, other: Self) -> Option<Self> {
        self.0.checked_sub(other.0).map(Self)
    }

    /// `0.07 FIL`, `0.07` or `70000000000000000 aFIL` as a manifest writes it.
    ///
    /// # Errors
    /// Anything else, and more than 18 decimals.
    pub fn parse_fil(s: &str) -> Result<Self, BadUnit> {
        let wanted = "an amount such as \"0.07 FIL\"";
        let text = s.trim();
        if let Some(atto) = text.strip_suffix("aFIL") {
            return atto.trim().parse().map(Self).map_err(|_| bad(s, wanted));
        }
        let text = text.strip_suffix("FIL").unwrap_or(text).trim();
        let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
        if fraction.len() > 18 || whole.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
            return Err(bad(s, wanted));
        }
        let whole: i128 = whole.parse().map_err(|_| bad(s, wanted))?;
        let fraction: i128 = format!("{fraction:0<18}").parse().map_err(|_| bad(s, wanted))?;
        whole
            .checked_mul(ATTO_PER_FIL)
            .and_then(|atto| atto.checked_add(fraction))
            .filter(|_| whole >= 0)
            .map(Self)
            .ok_or_else(|| bad(s, wanted))
    }
}

impl TryFrom<String> for AttoFil {
    type Error = BadUnit;
    fn try_from(s: String) -> Result<Self, BadUnit> {
        s.parse().map(Self).map_err(|_| bad(&s, "a decimal number of attoFIL"))
    }
}

impl From<AttoFil> for String {
    fn from(a: AttoFil) -> String {
        a.0.to_string()
    }
}

impl fmt::Display for AttoFil {
    /// In FIL with up to six decimals, `0.000000 FIL` shown as the smaller unit that fits.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let atto = self.0.unsigned_abs();
        let (unit, scale) = match atto {
            0 => return f.write_str("0 FIL"),
            n if n >= 1_000_000_000_000 => ("FIL", 1_000_000_000_000_000_000u128),
            n if n >= 1_000 => ("nanoFIL", 1_000_000_000),
            _ => ("attoFIL", 1),
        };
        let whole = atto.checked_div(scale).unwrap_or(0);
        let micros = atto.checked_rem(scale).unwrap_or(0).saturating_mul(1_000_000).checked_div(scale).unwrap_or(0);
        let fraction = format!("{micros:06}");
        match fraction.trim_end_matches('0') {
            "" => write!(f, "{sign}{whole} {unit}"),
            digits => write!(f, "{sign}{whole}.{digits} {unit}"),
        }
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $wanted:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// The name as written.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = BadUnit;
            fn from_str(s: &str) -> Result<Self, BadUnit> {
                let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
                if (1..=32).contains(&s.len()) && s.chars().all(fits) {
                    Ok(Self(s.to_owned()))
                } else {
                    Err(bad(s, $wanted))
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadUnit;
            fn try_from(s: String) -> Result<Self, BadUnit> {
                s.parse()
            }
        }

        impl From<$name> for String {
            fn from(n: $name) -> String {
                n.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// The name of a slot table in the manifest, such as `pc1`.
    SlotName,
    "a name of 1 to 32 characters a-z, 0-9, - or _"
);
name_type!(
    /// The name of a repo table in the manifest, such as `nvme0`.
    RepoName,
    "a name of 1 to 32 characters a-z, 0-9, - or _"
);

/// 32 bytes written as hexadecimal: commitments, tickets, seeds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hash32(pub [u8; 32]);

impl TryFrom<String> for Hash32 {
    type Error = BadUnit;
    fn try_from(s: String) -> Result<Self, BadUnit> {
        from_hex(&s)
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or_else(|| bad(&s, "64 hexadecimal digits"))
    }
}

impl From<Hash32> for String {
    fn from(h: Hash32) -> String {
        to_hex(&h.0)
    }
}

impl fmt::Display for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

impl fmt::Debug for Hash32 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&to_hex(&self.0))
    }
}

/// Lower-case hexadecimal.
pub fn to_hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes.iter().fold(String::with_capacity(bytes.len().saturating_mul(2)), |mut out, byte| {
        // writing to a String cannot fail
        write!(out, "{byte:02x}").unwrap_or_default();
        out
    })
}

/// The bytes of a hexadecimal text of even length; `None` when it is not one.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    text.as_bytes()
        .chunks(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|p| u8::from_str_radix(p, 16).ok()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entropy_is_the_cbor_of_the_id_address() {
        assert_eq!(to_hex(&MinerId::new(1000).to_entropy()), "4300e807");
        assert_eq!(to_hex(&MinerId::new(1234).to_entropy()), "4300d209");
        assert_eq!(to_hex(&MinerId::new(2_000_000).to_entropy()), "440080897a");
    }

    #[test]
    fn sizes_read_back_what_they_print() {
        assert_eq!("3.5TiB".parse(), Ok(Bytes(3_848_290_697_216)));
        assert_eq!(Bytes(3_848_290_697_216).to_string(), "3.5 TiB");
        assert_eq!("0B".parse(), Ok(Bytes(0)));
        for wrong in ["32GB", "GiB", "-1GiB", "1.0000000001GiB", "99999999999PiB", ""] {
            assert!(wrong.parse::<Bytes>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn fil_amounts_have_a_unit_and_18_decimals() {
        assert_eq!(AttoFil::parse_fil("0.07 FIL"), Ok(AttoFil(70_000_000_000_000_000)));
        assert_eq!(AttoFil::parse_fil("12 aFIL"), Ok(AttoFil(12)));
        assert_eq!(AttoFil(70_000_000_000_000_000).to_string(), "0.07 FIL");
        assert_eq!(AttoFil(-1_500_000_000_000_000_000).to_string(), "-1.5 FIL");
        assert!(AttoFil::parse_fil("-1 FIL").is_err());
        assert!(AttoFil::parse_fil("0.0000000000000000001").is_err());
    }

    #[test]
    fn a_sector_number_fits_a_bigint() {
        assert!(SectorNumber::try_from(u64::MAX).is_err());
        assert_eq!(SectorNumber::try_from(i64::MAX.unsigned_abs()).ok().and_then(SectorNumber::next), None);
    }
}
