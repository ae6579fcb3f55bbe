//! What the chain says of sectors, for who lists them or looks at one: asked by the daemon for its readers, or by the command
//! line itself when no daemon runs.

use crate::{
    chain::{self, ChainError, Client},
    error::Chain,
    status::sectors::{List, OnChain, Standings, Terms},
    units::{MinerId, SectorNumber},
};
use std::collections::BTreeSet;

/// Whom to ask about which miner, or why nobody can be asked.
pub type Whom = Result<(Client, MinerId), String>;

/// The list with what the chain says of its sectors. A chain that is away keeps nobody from the rest of it.
pub async fn with_chain(list: List, whom: Whom) -> List {
    let found = match whom {
        Ok((client, miner)) => {
            standings(&client, miner, &list.numbers()).await.map_err(|error| Chain(&error).to_string())
        }
        Err(why) => Err(why),
    };
    list.with(found)
}

/// Three calls for up to ten thousand sectors; for more, one for each ten thousand and one for each deadline.
async fn standings(client: &Client, miner: MinerId, numbers: &BTreeSet<SectorNumber>) -> Result<Standings, ChainError> {
    let head = client.head().await?;
    let expirations = client.expirations(miner, numbers, &head).await?;
    let active = match expirations.len() {
        0 => BTreeSet::new(),
        found => client.active_sectors(miner, found, &head).await?,
    };
    Ok(Standings { head: head.height, expirations, active })
}

/// What the chain says of one sector: four calls.
///
/// # Errors
/// The chain cannot be read.
pub async fn on_chain(client: &Client, miner: MinerId, number: SectorNumber) -> Result<OnChain, ChainError> {
    let head = client.head().await?;
    let Some(found) = client.sector_terms(miner, number, &head).await? else {
        return Ok(OnChain { head: head.height, terms: None });
    };
    let ends = async {
        match client.ends(miner, number, &head).await {
            Ok(ends) => Ok(Some(ends)),
            // a node that has no such method, or compacted what it would look into
            Err(ChainError::Refused { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    };
    let (ends, place) = tokio::try_join!(ends, client.sector_location(miner, number, &head))?;
    let chain::SectorTerms { seal_proof, activation, expiration, deal_weight, verified_deal_weight, .. } = found;
    let terms = Terms {
        seal_proof,
        activation,
        expiration,
        deal_weight,
        verified_deal_weight,
        initial_pledge: found.pledge,
        power_base: found.power_base,
        daily_fee: found.daily_fee,
        on_time: ends.map(|ends| ends.on_time),
        early: ends.and_then(|ends| ends.early),
        deadline: place.map(|place| place.deadline),
        partition: place.map(|place| place.partition),
    };
    Ok(OnChain { head: head.height, terms: Some(terms) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::{
            cids,
            fake::{Fake, Reply},
        },
        sector::Record,
        status::sectors::Choice,
        units::{AttoFil, Epoch, Hash32, SectorSize, UnixMillis},
    };
    use serde_json::{Value, json};

    fn number(n: u64) -> SectorNumber {
        SectorNumber::try_from(n).unwrap()
    }

    fn sector(n: u64) -> Value {
        json!({"SectorNumber": n, "SealProof": 5, "SealedCID": {"/": cids::sealed(Hash32([7; 32])).to_string()},
            "Activation": 10, "Expiration": 500, "DealWeight": "0", "VerifiedDealWeight": "0", "InitialPledge": "77",
            "PowerBaseEpoch": 10, "Flags": 1, "DailyFee": "3"})
    }

    /// A chain with the sectors 1 and 2, of which 2 is faulty.
    async fn chain() -> (Fake, Client) {
        let node = Fake::start(|asked| match asked.method.as_str() {
            "ChainHead" => Reply::Result(json!({"Cids": [{"/": "bafyhead"}], "Height": 42, "Blocks": [{
                "Miner": "t01000", "Parents": null, "ParentWeight": "1", "Height": 42, "Timestamp": 17,
                "ParentBaseFee": "100"}]})),
            "StateMinerSectors" => Reply::Result(json!([sector(1), sector(2)])),
            "StateMinerActiveSectors" => Reply::Result(json!([sector(1)])),
            "StateSectorGetInfo" if asked.params[1] == 2 => Reply::Result(sector(2)),
            "StateSectorGetInfo" => Reply::Result(Value::Null),
            "StateSectorExpiration" => Reply::Result(json!({"OnTime": 500, "Early": 90})),
            "StateSectorPartition" => Reply::Result(json!({"Deadline": 17, "Partition": 0})),
            _ => Reply::Error(1, "not asked for"),
        })
        .await;
        let client = Client::new(vec![node.endpoint()]).unwrap();
        (node, client)
    }

    fn list(numbers: impl Iterator<Item = u64>) -> List {
        let record = |n| {
            let (proof, repo) = (SectorSize::KiB2.seal_proof(), "disk".parse().unwrap());
            Record::new(number(n), proof, repo, UnixMillis::new(0))
        };
        List::new(&numbers.map(record).collect::<Vec<_>>(), vec![], &Choice::default(), None)
    }

    #[tokio::test]
    async fn a_list_says_what_the_chain_has_and_counts() {
        let (node, client) = chain().await;
        let told = with_chain(list(1..=3), Ok((client, MinerId::new(1000)))).await;
        let rows: Vec<_> = told.sectors.iter().map(|row| (row.on_chain, row.active, row.expiration)).collect();
        let ends = Some(Epoch::new(500));
        assert_eq!(
            rows,
            [(Some(true), Some(true), ends), (Some(true), Some(false), ends), (Some(false), Some(false), None)]
        );
        assert_eq!((told.head, told.unknown, node.asked().len()), (Some(Epoch::new(42)), None, 3));
    }

    #[tokio::test]
    async fn a_chain_that_is_away_keeps_nobody_from_the_list() {
        let node = Fake::start(|_| Reply::Error(1, "the node is starting")).await;
        let client = Client::new(vec![node.endpoint()]).unwrap();
        for whom in [Ok((client, MinerId::new(1000))), Err("the node is starting".to_owned())] {
            let told = with_chain(list(1..=1), whom).await;
            assert_eq!((told.sectors[0].on_chain, told.head), (None, None));
            assert!(told.unknown.unwrap().contains("the node is starting"));
        }
    }

    #[tokio::test]
    async fn one_sector_is_told_in_four_calls_however_many_there_are() {
        let (node, client) = chain().await;
        let found = on_chain(&client, MinerId::new(1000), number(2)).await.unwrap();
        let terms = found.terms.unwrap();
        assert_eq!((terms.on_time, terms.early), (Some(Epoch::new(500)), Some(Epoch::new(90))));
        assert_eq!(
            (terms.deadline, terms.partition, terms.initial_pledge),
            (Some(17), Some(0), AttoFil::from_atto(77))
        );
        assert_eq!(node.asked().len(), 4);
        let none = on_chain(&client, MinerId::new(1000), number(3)).await.unwrap();
        assert_eq!(none, OnChain { head: Epoch::new(42), terms: None });
    }
}
