//! Who may ask what: a JSON web token, signed with a secret of this daemon (HMAC with SHA-256, `HS256`), whose payload
//! lists what its bearer may do, `{"Allow":["read","write"]}`. Nothing else is in it and it does not end; another secret
//! ends all tokens. Neither tokens nor the secret are ever logged or shown by `Debug`.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    hmac,
    rand::{SecureRandom as _, SystemRandom},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeSet,
    fmt, fs, io,
    os::unix::fs::{MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    str::FromStr,
};

/// The file of the secret in the state folder.
pub const FILE: &str = "api-secret";

/// Bytes of a secret: as many as the hash has.
const LENGTH: usize = 32;

/// Characters of the longest token that is looked at; ours have about a hundred.
const LONGEST: usize = 1024;

/// What the bearer of a token may do. Each is listed by itself, as Lotus does it: `admin` alone is not `read`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Permission {
    /// Look at the miner; also without a token.
    Read,
    /// Give orders.
    Write,
    /// Nothing here; Lotus's nodes sign with it.
    Sign,
    /// See how the machine is made up, and make tokens.
    Admin,
}

impl Permission {
    /// Each of them; every one comes with those before it when a token is made.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Sign, Self::Admin];

    /// The word in tokens and on the command line.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Sign => "sign",
            Self::Admin => "admin",
        }
    }

    /// It, and those that come with it.
    pub fn and_below(self) -> Permissions {
        Self::ALL.into_iter().filter(|permission| *permission <= self).collect()
    }
}

impl FromStr for Permission {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(Self::word).join(", ");
        let found = Self::ALL.into_iter().find(|permission| permission.word() == text);
        found.ok_or_else(|| format!("{text:?} is not a permission: give one of {}", words()))
    }
}

/// What somebody may do.
pub type Permissions = BTreeSet<Permission>;

/// The secret cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read or made.
    #[error("cannot {doing} the secret {path} of the API's tokens")]
    Io {
        /// What was being done.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// Others may read it.
    #[error(
        "the secret {path} of the API's tokens can be read by others than its owner (mode {mode:03o}): chmod 600 it"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not one of ours.
    #[error(
        "the secret {path} of the API's tokens has {found} bytes in place of {LENGTH}: remove it, and make all tokens anew"
    )]
    Length {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: usize,
    },
}

/// What signs the tokens of one daemon.
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    typ: String,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(rename = "Allow")]
    allow: Vec<String>,
}

/// The only algorithm there is here. A token that names another is refused before anything of it is believed.
const ALGORITHM: &str = "HS256";

impl Secret {
    /// One of these bytes.
    pub fn new(bytes: &[u8; LENGTH]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The secret of the daemon with this state folder.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read(dir: &Path) -> Result<Self, SecretError> {
        let path = dir.join(FILE);
        let io = |source| SecretError::Io { doing: "read", path: path.clone(), source };
        let mode = fs::metadata(&path).map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SecretError::Open { path, mode });
        }
        let bytes = fs::read(&path).map_err(io)?;
        let known: &[u8; LENGTH] =
            bytes.as_slice().try_into().map_err(|_| SecretError::Length { path, found: bytes.len() })?;
        Ok(Self::new(known))
    }

    /// The same; the first time a secret is drawn and kept, for the daemon's user alone.
    ///
    /// # Errors
    /// See [`SecretError`].
    pub fn read_or_make(dir: &Path) -> Result<Self, SecretError> {
        match Self::read(dir) {
            Err(SecretError::Io { source, .. }) if source.kind() == io::ErrorKind::NotFound => make(dir),
            known => known,
        }
    }

    /// A token that allows this.
    pub fn sign(&self, allowed: &Permissions) -> String {
        let header = Header { alg: ALGORITHM.to_owned(), typ: "JWT".to_owned() };
        let payload = Payload { allow: allowed.iter().map(|permission| permission.word().to_owned()).collect() };
        let part = |json: serde_json::Value| URL_SAFE_NO_PAD.encode(json.to_string());
        let signed = format!("{}.{}", part(serde_json::json!(header)), part(serde_json::json!(payload)));
        let tag = hmac::sign(&self.0, signed.as_bytes());
        format!("{signed}.{}", URL_SAFE_NO_PAD.encode(tag))
    }

    /// What a token allows; `None` when it is not one of ours. The signatures are compared in constant time. Words that are
    /// no permission of ours allow nothing.
    pub fn verify(&self, token: &str) -> Option<Permissions> {
        if token.len() > LONGEST {
            return None;
        }
        let (signed, tag) = token.rsplit_once('.')?;
        let (header, payload) = signed.split_once('.')?;
        let Header { alg, typ: _ } = part(header)?;
        if alg != ALGORITHM {
            return None;
        }
        hmac::verify(&self.0, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(tag).ok()?).ok()?;
        let Payload { allow } = part(payload)?;
        Some(allow.iter().filter_map(|word| word.parse().ok()).collect())
    }
}

