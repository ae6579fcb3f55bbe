//! A real Lotus node with real actors in place of the devnet: it alone says what an ordinary miner is.
//!
//! Needs such a node of a network with 2 KiB sectors, whose default wallet has funds. `SEALD_TEST_LOTUS` names it as
//! `FULLNODE_API_INFO` does: `TOKEN:http://127.0.0.1:1234/rpc/v1`.

use super::rig::Rig;
use seald::chain::{Client, Endpoint, Secret};
use std::{fs, os::unix::fs::PermissionsExt as _};

const NODE: &str = "SEALD_TEST_LOTUS";

/// Token and address of the node; whoever has none is told which test did not run.
fn node(test: &str) -> Option<(String, String)> {
    let Ok(text) = std::env::var(NODE) else {
        eprintln!("SKIPPED {test}: {NODE} names no Lotus node, such as TOKEN:http://127.0.0.1:1234/rpc/v1");
        return None;
    };
    let (token, url) = text.split_once(':').unwrap_or_else(|| panic!("{NODE} is not TOKEN:URL"));
    Some((token.to_owned(), url.to_owned()))
}

/// Creates a miner, seals a sector, and has it proven, all by one endpoint.
fn seals(token: &str, url: &str) {
    let mut rig = Rig::real(1);
    let secret = rig.repo.with_file_name("token");
    fs::write(&secret, token).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    rig.write_manifest(&format!(
        r#"
        miner = {{ sector_size = "2KiB", create = {{ owner = "default", worker = "default" }} }}
        chain.endpoints = [{{ url = "{url}", token_file = "{}" }}]
        repo.disk = {{ path = "repo", roles = ["seal", "store"] }}
        slot.cpu = {{ tasks = ["precommit1", "precommit2", "commit", "finalize"] }}
        pledge.sectors = 1
        batch = {{ precommit = {{ max = 1 }}, commit = {{ max = 1 }} }}
        "#,
        secret.display()
    ));
    let told = rig.finish();
    assert!(told.contains("target met: 1 sector"), "{told}");

    let shown = rig.json(&["sectors", "show", "1", "--json"]);
    assert_eq!(shown["sector"]["state"], "Proving", "{shown:#}");
    let info = rig.json(&["info", "--json"]);
    assert_eq!((&info["committed"], &info["faulty"]), (&1.into(), &0.into()), "{info:#}");
    let text = String::from_utf8(rig.ask(&["info"]).stdout).unwrap();
    for line in ["Miner:", "Sector Size:", "Byte Power:", "Committed:", "Miner Balance:", "Worker Balance:", "Proving:"]
    {
        assert!(text.contains(line), "{line} is missing:\n{text}");
    }

    let endpoint = Endpoint { url: url.to_owned(), token: Some(Secret::new(token)) };
    let client = Client::new(vec![endpoint]).unwrap();
    let on_chain = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let head = client.head().await.unwrap();
        client
            .sector(serde_json::from_value(info["miner"].clone()).unwrap(), 1.try_into().unwrap(), &head)
            .await
            .unwrap()
    });
    let on_chain = on_chain.unwrap_or_else(|| panic!("the node has no sector 1 of {}", info["miner"]));
    assert_eq!(serde_json::to_value(on_chain.comm_r).unwrap(), shown["sector"]["sealed"]["comm_r"], "{shown:#}");
}

#[test]
fn a_real_node_proves_a_sector_over_http() {
    if let Some((token, url)) = node("a_real_node_proves_a_sector_over_http") {
        seals(&token, &url.replacen("ws", "http", 1));
    }
}

#[test]
fn a_real_node_proves_a_sector_over_a_websocket() {
    if let Some((token, url)) = node("a_real_node_proves_a_sector_over_a_websocket") {
        seals(&token, &url.replacen("http", "ws", 1));
    }
}
