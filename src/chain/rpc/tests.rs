//! Calls against nodes that answer, fail, stay silent or are not there.

mod belief;
mod hostile;

use super::*;
use crate::chain::{
    Secret,
    fake::{Fake, Reply, nobody},
};
use crate::error::{Chain, Remedy};
use crate::units::Epoch;
use serde_json::{Value, json};
use std::error::Error as _;

/// Bounds that let a test end soon. The answer's is generous where nothing is meant to be slow.
fn limits() -> Limits {
    Limits { answer: Duration::from_secs(20), back_off: Duration::from_millis(1), body: 4096, ..Limits::default() }
}

fn impatient() -> Limits {
    Limits { answer: Duration::from_millis(400), slow_answer: Duration::from_millis(400), ..limits() }
}

fn rpc(endpoints: &[Endpoint], limits: Limits) -> Rpc {
    Rpc::new(endpoints, limits, None).unwrap()
}

async fn ask(rpc: &Rpc) -> Result<u64, ChainError> {
    rpc.call(Kind::Read, "StateNetworkVersion", ([(); 0],)).await
}

fn order(rpc: &Rpc) -> Vec<String> {
    rpc.order().into_iter().map(Node::name).collect()
}

async fn version(version: u64) -> Fake {
    Fake::start(move |_| Reply::Result(json!(version))).await
}

#[tokio::test]
async fn a_call_is_numbered_and_goes_to_the_stable_api() {
    let node = version(28).await;
    for way in node.ways() {
        let rpc = rpc(&[way], limits());
        assert_eq!(ask(&rpc).await.unwrap(), 28);
        assert_eq!(ask(&rpc).await.unwrap(), 28);
    }
    let asked = node.asked();
    assert_eq!(asked.iter().map(|asked| asked.id.clone()).collect::<Vec<_>>(), [1, 2, 1, 2]);
    for call in asked {
        assert_eq!((call.method.as_str(), call.path.as_str()), ("StateNetworkVersion", "/rpc/v1"));
        assert_eq!((call.params, call.authorization), (json!([[]]), None));
    }
}

