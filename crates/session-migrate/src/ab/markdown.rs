//! The report of a comparison as a page of Markdown, which can be checked in.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::report::{Report, RuleUse, Sides, Totals, TraceComparison};
use crate::{Verdict, shorten_both};

const MILLION: f64 = 1e6;

const MIB: f64 = 1_048_576.0;

impl Report {
    /// Returns the report as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = self.write_markdown(&mut page);
        page
    }

    fn write_markdown(&self, page: &mut String) -> std::fmt::Result {
        let (a, b) = (&self.a.name, &self.b.name);
        let verdict = match self.verdict {
            Verdict::Pass => "pass: every difference is allowed by a rule",
            Verdict::Fail => "fail: there are differences that no rule allows",
        };
        writeln!(page, "# {a} against {b}\n")?;
        writeln!(
            page,
            "Written by `cargo migrate ab --a {a} --b {b} --markdown FILE`. Verdict: {verdict}.\n"
        )?;
        let provenance = &self.provenance;
        writeln!(
            page,
            "Begun {}, with {} of commit {}, on {}.\n",
            provenance.began,
            provenance.tool,
            provenance.tree(),
            provenance.server
        )?;
        writeln!(page, "## By workload\n")?;
        writeln!(
            page,
            "Costs cover all updates, timers and upgrades. Instructions are counted with the weights of the Internet \
             Computer, per MiB uploaded; stable writes are bytes written per byte uploaded. Among the bytes uploaded, \
             a resent chunk counts once; bytes of expired and aborted sessions count, too.\n"
        )?;
        self.write_workloads(page)?;
        writeln!(page, "\n## What was compared\n")?;
        self.write_comparisons(page)?;
        writeln!(page, "\n## By endpoint\n")?;
        writeln!(
            page,
            "All workloads together. `median` and `p99` are per message, in the workload that has the most of them.\n"
        )?;
        self.write_endpoints(page)?;
        writeln!(page, "\n## Allowed differences\n")?;
        for RuleUse { name, reason, matched } in self.rules.iter().filter(|rule| rule.matched > 0) {
            writeln!(page, "- **{name}** ({matched} times): {reason}.")?;
        }
        let regressions: Vec<_> = self.regressions().collect();
        if !regressions.is_empty() {
            writeln!(page, "\n## Differences that no rule allows\n")?;
            for (run, difference) in regressions {
                let (short_a, short_b) = shorten_both(&difference.a, &difference.b);
                writeln!(
                    page,
                    "- {run}: {} {}: {a} says `{short_a}`, {b} says `{short_b}`",
                    difference.of, difference.field
                )?;
            }
        }
        for rule in self.stale_rules() {
            writeln!(page, "\nThe rule **{}** matched nothing.", rule.name)?;
        }
        Ok(())
    }

    fn write_workloads(&self, page: &mut String) -> std::fmt::Result {
        let (a, b) = (&self.a.name, &self.b.name);
        let columns = [
            format!("M instructions per MiB, {a}"),
            b.clone(),
            "ratio".into(),
            format!("bytes written per byte, {a}"),
            b.clone(),
            "ratio".into(),
            format!("heap at the end, MiB, {a}"),
            b.clone(),
        ];
        write_header(page, &["workload".into(), "calls".into(), "MB uploaded".into()], &columns)?;
        for TraceComparison { name, calls, uploaded_bytes, totals, .. } in &self.runs {
            let Some(totals) = totals else { continue };
            let instructions = cells(totals, |side| side.instructions_per_mib, MILLION, 1);
            // Divided by a MiB, which gives bytes written per byte.
            let written = cells(totals, |side| side.stable_bytes_written_per_mib, MIB, 2);
            writeln!(
                page,
                "| {name} | {calls} | {:.1} | {instructions} | {written} | {:.1} | {:.1} |",
                *uploaded_bytes as f64 / MILLION,
                totals.a.heap_bytes as f64 / MIB,
                totals.b.heap_bytes as f64 / MIB,
            )?;
        }
        Ok(())
    }

    fn write_comparisons(&self, page: &mut String) -> std::fmt::Result {
        let columns = [
            "equal answers",
            "equal entries of the state",
            "costs within the tolerance",
            "allowed",
            "regressions",
        ];
        write_header(page, &["workload".into()], &columns.map(String::from))?;
        for TraceComparison { name, equal, differences, .. } in &self.runs {
            let allowed = differences.iter().filter(|difference| difference.rule.is_some()).count();
            let regressions = differences.len() - allowed;
            writeln!(
                page,
                "| {name} | {} | {} | {} | {allowed} | {regressions} |",
                equal.replies, equal.state, equal.costs
            )?;
        }
        Ok(())
    }

    fn write_endpoints(&self, page: &mut String) -> std::fmt::Result {
        let mut by_name: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
        for endpoint in self.runs.iter().flat_map(|run| &run.endpoints) {
            by_name.entry((&endpoint.name, &endpoint.kind)).or_default().push(endpoint);
        }
        let (a, b) = (&self.a.name, &self.b.name);
        let columns = ["messages", "median", "p99", "total"]
            .map(|what| [format!("{what}, {a}"), b.clone()])
            .into_iter()
            .flatten()
            .chain(["change of total".into()])
            .collect::<Vec<_>>();
        write_header(page, &["endpoint".into()], &columns)?;
        for ((name, kind), endpoints) in by_name {
            let Some(busiest) = endpoints.iter().max_by_key(|endpoint| endpoint.a.messages) else { continue };
            let [messages_a, messages_b, total_a, total_b] =
                endpoints.iter().fold([0; 4], |sum, endpoint| {
                    let (a, b) = (&endpoint.a, &endpoint.b);
                    [sum[0] + a.messages, sum[1] + b.messages, sum[2] + a.total, sum[3] + b.total]
                });
            let call = if name == kind { name.to_owned() } else { format!("{kind} `{name}`") };
            writeln!(
                page,
                "| {call} | {messages_a} | {messages_b} | {} | {} | {} | {} | {total_a} | {total_b} | {:+.1} % |",
                busiest.a.median,
                busiest.b.median,
                busiest.a.p99,
                busiest.b.p99,
                (total_b as f64 / total_a.max(1) as f64 - 1.0) * 100.0
            )?;
        }
        Ok(())
    }
}

