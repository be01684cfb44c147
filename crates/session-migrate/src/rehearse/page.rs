//! Renders a rehearsal as an HTML page.

use maud::{Markup, html};

use super::CanisterPart;
use super::report::{MigrationRun, Report, UploadReport};
use crate::page::{self, Bar, Row, Scale, Side, plot};

impl Report {
    /// Returns the rehearsal as a self-contained HTML page.
    pub fn to_html(&self) -> String {
        let intact = self.uploads.iter().filter(|upload| upload.intact).count();
        let body = html! {
            h1 {
                "Rehearsal of " (if self.canister.is_some() { "an upgrade" } else { "the staged upgrade" }) ": "
                span class=(self.verdict.word()) { (self.verdict.word()) }
            }
            @match &self.canister {
                Some(part) => (calls_section(part)),
                None => p {
                    (intact) " of " (self.uploads.len()) " uploads are intact, with every byte read back; "
                    (self.migration.source) " records were migrated."
                },
            }
            @if let Some(part) = &self.snapshot {
                p {
                    "On the snapshot " code { (part.path) } ": " (part.sessions) " sessions, " (part.continued)
                    " continued by their own clients; " (part.comparison()) "."
                }
            }
            (messages_section("Problems", &self.problems))
            (stages_section(self))
            @if self.canister.is_none() { (uploads_section(&self.uploads)) }
            h2 { "Migrations" }
            (migrations_section(self))
            (builds_section(self))
            (messages_section("Notes", &self.notes))
            (self.provenance.markup(&self.phases))
            p.faint {
                @if self.canister.is_none() { "Seed " (self.seed) ", " (self.clients) " clients, " }
                @if !self.rollback { "no " } "rollback along the way; took " (format!("{:.1}", self.seconds))
                " s on the " (self.server.name()) " server."
            }
        };
        page::page(&format!("Rehearsal: {}", self.verdict), &body)
    }
}

fn calls_section(part: &CanisterPart) -> Markup {
    html! {
        p { "From " code { (part.old) } " to " code { (part.new) } "." }
        .wide {
            table {
                tr { th { "method" } @for title in ["calls", "compared", "differ"] { th.number { (title) } } }
                @for method in &part.methods {
                    tr {
                        td { code { (method.name) } @if method.may_differ { " (may differ)" } }
                        @for number in [method.calls, method.compared, method.differ] { td.number { (number) } }
                    }
                }
            }
        }
        (messages_section("Interruptions", &part.interruptions))
    }
}

fn messages_section(title: &str, messages: &[String]) -> Markup {
    html! {
        @if !messages.is_empty() {
            h2 { (title) }
            ul { @for message in messages { li { (message) } } }
        }
    }
}

fn stages_section(report: &Report) -> Markup {
    let rows: Vec<Row> = report
        .stages
        .iter()
        .map(|stage| Row {
            name: stage.name.clone(),
            detail: if stage.upgrade_ok { String::new() } else { "failed".into() },
            // Nothing is compared on this page, so the side only selects the color.
            bars: vec![Bar::new(Side::B, stage.instructions.unwrap_or(0))],
            values: stage.instructions.map_or("not measured".into(), page::instructions),
        })
        .collect();
    html! {
        h2 { "Stages" }
        (plot("Instructions of the install message", &rows, Scale::Linear, page::instructions))
    }
}

fn uploads_section(uploads: &[UploadReport]) -> Markup {
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
        (plot("Chunks that had arrived when the canister was upgraded to the staged build, with a line to the total", &rows, Scale::Linear, |chunks| chunks.to_string()))
    }
}

