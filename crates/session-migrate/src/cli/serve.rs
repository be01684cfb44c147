//! The command `serve`: the embedded PocketIC server, and a live network with `--live`.

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use pocket_ic_embedded::serve::{self, ServeOptions};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Port to listen on; 0 selects a free port.
    #[arg(long, short, default_value_t = 0)]
    port: u16,
    /// Address to listen on; must be loopback unless --allow-remote is given.
    #[arg(long, short, default_value = "127.0.0.1")]
    ip_addr: IpAddr,
    /// Allow an address that other machines can reach.
    #[arg(long)]
    allow_remote: bool,
    /// Write the port to this file once the server listens.
    #[arg(long, value_name = "FILE")]
    port_file: Option<PathBuf>,
    /// Exit after this many seconds without a request [default: never].
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u64>,
    /// Also start a network for `icp`, agents and browsers, and print its address, its root key and the lines for
    /// icp.yaml.
    #[arg(long)]
    live: bool,
    /// Port of the network that --live starts; 0 selects a free port.
    #[arg(long, value_name = "PORT", default_value_t = serve::DEFAULT_GATEWAY_PORT, requires = "live")]
    gateway_port: u16,
}

pub(super) fn run(args: ServeArgs) -> ExitCode {
    serve::run(&options(args))
}

fn options(args: ServeArgs) -> ServeOptions {
    ServeOptions {
        version: false,
        port_file: args.port_file,
        ttl: args.ttl.unwrap_or(u64::MAX),
        hard_ttl: None,
        port: args.port,
        ip_addr: args.ip_addr,
        allow_remote: args.allow_remote,
        module_cache: None,
        live: args.live,
        gateway_port: args.gateway_port,
        log_levels: None,
    }
}