/// Returns three cells of a table: a figure of side A and of side B, in a unit and with this many decimals, and their
/// ratio. A cell is `-` if nothing was uploaded, or if the figure that it would be divided by is zero.
fn cells(
    totals: &Sides<Totals>,
    figure: impl Fn(&Totals) -> Option<u64>,
    unit: f64,
    decimals: usize,
) -> String {
    let [a, b] = [&totals.a, &totals.b].map(|side| figure(side).map(|value| value as f64));
    let ratio = a.zip(b).filter(|(a, _)| *a > 0.0).map(|(a, b)| b / a);
    let [a, b] = [a, b].map(|value| value.map(|value| value / unit));
    [(a, decimals), (b, decimals), (ratio, 2)]
        .map(|(value, decimals)| value.map_or("-".into(), |value| format!("{value:.decimals$}")))
        .join(" | ")
}

/// Writes the header of a table. Columns of texts are left-aligned, columns of figures right-aligned.
fn write_header(page: &mut String, texts: &[String], figures: &[String]) -> std::fmt::Result {
    writeln!(page, "| {} | {} |", texts.join(" | "), figures.join(" | "))?;
    writeln!(page, "|{}{}", "---|".repeat(texts.len()), "---:|".repeat(figures.len()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ab::report::{BuildReport, Equal};
    use crate::provenance::Provenance;
    use crate::server::ServerKind;

    fn build(name: &str) -> BuildReport {
        BuildReport { name: name.into(), features: Vec::new(), sha256: String::new() }
    }

    fn workload(name: &str, uploaded_bytes: u64, totals: Sides<Totals>) -> TraceComparison {
        TraceComparison {
            name: name.into(),
            calls: 40,
            uploaded_bytes,
            differences: Vec::new(),
            equal: Equal::default(),
            endpoints: Vec::new(),
            totals: Some(totals),
        }
    }

    fn report(runs: Vec<TraceComparison>) -> Report {
        Report {
            verdict: Verdict::Pass,
            server: ServerKind::Embedded,
            provenance: Provenance {
                began: String::new(),
                command: Vec::new(),
                tool: String::new(),
                commit: None,
                dirty: None,
                server: String::new(),
            },
            phases: Vec::new(),
            a: build("legacy"),
            b: build("direct"),
            runs,
            rules: Vec::new(),
            judges_rules: false,
        }
    }

    #[test]
    fn a_figure_that_does_not_exist_is_a_dash() {
        let heap = |heap_bytes| Totals { heap_bytes, ..Totals::default() };
        let with = |instructions, written, totals: Totals| Totals {
            instructions_per_mib: Some(instructions),
            stable_bytes_written_per_mib: Some(written),
            ..totals
        };
        let empty = Sides { a: heap(1 << 20), b: heap(3 << 20) };
        let uploads = Sides { a: with(4_000_000, 1 << 20, empty.a), b: with(2_000_000, 5 << 19, empty.b) };
        let unwritten = Sides { a: with(4_000_000, 0, empty.a), b: with(2_000_000, 1 << 20, empty.b) };
        let runs = [
            workload("nothing", 0, empty),
            workload("uploads", 3_000_000, uploads),
            workload("unwritten", 3_000_000, unwritten),
        ];
        let report = report(runs.into());
        let page = report.to_markdown();
        for row in [
            "| nothing | 40 | 0.0 | - | - | - | - | - | - | 1.0 | 3.0 |",
            "| uploads | 40 | 3.0 | 4.0 | 2.0 | 0.50 | 1.00 | 2.50 | 2.50 | 1.0 | 3.0 |",
            "| unwritten | 40 | 3.0 | 4.0 | 2.0 | 0.50 | 0.00 | 1.00 | - | 1.0 | 3.0 |",
        ] {
            assert!(page.lines().any(|line| line == row), "{row}: {page}");
        }
        let json = serde_json::to_value(report.runs[0].totals).unwrap();
        assert_eq!(json["a"]["instructions_per_mib"], serde_json::Value::Null);
    }
}
