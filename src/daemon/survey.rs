//! The miner on chain, as `seald info` shows it: asked by the daemon for its readers, or by the command line itself when
//! no daemon runs.

use crate::{
    chain::{self, ChainError, Client},
    status::info::{Deadline, FORMAT_VERSION, Funds, InfoReport, Market, Share},
    units::MinerId,
};
use std::future::Future;

/// Asks the chain everything at one tipset, most of it at the same time.
///
/// # Errors
/// The chain cannot be read.
pub async fn survey(client: &Client, miner: MinerId, states: Vec<(String, u64)>) -> Result<InfoReport, ChainError> {
    let head = client.head().await?;
    let owned = async {
        let info = client.miner_info(miner, &head).await?;
        let balance = client.balance(&info.worker).await?;
        Ok((info.sector_size, balance))
    };
    let ((sector_size, worker_balance), power, count, funds, market, deadline) = tokio::try_join!(
        owned,
        client.power(miner, &head),
        client.sector_count(miner, &head),
        client.funds(miner, &head),
        unless_refused(client.market_balance(miner, &head)),
        unless_refused(client.proving_deadline(miner, &head)),
    )?;
    let chain::Funds { balance, pre_commit_deposits, initial_pledge, vesting, fee_debt, available } = funds;
    Ok(InfoReport {
        format_version: FORMAT_VERSION,
        head: head.height,
        miner,
        sector_size,
        byte_power: Share { miner: power.raw, network: power.total_raw },
        adjusted_power: Share { miner: power.quality_adjusted, network: power.total_quality_adjusted },
        has_min_power: power.has_min_power,
        committed: count.live,
        proving: count.active,
        faulty: count.faulty,
        funds: Funds {
            balance,
            precommit: pre_commit_deposits,
            pledge: initial_pledge,
            vesting,
            debt: fee_debt,
            available,
        },
        worker_balance,
        market: market.map(|chain::MarketBalance { escrow, locked }| Market { escrow, locked }),
        states,
        deadline: deadline.map(|chain::ProvingDeadline { index, open, close }| Deadline { index, open, close }),
    })
}

/// What a node may not have an answer to, such as the market of a network without one.
async fn unless_refused<T>(asked: impl Future<Output = Result<T, ChainError>>) -> Result<Option<T>, ChainError> {
    match asked.await {
        Ok(answer) => Ok(Some(answer)),
        Err(ChainError::Refused { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        chain::fake::{Fake, Reply},
        status::paint::Colour,
    };
    use serde_json::json;

    #[tokio::test]
    async fn a_young_miner_on_a_network_without_power_or_market() {
        let node = Fake::start(|asked| match asked.method.as_str() {
            "ChainHead" => Reply::Result(json!({"Cids": [{"/": "bafyhead"}], "Height": 42, "Blocks": [{
                "Miner": "t01000", "Parents": null, "ParentWeight": "1", "Height": 42, "Timestamp": 17,
                "ParentBaseFee": "100"}]})),
            "StateMinerInfo" => Reply::Result(json!({"Owner": "t01001", "Worker": "t01002", "ControlAddresses": null,
                "WorkerChangeEpoch": -1, "WindowPoStProofType": 10, "SectorSize": 2048,
                "WindowPoStPartitionSectors": 2, "ConsensusFaultElapsed": -1})),
            "WalletBalance" => Reply::Result(json!("5000000000000000000")),
            "StateMinerPower" => {
                let none = json!({"RawBytePower": "0", "QualityAdjPower": "0"});
                Reply::Result(json!({"MinerPower": none, "TotalPower": none, "HasMinPower": false}))
            }
            "StateMinerSectorCount" => Reply::Result(json!({"Live": 3, "Active": 2, "Faulty": 1})),
            "StateReadState" => Reply::Result(json!({"Balance": "9000000000000000000", "Code": {"/": "bafycode"},
                "State": {"PreCommitDeposits": "1", "LockedFunds": "0", "FeeDebt": "0", "InitialPledge": "2"}})),
            "StateMinerAvailableBalance" => Reply::Result(json!("8000000000000000000")),
            "StateMinerProvingDeadline" => Reply::Result(json!({"CurrentEpoch": 42, "PeriodStart": -18, "Index": 1,
                "Open": 42, "Close": 102, "Challenge": 22, "FaultCutoff": -28})),
            _ => Reply::Error(1, "actor not found"),
        })
        .await;
        let client = Client::new(vec![node.endpoint()]).unwrap();
        let report = survey(&client, MinerId::new(1000), vec![("Proving".to_owned(), 2)]).await.unwrap();
        assert_eq!((report.committed, report.proving, report.faulty), (3, 2, 1));
        assert_eq!(report.market, None);
        let text = report.render(Colour::Plain);
        assert!(text.contains("0 B / 0 B (0.0000 %)"), "{text}");
        assert!(text.contains("1, open, closes in 60 epochs (epoch 102)"), "{text}");
    }
}
