//! The command `check`: whether one build can be upgraded to another, and back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use candid::Principal;
use clap::Args;
use ic_agent::identity::AnonymousIdentity;
use session_migrate::Verdict;
use session_migrate::build::SCHEMAS;
use session_migrate::check::{self, CheckError, FromRelease, Report, Side};
use stable_schema::Line;

use super::failure::Failure;
use super::network_args::AddressArgs;
use super::report_file::ReportFile;
use super::{code_of, runtime};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The build that is installed, and the build to upgrade to: wasms, gzipped or not, or schema files. With
    /// --canister, give only NEW; with --tree, neither.
    #[arg(value_names = ["OLD", "NEW"], num_args = 0..=2)]
    builds: Vec<PathBuf>,
    /// Compare the metadata of a live canister with NEW.
    #[arg(long, value_name = "ID", conflicts_with = "tree")]
    canister: Option<Principal>,
    #[command(flatten)]
    address: AddressArgs,
    /// Compare the schemas of every release in FOLDER/releases/VERSION with the schemas in FOLDER.
    #[arg(long, value_name = "FOLDER", num_args = 0..=1, default_missing_value = SCHEMAS, conflicts_with = "json")]
    tree: Option<PathBuf>,
    /// Also exit with code 1 unless a rollback to OLD is always possible after the upgrade.
    #[arg(long)]
    reversible: bool,
    /// Also print unchanged memories.
    #[arg(long)]
    all: bool,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

pub(super) fn run(args: CheckArgs) -> Result<u8, Failure> {
    let json = args.json.as_deref().map(ReportFile::create).transpose()?;
    if let Some(schemas) = &args.tree {
        return compare_with_releases(schemas, &args);
    }
    let report = compare_builds(&args)?;
    print(&report, args.all);
    if let Some(json) = json {
        json.write_json(&report)?;
    }
    Ok(exit_code(&report, args.reversible))
}

/// Returns the code of the upgrade; with `reversible`, of the rollback if the upgrade passes.
fn exit_code(report: &Report, reversible: bool) -> u8 {
    match (report.upgrade, report.rollback) {
        (Verdict::Pass, rollback) if reversible => code_of(rollback),
        (upgrade, _) => code_of(upgrade),
    }
}

fn compare_builds(args: &CheckArgs) -> Result<Report, Failure> {
    match (args.canister, args.builds.as_slice()) {
        (None, [old, new]) => check::run(old, new).map_err(with_exit_code),
        (Some(canister), [new]) => {
            let new = Side::read(new).map_err(with_exit_code)?;
            runtime()?.block_on(async {
                // Public metadata can be read without an identity.
                let network = args.address.connect(Arc::new(AnonymousIdentity)).await?;
                let old = Side::live(&network, canister).await.map_err(with_exit_code)?;
                check::compare(&old, &new).map_err(with_exit_code)
            })
        }
        (None, builds) => {
            let count = builds.len();
            Err(Failure::usage(format_args!("expected two builds, OLD and NEW, got {count}")))
        }
        (Some(_), builds) => {
            let count = builds.len();
            Err(Failure::usage(format_args!("with --canister, expected one build, NEW, got {count}")))
        }
    }
}

fn with_exit_code(error: CheckError) -> Failure {
    Failure::of(error, CheckError::is_usage)
}

/// Compares the releases with the tree, prints every pair, and returns the highest exit code.
fn compare_with_releases(schemas: &Path, args: &CheckArgs) -> Result<u8, Failure> {
    if !args.builds.is_empty() {
        let text = "with --tree, expected no build: the schemas are read from the folder";
        return Err(Failure::usage(text));
    }
    let comparisons = check::tree(schemas).map_err(with_exit_code)?;
    for FromRelease { release, report } in &comparisons {
        say!("release {release}");
        print(report, args.all);
    }
    let codes = comparisons.iter().map(|comparison| exit_code(&comparison.report, args.reversible));
    Ok(codes.max().unwrap_or_default())
}

fn print(report: &Report, all: bool) {
    let (old, new) = (&report.schemas.old, &report.schemas.new);
    say!("upgrade, {old} to {new}: {}", report.upgrade);
    print_lines(&report.schemas.upgrade, all);
    match &report.interfaces {
        None => say!("  interface: not compared, since OLD or NEW has none"),
        Some(interfaces) if interfaces.breaking.is_empty() => say!("  interface: compatible"),
        Some(interfaces) => {
            say!("  interface: forbidden");
            interfaces.breaking.iter().for_each(|text| say!("    {text}"));
        }
    }
    let print_notes = |notes: &[stable_schema::interface::MethodNote]| {
        notes.iter().for_each(|note| say!("    warning: {note}"));
    };
    if let Some(interfaces) = &report.interfaces {
        print_notes(&interfaces.upgrade);
    }
    say!("rollback, {new} to {old}: {}", report.rollback);
    print_lines(&report.schemas.rollback, all);
    if let Some(interfaces) = report.interfaces.as_ref().filter(|interfaces| !interfaces.rollback.is_empty())
    {
        say!("  interface, for clients made for {new}:");
        print_notes(&interfaces.rollback);
    }
}

fn print_lines(lines: &[Line], all: bool) {
    let is_shown = |line: &&Line| all || !line.reasons.is_empty();
    for line in lines.iter().filter(is_shown) {
        say!("  {line}");
        line.reasons.iter().for_each(|reason| say!("    {reason}"));
    }
    // A line without an id is about the layouts, not about a memory.
    let unchanged = lines.iter().filter(|line| line.id.is_some() && line.reasons.is_empty()).count();
    if !all && unchanged > 0 {
        say!("  {unchanged} other memories: unchanged");
    }
}
