//! The command `inspect`: the contents of a snapshot, and whether it is sound.

use std::path::PathBuf;

use clap::Args;
use session_migrate::inspect::{self, Counts, InspectError, Options, Report, Severity};
use session_migrate::page;
use session_migrate::progress::Progress;

use super::code_of;
use super::failure::Failure;
use super::report_file::ReportArgs;
use super::table::print_rows;

/// Maximum number of findings printed.
const MAX_SHOWN: usize = 40;

/// Maximum number of reasons printed for the quarantine of a migration.
const MAX_REASONS: usize = 5;

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// Snapshot folder written by icp, dfx or PocketIC, or a file with raw stable memory, possibly gzipped.
    snapshot: PathBuf,
    /// Hash every committed blob and compare it with its recorded digest.
    #[arg(long)]
    deep: bool,
    #[command(flatten)]
    report: ReportArgs,
}

pub(super) fn run(args: InspectArgs) -> Result<u8, Failure> {
    let report_files = args.report.create_files(&[])?;
    let options = Options { snapshot: args.snapshot, deep: args.deep };
    let progress = Progress::stderr();
    let result = inspect::run(&options, &progress);
    drop(progress);
    let report = result.map_err(|error| match error.is_damage() {
        true => Failure::loss(error),
        false => Failure::of(error, InspectError::is_usage),
    })?;
    print(&report);
    report_files.write(&report, || report.to_html())?;
    Ok(code_of(report.verdict))
}

fn print(report: &Report) {
    print_snapshot(report);
    print_contents(&report.counts);
    print_sessions(report);
    print_migrations(report);
    print_space(report);
    print_hashed(report);
    print_findings(report);
    say!("verdict: {}", report.verdict);
}

fn print_snapshot(report: &Report) {
    let snapshot = &report.snapshot;
    say!("{}: {}, {}", snapshot.path.display(), snapshot.form, snapshot.verification());
    match &snapshot.module {
        Some(module) => say!("module: {} build, hash {}", module.build, module.sha256),
        None => say!("module: none"),
    }
    say!("stable layout: {}", report.layout);
}

fn print_contents(counts: &Counts) {
    say!(
        "holds: {} sessions ({} legacy records), {} capsules, {} memories, {} blobs of {}, {} chunks of {}, {} receipts",
        counts.sessions,
        counts.legacy_sessions,
        counts.capsules,
        counts.memories,
        counts.blobs,
        page::bytes(counts.blob_bytes),
        counts.chunks,
        page::bytes(counts.chunk_bytes),
        counts.receipts,
    );
    let remaining_work = [
        (counts.leftovers, "converted records to be deleted"),
        (counts.releases_pending, "ended, deleted or moved objects with chunks to be removed"),
        (counts.condemned_capsules, "deleted capsules with memories to be removed"),
        (counts.quarantined, "units in quarantine"),
    ];
    for (count, what) in remaining_work.into_iter().filter(|(count, _)| *count > 0) {
        say!("       {count} {what}");
    }
}

fn print_sessions(report: &Report) {
    let sessions = report.sessions.iter().map(|group| {
        [
            group.layout.to_string(),
            group.state.clone(),
            group.count.to_string(),
            page::bytes(group.received),
            page::bytes(group.bytes),
        ]
    });
    print_rows(["layout", "state", "sessions", "arrived", "declared"], sessions.collect(), [2, 3, 4]);
    let ages =
        report.ages.iter().filter(|age| age.count > 0).map(|age| format!("{} {}", age.count, age.idle));
    let ages: Vec<String> = ages.collect();
    if !ages.is_empty() {
        say!("idle: {}", ages.join(", "));
    }
}

fn print_migrations(report: &Report) {
    let classes = report.classes.iter().filter(|class| class.count > 0).map(|class| {
        let examples: Vec<String> = class.examples.iter().map(u64::to_string).collect();
        [
            class.migration.to_string(),
            class.class.clone(),
            class.treatment.clone(),
            class.count.to_string(),
            examples.join(", "),
        ]
    });
    print_rows(["migration", "class", "treatment", "units", "for example"], classes.collect(), [3]);
    for migration in &report.migrations {
        say!(
            "migration {}: {}, {} units: {} converted, {} quarantined, {} expired{}",
            migration.migration,
            migration.phase,
            migration.source,
            migration.converted,
            migration.quarantined,
            migration.expired,
            if migration.note.is_empty() { String::new() } else { format!("; {}", migration.note) }
        );
        for (reason, count) in migration.reasons.iter().take(MAX_REASONS) {
            say!("       {count} in quarantine: {reason}");
        }
    }
}

/// Prints the limits of the canister, and how full its stable memory is.
fn print_space(report: &Report) {
    let limits = report.limits.iter().map(|limit| {
        [
            limit.limit.clone(),
            limit.used.to_string(),
            limit.allowed.to_string(),
            format!("{} %", limit.percent()),
            limit.whose.clone().unwrap_or_default(),
        ]
    });
    print_rows(["limit", "used", "allowed", "", "used most by"], limits.collect(), [1, 2, 3]);
    let memory = &report.memory;
    say!(
        "stable memory: {} allocated in {} buckets of {}, {} in pages that are not all zero",
        page::bytes(memory.bytes),
        memory.buckets,
        page::bytes(memory.bucket_bytes),
        page::bytes(memory.bytes_in_use)
    );
}

fn print_hashed(report: &Report) {
    match &report.deep {
        Some(deep) => say!(
            "hashed: {} blobs, {}; {} are unchanged since they were committed",
            deep.blobs,
            page::bytes(deep.bytes),
            deep.sound
        ),
        None => say!("hashed: no blobs (use --deep)"),
    }
}

fn print_findings(report: &Report) {
    if report.snapshot.taken_at.is_none() {
        say!(
            "note: a raw stable memory has no timestamp; ages are relative to the last activity of any session"
        );
    }
    for finding in report.findings.iter().take(MAX_SHOWN) {
        match finding.severity {
            Severity::Damage => eprintln!("error: {finding}"),
            Severity::Warning => eprintln!("warning: {finding}"),
        }
    }
    let finding_count: u64 = report.found.iter().map(|kind| kind.count).sum();
    if finding_count > MAX_SHOWN as u64 {
        eprintln!(
            "and {} more; --json and --html contain up to 100 of each kind",
            finding_count - MAX_SHOWN as u64
        );
    }
}
