//! The tables of `docs/costs.md`, which are also printed on the terminal.

use comfy_table::{CellAlignment, Row, Table, TableComponent, presets};
use session_migrate::build::Build;

use super::Figures;
use super::targets::{self, instructions_per_mib};
use crate::bare_map::MapCosts;
use crate::bench::Bench;
use crate::cost::DELTA_PAGE_BYTES;
use crate::engine::EngineCosts;
use crate::full_chunks::FullChunks;
use crate::scenarios::{IN_QUARANTINE, MOVE_WITH_QUARANTINE};

/// Where a table is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// On a terminal.
    Terminal,
    /// In a Markdown file.
    Markdown,
}

/// Returns a table in which the first `texts` columns are texts, and the other columns are numbers.
pub fn table(style: Style, texts: usize, header: impl Into<Row>) -> Table {
    let mut table = Table::new();
    table.load_preset(match style {
        Style::Terminal => presets::UTF8_HORIZONTAL_ONLY,
        Style::Markdown => presets::ASCII_MARKDOWN,
    });
    if style == Style::Terminal {
        // No line between rows.
        table.remove_style(TableComponent::HorizontalLines).remove_style(TableComponent::MiddleIntersections);
    }
    table.set_header(header);
    for column in table.column_iter_mut().skip(texts) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

/// Returns the table of the figures and their limits.
pub fn target_table(style: Style, figures: &Figures) -> Table {
    let mut table = table(style, 1, ["figure", "limit", "measured", ""]);
    if let Some(verdicts) = table.column_mut(3) {
        verdicts.set_cell_alignment(CellAlignment::Left);
    }
    for target in targets::all(figures) {
        let value = target.value.map_or("-".into(), |value| format!("{value:.2}"));
        let verdict = match &target.worst {
            Some(worst) => format!("{} ({worst})", target.verdict()),
            None => target.verdict().to_owned(),
        };
        table.add_row([target.figure, &target.limit.to_string(), &value, &verdict]);
    }
    table
}

/// Returns the table of the costs of a bare map, in instructions.
pub fn bare_map_table(style: Style, maps: &[MapCosts]) -> Table {
    let mut table = table(style, 0, ["entries", "look-up", "insertion", "removal"]);
    for map in maps {
        table.add_row([map.entries, map.get, map.insert, map.remove]);
    }
    table
}

/// Returns the table of the ways to move records, by hand and with the engine.
pub fn move_table(style: Style, costs: &EngineCosts) -> Table {
    let mut table = table(style, 1, ["way", "messages", "instructions per record"]);
    for moved in &costs.moves {
        table.add_row([moved.way.clone(), moved.messages.to_string(), moved.each.to_string()]);
    }
    table
}

/// Returns the table of the migrations of the smallest example.
pub fn one_map_table(style: Style, costs: &EngineCosts) -> Table {
    let header = ["records", "post_upgrade M", "messages", "highest M", "per record", "heap pages"];
    let mut table = table(style, 0, header);
    for grown in &costs.grown {
        table.add_row([
            grown.records.to_string(),
            format!("{:.3}", grown.post_upgrade as f64 / 1e6),
            grown.messages.to_string(),
            format!("{:.3}", grown.highest as f64 / 1e6),
            grown.each.to_string(),
            grown.heap_pages.to_string(),
        ]);
    }
    table
}

/// Returns the table of the runs of migration 1 on full chunks.
pub fn full_chunks_table(style: Style, measured: &[FullChunks]) -> Table {
    let header = ["sessions", "stable memory GiB", "messages", "per session", "per session, no chunk"];
    let mut table = table(style, 0, header);
    for run in measured {
        table.add_row([
            run.sessions.to_string(),
            format!("{:.1}", run.stable_bytes as f64 / f64::from(1 << 30)),
            run.messages.to_string(),
            run.each.to_string(),
            run.each_without.to_string(),
        ]);
    }
    table
}

/// Returns the table of the upgrades with units in quarantine, of the engine on its own.
pub fn quarantine_table(style: Style, costs: &EngineCosts) -> Table {
    let mut table = table(style, 0, ["units", "taken out of the old map", "quarantined in place"]);
    for upgrade in &costs.quarantines {
        table.add_row([upgrade.units, upgrade.taken_out, upgrade.in_place]);
    }
    table
}

/// Returns the table of migration 2 with chunks in quarantine; it has no rows if that has not been measured.
pub fn move_with_quarantine_table(style: Style, figures: &Figures) -> Table {
    let header =
        ["chunks in quarantine", "M per MiB", "messages of the sweep", "M", "written MiB", "heap growth MiB"];
    let mut table = table(style, 0, header);
    for quarantined in IN_QUARANTINE {
        let bench = figures.bench(Build::Direct, &format!("{MOVE_WITH_QUARANTINE}{quarantined}"));
        let Some((bench, per_mib)) = bench.and_then(|bench| Some((bench, instructions_per_mib(bench)?)))
        else {
            continue;
        };
        let sweep = bench.step("sweep").copied().unwrap_or_default();
        table.add_row([
            quarantined.to_string(),
            format!("{per_mib:.1}"),
            sweep.messages.to_string(),
            format!("{:.0}", sweep.instructions as f64 / 1e6),
            format!("{:.0}", sweep.stable_bytes_written as f64 / f64::from(1 << 20)),
            // Sixteen pages are one MiB.
            format!("{:.0}", sweep.heap_increase as f64 / 16.0),
        ]);
    }
    table
}

/// Returns the table of the cost of payload on each build, for benchmarks that transfer at least 1 MiB, except those
/// with chunks in quarantine.
pub fn summary_table(style: Style, figures: &Figures) -> Table {
    let mut table = table(
        style,
        1,
        [
            "upload, begin to finish",
            "legacy M/MiB",
            "staged M/MiB",
            "direct M/MiB",
            "legacy written/byte",
            "staged written/byte",
            "direct written/byte",
        ],
    );
    let is_row =
        |bench: &&Bench| bench.payload_bytes >= 1 << 20 && !bench.name.starts_with(MOVE_WITH_QUARANTINE);
    for bench in figures.benches(Build::Direct).iter().filter(is_row) {
        let bench_on = |build| figures.bench(build, &bench.name);
        let per_mib = |build| {
            bench_on(build).and_then(instructions_per_mib).map_or("-".into(), |value| format!("{value:.1}"))
        };
        let written = |build| {
            bench_on(build).map_or("-".into(), |bench| {
                format!("{:.2}", bench.total().stable_bytes_written as f64 / bench.payload_bytes as f64)
            })
        };
        let mut row = vec![bench.name.clone()];
        row.extend(Build::ALL.map(per_mib));
        row.extend(Build::ALL.map(written));
        table.add_row(row);
    }
    table
}

/// Returns the table of all steps: their instructions on each build, and their messages and bytes on the direct build.
/// The build with the most benchmarks determines the rows, and replaces the direct build where that lacks a step.
pub fn cost_table(style: Style, figures: &Figures) -> Table {
    let header = [
        "benchmark",
        "step",
        "messages",
        "legacy M",
        "staged M",
        "direct M",
        "direct/legacy",
        "written",
        "read",
        "stable delta",
        "heap delta",
    ];
    let mut table = table(style, 2, header);
    let widest = Build::ALL.into_iter().max_by_key(|build| figures.benches(*build).len());
    let Some(build) = widest else { return table };
    for bench in figures.benches(build) {
        for step in &bench.steps {
            let cost_on = |build| figures.bench(build, &bench.name).and_then(|bench| bench.step(&step.name));
            let instructions = |build| cost_on(build).map(|cost| cost.instructions as f64 / 1e6);
            let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
            let ratio = match (instructions(Build::Direct), instructions(Build::Legacy)) {
                (Some(direct), Some(legacy)) if legacy > 0.0 => Some(direct / legacy),
                _ => None,
            };
            let bytes = cost_on(Build::Direct).unwrap_or(&step.cost);
            table.add_row([
                bench.name.clone(),
                step.name.clone(),
                bytes.messages.to_string(),
                shown(instructions(Build::Legacy)),
                shown(instructions(Build::Staged)),
                shown(instructions(Build::Direct)),
                ratio.map_or("-".into(), |ratio| format!("{ratio:.2}")),
                bytes.stable_bytes_written.to_string(),
                bytes.stable_bytes_read.to_string(),
                (bytes.dirty_stable_pages * DELTA_PAGE_BYTES).to_string(),
                (bytes.dirty_wasm_pages * DELTA_PAGE_BYTES).to_string(),
            ]);
        }
    }
    table
}
