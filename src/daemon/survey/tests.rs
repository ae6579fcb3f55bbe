//! A node that answers by script: what is shown of its answers, and how many questions it was asked.

use super::*;
use crate::{
    chain::fake::{Fake, Reply},
    status::{info::Shown, paint::Colour},
    units::Epoch,
};
use serde_json::{Value, json};

const NOW: UnixMillis = UnixMillis::new(1_800_000_000_000);

/// How a node answers about one miner.
#[derive(Clone, Copy)]
struct Scene {
    sectors: u64,
    controls: u64,
    /// Its total power, of which the miner has a quarter.
    power: u128,
    /// Answers only what every node must.
    bare: bool,
}

const FULL: Scene = Scene { sectors: 100_000, controls: 10, power: 1 << 50, bare: false };

fn run(start: u64, length: u64) -> Value {
    json!([start, length])
}

fn answer(scene: Scene, method: &str, params: &Value) -> Option<Value> {
    let Scene { sectors, controls, power, bare } = scene;
    let claim = |power: u128| json!({"RawBytePower": power.to_string(), "QualityAdjPower": power.to_string()});
    let controls: Vec<String> = (0..controls).map(|n| format!("t0200{n}")).collect();
    let due = sectors / 48;
    Some(match method {
        "ChainHead" => json!({"Cids": [{"/": "bafyhead"}], "Height": 42, "Blocks": [{
            "Miner": "t01000", "Parents": null, "ParentWeight": "1", "Height": 42, "Timestamp": 1_799_999_990u64,
            "ParentBaseFee": "100"}]}),
        "StateGetNetworkParams" => json!({"NetworkName": "testnet", "BlockDelaySecs": 30,
            "ConsensusMinerMinPower": "2048", "PreCommitChallengeDelay": 10}),
        "StateMinerInfo" => json!({"Owner": "t01001", "Worker": "t01002", "ControlAddresses": controls,
            "WorkerChangeEpoch": -1, "WindowPoStProofType": 13, "SectorSize": 34_359_738_368u64,
            "WindowPoStPartitionSectors": 2349, "ConsensusFaultElapsed": -1, "Beneficiary": "t01009",
            "BeneficiaryTerm": {"Quota": "10", "UsedQuota": "4", "Expiration": 900},
            "PendingBeneficiaryTerm": {"NewBeneficiary": "t01010", "NewQuota": "1", "NewExpiration": 7,
                "ApprovedByBeneficiary": true, "ApprovedByNominee": false}}),
        "WalletBalance" => json!("5000000000000000000"),
        "StateMinerPower" => {
            json!({"MinerPower": claim(power / 4), "TotalPower": claim(power), "HasMinPower": power > 0})
        }
        "StateMinerSectorCount" => json!({"Live": sectors, "Active": sectors - 2, "Faulty": 1}),
        "StateReadState" if params[0] == "t02" => match bare {
            true => return None,
            false => {
                json!({"Balance": "1", "Code": {"/": "bafycode"}, "State": {"ThisEpochReward": "80000000000000000000",
                "ThisEpochRewardSmoothed": {"PositionEstimate": "1", "VelocityEstimate": "0"}}})
            }
        },
        "StateReadState" => json!({"Balance": "9000000000000000000", "Code": {"/": "bafycode"}, "State": {
            "PreCommitDeposits": "1", "LockedFunds": "3", "FeeDebt": "4", "InitialPledge": "2"}}),
        _ if bare => return None,
        "StateMarketBalance" => json!({"Escrow": "7", "Locked": "6"}),
        "StateMinerProvingDeadline" => json!({"CurrentEpoch": 42, "PeriodStart": -18, "Index": 1,
            "Open": 42, "Close": 102, "Challenge": 22, "FaultCutoff": -28}),
        "StateMinerDeadlines" => {
            let one = json!({"PostSubmissions": [0, 1], "DisputableProofCount": 0, "DailyFee": "10"});
            Value::Array(vec![one; 48])
        }
        "StateMinerPartitions" => json!([
            {"AllSectors": run(0, due), "FaultySectors": run(0, 1), "RecoveringSectors": run(0, 1),
                "LiveSectors": run(0, due), "ActiveSectors": run(1, due - 1)},
            {"AllSectors": run(due, 1), "FaultySectors": [0], "RecoveringSectors": [0], "LiveSectors": [0],
                "ActiveSectors": [0]}]),
        _ => return None,
    })
}

