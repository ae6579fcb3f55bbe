//! `seald api`: tokens for the StorageMiner API, and the line with which Lotus's tools find it.

use super::{
    Global,
    failure::{Exit, Failure, Outcome, print},
    state_dir,
};
use crate::{
    api::{Permission, Secret},
    error::Chain,
    manifest::Api,
};
use clap::{Args, Subcommand};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Arguments of `seald api`.
#[derive(Debug, Args)]
#[command(arg_required_else_help = true)]
pub struct ApiArgs {
    /// What of it.
    #[command(subcommand)]
    pub what: What,
}

/// What can be had.
#[derive(Debug, Subcommand)]
pub enum What {
    /// Print a token; keep it secret, it does not end
    Token(TokenArgs),
    /// Print MINER_API_INFO for lotus-miner and its like: a token and where the API is
    Info(TokenArgs),
}

/// What the token is for.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// What its bearer may do: read, write, sign or admin, each with those before it; workers and storage want admin
    #[arg(long, value_name = "PERMISSION", default_value = "read")]
    pub permission: Permission,
}

/// Runs `seald api`.
///
/// # Errors
/// The secret cannot be read, or the manifest serves no API.
pub fn run(global: &Global, args: &ApiArgs) -> Outcome {
    match &args.what {
        What::Token(TokenArgs { permission }) => print(&format!("{}\n", token(global, *permission)?))?,
        What::Info(TokenArgs { permission }) => {
            let node = global.load()?.manifest.node.filter(|node| node.api != Api::Off);
            let none = || {
                let help = "set node.address, such as 127.0.0.1:2345, then `systemctl restart seald`";
                Failure::new("the manifest serves no API", help)
            };
            let address = multiaddr(node.ok_or_else(none)?.address);
            print(&format!("MINER_API_INFO={}:{address}\n", token(global, *permission)?))?
        }
    }
    Ok(Exit::Well)
}

fn token(global: &Global, permission: Permission) -> Outcome<String> {
    let secret = Secret::read(&state_dir::find_running(global)).map_err(|error| {
        let help = "the daemon makes it when it starts with node.address set; root and the user that seald runs as may read it";
        Failure::new(Chain(&error).to_string(), help)
    })?;
    Ok(secret.sign(&permission.and_below()))
}

/// The address as Lotus writes it. One that stands for all of the machine's becomes the one by which the machine reaches
/// itself: from another machine, its own address belongs there.
fn multiaddr(address: SocketAddr) -> String {
    let port = address.port();
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("/ip4/{}/tcp/{port}/http", Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("/ip6/{}/tcp/{port}/http", Ipv6Addr::LOCALHOST),
        IpAddr::V4(ip) => format!("/ip4/{ip}/tcp/{port}/http"),
        IpAddr::V6(ip) => format!("/ip6/{ip}/tcp/{port}/http"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_written_as_lotus_reads_them() {
        let cases = [
            ("10.0.0.2:2345", "/ip4/10.0.0.2/tcp/2345/http"),
            ("0.0.0.0:2345", "/ip4/127.0.0.1/tcp/2345/http"),
            ("[::]:1", "/ip6/::1/tcp/1/http"),
            ("[fe80::1]:1", "/ip6/fe80::1/tcp/1/http"),
        ];
        for (address, expected) in cases {
            assert_eq!(multiaddr(address.parse().unwrap()), expected);
        }
    }
}
