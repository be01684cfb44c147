//! Time and memory of the commands that read, send or adopt a large snapshot. Most of the times are compared with those
//! of standard programs such as `sha256sum`.

mod adoption;
mod process;
mod report;
mod snapshot;

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use session_migrate::provenance::Provenance;

use crate::error::BenchError;
use crate::metered_canister::Wasm;

use process::{ProgramRun, build_toolkit, run, run_to_json};

pub use adoption::read_back;
pub use report::{markdown, terminal};

/// Names of the rows about the adoption.
const ADOPT: &str = "`adopt`";
const ADOPTED_PLAN: &str = "`plan`, of what was adopted";
const ADOPTED_READ: &str = "every file read back on every build";

/// Bytes of the files in the snapshot that is sent over the network; rounded up like [`Options::file_bytes`]. As many
/// as in the upload of `icp` that sets the limit (see [`measure_network`]).
const SENT_BYTES: u64 = 150_000_000;

/// Maximum memory of `inspect`.
const INSPECT_PEAK_LIMIT: u64 = 256 << 20;

/// Maximum memory of `plan`, and of `rehearse`: 1.5 GiB.
const REHEARSAL_PEAK_LIMIT: u64 = 3 << 29;

/// Options of [`measure`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Size of stable memory, bytes.
    pub stable_bytes: u64,
    /// Bytes of the files in stable memory; rounded up to whole files when these are created.
    pub file_bytes: u64,
    /// Number of runs of each command that only reads the snapshot. The commands alternate; the median counts.
    pub rounds: usize,
    /// The folder in which the snapshots are created. Existing snapshots are reused.
    pub folder: PathBuf,
}

/// The figures of one command.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// The command, or a part of its work.
    pub what: String,
    /// Time that it took; the median if it was run several times.
    pub seconds: f64,
    /// Peak memory of the process; `None` for a part of a command, and where the system does not report it.
    pub peak_bytes: Option<u64>,
    /// The command with which the time is compared; `None` if the time is not compared.
    pub limit: Option<Limit>,
    /// Maximum of `peak_bytes`, if limited.
    pub peak_limit: Option<u64>,
}

/// Another command in the same run, with whose time that of a [`Row`] is compared. It sets a limit only if there is a
/// `ratio`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// The other command.
    pub other: String,
    /// The time of the other command.
    pub seconds: f64,
    /// Maximum of the row's time over the other command's time; `None` if the time is not limited.
    pub ratio: Option<f64>,
}

/// The figures of one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// When it began, in UTC.
    pub began: String,
    /// Size of stable memory, bytes.
    pub stable_bytes: u64,
    /// Bytes of stable memory that the file system stores: everything but holes.
    pub stored_bytes: u64,
    /// Bytes of the snapshot that is sent over the network.
    pub sent_bytes: u64,
    /// Bytes of the stable memory that is adopted.
    pub adopted_bytes: u64,
    /// The run that measured the adoption; `None` in figures of earlier versions, which did not read the files back.
    #[serde(default)]
    pub adopted: Option<AdoptionRun>,
    /// Number of runs of each command that only reads the snapshot.
    pub rounds: usize,
    /// Load of the machine in the minute before; absent where the system does not report it.
    pub load: Option<f64>,
    /// One row for each command.
    pub rows: Vec<Row>,
}

/// The run that measured the adoption.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AdoptionRun {
    /// When it began, in UTC.
    pub began: String,
    /// Load of the machine in the minute before; absent where the system does not report it.
    pub load: Option<f64>,
}

