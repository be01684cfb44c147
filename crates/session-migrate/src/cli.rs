//! The commands: their options, their output and their exit codes.

/// Prints a line to standard output. Unlike `println!`, it does not panic if the reader has gone, as in `… | head`: the
/// command still ends with its own exit code.
macro_rules! say {
    ($($text:tt)*) => {{
        use std::io::Write as _;
        let _ = writeln!(std::io::stdout(), $($text)*);
    }};
}

mod ab;
mod adopt;
mod build;
mod check;
mod failure;
mod inspect;
mod network_args;
mod plan;
mod proxy;
mod record;
#[cfg(test)]
mod reference;
mod rehearse;
mod rehearse_canister;
mod replay;
mod report_file;
mod serve;
mod snapshot;
mod table;
mod upgrade;
mod upload;
mod wasm_args;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use session_migrate::{Verdict, remove_temporaries_on_signals, shorten_dumps};
use tokio::runtime::Runtime;

use failure::Failure;

const AFTER_HELP: &str = "\
The staged upgrade has two steps: from the legacy build to the staged build, which migrates the sessions and can still be \
rolled back, and from there to the direct build. Start with `session-migrate rehearse`: it needs neither a canister nor a \
network. The live upgrade, step by step: docs/runbook.md. Your own canister: docs/your-own-migration.md.

Exit codes: 0 pass, 1 a loss or difference was found, 2 invalid usage or input, 3 something else failed, such as the \
compiler, the server, the network or the disk";

/// Exit codes, as explained in [`AFTER_HELP`]. `LOSS` stands for every [`Verdict::Fail`], also if nothing was lost.
const LOSS: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;

/// Upgrades an upload canister of the Internet Computer to its new storage layout without losing an upload: builds its
/// releases, rehearses the upgrade with real uploads on this machine, and performs it on the live network.
#[derive(Debug, Parser)]
#[command(name = "session-migrate", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the canister's wasms and their Candid interfaces.
    Build(build::BuildArgs),
    /// Rehearse the staged upgrade on this machine during real uploads, and verify every byte.
    Rehearse(rehearse::RehearseArgs),
    /// Record client calls as a trace: a synthetic workload, or real clients through a proxy.
    Record(record::RecordArgs),
    /// Replay a trace on a build and compare the answers with the recorded answers.
    Replay(replay::ReplayArgs),
    /// Replay the same traces on two builds and compare answers, state and costs.
    Ab(ab::AbArgs),
    /// Inspect a snapshot of a canister: show its contents and report damage.
    Inspect(inspect::InspectArgs),
    /// Run the staged upgrade on a copy of a snapshot: show its effects, duration and cost.
    Plan(plan::PlanArgs),
    /// Convert a snapshot of the first public release into a snapshot that the legacy build can load.
    Adopt(adopt::AdoptArgs),
    /// Download, verify and upload snapshots of a canister on a live network.
    Snapshot(snapshot::SnapshotArgs),
    /// Upgrade a canister on a live network by one step of the staged upgrade.
    Upgrade(upgrade::UpgradeArgs),
    /// Compare what two builds keep in stable memory, and their interfaces, before an upgrade.
    Check(check::CheckArgs),
    /// Upload files to a canister on a live network; repeat the command to resume after an interruption.
    Upload(upload::UploadArgs),
    /// Run the embedded PocketIC server (an Internet Computer for tests) until a signal arrives.
    Serve(serve::ServeArgs),
}

pub fn run() -> ExitCode {
    let command = Cli::parse().command;
    // These two wait for a signal, and then end in an orderly way.
    let handles_signals = match &command {
        Command::Serve(_) => true,
        Command::Record(args) => args.has_proxy(),
        _ => false,
    };
    if !handles_signals {
        remove_temporaries_on_signals();
    }
    let result = match command {
        Command::Build(args) => build::run(args),
        Command::Rehearse(args) => rehearse::run(args),
        Command::Record(args) => record::record(args),
        Command::Replay(args) => replay::replay(args),
        Command::Ab(args) => ab::run(args),
        Command::Inspect(args) => inspect::run(args),
        Command::Plan(args) => plan::run(args),
        Command::Adopt(args) => adopt::run(args),
        Command::Snapshot(args) => snapshot::run(args),
        Command::Upgrade(args) => upgrade::run(args),
        Command::Check(args) => check::run(args),
        Command::Upload(args) => upload::run(args),
        Command::Serve(args) => return serve::run(args),
    };
    let code = result.unwrap_or_else(|Failure { code, text }| {
        eprintln!("error: {}", shorten_dumps(&text));
        code
    });
    ExitCode::from(code)
}

/// Creates a runtime for asynchronous work.
fn runtime() -> Result<Runtime, Failure> {
    Runtime::new().map_err(Failure::environment)
}

fn code_of(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Fail => LOSS,
    }
}
