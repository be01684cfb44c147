//! The targets, and the figures that are compared with them.

use session_migrate::build::Build;

use super::Figures;
use crate::bench::Bench;
use crate::payload::CHUNK_BYTES;

/// M instructions per MiB for ten chunks of 1.8 MB, stored as the first public release stores them (`Vec<u8>`
/// arguments, a chunk map, read-back). Measured once, on the same wasm engine, with a canister written for this
/// purpose.
pub const ORIGIN_PER_MIB: f64 = 209.4;

/// Maximum M instructions per MiB of an upload of ten chunks on the direct build, with SHA-256.
pub const LIMIT_PER_MIB: f64 = 76.0;

/// One figure with its limit.
pub struct Target {
    /// The name of the figure, with its unit.
    pub figure: &'static str,
    /// The maximum.
    pub limit: f64,
    /// The measured value; `None` if it has not been measured.
    pub value: Option<f64>,
    /// If the value is the worst of several, the benchmark or step that has it.
    pub worst: Option<String>,
}

impl Target {
    /// Returns whether the value is within the limit, as text.
    pub fn verdict(&self) -> &'static str {
        match self.value {
            None => "not measured",
            Some(value) if value <= self.limit => "pass",
            Some(_) => "missed",
        }
    }
}

/// Returns every target, in the order of the table; those that were not measured have no value.
pub fn all(figures: &Figures) -> Vec<Target> {
    let direct = |name: &str| figures.bench(Build::Direct, name);
    let per_mib = |bench: Option<&Bench>| bench.and_then(instructions_per_mib);
    let target = |figure, limit, value| Target { figure, limit, value, worst: None };
    let worst_of = |figure, limit, worst: Option<(f64, String)>| match worst {
        Some((value, worst)) => Target { figure, limit, value: Some(value), worst: Some(worst) },
        None => target(figure, limit, None),
    };
    vec![
        target(
            "direct, SHA-256, 10 chunks: M instructions per MiB",
            LIMIT_PER_MIB,
            per_mib(direct("upload_10")),
        ),
        target(
            "direct, SHA-256, 1,000 chunks against 10: ratio",
            1.01,
            ratio(per_mib(direct("upload_1000")), per_mib(direct("upload_10"))),
        ),
        target(
            "direct, BLAKE3, 10 chunks: M instructions per MiB",
            18.0,
            per_mib(direct("upload_blake3_10")),
        ),
        target("direct against legacy, 10 chunks: ratio", 0.85, against_legacy(figures, "upload_10")),
        target("direct against legacy, 100 chunks: ratio", 0.72, against_legacy(figures, "upload_100")),
        worst_of(
            "direct against legacy, the worst step of an upload: ratio",
            1.0,
            worst(ratios_to_legacy(figures)),
        ),
        target(
            "direct against the public release's way (209.4 M per MiB): ratio",
            0.41,
            ratio(per_mib(direct("upload_10")), Some(ORIGIN_PER_MIB)),
        ),
        target(
            "stable bytes written per payload byte, 10 chunks",
            1.02,
            written_per_byte(direct("upload_10")),
        ),
        target(
            "stable bytes written per payload byte, 100 chunks",
            1.02,
            written_per_byte(direct("upload_100")),
        ),
        target("heap and stable delta of a put, per payload byte", 1.08, delta_per_byte(direct("upload_10"))),
        worst_of(
            "finish after hashing on arrival, highest: M instructions",
            2.0,
            worst(
                ["upload_1", "upload_10", "upload_100", "upload_1000"]
                    .iter()
                    .filter_map(|name| Some((millions(direct(name), "finish")?, (*name).to_owned()))),
            ),
        ),
        target("reading a chunk of 1.8 MB: M instructions", 4.0, millions(direct("read_100"), "chunk_last")),
        target(
            "a file of 1 KiB in one call: M instructions",
            1.0,
            millions(direct("whole_1_kib"), "put_whole"),
        ),
        worst_of(
            "begin, finish, status with 100,000 sessions and memories against ten, the worst: ratio",
            1.3,
            worst(["begin", "finish", "status"].iter().filter_map(|step| {
                let ratio = ratio(millions(direct("calls_100000"), step), millions(direct("calls_10"), step));
                Some((ratio?, (*step).to_owned()))
            })),
        ),
        target(
            "post_upgrade without migration, 100,000 sessions and memories: M instructions",
            5.0,
            millions(direct("open_100000"), "post_upgrade"),
        ),
        target(
            "migration 1, a session with 20 stored chunks of 1.8 MB: M instructions",
            0.5,
            millions_per_session(figures, "migrate_chunks_20", 2.0),
        ),
        target(
            "migration 1, a session with 400 stored chunks of 1.8 MB: M instructions",
            1.0,
            millions_per_session(figures, "migrate_chunks_400", 1.0),
        ),
        target("migration 2: M instructions per MiB", 20.0, per_mib(direct("move_10"))),
        target(
            "1,000 files of 1 KiB in one call, capsule of 3,000 members: M instructions",
            1_200.0,
            millions(direct("whole_1000_for_3000_members"), "put_many"),
        ),
    ]
}