/// Measures everything; calls `done` after each command.
///
/// # Errors
/// If a snapshot cannot be created, a command fails, or a file cannot be read or removed.
pub fn measure(options: &Options, wasms: &[Wasm], done: &dyn Fn(&str)) -> Result<Figures, BenchError> {
    let began = Provenance::now().began;
    let session_migrate = build_toolkit()?;
    let snapshot = options.folder.join("snapshot");
    if !snapshot.exists() {
        done("making a snapshot");
        snapshot::make(wasms, options.file_bytes, options.stable_bytes, &snapshot)?;
    }
    let stable = snapshot.join(session_migrate::snapshot::STABLE_MEMORY);
    let mut figures = Figures {
        began,
        stable_bytes: file_len(&stable)?,
        stored_bytes: bytes_on_disk(&stable)?,
        sent_bytes: 0,
        adopted_bytes: 0,
        adopted: None,
        rounds: options.rounds,
        load: process::load_average(),
        rows: Vec::new(),
    };
    let copy_seconds = measure_read_only(&session_migrate, &snapshot, &stable, &mut figures, done)?;
    for (what, args) in [("plan", vec!["plan"]), ("rehearse --snapshot", vec!["rehearse", "--snapshot"])] {
        let report = options.folder.join("report.json");
        let mut command = Command::new(&session_migrate);
        command.args(args).arg(&snapshot).arg("--json").arg(&report);
        let (ran, report) = run_to_json(&mut command, &report)?;
        done(&format!("{what}: {ran}"));
        figures.rows.push(Row {
            what: format!("`{what}`, before the first message"),
            seconds: seconds_before_messages(&report),
            peak_bytes: None,
            limit: Some(Limit { other: "`cp -r`".into(), seconds: copy_seconds, ratio: Some(1.0) }),
            peak_limit: None,
        });
        figures.rows.push(row(format!("`{what}`"), &ran, None, Some(REHEARSAL_PEAK_LIMIT)));
    }
    let sent = options.folder.join("sent");
    if !sent.exists() {
        snapshot::make(wasms, SENT_BYTES, 0, &sent)?;
    }
    figures.sent_bytes = file_len(&sent.join(session_migrate::snapshot::STABLE_MEMORY))?;
    measure_network(&session_migrate, &sent, &options.folder, &mut figures, done)?;
    measure_and_add_adoption(&session_migrate, &options.folder, &mut figures, done)?;
    Ok(figures)
}

/// Measures only the adoption, and keeps the other figures.
///
/// # Errors
/// If the canister cannot be created, a command fails, or a file cannot be read.
pub fn measure_adoption(folder: &Path, figures: &mut Figures, done: &dyn Fn(&str)) -> Result<(), BenchError> {
    figures.rows.retain(|row| ![ADOPT, ADOPTED_PLAN, ADOPTED_READ].contains(&&*row.what));
    measure_and_add_adoption(&build_toolkit()?, folder, figures, done)
}

fn measure_and_add_adoption(
    session_migrate: &Path,
    folder: &Path,
    figures: &mut Figures,
    done: &dyn Fn(&str),
) -> Result<(), BenchError> {
    let old = folder.join("old-release");
    if !old.exists() {
        done("creating a canister of the first public release");
        adoption::make(&old)?;
    }
    let stable = old.join(session_migrate::snapshot::STABLE_MEMORY);
    figures.adopted_bytes = file_len(&stable)?;
    figures.adopted = Some(AdoptionRun { began: Provenance::now().began, load: process::load_average() });
    // The results are in a temporary folder, since `adopt` also writes a manifest next to its output.
    let results = tempfile::tempdir_in(folder).map_err(BenchError::file("create a folder in", folder))?;
    let out = results.path().join("adopted");
    let mut adopt = Command::new(session_migrate);
    adopt.arg("adopt").arg(&old).arg("--out").arg(&out);
    let mut plan = Command::new(session_migrate);
    plan.arg("plan").arg(&out);
    let this_program = std::env::current_exe().map_err(BenchError::file("find", "this program"))?;
    let mut read_back = Command::new(this_program);
    read_back.arg("read-back").arg(&out);
    let mut sum = Command::new("sha256sum");
    let sum = run(sum.arg(&stable))?;
    for (what, mut command) in [(ADOPT, adopt), (ADOPTED_PLAN, plan), (ADOPTED_READ, read_back)] {
        let ran = run(&mut command)?;
        done(&format!("{what}: {ran}"));
        let other = Limit { other: "`sha256sum`".into(), seconds: sum.seconds, ratio: None };
        figures.rows.push(row(what.into(), &ran, (what == ADOPT).then_some(other), None));
    }
    Ok(())
}

