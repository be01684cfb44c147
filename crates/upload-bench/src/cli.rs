//! The command line.

use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use session_migrate::build::Build;
use upload_bench::compare::Comparison;
use upload_bench::error::BenchError;
use upload_bench::measure::{self, Measured, Selection};
use upload_bench::publish;
use upload_bench::report::{self, Figures, Style};
use upload_bench::results::{self, Results};

const LOSS: u8 = 1;
const ENVIRONMENT: u8 = 3;

/// Measures what the calls of the upload canister cost, on the three builds.
#[derive(Debug, Parser)]
#[command(name = "bench-costs", version, about)]
#[command(after_help = "Exit codes: 0 pass, 1 a figure got worse by more than 2 %, 2 usage, 3 environment")]
struct Cli {
    /// Compare with the checked-in figures.
    #[arg(long, conflicts_with = "update")]
    check: bool,
    /// Write what is measured over the checked-in figures, and the documents that are made of them.
    #[arg(long)]
    update: bool,
    /// Also measure what takes minutes.
    #[arg(long)]
    full: bool,
    /// Measure this build; may be repeated [default: all three].
    #[arg(long = "build", value_name = "legacy|staged|direct")]
    builds: Vec<Build>,
    /// Measure only the scenarios whose name contains this.
    #[arg(long, value_name = "TEXT")]
    only: Option<String>,
}

/// Parses the command line, runs, and returns the exit code.
pub fn run() -> ExitCode {
    match measure(Cli::parse()) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(ENVIRONMENT)
        }
    }
}

fn measure(cli: Cli) -> Result<u8, BenchError> {
    let builds = if cli.builds.is_empty() { Build::ALL.to_vec() } else { cli.builds };
    let selection = Selection { full: cli.full, only: cli.only };
    let wasms = measure::wasms(&builds)?;
    let began = Instant::now();
    let done = |build: Build, scenario: &str| {
        eprintln!("{:>6.1} s  {build} {scenario}", began.elapsed().as_secs_f64());
    };
    let measured = measure::run(&wasms, &selection, &done)?;
    let results: Vec<Results> = measured.iter().map(|one| one.results.clone()).collect();
    let figures = Figures::new(results.clone());
    println!("{}", report::costs(Style::Terminal, &figures));
    println!("{}", report::target_table(Style::Terminal, &figures));
    if cli.update {
        publish::save(results)?;
        publish::write_documents()?;
    }
    if cli.check { check(&measured) } else { Ok(0) }
}

/// Says what is worse, better, new or gone.
fn check(measured: &[Measured]) -> Result<u8, BenchError> {
    let mut comparison = Comparison::default();
    for one in measured {
        let recorded = Results::load(&results::folder(), one.results.build)?;
        comparison.add(recorded.as_ref(), &one.results, |scenario| {
            !one.left_out.iter().any(|left| left == scenario)
        });
    }
    for gain in &comparison.gains {
        println!("better: {gain}");
    }
    if !comparison.gains.is_empty() {
        println!("write them down, so that they cannot be lost unseen: cargo bench-costs --update");
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
        println!("OUTDATED: {} is not what the checked-in results say", path.display());
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
    Ok(if failed { LOSS } else { 0 })
}
