//! The server as a program that can replace the official binary: port file, time to live, signals.

use crate::VERSION_LINE;
use crate::cache_folder::CacheFolder;
use crate::detach;
use crate::engine::{Engine, ModuleCacheError};
use crate::http::{ServerState, router, without_delay};
use crate::live::{self, LiveError};
use crate::port_file::{Claim, PortFile, PortFileError};
use crate::stderr;
use crate::threads;
use clap::Parser;
use std::fmt::Display;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// The exit code if the environment does not allow the server to run.
const EXIT_ENVIRONMENT: u8 = 3;
/// Interval at which both times to live are checked.
const TTL_CHECK: Duration = Duration::from_secs(1);
/// How long idle connections and running requests may delay the exit.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The port where tools expect a local network.
pub const DEFAULT_GATEWAY_PORT: u16 = 8000;

/// The command line: the official server's options, where they apply here.
#[derive(Clone, Debug, Parser)]
#[command(
    name = "pocket-ic-embedded",
    about = "A PocketIC server over wasmtime: an Internet Computer for tests, in one process."
)]
pub struct ServeOptions {
    /// Print the version in the format that clients expect, and exit.
    #[arg(long, short = 'V')]
    pub version: bool,
    /// Write the port to this file once the server listens. If the file exists and its server answers, exit
    /// immediately.
    #[arg(long, value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// Exit after this many seconds without a request.
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub ttl: u64,
    /// Exit after this many seconds in any case.
    #[arg(long, value_name = "SECONDS")]
    pub hard_ttl: Option<u64>,
    /// Port to listen on; 0 for a free one.
    #[arg(long, short, default_value_t = 0)]
    pub port: u16,
    /// Address to listen on. Anyone who can reach the server can read and write files through it, so it must be
    /// loopback unless --allow-remote is given.
    #[arg(long, short, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub ip_addr: IpAddr,
    /// Allow an address that other machines can reach.
    #[arg(long)]
    pub allow_remote: bool,
    /// Cache compiled modules for other processes in this folder, which only you may be able to write to; `off`
    /// disables the cache [default: $POCKET_IC_EMBEDDED_MODULE_CACHE, or pocket-ic-embedded/modules in your cache
    /// folder].
    #[arg(long, value_name = "DIR|off")]
    pub module_cache: Option<CacheFolder>,
    /// Also start a network for agents and their tools: an NNS and an application subnet that follow the system clock,
    /// and an HTTP gateway. Print the network's address, its root key and the lines for icp.yaml.
    #[arg(long)]
    pub live: bool,
    /// Port of the gateway of `--live`; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = DEFAULT_GATEWAY_PORT, requires = "live")]
    pub gateway_port: u16,
    /// Accepted for compatibility and ignored; the server logs only prints and traps of canisters.
    #[arg(long, short, value_name = "LEVELS")]
    pub log_levels: Option<String>,
}

