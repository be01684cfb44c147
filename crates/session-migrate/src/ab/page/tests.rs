//! Tests of the HTML page of a comparison: what it shows, and that it is self-contained.

use super::*;
use crate::Verdict;
use crate::ab::report::{Endpoint, EndpointCost, Equal};
use crate::provenance::Provenance;
use crate::server::ServerKind;

fn build(name: &str) -> BuildReport {
    BuildReport { name: name.into(), features: vec!["direct".into()], sha256: "ab12".into() }
}

fn difference(field: &str, rule: Option<&str>) -> DifferenceReport {
    DifferenceReport {
        place: Place::Reply,
        of: "uploads_status".into(),
        line: Some(17),
        field: field.into(),
        a: "variant { Compat }".into(),
        b: "<script>alert(1)</script>".into(),
        rule: rule.map(Into::into),
    }
}

fn cost(median: u64) -> EndpointCost {
    EndpointCost { messages: 3, median, p99: 2 * median, total: 4 * median, stable_bytes_written: 5 }
}

fn report(differences: Vec<DifferenceReport>) -> Report {
    let totals = |per_mib| Totals {
        instructions_per_mib: Some(per_mib),
        stable_bytes_written_per_mib: Some(2 << 20),
        ..Totals::default()
    };
    let failed = differences.iter().any(|difference| difference.rule.is_none());
    Report {
        verdict: if failed { Verdict::Fail } else { Verdict::Pass },
        server: ServerKind::Embedded,
        provenance: Provenance {
            began: "2026-11-29T06:20:00Z".into(),
            command: vec!["session-migrate".into(), "ab".into()],
            tool: "session-migrate 9.9".into(),
            commit: None,
            dirty: None,
            server: "pocket-ic-server 16".into(),
        },
        phases: Vec::new(),
        a: build("legacy"),
        b: build("direct"),
        runs: vec![TraceComparison {
            name: "mixed".into(),
            calls: 40,
            uploaded_bytes: 3 << 20,
            differences,
            equal: Equal { replies: 38, state: 7, costs: 1 },
            endpoints: vec![Endpoint {
                name: "uploads_finish".into(),
                kind: "update".into(),
                a: cost(2_000_000),
                b: cost(1_000_000),
                more_percent: -50.0,
            }],
            totals: Some(Sides { a: totals(104_000_000), b: totals(84_000_000) }),
        }],
        rules: vec![
            RuleUse { name: "path".into(), reason: "two paths".into(), matched: 1 },
            RuleUse { name: "unused".into(), reason: "gone".into(), matched: 0 },
        ],
        judges_rules: true,
    }
}

/// Returns the text of a page's body, without tags: adjacent cells of a table are joined without a blank.
fn text(page: &str) -> String {
    let body = page.split_once("<body>").unwrap().1;
    let parts = body.split('<').map(|part| part.split_once('>').map_or(part, |(_, text)| text));
    parts.collect::<String>()
}

#[test]
fn a_page_shows_what_the_report_has() {
    let page = report(vec![difference("Ok.path", Some("path"))]).to_html();
    let text = text(&page);
    for part in [
        "legacy compared with direct: pass",
        "40 calls in 1 traces",
        "of 1 differences, rules allow 1, and none is a regression",
        "104 M → 84.0 M (-19.2 %)",
        "2.00 M → 1.00 M (total -50.0 %)",
        "1 difference, allowed by path",
        "mixed:17answer of uploads_status",
        "gonestale",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("Regressions"));
    assert_eq!(
        page.matches("<svg").count(),
        3,
        "the page has two plots of the totals, and one of the endpoint"
    );
}

#[test]
fn a_regression_comes_first() {
    let page = report(vec![difference("a", Some("path")), difference("b", None)]).to_html();
    let text = text(&page);
    assert!(
        text.contains("legacy compared with direct: fail") && text.contains("1 is a regression"),
        "{text}"
    );
    assert!(text.find("Regressions").unwrap() < text.find("Per MiB uploaded").unwrap());
    assert!(page.contains("<details open"), "differences that no rule allows are not folded away");
}

#[test]
fn many_differences_of_a_rule_are_counted_and_not_all_listed() {
    let many = (0..MAX_SHOWN_BY_RULE + 5).map(|n| difference(&format!("field {n}"), Some("path"))).collect();
    let text = text(&report(many).to_html());
    assert!(text.contains("15 differences") && text.contains("and 5 more"), "{text}");
    assert!(text.contains("field 9") && !text.contains("field 10"));
}

#[test]
fn a_page_is_self_contained_and_runs_no_script() {
    let page = report(vec![difference("a", None)]).to_html();
    for forbidden in
        ["<script", "<link", "<img", "<iframe", "src=", "href=", "url(", "@import", "http:", "https:"]
    {
        assert!(!page.contains(forbidden), "the page contains {forbidden}");
    }
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
}

#[test]
fn a_server_without_costs_gives_no_plots() {
    let mut report = report(vec![]);
    report.runs[0].endpoints.clear();
    report.runs[0].totals = None;
    let page = report.to_html();
    assert!(page.contains("does not report costs") && !page.contains("<svg"));
}

#[test]
fn a_rule_is_stale_only_if_the_report_judges_rules() {
    let mut report = report(vec![]);
    report.judges_rules = false;
    let text = text(&report.to_html());
    assert!(text.contains("gone0") && !text.contains("stale"), "{text}");
    assert_eq!(report.stale_rules().count(), 0);
}

#[test]
fn a_page_states_its_provenance() {
    let text = text(&report(vec![]).to_html());
    for part in
        ["2026-11-29T06:20:00Z", "session-migrate ab", "unknown, no git checkout", "pocket-ic-server 16"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
}
