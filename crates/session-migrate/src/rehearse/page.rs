//! A rehearsal as a page for people.

use maud::{Markup, html};

use super::Outcome;
use super::report::{MigrationReport, Report, UploadReport, Verdict};
use crate::page::{self, Bar, Row, Scale, Side, plot};

impl Outcome {
    /// The page, complete in itself.
    pub fn to_html(&self) -> String {
        let (word, class) = match self.report.verdict {
            Verdict::Pass => ("pass", "pass"),
            Verdict::Fail => ("fail", "fail"),
        };
        let report = &self.report;
        let intact = report.uploads.iter().filter(|upload| upload.intact).count();
        let body = html! {
            h1 { "Rehearsal of the staged upgrade: " span class=(class) { (word) } }
            p {
                (intact) " of " (report.uploads.len()) " uploads are as they must be, every byte read back; "
                (report.migration.source) " records were migrated."
            }
            (messages("Problems", &self.problems))
            (stages(report))
            (uploads(&report.uploads))
            h2 { "Migrations" }
            (migrations(report))
            (builds(report))
            (messages("Notes", &self.notes))
            p.faint { "Took " (format!("{:.1}", report.seconds)) " s on the " (report.server.name()) " server." }
        };
        page::page(&format!("Rehearsal: {word}"), &body)
    }
}

fn messages(title: &str, messages: &[String]) -> Markup {
    html! {
        @if !messages.is_empty() {
            h2 { (title) }
            ul { @for message in messages { li { (message) } } }
        }
    }
}

fn stages(report: &Report) -> Markup {
    let rows: Vec<Row> = report
        .stages
        .iter()
        .map(|stage| Row {
            name: stage.name.clone(),
            detail: if stage.upgrade_ok { String::new() } else { "failed".into() },
            bars: vec![Bar::new(Side::B, stage.instructions.unwrap_or(0))],
            values: stage.instructions.map_or("not measured".into(), page::instructions),
        })
        .collect();
    html! {
        h2 { "Stages" }
        (plot("Instructions of the install message", &rows, Scale::Linear, page::instructions))
    }
}

fn uploads(uploads: &[UploadReport]) -> Markup {
    let rows: Vec<Row> = uploads
        .iter()
        .map(|upload| Row {
            name: format!("{}. {}", upload.client, upload.name),
            detail: page::bytes(upload.bytes),
            bars: vec![Bar {
                side: Side::B,
                length: u64::from(upload.chunks_before_upgrade),
                reach: u64::from(upload.chunks_total),
            }],
            values: format!(
                "{}, {} of {} chunks, {}",
                upload.state_at_upgrade.name(),
                upload.chunks_before_upgrade,
                upload.chunks_total,
                if upload.intact { "intact" } else { "LOST" }
            ),
        })
        .collect();
    html! {
        h2 { "Uploads" }
        (plot("Chunks that had arrived when the canister was upgraded to the staged build, and the line to all there are", &rows, Scale::Linear, |chunks| chunks.to_string()))
    }
}

fn migrations(report: &Report) -> Markup {
    let row = |name: &str, account: &MigrationReport| {
        html! {
            tr {
                td { (name) }
                @for number in [account.source, account.converted, account.already, account.quarantined, account.expired] {
                    td.number { (number) }
                }
                td.number { (page::instructions(account.instructions)) }
            }
        }
    };
    html! {
        .wide {
            table {
                tr {
                    th { "migration" }
                    @for title in ["records", "converted", "already", "quarantined", "expired", "instructions"] {
                        th.number { (title) }
                    }
                }
                (row("sessions", &report.migration))
                (row("payload into extents", &report.payload))
            }
        }
    }
}

fn builds(report: &Report) -> Markup {
    html! {
        h2 { "Builds" }
        .wide {
            table {
                tr { th { "build" } th.number { "wasm" } th.number { "gzipped" } th { "module hash" } }
                @for build in &report.builds {
                    tr {
                        td { (build.name) }
                        td.number { (page::bytes(build.wasm_bytes)) }
                        td.number { (page::bytes(build.wasm_gz_bytes)) }
                        td { code { (build.sha256) } }
                    }
                }
            }
        }
    }
}
