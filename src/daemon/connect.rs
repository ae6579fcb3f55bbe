//! Where the declared node is: the endpoints of the manifest with their tokens, or the address that our own devnet wrote.
//!
//! Opens no connection and starts no devnet.

use crate::{
    chain::{Endpoint, Secret},
    error::Remedy,
    manifest::{self, ChainSource, Manifest},
};
use std::{fs, io, path::PathBuf};

/// The folder of our own devnet, below `state.dir`.
pub const DEVNET: &str = "devnet";

/// The file in it that holds the address it answers on.
pub const DEVNET_URL: &str = "url";

/// The node cannot be named.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Our own devnet has not said where it is.
    #[error("cannot read {path}, where the devnet says its address: `seald run` starts it")]
    Devnet {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A token is out of reach.
    #[error("cannot read the token file {path}: let the user that seald runs as read it")]
    Token {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
}

impl ConnectError {
    /// A devnet comes up by itself, a token file does not.
    pub const fn remedy(&self) -> Remedy {
        match self {
            Self::Devnet { .. } => Remedy::Retry,
            Self::Token { .. } => Remedy::Hold,
        }
    }
}

/// The declared nodes, in order of preference; never empty. Reads small files: the token files, or the devnet's.
///
/// # Errors
/// One of them cannot be read.
pub fn endpoints(manifest: &Manifest) -> Result<Vec<Endpoint>, ConnectError> {
    match &manifest.chain.source {
        ChainSource::Endpoints(endpoints) => endpoints.iter().map(endpoint).collect(),
        ChainSource::Devnet => {
            let path = manifest.state.dir.join(DEVNET).join(DEVNET_URL);
            match fs::read_to_string(&path) {
                Ok(url) => Ok(vec![Endpoint { url: url.trim().to_owned(), token: None }]),
                Err(source) => Err(ConnectError::Devnet { path, source }),
            }
        }
    }
}

fn endpoint(declared: &manifest::Endpoint) -> Result<Endpoint, ConnectError> {
    let manifest::Endpoint { url, token_file } = declared;
    let read = |path: &PathBuf| {
        let token = fs::read_to_string(path).map(|text| Secret::new(&text));
        token.map_err(|source| ConnectError::Token { path: path.clone(), source })
    };
    Ok(Endpoint { url: url.clone(), token: token_file.as_ref().map(read).transpose()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{File, Overrides, parse};
    use std::path::Path;

    const REST: &str = "miner.sector_size = '2KiB'\nminer.actor = 'f01000'\nstate.dir = 'state'\n\
                        repo.disk = { path = 'repo', roles = ['seal', 'store'] }\n\
                        slot.cpu = { tasks = ['precommit1', 'precommit2', 'commit', 'finalize'] }\n\
                        pledge.sectors = 1\n";

    fn manifest(chain: &str, cwd: &Path) -> Manifest {
        let file = File { path: "seald.toml".into(), text: format!("{REST}{chain}\n") };
        parse(&[file], &Overrides { cwd: cwd.to_owned(), ..Overrides::default() }).unwrap().manifest
    }

    #[test]
    fn tokens_come_from_their_files_in_the_order_of_preference() {
        let dir = tempfile::tempdir().unwrap();
        let chain = "chain.endpoints = [{ url = 'http://a', token_file = 'token' }, { url = 'http://b' }]";
        let manifest = manifest(chain, dir.path());
        assert!(matches!(endpoints(&manifest), Err(ConnectError::Token { .. })));
        fs::write(dir.path().join("token"), "secret\n").unwrap();
        let found = endpoints(&manifest).unwrap();
        let a = Endpoint { url: "http://a".to_owned(), token: Some(Secret::new("secret")) };
        assert_eq!(found, [a, Endpoint { url: "http://b".to_owned(), token: None }]);
    }

    #[test]
    fn the_devnet_says_where_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let manifest = manifest("chain.devnet = true", dir.path());
        assert!(matches!(endpoints(&manifest), Err(ConnectError::Devnet { .. })));
        fs::create_dir_all(dir.path().join("state/devnet")).unwrap();
        fs::write(dir.path().join("state/devnet/url"), "http://127.0.0.1:4321/rpc/v1\n").unwrap();
        let url = "http://127.0.0.1:4321/rpc/v1".to_owned();
        assert_eq!(endpoints(&manifest).unwrap(), [Endpoint { url, token: None }]);
    }
}
