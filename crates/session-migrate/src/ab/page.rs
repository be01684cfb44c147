//! The report of a comparison as an HTML page.

use maud::{Markup, html};

use super::report::{BuildReport, DifferenceReport, Place, Report, RuleUse, Sides, Totals, TraceComparison};
use crate::page::{self, Bar, Row, Scale, Side, plot};
use crate::shorten_both;

/// Maximum number of a trace's differences listed under each rule that allows them, and under "allowed by no rule"; the
/// JSON report has all differences.
const MAX_SHOWN_BY_RULE: usize = 10;

/// Maximum number of regressions listed at the beginning of the page.
const MAX_SHOWN_REGRESSIONS: usize = 30;

impl Report {
    /// Returns the report as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        let title = format!("{} compared with {}: {}", self.a.name, self.b.name, self.verdict);
        let body = html! {
            (summary(self))
            (totals_section(self))
            @for run in &self.runs { (run_section(self, run)) }
            (rules_section(self))
            (self.provenance.markup(&self.phases))
        };
        page::page(&title, &body)
    }
}

fn summary(report: &Report) -> Markup {
    let regressions = report.regressions().count();
    let differences: usize = report.runs.iter().map(|run| run.differences.len()).sum();
    let sum = |figure: fn(&TraceComparison) -> u64| report.runs.iter().map(figure).sum::<u64>();
    html! {
        h1 {
            span.a.key { (report.a.name) } " compared with " span.b.key { (report.b.name) } ": "
            span class=(report.verdict.word()) { (report.verdict.word()) }
        }
        p {
            (sum(|run| run.calls)) " calls in " (report.runs.len()) " traces, played on both. "
            (sum(|run| run.equal.replies)) " answers and " (sum(|run| run.equal.state))
            " parts of the final state are equal; of " (differences) " differences, rules allow "
            (differences - regressions) ", and "
            @if regressions == 0 { "none is a regression." }
            @else { strong.fail { (regressions) @if regressions == 1 { " is a regression." } @else { " are regressions." } } }
        }
        @if regressions > 0 {
            h2 { "Regressions" }
            (difference_table(report, report.regressions().take(MAX_SHOWN_REGRESSIONS)))
            @if regressions > MAX_SHOWN_REGRESSIONS { p.faint { "and " (regressions - MAX_SHOWN_REGRESSIONS) " more: see the traces below" } }
        }
        .wide {
            table {
                tr { th { "side" } th { "build" } th { "features" } th { "module hash" } }
                (build_row("A", "a", &report.a))
                (build_row("B", "b", &report.b))
            }
        }
        p.faint {
            "Measured on the " (report.server.name()) " server."
        }
    }
}

fn build_row(side: &str, class: &str, build: &BuildReport) -> Markup {
    html! {
        tr {
            td { span class=(format!("{class} key")) { (side) } }
            td { (build.name) }
            td { (build.features.join(", ")) }
            td { code { (build.sha256) } }
        }
    }
}

fn totals_section(report: &Report) -> Markup {
    let rows_of = |figure: fn(&Totals) -> Option<u64>, unit: fn(u64) -> String| -> Vec<Row> {
        report
            .runs
            .iter()
            .filter_map(|run| {
                let Sides { a, b } = run.totals?;
                let (a, b) = (figure(&a)?, figure(&b)?);
                Some(Row {
                    name: run.name.clone(),
                    detail: page::bytes(run.uploaded_bytes),
                    bars: vec![Bar::new(Side::A, a), Bar::new(Side::B, b)],
                    values: format!("{} → {} ({})", unit(a), unit(b), change(a, b)),
                })
            })
            .collect()
    };
    let instructions = rows_of(|totals| totals.instructions_per_mib, page::instructions);
    let written = rows_of(|totals| totals.stable_bytes_written_per_mib, page::bytes);
    html! {
        @if !instructions.is_empty() {
            h2 { "Per MiB uploaded" }
            (plot("Instructions of all updates, timers and upgrades, per MiB that clients uploaded", &instructions, Scale::Linear, page::instructions))
            (plot("Bytes written to stable memory, per MiB that clients uploaded", &written, Scale::Linear, page::bytes))
        }
    }
}

