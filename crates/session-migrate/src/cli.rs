//! The commands, their options, and their exit codes and output.

mod ab;
mod inspect;
mod plan;
mod proxy;
mod replay;
mod report_file;
mod table;
mod upload;
mod wasm_args;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use comfy_table::Table;
use pocket_ic_embedded::serve::{self, ServeOptions};
use session_migrate::Verdict;
use session_migrate::build::{self, Artifact, Build, Options};
use session_migrate::progress::{Phase, Progress};
use session_migrate::provenance;
use session_migrate::rehearse::{self, Config, MigrationRun, Report};
use session_migrate::shorten_dumps;

use report_file::ReportArgs;
use table::table;
use wasm_args::WasmArgs;

const LOSS: u8 = 1;
const USAGE: u8 = 2;
const ENVIRONMENT: u8 = 3;

/// Builds an upload canister, rehearses its staged upgrade, and records, replays and compares client calls.
#[derive(Debug, Parser)]
#[command(name = "session-migrate", version, about)]
#[command(
    after_help = "Exit codes: 0 pass, 1 a loss or difference was found, 2 wrong usage or input, 3 environment"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build the canister's wasms and their Candid interfaces.
    Build(BuildArgs),
    /// Rehearse the staged upgrade during real uploads, and verify every byte.
    Rehearse(RehearseArgs),
    /// Record client calls as a trace: a synthetic workload, or real clients through a proxy.
    Record(replay::RecordArgs),
    /// Play a trace on a build and compare the answers with the recorded ones.
    Replay(replay::ReplayArgs),
    /// Play the same traces on two builds and compare answers, state and costs.
    Ab(ab::AbArgs),
    /// Inspect a snapshot of a canister: its contents, and whether it is sound.
    Inspect(inspect::InspectArgs),
    /// Run the staged upgrade on a copy of a snapshot: its effects, time and cost.
    Plan(plan::PlanArgs),
    /// Upload files to a canister on a live network; repeat the command to resume after an interruption.
    Upload(upload::UploadArgs),
    /// Run the embedded PocketIC server until a signal arrives.
    Serve(ServeArgs),
}

#[derive(Debug, Args)]
struct BuildArgs {
    /// Build to make; may be repeated [default: all three].
    #[arg(long = "build", value_name = "legacy|staged|direct")]
    builds: Vec<Build>,
    /// Folder for the finished files [default: dist in the source tree].
    #[arg(long, value_name = "FOLDER")]
    out: Option<PathBuf>,
    /// Cargo.toml of the source tree [default: the tree this program was built from].
    #[arg(long, value_name = "FILE")]
    manifest_path: Option<PathBuf>,
    /// Overwrite the checked-in Candid interfaces under candid/ with those of the wasms.
    #[arg(long)]
    update_did: bool,
    /// Exit with 1 if an interface differs from the checked-in one.
    #[arg(long, conflicts_with = "update_did")]
    check: bool,
}

#[derive(Debug, Args)]
struct RehearseArgs {
    /// Rehearse on a copy of this snapshot (a folder of icp, dfx or PocketIC, a raw stable memory, or gzip of
    /// one): its own clients continue their uploads, and a rollback is included.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["rollback", "record"])]
    snapshot: Option<PathBuf>,
    /// Files for every client to upload [default: a generated original of 21,827,484 bytes and three derivatives].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    files: Vec<PathBuf>,
    /// Number of clients that upload at the same time.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    #[command(flatten)]
    report: ReportArgs,
    /// Seed of the generated content and the clients' choices; the same seed gives the same rehearsal.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Roll the migration back once on the staged build, return to the legacy build during uploads, and
    /// migrate again.
    #[arg(long)]
    rollback: bool,
    /// Record the clients' calls and answers as a trace in this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    wasms: WasmArgs,
}

