//! Every default, once, beside its reason: a TOML text that is the lowest layer, so that `check --explain` shows
//! a default as it shows everything else.
//!
//! Not here: `state.url`, which follows from `state.dir`.

/// Defaults of the sections.
pub const SECTIONS: &str = r#"
[chain]
devnet = false
# Five epochs are the chain's own measure of a message that stays (Lotus waits as long).
message_confidence = 5
# One more than a message: a seed that changes costs a SNARK.
seed_confidence = 6

[state]
dir = "/var/lib/seald"

[pledge]
# 16 sectors of 32 GiB take 7.6 TiB of scratch: one box with two large NVMe drives. Space, memory and slots hold
# sealing back by themselves; this bounds the pre-commit deposits at stake when something goes wrong.
max_in_flight = 16
# The shortest promise that pays well for its pledge, and three times the shortest that is allowed.
lifetime = "540d"

[fees]
# A pre-commit of one sector burns under 0.01 FIL at ordinary base fees. The caps are high enough for a full batch
# in a dear hour and low enough that a mistake does not empty a wallet.
max_precommit = "0.5 FIL"
max_commit = "0.5 FIL"
# Three hours: enough for a message to be replaced with a better fee a few times before a deadline passes.
deadline_margin = "3h"
# Missing a deadline costs a deposit or a sealed replica, which is worth far more than ten times the gas.
urgent_factor = 10
# Twenty epochs: a message that pays the base fee was included long before.
replace_after = "10m"

# What is ready at the same moment shares a message and nothing waits for company: at the base fees of the last
# years a wait saves little, and a first sector held up for a reason nobody declared is worse.
[batch]
# Verifying an aggregate costs the gas of four to five single proofs.
aggregate_from = 5
[batch.precommit]
max = 16
wait = "0s"
[batch.commit]
max = 16
wait = "0s"

[params]
# Where every Filecoin implementation keeps them, so that machines share one download.
dir = "/var/tmp/filecoin-proof-parameters"

[workers]
# The package brings the socket along; a developer, a container and a test have none and need no key.
launcher = "auto"
"#;

/// Defaults of every `[repo.NAME]`.
pub const REPO: &str = r#"
# A repo is a disk of its own; one that shares its file system says how much it leaves.
reserve = "0B"
# Lotus's default weight, which `sectorstore.json` carries too.
weight = 10
require_mount = false
"#;

/// Defaults of every `[slot.NAME]`.
pub const SLOT: &str = "count = 1";

/// Defaults of a `[node]` that is there.
pub const NODE: &str = r#"
# Dashboards only look; whoever wants orders to come in over the network says so.
api = "read"
"#;
