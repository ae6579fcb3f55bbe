//! How others reach a miner: its libp2p peer id and its multiaddresses, as text and as the bytes that the chain keeps.
//!
//! Only the protocols that a storage provider announces are known; what the chain has beyond them is kept as bytes and
//! shown in hexadecimal.

use super::{BadUnit, bad, to_hex};
use cid::multibase::Base;
use std::{
    fmt,
    net::{Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// Most bytes of a peer id. Source: lotus-full-node-api 6.
const MOST_PEER_ID: usize = 128;

/// A libp2p peer id: the multihash of a public key, written in base 58.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PeerId(Vec<u8>);

impl PeerId {
    /// The multihash.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The peer id that these bytes are; `None` when they are no multihash of a length that a key can have.
    pub fn from_bytes(bytes: Vec<u8>) -> Option<Self> {
        // identity of a small key, or SHA-256: the two that libp2p makes
        const IDENTITY: u64 = 0x00;
        const SHA2_256: u64 = 0x12;
        let (code, rest) = read_varint(&bytes)?;
        let (length, digest) = read_varint(rest)?;
        let whole = usize::try_from(length) == Ok(digest.len()) && bytes.len() <= MOST_PEER_ID;
        let known = code == IDENTITY && !digest.is_empty() || code == SHA2_256 && digest.len() == 32;
        (whole && known).then_some(Self(bytes))
    }
}

impl FromStr for PeerId {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "a libp2p peer id, such as 12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";
        let decoded = (s.len() <= 2 * MOST_PEER_ID).then(|| Base::Base58Btc.decode(s).ok()).flatten();
        decoded.and_then(Self::from_bytes).ok_or_else(|| bad(s, wanted))
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&Base::Base58Btc.encode(&self.0))
    }
}

/// An address such as `/ip4/203.0.113.7/tcp/24001`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Multiaddr(Vec<u8>);

/// What follows the name of a protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Argument {
    Nothing,
    Ip4,
    Ip6,
    Port,
    Name,
    Peer,
}

/// The protocols by name and code. Source: the table of multiaddr protocols.
const PROTOCOLS: &[(&str, u64, Argument)] = &[
    ("ip4", 4, Argument::Ip4),
    ("tcp", 6, Argument::Port),
    ("ip6", 41, Argument::Ip6),
    ("dns", 53, Argument::Name),
    ("dns4", 54, Argument::Name),
    ("dns6", 55, Argument::Name),
    ("dnsaddr", 56, Argument::Name),
    ("udp", 273, Argument::Port),
    ("p2p-circuit", 290, Argument::Nothing),
    ("p2p", 421, Argument::Peer),
    ("https", 443, Argument::Nothing),
    ("tls", 448, Argument::Nothing),
    ("quic", 460, Argument::Nothing),
    ("quic-v1", 461, Argument::Nothing),
    ("webtransport", 465, Argument::Nothing),
    ("ws", 477, Argument::Nothing),
    ("wss", 478, Argument::Nothing),
    ("http", 480, Argument::Nothing),
];

impl Multiaddr {
    /// The bytes that the chain keeps.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// An address as the chain has it, whatever it says.
    pub const fn of_chain(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    fn shown(&self) -> Option<String> {
        let (mut text, mut rest) = (String::new(), self.0.as_slice());
        while !rest.is_empty() {
            let (code, after) = read_varint(rest)?;
            let (name, _, argument) = PROTOCOLS.iter().find(|(_, known, _)| *known == code)?;
            text.push_str(&format!("/{name}"));
            let (value, after) = argument.shown(after)?;
            if let Some(value) = value {
                text.push_str(&format!("/{value}"));
            }
            rest = after;
        }
        (!text.is_empty()).then_some(text)
    }
}

impl Argument {
    fn write(self, text: &str, to: &mut Vec<u8>) -> Option<()> {
        match self {
            Self::Nothing => {}
            Self::Ip4 => to.extend(text.parse::<Ipv4Addr>().ok()?.octets()),
            Self::Ip6 => to.extend(text.parse::<Ipv6Addr>().ok()?.octets()),
            Self::Port => to.extend(text.parse::<u16>().ok()?.to_be_bytes()),
            Self::Name => {
                let is_name = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
                let name = Some(text).filter(|text| !text.is_empty() && text.chars().all(is_name))?;
                write_long(name.as_bytes(), to);
            }
            Self::Peer => write_long(text.parse::<PeerId>().ok()?.as_bytes(), to),
        }
        Some(())
    }

