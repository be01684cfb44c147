//! `docs/costs.md`.

use session_migrate::build::Build;

use super::tables::{self, Style};
use super::{Figures, ORIGIN_PER_MIB};
use crate::bare_map::MapCosts;
use crate::engine::{EngineCosts, RECORDS};
use crate::full_chunks::FullChunks;
use crate::scenarios::Scenario;

/// The inputs of the document apart from the figures of the builds.
#[derive(Default)]
pub struct Sources {
    /// The compiler of the wasms.
    pub compiler: String,
    /// All scenarios.
    pub scenarios: Vec<Scenario>,
    /// The bare map, by number of entries; empty before it was measured.
    pub bare_map: Vec<MapCosts>,
    /// The migration engine; empty before it was measured.
    pub engine: EngineCosts,
    /// Migration 1 on full chunks; empty before it was measured.
    pub full_chunks: Vec<FullChunks>,
    /// The section on the side-by-side comparison; empty before that was measured.
    pub side_by_side: String,
}

/// Returns the document. It depends only on the arguments, so that a test can check whether it is up to date.
pub fn document(figures: &Figures, sources: &Sources) -> String {
    let only_full = sources.scenarios.iter().filter(|scenario| scenario.only_full);
    let full_names: Vec<&str> = only_full.map(|scenario| scenario.name.as_str()).collect();
    let sections = [
        INTRODUCTION.to_owned(),
        format!(
            "The wasms were built by `{}`. Scenarios that take minutes are measured with `--full` only: {}. \
             A session of 16,384 chunks would be 29 GB; instead of filling it, `chunks_of_16384` measures its \
             first, middle and last chunks.\n",
            sources.compiler,
            full_names.join(", ")
        ),
        "![What an upload costs as it grows, and what a call costs as the canister fills](costs.svg)\n"
            .into(),
        "## Targets\n".into(),
        format!(
            "The first public release costs {ORIGIN_PER_MIB} M instructions per MiB for ten chunks: it has `Vec<u8>` \
             arguments, stores chunks as values of a map, and reads them back after every write.\n"
        ),
        format!("{}\n", tables::target_table(Style::Markdown, figures)),
        maps_section(figures, &sources.bare_map),
        "## A byte of payload\n".into(),
        format!("{}\n", tables::summary_table(Style::Markdown, figures)),
        sources.side_by_side.clone(),
        engine_section(&sources.engine),
        full_chunks_section(&sources.full_chunks),
        quarantine_section(figures),
        "## Every step\n".into(),
        COLUMNS.to_owned(),
        format!("{}\n", tables::cost_table(Style::Markdown, figures)),
    ];
    let text: Vec<&str> = sections.iter().map(String::as_str).filter(|section| !section.is_empty()).collect();
    text.join("\n")
}

/// Returns the section of the README on costs.
pub fn section(figures: &Figures) -> String {
    format!(
        "\n{}\n\n![What an upload costs as it grows, and what a call costs as the canister fills](docs/costs.svg)\n\n",
        tables::summary_table(Style::Markdown, figures)
    )
}

/// Returns the section on the cost of calls on a full canister; empty if one of its figures has not been measured.
fn maps_section(figures: &Figures, maps: &[MapCosts]) -> String {
    let cost = |state, step| {
        let instructions = figures.bench(Build::Direct, state)?.step(step)?.instructions;
        Some(instructions as f64 / 1e6)
    };
    let few_and_many = |step| Some((cost("calls_10", step)?, cost("calls_100000", step)?));
    let (Some(begin), Some(finish), Some(status)) =
        (few_and_many("begin"), few_and_many("finish"), few_and_many("status"))
    else {
        return String::new();
    };
    let (Some(few), Some(many)) = (maps.first(), maps.last()) else { return String::new() };
    let ratio = |cost_of: fn(&MapCosts) -> u64| cost_of(many) as f64 / cost_of(few) as f64;
    format!(
        "\
The ratio of `begin`, `finish` and `status` cannot be reduced further: their additional cost on a full canister is that of
the B-trees of `ic-stable-structures`, whose nodes have at most 11 entries. Instructions of such a map on its own, with
entries of 108 bytes, measured by `cargo bench-costs bare-map`:

{}

With {} entries instead of {}, a look-up costs {:.1} times as much, an insertion {:.1} times and a removal {:.1} times. `status`
({:.2} M instead of {:.2}) does little more than look up a session and its meta; `begin` ({:.2} M instead of
{:.2}) and `finish` ({:.2} M instead of {:.2}) each change a dozen such maps. The less a call does
besides these maps, the larger the ratio.
",
        tables::bare_map_table(Style::Markdown, maps),
        many.entries,
        few.entries,
        ratio(|map| map.get),
        ratio(|map| map.insert),
        ratio(|map| map.remove),
        status.1,
        status.0,
        begin.1,
        begin.0,
        finish.1,
        finish.0,
    )
}

