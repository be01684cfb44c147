//! The command `adopt`: converts a snapshot of the first public release to a snapshot of this canister.

use std::path::PathBuf;

use clap::Args;
use session_migrate::adopt::{self, AdoptError, Header, Item, Options, RecordOutcome, Report};
use session_migrate::page;
use session_migrate::snapshot::Manifest;

use super::code_of;
use super::failure::{Failure, with_progress};
use super::report_file::{ReportFile, check_distinct};
use super::table::print_rows;

/// Of the records that were not taken or were repaired, the maximum number that is printed.
const MAX_SHOWN: usize = 40;

#[derive(Debug, Args)]
pub(super) struct AdoptArgs {
    /// Snapshot folder of a canister of the first public release, or a file with its raw stable memory, possibly
    /// gzipped.
    snapshot: PathBuf,
    /// Folder to write; records that have no counterpart or are damaged go to FOLDER.left.jsonl next to it.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Write the report with every record as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Use this wasm instead of the legacy build.
    #[arg(long, value_name = "WASM")]
    legacy: Option<PathBuf>,
}

pub(super) fn run(args: AdoptArgs) -> Result<u8, Failure> {
    let (left, manifest) = (adopt::left_path(&args.out), Manifest::path(&args.out));
    check_distinct(&[
        ("--json", args.json.as_deref()),
        ("--out", Some(args.out.as_path())),
        ("FOLDER.left.jsonl of --out", Some(left.as_path())),
        ("FOLDER.manifest.json of --out", Some(manifest.as_path())),
    ])?;
    let json = args.json.as_deref().map(ReportFile::create).transpose()?;
    let options = Options { snapshot: args.snapshot, out: args.out, legacy: args.legacy };
    let report = with_progress(|progress| adopt::run(&options, progress), AdoptError::is_usage)?;
    print(&report);
    if let Some(json) = json {
        json.write_json(&report)?;
    }
    Ok(code_of(report.verdict))
}

fn print(report: &Report) {
    let rows = report.counts.iter().map(|count| {
        [
            count.kind.plural().to_owned(),
            count.found.to_string(),
            count.taken.to_string(),
            count.repaired.to_string(),
            count.no_counterpart.to_string(),
            count.not_taken.to_string(),
        ]
    });
    print_rows(["", "found", "taken", "repaired", "no counterpart", "not taken"], rows.collect(), 1..6);
    if report.header == Header::Reconstructed {
        say!(
            "the header of the memory manager was reconstructed: that release's pre_upgrade had overwritten it"
        );
    }
    say!(
        "{} of blobs, each compared with its SHA-256; {} of stable memory in layout 1; session ids continue above {}",
        page::bytes(report.blob_bytes),
        page::bytes(report.stable_bytes),
        report.sessions_after
    );
    say!("written: {}", report.folder);
    say!("next to it: {}, {} lines", report.left, report.left_lines);
    if let Some(why) = &report.heap {
        eprintln!("warning: {why}");
    }
    for damage in &report.damage {
        eprintln!("error: {damage}");
    }
    let with_outcome = |outcome| report.items.iter().filter(move |item| item.outcome == outcome);
    let notable = with_outcome(RecordOutcome::NotTaken).chain(with_outcome(RecordOutcome::Repaired));
    let count = notable.clone().count();
    for item in notable.take(MAX_SHOWN) {
        eprintln!(
            "{}: {}",
            if item.outcome == RecordOutcome::NotTaken { "error" } else { "note" },
            describe_item(item)
        );
    }
    if count > MAX_SHOWN {
        eprintln!("and {} more; --json contains every record", count - MAX_SHOWN);
    }
    say!("verdict: {}", report.verdict);
}

fn describe_item(item: &Item) -> String {
    let of_capsule = item.capsule.as_ref().map(|capsule| format!(" of {capsule}")).unwrap_or_default();
    let count = if item.count > 1 { format!("{} ", item.count) } else { String::new() };
    let kind = if item.count > 1 { item.kind.plural() } else { item.kind.word() };
    format!("{count}{kind} {}{of_capsule}: {}: {}", item.id, item.outcome, item.notes.join("; "))
}
