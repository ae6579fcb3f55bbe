//! The daemon's own client against the devnet: what one writes the other reads, and the other way round.

use super::{Client as Http, devnet};
use crate::{
    chain::{
        Message, SectorInfo, Sent, TipSet,
        client::Client,
        endpoint::Endpoint,
        messages::{
            NewMiner, change_multiaddrs_message, change_peer_id_message, commit_message, create_miner_message,
            decode_batch_return, decode_create_miner, decode_terminate, precommit_message, terminate_message,
        },
    },
    devnet::fixture::{capacity, comm_r},
    proofs::{PoRep, simulated},
    sector::MessageId,
    units::{AttoFil, Epoch, MinerId, Multiaddr, PeerId, SectorNumber, SectorSize},
};

const FEE: AttoFil = AttoFil::from_atto(1_000_000_000_000_000_000);

async fn land(client: &Client, http: &Http, message: &Message) -> Vec<u8> {
    let head = client.head().await.unwrap();
    client.estimate(message, FEE, &head).await.unwrap();
    let id = MessageId(uuid::Uuid::new_v4().to_string());
    let pushed: Sent = client.push(message, &id, FEE).await.unwrap();
    assert_eq!(client.push(message, &id, FEE).await.unwrap(), pushed);
    assert_eq!(client.pending_like(message).await.unwrap(), Some(pushed.clone()));
    http.mine(2).await;
    let head = client.head().await.unwrap();
    let landed = client.search(&pushed.cid, &head).await.unwrap().unwrap();
    assert_eq!((landed.exit_code, landed.height), (0, head.height));
    landed.value
}

#[tokio::test]
async fn a_sector_lives_through_the_daemons_client() {
    lives("http").await;
}

#[tokio::test]
async fn a_sector_lives_through_the_daemons_client_over_a_websocket() {
    lives("ws").await;
}

/// Peer id and addresses are what the messages made them.
async fn changes_contact(client: &Client, http: &Http, miner: MinerId, sender: &str) {
    let peer: PeerId = "12D3KooWGzxzKZYveHXtpG6AsrUJBcWxHBFS2HsEoGTxrMLvKXtf".parse().unwrap();
    let addresses: Vec<Multiaddr> = vec!["/dns4/miner.example/tcp/24001".parse().unwrap()];
    land(client, http, &change_peer_id_message(miner, sender, &peer).unwrap()).await;
    land(client, http, &change_multiaddrs_message(miner, sender, &addresses).unwrap()).await;
    let head = client.head().await.unwrap();
    let info = client.miner_info(miner, &head).await.unwrap();
    assert_eq!((info.peer_id, info.multiaddrs), (Some(peer), addresses));
}

/// Each way to ask for the end of a sector tells the same.
async fn ends_as_the_chain_says(client: &Client, miner: MinerId, sector: &SectorInfo, head: &TipSet) {
    let number = sector.number;
    let ends = client.expirations(miner, &[number].into(), head).await.unwrap();
    assert_eq!(ends, [(number, sector.expiration)].into());
    assert_eq!(client.ends(miner, number, head).await.unwrap().on_time, sector.expiration);
    let terms = client.sector_terms(miner, number, head).await.unwrap().unwrap();
    assert_eq!((terms.activation, terms.pledge), (sector.activation, sector.pledge));
}

