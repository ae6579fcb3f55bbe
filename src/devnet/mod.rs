//! A local chain in a box that speaks Lotus JSON-RPC.
