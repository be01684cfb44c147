//! The command `check`: whether one build can be upgraded to another, and back.

use std::path::PathBuf;

use clap::Args;
use session_migrate::Verdict;
use session_migrate::check::{self, Report};
use stable_schema::Line;

use super::report_file::ReportFile;
use super::{ENVIRONMENT, USAGE, code_of, fail};

#[derive(Debug, Args)]
pub(super) struct CheckArgs {
    /// The build that is installed: a wasm, gzipped or not, or its schema file.
    old: PathBuf,
    /// The build to upgrade to.
    new: PathBuf,
    /// Exit with 1 also if the rollback is not possible at any time.
    #[arg(long)]
    reversible: bool,
    /// Print unchanged memories, too.
    #[arg(long)]
    all: bool,
    /// Write the report as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// Compares, prints, and returns the exit code.
pub(super) fn run(args: CheckArgs) -> u8 {
    let json = match args.json.as_deref().map(ReportFile::create).transpose() {
        Ok(json) => json,
        Err(error) => return fail(USAGE, error),
    };
    let report = match check::run(&args.old, &args.new) {
        Ok(report) => report,
        Err(error) => return fail(if error.is_usage() { USAGE } else { ENVIRONMENT }, error),
    };
    print(&report, args.all);
    if let Some(Err(error)) = json.map(|json| json.write_json(&report)) {
        return fail(ENVIRONMENT, error);
    }
    match (report.upgrade, report.rollback) {
        (Verdict::Pass, rollback) if args.reversible => code_of(rollback),
        (upgrade, _) => code_of(upgrade),
    }
}

fn print(report: &Report, all: bool) {
    let (old, new) = (&report.schemas.old, &report.schemas.new);
    println!("upgrade, {old} to {new}: {}", report.upgrade);
    print_lines(&report.schemas.upgrade, all);
    match &report.interfaces {
        None => println!("  interface: not compared, since a schema file has none"),
        Some(interfaces) if interfaces.breaking.is_empty() => println!("  interface: compatible"),
        Some(interfaces) => {
            println!("  interface: forbidden");
            interfaces.breaking.iter().for_each(|text| println!("    {text}"));
        }
    }
    let notes = |notes: &[stable_schema::interface::Note]| {
        notes.iter().for_each(|note| println!("    warning: {note}"));
    };
    if let Some(interfaces) = &report.interfaces {
        notes(&interfaces.upgrade);
    }
    println!("rollback, {new} to {old}: {}", report.rollback);
    print_lines(&report.schemas.rollback, all);
    if let Some(interfaces) = report.interfaces.as_ref().filter(|interfaces| !interfaces.rollback.is_empty())
    {
        println!("  interface, for clients made for {new}:");
        notes(&interfaces.rollback);
    }
}

fn print_lines(lines: &[Line], all: bool) {
    let is_changed = |line: &&Line| all || !line.reasons.is_empty();
    for line in lines.iter().filter(is_changed) {
        println!("  {line}");
        line.reasons.iter().for_each(|reason| println!("    {reason}"));
    }
    let unchanged = lines.iter().filter(|line| line.id.is_some() && line.reasons.is_empty()).count();
    if !all && unchanged > 0 {
        println!("  {unchanged} other memories: unchanged");
    }
}