/// What the survey makes of a scene, and how many calls of which methods it took.
async fn surveyed(scene: Scene) -> (InfoReport, Vec<String>) {
    let node = Fake::start(move |asked| match answer(scene, &asked.method, &asked.params) {
        Some(result) => Reply::Result(result),
        None => Reply::Error(1, "actor not found"),
    })
    .await;
    let client = Client::new(vec![node.endpoint()]).unwrap();
    let states = vec![("Proving".to_owned(), scene.sectors)];
    let known = Known { at: NOW, running_since: Some(NOW.plus_ms(-60_000)), miner: MinerId::new(1000), states };
    let report = survey(&client, known).await.unwrap();
    let mut asked: Vec<String> = node.asked().into_iter().map(|asked| asked.method).collect();
    asked.sort_unstable();
    (report, asked)
}

#[tokio::test]
async fn a_hundred_thousand_sectors_are_told_in_fewer_than_twenty_calls_as_few_as_one() {
    let (report, many) = surveyed(FULL).await;
    assert_eq!((report.committed, report.proving, report.faulty), (100_000, 99_999, 1));
    assert!(many.len() < 20, "{} calls: {many:?}", many.len());
    let (_, few) = surveyed(Scene { sectors: 48, ..FULL }).await;
    assert_eq!(many, few, "the number of sectors is not in the calls");
    let (_, alone) = surveyed(Scene { controls: 0, ..FULL }).await;
    assert_eq!(alone.len(), 12, "one control account, one call: {alone:?}");
    assert!(!many.iter().any(|method| method == "StateMinerSectors" || method == "StateMinerActiveSectors"));
}

#[tokio::test]
async fn everything_that_a_node_says_is_shown() {
    let (report, _) = surveyed(FULL).await;
    assert_eq!((report.chain.sync, report.chain.age_secs), (Sync::Ok, 10));
    assert_eq!(report.daily_fee, Some(AttoFil::from_atto(480)));
    assert_eq!((report.controls.len(), report.controls_not_asked), (7, 3));
    // 9 FIL less deposits, vesting, debt and pledge
    assert_eq!(report.funds.available, AttoFil::from_atto(9_000_000_000_000_000_000 - 1 - 3 - 4 - 2));
    assert_eq!(report.funds.locked, AttoFil::from_atto(5));
    let due = Due { partitions: 1, posted: 1, sectors: 2083, faulty: 1, recovering: 1 };
    let deadline = Deadline { index: 1, open: Epoch::new(42), close: Epoch::new(102), due: Some(due) };
    assert_eq!(report.deadline, Some(deadline));
    // a quarter of 80 FIL, 2880 times
    assert_eq!(report.winning.unwrap().reward_per_day, Some(AttoFil::from_atto(57_600_000_000_000_000_000_000)));
    let text = report.render(Shown::default(), Colour::Plain);
    for line in [
        "testnet, epoch 42, sync ok (10 s old), base fee 100 attoFIL",
        "running for 1 min",
        "256 TiB / 1 PiB (25.0000 %)",
        "57600 FIL/day",
        "3 more accounts, not asked about",
        "t01009, had 4 attoFIL of 10 attoFIL, until epoch 900",
        "t01010",
        "4 attoFIL: no blocks are won before it is paid",
        "480 attoFIL/day",
        "1, open, closes in about 30 min (epoch 102)",
        "2083 sectors in 1 partition, 1 proven, 1 faulty, 1 recovering",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
}

#[tokio::test]
async fn a_young_miner_on_a_network_without_power_market_or_deadlines() {
    let (report, _) = surveyed(Scene { sectors: 3, controls: 0, power: 0, bare: true }).await;
    assert_eq!((report.market.clone(), report.deadline.clone(), report.daily_fee), (None, None, None));
    assert_eq!(report.winning, None);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<InfoReport>(&json).unwrap(), report);
    let text = report.render(Shown::default(), Colour::Plain);
    assert!(text.contains("0 B / 0 B (0.0000 %)"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}
