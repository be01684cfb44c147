//! The `record` and `replay` commands.

use std::net::SocketAddr;
use std::path::PathBuf;

use candid::Principal;
use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use reqwest::Url;
use session_migrate::ab;
use session_migrate::compare::{self, Difference, Judgement, Mismatch, Tally};
use session_migrate::progress::Progress;
use session_migrate::proxy::Options;
use session_migrate::replay::{self, Builds, Interruption, Played, ReplayCanister, ReplayError};
use session_migrate::trace::{EventKind, Trace, Writer};
use session_migrate::workload::{self, Order, Workload, WorkloadError};
use session_migrate::{Verdict, shorten_both};

use super::{ENVIRONMENT, LOSS, USAGE, code_of, fail, proxy, without_panic};

/// Maximum number of differences that are listed.
const SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct RecordArgs {
    /// Synthetic workload to run.
    #[arg(long, value_name = "NAME", value_parser = workloads())]
    workload: Option<Workload>,
    /// Record real clients instead: listen at this address, forward everything to a PocketIC server, and record the
    /// calls to the first upload canister that appears. Port 0 selects a free port. Ctrl-C or SIGTERM finishes the
    /// trace.
    #[arg(long, value_name = "ADDRESS", requires = "server", conflicts_with_all = ["workload", "build", "seed", "size"])]
    proxy: Option<SocketAddr>,
    /// PocketIC server to forward to.
    #[arg(long, value_name = "URL", requires = "proxy")]
    server: Option<Url>,
    /// Record only this canister.
    #[arg(long, value_name = "ID", requires = "proxy")]
    canister: Option<Principal>,
    /// Build to record on: legacy, staged, direct, or a wasm file.
    #[arg(long, value_name = "BUILD", default_value = "legacy")]
    build: String,
    /// Seed for contents and choices; the same seed makes the same calls.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Scale factor: multiplies the number of files.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    size: u32,
    /// Trace file to write.
    #[arg(value_name = "OUT")]
    out: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Trace file to replay.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Build to replay it on: legacy, staged, direct, or a wasm file [default: the one it was recorded on].
    #[arg(long, value_name = "BUILD")]
    build: Option<String>,
    /// Interrupt the replay: upgrade:BUILD, trap, restart, low-cycles or rollback, followed by @LINE (before the event
    /// in that line) or @everyN (before every N-th event); may be repeated.
    #[arg(long, value_name = "KIND@WHEN")]
    interrupt: Vec<Interruption>,
    /// Rules file with allowed differences [default: ab/allowed.toml in the source tree].
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

/// Records a workload, or calls through a proxy.
pub(super) fn record(args: RecordArgs) -> u8 {
    match (args.workload, args.proxy, args.server.clone()) {
        (_, Some(listen), Some(server)) => {
            proxy::record(Options { listen, server, out: args.out, canister: args.canister })
        }
        (Some(workload), _, _) => record_workload(workload, &args),
        _ => {
            let names = Workload::ALL.map(Workload::name).join(", ");
            fail(
                USAGE,
                format!(
                    "nothing to record: give either --workload with one of {names}, or --proxy and --server"
                ),
            )
        }
    }
}

/// Parses the name of a workload; lists all of them in the help.
fn workloads() -> impl TypedValueParser<Value = Workload> {
    PossibleValuesParser::new(Workload::ALL.map(Workload::name)).try_map(|name| name.parse())
}

fn record_workload(workload: Workload, args: &RecordArgs) -> u8 {
    let order = Order { workload, seed: args.seed, size: args.size };
    let work = || -> Result<PathBuf, WorkloadError> {
        Writer::check(&args.out)?;
        let module = Builds::default().get(&args.build)?;
        let progress = Progress::stderr();
        progress.phase(format!("recording {} on {}", order.workload, args.build));
        workload::record(order, &args.build, &module, &args.out)
    };
    let recorded =
        without_panic(work).map(|done| done.and_then(|path| Ok((calls(&Trace::read(&path)?), path))));
    match recorded {
        Ok(Ok((calls, path))) => {
            say!("{}: {calls}, {order}, recorded on {}", path.display(), args.build);
            0
        }
        Ok(Err(error)) => fail(if error.is_usage() { USAGE } else { ENVIRONMENT }, error),
        Err(failure) => fail(ENVIRONMENT, failure),
    }
}

/// Plays a trace.
pub(super) fn replay(args: ReplayArgs) -> u8 {
    let rules = match ab::rules(args.rules.as_deref()) {
        Ok(rules) => rules,
        Err(error) => return fail(USAGE, error),
    };
    let work = || -> Result<(Trace, Vec<Played>), ReplayError> {
        let trace = Trace::read(&args.trace)?;
        args.interrupt.iter().try_for_each(|interruption| interruption.check(&trace))?;
        let mut builds = Builds::default();
        let build = args.build.clone().unwrap_or_else(|| trace.header.build.clone());
        let module = builds.get(&build)?;
        // Unusable input is reported before anything is replayed.
        args.interrupt
            .iter()
            .filter_map(Interruption::build)
            .try_for_each(|build| builds.get(build).map(drop))?;
        let progress = Progress::stderr();
        progress.phase(format!("playing {} on {build}", args.trace.display()));
        let mut subject = ReplayCanister::install(&build, &module, &trace.header)?;
        let playing = replay::play(&trace, &mut subject, &mut builds, &args.interrupt)?;
        Ok((trace, playing.events))
    };
    match without_panic(work) {
        Ok(Ok((trace, played))) => judge(&trace, &played, Tally::new(rules)),
        Ok(Err(error @ ReplayError::Interruption { .. })) => fail(LOSS, error),
        Ok(Err(error)) => fail(if error.is_usage() { USAGE } else { ENVIRONMENT }, error),
        Err(failure) => fail(ENVIRONMENT, failure),
    }
}

fn judge(trace: &Trace, played: &[Played], mut tally: Tally) -> u8 {
    let Judgement { equal, allowed, wrong } = compare::with_record(trace, played, &mut tally);
    for Mismatch { line, of, difference: Difference { field, a, b } } in wrong.iter().take(SHOWN) {
        let field = if field.is_empty() { String::new() } else { format!(": {field}") };
        let (a, b) = shorten_both(a, b);
        eprintln!("error: {}:{line}: {of}{field}: recorded {a}, now {b}", trace.path.display());
    }
    if wrong.len() > SHOWN {
        eprintln!("error: and {} more differences", wrong.len() - SHOWN);
    }
    let verdict = if wrong.is_empty() { Verdict::Pass } else { Verdict::Fail };
    say!(
        "{}: {equal} answers equal, {allowed} differences allowed, {} not; verdict: {verdict}",
        calls(trace),
        wrong.len()
    );
    code_of(verdict)
}

/// Formats the number of calls and upgrades in a trace; upgrades are answered, too.
fn calls(trace: &Trace) -> String {
    let count = |is: fn(&EventKind) -> bool| trace.events.iter().filter(|event| is(&event.what)).count();
    let calls = count(|what| matches!(what, EventKind::Call(_)));
    match count(|what| matches!(what, EventKind::Upgrade { .. })) {
        0 => format!("{calls} calls"),
        1 => format!("{calls} calls and an upgrade"),
        upgrades => format!("{calls} calls and {upgrades} upgrades"),
    }
}
