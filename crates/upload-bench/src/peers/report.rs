//! The figures side by side, for the terminal and for `docs/costs.md`.

use comfy_table::Table;

use super::{CLIENTS, FILE_BYTES, ORIGIN_MB_PER_S, PeerFigures};
use crate::report::{Style, table};

/// Returns the table for a terminal.
pub fn terminal(figures: &[PeerFigures]) -> Table {
    side_by_side(Style::Terminal, figures)
}

/// Returns the section of the page.
pub fn markdown(figures: &[PeerFigures]) -> String {
    let mib = FILE_BYTES as f64 / (1 << 20) as f64;
    format!(
        "\
## Side by side

One run on the same server: a file of {mib:.1} MiB for each client, in chunks of 1.8 MB, from begin to finish, each read
back and compared afterwards. DFINITY's asset canister is built from its crate with the same compiler; it hashes when
it commits and keeps everything on the heap, so it writes its data to stable memory only at upgrades. MB/s are from the
machine that produced the figures, the best of three runs, and are never checked: the embedded server has no consensus
and no network, and a canister executes one message after another. The last row has the first public release's own
figures, from a local replica on which every call takes a round or two: one file, and four at the same time.

{}
",
        side_by_side(Style::Markdown, figures)
    )
}

fn side_by_side(style: Style, figures: &[PeerFigures]) -> Table {
    let mut header: Vec<String> =
        ["canister", "M instructions/MiB", "written/byte", "upgrade M", "upgrade written/byte"]
            .map(str::to_owned)
            .into();
    header.extend(
        CLIENTS.map(|clients| format!("MB/s, {clients} client{}", if clients == 1 { "" } else { "s" })),
    );
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = table(style, 1, &header);
    for peer in figures {
        let one = peer.loads.iter().find(|load| load.clients == 1);
        let shown = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.2}"));
        let mut row = vec![
            peer.name.clone(),
            shown(one.map(super::Load::instructions_per_mib)),
            shown(one.map(super::Load::written_per_byte)),
            shown(Some(peer.upgrade.instructions as f64 / 1e6)),
            shown(one.map(|load| peer.upgrade.stable_bytes_written as f64 / load.bytes as f64)),
        ];
        row.extend(CLIENTS.map(|clients| {
            shown(peer.loads.iter().find(|load| load.clients == clients).map(super::Load::mb_per_s))
        }));
        table.add_row(row);
    }
    let [one, four] = ORIGIN_MB_PER_S.map(|value| format!("{value:.2}"));
    table.add_row(["public release, local replica", "-", "-", "-", "-", &one, &four, "-"]);
    table
}
