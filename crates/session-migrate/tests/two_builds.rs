//! Compares the legacy build with the direct build over every workload: each difference is allowed by a rule, and the
//! direct build is cheaper on each workload. `docs/ab-report.md` has the figures.

use session_migrate::Verdict;
use session_migrate::ab::report::TraceComparison;
use session_migrate::ab::{self, Comparand, Options, rules_of_the_tree};
use session_migrate::progress::Progress;
use session_migrate::replay::Builds;
use session_migrate::workload::{Order, Workload};

#[test]
fn the_direct_build_does_the_same_for_less() {
    let order = |workload| Comparand::Workload(Order { workload, seed: 1, size: 1 });
    let options = Options {
        a: "legacy".into(),
        b: "direct".into(),
        comparands: Workload::ALL.into_iter().map(order).collect(),
        rules: rules_of_the_tree().unwrap(),
        builds: Builds::default(),
    };
    let report = ab::run(options, &Progress::hidden()).unwrap();
    let regressions: Vec<_> = report.regressions().collect();
    assert_eq!(report.verdict, Verdict::Pass, "{regressions:?}");
    // Only rules about answers are checked here. Costs depend on the contents of the heap, which differ with every
    // change of the canister, so rules about costs may become stale.
    let rules = rules_of_the_tree().unwrap().rules;
    let stale: Vec<_> =
        report.stale_rules().filter(|stale| rules.iter().any(|rule| rule.name == stale.name)).collect();
    assert!(stale.is_empty(), "rules that are no longer needed: {stale:?}");
    assert_eq!(report.runs.len(), Workload::ALL.len());
    for TraceComparison { name, calls, equal, totals, .. } in &report.runs {
        assert!(*calls > 20 && equal.replies > 0 && equal.state > 0, "{name}");
        // There are no figures if the server does not report costs.
        let Some(totals) = totals else { continue };
        let (a, b) = (&totals.a, &totals.b);
        assert!(b.instructions_per_mib < a.instructions_per_mib, "{name}: {totals:?}");
        assert!(b.stable_bytes_written_per_mib < a.stable_bytes_written_per_mib, "{name}: {totals:?}");
    }
    let page = report.to_markdown();
    for workload in Workload::ALL {
        assert!(page.contains(&format!("\n| {workload} | ")), "{page}");
    }
}
