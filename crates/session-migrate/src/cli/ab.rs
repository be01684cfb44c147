//! The `ab` command: compares two builds.

use std::path::PathBuf;

use clap::Args;
use comfy_table::Table;
use session_migrate::ab::report::{DifferenceReport, TraceComparison};
use session_migrate::ab::{self, AbError, Comparand, Options, Report};
use session_migrate::replay::Builds;
use session_migrate::shorten_both;
use session_migrate::workload::{Order, Workload};

use super::code_of;
use super::failure::{Failure, with_progress};
use super::report_file::{ReportArgs, ReportFile};
use super::table::table;

/// Maximum number of differences printed for each trace, among those that no rule allows.
const MAX_SHOWN: usize = 20;

#[derive(Debug, Args)]
pub(super) struct AbArgs {
    /// Side A: legacy, staged, direct, or a wasm file.
    #[arg(long, value_name = "BUILD", default_value = "legacy")]
    a: String,
    /// Side B: legacy, staged, direct, or a wasm file.
    #[arg(long, value_name = "BUILD", default_value = "direct")]
    b: String,
    /// Trace to replay on both; may be repeated.
    #[arg(long, value_name = "FILE")]
    trace: Vec<PathBuf>,
    /// Workload to record on A and replay on both, or `all`; may be repeated [default: all, if no trace is given].
    #[arg(long, value_name = "NAME")]
    workload: Vec<String>,
    /// Seed for the contents and choices of the workloads.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Scale factor of the workloads: multiplies the number of files.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    size: u32,
    /// Rules file with allowed differences [default: ab/allowed.toml in the source tree].
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    #[command(flatten)]
    report: ReportArgs,
    /// Write the report as Markdown to this file.
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
}

impl AbArgs {
    fn comparands(&self) -> Result<Vec<Comparand>, String> {
        let traces = self.trace.iter().cloned().map(Comparand::Trace);
        let mut workloads = Vec::new();
        for name in &self.workload {
            match name.as_str() {
                "all" => workloads.extend(Workload::ALL),
                name => {
                    workloads.push(name.parse().map_err(|error| format!("--workload: {error}; or `all`"))?)
                }
            }
        }
        if self.trace.is_empty() && workloads.is_empty() {
            workloads.extend(Workload::ALL);
        }
        let to_comparand =
            |workload| Comparand::Workload(Order { workload, seed: self.seed, size: self.size });
        Ok(traces.chain(workloads.into_iter().map(to_comparand)).collect())
    }
}

pub(super) fn run(args: AbArgs) -> Result<u8, Failure> {
    let comparands = args.comparands().map_err(Failure::usage)?;
    let rules = ab::rules(args.rules.as_deref()).map_err(Failure::usage)?;
    let report_files = args.report.create_files(&[("--markdown", args.markdown.as_deref())])?;
    let markdown = args.markdown.as_deref().map(ReportFile::create).transpose()?;
    let options = Options { a: args.a, b: args.b, comparands, rules, builds: Builds::default() };
    let report = with_progress(|progress| ab::run(options, progress), AbError::is_usage)?;
    print(&report);
    // The Markdown is written even if another file cannot be.
    let markdown = markdown.map_or(Ok(()), |file| file.write_text(&report.to_markdown()));
    report_files.write(&report, || report.to_html()).and(markdown)?;
    Ok(code_of(report.verdict))
}

fn print(report: &Report) {
    for run in &report.runs {
        say!("{}: {} calls, {} bytes uploaded", run.name, run.calls, run.uploaded_bytes);
        if !run.endpoints.is_empty() {
            say!("{}", endpoint_table(report, run));
        }
        if let Some(totals) = &run.totals {
            let or_dash = |figure: Option<u64>| figure.map_or("-".into(), |count| count.to_string());
            for (name, side) in [(&report.a.name, &totals.a), (&report.b.name, &totals.b)] {
                say!(
                    "{name}: {} instructions and {} bytes written per MiB; stable memory {} bytes, heap {} bytes",
                    or_dash(side.instructions_per_mib),
                    or_dash(side.stable_bytes_written_per_mib),
                    side.stable_bytes,
                    side.heap_bytes
                );
            }
        }
        let allowed = run.differences.iter().filter(|difference| difference.rule.is_some()).count();
        say!(
            "equal: {} answers, {} entries of state, {} costs within the tolerance; {allowed} differences allowed by rules, {} not",
            run.equal.replies,
            run.equal.state,
            run.equal.costs,
            run.differences.len() - allowed
        );
        say!();
    }
    for run in &report.runs {
        let not_allowed: Vec<_> =
            run.differences.iter().filter(|difference| difference.rule.is_none()).collect();
        for difference in not_allowed.iter().take(MAX_SHOWN) {
            eprintln!("error: {}", describe_difference(&run.name, difference, report));
        }
        if not_allowed.len() > MAX_SHOWN {
            eprintln!("error: {}: and {} more", run.name, not_allowed.len() - MAX_SHOWN);
        }
    }
    for rule in report.rules.iter().filter(|rule| rule.matched > 0) {
        say!("allowed {} times: {}: {}", rule.matched, rule.name, rule.reason);
    }
    for rule in report.stale_rules() {
        eprintln!("stale: the rule `{}` matched nothing", rule.name);
    }
    say!("verdict: {}", report.verdict);
}

fn endpoint_table(report: &Report, run: &TraceComparison) -> Table {
    let (a, b) = (&report.a.name, &report.b.name);
    let figure_columns = ["median", "p99", "total"].map(|what| [a, b].map(|side| format!("{what}, {side}")));
    let mut header = vec!["endpoint".to_owned(), "messages".to_owned()];
    header.extend(figure_columns.into_iter().flatten());
    header.push("change of total".to_owned());
    let rows = run.endpoints.iter().map(|endpoint| {
        let (a, b) = (&endpoint.a, &endpoint.b);
        let messages = if a.messages == b.messages {
            a.messages.to_string()
        } else {
            format!("{}/{}", a.messages, b.messages)
        };
        let figures = [a.median, b.median, a.p99, b.p99, a.total, b.total].map(|figure| figure.to_string());
        let mut row = vec![format!("{} {}", endpoint.kind, endpoint.name), messages];
        row.extend(figures);
        row.push(format!("{:+.1} %", endpoint.more_percent));
        row
    });
    table(header, rows, 1..9)
}

fn describe_difference(run: &str, difference: &DifferenceReport, report: &Report) -> String {
    let place = difference.line.map_or(String::new(), |line| format!(":{line}"));
    let field = if difference.field.is_empty() { String::new() } else { format!(": {}", difference.field) };
    let (a, b) = shorten_both(&difference.a, &difference.b);
    format!("{run}{place}: {}{field}: {} says {a}, {} says {b}", difference.of, report.a.name, report.b.name)
}
