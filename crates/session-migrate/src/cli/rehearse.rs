//! The command `rehearse`: the staged upgrade during real uploads, on fresh canisters or a copy of a snapshot.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use session_migrate::progress::Phase;
use session_migrate::provenance;
use session_migrate::rehearse::foreign::{self, ForeignOptions};
use session_migrate::rehearse::{self, MigrationReport, MigrationRun, Options, RehearseError, Report};
use session_migrate::shorten_dumps;

use super::code_of;
use super::failure::{Failure, with_progress};
use super::rehearse_canister::{self, ForeignArgs};
use super::report_file::ReportArgs;
use super::table::{on_one_line, table};
use super::wasm_args::WasmArgs;

#[derive(Debug, Args)]
pub(super) struct RehearseArgs {
    /// Rehearse on a copy of this snapshot (a folder written by icp, dfx or PocketIC, or a file with raw stable memory,
    /// possibly gzipped): the clients of its sessions continue their uploads, and a rollback is included.
    #[arg(long, value_name = "SNAPSHOT", conflicts_with_all = ["rollback", "record"])]
    snapshot: Option<PathBuf>,
    /// Files that each client uploads [default: a generated original of 21,827,484 bytes and three derivatives].
    #[arg(long, value_name = "PATH", num_args = 1..)]
    files: Vec<PathBuf>,
    /// Number of clients that upload in parallel.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=100))]
    clients: u32,
    #[command(flatten)]
    report: ReportArgs,
    /// Seed for the generated contents and the clients' choices; the same seed gives the same rehearsal.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Also roll the migration back on the staged build, return to the legacy build during uploads, and migrate again.
    #[arg(long)]
    rollback: bool,
    /// Record the clients' calls and answers as a trace in this file.
    #[arg(long, value_name = "FILE")]
    record: Option<PathBuf>,
    #[command(flatten)]
    wasms: WasmArgs,
    #[command(flatten)]
    foreign: ForeignArgs,
}

pub(super) fn run(args: RehearseArgs) -> Result<u8, Failure> {
    if let Some(options) = args.foreign.options(args.rollback) {
        return run_foreign(options, &args.report);
    }
    let options = Options {
        snapshot: args.snapshot,
        files: args.files,
        clients: args.clients,
        seed: args.seed,
        rollback: args.rollback,
        wasms: args.wasms.into(),
        record: args.record,
    };
    rehearse::check(&options).map_err(Failure::usage)?;
    let report_files = args.report.create_files(&[("--record", options.record.as_deref())])?;
    // How long cargo compiled this program is the age of this process, since `cargo run` becomes this program (exec).
    // So it is measured before any work.
    let compile_time = provenance::time_spent_compiling();
    let report = with_progress(|progress| rehearse::run(&options, progress), RehearseError::is_usage)?;
    print_report(&report, compile_time);
    report_files.write(&report, || report.to_html())?;
    Ok(code_of(report.verdict))
}

fn run_foreign(options: ForeignOptions, report_args: &ReportArgs) -> Result<u8, Failure> {
    let checked = foreign::check(options).map_err(|error| Failure::of(error, RehearseError::is_usage))?;
    let report_files = report_args.create_files(&[])?;
    let report = with_progress(|progress| foreign::run(&checked, progress), RehearseError::is_usage)?;
    rehearse_canister::print(&report);
    print_end(&report, None);
    report_files.write(&report, || report.to_html())?;
    Ok(code_of(report.verdict))
}

pub(super) fn describe_counts(units: &str, counts: &MigrationReport) -> String {
    let MigrationReport { source, converted, already, quarantined, expired, .. } = counts;
    format!(
        "{source} {units}: {converted} converted, {already} converted on touch, {quarantined} quarantined, {expired} \
         expired"
    )
}

fn print_report(report: &Report, compile_time: Option<Duration>) {
    let rows = report.uploads.iter().map(|upload| {
        [
            upload.client.to_string(),
            on_one_line(&upload.name),
            upload.bytes.to_string(),
            upload.state_at_upgrade.name().to_owned(),
            format!("{}/{}", upload.chunks_before_upgrade, upload.chunks_total),
            upload.sha256_read_back.as_deref().map_or("-", |hash| hash.get(..16).unwrap_or(hash)).to_owned(),
            if upload.intact { "yes" } else { "NO" }.to_owned(),
        ]
    });
    let header = ["client", "file", "bytes", "at the upgrade", "chunks then", "SHA-256 read back", "intact"];
    say!("{}", table(header, rows, [0, 2, 4]));
    print_stages(report);
    for MigrationRun { stage, migration, phase, counts } in &report.runs {
        if phase == "RolledBack" {
            say!("sessions after {stage}: rolled back, {} instructions", counts.instructions);
        } else if *migration == 1 {
            say!("sessions after {stage}: {}; {phase}", describe_counts("records", counts));
        } else {
            say!(
                "payload after {stage}: {} sessions and blobs: {} moved into extents, {} quarantined; {phase}",
                counts.source,
                counts.converted,
                counts.quarantined
            );
        }
    }
    if let Some(snapshot) = &report.snapshot {
        say!(
            "snapshot: {} sessions, {} continued by their own clients; {}",
            snapshot.sessions,
            snapshot.continued,
            snapshot.comparison()
        );
    }
    print_end(report, compile_time);
}

pub(super) fn print_stages(report: &Report) {
    for stage in &report.stages {
        let cost = stage.instructions.map_or(String::new(), |count| format!(", {count} instructions"));
        let outcome = if stage.upgrade_ok { "ok" } else { "FAILED" };
        say!("{}: {outcome}{cost}", stage.name);
    }
}

fn print_end(report: &Report, compile_time: Option<Duration>) {
    say!("time: {}", times(&report.phases, compile_time));
    for note in &report.notes {
        eprintln!("note: {note}");
    }
    for problem in &report.problems {
        eprintln!("error: {}", shorten_dumps(problem));
    }
    say!("verdict: {} ({:.1} s)", report.verdict, report.seconds);
}

fn times(phases: &[Phase], compile_time: Option<Duration>) -> String {
    let (building, rehearsing): (Vec<&Phase>, Vec<&Phase>) =
        phases.iter().partition(|phase| phase.name == rehearse::BUILDING);
    let seconds = |phases: &[&Phase]| -> f64 { phases.iter().map(|phase| phase.seconds).sum() };
    let compile_text = compile_time
        .map_or(String::new(), |time| format!("{:.1} s compiling this program, ", time.as_secs_f64()));
    let build_text = match building.is_empty() {
        true => String::new(),
        false => format!("{:.1} s building the wasms, ", seconds(&building)),
    };
    format!("{compile_text}{build_text}{:.1} s rehearsing", seconds(&rehearsing))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_shown_by_activity() {
        let phase = |name: &str, seconds| Phase { name: name.into(), began: String::new(), seconds };
        let phases = [phase(rehearse::BUILDING, 60.0), phase("uploading", 1.5), phase("reading", 2.0)];
        assert_eq!(times(&phases, None), "60.0 s building the wasms, 3.5 s rehearsing");
        let all = times(&phases, Some(Duration::from_secs(300)));
        assert!(all.starts_with("300.0 s compiling this program, 60.0 s"), "{all}");
    }
}
