//! The command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Args, Parser, Subcommand};
use session_migrate::build::Build;
use session_migrate::progress::Progress;
use upload_bench::bare_map;
use upload_bench::compare::Comparison;
use upload_bench::engine;
use upload_bench::error::BenchError;
use upload_bench::full_chunks;
use upload_bench::measure::{self, Measured, Selection};
use upload_bench::peers;
use upload_bench::publish;
use upload_bench::report::{self, Figures, Style};
use upload_bench::results::{self, Results};
use upload_bench::sizes;

const EXIT_WORSE: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_FAILED: u8 = 3;

/// Measures the cost of every call of the upload canister, on all three builds.
#[derive(Debug, Parser)]
#[command(name = "bench-costs", version, about, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Exit codes: 0 pass, 1 --check found a figure that is worse by more than 2 %, exceeds a limit, is not checked in or was not measured, or an outdated document, 2 invalid usage, 3 something else failed, such as the compiler or the server"
)]
struct Cli {
    #[command(flatten)]
    costs: CostArgs,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct CostArgs {
    /// Compare with the checked-in figures.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Overwrite the checked-in figures with the measured ones, and update the documents generated from them.
    #[arg(long)]
    update: bool,
    /// Also measure scenarios that take minutes.
    #[arg(long)]
    full: bool,
    /// Which build to measure; may be repeated [default: all three].
    #[arg(long = "build", value_name = "legacy|staged|direct")]
    builds: Vec<Build>,
    /// Measure only the scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Compare the three builds and DFINITY's asset canister on the same files, large and small: instructions, bytes,
    /// MB/s.
    SideBySide(PeerArgs),
    /// Measure a look-up, an insertion and a removal in a bare map of ic-stable-structures.
    BareMap {
        /// Overwrite the checked-in figures, and update docs/costs.md.
        #[arg(long)]
        update: bool,
    },
    /// Measure the migration engine on its own: per record, by number of records, and with units in quarantine.
    Engine(EngineArgs),
    /// Measure migration 1 on sessions with a stored chunk of 1.8 MB each, up to what stable memory can hold.
    FullChunks {
        /// Compare with the checked-in figures, and with the target.
        #[arg(long, conflicts_with = "update")]
        check: bool,
        /// Overwrite the checked-in figures, and update docs/costs.md.
        #[arg(long)]
        update: bool,
    },
    /// Measure time and memory of the commands that read a large snapshot; takes minutes, and 15 GB of disk.
    Sizes(SizeArgs),
    /// Read back the canister that `sizes` has adopted. `sizes` runs this command, and measures its process.
    #[command(hide = true)]
    ReadBack {
        /// The adopted folder.
        folder: PathBuf,
    },
    /// Regenerate docs/costs.md, docs/sizes.md, the plot and the section of the README from the checked-in figures.
    Document,
}

#[derive(Debug, Args)]
struct EngineArgs {
    /// Compare with the checked-in figures, and with the limits.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Overwrite the checked-in figures, and update docs/costs.md.
    #[arg(long)]
    update: bool,
    /// Also measure a million records, which takes minutes.
    #[arg(long)]
    full: bool,
}

#[derive(Debug, Args)]
struct SizeArgs {
    /// Size of the snapshot's stable memory, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 10_240)]
    stable: u64,
    /// Size of the files in it, MiB.
    #[arg(long, value_name = "MIB", default_value_t = 2_048)]
    files: u64,
    /// Runs of each command that only reads the snapshot; the median counts.
    #[arg(long, value_name = "N", default_value_t = 3)]
    rounds: usize,
    /// Folder for the snapshots, which are kept, and reused if they exist [default: a temporary one].
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// Measure the adoption of a canister of the first public release alone, and keep the other checked-in figures.
    #[arg(long)]
    adoption: bool,
    /// Overwrite the checked-in figures, and update docs/sizes.md.
    #[arg(long)]
    update: bool,
}

#[derive(Debug, Args)]
struct PeerArgs {
    /// Write the figures as JSON to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measure small files, ranges, deletions and listing alone, and keep the other checked-in figures.
    #[arg(long)]
    files: bool,
    /// Compare the figures of small files, ranges, deletions and listing with the checked-in ones.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Overwrite the checked-in figures, and update docs/costs.md.
    #[arg(long)]
    update: bool,
}

pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let outcome = match cli.command {
        None => measure_costs(cli.costs),
        Some(Command::SideBySide(args)) => measure_side_by_side(&args),
        Some(Command::BareMap { update }) => measure_bare_map(update).map(|()| 0),
        Some(Command::Engine(args)) => measure_engine(&args),
        Some(Command::FullChunks { check, update }) => measure_full_chunks(check, update),
        Some(Command::Sizes(args)) => measure_sizes(args).map(|()| 0),
        Some(Command::ReadBack { folder }) => {
            let progress = start_progress();
            sizes::read_back(&folder, &|what| progress.line(what)).map(|()| 0)
        }
        Some(Command::Document) => publish::write_documents().map(|()| 0),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(if error.is_usage() { EXIT_USAGE } else { EXIT_FAILED })
        }
    }
}