#[derive(Debug, Args)]
struct ServeArgs {
    /// Port to listen on; 0 for a free one.
    #[arg(long, short, default_value_t = 0)]
    port: u16,
    /// Address to listen on; only loopback, unless --allow-remote is given.
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
    /// Start a network for `icp`, agents and browsers as well, and print its address, its root key and the lines for icp.yaml.
    #[arg(long)]
    live: bool,
    /// The port of that network; 0 for a free one.
    #[arg(long, value_name = "PORT", default_value_t = serve::DEFAULT_GATEWAY_PORT, requires = "live")]
    gateway_port: u16,
}

/// Parses the command line, runs the command, and returns the exit code.
pub fn run() -> ExitCode {
    match Cli::parse().command {
        Command::Build(args) => ExitCode::from(run_build(args)),
        Command::Rehearse(args) => ExitCode::from(run_rehearse(args)),
        Command::Record(args) => ExitCode::from(replay::record(args)),
        Command::Replay(args) => ExitCode::from(replay::replay(args)),
        Command::Ab(args) => ExitCode::from(ab::run(args)),
        Command::Inspect(args) => ExitCode::from(inspect::run(args)),
        Command::Plan(args) => ExitCode::from(plan::run(args)),
        Command::Upload(args) => ExitCode::from(upload::run(args)),
        Command::Serve(args) => serve::run(&serve_options(args)),
    }
}

/// Prints one line on stderr, and returns the code.
fn fail(code: u8, error: impl std::fmt::Display) -> u8 {
    eprintln!("error: {}", shorten_dumps(&error.to_string()));
    code
}

fn run_build(args: BuildArgs) -> u8 {
    let mut builds = args.builds;
    builds.sort();
    builds.dedup();
    if builds.is_empty() {
        builds = Build::ALL.into();
    }
    let options = Options { manifest_path: args.manifest_path, out: args.out, update_did: args.update_did };
    let artifacts = match build::ensure_with(&builds, &options) {
        Ok(artifacts) => artifacts,
        Err(error) => return fail(ENVIRONMENT, error),
    };
    println!("{}", artifact_table(&artifacts));
    let mut code = 0;
    for artifact in artifacts.iter().filter(|artifact| !artifact.did_is_checked_in) {
        let build = artifact.build;
        eprintln!(
            "{}: the {build} canister's interface differs from candid/{build}.did; \
             if that is meant, run: cargo migrate build --update-did",
            if args.check { "error" } else { "warning" }
        );
        if args.check {
            code = LOSS;
        }
    }
    code
}

fn artifact_table(artifacts: &[Artifact]) -> Table {
    let rows = artifacts.iter().map(|artifact| {
        [
            artifact.build.to_string(),
            artifact.features.join(","),
            artifact.wasm_bytes.to_string(),
            artifact.wasm_gz_bytes.to_string(),
            artifact.sha256.clone(),
        ]
    });
    let header = ["build", "features", "wasm bytes", "gz bytes", "SHA-256 of the gz (module hash)"];
    table(header, rows, [2, 3])
}

fn run_rehearse(args: RehearseArgs) -> u8 {
    let config = Config {
        snapshot: args.snapshot,
        files: args.files,
        clients: args.clients,
        seed: args.seed,
        rollback: args.rollback,
        wasms: args.wasms.into(),
        record: args.record,
    };
    if let Err(error) = rehearse::check(&config) {
        return fail(USAGE, error);
    }
    let files = match args.report.create() {
        Ok(files) => files,
        Err(error) => return fail(USAGE, error),
    };
    // Before anything else is done, the age of this process is the time that cargo took.
    let compiled = provenance::compiled_for();
    let report = match rehearse_with_progress(&config) {
        Ok(report) => report,
        Err((code, error)) => return fail(code, error),
    };
    print_report(&report, compiled);
    if let Err(error) = files.write(&report, || report.to_html()) {
        return fail(ENVIRONMENT, error);
    }
    code_of(report.verdict)
}

/// Returns the exit code of an outcome.
fn code_of(verdict: Verdict) -> u8 {
    match verdict {
        Verdict::Pass => 0,
        Verdict::Fail => LOSS,
    }
}

