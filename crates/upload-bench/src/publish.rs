//! The checked-in files: reading them back, and writing what follows from them.

use std::path::PathBuf;

use session_migrate::build::toolchain;
use session_migrate::build::{Build, Workspace};

use crate::error::BenchError;
use crate::peers::{self, PeerFigures};
use crate::report::{self, Figures};
use crate::results::{self, Results};
use crate::scenarios;

/// The documents, made of the results and nothing else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `docs/costs.md`.
    pub page: String,
    /// `docs/costs.svg`.
    pub plot: String,
}

fn docs(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../docs").join(name)
}

fn peers_path() -> PathBuf {
    results::folder().join("side_by_side.json")
}

fn compiler_path() -> PathBuf {
    results::folder().join("compiler.txt")
}

/// The compiler that builds the wasms on this machine.
///
/// # Errors
/// When there is none.
pub fn compiler() -> Result<String, BenchError> {
    let version = toolchain::resolve(&Workspace::locate(None)?)?.version;
    Ok(version.lines().next().unwrap_or_default().to_owned())
}

/// The compiler of the checked-in figures; empty when none are checked in.
///
/// # Errors
/// When the file cannot be read.
pub fn recorded_compiler() -> Result<String, BenchError> {
    let path = compiler_path();
    if !path.exists() {
        return Ok(String::new());
    }
    let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    Ok(text.trim_end().to_owned())
}

/// Writes measured results over the checked-in ones; scenarios that were not run stay as they are.
///
/// # Errors
/// When a file cannot be written.
pub fn save(measured: Vec<Results>) -> Result<(), BenchError> {
    let folder = results::folder();
    let scenarios = scenarios::all();
    for one in measured {
        let recorded = Results::load(&folder, one.build)?;
        one.completed(recorded, &scenarios).save(&folder)?;
    }
    results::write(&compiler_path(), format!("{}\n", compiler()?).as_bytes())
}

/// Writes the figures of the peers.
///
/// # Errors
/// When the file cannot be written.
pub fn save_peers(peers: &[PeerFigures]) -> Result<(), BenchError> {
    let path = peers_path();
    let mut json = serde_json::to_string_pretty(peers).map_err(BenchError::file("write", &path))?;
    json.push('\n');
    results::write(&path, json.as_bytes())
}

fn recorded_peers() -> Result<Option<Vec<PeerFigures>>, BenchError> {
    let path = peers_path();
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    serde_json::from_str(&text).map(Some).map_err(BenchError::file("read", &path))
}

/// The checked-in figures of all builds.
///
/// # Errors
/// When a file cannot be read.
pub fn recorded() -> Result<Figures, BenchError> {
    let mut all = Vec::new();
    for build in Build::ALL {
        all.extend(Results::load(&results::folder(), build)?);
    }
    Ok(Figures::new(all))
}

/// What the documents must be, by the checked-in results.
///
/// # Errors
/// When a file cannot be read, or the plot cannot be drawn.
pub fn documents() -> Result<Documents, BenchError> {
    let figures = recorded()?;
    let plot = report::plot(&figures).map_err(BenchError::file("draw", docs("costs.svg")))?;
    let peers = recorded_peers()?.map(|peers| peers::markdown(&peers));
    let page = report::document(&figures, &recorded_compiler()?, &scenarios::all(), peers.as_deref());
    Ok(Documents { page, plot })
}

/// Writes the documents.
///
/// # Errors
/// As [`documents`], and when one cannot be written.
pub fn write_documents() -> Result<(), BenchError> {
    let Documents { page, plot } = documents()?;
    results::write(&docs("costs.md"), page.as_bytes())?;
    results::write(&docs("costs.svg"), plot.as_bytes())
}

/// The documents that are not what the checked-in results say.
///
/// # Errors
/// As [`documents`].
pub fn outdated() -> Result<Vec<PathBuf>, BenchError> {
    let Documents { page, plot } = documents()?;
    let same = |(name, expected): &(&str, String)| {
        std::fs::read_to_string(docs(name)).is_ok_and(|found| found == *expected)
    };
    let all = [("costs.md", page), ("costs.svg", plot)];
    Ok(all.iter().filter(|file| !same(file)).map(|(name, _)| PathBuf::from("docs").join(name)).collect())
}
