//! The manifest: TOML text in, one valid `Manifest` or every problem out.