fn measure_side_by_side(args: &PeerArgs) -> Result<u8, BenchError> {
    let recorded = publish::recorded_peers()?;
    let kept = figures_to_keep(args.files, recorded.clone(), "side-by-side")?;
    let wasms = measure::wasms(&Build::ALL)?;
    let progress = start_progress();
    let figures = peers::run(&wasms, kept, &|step| progress.line(step))?;
    drop(progress);
    println!("{}", peers::load_table(Style::Terminal, &figures));
    println!("{}", peers::job_table(Style::Terminal, &figures));
    if let Some(path) = &args.json {
        let json = serde_json::to_vec_pretty(&figures).map_err(BenchError::file("write", path))?;
        std::fs::write(path, json).map_err(BenchError::file("write", path))?;
    }
    if args.update {
        publish::save_peers(&figures)?;
        publish::write_documents()?;
    }
    let faults = if args.check { peers::faults(&figures, &recorded.unwrap_or_default()) } else { Vec::new() };
    Ok(exit_code(args.check, &faults))
}

/// Returns the checked-in figures to keep if only a part is measured; `None` if everything is measured.
fn figures_to_keep<T>(
    is_part: bool,
    recorded: Option<T>,
    subcommand: &'static str,
) -> Result<Option<T>, BenchError> {
    match (is_part, recorded) {
        (false, _) => Ok(None),
        (true, None) => Err(BenchError::NothingRecorded { subcommand }),
        (true, recorded) => Ok(recorded),
    }
}

fn start_progress() -> Progress {
    let progress = Progress::stderr();
    progress.phase("measuring");
    progress
}

fn measure_bare_map(update: bool) -> Result<(), BenchError> {
    let progress = start_progress();
    let maps = bare_map::measure()?;
    drop(progress);
    println!("{}", report::bare_map_table(Style::Terminal, &maps));
    if update {
        publish::save_bare_map(&maps)?;
        publish::write_documents()?;
    }
    Ok(())
}

fn measure_engine(args: &EngineArgs) -> Result<u8, BenchError> {
    let began = Instant::now();
    let progress = start_progress();
    let costs = engine::measure(args.full, &|part| {
        progress.line(&format!("{:>6.1} s  {part}", began.elapsed().as_secs_f64()));
    })?;
    drop(progress);
    println!("{}", report::move_table(Style::Terminal, &costs));
    println!("{}", report::one_map_table(Style::Terminal, &costs));
    println!("{}", report::quarantine_table(Style::Terminal, &costs));
    let recorded = publish::recorded_engine()?;
    let mut faults = costs.faults();
    if args.update {
        publish::save_engine(&costs.completed(recorded))?;
        publish::write_documents()?;
    } else if args.check {
        faults.extend(costs.compare(&recorded.unwrap_or_default()));
    }
    Ok(exit_code(args.check, &faults))
}

/// Prints the faults, which fail the command only if `check`.
fn exit_code(check: bool, faults: &[String]) -> u8 {
    for fault in faults {
        println!("FAIL: {fault}");
    }
    if check && !faults.is_empty() { EXIT_WORSE } else { 0 }
}

fn measure_full_chunks(check: bool, update: bool) -> Result<u8, BenchError> {
    let wasms = measure::wasms(&[Build::Legacy, Build::Staged])?;
    let progress = start_progress();
    let measured = full_chunks::measure(&wasms, &|run| progress.line(run))?;
    drop(progress);
    println!("{}", report::full_chunks_table(Style::Terminal, &measured));
    if update {
        publish::save_full_chunks(&measured)?;
        publish::write_documents()?;
    }
    let faults =
        if check { full_chunks::faults(&measured, &publish::recorded_full_chunks()?) } else { Vec::new() };
    Ok(exit_code(check, &faults))
}

