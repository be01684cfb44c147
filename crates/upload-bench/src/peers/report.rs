//! The section of `docs/costs.md` on the side-by-side comparison.

use super::jobs::{self, CROWDED, FEW, Job, MANY, Via, Way};
use super::tables::{
    COMPARED, build_table, call_table, job_table, load_table, member_table, ratio, written_table,
};
use super::{FILE_BYTES, PeerFigures, find_cost};
use crate::report::Style;
use crate::scenarios::populated::MEMBERS;

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
        load_table(Style::Markdown, figures),
        files_section(figures)
    )
}

/// Returns the subsection on small files, ranges, deletions and listing; empty if they have not been measured.
fn files_section(figures: &[PeerFigures]) -> String {
    let Some(text) = reasons_text(figures) else { return String::new() };
    format!(
        "\
### Small files, ranges, deletions and listing

One run of `cargo bench-costs side-by-side --files`. Each job is done on a fresh canister that holds 10 or 1,000 files of
1 KiB, all of one capsule; afterwards what was read is compared with what was uploaded, and the list of files with those that
are left. In millions of instructions, for all messages of a job including timers; `ratio` is the direct build over the asset
canister (`assets`).

{}

{}

{text}

In a capsule of {MEMBERS} members, or with as many principals who may change assets, and 1,000 files:

{}

Bytes with 1,000 files: written to stable memory, and in the pages of 4 KiB of both memories that changed. What the asset
canister changes on the heap is written to stable memory by the next upgrade.

{}

Jobs in which the legacy or the staged build differs from the direct one by more than a quarter, with 1,000 files:

{}
",
        job_table(Style::Markdown, figures),
        call_table(Style::Markdown),
        member_table(Style::Markdown, figures),
        written_table(Style::Markdown, figures),
        build_table(Style::Markdown, figures),
    )
}

/// Returns the text on what each canister does besides the job, and why the figures differ; `None` if one of the
/// figures in it has not been measured.
fn reasons_text(figures: &[PeerFigures]) -> Option<String> {
    let millions =
        |peer, job: &Job, state| Some(find_cost(figures, peer, job, state)?.instructions as f64 / 1e6);
    let [direct, assets] = COMPARED;
    let upload_one = Job::Upload { files: 1, bytes: 1 << 10, way: Way::AtOnce };
    let read = Job::Read { bytes: 1 << 10, range: None, via: Via::Query };
    let large_over_http = Job::Read { bytes: 100 << 10, range: None, via: Via::Http };
    let delete = Job::Delete { files: 1, bytes: 1 << 10 };
    // The uploads in which both canisters compute the digests.
    let is_digested = |job: &Job| matches!(job, Job::Upload { way, .. } if *way != Way::OnTrust);
    let ratios: Vec<f64> = jobs::all()
        .into_iter()
        .filter(is_digested)
        .flat_map(|job| [FEW, MANY].map(|state| ratio(figures, &job, state)))
        .collect::<Option<_>>()?;
    let listed = millions(direct, &Job::List, MANY)? * 1e3 / f64::from(MANY.files);
    Some(format!(
        "\
- **Uploads** cost {:.2} to {:.2} times as much as in the asset canister, if both compute the digests. The upload canister
  checks the caller against the capsule's access lists, and the file against the limits of caller, capsule and canister; it looks
  for the same content in the capsule, and stores metadata, indexes, and a receipt that answers a repeated call. The asset
  canister has one list of principals who may change assets. With every change it hashes the responses that it will give, 200 and
  304, puts them into a tree of all assets, and computes the tree's root again, so that its responses are certified: a file of 1
  KiB costs {:.2} M with 10 files, and {:.2} M with 1,000.
- **Digests on trust.** `store` compares the client's digest with that of the content. A commit computes one only if the client
  gives none, as in *together*; one that is given is not checked. The asset sync tools give one. The larger the files, the more
  that saves; the upload canister never commits bytes that it has not hashed.
- **Upgrades.** Everything that an upload stores is in stable memory when the call returns; an upgrade of the upload canister only
  opens it, and in its first minute caches Candid headers: {:.1} M in all. The asset canister writes all files to stable memory,
  reads them, and computes the tree again: {:.1} M with 10 files of 1 KiB, {:.0} M with 1,000.
- **Reads.** Everyone may read every asset, and the responses over HTTP are certified. The upload canister checks who reads, and
  its responses over HTTP are not certified ([browser.md](browser.md#what-is-certified)). It copies a body over HTTP from stable
  memory to the heap and then to the reply: with 10 files, 100 KiB cost {:.2} times as much as in the asset canister, which has
  them on the heap.
- **Ranges.** The asset canister has none. A query returns a chunk as it was uploaded, here 1.8 MB (with smaller chunks, a range
  would cost less, and an upload more calls); a response over HTTP ignores `Range` and begins with the first byte of the file, so
  that a gateway gets all parts up to the end of the range. The upload canister reads only the range.
- **Deletions** cost {:.0} times as much in the upload canister. The asset canister removes the file from a map on the heap; the
  hashes of its responses stay in the tree (a test of the fixture shows it). The upload canister removes memory, blob, indexes and extents from maps in stable
  memory (the table of a map on its own shows what a removal costs) and subtracts the bytes from the accounts. Each memory is
  deleted by a call of its own; a commit deletes many assets.
- **Listing** costs {:.1} times as much with 1,000 files. `list` returns six fields of each asset, from the heap, and all assets in
  one reply. `memories_list` returns all fields of a memory, 32 for a document, in pages: {listed:.0},000 instructions for each, about a
  third of them for the look-up of its record (see above), the others to read the record and to write the reply.
- **Members.** A capsule's record contains its access lists, and every call about the capsule reads all of it: a read of 1 KiB
  costs {:.2} M with {MEMBERS} members instead of {:.2}, and an upload or a deletion, which writes it as well, millions more. The
  asset canister looks the caller of a change up in a set on the heap.",
        ratios.iter().copied().fold(f64::INFINITY, f64::min),
        ratios.iter().copied().fold(0.0, f64::max),
        millions(assets, &upload_one, FEW)?,
        millions(assets, &upload_one, MANY)?,
        millions(direct, &Job::Upgrade, MANY)?,
        millions(assets, &Job::Upgrade, FEW)?,
        millions(assets, &Job::Upgrade, MANY)?,
        ratio(figures, &large_over_http, FEW)?,
        ratio(figures, &delete, MANY)?,
        ratio(figures, &Job::List, MANY)?,
        millions(direct, &read, CROWDED)?,
        millions(direct, &read, MANY)?,
    ))
}