    /// The value at the beginning of the bytes, if there is one, and what follows it.
    fn shown(self, bytes: &[u8]) -> Option<(Option<String>, &[u8])> {
        let value = |text: String, rest| Some((Some(text), rest));
        match self {
            Self::Nothing => Some((None, bytes)),
            Self::Ip4 => {
                let (octets, rest) = bytes.split_first_chunk::<4>()?;
                value(Ipv4Addr::from(*octets).to_string(), rest)
            }
            Self::Ip6 => {
                let (octets, rest) = bytes.split_first_chunk::<16>()?;
                value(Ipv6Addr::from(*octets).to_string(), rest)
            }
            Self::Port => {
                let (port, rest) = bytes.split_first_chunk::<2>()?;
                value(u16::from_be_bytes(*port).to_string(), rest)
            }
            Self::Name => {
                let (name, rest) = read_long(bytes)?;
                value(String::from_utf8(name.to_vec()).ok().filter(|name| !name.contains(char::is_control))?, rest)
            }
            Self::Peer => {
                let (id, rest) = read_long(bytes)?;
                value(PeerId::from_bytes(id.to_vec())?.to_string(), rest)
            }
        }
    }
}

impl FromStr for Multiaddr {
    type Err = BadUnit;
    fn from_str(s: &str) -> Result<Self, BadUnit> {
        let wanted = "a multiaddress, such as /ip4/203.0.113.7/tcp/24001 or /dns4/miner.example/tcp/24001";
        let parsed = || {
            let (mut bytes, mut parts) = (Vec::new(), s.strip_prefix('/')?.split('/'));
            while let Some(name) = parts.next() {
                let (_, code, argument) = PROTOCOLS.iter().find(|(known, _, _)| *known == name)?;
                write_varint(*code, &mut bytes);
                let text = if *argument == Argument::Nothing { "" } else { parts.next()? };
                argument.write(text, &mut bytes)?;
            }
            Some(Self(bytes))
        };
        parsed().ok_or_else(|| bad(s, wanted))
    }
}

impl fmt::Display for Multiaddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown().unwrap_or_else(|| format!("0x{}", to_hex(&self.0))))
    }
}

fn write_varint(mut rest: u64, to: &mut Vec<u8>) {
    loop {
        let byte = u8::try_from(rest & 0x7f).unwrap_or(0);
        rest >>= 7;
        if rest == 0 {
            to.push(byte);
            return;
        }
        to.push(byte | 0x80);
    }
}

fn write_long(value: &[u8], to: &mut Vec<u8>) {
    write_varint(u64::try_from(value.len()).unwrap_or(u64::MAX), to);
    to.extend(value);
}

/// A number at the beginning of the bytes, of nine of them at most, and what follows it.
fn read_varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0u64;
    for (at, byte) in bytes.iter().take(9).enumerate() {
        let shift = u32::try_from(at).ok()?.checked_mul(7)?;
        value |= u64::from(byte & 0x7f).checked_shl(shift)?;
        if byte & 0x80 == 0 {
            return Some((value, bytes.get(at.checked_add(1)?..)?));
        }
    }
    None
}

fn read_long(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = read_varint(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::from_hex;
    use proptest::prelude::*;

    const ID: &str = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf";

    #[test]
    fn a_peer_id_is_the_multihash_of_its_key() {
        let id: PeerId = ID.parse().unwrap();
        assert_eq!(id.to_string(), ID);
        // identity, 36 bytes: a protobuf of an Ed25519 key
        assert_eq!(id.as_bytes()[..6], [0x00, 0x24, 0x08, 0x01, 0x12, 0x20]);
        assert_eq!(id.as_bytes().len(), 38);
        let of_rsa = "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N";
        assert_eq!(of_rsa.parse::<PeerId>().unwrap().as_bytes()[..2], [0x12, 0x20]);
        let long = "1".repeat(400);
        for wrong in ["", "12D3Koo0", "12D3KooW", "t01000", "/ip4/1.2.3.4", &ID[1..], long.as_str()] {
            assert!(wrong.parse::<PeerId>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn addresses_are_the_bytes_that_the_network_knows() {
        let cases = [
            ("/ip4/127.0.0.1/tcp/1105", "047f000001060451"),
            ("/ip6/::1/udp/9000/quic-v1", "2900000000000000000000000000000001910223 28cd03"),
            ("/dns4/a.example/tcp/443/wss", "3609612e6578616d706c650601bbde03"),
        ];
        for (text, bytes) in cases {
            let address: Multiaddr = text.parse().unwrap();
            assert_eq!(address.as_bytes(), from_hex(&bytes.replace(' ', "")).unwrap(), "{text}");
            assert_eq!(address.to_string(), text);
        }
        let with_peer = format!("/dnsaddr/x.example/p2p/{ID}");
        assert_eq!(with_peer.parse::<Multiaddr>().unwrap().to_string(), with_peer);
        for wrong in ["", "/", "ip4/1.2.3.4", "/ip4/1.2.3", "/ip4/1.2.3.4/tcp", "/ip4/1.2.3.4/", "/tcp/70000", "/x/1"] {
            assert!(wrong.parse::<Multiaddr>().is_err(), "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_the_chain_has_is_shown_whatever_it_is(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let shown = Multiaddr::of_chain(bytes.clone()).to_string();
            // what is shown as an address is one
            prop_assert!(shown.starts_with("0x") || shown.parse::<Multiaddr>().is_ok(), "{}", shown);
            prop_assert!(PeerId::from_bytes(bytes.clone()).is_none_or(|id| id.to_string().parse() == Ok(id)));
        }
    }
}
