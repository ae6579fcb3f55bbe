//! Answers as the reference prints them are read, and what is written reads back the same.

use super::*;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::fmt::Debug;

/// Reads `shape` and finds all of it in what is written again, `null` standing for empty and for absent.
fn reads<T: Serialize + DeserializeOwned + PartialEq + Debug>(shape: Value) -> T {
    let value: T = serde_json::from_value(shape).unwrap();
    let written = serde_json::to_value(&value).unwrap();
    assert_eq!(serde_json::from_value::<T>(written).unwrap(), value);
    value
}

/// The same, and the writing is the shape itself.
fn reads_and_writes<T: Serialize + DeserializeOwned + PartialEq + Debug>(shape: Value) -> T {
    let value = reads(shape.clone());
    assert_eq!(serde_json::to_value(&value).unwrap(), shape);
    value
}

fn atto(n: i128) -> AttoFil {
    AttoFil::from_atto(n)
}

#[test]
fn bytes_are_base64_and_null_is_none() {
    assert_eq!(reads_and_writes::<Blob>(json!("QwDoBw==")).0, [0x43, 0, 0xe8, 7]);
    assert_eq!(reads_and_writes::<Blob>(Value::Null), Blob::default());
    assert_eq!(reads::<Blob>(json!("")), Blob::default());
    assert!(serde_json::from_value::<Blob>(json!("not base64!")).is_err());
}

#[test]
fn a_null_key_is_the_empty_one() {
    assert_eq!(reads_and_writes::<TipSetKey>(Value::Null), TipSetKey::default());
    assert_eq!(reads::<TipSetKey>(json!([])), TipSetKey::default());
    assert_eq!(reads_and_writes::<TipSetKey>(json!([{"/": "bafyone"}, {"/": "bafytwo"}])).0[1].cid, "bafytwo");
}

#[test]
fn bit_fields_are_run_lengths() {
    for (runs, ranges) in
        [(json!([5, 1]), vec![(5, 6)]), (json!([0, 3, 5, 2]), vec![(0, 3), (8, 10)]), (json!([0]), vec![])]
    {
        let field = reads_and_writes::<BitField>(runs);
        assert_eq!(field.to_ranges().unwrap(), ranges);
        assert_eq!(BitField::from_ranges(&ranges), field);
    }
    for empty in [json!(null), json!([]), json!([7])] {
        assert_eq!(reads::<BitField>(empty).to_ranges().unwrap(), []);
    }
    assert_eq!(BitField(vec![1, 2, 0, 3]).to_ranges().unwrap(), [(1, 6)], "a run of none joins its neighbours");
    assert_eq!(BitField(vec![1, 2, 0, 3]).count(), Some(5));
    assert_eq!(BitField(vec![1, u64::MAX]).to_ranges(), None);
    assert_eq!(BitField(vec![1, u64::MAX]).count(), None);
}

#[test]
fn a_tipset() {
    let shape = json!({"Cids": [{"/": "bafyhead"}], "Height": 4_863_283, "Blocks": [{
        "Miner": "t01000", "Ticket": {"VRFProof": "AAAA"}, "ElectionProof": {"WinCount": 1, "VRFProof": "AAAA"},
        "BeaconEntries": [{"Round": 17_133_822, "Data": "AAAA"}], "WinPoStProof": [{"PoStProof": 3, "ProofBytes": "AA=="}],
        "Parents": [{"/": "bafyparent"}], "ParentWeight": "116013147118", "Height": 4_863_283,
        "ParentStateRoot": {"/": "bafystate"}, "ParentMessageReceipts": {"/": "bafyreceipts"},
        "Messages": {"/": "bafymessages"}, "BLSAggregate": {"Type": 2, "Data": "AAAA"}, "Timestamp": 1_744_204_890,
        "BlockSig": {"Type": 2, "Data": "AAAA"}, "ForkSignaling": 0, "ParentBaseFee": "20592036"}]});
    let tipset = reads::<TipSet>(shape);
    assert_eq!(tipset.blocks[0].parent_base_fee, atto(20_592_036));
    assert_eq!(tipset.blocks[0].timestamp, 1_744_204_890);
}

