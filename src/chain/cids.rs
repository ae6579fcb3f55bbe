//! Commitments as the chain names them: CIDs of fixed codec and hash. Knows nothing of proofs.

use crate::units::{Hash32, SectorSize};
use cid::{Cid, multihash::Multihash};

/// CommR. Source: lotus-full-node-api 3c, step 6.
const SEALED: Kind = Kind { codec: 0xf102, hash: 0xb401 };
/// CommD. Source: lotus-full-node-api 6.
const UNSEALED: Kind = Kind { codec: 0xf101, hash: 0x1012 };

struct Kind {
    codec: u64,
    hash: u64,
}

/// A text or CID that is not a commitment of the kind asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{found} is not the CID of a {wanted}")]
pub struct NotACommitment {
    found: String,
    wanted: &'static str,
}

impl Kind {
    fn wrap(&self, hash: Hash32) -> Cid {
        // 32 bytes always fit the 64 a multihash can hold, so the default is never taken
        Cid::new_v1(self.codec, Multihash::wrap(self.hash, &hash.0).unwrap_or_default())
    }

    fn unwrap(&self, cid: &Cid, wanted: &'static str) -> Result<Hash32, NotACommitment> {
        let digest = <[u8; 32]>::try_from(cid.hash().digest()).ok();
        digest
            .filter(|_| cid.codec() == self.codec && cid.hash().code() == self.hash)
            .map(Hash32)
            .ok_or_else(|| NotACommitment { found: cid.to_string(), wanted })
    }
}

/// The CID of CommR, `bagboea4b5abc…`.
pub fn sealed(comm_r: Hash32) -> Cid {
    SEALED.wrap(comm_r)
}

/// The CID of CommD, `baga6ea4sea…`.
pub fn unsealed(comm_d: Hash32) -> Cid {
    UNSEALED.wrap(comm_d)
}

/// CommR out of its CID.
///
/// # Errors
/// A CID of another kind.
pub fn comm_r(cid: &Cid) -> Result<Hash32, NotACommitment> {
    SEALED.unwrap(cid, "sealed sector (CommR)")
}

/// CommD out of its CID.
///
/// # Errors
/// A CID of another kind.
pub fn comm_d(cid: &Cid) -> Result<Hash32, NotACommitment> {
    UNSEALED.unwrap(cid, "unsealed sector (CommD)")
}

/// A CID out of its text.
///
/// # Errors
/// Anything else.
pub fn parse(text: &str) -> Result<Cid, NotACommitment> {
    text.parse().map_err(|_| NotACommitment { found: text.to_owned(), wanted: "chain object" })
}

/// CommD of a sector full of zeros. Source: lotus-full-node-api 6.
pub const fn zero_comm_d(size: SectorSize) -> Hash32 {
    Hash32(match size {
        SectorSize::KiB2 => [
            0xfc, 0x7e, 0x92, 0x82, 0x96, 0xe5, 0x16, 0xfa, 0xad, 0xe9, 0x86, 0xb2, 0x8f, 0x92, 0xd4, 0x4a, 0x4f, 0x24,
            0xb9, 0x35, 0x48, 0x52, 0x23, 0x37, 0x6a, 0x79, 0x90, 0x27, 0xbc, 0x18, 0xf8, 0x33,
        ],
        SectorSize::MiB8 => [
            0x65, 0xf2, 0x9e, 0x5d, 0x98, 0xd2, 0x46, 0xc3, 0x8b, 0x38, 0x8c, 0xfc, 0x06, 0xdb, 0x1f, 0x6b, 0x02, 0x13,
            0x03, 0xc5, 0xa2, 0x89, 0x00, 0x0b, 0xdc, 0xe8, 0x32, 0xa9, 0xc3, 0xec, 0x42, 0x1c,
        ],
        SectorSize::MiB512 => [
            0x39, 0x56, 0x0e, 0x7b, 0x13, 0xa9, 0x3b, 0x07, 0xa2, 0x43, 0xfd, 0x27, 0x20, 0xff, 0xa7, 0xcb, 0x3e, 0x1d,
            0x2e, 0x50, 0x5a, 0xb3, 0x62, 0x9e, 0x79, 0xf4, 0x63, 0x13, 0x51, 0x2c, 0xda, 0x06,
        ],
        SectorSize::GiB32 => [
            0x07, 0x7e, 0x5f, 0xde, 0x35, 0xc5, 0x0a, 0x93, 0x03, 0xa5, 0x50, 0x09, 0xe3, 0x49, 0x8a, 0x4e, 0xbe, 0xdf,
            0xf3, 0x9c, 0x42, 0xb7, 0x10, 0xb7, 0x30, 0xd8, 0xec, 0x7a, 0xc7, 0xaf, 0xa6, 0x3e,
        ],
        SectorSize::GiB64 => [
            0xe6, 0x40, 0x05, 0xa6, 0xbf, 0xe3, 0x77, 0x79, 0x53, 0xb8, 0xad, 0x6e, 0xf9, 0x3f, 0x0f, 0xca, 0x10, 0x49,
            0xb2, 0x04, 0x16, 0x54, 0xf2, 0xa4, 0x11, 0xf7, 0x70, 0x27, 0x99, 0xce, 0xce, 0x02,
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_commitments_have_the_published_names() {
        let published = [
            "baga6ea4seaqpy7usqklokfx2vxuynmupslkeutzexe2uqurdg5vhtebhxqmpqmy",
            "baga6ea4seaqgl4u6lwmnerwdrm4iz7ag3mpwwaqtapc2fciabpooqmvjypweeha",
            "baga6ea4seaqdsvqopmj2soyhujb72jza76t4wpq5fzifvm3ctz47iyytkewnubq",
            "baga6ea4seaqao7s73y24kcutaosvacpdjgfe5pw76ooefnyqw4ynr3d2y6x2mpq",
            "baga6ea4seaqomqafu276g53zko4k23xzh4h4uecjwicbmvhsuqi7o4bhthhm4aq",
        ];
        for (size, name) in SectorSize::ALL.into_iter().zip(published) {
            let cid = unsealed(zero_comm_d(size));
            assert_eq!(cid.to_string(), name, "{size}");
            assert_eq!(comm_d(&parse(name).unwrap()), Ok(zero_comm_d(size)));
        }
    }

    #[test]
    fn commitments_survive_their_cids_and_do_not_mix() {
        let hash = Hash32([0xab; 32]);
        assert!(sealed(hash).to_string().starts_with("bagboea4b5abc"));
        assert_eq!(comm_r(&sealed(hash)), Ok(hash));
        assert_eq!(comm_d(&unsealed(hash)), Ok(hash));
        let text = comm_r(&unsealed(hash)).unwrap_err().to_string();
        assert!(text.contains("is not the CID of a sealed sector"), "{text}");
        assert!(comm_d(&sealed(hash)).is_err());
        let short = Cid::new_v1(SEALED.codec, Multihash::wrap(SEALED.hash, &[1; 31]).unwrap());
        assert!(comm_r(&short).is_err());
        assert!(parse("bafy nothing").is_err());
    }
}
