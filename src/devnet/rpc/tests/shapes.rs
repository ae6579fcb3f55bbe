//! The fields of each answer are those that Lotus has, by their Go names: none missing that some client reads, and none that
//! no real node would give.

use super::*;

/// Of each method with its parameters: the names of the answer's fields, or of its first element's, those inside of others
/// after a dot.
const SHAPES: &[(&str, &str)] = &[
    (
        "StateMinerInfo",
        "Owner Worker NewWorker ControlAddresses WorkerChangeEpoch PeerId Multiaddrs WindowPoStProofType SectorSize \
         WindowPoStPartitionSectors ConsensusFaultElapsed PendingOwnerAddress Beneficiary BeneficiaryTerm.Quota \
         BeneficiaryTerm.UsedQuota BeneficiaryTerm.Expiration PendingBeneficiaryTerm",
    ),
    (
        "StateMinerPower",
        "MinerPower.RawBytePower MinerPower.QualityAdjPower TotalPower.RawBytePower TotalPower.QualityAdjPower HasMinPower",
    ),
    ("StateMinerSectorCount", "Live Active Faulty"),
    ("StateMinerDeadlines", "PostSubmissions DisputableProofCount DailyFee"),
    (
        "StateMinerActiveSectors",
        "SectorNumber SealProof SealedCID./ Activation Expiration DealWeight VerifiedDealWeight InitialPledge \
         ExpectedDayReward ExpectedStoragePledge PowerBaseEpoch ReplacedDayReward SectorKeyCID Flags DailyFee",
    ),
    (
        "StateMinerProvingDeadline",
        "CurrentEpoch PeriodStart Index Open Close Challenge FaultCutoff WPoStPeriodDeadlines WPoStProvingPeriod \
         WPoStChallengeWindow WPoStChallengeLookback FaultDeclarationCutoff",
    ),
    ("StateMarketBalance", "Escrow Locked"),
];

/// The same of methods that take a sector or a deadline between miner and tipset.
const SHAPES_OF_SECTOR: &[(&str, &str)] = &[
    ("StateMinerPartitions", "AllSectors FaultySectors RecoveringSectors LiveSectors ActiveSectors"),
    ("StateSectorPartition", "Deadline Partition"),
    ("StateSectorExpiration", "OnTime Early"),
    (
        "StateSectorGetInfo",
        "SectorNumber SealProof SealedCID./ Activation Expiration DealWeight VerifiedDealWeight InitialPledge \
         ExpectedDayReward ExpectedStoragePledge PowerBaseEpoch ReplacedDayReward SectorKeyCID Flags DailyFee",
    ),
    (
        "StateSectorPreCommitInfo",
        "Info.SealProof Info.SectorNumber Info.SealedCID./ Info.SealRandEpoch Info.DealIDs Info.Expiration \
         Info.UnsealedCid PreCommitDeposit PreCommitEpoch",
    ),
];

fn fields(value: &Value, within: &str) -> Vec<String> {
    match value {
        Value::Object(object) => {
            let inner = |(name, value): (&String, &Value)| {
                let name = if within.is_empty() { name.clone() } else { format!("{within}.{name}") };
                if value.is_object() { fields(value, &name) } else { vec![name] }
            };
            object.iter().flat_map(inner).collect()
        }
        Value::Array(list) => fields(&list[0], within),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("{within} is no object: {value}"),
    }
}

fn check(method: &str, wanted: &str, answer: &Value) {
    let mut found = fields(answer, "");
    let mut wanted: Vec<&str> = wanted.split_whitespace().collect();
    found.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(found, wanted, "{method}");
}

#[tokio::test]
async fn answers_about_a_miner_have_lotus_fields() {
    let dir = tempfile::tempdir().unwrap();
    let (client, _tasks) = devnet(dir.path()).await;
    let miner = with_miner(&client).await;
    let sectors = [0, 1].map(|number| capacity(&client.chain(), number)).into();
    client.send(&miner, 0, method::PRE_COMMIT_SECTOR_BATCH2, &pre_commit_params(sectors)).await;
    client.mine(10).await;
    let params = fvm_ipld_encoding::to_vec(&prove_params(&[(0, proof(&client.chain(), 1001, 0))], true)).unwrap();
    client.send(&miner, 0, method::PROVE_COMMIT_SECTORS3, &params).await;

    for (method, wanted) in SHAPES {
        check(method, wanted, &client.ask(method, json!([miner, []])).await);
    }
    let place: wire::SectorLocation = client.ask("StateSectorPartition", json!([miner, 0, []])).await;
    for (method, wanted) in SHAPES_OF_SECTOR {
        let about = match *method {
            "StateMinerPartitions" => place.deadline,
            "StateSectorPreCommitInfo" => 1,
            _ => 0,
        };
        check(method, wanted, &client.ask(method, json!([miner, about, []])).await);
    }
}
