//! The devnet's folder: lock, chain file, address file. Writes are atomic: a kill leaves the old file or the new one.

use super::chain::Chain;
use anyhow::{Context as _, Result, bail};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::Write as _,
    path::{Path, PathBuf},
};

/// The folder of a running devnet. The lock goes with the process.
#[derive(Debug)]
pub struct Home {
    dir: PathBuf,
    _lock: File,
}

impl Home {
    /// Makes the folder when needed and locks it.
    ///
    /// # Errors
    /// When another devnet has it (its pid is named), or it cannot be made.
    pub fn open(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot make the devnet's folder {}", dir.display()))?;
        let path = dir.join("lock");
        let mut lock = OpenOptions::new()
            .create(true)
            .read(true)
            .write(true)
            .truncate(false)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let owner = fs::read_to_string(&path).unwrap_or_default();
                bail!(
                    "a devnet runs in {} already (pid {}): stop it or use another --dir",
                    dir.display(),
                    owner.trim()
                );
            }
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("cannot lock {}", path.display()));
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .context("cannot write the lock file")?;
        // the address of an earlier run leads nowhere
        match fs::remove_file(dir.join("url")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("cannot remove the url file")
            }
            Ok(()) | Err(_) => Ok(Self { dir: dir.to_owned(), _lock: lock }),
        }
    }

    /// The chain as last saved; `None` in a new folder.
    ///
    /// # Errors
    /// When the file is there but is not a chain. It is left as it is.
    pub fn load(&self) -> Result<Option<Chain>> {
        let path = self.chain_file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        serde_json::from_slice(&bytes)
            .map(Some)
            .with_context(|| format!("{} is not a chain of this version: move it away to start anew", path.display()))
    }

    /// Writes the chain.
    ///
    /// # Errors
    /// When it cannot be written; the previous file stays.
    pub fn save(&self, chain: &Chain) -> Result<()> {
        let bytes = serde_json::to_vec(chain).context("cannot encode the chain")?;
        self.replace(&self.chain_file(), &bytes)
    }

    /// Tells others where the devnet answers.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write_url(&self, url: &str) -> Result<()> {
        self.replace(&self.dir.join("url"), url.as_bytes())
    }

    fn chain_file(&self) -> PathBuf {
        self.dir.join("chain.json")
    }

    fn replace(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = path.with_extension("new");
        let write = || {
            let mut file = File::create(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }
}
