//! Upload counts as Prometheus text: under each name, one or more samples for each path.

use crate::api::{CallCounts, PathCounts, UploadCounts};

use super::text::write_metric;

/// Appends all families, each with the samples of the three paths.
pub fn write(text: &mut String, counts: &UploadCounts) {
    let paths = [("compat", &counts.compat), ("direct", &counts.direct), ("none", &counts.no_path)];
    for Family { name, help, label, samples } in FAMILIES {
        let path_samples = |(path, counts)| {
            samples(counts).into_iter().map(move |(value, number)| {
                let mut labels = ["{path=\"", path, "\""].concat();
                if !label.is_empty() {
                    [",", label, "=\"", value, "\""].iter().for_each(|part| labels.push_str(part));
                }
                labels.push('}');
                (labels, number)
            })
        };
        write_metric(text, "counter", name, help, paths.into_iter().flat_map(path_samples));
    }
}

/// A metric: all samples under one name.
struct Family {
    name: &'static str,
    help: &'static str,
    /// Name of the label that distinguishes the samples of one path; empty if there is only one sample.
    label: &'static str,
    /// Returns the values of the label for one path, each with its number.
    samples: fn(&PathCounts) -> Vec<(&'static str, u64)>,
}

const FAMILIES: &[Family] = &[
    Family {
        name: "upload_sessions_begun_total",
        help: "Sessions begun",
        label: "",
        samples: |counts| vec![("", counts.sessions_begun)],
    },
    Family {
        name: "upload_sessions_ended_total",
        help: "Sessions ended",
        label: "outcome",
        samples: |counts| {
            vec![
                ("finished", counts.sessions_finished),
                ("aborted", counts.sessions_aborted),
                ("expired", counts.sessions_expired),
                ("evicted", counts.sessions_evicted),
            ]
        },
    },
    Family {
        name: "upload_stored_bytes_total",
        help: "Bytes of chunks and whole files stored",
        label: "",
        samples: |counts| vec![("", counts.bytes_stored)],
    },
    Family {
        name: "upload_messages_total",
        help: "Messages, including refused ones",
        label: "call",
        samples: |counts| per_call(counts, |call| call.messages),
    },
    Family {
        name: "upload_instructions_total",
        help: "Instructions of these messages",
        label: "call",
        samples: |counts| per_call(counts, |call| call.instructions),
    },
    Family {
        name: "upload_errors_total",
        help: "Calls and files refused",
        label: "kind",
        samples: |counts| counts.errors.by_kind().to_vec(),
    },
];

/// Returns one number for each kind of call.
fn per_call(counts: &PathCounts, number: fn(&CallCounts) -> u64) -> Vec<(&'static str, u64)> {
    counts.by_call().iter().map(|(call, counts)| (*call, number(counts))).collect()
}