fn migrations_section(report: &Report) -> Markup {
    let row = |run: &MigrationRun| {
        let counts = &run.counts;
        html! {
            tr {
                td {
                    @match (&report.canister, run.migration) {
                        (Some(_), number) => (number),
                        (None, 1) => "sessions",
                        (None, _) => "payload into extents",
                    }
                }
                td { (run.stage) }
                td { (run.phase) }
                @for number in [counts.source, counts.converted, counts.already, counts.quarantined, counts.expired] {
                    td.number { (number) }
                }
                td.number { (page::instructions(counts.instructions)) }
            }
        }
    };
    html! {
        .wide {
            table {
                tr {
                    th { "migration" }
                    th { "after" }
                    th { "ended" }
                    @for title in ["records", "converted", "converted on touch", "quarantined", "expired"] {
                        th.number { (title) }
                    }
                    th.number { "instructions" }
                }
                @for run in &report.runs { (row(run)) }
            }
        }
    }
}

fn builds_section(report: &Report) -> Markup {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Verdict;
    use crate::progress::Phase;
    use crate::provenance::Provenance;
    use crate::rehearse::StopPoint;
    use crate::rehearse::report::{MigrationReport, StageReport};
    use crate::server::ServerKind;

    fn report(verdict: Verdict) -> Report {
        let lost = verdict == Verdict::Fail;
        let upload = |client, intact| UploadReport {
            client,
            name: "<a>.jpg".into(),
            bytes: 1 << 20,
            sha256: String::new(),
            sha256_read_back: None,
            state_at_upgrade: StopPoint::Complete,
            chunks_before_upgrade: 7,
            chunks_total: 13,
            intact,
        };
        let stage = StageReport {
            name: "upgrade to staged".into(),
            build: "staged".into(),
            upgrade_ok: !lost,
            instructions: Some(16_200_000),
        };
        let run = |stage: &str, phase: &str, source| MigrationRun {
            stage: stage.into(),
            migration: 1,
            phase: phase.into(),
            counts: MigrationReport { source, ..MigrationReport::default() },
        };
        Report {
            verdict,
            problems: if lost { vec!["client 2: gone".into()] } else { Vec::new() },
            notes: Vec::new(),
            server: ServerKind::Embedded,
            provenance: Provenance {
                began: "2026-11-29T06:20:00Z".into(),
                command: vec!["session-migrate".into(), "rehearse".into()],
                tool: "session-migrate 9.9".into(),
                commit: Some("c0ffee".into()),
                dirty: Some(true),
                server: "pocket-ic-server 16".into(),
            },
            seed: 7,
            clients: 2,
            rollback: true,
            seconds: 1.0,
            phases: vec![Phase { name: "rolling back".into(), began: String::new(), seconds: 0.25 }],
            builds: Vec::new(),
            stages: vec![stage],
            uploads: vec![upload(1, true), upload(2, !lost)],
            runs: vec![
                run("upgrade to staged", "RolledBack", 6),
                run("second upgrade to staged", "Converted", 5),
            ],
            migration: MigrationReport { source: 6, ..MigrationReport::default() },
            payload: MigrationReport::default(),
            snapshot: None,
            canister: None,
        }
    }

    #[test]
    fn a_page_shows_the_outcome_of_every_upload() {
        let page = report(Verdict::Pass).to_html();
        for part in
            ["2 of 2 uploads", "6 records", "16.2 M", "complete, 7 of 13 chunks, intact", "&lt;a&gt;.jpg"]
        {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("LOST") && !page.contains("Problems") && !page.contains("<a>"));
    }

    #[test]
    fn a_page_has_its_provenance_and_every_run() {
        let page = report(Verdict::Pass).to_html();
        for part in [
            "2026-11-29T06:20:00Z",
            "session-migrate rehearse",
            "session-migrate 9.9",
            "c0ffee, with changes",
            "pocket-ic-server 16",
            "Seed 7, 2 clients, rollback",
            "rolling back",
            "second upgrade to staged",
            "RolledBack",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[test]
    fn a_loss_is_named_before_everything_else() {
        let page = report(Verdict::Fail).to_html();
        assert!(page.contains("1 of 2 uploads") && page.contains("7 of 13 chunks, LOST"), "{page}");
        assert!(page.find("client 2: gone").unwrap() < page.find("Stages").unwrap());
        assert!(page.contains("failed"));
    }
}
