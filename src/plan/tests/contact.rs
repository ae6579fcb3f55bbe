//! What the chain is to say of the miner: one message each, and none in vain.

use super::{super::*, devnet, ready, text, world::worker_has};
use crate::{
    outbox::{Batch, BatchState, Executed, OVERTAKEN},
    sector::tests::{CHAIN, NOW},
    units::{Multiaddr, PeerId},
};

fn wanted() -> (Desired, Observed) {
    let id: PeerId = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf".parse().unwrap();
    let address: Multiaddr = "/ip4/203.0.113.7/tcp/24001".parse().unwrap();
    let desired = Desired { peer_id: Some(id), multiaddrs: Some(vec![address]), sectors: 0, ..devnet() };
    let mut observed = ready(&desired);
    observed.contact.on_chain = Some(Contact::default());
    (desired, observed)
}

fn announced(plan: &Plan) -> Vec<String> {
    let announce = plan.actions.iter().filter(|action| matches!(action, Action::Announce { .. }));
    announce.map(ToString::to_string).collect()
}

fn newest(kind: MessageKind, state: BatchState, is_wanted: bool) -> Announced {
    let open = Batch::open(crate::sector::MessageId("m".to_owned()), kind, Vec::new(), NOW);
    Announced { batch: Batch { state, ..open }, is_wanted }
}

fn landed(exit_code: i64, ago: i64) -> BatchState {
    BatchState::Landed(Executed { cid: "bafy".to_owned(), exit_code, value: Vec::new(), height: CHAIN.head.plus(-ago) })
}

#[test]
fn what_differs_is_changed_by_one_message_each_and_what_is_not_declared_is_left() {
    let (desired, mut observed) = wanted();
    let both = [
        "change what the chain says of the miner to peer id 12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf",
        "change what the chain says of the miner to addresses /ip4/203.0.113.7/tcp/24001",
    ];
    assert_eq!(announced(&plan(&desired, &observed)), both);
    let nothing = Desired { peer_id: None, multiaddrs: None, ..desired.clone() };
    assert!(announced(&plan(&nothing, &observed)).is_empty());
    let peer_id = desired.peer_id.clone();
    observed.contact.on_chain = Some(Contact { peer_id, multiaddrs: desired.multiaddrs.clone().unwrap() });
    assert!(announced(&plan(&desired, &observed)).is_empty());
    // no addresses at all are wanted too
    let none = Desired { multiaddrs: Some(Vec::new()), ..desired };
    assert_eq!(announced(&plan(&none, &observed)), ["change what the chain says of the miner to addresses none"]);
}

#[test]
fn nothing_is_sent_twice_nor_again_after_a_refusal() {
    let (desired, mut observed) = wanted();
    let desired = Desired { multiaddrs: None, ..desired };
    let kind = MessageKind::ChangePeerId;
    let refused = |why: &str| BatchState::Dissolved { why: why.to_owned() };
    let cases = [
        (newest(kind, BatchState::Sealed, true), "is on its way"),
        (newest(kind, BatchState::Sent, false), "is on its way"),
        (newest(kind, landed(0, 0), true), "to be deep enough"),
        (newest(kind, landed(18, 100), true), "exit code 18"),
        (newest(kind, refused("no"), true), "the node refuses"),
    ];
    for (newest, reason) in cases {
        observed.contact.newest = vec![newest];
        let plan = plan(&desired, &observed);
        assert!(announced(&plan).is_empty(), "{plan:#?}");
        assert!(
            text(&plan).iter().any(|line| line.contains("miner.peer_id: the chain has none") && line.contains(reason))
        );
    }
    let again = [
        // somebody changed it since; it was of another manifest; its nonce went to another
        newest(kind, landed(0, 100), true),
        newest(kind, landed(18, 100), false),
        newest(kind, refused("no"), false),
        newest(kind, refused(OVERTAKEN), true),
    ];
    for newest in again {
        observed.contact.newest = vec![newest];
        assert_eq!(announced(&plan(&desired, &observed)).len(), 1, "{:?}", observed.contact);
    }
}

#[test]
fn it_waits_for_the_chain_and_for_the_key() {
    let (desired, observed) = wanted();
    let unread = Observed { contact: ContactSeen::default(), ..observed.clone() };
    let plan_unread = plan(&desired, &unread);
    assert!(announced(&plan_unread).is_empty() && text(&plan_unread).join("").contains("miner.peer_id"));
    let mut accounts = worker_has(crate::units::AttoFil::ZERO);
    accounts.worker.in_wallet = false;
    let mut keyless = observed;
    keyless.funds.accounts = Some(accounts);
    let plan_keyless = plan(&desired, &keyless);
    assert!(announced(&plan_keyless).is_empty() && text(&plan_keyless).join("").contains("lotus wallet import"));
}
