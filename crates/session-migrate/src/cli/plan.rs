//! The command `plan`: the effects of the staged upgrade on the canister of a snapshot.

use std::path::PathBuf;

use clap::Args;
use session_migrate::page;
use session_migrate::plan::{self, Options, PlanError, Report};

use super::code_of;
use super::failure::{Failure, with_progress};
use super::report_file::ReportArgs;
use super::table::print_rows;
use super::wasm_args::WasmArgs;

#[derive(Debug, Args)]
pub(super) struct PlanArgs {
    /// Snapshot folder written by icp, dfx or PocketIC, or a file with raw stable memory, possibly gzipped.
    snapshot: PathBuf,
    #[command(flatten)]
    report: ReportArgs,
    #[command(flatten)]
    wasms: WasmArgs,
}

pub(super) fn run(args: PlanArgs) -> Result<u8, Failure> {
    let report_files = args.report.create_files(&[])?;
    let options = Options { snapshot: args.snapshot, wasms: args.wasms.into() };
    let report = with_progress(|progress| plan::run(&options, progress), PlanError::is_usage)?;
    print(&report);
    report_files.write(&report, || report.to_html())?;
    Ok(code_of(report.verdict))
}

fn print(report: &Report) {
    say!(
        "{}: {} legacy records: {} to be converted, {} to be quarantined, {} expired",
        report.snapshot.path.display(),
        report.records,
        report.converted,
        report.quarantined,
        report.expired
    );
    let classes = report
        .classes
        .iter()
        .map(|class| [class.class.clone(), class.treatment.clone(), class.count.to_string()]);
    print_rows(["class", "treatment", "records"], classes.collect(), [2]);
    let steps = report.steps.iter().map(|step| {
        [
            step.name.clone(),
            step.messages.to_string(),
            page::instructions(step.instructions),
            page::instructions(step.largest),
            page::instructions(step.limit),
            page::instructions(u64::try_from(step.cycles.nodes_13).unwrap_or(u64::MAX)),
            page::instructions(u64::try_from(step.cycles.nodes_34).unwrap_or(u64::MAX)),
            format!("{} s", step.seconds),
            page::bytes(step.stable_bytes),
            page::bytes(step.heap_bytes),
            if step.fits() { "yes" } else { "no" }.to_owned(),
        ]
    });
    print_rows(
        [
            "step",
            "messages",
            "instructions",
            "largest",
            "limit",
            "cycles, 13 nodes",
            "34 nodes",
            "time",
            "stable memory after",
            "heap after",
            "fits",
        ],
        steps.collect(),
        1..10,
    );
    say!("prices: {}", report.prices);
    for (what, before, after) in [
        ("stable memory", report.stable_before, report.stable_after),
        ("heap", report.heap_before, report.heap_after),
    ] {
        say!("{what}: {} before, {} after", page::bytes(before), page::bytes(after));
    }
    say!("for your users: {}", report.for_users());
    for caution in &report.cautions {
        eprintln!("note: {caution}");
    }
    for reason in &report.reasons {
        eprintln!("error: {reason}");
    }
    say!("verdict: {} ({:.1} s)", if report.reasons.is_empty() { "go" } else { "no go" }, report.seconds);
}
