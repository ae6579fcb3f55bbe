//! Every method that is served, with what it takes to ask it. Names and permissions are Lotus's.

use super::token::Permission::{self, Admin, Read, Write};
use serde_json::{Value, json};

/// What names of methods begin with.
const NAMESPACE: &str = "Filecoin.";

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident: $permission:ident, $params:literal;)*) => {
        /// One method.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Method { $($(#[$doc])* $name),* }

        impl Method {
            /// Each of them.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// Its name, without the namespace.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),* }
            }

            /// What a token must allow.
            pub const fn permission(self) -> Permission {
                match self { $(Self::$name => $permission),* }
            }

            /// How many parameters it takes.
            pub const fn params(self) -> usize {
                match self { $(Self::$name => $params),* }
            }
        }
    };
}

methods! {
    /// Program, version of the API, seconds of an epoch.
    Version: Read, 0;
    /// Which run of the daemon this is.
    Session: Read, 0;
    /// Since when it runs.
    StartTime: Read, 0;
    /// What a token allows.
    AuthVerify: Read, 1;
    /// A new token.
    AuthNew: Admin, 1;
    /// What is logged under a name of its own.
    LogList: Write, 0;
    /// What an operator must look at.
    LogAlerts: Admin, 0;
    /// This list, as an OpenRPC document.
    Discover: Read, 0;
    /// What of a miner runs here.
    RuntimeSubsystems: Read, 0;
    /// The miner.
    ActorAddress: Read, 0;
    /// Bytes of its sectors.
    ActorSectorSize: Read, 1;
    /// Who sends which message.
    ActorAddressConfig: Read, 0;
    /// Numbers of all sectors, removed ones included.
    SectorsList: Read, 0;
    /// Everything about one sector.
    SectorsStatus: Read, 2;
    /// How many sectors are in each state.
    SectorsSummary: Read, 0;
    /// Numbers of the sectors in these states.
    SectorsListInStates: Read, 1;
    /// Which deals are in which sectors.
    SectorsRefs: Read, 0;
    /// Which numbers are used, and which is next.
    SectorNumAssignerMeta: Read, 0;
    /// Numbers that are set aside, by name.
    SectorNumReservations: Read, 0;
    /// One sector more.
    PledgeSector: Write, 0;
    /// Workers, what they have and what they do.
    WorkerStats: Admin, 0;
    /// What workers do.
    WorkerJobs: Admin, 0;
    /// What waits for a worker.
    SealingSchedDiag: Admin, 1;
    /// Which sector has files where.
    StorageList: Admin, 0;
    /// Paths by id.
    StorageLocal: Admin, 0;
    /// What one path is for.
    StorageInfo: Admin, 1;
    /// What room one path has.
    StorageStat: Admin, 1;
    /// Which paths have this file of a sector.
    StorageFindSector: Admin, 4;
    /// Which sectors' files are being worked on.
    StorageGetLocks: Admin, 0;
    /// Sectors that wait for company in a pre-commit message.
    SectorPreCommitPending: Admin, 0;
    /// Sectors that wait for company in a prove-commit message.
    SectorCommitPending: Admin, 0;
    /// Sectors that wait for company in a message that ends them.
    SectorTerminatePending: Admin, 0;
    /// Deals.
    MarketListDeals: Read, 0;
}

/// What of Lotus's API is done in another way here. Each pair: the method, and what to do in its place.
const ELSEWHERE: &[(&str, &str)] = &[
    ("LogSetLevel", "start seald with `--log`"),
    ("Shutdown", "`systemctl stop seald`"),
    ("SectorTerminate", "`seald sectors terminate`"),
    ("SectorRemove", "`seald sectors remove`"),
    ("SectorsUpdate", "`seald sectors set-state`"),
    ("SectorPreCommitFlush", "lower batch.precommit.wait in the manifest, then `seald reload`"),
    ("SectorCommitFlush", "lower batch.commit.wait in the manifest, then `seald reload`"),
    ("SealingAbort", "`seald pause --now` the slot"),
    ("StorageAddLocal", "declare a repo in the manifest, then `seald reload`"),
    ("StorageDetachLocal", "take the repo out of the manifest, then `seald reload`"),
    ("StorageRedeclareLocal", "nothing: repos are looked at each time they are listed"),
    ("WorkerConnect", "declare a slot in the manifest: workers of Lotus are not taken"),
    ("CreateBackup", "back up the database that state.url of the manifest names"),
];

impl Method {
    /// The method of this name.
    ///
    /// # Errors
    /// Why there is none, and what to do.
    pub fn of(name: &str) -> Result<Self, String> {
        // the one name without the namespace; Lotus has it too
        if name == "rpc.discover" {
            return Ok(Self::Discover);
        }
        let bare = name.strip_prefix(NAMESPACE);
        let found = bare.and_then(|bare| Self::ALL.iter().copied().find(|method| method.name() == bare));
        found.ok_or_else(|| {
            let instead = ELSEWHERE.iter().find(|(method, _)| bare == Some(method));
            let instead = instead.map_or_else(
                || "Filecoin.Discover lists what seald serves".to_owned(),
                |(_, instead)| format!("with seald: {instead}"),
            );
            format!("method '{}' not found; {instead}", name.chars().take(80).collect::<String>())
        })
    }
}

/// All of them as OpenRPC has it: tools read the names.
pub fn document(version: &str) -> Value {
    let method = |method: &Method| {
        let params: Vec<Value> = (1..=method.params())
            .map(|number| json!({ "name": format!("p{number}"), "required": true, "schema": {} }))
            .collect();
        json!({
            "name": format!("{NAMESPACE}{}", method.name()),
            "summary": format!("needs the permission {}", method.permission().word()),
            "paramStructure": "by-position",
            "params": params,
            "result": { "name": "result", "schema": {} },
        })
    };
    let methods: Vec<Value> = Method::ALL.iter().map(method).collect();
    json!({
        "openrpc": "1.2.6",
        "info": { "title": "Lotus StorageMiner API, as seald serves it", "version": version },
        "methods": methods,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn methods_are_found_by_lotus_names_and_what_is_not_served_says_what_to_do() {
        assert_eq!(Method::of("Filecoin.SectorsList"), Ok(Method::SectorsList));
        assert_eq!(Method::of("rpc.discover"), Ok(Method::Discover));
        let why = Method::of("Filecoin.SectorsUpdate").unwrap_err();
        assert_eq!(why, "method 'Filecoin.SectorsUpdate' not found; with seald: `seald sectors set-state`");
        for name in ["", "SectorsList", "Filecoin.", "filecoin.Version", &"x".repeat(1000)] {
            let why = Method::of(name).unwrap_err();
            assert!(why.contains("Filecoin.Discover") && why.len() < 200, "{why}");
        }
        assert!(ELSEWHERE.iter().all(|(name, _)| Method::ALL.iter().all(|method| method.name() != *name)));
    }
}
