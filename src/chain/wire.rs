//! The JSON shapes of Lotus' RPC. Private to `chain` and `devnet`.