fn rehearse_with_progress(config: &Config) -> Result<Report, (u8, String)> {
    let progress = Progress::stderr();
    match without_panic(|| rehearse::run(config, &progress)) {
        Ok(Ok(report)) => Ok(report),
        Ok(Err(error)) if error.is_usage() => Err((USAGE, error.to_string())),
        Ok(Err(error)) => Err((ENVIRONMENT, error.to_string())),
        Err(failure) => Err((ENVIRONMENT, failure)),
    }
}

/// Turns a panic into an error: the PocketIC client panics if its server fails, which is a failure of the
/// environment.
fn without_panic<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
    std::panic::set_hook(hook);
    result.map_err(|panic| format!("the PocketIC server failed: {}", session_migrate::panic_text(&*panic)))
}

fn print_report(report: &Report, compiled: Option<Duration>) {
    let rows = report.uploads.iter().map(|upload| {
        [
            upload.client.to_string(),
            upload.name.clone(),
            upload.bytes.to_string(),
            upload.state_at_upgrade.name().to_owned(),
            format!("{}/{}", upload.chunks_before_upgrade, upload.chunks_total),
            upload.sha256_read_back.as_deref().map_or("-", |hash| hash.get(..16).unwrap_or(hash)).to_owned(),
            if upload.intact { "yes" } else { "NO" }.to_owned(),
        ]
    });
    let header = ["client", "file", "bytes", "at the upgrade", "chunks then", "SHA-256 read back", "intact"];
    println!("{}", table(header, rows, [0, 2, 4]));
    for stage in &report.stages {
        let cost = stage.instructions.map_or(String::new(), |count| format!(", {count} instructions"));
        let ok = if stage.upgrade_ok { "ok" } else { "FAILED" };
        println!("{}: {ok}{cost}", stage.name);
    }
    for MigrationRun { stage, migration, phase, counts: m } in &report.runs {
        if phase == "RolledBack" {
            println!("sessions after {stage}: rolled back, {} instructions", m.instructions);
        } else if *migration == 1 {
            println!(
                "sessions after {stage}: {} records = {} converted + {} already + {} quarantined + {} expired; {phase}",
                m.source, m.converted, m.already, m.quarantined, m.expired
            );
        } else {
            println!(
                "payload after {stage}: {} sessions and blobs = {} moved into extents + {} quarantined; {phase}",
                m.source, m.converted, m.quarantined
            );
        }
    }
    if let Some(part) = &report.snapshot {
        println!(
            "snapshot: {} sessions, {} continued by their own clients; {} answers of {} capsules the same after every step",
            part.sessions, part.continued, part.reads, part.capsules
        );
    }
    println!("time: {}", times(&report.phases, compiled));
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    for problem in &report.problems {
        eprintln!("error: {}", shorten_dumps(problem));
    }
    println!("verdict: {} ({:.1} s)", report.verdict, report.seconds);
}

/// Formats the times of the phases in one line.
fn times(phases: &[Phase], compiled: Option<Duration>) -> String {
    let sum = |building: bool| -> f64 {
        let phases = phases.iter().filter(|phase| (phase.name == rehearse::BUILDING) == building);
        phases.map(|phase| phase.seconds).sum()
    };
    let compiled = compiled
        .map_or(String::new(), |time| format!("{:.1} s compiling this program, ", time.as_secs_f64()));
    format!("{compiled}{:.1} s building the wasms, {:.1} s rehearsing", sum(true), sum(false))
}

fn serve_options(args: ServeArgs) -> ServeOptions {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_told_apart_by_what_it_was_spent_on() {
        let phase = |name: &str, seconds| Phase { name: name.into(), began: String::new(), seconds };
        let phases = [phase(rehearse::BUILDING, 60.0), phase("uploading", 1.5), phase("reading", 2.0)];
        assert_eq!(times(&phases, None), "60.0 s building the wasms, 3.5 s rehearsing");
        let all = times(&phases, Some(Duration::from_secs(300)));
        assert!(all.starts_with("300.0 s compiling this program, 60.0 s"), "{all}");
    }
}
