//! The report of an inspection as an HTML page.

use maud::{Markup, html};

use super::report::{Report, SessionCount};
use super::{Finding, Severity};
use crate::page::{self, Bar, Row, Scale, Side, plot};

impl Report {
    /// Returns the report as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        let damage: u64 = self
            .found
            .iter()
            .filter(|count| count.severity == Severity::Damage)
            .map(|count| count.count)
            .sum();
        let body = html! {
            h1 { "Snapshot: " span class=(self.verdict.word()) { @if damage == 0 { "sound" } @else { "damaged" } } }
            p {
                code { (self.snapshot.path.display()) } ", " (self.snapshot.form) " (" (self.snapshot.verification()) "), stable layout " (self.layout)
                @if let Some(module) = &self.snapshot.module { ", " (module.build) " build" }
                "; " (self.counts.sessions) " sessions, " (self.counts.memories) " memories, " (self.counts.blobs)
                " blobs of " (page::bytes(self.counts.blob_bytes)) "."
            }
            (findings_section(self))
            h2 { "Sessions in flight" }
            (sessions_plot(&self.sessions))
            h2 { "Treatment by the migrations" }
            (treatment_section(self))
            h2 { "Limits" }
            (limits_plot(self))
            h2 { "Stable memory" }
            (memory_section(self))
            (self.provenance.markup(&self.phases))
        };
        page::page(&format!("Snapshot: {}", self.verdict), &body)
    }
}

fn findings_section(report: &Report) -> Markup {
    html! {
        @if report.found.is_empty() {
            p { "No findings." }
        } @else {
            h2 { "Findings" }
            .wide {
                table {
                    tr { th { "finding" } th { "" } th.number { "number" } th { "what it means" } }
                    @for count in &report.found {
                        tr {
                            td { code { (count.kind.name()) } }
                            td class=(if count.severity == Severity::Damage { "fail" } else { "" }) {
                                (if count.severity == Severity::Damage { "damage" } else { "warning" })
                            }
                            td.number { (count.count) }
                            td { (count.what) }
                        }
                    }
                }
            }
            @for Finding { kind, memory_id, table, key, offset, what, .. } in &report.findings {
                details {
                    summary { (kind.name()) ": " (what) }
                    @if let (Some(memory_id), Some(table)) = (memory_id, table) {
                        p { "memory id " (memory_id) ", " (table) }
                    }
                    @if let Some(key) = key { p { "key " code { (key) } } }
                    @if let Some(offset) = offset { p { "offset " (offset) } }
                }
            }
        }
    }
}

fn sessions_plot(sessions: &[SessionCount]) -> Markup {
    let rows: Vec<Row> = sessions
        .iter()
        .map(|group| Row {
            name: format!("layout {}, {}", group.layout, group.state),
            detail: format!("{} sessions", group.count),
            bars: vec![Bar { side: Side::B, length: group.received, reach: group.bytes }],
            values: format!("{} of {}", page::bytes(group.received), page::bytes(group.bytes)),
        })
        .collect();
    plot("Bytes received, of the bytes declared", &rows, Scale::Linear, page::bytes)
}

fn treatment_section(report: &Report) -> Markup {
    html! {
        .wide {
            table {
                tr { th { "migration" } th { "class" } th { "treatment" } th.number { "units" } th { "for example" } }
                @for class in report.classes.iter().filter(|class| class.count > 0) {
                    tr {
                        td { (class.migration) }
                        td { (class.class) }
                        td { (class.treatment) }
                        td.number { (class.count) }
                        td { (class.examples.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")) }
                    }
                }
            }
        }
        @for migration in &report.migrations {
            p {
                "Migration " (migration.migration) " is in phase " (migration.phase) ": " (migration.source) " units, "
                (migration.converted) " converted, " (migration.quarantined) " in quarantine, " (migration.expired)
                " expired. " (migration.note)
            }
        }
    }
}

fn limits_plot(report: &Report) -> Markup {
    let rows: Vec<Row> = report
        .limits
        .iter()
        .map(|limit| Row {
            name: limit.limit.clone(),
            detail: limit.whose.clone().unwrap_or_default(),
            bars: vec![Bar { side: Side::B, length: limit.percent().min(100), reach: 100 }],
            values: format!("{} of {}, {} %", limit.used, limit.allowed, limit.percent()),
        })
        .collect();
    plot("Used, percent", &rows, Scale::Linear, |percent| format!("{percent} %"))
}

fn memory_section(report: &Report) -> Markup {
    let memory = &report.memory;
    let rows: Vec<Row> = report
        .tables
        .iter()
        .map(|table| Row {
            name: format!("{}. {}", table.id, table.name),
            detail: table.entries.map_or(String::new(), |entries| format!("{entries} entries")),
            bars: vec![Bar::new(Side::B, table.bytes)],
            values: page::bytes(table.bytes),
        })
        .collect();
    html! {
        p {
            (page::bytes(memory.bytes)) " are allocated and paid for, " (memory.buckets) " buckets of "
            (page::bytes(memory.bucket_bytes)) "; " (page::bytes(memory.bytes_in_use)) " are in pages that are not all zero."
        }
        (plot("Memories of the canister", &rows, Scale::Linear, page::bytes))
    }
}