#[tokio::test]
async fn the_token_is_sent_and_never_printed() {
    let node = Fake::start(|_| Reply::Raw(401, String::new())).await;
    let endpoint = Endpoint { token: Some(Secret::new("s3cret\n")), ..node.endpoint() };
    let rpc = rpc(std::slice::from_ref(&endpoint), limits());
    let error = ask(&rpc).await.unwrap_err();
    assert_eq!(node.asked()[0].authorization.as_deref(), Some("Bearer s3cret"));
    assert!(matches!(&error, ChainError::Refused { code: 401, .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Hold);
    assert!(error.to_string().contains("does not accept the token") && error.to_string().contains("token_file"));
    assert!(!format!("{endpoint:?} {error:?} {error}").contains("s3cret"));
}

#[tokio::test]
async fn the_token_goes_over_a_websocket_too() {
    let node = version(28).await;
    let endpoint = Endpoint { token: Some(Secret::new("s3cret")), ..node.socket() };
    assert_eq!(ask(&rpc(&[endpoint], limits())).await.unwrap(), 28);
    assert_eq!(node.asked()[0].authorization.as_deref(), Some("Bearer s3cret"));
}

#[tokio::test]
async fn a_missing_token_is_asked_for() {
    let node = Fake::start(|_| Reply::Raw(403, "{}".to_owned())).await;
    let error = ask(&rpc(&[node.endpoint()], limits())).await.unwrap_err();
    assert!(error.to_string().contains("wants a token"), "{error}");
    assert_eq!(node.asked().len(), 1);
}

#[test]
fn a_token_of_two_lines_is_refused_unprinted() {
    let endpoint = Endpoint { url: "http://n:1".to_owned(), token: Some(Secret::new("one\ntwo")) };
    let error = Rpc::new(&[endpoint], limits(), None).err().unwrap();
    assert!(error.to_string().contains("http://n:1") && !error.to_string().contains("two"), "{error}");
    assert_eq!(error.remedy(), Remedy::Stop);
    assert!(matches!(Rpc::new(&[], limits(), None).err().unwrap(), ChainError::Invalid { .. }));
}

#[tokio::test]
async fn the_second_endpoint_stands_in_for_a_dead_first_one() {
    let node = version(28).await;
    let (dead, _port) = nobody();
    let rpc = rpc(&[dead.clone(), node.endpoint()], limits());
    assert_eq!(ask(&rpc).await.unwrap(), 28);
    assert_eq!(order(&rpc), [node.url.clone(), dead.url]);
}

#[tokio::test]
async fn a_stand_in_is_kept_for_a_while_and_then_left() {
    let broken = Fake::start(|asked| match asked.number {
        1 => Reply::Raw(502, "bad gateway".to_owned()),
        _ => Reply::Result(json!(1)),
    })
    .await;
    let (node, other) = (version(28).await, version(99).await);
    let endpoints = [broken.endpoint(), node.endpoint(), other.endpoint()];
    let kept = rpc(&endpoints, limits());
    for _ in 0..3 {
        assert_eq!(ask(&kept).await.unwrap(), 28);
    }
    assert_eq!((broken.asked().len(), node.asked().len(), other.asked().len()), (1, 3, 0));

    let left = rpc(&endpoints, Limits { stand_in: Duration::ZERO, ..limits() });
    assert_eq!(ask(&left).await.unwrap(), 1);
    assert_eq!(order(&left), [broken.url.clone(), node.url.clone(), other.url.clone()]);
}

#[tokio::test]
async fn an_error_of_the_node_is_its_answer() {
    let node = Fake::start(|_| Reply::Error(1, "missing permission to invoke 'X' (need 'sign')")).await;
    let other = version(28).await;
    for way in node.ways() {
        let error = ask(&rpc(&[way, other.endpoint()], limits())).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            "the node refuses StateNetworkVersion: missing permission to invoke 'X' (need 'sign') (code 1)"
        );
    }
    assert_eq!((node.asked().len(), other.asked().len()), (2, 0));
}

#[tokio::test]
async fn a_protocol_error_with_status_500_is_an_answer_too() {
    let node = Fake::start(|_| Reply::Error(-32601, "method not found")).await;
    let error = ask(&rpc(&[node.endpoint()], limits())).await.unwrap_err();
    assert!(matches!(error, ChainError::Refused { code: -32601, .. }), "{error:?}");
    assert_eq!(node.asked().len(), 1);
}

#[tokio::test]
async fn a_node_that_recovers_is_asked_again() {
    let node = Fake::start(|asked| match asked.number {
        1 | 2 => Reply::Raw(503, String::new()),
        _ => Reply::Result(json!(28)),
    })
    .await;
    assert_eq!(ask(&rpc(&[node.endpoint()], limits())).await.unwrap(), 28);
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test]
async fn giving_up_names_the_last_trouble() {
    let node = Fake::start(|_| Reply::Raw(503, "<html>".to_owned())).await;
    let (dead, _port) = nobody();
    let error = ask(&rpc(&[dead, node.endpoint()], limits())).await.unwrap_err();
    assert!(matches!(error, ChainError::Unreachable { tried: 2, .. }), "{error:?}");
    assert_eq!(error.remedy(), Remedy::Retry);
    let text = Chain(&error).to_string();
    assert!(text.contains(&node.url) && text.contains("503"), "{text}");
    assert_eq!(node.asked().len(), 3);
}

#[tokio::test]
async fn a_slow_node_is_left_at_the_deadline() {
    let (slow, node) = (Fake::start(|_| Reply::Silence).await, version(28).await);
    for way in slow.ways() {
        let both = rpc(&[way.clone(), node.endpoint()], impatient());
        assert_eq!(ask(&both).await.unwrap(), 28);
        // alone it uses up the whole time of the call at once
        let alone = rpc(&[way], impatient());
        let error = ask(&alone).await.unwrap_err();
        assert!(matches!(error, ChainError::Unreachable { .. }), "{error:?}");
    }
    assert_eq!(slow.asked().len(), 4);
}

#[tokio::test]
async fn a_write_is_repeated_only_when_it_cannot_have_arrived() {
    let (slow, node) = (Fake::start(|_| Reply::Silence).await, version(28).await);
    let write = |rpc: Rpc| async move { rpc.call::<u64>(Kind::Write, "MpoolPushMessage", [1]).await };

    for way in slow.ways() {
        let lost = write(rpc(&[way, node.endpoint()], impatient())).await.unwrap_err();
        assert!(matches!(lost, ChainError::Unreachable { .. }), "{lost:?}");
    }
    assert_eq!((slow.asked().len(), node.asked().len()), (2, 0));

    let broken = Fake::start(|_| Reply::Raw(502, String::new())).await;
    write(rpc(&[broken.endpoint(), node.endpoint()], limits())).await.unwrap_err();
    assert_eq!((broken.asked().len(), node.asked().len()), (1, 0));

    let (dead, _port) = nobody();
    assert_eq!(write(rpc(&[dead, node.endpoint()], limits())).await.unwrap(), 28);
}

#[tokio::test]
async fn answers_that_are_none_are_malformed() {
    for (body, why) in [
        ("<html>welcome</html>", "something else than JSON-RPC"),
        ("", "something else than JSON-RPC"),
        (r#"{"jsonrpc":"2.0","id":1}"#, "missing field `result`"),
        (r#"{"jsonrpc":"2.0","id":1,"result":"28"}"#, "invalid type: string"),
        (r#"{"jsonrpc":"2.0","id":1,"result":28} and more"#, "trailing characters"),
        (r#"{"jsonrpc":"2.0","id":2,"result":28}"#, "another call"),
        (r#"{"jsonrpc":"2.0","result":28}"#, "another call"),
    ] {
        let node = Fake::start(move |_| Reply::Raw(200, body.to_owned())).await;
        let error = ask(&rpc(&[node.endpoint()], limits())).await.unwrap_err();
        assert!(matches!(error, ChainError::Malformed { .. }), "{body}: {error:?}");
        assert_eq!(error.remedy(), Remedy::Retry);
        assert!(Chain(&error).to_string().contains(why), "{body}: {}", Chain(&error));
        assert_eq!(node.asked().len(), 1, "asking again brings the same");
    }
}

#[tokio::test]
async fn a_malformed_answer_leads_to_the_next_endpoint() {
    let (proxy, node) = (Fake::start(|_| Reply::Raw(200, "<html>".to_owned())).await, version(28).await);
    assert_eq!(ask(&rpc(&[proxy.endpoint(), node.endpoint()], limits())).await.unwrap(), 28);
}

#[tokio::test]
async fn a_huge_answer_is_not_read_to_its_end() {
    let node = Fake::start(|_| Reply::Result(Value::String("x".repeat(5000)))).await;
    for way in node.ways() {
        let error =
            rpc(std::slice::from_ref(&way), limits()).call::<String>(Kind::Read, "Version", ()).await.unwrap_err();
        assert!(error.source().unwrap().to_string().contains("more than 4096 bytes"), "{error:?}");
        let roomy = rpc(&[way], Limits { body: 8192, ..limits() });
        assert_eq!(roomy.call::<String>(Kind::Read, "Version", ()).await.unwrap().len(), 5000);
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = version(28).await;
    let to = format!("{}/rpc/v1", target.url);
    let node = Fake::start(move |_| Reply::Redirect(to.clone())).await;
    let endpoint = Endpoint { token: Some(Secret::new("s3cret")), ..node.endpoint() };
    let error = ask(&rpc(&[endpoint], limits())).await.unwrap_err();
    assert!(Chain(&error).to_string().contains("declare the address it redirects to"), "{}", Chain(&error));
    assert_eq!(target.asked(), []);
}

#[tokio::test]
async fn null_is_an_answer() {
    let node = Fake::start(|_| Reply::Result(Value::Null)).await;
    for way in node.ways() {
        let rpc = rpc(&[way], limits());
        assert_eq!(rpc.call::<Option<u64>>(Kind::Read, "StateSectorGetInfo", ()).await.unwrap(), None);
        assert!(matches!(ask(&rpc).await.unwrap_err(), ChainError::Malformed { .. }));
    }
}

#[tokio::test]
async fn a_call_waits_for_a_permit() {
    let node = version(28).await;
    let rpc = rpc(&[node.endpoint()], limits());
    let others = rpc.permits.acquire_many(u32::try_from(CONCURRENT).unwrap()).await.unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(50), ask(&rpc)).await.is_err());
    assert_eq!(node.asked(), []);
    drop(others);
    let answers = futures_util::future::join_all((0..40).map(|_| ask(&rpc))).await;
    assert!(answers.into_iter().all(|answer| answer.is_ok_and(|version| version == 28)));
    assert_eq!(rpc.permits.available_permits(), CONCURRENT);
}

#[test]
fn the_pause_doubles_and_is_never_more_than_full() {
    let rpc = rpc(&[Endpoint { url: "http://n:1".to_owned(), token: None }], Limits::default());
    for round in 1..4 {
        let full = Duration::from_millis(500 << (round - 1));
        for _ in 0..50 {
            let pause = rpc.pause(round);
            assert!(full / 2 <= pause && pause <= full, "{round}: {pause:?}");
        }
    }
}
