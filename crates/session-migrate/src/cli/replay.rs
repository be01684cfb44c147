//! The `replay` command.

use std::path::PathBuf;

use clap::Args;
use session_migrate::ab;
use session_migrate::compare::{self, Difference, Judgement, Mismatch, Tally};
use session_migrate::progress::Progress;
use session_migrate::replay::{self, Builds, Interruption, Played, ReplayCanister, ReplayError};
use session_migrate::trace::{EventKind, Trace};
use session_migrate::{Verdict, shorten_both};

use super::code_of;
use super::failure::{Failure, without_panic};

/// Maximum number of differences printed, among those that no rule allows.
const MAX_SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct ReplayArgs {
    /// Trace file to replay.
    #[arg(value_name = "TRACE")]
    trace: PathBuf,
    /// Build to replay the trace on: legacy, staged, direct, or a wasm file [default: the build on which it was
    /// recorded].
    #[arg(long, value_name = "BUILD")]
    build: Option<String>,
    /// Interrupt the replay: upgrade:BUILD, trap, restart, low-cycles or rollback, followed by @LINE (before the event
    /// on that line) or @everyN (before the first event and every N-th event after it); may be repeated.
    #[arg(long, value_name = "KIND@WHEN")]
    interrupt: Vec<Interruption>,
    /// Rules file with allowed differences [default: ab/allowed.toml in the source tree].
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
}

pub(super) fn replay(args: ReplayArgs) -> Result<u8, Failure> {
    let rules = ab::rules(args.rules.as_deref()).map_err(Failure::usage)?;
    let work = || -> Result<(Trace, Vec<Played>), ReplayError> {
        let trace = Trace::read(&args.trace)?;
        args.interrupt.iter().try_for_each(|interruption| interruption.check(&trace))?;
        let mut builds = Builds::default();
        let build = args.build.clone().unwrap_or_else(|| trace.header.build.clone());
        let module = builds.get(&build)?;
        // The builds of interruptions are also read before the replay, so that an unusable one is reported at once.
        args.interrupt
            .iter()
            .filter_map(Interruption::build)
            .try_for_each(|build| builds.get(build).map(drop))?;
        let progress = Progress::stderr();
        progress.phase(format!("replaying {} on {build}", args.trace.display()));
        let mut subject = ReplayCanister::install(&build, &module, &trace.header)?;
        let playing = replay::play(&trace, &mut subject, &mut builds, &args.interrupt)?;
        Ok((trace, playing.events))
    };
    let (trace, played) = without_panic(work)?.map_err(|error| match error {
        ReplayError::InterruptionFailed { .. } => Failure::loss(error),
        error => Failure::of(error, ReplayError::is_usage),
    })?;
    Ok(judge(&trace, &played, Tally::new(rules)))
}

fn judge(trace: &Trace, played: &[Played], mut tally: Tally) -> u8 {
    let Judgement { equal, allowed, wrong } = compare::with_record(trace, played, &mut tally);
    for Mismatch { line, method, difference: Difference { field, a, b } } in wrong.iter().take(MAX_SHOWN) {
        let field = if field.is_empty() { String::new() } else { format!(": {field}") };
        let (a, b) = shorten_both(a, b);
        eprintln!("error: {}:{line}: {method}{field}: recorded {a}, now {b}", trace.path.display());
    }
    if wrong.len() > MAX_SHOWN {
        eprintln!("error: and {} more differences", wrong.len() - MAX_SHOWN);
    }
    let verdict = if wrong.is_empty() { Verdict::Pass } else { Verdict::Fail };
    say!(
        "{}: {equal} answers equal, {allowed} differences allowed, {} not; verdict: {verdict}",
        describe_calls(trace),
        wrong.len()
    );
    code_of(verdict)
}

/// Formats the numbers of calls and of upgrades in a trace. Upgrades are included because their answers are compared,
/// too.
pub(super) fn describe_calls(trace: &Trace) -> String {
    let count = |is: fn(&EventKind) -> bool| trace.events.iter().filter(|event| is(&event.what)).count();
    let calls = count(|what| matches!(what, EventKind::Call(_)));
    match count(|what| matches!(what, EventKind::Upgrade { .. })) {
        0 => format!("{calls} calls"),
        1 => format!("{calls} calls and an upgrade"),
        upgrades => format!("{calls} calls and {upgrades} upgrades"),
    }
}