fn part<T: serde::de::DeserializeOwned>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}

/// Draws a secret and keeps it. A crash leaves either all of it or nothing under its name.
fn make(dir: &Path) -> Result<Secret, SecretError> {
    let (path, new) = (dir.join(FILE), dir.join(format!(".{FILE}.new")));
    let io = |source| SecretError::Io { doing: "make", path: path.clone(), source };
    let mut bytes = [0; LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| io(io::Error::other("the system has no random numbers")))?;
    // one that a crash left behind may have been open to others
    match fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
        Ok(()) | Err(_) => {}
    }
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new).and_then(|mut file| {
        io::Write::write_all(&mut file, &bytes)?;
        file.sync_all()
    });
    written.and_then(|()| fs::rename(&new, &path)).map_err(io)?;
    fs::File::open(dir).and_then(|folder| folder.sync_all()).map_err(io)?;
    Ok(Secret::new(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn secret() -> Secret {
        Secret::new(&[7; LENGTH])
    }

    #[test]
    fn a_token_says_what_it_was_made_for() {
        for permission in Permission::ALL {
            let token = secret().sign(&permission.and_below());
            assert_eq!(secret().verify(&token), Some(permission.and_below()), "{token}");
            assert_eq!(Secret::new(&[8; LENGTH]).verify(&token), None, "another daemon's");
        }
        assert_eq!(Permission::Write.and_below(), [Permission::Read, Permission::Write].into());
    }

    #[test]
    fn a_token_has_the_form_that_lotus_gives_it() {
        // header, payload and signature as any HS256 library computes them
        let token = Secret::new(b"0123456789abcdef0123456789abcdef").sign(&Permission::Write.and_below());
        let mut parts =
            token.split('.').map(|part| String::from_utf8_lossy(&URL_SAFE_NO_PAD.decode(part).unwrap()).into_owned());
        assert_eq!(parts.next().unwrap(), r#"{"alg":"HS256","typ":"JWT"}"#);
        assert_eq!(parts.next().unwrap(), r#"{"Allow":["read","write"]}"#);
        assert_eq!(token.rsplit('.').next().unwrap().len(), 43);
    }

    #[test]
    fn tokens_that_are_not_ours_are_refused() {
        let good = secret().sign(&Permission::Admin.and_below());
        let (signed, tag) = good.rsplit_once('.').unwrap();
        let (header, payload) = signed.split_once('.').unwrap();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        let more = URL_SAFE_NO_PAD.encode(r#"{"Allow":["read","write","sign","admin","root"]}"#);
        let bad = [
            String::new(),
            "..".to_owned(),
            good.replace('.', ""),
            format!("{good}."),
            format!("{signed}."),
            format!("{signed}.{}", &tag[1..]),
            format!("{none}.{payload}."),
            format!("{none}.{payload}.{tag}"),
            format!("{header}.{more}.{tag}"),
            "a".repeat(LONGEST + 1),
        ];
        for token in bad {
            assert_eq!(secret().verify(&token), None, "{token:.80}");
        }
    }

    #[test]
    fn the_secret_is_made_once_and_is_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Secret::read(dir.path()), Err(SecretError::Io { .. })));
        let token = Secret::read_or_make(dir.path()).unwrap().sign(&Permission::Admin.and_below());
        let path = dir.path().join(FILE);
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert!(Secret::read_or_make(dir.path()).unwrap().verify(&token).is_some(), "it is the same again");

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let said = Secret::read_or_make(dir.path()).unwrap_err().to_string();
        assert!(said.contains("mode 640") && said.contains("chmod 600"), "{said}");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        let said = Secret::read_or_make(dir.path()).unwrap_err().to_string();
        assert!(said.contains("5 bytes"), "{said}");
        assert_eq!(format!("{:?}", Secret::new(&[7; LENGTH])), "Secret(***)");
    }
}