async fn lives(scheme: &str) {
    let dir = tempfile::tempdir().unwrap();
    let (http, _tasks) = devnet(dir.path()).await;
    let client = Client::new(vec![Endpoint { url: http.base.replacen("http", scheme, 1), token: None }]).unwrap();
    let head = client.head().await.unwrap();
    let wallet = client.default_address().await.unwrap().unwrap();
    let id = client.lookup_id(&wallet, &head).await.unwrap().unwrap();
    assert!(client.has_key(&wallet).await.unwrap());
    assert_eq!(client.account_key(&id, &head).await.unwrap().as_ref(), Some(&wallet));
    let unused = client.new_bls_address().await.unwrap();
    assert_eq!(client.lookup_id(&unused, &head).await.unwrap(), None);

    let size = SectorSize::KiB2;
    let deposit = client.creation_deposit(&head).await.unwrap();
    let new =
        NewMiner { from: &wallet, owner: &wallet, worker: &wallet, sector_size: size, peer_id: None, multiaddrs: &[] };
    let made = land(&client, &http, &create_miner_message(&new, deposit).unwrap()).await;
    let miner: MinerId = decode_create_miner(&made).unwrap();
    let head = client.head().await.unwrap();
    assert_eq!(client.miner_info(miner, &head).await.unwrap().worker, id);

    changes_contact(&client, &http, miner, &id).await;

    let number = SectorNumber::try_from(5).unwrap();
    let info = capacity(&http.chain(), 5);
    let ticket = client.ticket(miner, Epoch::new(info.seal_rand_epoch), &head).await.unwrap();
    let locked = client.precommit_deposit(miner, &info, &head).await.unwrap();
    // from an id address, as the miner's info gives it
    land(&client, &http, &precommit_message(miner, &id, locked, vec![info]).unwrap()).await;
    let head = client.head().await.unwrap();
    let landed = client.precommit(miner, number, &head).await.unwrap().unwrap();
    assert_eq!((landed.comm_r, client.is_allocated(miner, number, &head).await.unwrap()), (comm_r(5), true));

    http.mine(10).await;
    let head = client.head().await.unwrap();
    let delay = client.network_params().await.unwrap().pre_commit_challenge_delay;
    let seed = client.seed(miner, landed.epoch.plus(delay), &head).await.unwrap();
    let (comm_d, proof) = (crate::chain::cids::zero_comm_d(size), size.seal_proof());
    let porep = simulated::porep(&PoRep { miner, number, proof, comm_r: comm_r(5), comm_d, ticket, seed });
    let pledge = client.initial_pledge(600_000, size, &head).await.unwrap();
    let commit = commit_message(miner, &wallet, pledge, vec![(number, porep)]).unwrap();
    let outcome = land(&client, &http, &commit).await;
    assert_eq!(decode_batch_return(&outcome, 1).unwrap(), [0]);

    let head = client.head().await.unwrap();
    let place = client.sector_location(miner, number, &head).await.unwrap().unwrap();
    assert_eq!(client.sector_location(miner, SectorNumber::try_from(6).unwrap(), &head).await.unwrap(), None);
    let sector = client.sector(miner, number, &head).await.unwrap().unwrap();
    assert_eq!(sector.activation, head.height.plus(-1));
    assert_eq!(client.active_sectors(miner, 1, &head).await.unwrap(), [number].into());
    assert_eq!(client.active_sectors(miner, usize::MAX, &head).await.unwrap(), [number].into());
    ends_as_the_chain_says(&client, miner, &sector, &head).await;
    assert_eq!(client.deadlines(miner, &head).await.unwrap().len(), 48);
    let due = client.partitions(miner, place.deadline, &head).await.unwrap();
    assert_eq!(due.iter().map(|partition| partition.live).collect::<Vec<_>>(), [1]);
    assert_eq!(client.power(miner, &head).await.unwrap().raw, 2048);
    assert_eq!(client.allocated(miner, &head).await.unwrap().max(), Some(number));
    assert_eq!(client.faults(miner, &head).await.unwrap().max(), None);
    let funds = client.funds(miner, &head).await.unwrap();
    let node_says: AttoFil = http.ask("StateMinerAvailableBalance", serde_json::json!([miner.to_address(), []])).await;
    assert_eq!(node_says, funds.available);
    assert_eq!(client.finalized().await.unwrap(), head.height.plus(-5));
    assert_eq!(client.epoch_reward(&head).await.unwrap(), AttoFil::ZERO);
    assert_eq!(client.market_balance(miner, &head).await.unwrap().escrow, AttoFil::ZERO);
    assert_eq!(client.sector_count(miner, &head).await.unwrap().active, 1);
    assert!(client.version().await.unwrap().contains("devnet"));

    let termination = terminate_message(miner, &wallet, vec![(place.deadline, place.partition, vec![number])]).unwrap();
    assert!(decode_terminate(&land(&client, &http, &termination).await).unwrap());
    let head = client.head().await.unwrap();
    assert_eq!(client.sector(miner, number, &head).await.unwrap(), None);
    assert_eq!(client.sector_location(miner, number, &head).await.unwrap(), Some(place));
    assert!(client.is_allocated(miner, number, &head).await.unwrap());
    assert_eq!(client.power(miner, &head).await.unwrap().raw, 0);
}