/// Measures the commands that only read the snapshot, alternately. Returns the median time of copying the snapshot.
fn measure_read_only(
    session_migrate: &Path,
    snapshot: &Path,
    stable: &Path,
    figures: &mut Figures,
    done: &dyn Fn(&str),
) -> Result<f64, BenchError> {
    let copy = snapshot.with_file_name("copy");
    let mut runs: [Vec<ProgramRun>; 4] = Default::default();
    for _ in 0..figures.rounds {
        let mut sum = Command::new("sha256sum");
        sum.arg(stable);
        let mut inspect = Command::new(session_migrate);
        inspect.arg("inspect").arg(snapshot);
        let mut deep = Command::new(session_migrate);
        deep.args(["inspect", "--deep"]).arg(snapshot);
        let mut cp = Command::new("cp");
        cp.arg("-r").arg(snapshot).arg(&copy);
        for (command, runs) in [sum, inspect, deep, cp].iter_mut().zip(&mut runs) {
            let ran = run(command)?;
            done(&format!("{}: {ran}", process::command_line(command)));
            runs.push(ran);
        }
        std::fs::remove_dir_all(&copy).map_err(BenchError::file("remove", &copy))?;
    }
    let [sum, inspect, deep, cp] = runs.map(median);
    for (what, ran, ratio) in [("`inspect`", inspect, 0.5), ("`inspect --deep`", deep, 1.5)] {
        let limit = Limit { other: "`sha256sum`".into(), seconds: sum.seconds, ratio: Some(ratio) };
        figures.rows.push(row(what.into(), &ran, Some(limit), Some(INSPECT_PEAK_LIMIT)));
    }
    Ok(cp.seconds)
}

/// Measures the upload of a snapshot to a canister on a network in this process, and the download.
fn measure_network(
    session_migrate: &Path,
    sent: &Path,
    folder: &Path,
    figures: &mut Figures,
    done: &dyn Fn(&str),
) -> Result<(), BenchError> {
    let network = snapshot::Network::start(folder)?;
    let received = folder.join("received");
    let canister = network.canister.to_text();
    let mut upload = Command::new(session_migrate);
    upload.args(["snapshot", "upload"]).arg(sent).args(["--canister", &canister]);
    let mut download = Command::new(session_migrate);
    download.args(["snapshot", "download", &canister, "--out"]).arg(&received);
    for (what, mut command) in [("`snapshot upload`", upload), ("`snapshot download`", download)] {
        let ran = run(command.args(network.arguments()))?;
        done(&format!("{what}: {ran}"));
        // The limit is a tenth of the memory that icp 1.5 takes for an upload of 150 MB.
        figures.rows.push(row(what.into(), &ran, None, Some(69_500_000)));
    }
    std::fs::remove_dir_all(&received).map_err(BenchError::file("remove", &received))
}

fn row(what: String, ran: &ProgramRun, limit: Option<Limit>, peak_limit: Option<u64>) -> Row {
    Row { what, seconds: ran.seconds, peak_bytes: ran.peak_bytes, limit, peak_limit }
}

/// Returns the median time and the highest peak of the runs.
fn median(mut runs: Vec<ProgramRun>) -> ProgramRun {
    runs.sort_by(|one, other| one.seconds.total_cmp(&other.seconds));
    let peak_bytes = runs.iter().filter_map(|ran| ran.peak_bytes).max();
    let seconds = runs.get(runs.len() / 2).map_or(0.0, |ran| ran.seconds);
    ProgramRun { seconds, peak_bytes }
}

/// Returns the total time of a report's phases up to the loading of the snapshot, except those that build wasms.
fn seconds_before_messages(report: &serde_json::Value) -> f64 {
    let mut seconds = 0.0;
    for phase in report["phases"].as_array().into_iter().flatten() {
        let name = phase["name"].as_str().unwrap_or_default();
        if !name.starts_with("building") {
            seconds += phase["seconds"].as_f64().unwrap_or_default();
        }
        if name == "loading the snapshot" {
            break;
        }
    }
    seconds
}

fn file_len(path: &Path) -> Result<u64, BenchError> {
    Ok(std::fs::metadata(path).map_err(BenchError::file("read", path))?.len())
}

fn bytes_on_disk(path: &Path) -> Result<u64, BenchError> {
    use std::os::unix::fs::MetadataExt;
    Ok(std::fs::metadata(path).map_err(BenchError::file("read", path))?.blocks() * 512)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_taken_with_the_highest_peak() {
        let ran = |seconds, peak| ProgramRun { seconds, peak_bytes: Some(peak) };
        let median = median(vec![ran(3.0, 10), ran(1.0, 30), ran(2.0, 20)]);
        assert_eq!((median.seconds, median.peak_bytes), (2.0, Some(30)));
    }

    #[test]
    fn only_the_phases_before_the_first_message_count() {
        let phase = |name: &str, seconds| serde_json::json!({ "name": name, "seconds": seconds });
        let report = serde_json::json!({ "phases": [
            phase("inspecting the snapshot", 1.0),
            phase("building wasms", 100.0),
            phase("loading the snapshot", 2.0),
            phase("upgrading to the staged build", 1000.0),
        ]});
        assert_eq!(seconds_before_messages(&report), 3.0);
    }
}
