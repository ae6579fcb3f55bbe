//! Each question of the client against a scripted node: what is asked, and what is made of the answer.

use super::*;
use crate::{
    chain::{
        Executed, Fate, Gas, Message, cids,
        fake::{Asked, Fake, Reply},
        params,
    },
    sector::MessageId,
    units::{SectorNumber, SectorSize},
};
use fvm_shared::address::Address;
use serde_json::{Value, json};
use std::time::Duration;

const MINER: MinerId = MinerId::new(1000);
const COMM_R: Hash32 = Hash32([9; 32]);

/// Answers every call of one method, and fails the test that makes another.
async fn node(method: &'static str, result: Value) -> (Fake, Client) {
    script(move |asked| {
        assert_eq!(asked.method, method);
        Reply::Result(result.clone())
    })
    .await
}

async fn script(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> (Fake, Client) {
    let node = Fake::start(script).await;
    let limits = Limits { back_off: Duration::from_millis(1), ..Limits::default() };
    let client = Client::with_limits(vec![node.endpoint()], limits).unwrap();
    (node, client)
}

fn head() -> TipSet {
    TipSet { key: vec!["bafyhead".to_owned()], height: Epoch::new(950), timestamp: 0, base_fee: AttoFil::ZERO }
}

fn key_json() -> Value {
    json!([{"/": "bafyhead"}])
}

fn number(n: u64) -> SectorNumber {
    SectorNumber::try_from(n).unwrap()
}

fn tipset_json(height: i64) -> Value {
    json!({"Cids": [{"/": "bafyhead"}], "Height": height, "Blocks": [{
        "Miner": "t01000", "Parents": null, "ParentWeight": "1", "Height": height, "Timestamp": 17,
        "ParentBaseFee": "100"}]})
}

fn sector_json(n: u64) -> Value {
    json!({"SectorNumber": n, "SealProof": 5, "SealedCID": {"/": cids::sealed(COMM_R).to_string()}, "Activation": 10,
        "Expiration": 20, "InitialPledge": "77", "ExpectedDayReward": null, "DailyFee": "3"})
}

fn message() -> Message {
    Message {
        from: "t01002".to_owned(),
        to: "t01000".to_owned(),
        value: AttoFil::from_atto(5),
        method: 28,
        params: vec![1, 2, 3],
    }
}

#[tokio::test]
async fn the_head_is_a_key_a_height_and_a_base_fee() {
    let (node, client) = node("ChainHead", tipset_json(950)).await;
    let wanted = TipSet { timestamp: 17, base_fee: AttoFil::from_atto(100), ..head() };
    assert_eq!(client.head().await.unwrap(), wanted);
    assert_eq!(node.asked()[0].params, json!([]));
}

#[tokio::test]
async fn a_tipset_without_blocks_is_malformed() {
    let (_node, client) = node("ChainHead", json!({"Cids": null, "Blocks": null, "Height": 0})).await;
    assert!(matches!(client.head().await, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn finality_is_the_nodes_or_900_epochs() {
    let (_node, client) = node("ChainGetFinalizedTipSet", tipset_json(940)).await;
    assert_eq!(client.finalized().await.unwrap(), Epoch::new(940));
    let (_node, client) = script(|asked| match asked.method.as_str() {
        "ChainHead" => Reply::Result(tipset_json(950)),
        _ => Reply::Error(-32601, "method not found"),
    })
    .await;
    assert_eq!(client.finalized().await.unwrap(), Epoch::new(50));
}

#[tokio::test]
async fn version_and_network() {
    let answer = json!({"Version": "v1.36.2", "APIVersion": 131_840, "BlockDelay": 4, "Agent": "lotus"});
    let (_node, client) = node("Version", answer).await;
    assert_eq!(client.version().await.unwrap(), "lotus v1.36.2");
    let (node, client) = node("StateNetworkVersion", json!(28)).await;
    assert_eq!(client.network_version().await.unwrap(), 28);
    assert_eq!(node.asked()[0].params, json!([null]), "null is the head");
}

// matrix: C10
#[tokio::test]
async fn randomness_has_its_tag_and_the_miner_as_entropy() {
    use base64::Engine as _;
    let drawn = base64::engine::general_purpose::STANDARD.encode([7; 32]);
    let (node, client) = script(move |_| Reply::Result(json!(drawn))).await;
    assert_eq!(client.ticket(MINER, Epoch::new(-890), &head()).await.unwrap(), Hash32([7; 32]));
    assert_eq!(client.seed(MINER, Epoch::new(60), &head()).await.unwrap(), Hash32([7; 32]));
    let asked: Vec<_> = node.asked().into_iter().map(|asked| (asked.method, asked.params)).collect();
    assert_eq!(
        asked,
        [
            ("StateGetRandomnessFromTickets".to_owned(), json!([5, -890, "QwDoBw==", key_json()])),
            ("StateGetRandomnessFromBeacon".to_owned(), json!([6, 60, "QwDoBw==", key_json()])),
        ]
    );
    let (_node, client) = script(|_| Reply::Result(json!("AAAA"))).await;
    assert!(matches!(client.ticket(MINER, Epoch::new(1), &head()).await, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn a_miner_without_controls_and_of_known_size() {
    let answer = |size: u64| {
        json!({"Owner": "t01001", "Worker": "t01002", "ControlAddresses": null, "WorkerChangeEpoch": -1,
            "WindowPoStProofType": 10, "SectorSize": size, "WindowPoStPartitionSectors": 2,
            "ConsensusFaultElapsed": -1})
    };
    let (node_, client) = node("StateMinerInfo", answer(2048)).await;
    let miner = client.miner_info(MINER, &head()).await.unwrap();
    assert_eq!((miner.control, miner.sector_size, miner.window_post_proof), (vec![], SectorSize::KiB2, 10));
    assert_eq!(node_.asked()[0].params, json!(["t01000", key_json()]));
    let (_node, client) = node("StateMinerInfo", answer(1000)).await;
    assert!(matches!(client.miner_info(MINER, &head()).await, Err(ChainError::Malformed { .. })));
}

#[tokio::test]
async fn a_pre_commit_is_there_or_not() {
    let (node_, client) = node("StateSectorPreCommitInfo", Value::Null).await;
    assert_eq!(client.precommit(MINER, number(7), &head()).await.unwrap(), None);
    assert_eq!(node_.asked()[0].params, json!(["t01000", 7, key_json()]));
    let answer = json!({"Info": {"SealProof": 5, "SectorNumber": 7, "SealRandEpoch": -850, "DealIDs": null,
        "SealedCID": {"/": cids::sealed(COMM_R).to_string()}, "Expiration": 1_500_000, "UnsealedCid": null},
        "PreCommitDeposit": "12", "PreCommitEpoch": 1234});
    let (_node, client) = node("StateSectorPreCommitInfo", answer).await;
    let found = client.precommit(MINER, number(7), &head()).await.unwrap().unwrap();
    assert_eq!((found.epoch, found.ticket_epoch, found.comm_r), (Epoch::new(1234), Epoch::new(-850), COMM_R));
}

#[tokio::test]
async fn sectors_one_none_and_all() {
    let (_node, client) = node("StateSectorGetInfo", sector_json(7)).await;
    let found = client.sector(MINER, number(7), &head()).await.unwrap().unwrap();
    assert_eq!((found.number, found.pledge), (number(7), AttoFil::from_atto(77)));
    let (_node, client) = node("StateSectorGetInfo", Value::Null).await;
    assert_eq!(client.sector(MINER, number(7), &head()).await.unwrap(), None);
    let (node_, client) = node("StateMinerSectors", json!([sector_json(1), sector_json(3)])).await;
    let ends = client.expirations(MINER, &[1, 2, 3, 7].map(number).into(), &head()).await.unwrap();
    assert_eq!(ends.keys().copied().collect::<Vec<_>>(), [1, 3].map(number));
    assert_eq!(node_.asked()[0].params, json!(["t01000", [1, 3, 3, 1], key_json()]));
    let (node_, client) = node("StateMinerActiveSectors", json!([sector_json(3)])).await;
    assert_eq!(client.active_sectors(MINER, 2, &head()).await.unwrap(), [number(3)].into());
    assert_eq!(node_.asked()[0].params, json!(["t01000", key_json()]));
    for method in ["StateMinerSectors", "StateMinerActiveSectors"] {
        let (_node, client) = node(method, Value::Null).await;
        let none = match method {
            "StateMinerSectors" => client.expirations(MINER, &[number(1)].into(), &head()).await.unwrap().len(),
            _ => client.active_sectors(MINER, 2, &head()).await.unwrap().len(),
        };
        assert_eq!(none, 0, "{method}");
    }
}

#[tokio::test]
async fn many_sectors_are_asked_about_in_a_few_calls() {
    let (node_, client) = node("StateMinerSectors", Value::Null).await;
    let numbers = (1..=25_000).map(number).collect();
    assert!(client.expirations(MINER, &numbers, &head()).await.unwrap().is_empty());
    let filters: Vec<Value> = node_.asked().iter().map(|asked| asked.params[1].clone()).collect();
    assert_eq!(filters, [json!([1, 10_000]), json!([10_001, 10_000]), json!([20_001, 5_000])]);
    assert!(client.expirations(MINER, &[].into(), &head()).await.unwrap().is_empty());
    assert_eq!(node_.asked().len(), 3, "nothing is asked about nothing");

    let of = |active: Value| {
        json!([{"AllSectors": active, "FaultySectors": [0], "RecoveringSectors": [0], "LiveSectors": active,
            "ActiveSectors": active}])
    };
    let (node_, client) = script(move |asked| match asked.params[1].as_u64() {
        Some(deadline @ 0..3) => Reply::Result(of(json!([deadline * 2000, 2000]))),
        _ => Reply::Result(Value::Null),
    })
    .await;
    let active = client.active_sectors(MINER, 25_000, &head()).await.unwrap();
    assert_eq!((active.len(), active.first(), active.last()), (6000, Some(&number(0)), Some(&number(5999))));
    let mut deadlines: Vec<u64> = node_.asked().iter().filter_map(|asked| asked.params[1].as_u64()).collect();
    deadlines.sort_unstable();
    assert_eq!(deadlines, (0..48).collect::<Vec<_>>());
    let (_node, client) = node("StateMinerPartitions", of(json!([0, 1_000_000_000]))).await;
    let wrong = client.active_sectors(MINER, 25_000, &head()).await;
    assert!(matches!(wrong, Err(ChainError::Malformed { .. })), "{wrong:?}");
}

#[tokio::test]
async fn what_is_due_is_counted_and_not_listed() {
    let deadline =
        |posted: Value, fee: &str| json!({"PostSubmissions": posted, "DisputableProofCount": 1, "DailyFee": fee});
    let (_node, client) =
        node("StateMinerDeadlines", json!([deadline(json!([0]), "0"), deadline(json!([0, 2]), "7")])).await;
    let found = client.deadlines(MINER, &head()).await.unwrap();
    let told: Vec<_> = found.iter().map(|deadline| (deadline.posted, deadline.daily_fee.as_atto())).collect();
    assert_eq!(told, [(0, 0), (2, 7)]);
    let partition = json!({"AllSectors": [0, 4], "FaultySectors": [1, 2], "RecoveringSectors": [1, 1],
        "LiveSectors": [0, 3], "ActiveSectors": [0, 1]});
    let (node_, client) = node("StateMinerPartitions", json!([partition])).await;
    let found = client.partitions(MINER, 7, &head()).await.unwrap();
    assert_eq!(node_.asked()[0].params, json!(["t01000", 7, key_json()]));
    assert_eq!((found[0].live, found[0].faulty, found[0].recovering), (3, 2, 1));
    let (_node, client) = node("StateMinerPartitions", Value::Null).await;
    assert_eq!(client.partitions(MINER, 7, &head()).await.unwrap(), []);
}

#[tokio::test]
async fn a_sector_that_is_faulty_ends_before_its_time() {
    for (early, expected) in [(0, None), (90, Some(Epoch::new(90)))] {
        let (_node, client) = node("StateSectorExpiration", json!({"OnTime": 100, "Early": early})).await;
        let ends = client.ends(MINER, number(7), &head()).await.unwrap();
        assert_eq!((ends.on_time, ends.early), (Epoch::new(100), expected));
    }
    let (_node, client) = node("StateSectorGetInfo", Value::Null).await;
    assert_eq!(client.sector_terms(MINER, number(7), &head()).await.unwrap(), None);
    let (_node, client) = node("StateSectorGetInfo", sector_json(7)).await;
    let terms = client.sector_terms(MINER, number(7), &head()).await.unwrap().unwrap();
    assert_eq!((terms.pledge, terms.seal_proof, terms.deal_weight), (AttoFil::from_atto(77), 5, 0));
}

#[tokio::test]
async fn numbers_used_and_faulty() {
    let (_node, client) = node("StateMinerAllocated", json!([0, 3, 5, 2])).await;
    let allocated = client.allocated(MINER, &head()).await.unwrap();
    let contained: Vec<_> = (0..12).filter(|n| allocated.contains(number(*n))).collect();
    assert_eq!(contained, [0, 1, 2, 8, 9]);
    assert_eq!(allocated.max(), Some(number(9)));
    let (_node, client) = node("StateMinerAllocated", Value::Null).await;
    let none = client.allocated(MINER, &head()).await.unwrap();
    assert_eq!((none.max(), none.contains(number(0))), (None, false));
    let (_node, client) = node("StateMinerFaults", json!([1, 2])).await;
    let faults = client.faults(MINER, &head()).await.unwrap();
    assert_eq!([0, 1, 2, 3].map(|n| faults.contains(number(n))), [false, true, true, false]);
}

#[tokio::test]
async fn a_few_bytes_that_name_every_sector_are_a_set_and_past_the_last_one_an_error() {
    let last = i64::MAX.unsigned_abs();
    let (_node, client) = node("StateMinerFaults", json!([0, last + 1])).await;
    let all = client.faults(MINER, &head()).await.unwrap();
    assert!([0, 1, last].into_iter().all(|n| all.contains(number(n))));
    // the number of the next sector is one above the highest: of a set without a highest it would be the first again
    for past in [json!([0, last + 2]), json!([u64::MAX - 1, 1]), json!([u64::MAX, 1])] {
        let (_node, client) = node("StateMinerAllocated", past.clone()).await;
        let answer = client.allocated(MINER, &head()).await;
        assert!(matches!(answer, Err(ChainError::Malformed { .. })), "{past}: {answer:?}");
    }
}

#[tokio::test]
async fn an_error_repeats_no_more_than_the_beginning_of_what_a_node_says() {
    let much = "ä".repeat(1 << 20);
    let (_node, client) = node("StateMinerInfo", json!(much)).await;
    let error = client.miner_info(MINER, &head()).await.unwrap_err();
    let text = crate::error::Chain(&error).to_string();
    assert!(matches!(error, ChainError::Malformed { .. }) && text.len() < 5000, "{} bytes", text.len());
    assert!(text.contains("invalid type") && text.ends_with(" bytes)"), "{text}");
}

#[tokio::test]
async fn deposits_and_pledges_are_asked_with_the_nodes_shapes() {
    let (node_, client) = node("StateMinerPreCommitDepositForPower", json!("110")).await;
    let info = params::SectorPreCommitInfo {
        seal_proof: 5,
        sector_number: 7,
        sealed_cid: cids::sealed(COMM_R),
        seal_rand_epoch: -850,
        deal_ids: vec![],
        expiration: 1_500_000,
        unsealed_cid: None,
    };
    assert_eq!(client.precommit_deposit(MINER, &info, &head()).await.unwrap(), AttoFil::from_atto(110));
    let wanted = json!({"SealProof": 5, "SectorNumber": 7, "SealedCID": {"/": cids::sealed(COMM_R).to_string()},
        "SealRandEpoch": -850, "DealIDs": null, "Expiration": 1_500_000, "UnsealedCid": null});
    assert_eq!(node_.asked()[0].params, json!(["t01000", wanted, key_json()]));

    let (node_, client) = node("StateMinerInitialPledgeForSector", json!("90")).await;
    let pledge = client.initial_pledge(518_400, SectorSize::GiB32, &head()).await.unwrap();
    assert_eq!(pledge, AttoFil::from_atto(90));
    assert_eq!(node_.asked()[0].params, json!([518_400, 34_359_738_368u64, 0, key_json()]));
}

#[tokio::test]
async fn funds_come_from_state_and_balance() {
    let (_node, client) = node(
        "StateReadState",
        json!({"Balance": "4", "Code": {"/": "bafk"}, "State": {
            "PreCommitDeposits": "1", "LockedFunds": "2", "FeeDebt": "3", "InitialPledge": "4"}}),
    )
    .await;
    let funds = client.funds(MINER, &head()).await.unwrap();
    assert_eq!((funds.vesting, funds.initial_pledge), (AttoFil::from_atto(2), AttoFil::from_atto(4)));
    assert_eq!(funds.available, AttoFil::from_atto(-6), "a miner may owe");
}

#[tokio::test]
async fn wallet_answers_that_mean_none() {
    let (_node, client) = node("WalletDefaultAddress", json!("<empty>")).await;
    assert_eq!(client.default_address().await.unwrap(), None);
    let (_node, client) = script(|_| Reply::Error(1, "resolution lookup failed (t3x): actor not found")).await;
    assert_eq!(client.lookup_id("t3x", &head()).await.unwrap(), None);
    let (_node, client) = script(|_| Reply::Error(-32601, "method 'Filecoin.StateLookupID' not found")).await;
    assert!(matches!(client.lookup_id("t3x", &head()).await, Err(ChainError::Refused { .. })));
    let (node_, client) = node("WalletNew", json!("t3new")).await;
    assert_eq!(client.new_bls_address().await.unwrap(), "t3new");
    assert_eq!(node_.asked()[0].params, json!(["bls"]));
}

#[tokio::test]
async fn an_estimate_fills_in_gas_or_says_why_not() {
    let filled = json!({"To": "t01000", "From": "t3w", "GasLimit": 1000, "GasFeeCap": "7", "GasPremium": "2"});
    let (node_, client) = node("GasEstimateMessageGas", filled).await;
    let gas = client.estimate(&message(), AttoFil::from_atto(9), &head()).await.unwrap();
    assert_eq!(gas, Gas { limit: 1000, fee_cap: AttoFil::from_atto(7), premium: AttoFil::from_atto(2) });
    assert_eq!(gas.max_cost(), Some(AttoFil::from_atto(7000)));
    let spec = json!({"MaxFee": "9", "MsgUuid": "00000000-0000-0000-0000-000000000000", "MaximizeFeeCap": false});
    assert_eq!(node_.asked()[0].params[1], spec);

    let why = "message execution failed (exit=[ErrIllegalArgument(16)], vm error=[sector 7 already allocated])";
    let (_node, client) = script(move |_| Reply::Error(3, why)).await;
    let error = client.estimate(&message(), AttoFil::ZERO, &head()).await.unwrap_err();
    assert!(matches!(&error, ChainError::Refused { code: 3, message, .. } if message == why), "{error:?}");
}

#[tokio::test]
async fn a_push_carries_its_id() {
    let answer = json!({"Message": {"To": "t01000", "From": "t3w", "Nonce": 4}, "CID": {"/": "bafysigned"},
        "Signature": {"Type": 2, "Data": "AAAA"}});
    let (node_, client) = node("MpoolPushMessage", answer).await;
    let id = MessageId("76081ba0-61bd-45a5-bc08-af05f1c26e5d".to_owned());
    let pushed = client.push(&message(), &id, AttoFil::from_atto(50)).await.unwrap();
    assert_eq!((pushed.cid.as_str(), pushed.nonce), ("bafysigned", 4));
    let wanted = json!([
        {"Version": 0, "To": "t01000", "From": "t01002", "Nonce": 0, "Value": "5", "GasLimit": 0, "GasFeeCap": "0",
            "GasPremium": "0", "Method": 28, "Params": "AQID"},
        {"MaxFee": "50", "MsgUuid": "76081ba0-61bd-45a5-bc08-af05f1c26e5d", "MaximizeFeeCap": false}]);
    assert_eq!(node_.asked()[0].params, wanted);
    let error = client.push(&message(), &MessageId("seven".to_owned()), AttoFil::ZERO).await.unwrap_err();
    assert!(matches!(error, ChainError::Invalid { .. }), "{error:?}");
    assert_eq!(node_.asked().len(), 1);
}

fn account(seed: u8) -> String {
    Address::new_secp256k1(&[seed; 65]).unwrap().to_string()
}

#[tokio::test]
async fn a_message_in_the_pool_is_found_by_what_it_does() {
    let pending = |from: &str, params: &str, cid: &str| {
        json!({"Message": {"To": "f01000", "From": from, "Nonce": 9, "Method": 28, "Params": params},
            "Signature": {"Type": 2, "Data": "AAAA"}, "CID": {"/": cid}})
    };
    let pool = json!([
        pending(&account(2), "AQID", "other sender"),
        pending(&account(1), "AQIE", "other parameters"),
        pending(&account(1), "AQID", "bafysame")
    ]);
    let (_node, client) = script(move |asked| match asked.method.as_str() {
        "StateAccountKey" => Reply::Result(json!(account(1))),
        "MpoolPending" => Reply::Result(pool.clone()),
        other => panic!("{other}"),
    })
    .await;
    assert_eq!(client.pending_like(&message()).await.unwrap().unwrap().cid, "bafysame");
    let elsewhere = Message { method: 34, from: account(1), ..message() };
    assert_eq!(client.pending_like(&elsewhere).await.unwrap(), None);
    let (_node, client) = node("MpoolPending", Value::Null).await;
    assert_eq!(client.pending_like(&elsewhere).await.unwrap(), None);
}

#[tokio::test]
async fn a_search_finds_nothing_an_outcome_or_another_message() {
    let (node_, client) = node("StateSearchMsg", Value::Null).await;
    assert_eq!(client.search("bafyours", &head()).await.unwrap(), None);
    assert_eq!(node_.asked()[0].params, json!([key_json(), {"/": "bafyours"}, -1, true]));

    let answer = json!({"Message": {"/": "bafyreplaced"}, "ReturnDec": null, "TipSet": key_json(), "Height": 949,
        "Receipt": {"ExitCode": 0, "Return": "ggGA", "GasUsed": 1, "EventsRoot": null}});
    let (_node, client) = node("StateSearchMsg", answer).await;
    let wanted =
        Executed { cid: "bafyreplaced".to_owned(), exit_code: 0, value: vec![0x82, 1, 0x80], height: Epoch::new(949) };
    assert_eq!(client.search("bafyours", &head()).await.unwrap(), Some(wanted));

    let (_node, client) = script(|_| {
        Reply::Error(1, "failed to load message: found message with equal nonce as the one we are looking for")
    })
    .await;
    let error = client.search("bafyours", &head()).await.unwrap_err();
    assert!(matches!(&error, ChainError::Overtaken { cid } if cid == "bafyours"), "{error:?}");
    assert_eq!(client.fate("bafyours", "t01000", Some(7), &head()).await.unwrap(), Fate::Overtaken);
}

#[tokio::test]
async fn a_message_whose_nonce_the_next_one_gets_was_forgotten() {
    for (next, fate) in [(7, Fate::Forgotten), (8, Fate::Waiting)] {
        let (node, client) = script(move |asked| match asked.method.as_str() {
            "StateSearchMsg" => Reply::Result(Value::Null),
            "MpoolGetNonce" => Reply::Result(json!(next)),
            other => panic!("{other}"),
        })
        .await;
        assert_eq!(client.fate("bafyours", "t01000", Some(7), &head()).await.unwrap(), fate);
        assert_eq!(node.asked()[1].params, json!(["t01000"]));
    }
}