/// Why the program ends with exit code 3.
#[derive(Debug, thiserror::Error)]
enum ServeError {
    #[error(
        "{0} is not a loopback address: anyone who can reach the server could use it. Add --allow-remote if you want that"
    )]
    NotLoopback(IpAddr),
    #[error("cannot write to standard output: {0}")]
    Stdout(io::Error),
    #[error(transparent)]
    Live(#[from] LiveError),
    #[error(transparent)]
    PortFile(#[from] PortFileError),
    #[error(transparent)]
    ModuleCache(#[from] ModuleCacheError),
    #[error("cannot listen on {address}: {source}")]
    Listen { address: SocketAddr, source: io::Error },
    #[error("cannot start the server: {0}")]
    Start(io::Error),
    #[error(transparent)]
    Engine(#[from] crate::engine::EngineError),
}

/// Parses the command line and serves until the time to live has passed or a signal arrives.
pub fn main() -> ExitCode {
    let options = ServeOptions::parse();
    if options.port_file.is_some() && !options.live {
        // Clients start the server with a port file, and without `--live`.
        detach::from_client();
    }
    run(&options)
}

/// Serves with these options, or prints the version. Returns exit code 3 if the server cannot run, otherwise 0: also
/// if another process already is the server of the port file.
pub fn run(options: &ServeOptions) -> ExitCode {
    if options.version {
        return match print_to_stdout(VERSION_LINE) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => report_failure(&error),
        };
    }
    // The port file is claimed before any slow work: clients start a server for every instance, and the superfluous
    // ones must exit quickly.
    let claimed = options.port_file.as_deref().map(|path| PortFile::claim(path, options.ip_addr));
    let port_file = match claimed {
        None => None,
        Some(Ok(Claim::Ours(file))) => Some(file),
        Some(Ok(Claim::Running)) => return ExitCode::SUCCESS,
        Some(Ok(Claim::Unclear(reason))) => {
            print_to_stderr(reason);
            return ExitCode::SUCCESS;
        }
        Some(Err(error)) => return report_failure(&error.into()),
    };
    match serve(options, port_file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => report_failure(&error),
    }
}

/// Prints the error and returns exit code 3.
fn report_failure(error: &ServeError) -> ExitCode {
    print_to_stderr(error);
    ExitCode::from(EXIT_ENVIRONMENT)
}

/// Prints in a single write: a reader may exit once it has the last line, and a further write would fail.
fn print_to_stdout(text: impl Display) -> Result<(), ServeError> {
    let text = format!("{text}\n");
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).map_err(ServeError::Stdout)
}

fn print_to_stderr(text: impl Display) {
    stderr::print_line(format_args!("pocket-ic-embedded: {text}"));
}

fn serve(options: &ServeOptions, port_file: Option<PortFile>) -> Result<(), ServeError> {
    if !options.ip_addr.is_loopback() && !options.allow_remote {
        return Err(ServeError::NotLoopback(options.ip_addr));
    }
    let runtime = threads::runtime().build().map_err(ServeError::Start)?;
    let result = runtime.block_on(listen(options, port_file));
    // A running operation must not delay the shutdown.
    runtime.shutdown_background();
    result
}

async fn listen(options: &ServeOptions, port_file: Option<PortFile>) -> Result<(), ServeError> {
    let wanted = SocketAddr::from((options.ip_addr, options.port));
    let listen_error = |source| ServeError::Listen { address: wanted, source };
    let started = Instant::now();
    // Signals are handled before clients can see the port, so that the port file is removed whenever a signal arrives.
    let mut signals =
        [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup(), SignalKind::quit()]
            .into_iter()
            .map(|kind| signal(kind).map_err(ServeError::Start))
            .collect::<Result<Vec<_>, _>>()?;
    let listener = tokio::net::TcpListener::bind(wanted).await.map_err(listen_error)?;
    let address = listener.local_addr().map_err(listen_error)?;
    let cache = match &options.module_cache {
        Some(folder) => folder.open()?,
        None => CacheFolder::from_environment().open_if_possible(),
    };
    // The server in a process (`server.rs`) prints them only if an environment variable is set.
    let print_logs = true;
    let state =
        ServerState::new(Engine::with_cache(cache)?, print_logs).allowing_remote(options.allow_remote);
    let state = Arc::new(state);
    let network = match options.live {
        true => Some(live::start(&state, options.ip_addr, options.gateway_port).await?),
        false => None,
    };
    if let Some(file) = &port_file {
        file.write(address.port())?;
    }
    print_to_stderr(format_args!("{VERSION_LINE} listens on {address}"));
    if let Some(network) = network {
        print_to_stdout(network)?;
    }
    let (end, mut ended) = watch::channel(false);
    let serving = tokio::spawn({
        let router = router(state.clone());
        let shutdown = async move {
            // The wait also ends when the sender is dropped.
            let _ = ended.changed().await;
        };
        async move { axum::serve(without_delay(listener), router).with_graceful_shutdown(shutdown).await }
    });
    tokio::select! {
        () = time_is_up(options, &state, started) => {}
        () = first_signal(&mut signals) => {}
    }
    // Clients must not find the port of a server that is about to exit.
    drop(port_file);
    let _ = end.send(true);
    let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, serving).await;
    Ok(())
}

/// Returns once one of the signals has arrived.
async fn first_signal(signals: &mut [Signal]) {
    std::future::poll_fn(|context| {
        let arrived = signals.iter_mut().any(|signal| signal.poll_recv(context).is_ready());
        if arrived { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

/// Returns once `--ttl` has passed without a request, or `--hard-ttl` since `started`.
async fn time_is_up(options: &ServeOptions, state: &ServerState, started: Instant) {
    let ttl = Duration::from_secs(options.ttl);
    let hard_ttl = options.hard_ttl.map(Duration::from_secs);
    let mut ticks = tokio::time::interval(TTL_CHECK);
    loop {
        ticks.tick().await;
        let idle = state.activity().idle_for();
        let out_of_time = hard_ttl.is_some_and(|limit| started.elapsed() >= limit);
        if out_of_time || idle >= ttl {
            return;
        }
    }
}
