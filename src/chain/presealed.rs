//! The JSON file that describes sectors which were sealed for a genesis block, as Lotus's pre-seal tool writes it.
//!
//! Pure: bytes in, everything in them or every problem with them out. The bytes are a stranger's; whether the chain has
//! what they say is asked elsewhere.

use super::{cids, messages};
use crate::units::{Hash32, MinerId, SealProof, SectorNumber, SectorSize};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Problems that are told; more of them say nothing new.
const MOST_PROBLEMS: usize = 8;

/// What such a file says of one miner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presealed {
    /// The actor in the genesis block.
    pub actor: MinerId,
    /// Its owner, a key address.
    pub owner: String,
    /// Its worker, a key address.
    pub worker: String,
    /// Size of its sectors.
    pub sector_size: SectorSize,
    /// The sectors, each number once.
    pub sectors: Vec<PresealedSector>,
}

/// One sector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresealedSector {
    /// Its number.
    pub number: SectorNumber,
    /// CommR.
    pub comm_r: Hash32,
    /// CommD.
    pub comm_d: Hash32,
    /// How it was sealed.
    pub proof: SealProof,
}

/// Reads what the file says of this miner.
///
/// # Errors
/// Every problem, each with its key; a few of them when there are many.
pub fn read(bytes: &[u8], actor: MinerId) -> Result<Presealed, Vec<String>> {
    let whole: Value = serde_json::from_slice(bytes).map_err(|error| vec![format!("it is not JSON: {error}")])?;
    let Some(miners) = whole.as_object() else {
        return Err(vec!["it is not an object with a key for each miner, such as \"t01000\"".to_owned()]);
    };
    let is_ours = |name: &&String| name.parse::<MinerId>() == Ok(actor);
    let Some((name, miner)) = miners.iter().find(|(name, _)| is_ours(name)) else {
        let known: Vec<_> = miners.keys().take(MOST_PROBLEMS).map(|name| format!("{:?}", brief(name))).collect();
        return Err(vec![format!("it says nothing of miner {actor}; it has: {}", known.join(", "))]);
    };
    let mut reader = Reader { problems: Vec::new() };
    let found = reader.miner(name, miner, actor);
    match found {
        Some(found) if reader.problems.is_empty() => Ok(found),
        Some(_) | None => Err(reader.problems),
    }
}

/// The beginning of a text: what is wrong is shown, and not all of what somebody wrote.
fn brief(text: &str) -> String {
    const MOST: usize = 120;
    if text.chars().count() <= MOST { text.to_owned() } else { text.chars().take(MOST).chain(['…']).collect() }
}

struct Reader {
    problems: Vec<String>,
}

impl Reader {
    fn refuse<T>(&mut self, at: &str, what: &str) -> Option<T> {
        if self.problems.len() < MOST_PROBLEMS {
            self.problems.push(format!("{at} {what}"));
        }
        None
    }