/// Returns the section on the migration engine; empty if it has not been measured.
fn engine_section(costs: &EngineCosts) -> String {
    let (Some(above_operations), Some((above_loop, ratio))) =
        (costs.above_two_operations(), costs.above_loop_with_digests())
    else {
        return String::new();
    };
    let compared = if above_operations > 0 { "more" } else { "fewer" };
    format!(
        "\
## The migration engine on its own

`cargo bench-costs engine` moves {RECORDS} unchanged records of 100 bytes from one map to another, with the engine of
`ic-stable-migrate` and by hand, and measures the smallest example, `examples/one-map`, with more and more records.

{}

In bulk the engine uses {} {compared} instructions per record than the loop with one insertion and one removal,
since it clears the old map at the end instead of removing the records one by one. The loop that also clears the old map and
computes the same digests uses {above_loop} fewer than the engine, a ratio of {ratio:.2}: the engine's counts, the fitting of
batches and the message budget. The remaining difference from the loop without digests is the minimum cost of the digests:
two SHA-256 of 100 bytes, and two iterations over the maps. Without a bulk conversion, the engine looks up each record twice
in the old map and once in the new one, and removes it from the old one.

{}

No message uses more than its budget, 1,500 M, and only the number of messages grows; a look-up in a larger map costs more.

The next table has the instructions of an upgrade that finds units in quarantine, and of the engine's message after it.
Only the first keys of a quarantine are checked. Units that stay in the old map while they are quarantined are all checked,
to find one that is not quarantined.

{}
",
        tables::move_table(Style::Markdown, costs),
        above_operations.unsigned_abs(),
        tables::one_map_table(Style::Markdown, costs),
        tables::quarantine_table(Style::Markdown, costs),
    )
}

/// Returns the section on migration 1 with full chunks; empty if it has not been measured.
fn full_chunks_section(measured: &[FullChunks]) -> String {
    let Some(most) = measured.last() else { return String::new() };
    format!(
        "\
## Migration 1 with chunks of 1.8 MB

Each session has all of its records and one stored chunk of 1.8 MB; no clients call in the meantime. The chunks' bytes are
holes in a sparse file (reading one would trap), and only their keys are stored; for a hundred sessions, the command compares the
results with those of chunks that are stored completely. {} sessions are close to the maximum: the memory manager has
32,768 buckets of 8 MiB, 256 GiB in all, and a million such chunks would take 1.8 TB.

{}

",
        most.sessions,
        tables::full_chunks_table(Style::Markdown, measured),
    )
}

/// Returns the section on migration 2 with chunks in quarantine; empty if it has not been measured.
fn quarantine_section(figures: &Figures) -> String {
    let table = tables::move_with_quarantine_table(Style::Markdown, figures);
    if table.is_empty() {
        return String::new();
    }
    format!(
        "\
## Migration 2 with chunks in quarantine

A blob of a hundred chunks moves from the chunk map into extents, and one that is damaged stays there. Up to 32 chunks that stay
are read and stored again when the map is emptied; with more, the old copies of the others are removed one by one. `M per MiB` is for the
hundred chunks, from the upgrade until none of them is left in the map; the sweep is the work of the timer
after the migration has ended.

{table}
"
    )
}

const INTRODUCTION: &str = "\
# What the calls cost

Instructions and bytes of the real wasm, measured on the embedded server with the instruction weights that the Internet
Computer publishes. The same messages on the same state always give exactly the same numbers. They have not been compared
with those of a replica.

```sh
cargo bench-costs                    # measures the default scenarios, and prints them
cargo bench-costs --check            # compares with the checked-in figures; exits with 1 if one is worse by more than 2 % and 2,000 instructions
cargo bench-costs --update --full    # measures everything, and writes the figures, the plot and this page
cargo bench-costs side-by-side       # measures the builds and DFINITY's asset canister with the same files
cargo bench-costs side-by-side --files --check  # small files, ranges, deletions and listing alone; compares with the checked-in figures
cargo bench-costs bare-map           # measures the library's map that stores all records, on its own
cargo bench-costs engine --check     # measures the migration engine on its own, and compares with the checked-in figures
cargo bench-costs full-chunks --check  # measures migration 1 on up to 140,000 chunks of 1.8 MB
```

The figures are in `crates/upload-bench/results/`: `costs.csv` has everything, and `canbench_results.yml` is in the format
of the [canbench](https://github.com/dfinity/canbench) tool, with a benchmark for each scenario and a scope for each step.
This page is generated from them. [costs-history.md](costs-history.md) explains what became more or less expensive since
an earlier commit.
";

const COLUMNS: &str = "\
M is million instructions; a step that takes several messages is their sum. The right half is for the direct build: bytes
written to and read from stable memory, and the heap and stable deltas. A delta is the number of bytes in pages of 4 KiB that
were written or changed.
`upload_N`, `read_N`, `delete_N` are files of N chunks of 1.8 MB; `calls_N` are calls of one client with ten sessions, on a
state of N live sessions and N memories, all of them in the client's capsule; `open_N` is the upgrade that opens that state,
`migrate_N` an upgrade that finds N legacy sessions, and `migrate_chunks_N` one that finds sessions with N stored chunks each
(ten, two or one session). `move_10` moves a blob of ten chunks from the chunk map into extents, and `move_100_quarantined_N` one of
a hundred while N chunks of another are in quarantine.
";
