//! Renders a plan as an HTML page.

use maud::{Markup, html};

use super::{Cycles, Report};
use crate::page::{self, Bar, Row, Scale, Side, plot};

impl Report {
    /// Returns the plan as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        let decision = if self.reasons.is_empty() { "go" } else { "no go" };
        let before = self.stable_before.saturating_add(self.heap_before);
        let after = self.stable_after.saturating_add(self.heap_after);
        let memory = Cycles::of_memory(after.saturating_sub(before));
        let body = html! {
            h1 { "Plan of the staged upgrade: " span class=(self.verdict.word()) { (decision) } }
            p {
                code { (self.snapshot.path.display()) } ": " (self.records) " legacy records, " (self.converted)
                " will be converted, " (self.quarantined) " quarantined, " (self.expired) " expired."
            }
            (list_section("Reasons against the upgrade", &self.reasons))
            (list_section("Before you upgrade", &self.cautions))
            h2 { "Treatment of the records" }
            .wide {
                table {
                    tr { th { "class" } th { "treatment" } th.number { "records" } }
                    @for class in &self.classes {
                        tr { td { (class.class) } td { (class.treatment) } td.number { (class.count) } }
                    }
                }
            }
            h2 { "Cost of each step" }
            (steps_section(self))
            p.faint { "Prices: " (self.prices) "." }
            h2 { "Memory" }
            p {
                "Stable memory: " (page::bytes(self.stable_before)) " before, " (page::bytes(self.stable_after)) " after. Heap: "
                (page::bytes(self.heap_before)) " before, " (page::bytes(self.heap_after)) " after. "
                "The additional stable memory and heap cost " (memory.nodes_13) " cycles a year on 13 nodes, "
                (memory.nodes_34) " on 34."
            }
            h2 { "For your users" }
            p { (self.for_users()) }
            (self.provenance.markup(&self.phases))
        };
        page::page(&format!("Plan: {decision}"), &body)
    }
}

fn list_section(title: &str, lines: &[String]) -> Markup {
    html! {
        @if !lines.is_empty() {
            h2 { (title) }
            ul { @for line in lines { li { (line) } } }
        }
    }
}

fn steps_section(report: &Report) -> Markup {
    let rows: Vec<Row> = report
        .steps
        .iter()
        .map(|step| Row {
            name: step.name.clone(),
            detail: format!("{} messages, {} s", step.messages, step.seconds),
            // Nothing is compared here, so the side only selects the color.
            bars: vec![Bar { side: Side::B, length: step.largest, reach: step.limit }],
            values: format!(
                "{}, largest {} of {}",
                page::instructions(step.instructions),
                page::instructions(step.largest),
                page::instructions(step.limit)
            ),
        })
        .collect();
    html! {
        (plot(
            "Instructions of the largest message; the thin line ends at the limit",
            &rows,
            Scale::Logarithmic,
            page::instructions,
        ))
        .wide {
            table {
                tr { th { "step" } th.number { "cycles on 13 nodes" } th.number { "cycles on 34 nodes" } th.number { "stable memory after" } th.number { "heap after" } th { "fits" } }
                @for step in &report.steps {
                    tr {
                        td { (step.name) }
                        td.number { (step.cycles.nodes_13) }
                        td.number { (step.cycles.nodes_34) }
                        td.number { (page::bytes(step.stable_bytes)) }
                        td.number { (page::bytes(step.heap_bytes)) }
                        td { (if step.fits() { "yes" } else { "no" }) }
                    }
                }
            }
        }
    }
}