#[test]
fn a_message_and_how_to_send_it() {
    let message = reads_and_writes::<Message>(json!({
        "Version": 0, "To": "t01000", "From": "t3w", "Nonce": 0, "Value": "1000000000000000000", "GasLimit": 0,
        "GasFeeCap": "0", "GasPremium": "0", "Method": 28, "Params": "QwDoBw==", "CID": {"/": "bafy2b"}}));
    assert_eq!((message.method, message.value), (28, atto(1_000_000_000_000_000_000)));
    // what a caller may leave out
    let bare = reads::<Message>(json!({"To": "t01000", "From": "t3w", "Params": null}));
    assert_eq!((bare.value, bare.params, bare.cid), (AttoFil::ZERO, Blob::default(), None));
    let spec = reads_and_writes::<MessageSendSpec>(json!({
        "MaxFee": "50000000000000000", "MsgUuid": "76081ba0-61bd-45a5-bc08-af05f1c26e5d", "MaximizeFeeCap": false}));
    assert_eq!(spec.max_fee, atto(50_000_000_000_000_000));
    let signed = reads_and_writes::<SignedMessage>(json!({
        "Message": message, "Signature": {"Type": 2, "Data": "AAAA"}, "CID": {"/": "bafy2signed"}}));
    assert_eq!(signed.signature.r#type, 2);
}

#[test]
fn a_message_lookup() {
    let found = reads::<MsgLookup>(json!({
        "Message": {"/": "bafy2b"}, "ReturnDec": {"any": ["thing"]}, "TipSet": [{"/": "bafychild"}], "Height": 12_346,
        "Receipt": {"ExitCode": 16, "Return": null, "GasUsed": 12_345, "EventsRoot": null}}));
    assert_eq!((found.receipt.exit_code, found.receipt.r#return), (16, Blob::default()));
}

#[test]
fn a_miner() {
    let shape = json!({
        "Owner": "t01001", "Worker": "t01002", "NewWorker": "<empty>", "ControlAddresses": null,
        "WorkerChangeEpoch": -1, "PeerId": null, "Multiaddrs": null, "WindowPoStProofType": 10, "SectorSize": 2048,
        "WindowPoStPartitionSectors": 2, "ConsensusFaultElapsed": -1, "Beneficiary": "t01001",
        "BeneficiaryTerm": null, "PendingBeneficiaryTerm": null});
    assert_eq!(reads_and_writes::<MinerInfo>(shape.clone()).control_addresses, Vec::<String>::new());
    let mut full = shape;
    full["ControlAddresses"] = json!(["t01003"]);
    full["PeerId"] = json!("12D3Koo");
    full["Multiaddrs"] = json!(["BH8AAAEGBFE="]);
    full["PendingOwnerAddress"] = Value::Null;
    full["BeneficiaryTerm"] = json!({"Quota": "9", "UsedQuota": "2", "Expiration": -1});
    full["PendingBeneficiaryTerm"] = json!({"NewBeneficiary": "t01005", "NewQuota": "0", "NewExpiration": 8,
        "ApprovedByBeneficiary": true, "ApprovedByNominee": false});
    let miner = reads::<MinerInfo>(full);
    assert_eq!(miner.control_addresses, ["t01003"]);
    assert_eq!(miner.multiaddrs[0].0.len(), 8);
    assert_eq!(miner.beneficiary_term.unwrap().used_quota, atto(2));
    assert_eq!(miner.pending_beneficiary_term.unwrap().new_beneficiary, "t01005");
}

#[test]
fn what_is_proven_and_when_it_ends() {
    let deadline = reads_and_writes::<Deadline>(
        json!({"PostSubmissions": [0, 2], "DisputableProofCount": 1, "DailyFee": "1234567890123456789012"}),
    );
    assert_eq!(deadline.post_submissions.count(), Some(2));
    assert_eq!(deadline.daily_fee, atto(1_234_567_890_123_456_789_012), "more than 64 bits hold");
    let before_fees = reads::<Deadline>(json!({"PostSubmissions": [0], "DisputableProofCount": 0}));
    assert_eq!((before_fees.post_submissions.count(), before_fees.daily_fee), (Some(0), AttoFil::ZERO));
    let partition = reads_and_writes::<Partition>(json!({"AllSectors": [0, 4], "FaultySectors": [1, 1],
        "RecoveringSectors": [0], "LiveSectors": [0, 3], "ActiveSectors": [0, 1, 1, 1]}));
    assert_eq!(partition.active_sectors.to_ranges().unwrap(), [(0, 1), (2, 3)]);
    reads_and_writes::<SectorExpiration>(json!({"OnTime": 5_000_000, "Early": 0}));
    reads_and_writes::<SectorLocation>(json!({"Deadline": 47, "Partition": 3}));
    let window = reads::<ProvingDeadline>(json!({"CurrentEpoch": 42, "PeriodStart": -18, "Index": 0, "Open": -18,
        "Close": 42, "Challenge": -38, "FaultCutoff": -88, "WPoStPeriodDeadlines": 48, "WPoStProvingPeriod": 2880,
        "WPoStChallengeWindow": 60, "WPoStChallengeLookback": 20, "FaultDeclarationCutoff": 70}));
    assert_eq!((window.open, window.close), (-18, 42), "a young network has negative epochs");
}

/// What Go leaves out, writes as `null`, or writes larger than a float holds, by the method that answers it.
#[test]
fn lists_that_were_never_filled_are_null() {
    fn none<T: DeserializeOwned>() -> usize {
        serde_json::from_value::<Option<Vec<T>>>(Value::Null).unwrap().unwrap_or_default().len()
    }
    let all = [
        ("StateMinerSectors", none::<SectorOnChainInfo>()),
        ("StateMinerDeadlines", none::<Deadline>()),
        ("StateMinerPartitions", none::<Partition>()),
        ("MpoolPending", none::<SignedMessage>()),
    ];
    assert!(all.iter().all(|(_, found)| *found == 0), "{all:?}");
    let tipset = reads::<TipSet>(json!({"Cids": null, "Blocks": null, "Height": 0}));
    assert_eq!((tipset.cids, tipset.blocks), (TipSetKey::default(), vec![]));
}

#[test]
fn numbers_that_a_float_does_not_hold() {
    let sector = |number: u64| {
        json!({"SectorNumber": number, "SealProof": 5, "SealedCID": {"/": "bagboea4b5abc"}, "Activation": -1,
            "Expiration": 20, "DealWeight": "340282366920938463463374607431768211455", "VerifiedDealWeight": "0",
            "InitialPledge": "-1", "PowerBaseEpoch": -1, "Flags": 1, "DailyFee": "0"})
    };
    for number in [(1 << 53) + 1, u64::MAX >> 1] {
        let read = reads_and_writes::<SectorOnChainInfo>(sector(number));
        assert_eq!((read.sector_number, read.deal_weight, read.initial_pledge), (number, u128::MAX, atto(-1)));
    }
    let amounts = ["0", "-7", "170141183460469231731687303715884105727"];
    for amount in amounts {
        reads_and_writes::<AttoFil>(json!(amount));
    }
    for wrong in [json!(1), json!("1.5"), json!("0x10"), json!(""), json!(null)] {
        assert!(serde_json::from_value::<AttoFil>(wrong.clone()).is_err(), "{wrong}");
    }
}

#[test]
fn sectors() {
    let precommit = reads_and_writes::<SectorPreCommitOnChainInfo>(json!({
        "Info": {"SealProof": 5, "SectorNumber": 7, "SealedCID": {"/": "bagboea4b5abc"}, "SealRandEpoch": -850,
            "DealIDs": null, "Expiration": 1_500_000, "UnsealedCid": null},
        "PreCommitDeposit": "12", "PreCommitEpoch": 1234}));
    assert_eq!((precommit.pre_commit_epoch, precommit.info.seal_rand_epoch), (1234, -850));
    let sector = reads::<SectorOnChainInfo>(json!({
        "SectorNumber": 9_223_372_036_854_775_807u64, "SealProof": 5, "SealedCID": {"/": "bagboea4b5abc"},
        "Activation": 10, "Expiration": 20, "DealWeight": "0", "VerifiedDealWeight": "0", "InitialPledge": "77",
        "ExpectedDayReward": null, "ExpectedStoragePledge": null, "PowerBaseEpoch": 10, "ReplacedDayReward": null,
        "SectorKeyCID": null, "Flags": 1, "DailyFee": "3"}));
    assert_eq!(sector.sector_number, i64::MAX.unsigned_abs());
    assert_eq!((sector.initial_pledge, sector.daily_fee), (atto(77), atto(3)));
}

#[test]
fn network_power_and_funds() {
    let network = reads::<NetworkParams>(json!({
        "NetworkName": "localnet", "BlockDelaySecs": 4, "ConsensusMinerMinPower": "2048",
        "PreCommitChallengeDelay": 10, "ForkUpgradeParams": {"UpgradeXxHeight": 200}, "Eip155ChainID": 31_415_926,
        "GenesisTimestamp": 1_690_000_000}));
    assert_eq!((network.consensus_miner_min_power, network.pre_commit_challenge_delay), (2048, 10));
    let power = reads_and_writes::<MinerPower>(json!({
        "MinerPower": {"RawBytePower": "0", "QualityAdjPower": "0"}, "HasMinPower": false,
        "TotalPower": {"RawBytePower": "20000000000000000000", "QualityAdjPower": "200000000000000000000"}}));
    assert_eq!(power.total_power.quality_adj_power, 200_000_000_000_000_000_000, "more than 64 bits hold");
    reads_and_writes::<MinerSectors>(json!({"Live": 3, "Active": 2, "Faulty": 1}));
    reads_and_writes::<MarketBalance>(json!({"Escrow": "5", "Locked": "1"}));
    let state = reads::<ActorState<MinerState>>(json!({"Balance": "9", "Code": {"/": "bafk"}, "State": {
        "Info": {"/": "bafy"}, "PreCommitDeposits": "1", "LockedFunds": "2", "FeeDebt": "3", "InitialPledge": "4"}}));
    assert_eq!((state.balance, state.state.initial_pledge), (atto(9), atto(4)));
    let reward = reads::<ActorState<RewardState>>(json!({"Balance": "1", "Code": {"/": "bafk"}, "State": {
        "CumsumBaseline": "9", "EffectiveNetworkTime": 1, "ThisEpochReward": "80000000000000000000",
        "ThisEpochRewardSmoothed": {"PositionEstimate": "1", "VelocityEstimate": "-1"}}}));
    assert_eq!(reward.state.this_epoch_reward, atto(80_000_000_000_000_000_000));
    reads::<Version>(json!({"Version": "v1.36.2", "APIVersion": 131_840, "BlockDelay": 4, "Agent": "lotus"}));
}

#[test]
fn requests_and_responses() {
    reads_and_writes::<Request<Vec<Value>>>(
        json!({"jsonrpc": "2.0", "id": 7, "method": "Filecoin.StateNetworkVersion", "params": [[]]}),
    );
    assert_eq!(reads_and_writes::<Response<u32>>(json!({"jsonrpc": "2.0", "id": 7, "result": 28})).result, Some(28));
    let refused = reads_and_writes::<Response<u32>>(
        json!({"jsonrpc": "2.0", "id": 7, "error": {"code": 3, "message": "message execution failed"}}),
    );
    assert_eq!(refused.error.unwrap().code, 3);
    let null: Response<Option<u32>> = serde_json::from_value(json!({"id": 7, "result": null})).unwrap();
    assert_eq!(null.result, Some(None), "an answer");
    let none: Response<Option<u32>> = serde_json::from_value(json!({"id": 7})).unwrap();
    assert_eq!(none.result, None, "no answer");
}
