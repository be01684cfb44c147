//! The figures of large snapshots, for the terminal and for `docs/sizes.md`.

use comfy_table::Table;

use super::{AdoptionRun, Figures, Row};
use crate::report::{Style, table};

/// Returns the table for a terminal.
pub fn terminal(figures: &Figures) -> Table {
    rows(Style::Terminal, figures)
}

/// Returns the document.
pub fn markdown(figures: &Figures) -> String {
    let Figures { began, stable_bytes, stored_bytes, sent_bytes, rounds, load, .. } = figures;
    let times = if *rounds == 1 { "each once".into() } else { format!("the median of {rounds}") };
    let load = load.map_or(String::new(), |load| format!(", when the load of the machine was {load:.0}"));
    format!(
        "\
# Time and memory on a large snapshot

Written by `cargo bench-costs sizes --update`, which takes about ten minutes and 15 GB of disk; CI does not run it. Its
figures are from one run, begun at {began}{load}.
It generates the snapshot folder of a legacy canister with the canister's own code: {stable_gib:.1} GiB of stable memory, of
which {stored_gib:.1} GiB are not zero, in files of 36 MB, every tenth of which is in flight. The rest is memory that was grown
and never written, a hole in the file.

Each command is a process of the workspace's `dev` profile. Each time is compared with that of another program, run
alternately on the same files, {times}; `plan` and `rehearse` are run once. A peak is the kernel's `VmHWM`, which
includes pages of mapped files. `cp -r` copies the snapshot folder, which is in the kernel's cache, as for every other command
in the table. The time before the first message includes everything except building the wasms: reading and inspecting the
snapshot, and loading it into a canister.

`snapshot upload` and `download` send a snapshot of {sent_mb:.0} MB to a live network and back; the limit is a tenth of
the 695 MB that `icp` 1.5 takes to upload one of 150 MB.

{adoption}

{table}

* **Memory**: the embedded server reads stable memory from the snapshot's file, page by page, when a message needs it.
  Pages that messages write are kept in memory up to 128 MiB, and then moved to a temporary file, in the folder of `TMPDIR`.
  So neither the size of a snapshot nor the second migration, which writes every file again, shows in the peak.
* **Time**: holes of the file are never read, neither by `inspect` nor by the server.
* **`snapshot upload`** keeps eight slices of 2 MB in flight, and holds one copy of each until it is answered: the signed
  request. A slice that has to be sent again is read again.
* **`adopt`** holds all of the new stable memory in its own memory while it writes it.
* **With a manifest** next to the folder, as `snapshot download` writes it, `inspect --deep`, `plan` and `rehearse` also
  compare the SHA-256 of each file. This covers every byte, holes included, and takes as long as hashing the files; `plan`
  and `rehearse` do it on another thread, while their messages run.
",
        stable_gib = gib(*stable_bytes),
        stored_gib = gib(*stored_bytes),
        sent_mb = *sent_bytes as f64 / 1e6,
        adoption = adoption(figures),
        table = rows(Style::Markdown, figures),
    )
}

/// Returns the paragraph on the adoption.
fn adoption(figures: &Figures) -> String {
    let (megabytes, capsules) = (figures.adopted_bytes as f64 / 1e6, super::adoption::CAPSULES);
    let Some(AdoptionRun { began, load }) = &figures.adopted else {
        return format!(
            "\
`adopt` reads the {megabytes:.0} MB of stable memory of a canister of the first public release: {capsules} capsules, each with
a small file, and one file of 100 MB. `plan` takes the result to the direct build."
        );
    };
    let in_flight = super::adoption::IN_FLIGHT;
    let load = load.map_or(String::new(), |load| format!(", when the load was {load:.0}"));
    format!(
        "\
`adopt` reads a canister of the first public release: {megabytes:.0} MB of stable memory with {capsules} capsules, each with a
file of 1 to 1,000 bytes, one file of 100 MB, and {in_flight} uploads in flight. `plan` takes the result to the direct build.
Then all of it is read back: the result is loaded and upgraded through the three builds, and on each of them every file is
read by its owner, compared byte for byte, and refused to a stranger, and a third of the uploads in flight is finished. This
run began at {began}{load}."
    )
}

fn gib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 30)
}

fn rows(style: Style, figures: &Figures) -> Table {
    let header =
        ["command", "compared with", "seconds", "its seconds", "ratio", "limit", "peak MB", "limit MB", ""];
    let mut table = table(style, 2, header);
    for row in &figures.rows {
        table.add_row(cells(row));
    }
    table
}

/// Returns the cells of a row; the last one says whether the limits are met, and is empty without a limit.
fn cells(row: &Row) -> [String; 9] {
    let limit = row.limit.as_ref();
    let ratio = limit.map(|limit| row.seconds / limit.seconds);
    let number = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.2}"));
    let megabytes =
        |bytes: Option<u64>| bytes.map_or("-".to_owned(), |bytes| format!("{:.0}", bytes as f64 / 1e6));
    let max = limit.and_then(|limit| limit.ratio);
    let is_slow = max.zip(ratio).is_some_and(|(max, ratio)| ratio > max);
    let is_large = row.peak_limit.zip(row.peak_bytes).is_some_and(|(limit, peak)| peak > limit);
    let has_limit = max.is_some() || row.peak_limit.is_some();
    let verdict = match (is_slow || is_large, has_limit) {
        (true, _) => "above",
        (false, true) => "met",
        (false, false) => "",
    };
    [
        row.what.clone(),
        limit.map_or("-".to_owned(), |limit| limit.other.clone()),
        format!("{:.2}", row.seconds),
        number(limit.map(|limit| limit.seconds)),
        number(ratio),
        number(max),
        megabytes(row.peak_bytes),
        megabytes(row.peak_limit),
        verdict.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sizes::Limit;

    #[test]
    fn a_limit_that_is_exceeded_is_shown_as_such() {
        let limit = |ratio| Some(Limit { other: "cp".into(), seconds: 2.0, ratio: Some(ratio) });
        let row = |ratio, peak_bytes| Row {
            what: "inspect".into(),
            seconds: 3.0,
            peak_bytes: Some(peak_bytes),
            limit: limit(ratio),
            peak_limit: Some(1_000_000),
        };
        assert_eq!(cells(&row(1.5, 1_000_000))[4..], ["1.50", "1.50", "1", "1", "met"]);
        assert_eq!(cells(&row(1.4, 1_000_000))[8], "above");
        assert_eq!(cells(&row(1.5, 1_000_001))[8], "above");
    }
}
