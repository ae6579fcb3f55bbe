//! The one client of a Lotus-compatible node: JSON-RPC over HTTP.
