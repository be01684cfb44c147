//! The command `upgrade`: one step of the staged upgrade on a live canister.

use std::path::PathBuf;

use candid::Principal;
use clap::Args;
use session_migrate::build::{self, Build, Module};
use session_migrate::network::{Network, Retry};
use session_migrate::progress::Progress;
use session_migrate::upgrade::{
    self, Ending, Journal, Line, Listener, OnFailure, Plan, PlannedCall, Report, Silent, Tools, UpgradeError,
};

use super::failure::Failure;
use super::network_args::NetworkArgs;
use super::snapshot::parse_snapshot_id;
use super::table::table;
use super::{LOSS, USAGE, runtime};

/// The options of a new upgrade, except `--wasm`. They are in its journal, so they conflict with `--resume` and
/// `--abort`; clap ignores default values.
const NEW_UPGRADE: [&str; 9] = [
    "to",
    "dry_run",
    "stop",
    "rehearse",
    "on_failure",
    "max_quarantined",
    "time_limit",
    "drop_snapshot",
    "replace_snapshot",
];

#[derive(Debug, Args)]
pub(super) struct UpgradeArgs {
    /// The canister.
    #[arg(value_parser = parse_canister)]
    canister: Principal,
    /// Build to upgrade to: staged from legacy, direct from staged, or the installed build with a newer module.
    #[arg(long, value_name = "staged|direct", value_parser = parse_target, required_unless_present_any = ["resume", "abort"])]
    to: Option<Build>,
    /// Module to install [default: the module of this source tree].
    #[arg(long, value_name = "WASM")]
    wasm: Option<PathBuf>,
    /// Journal of the upgrade, from which it is resumed [default: upgrade-CANISTER.jsonl].
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Resume an interrupted upgrade with the options in its journal; of those, only `--wasm` may be given again.
    #[arg(long, conflicts_with_all = NEW_UPGRADE, conflicts_with = "abort")]
    resume: bool,
    /// End an interrupted upgrade, with the options in its journal: roll back if the new module is already installed.
    #[arg(long, conflicts_with_all = NEW_UPGRADE, conflicts_with = "wasm")]
    abort: bool,
    /// Print every call in order without making any.
    #[arg(long)]
    dry_run: bool,
    /// Print the journal's lines and the result as JSON on standard output.
    #[arg(long)]
    json: bool,
    /// Stop the canister for the install; clients are rejected until it is started again. Without it, the callback of a
    /// call that is open at that moment (a timer's call to the canister itself, or `raw_rand`) runs in the new module.
    #[arg(long)]
    stop: bool,
    /// Download the snapshot and rehearse the upgrade on it before anything is installed; only for the upgrade to the
    /// staged build.
    #[arg(long)]
    rehearse: bool,
    /// What to do if the upgrade fails after the install: roll back and keep later writes; roll back or, if impossible,
    /// restore the snapshot, which loses later writes; or do nothing.
    #[arg(long, value_name = "rollback|restore|hold", default_value = "rollback")]
    on_failure: OnFailure,
    /// Fail the upgrade if more records than this are quarantined [default: no limit].
    #[arg(long, value_name = "N")]
    max_quarantined: Option<u64>,
    /// Fail the upgrade if the migration takes longer than this, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    time_limit: u64,
    /// Delete the snapshot after the upgrade has succeeded.
    #[arg(long)]
    drop_snapshot: bool,
    /// Id of a snapshot that the new snapshot replaces.
    #[arg(long, value_name = "ID", value_parser = parse_snapshot_id)]
    replace_snapshot: Option<String>,
    #[command(flatten)]
    network: NetworkArgs,
}