fn measure_sizes(args: SizeArgs) -> Result<(), BenchError> {
    let kept = figures_to_keep(args.adoption, publish::recorded_sizes()?, "sizes")?;
    let temporary = tempfile::tempdir().map_err(BenchError::file("create", std::env::temp_dir()))?;
    let folder = args.folder.unwrap_or_else(|| temporary.path().to_path_buf());
    let options = sizes::Options {
        stable_bytes: args.stable << 20,
        file_bytes: args.files << 20,
        rounds: args.rounds,
        folder,
    };
    let wasms = measure::wasms(&Build::ALL)?;
    let progress = start_progress();
    let figures = match kept {
        Some(mut figures) => {
            sizes::measure_adoption(&options.folder, &mut figures, &|what| progress.line(what))?;
            figures
        }
        None => sizes::measure(&options, &wasms, &|what| progress.line(what))?,
    };
    drop(progress);
    println!("{}", sizes::terminal(&figures));
    if args.update {
        publish::save_sizes(&figures)?;
        publish::write_documents()?;
    }
    Ok(())
}

fn measure_costs(args: CostArgs) -> Result<u8, BenchError> {
    let is_everything = args.full && args.builds.is_empty() && args.only.is_none();
    // The figures that are kept must be of the same compiler.
    if args.update && !is_everything {
        publish::check_compiler()?;
    }
    let builds = if args.builds.is_empty() { Build::ALL.to_vec() } else { args.builds };
    let selection = Selection { full: args.full, only: args.only };
    let wasms = measure::wasms(&builds)?;
    let began = Instant::now();
    let progress = start_progress();
    let report_scenario = |build: Build, scenario: &str| {
        progress.line(&format!("{:>6.1} s  {build} {scenario}", began.elapsed().as_secs_f64()));
    };
    let measured = measure::run(&wasms, &selection, &report_scenario)?;
    drop(progress);
    let results: Vec<Results> = measured.iter().map(|measured| measured.results.clone()).collect();
    let figures = Figures::new(results.clone());
    println!("{}", report::cost_table(Style::Terminal, &figures));
    println!("{}", report::target_table(Style::Terminal, &figures));
    if args.update {
        publish::save(results)?;
        publish::write_documents()?;
    }
    if args.check { check_costs(&measured) } else { Ok(0) }
}

/// Compares the measured figures with the checked-in ones, and the documents with the checked-in figures. A figure that
/// is better, and another compiler, are printed, but do not fail the check.
fn check_costs(measured: &[Measured]) -> Result<u8, BenchError> {
    let mut comparison = Comparison::default();
    for measured_build in measured {
        let recorded = Results::load(&results::folder(), measured_build.results.build)?;
        comparison.add(recorded.as_ref(), &measured_build.results, |scenario| {
            !measured_build.skipped.iter().any(|skipped| skipped == scenario)
        });
    }
    for gain in &comparison.gains {
        println!("better: {gain}");
    }
    if !comparison.gains.is_empty() {
        println!("record them, so that they cannot be lost unnoticed: cargo bench-costs --update");
    }
    for loss in &comparison.losses {
        println!("WORSE: {loss}");
    }
    for step in &comparison.missing {
        println!("GONE: {step} is checked in and was not measured");
    }
    for step in &comparison.unrecorded {
        println!("NEW: {step} is not checked in");
    }
    let outdated = publish::outdated()?;
    for path in &outdated {
        println!("OUTDATED: {} does not match the checked-in results", path.display());
    }
    let (recorded, here) = (publish::recorded_compiler()?, publish::compiler()?);
    if recorded != here {
        println!("note: the figures were recorded with {recorded}; here the wasms are built by {here}");
    }
    let failed = comparison.fails() || !outdated.is_empty();
    println!(
        "{} figures compared: {} worse, {} better, {} gone, {} new",
        comparison.compared,
        comparison.losses.len(),
        comparison.gains.len(),
        comparison.missing.len(),
        comparison.unrecorded.len()
    );
    Ok(if failed { EXIT_WORSE } else { 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_measured_alone_only_if_the_rest_is_checked_in() {
        let error = figures_to_keep(true, None::<u8>, "sizes").unwrap_err();
        assert!(error.is_usage());
        assert!(error.to_string().contains("cargo bench-costs sizes --update"), "{error}");
        assert_eq!(figures_to_keep(true, Some(7), "sizes").unwrap(), Some(7));
        assert_eq!(figures_to_keep(false, Some(7), "sizes").unwrap(), None);
        assert_eq!(figures_to_keep(false, None::<u8>, "sizes").unwrap(), None);
    }
}
