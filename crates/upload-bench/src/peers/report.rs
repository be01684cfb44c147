//! The section of `docs/costs.md`.

use super::tables::{builds, calls, jobs, loads, written};
use super::{FILE_BYTES, PeerFigures};
use crate::report::Style;

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

{}",
        loads(Style::Markdown, figures),
        files(figures)
    )
}

/// Returns the part on small files, ranges, deletions and listing; empty before they were measured.
fn files(figures: &[PeerFigures]) -> String {
    if figures.iter().all(|peer| peer.jobs.is_empty()) {
        return String::new();
    }
    format!(
        "\
### Small files, ranges, deletions and listing

{}

{}

{}

{}
",
        calls(Style::Markdown),
        jobs(Style::Markdown, figures),
        written(Style::Markdown, figures),
        builds(Style::Markdown, figures),
    )
}