fn parse_canister(text: &str) -> Result<Principal, String> {
    match Principal::from_text(text) {
        Ok(id) if id == Principal::management_canister() => {
            Err("it is the management canister, which cannot be upgraded".into())
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn parse_target(text: &str) -> Result<Build, String> {
    match text.parse() {
        Ok(build @ (Build::Staged | Build::Direct)) => Ok(build),
        _ => Err("expected staged or direct; to go back to legacy, use `migration_rollback`".into()),
    }
}

/// Prints every line of the journal as JSON.
struct JsonLines;

impl Listener for JsonLines {
    fn after(&mut self, line: &Line) -> std::io::Result<()> {
        say!("{}", serde_json::to_string(line)?);
        Ok(())
    }
}

pub(super) fn run(args: UpgradeArgs) -> Result<u8, Failure> {
    let result = upgrade(&args);
    if args.json
        && let Err(Failure { code, text }) = &result
    {
        say!("{}", serde_json::json!({ "event": "failed", "code": code, "error": text }));
    }
    result
}

fn upgrade(args: &UpgradeArgs) -> Result<u8, Failure> {
    args.network.check()?;
    if args.rehearse && args.to == Some(Build::Direct) {
        let text = "--rehearse begins in layout 1: rehearse before the upgrade to the staged build";
        return Err(Failure::usage(text));
    }
    let runtime = runtime()?;
    let default = || PathBuf::from(format!("upgrade-{}.jsonl", args.canister));
    let path = args.journal.clone().unwrap_or_else(default);
    let (mut lines, mut silent) = (JsonLines, Silent);
    let listener: &mut dyn Listener = if args.json { &mut lines } else { &mut silent };
    if args.dry_run {
        let to = args.to.unwrap_or(Build::Staged);
        let module = read_module(args, to)?;
        if let Some(reason) = upgrade::why_unsuitable(&module, to) {
            return Err(Failure::usage(reason));
        }
        // The root key and the caller are placeholders here, since the printed calls do not contain them.
        let plan = new_plan(args, &module, Vec::new(), Principal::anonymous());
        print_planned(&upgrade::planned_calls(&plan), args.json);
        return Ok(0);
    }
    if (args.resume || args.abort) && !path.exists() {
        return Err(Failure::usage(format_args!(
            "there is no journal {}, so there is no upgrade to continue",
            path.display()
        )));
    }
    let mut journal = Journal::open(&path, listener).map_err(with_exit_code)?;
    let to = match args.to {
        Some(to) => to,
        None => journal.unfinished_plan_of(args.canister).map_err(with_exit_code)?.to,
    };
    let module = if args.abort { None } else { Some(read_module(args, to)?) };
    let progress = Progress::stderr();
    let report = runtime.block_on(async {
        let network: Network = args.network.connect().await?;
        let tools = Tools { network: &network, retry: Retry::new(args.network.retry_for(), &progress) };
        let outcome = match &module {
            None => upgrade::abort(&tools, args.canister, &mut journal).await,
            Some(module) if args.resume => upgrade::resume(&tools, args.canister, module, &mut journal).await,
            Some(module) => {
                let plan = new_plan(args, module, network.root_key(), network.caller());
                upgrade::begin(&tools, plan, module, &mut journal).await
            }
        };
        outcome.map_err(with_exit_code)
    });
    progress.finish();
    drop(progress);
    let report = report?;
    print(&report, args.json);
    Ok(exit_code(&report))
}

fn read_module(args: &UpgradeArgs, to: Build) -> Result<Module, Failure> {
    match &args.wasm {
        Some(path) => Module::read(path).map_err(Failure::usage),
        None => build::ensure_one(to)
            .and_then(|artifact| Module::read(&artifact.wasm_gz))
            .map_err(Failure::environment),
    }
}

fn new_plan(args: &UpgradeArgs, module: &Module, root_key: Vec<u8>, caller: Principal) -> Plan {
    Plan {
        canister: args.canister,
        network: args.network.url().to_owned(),
        root_key: hex::encode(root_key),
        caller,
        to: args.to.unwrap_or(Build::Staged),
        module_hash: module.sha256.clone(),
        stop: args.stop,
        rehearse: args.rehearse,
        on_failure: args.on_failure,
        max_quarantined: args.max_quarantined,
        time_limit: args.time_limit,
        drop_snapshot: args.drop_snapshot,
        replace_snapshot: args.replace_snapshot.clone(),
    }
}

fn print_planned(calls: &[PlannedCall], json: bool) {
    if json {
        for call in calls {
            say!("{}", serde_json::json!(call));
        }
        return;
    }
    let rows = calls.iter().enumerate().map(|(index, call)| {
        let PlannedCall { kind, call, purpose, when } = call;
        [(index + 1).to_string(), (*kind).to_owned(), call.clone(), purpose.clone(), when.clone()]
    });
    say!("{}", table(["", "kind", "call", "for", "only if"], rows, [0]));
    say!("nothing was sent");
}

fn print(report: &Report, json: bool) {
    if json {
        say!("{}", serde_json::json!({ "event": "report", "report": report }));
        return;
    }
    say!("canister: {}", report.canister);
    if let Some(before) = &report.before {
        say!(
            "before: {} build, module hash {}, migration {} {}, layout {}; stable memory: {}",
            before.build,
            before.module_hash,
            before.migration,
            before.phase,
            before.layout,
            before.stable_memory.as_deref().unwrap_or("not compared, as the module that ran has no schema")
        );
    }
    if let Some(snapshot) = &report.snapshot {
        say!("snapshot: {snapshot}; it stays until you delete it, and its memory costs cycles");
    }
    match &report.ending {
        Ending::NothingToDo => say!("the {} build {} is already running", report.to, report.module_hash),
        Ending::Refused { reasons } => {
            for reason in reasons {
                eprintln!("error: {reason}");
            }
            say!("refused: nothing was done");
        }
        Ending::Upgraded { quarantined } => {
            let is_same_build = report.before.as_ref().is_some_and(|before| before.build == report.to);
            let migration = match is_same_build {
                true => "the migration is as before",
                false => "everything is converted and verified",
            };
            say!(
                "upgraded to the {} build, module hash {}; {migration}, {quarantined} records in quarantine",
                report.to,
                report.module_hash
            );
        }
        Ending::NotInstalled { why } => {
            eprintln!("error: {why}");
            say!("not installed: the canister runs as before");
        }
        Ending::RolledBack { why } => {
            eprintln!("error: {why}");
            say!("rolled back: the previous module runs, and everything written since is kept");
        }
        Ending::Restored { why, no_rollback, lost } => {
            eprintln!("error: {why}");
            eprintln!("error: it could not be rolled back: {no_rollback}");
            let lost = lost.map_or("an unknown number of calls".to_owned(), |lost| lost.to_string());
            say!("restored from the snapshot; lost: {lost}");
        }
        Ending::Held { why, no_recovery } => {
            eprintln!("error: {why}");
            say!("held: the canister is left as it is: {no_recovery}");
        }
    }
}

/// A refused upgrade has changed nothing, so its code is that of wrong usage.
fn exit_code(report: &Report) -> u8 {
    if report.is_success() {
        0
    } else if report.is_refused() {
        USAGE
    } else {
        LOSS
    }
}

fn with_exit_code(error: UpgradeError) -> Failure {
    Failure::of(error, UpgradeError::is_usage)
}