/// Returns by how many M instructions per session an upgrade that migrates this many sessions exceeds an upgrade
/// without a migration.
fn millions_per_session(figures: &Figures, name: &str, sessions: f64) -> Option<f64> {
    let total = |name| Some(figures.bench(Build::Direct, name)?.total().instructions as f64 / 1e6);
    Some((total(name)? - total("open_10")?) / sessions)
}

/// Returns the M instructions of all steps per MiB of payload; `None` without payload.
pub fn instructions_per_mib(bench: &Bench) -> Option<f64> {
    let mib = bench.payload_bytes as f64 / (1 << 20) as f64;
    (mib > 0.0).then(|| bench.total().instructions as f64 / 1e6 / mib)
}

fn written_per_byte(bench: Option<&Bench>) -> Option<f64> {
    let bench = bench.filter(|bench| bench.payload_bytes > 0)?;
    Some(bench.total().stable_bytes_written as f64 / bench.payload_bytes as f64)
}

/// Returns the delta of the puts of full chunks, each of them one message, over their payload.
fn delta_per_byte(bench: Option<&Bench>) -> Option<f64> {
    let puts = bench?.step("put_between")?;
    Some(puts.delta_bytes() as f64 / (puts.messages * CHUNK_BYTES) as f64)
}

fn millions(bench: Option<&Bench>, step: &str) -> Option<f64> {
    Some(bench?.step(step)?.instructions as f64 / 1e6)
}

fn ratio(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    Some(a? / b?)
}

fn against_legacy(figures: &Figures, name: &str) -> Option<f64> {
    let total = |build| figures.bench(build, name).map(|bench| bench.total().instructions as f64);
    ratio(total(Build::Direct), total(Build::Legacy))
}

/// Returns the highest value, with the name of what has it.
fn worst(values: impl Iterator<Item = (f64, String)>) -> Option<(f64, String)> {
    values.max_by(|(a, _), (b, _)| a.total_cmp(b))
}

/// Iterates over the steps of uploads that both builds have: instructions of direct over those of legacy, and the name.
fn ratios_to_legacy(figures: &Figures) -> impl Iterator<Item = (f64, String)> {
    const UPLOADS: [&str; 6] = ["upload_", "out_of_order_", "chunk_again", "abort_", "calls_", "file_1_kib"];
    let uploads = |bench: &&Bench| UPLOADS.iter().any(|start| bench.name.starts_with(start));
    figures.benches(Build::Direct).iter().filter(uploads).flat_map(|bench| {
        let legacy = figures.bench(Build::Legacy, &bench.name);
        bench.steps.iter().filter(|step| !OUTSIDE_UPLOADS.contains(&step.name.as_str())).filter_map(
            move |step| {
                let before = legacy?.step(&step.name)?.instructions as f64;
                Some((step.cost.instructions as f64 / before, format!("{}/{}", bench.name, step.name)))
            },
        )
    })
}

/// Steps without a session, which are the same on both paths.
const OUTSIDE_UPLOADS: [&str; 9] = [
    "memories_create",
    "memories_read",
    "memories_list",
    "memories_update",
    "memories_delete",
    "capsules_read",
    "admin_stats",
    "metrics",
    "sweep",
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::MeasuredStep;
    use crate::cost::Cost;
    use crate::results::Results;

    fn upload(build: Build, put: u64, finish: u64) -> Results {
        let step = |name: &str, instructions| MeasuredStep {
            name: name.into(),
            cost: Cost { instructions, messages: 1, stable_bytes_written: CHUNK_BYTES, ..Cost::default() },
        };
        let bench = Bench {
            scenario: "upload_10".into(),
            name: "upload_10".into(),
            payload_bytes: 1 << 20,
            steps: vec![step("put_between", put), step("finish", finish)],
        };
        Results { build, benches: vec![bench] }
    }

    #[test]
    fn figures_are_compared_with_their_limits() {
        let figures = Figures::new(vec![
            upload(Build::Direct, 70_000_000, 3_000_000),
            upload(Build::Legacy, 90_000_000, 2_000_000),
        ]);
        let all = all(&figures);
        let find = |start: &str| all.iter().find(|target| target.figure.starts_with(start)).unwrap();
        let per_mib = find("direct, SHA-256, 10 chunks");
        assert_eq!((per_mib.value, per_mib.verdict()), (Some(73.0), "pass"));
        assert_eq!(find("direct against legacy, 10").value, Some(73.0 / 92.0));
        let worst = find("direct against legacy, the worst");
        assert_eq!((worst.value, worst.worst.as_deref()), (Some(1.5), Some("upload_10/finish")));
        assert_eq!(find("finish after hashing").verdict(), "missed");
        assert_eq!(find("direct, BLAKE3").verdict(), "not measured");
    }
}