    fn object<'a>(&mut self, at: &str, value: &'a Value) -> Option<&'a Map<String, Value>> {
        value.as_object().or_else(|| self.refuse(at, "is not an object"))
    }

    fn field<'a>(&mut self, at: &str, of: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
        of.get(key).filter(|value| !value.is_null()).or_else(|| self.refuse(&format!("{at}.{key}"), "is missing"))
    }

    fn number(&mut self, at: &str, of: &Map<String, Value>, key: &str) -> Option<u64> {
        let value = self.field(at, of, key)?;
        let what = || format!("is {}, not a number from 0 on", brief(&value.to_string()));
        value.as_u64().or_else(|| self.refuse(&format!("{at}.{key}"), &what()))
    }

    fn text<'a>(&mut self, at: &str, of: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
        let value = self.field(at, of, key)?;
        value.as_str().or_else(|| self.refuse(&format!("{at}.{key}"), "is not a text"))
    }

    fn miner(&mut self, at: &str, value: &Value, actor: MinerId) -> Option<Presealed> {
        let of = self.object(at, value)?;
        // the tool writes it again within; another one means that entries were mixed up
        match of.get("ID").map(|id| id.as_str().map(str::parse::<MinerId>)) {
            None => {}
            Some(Some(Ok(id))) if id == actor => {}
            Some(_) => drop(self.refuse::<()>(&format!("{at}.ID"), &format!("is not {actor}, of whom the entry is"))),
        }
        let (owner, worker) = (self.account(at, of, "Owner"), self.account(at, of, "Worker"));
        let bytes = self.number(at, of, "SectorSize");
        let size = bytes.and_then(|bytes| {
            let known = SectorSize::ALL.into_iter().find(|size| size.bytes().as_u64() == bytes);
            known.or_else(|| self.refuse(&format!("{at}.SectorSize"), &format!("is {bytes}, which no sector has")))
        });
        let list = self.field(at, of, "Sectors")?;
        let Some(list) = list.as_array() else { return self.refuse(&format!("{at}.Sectors"), "is not a list") };
        let mut numbers = BTreeSet::new();
        let mut sectors = Vec::with_capacity(list.len());
        for (index, value) in list.iter().enumerate() {
            let at = format!("{at}.Sectors[{index}]");
            let Some(sector) = self.sector(&at, value, size) else { continue };
            if !numbers.insert(sector.number) {
                self.refuse::<()>(&format!("{at}.SectorID"), &format!("is {}, as that of another", sector.number));
            }
            sectors.push(sector);
        }
        Some(Presealed { actor, owner: owner?, worker: worker?, sector_size: size?, sectors })
    }

    fn account(&mut self, at: &str, of: &Map<String, Value>, key: &str) -> Option<String> {
        let text = self.text(at, of, key)?;
        match messages::parse_address(text) {
            Ok(_) => Some(text.to_owned()),
            Err(_) => self.refuse(&format!("{at}.{key}"), &format!("is {:?}, which is not an address", brief(text))),
        }
    }

    fn sector(&mut self, at: &str, value: &Value, size: Option<SectorSize>) -> Option<PresealedSector> {
        let of = self.object(at, value)?;
        let number = self.number(at, of, "SectorID").and_then(|number| {
            let known = SectorNumber::try_from(number).ok();
            known.or_else(|| self.refuse(&format!("{at}.SectorID"), "is above 2^63-1"))
        });
        let comm_r = self.commitment(at, of, "CommR", cids::comm_r);
        let comm_d = self.commitment(at, of, "CommD", cids::comm_d);
        let proof = self.number(at, of, "ProofType").and_then(|proof| {
            let known = i64::try_from(proof).ok().and_then(|proof| SealProof::try_from(proof).ok());
            let fits = known.filter(|proof| size.is_none_or(|size| proof.sector_size() == size));
            fits.or_else(|| {
                let what = format!("is {proof}, which is not how this version seals sectors of that size");
                self.refuse(&format!("{at}.ProofType"), &what)
            })
        });
        Some(PresealedSector { number: number?, comm_r: comm_r?, comm_d: comm_d?, proof: proof? })
    }

    fn commitment(
        &mut self,
        at: &str,
        of: &Map<String, Value>,
        key: &str,
        read: impl Fn(&cid::Cid) -> Result<Hash32, cids::NotACommitment>,
    ) -> Option<Hash32> {
        let place = format!("{at}.{key}");
        let value = self.field(at, of, key)?;
        let Some(text) = value.get("/").and_then(Value::as_str) else {
            return self.refuse(&place, "is not a CID such as {\"/\": \"bag…\"}");
        };
        match cids::parse(text).and_then(|cid| read(&cid)) {
            Ok(hash) => Some(hash),
            Err(error) => self.refuse(&place, &format!("is wrong: {}", brief(&error.to_string()))),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    /// Such a file, of 2 KiB sectors with these numbers. The CommR of a sector repeats its number.
    pub(crate) fn file(actor: MinerId, numbers: &[u8]) -> Value {
        let sector = |number: &u8| {
            json!({
                "CommR": { "/": cids::sealed(Hash32([*number; 32])).to_string() },
                "CommD": { "/": cids::unsealed(Hash32([7; 32])).to_string() },
                "SectorID": number,
                "Deal": { "PieceSize": 2048, "Label": "0" },
                "DealClientKey": { "Type": "bls", "PrivateKey": "c2VjcmV0" },
                "ProofType": 5,
            })
        };
        let key =
            |byte: u8| format!("t{}", &fvm_shared::address::Address::new_bls(&[byte; 48]).unwrap().to_string()[1..]);
        let name = actor.to_address();
        json!({ name.clone(): {
            "ID": name, "Owner": key(1), "Worker": key(2), "PeerId": "12D3Koo", "MarketBalance": "0",
            "PowerBalance": "0", "SectorSize": 2048, "Sectors": numbers.iter().map(sector).collect::<Vec<_>>(),
        } })
    }

    const ACTOR: MinerId = MinerId::new(1000);

    fn problems(change: impl Fn(&mut Value)) -> String {
        let mut file = file(ACTOR, &[0, 1]);
        change(&mut file);
        read(file.to_string().as_bytes(), ACTOR).unwrap_err().join("\n")
    }

    #[test]
    fn what_the_tool_writes_is_read() {
        let found = read(file(ACTOR, &[0, 1]).to_string().as_bytes(), ACTOR).unwrap();
        assert_eq!((found.actor, found.sector_size, found.sectors.len()), (ACTOR, SectorSize::KiB2, 2));
        let PresealedSector { number, comm_r, comm_d, proof } = found.sectors[1].clone();
        assert_eq!((number.as_u64(), comm_r, comm_d), (1, Hash32([1; 32]), Hash32([7; 32])));
        assert_eq!(proof, SectorSize::KiB2.seal_proof());
        assert!(found.owner.starts_with("t3") && found.owner != found.worker);
    }

    #[test]
    fn each_problem_names_its_key() {
        type Edit<'a> = &'a dyn Fn(&mut Value);
        let cases: [(&str, Edit<'_>); 9] = [
            ("t01000.Owner is missing", &|file| drop(file["t01000"]["Owner"].take())),
            ("t01000.Worker is \"nobody\", which is not an address", &|file| {
                file["t01000"]["Worker"] = json!("nobody")
            }),
            ("t01000.SectorSize is 2049", &|file| file["t01000"]["SectorSize"] = json!(2049)),
            ("t01000.Sectors is not a list", &|file| file["t01000"]["Sectors"] = json!({})),
            ("t01000.Sectors[1].CommR is wrong", &|file| {
                file["t01000"]["Sectors"][1]["CommR"] = file["t01000"]["Sectors"][1]["CommD"].clone();
            }),
            ("t01000.Sectors[0].SectorID is -1", &|file| file["t01000"]["Sectors"][0]["SectorID"] = json!(-1)),
            ("t01000.Sectors[1].SectorID is 0, as that of another", &|file| {
                file["t01000"]["Sectors"][1]["SectorID"] = json!(0);
            }),
            ("t01000.Sectors[0].ProofType is 8", &|file| file["t01000"]["Sectors"][0]["ProofType"] = json!(8)),
            ("t01000.ID is not f01000", &|file| file["t01000"]["ID"] = json!("t01001")),
        ];
        for (expected, change) in cases {
            let told = problems(change);
            assert!(told.contains(expected), "{expected}: {told}");
        }
        let both = problems(|file| (file["t01000"]["Owner"], file["t01000"]["SectorSize"]) = (json!(1), json!("x")));
        assert_eq!(both.lines().count(), 2, "{both}");
        let other = read(file(ACTOR, &[]).to_string().as_bytes(), MinerId::new(1001)).unwrap_err();
        assert!(other[0].contains("nothing of miner f01001; it has: \"t01000\""), "{other:?}");
        assert!(!problems(|file| file["t01000"]["Sectors"][0]["CommD"] = json!(1)).contains("c2VjcmV0"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_fail(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            prop_assert!(read(&bytes, ACTOR).is_err());
        }

        #[test]
        fn a_file_that_is_cut_or_changed_is_read_or_refused_with_few_words(at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = file(ACTOR, &[0, 1, 2]).to_string().into_bytes();
            let at = at.index(bytes.len());
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Err(problems) = read(&bytes, ACTOR) {
                prop_assert!(!problems.is_empty() && problems.len() <= MOST_PROBLEMS);
            }
        }
    }
}