fn run_section(report: &Report, run: &TraceComparison) -> Markup {
    let rows: Vec<Row> = run
        .endpoints
        .iter()
        .map(|endpoint| Row {
            name: endpoint.name.clone(),
            detail: format!("{} × {}", endpoint.kind, endpoint.a.messages.max(endpoint.b.messages)),
            bars: [(Side::A, endpoint.a), (Side::B, endpoint.b)]
                .map(|(side, cost)| Bar { side, length: cost.median, reach: cost.p99 })
                .into(),
            values: format!(
                "{} → {} (total {})",
                page::instructions(endpoint.a.median),
                page::instructions(endpoint.b.median),
                page::percent(endpoint.more_percent)
            ),
        })
        .collect();
    html! {
        h2 { (run.name) }
        p {
            (run.calls) " calls, " (page::bytes(run.uploaded_bytes)) " uploaded. Equal: " (run.equal.replies)
            " answers, " (run.equal.state) " parts of the state, " (run.equal.costs) " costs within the tolerance."
            @if let Some(Sides { a, b }) = run.totals {
                " At the end, stable memory " (page::bytes(a.stable_bytes)) " → " (page::bytes(b.stable_bytes))
                ", heap " (page::bytes(a.heap_bytes)) " → " (page::bytes(b.heap_bytes)) "."
            }
        }
        @if rows.is_empty() {
            p.faint { "The server does not report costs." }
        } @else {
            (plot("Instructions of one message: the median, with a line to the 99th percentile; logarithmic axis", &rows, Scale::Logarithmic, page::instructions))
        }
        @if !run.differences.is_empty() { (differences_by_rule(report, run)) }
    }
}

fn differences_by_rule(report: &Report, run: &TraceComparison) -> Markup {
    let mut rules: Vec<Option<&str>> = Vec::new();
    for difference in &run.differences {
        let rule = difference.rule.as_deref();
        if !rules.contains(&rule) {
            rules.push(rule);
        }
    }
    html! {
        @for rule in rules {
            @let of_rule: Vec<&DifferenceReport> =
                run.differences.iter().filter(|difference| difference.rule.as_deref() == rule).collect();
            details open[rule.is_none()] {
                summary {
                    (of_rule.len()) @if of_rule.len() == 1 { " difference" } @else { " differences" }
                    @match rule {
                        Some(rule) => { ", allowed by " code { (rule) } },
                        None => { ", " strong.fail { "allowed by no rule" } },
                    }
                }
                (difference_table(report, of_rule.iter().take(MAX_SHOWN_BY_RULE).map(|difference| (run.name.as_str(), *difference))))
                @if of_rule.len() > MAX_SHOWN_BY_RULE { p.faint { "and " (of_rule.len() - MAX_SHOWN_BY_RULE) " more" } }
            }
        }
    }
}

fn difference_table<'r>(
    report: &Report,
    differences: impl Iterator<Item = (&'r str, &'r DifferenceReport)>,
) -> Markup {
    html! {
        .wide {
            table {
                tr {
                    th { "trace" }
                    th { "where" }
                    th { "field" }
                    th { span.a.key { (report.a.name) } }
                    th { span.b.key { (report.b.name) } }
                }
                @for (run, difference) in differences {
                    @let (a, b) = shorten_both(&difference.a, &difference.b);
                    tr {
                        td { (run) @if let Some(line) = difference.line { ":" (line) } }
                        td { (place_text(difference.place)) " " (difference.of) }
                        td { code { (difference.field) } }
                        td { code { (a) } }
                        td { code { (b) } }
                    }
                }
            }
        }
    }
}

fn place_text(place: Place) -> &'static str {
    match place {
        Place::Reply => "answer of",
        Place::State => "state of",
        Place::Cost => "cost of",
    }
}

fn rules_section(report: &Report) -> Markup {
    html! {
        @if !report.rules.is_empty() {
            h2 { "Rules" }
            .wide {
                table {
                    tr { th { "rule" } th { "reason" } th.number { "allowed" } }
                    @for RuleUse { name, reason, matched } in &report.rules {
                        tr {
                            td { code { (name) } }
                            td { (reason) }
                            td.number { @if *matched == 0 && report.judges_rules { "stale" } @else { (matched) } }
                        }
                    }
                }
            }
        }
    }
}

/// Formats the change from A to B, in percent of A; `-` if A is zero (for which `figures::more_percent` returns
/// 10,000).
fn change(a: u64, b: u64) -> String {
    if a == 0 { "-".into() } else { page::percent((b as f64 / a as f64 - 1.0) * 100.0) }
}

#[cfg(test)]
mod tests;
