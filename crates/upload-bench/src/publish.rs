//! Reads and writes the checked-in figures, and writes the documents that are derived from them.

use std::path::PathBuf;

use serde::Serialize;
use serde::de::DeserializeOwned;
use session_migrate::build::toolchain;
use session_migrate::build::{Build, Workspace};

use crate::bare_map::MapCosts;
use crate::engine::EngineCosts;
use crate::error::BenchError;
use crate::full_chunks::FullChunks;
use crate::peers::{self, PeerFigures};
use crate::report::{self, Figures, Sources};
use crate::results::{self, Results};
use crate::scenarios;
use crate::sizes;

/// The documents, derived only from the results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Documents {
    /// `docs/costs.md`.
    pub page: String,
    /// `docs/costs.svg`.
    pub plot: String,
    /// `docs/sizes.md`; `None` if its figures are not checked in.
    pub sizes: Option<String>,
    /// `README.md`, of which only the section on costs is derived.
    pub readme: String,
}

impl Documents {
    /// Returns the path of each document, relative to the root of the tree, and its text.
    fn files(&self) -> Vec<(&'static str, &str)> {
        let mut files = vec![
            ("docs/costs.md", self.page.as_str()),
            ("docs/costs.svg", &self.plot),
            ("README.md", &self.readme),
        ];
        files.extend(self.sizes.as_ref().map(|text| ("docs/sizes.md", text.as_str())));
        files
    }
}

// Files in `results::folder`.
const PEERS: &str = "side_by_side.json";
const BARE_MAP: &str = "bare_map.json";
const ENGINE: &str = "engine.json";
const FULL_CHUNKS: &str = "full_chunks.json";
const SIZES: &str = "sizes.json";

/// Line of the README before its section on costs.
const SECTION_START: &str = "<!-- Costs: written by `cargo bench-costs --update`. -->\n";

/// Line of the README after its section on costs.
const SECTION_END: &str = "<!-- End of costs. -->\n";

fn in_tree(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..").join(path)
}

/// Returns the README with this section on costs.
fn readme_with(section: &str) -> Result<String, BenchError> {
    let path = in_tree("README.md");
    let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    let parts = text
        .split_once(SECTION_START)
        .and_then(|(before, rest)| Some((before, rest.split_once(SECTION_END)?.1)));
    let Some((before, after)) = parts else {
        return Err(BenchError::file("find the section on costs in", &path)("its comments are missing"));
    };
    Ok([before, SECTION_START, section, SECTION_END, after].concat())
}

fn compiler_path() -> PathBuf {
    results::folder().join("compiler.txt")
}

/// Returns the compiler that builds the wasms on this machine.
pub fn compiler() -> Result<String, BenchError> {
    let version = toolchain::resolve(&Workspace::locate(None)?)?.version;
    Ok(version.lines().next().unwrap_or_default().to_owned())
}

/// Returns the compiler of the checked-in figures; empty if no compiler is recorded.
pub fn recorded_compiler() -> Result<String, BenchError> {
    let path = compiler_path();
    if !path.exists() {
        return Ok(String::new());
    }
    let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    Ok(text.trim_end().to_owned())
}

/// Returns [`BenchError::OtherCompiler`] if the wasms of the checked-in figures were built by another compiler than
/// this machine's.
pub fn check_compiler() -> Result<(), BenchError> {
    let (recorded, here) = (recorded_compiler()?, compiler()?);
    if recorded.is_empty() || recorded == here {
        Ok(())
    } else {
        Err(BenchError::OtherCompiler { recorded, here })
    }
}

/// Overwrites the checked-in results with the measured ones, and the recorded compiler with this machine's. Of
/// scenarios that still exist but were not run, keeps the checked-in results.
pub fn save(measured: Vec<Results>) -> Result<(), BenchError> {
    let folder = results::folder();
    let scenarios = scenarios::all();
    for results in measured {
        let recorded = Results::load(&folder, results.build)?;
        results.completed(recorded, &scenarios).save(&folder)?;
    }
    results::write(&compiler_path(), format!("{}\n", compiler()?).as_bytes())
}

/// Writes the figures of the side-by-side comparison.
pub fn save_peers(peers: &[PeerFigures]) -> Result<(), BenchError> {
    save_json(PEERS, peers)
}

/// Returns the checked-in figures of the side-by-side comparison; `None` before they were measured.
pub fn recorded_peers() -> Result<Option<Vec<PeerFigures>>, BenchError> {
    load_json(PEERS)
}

/// Writes the figures of the bare map.
pub fn save_bare_map(maps: &[MapCosts]) -> Result<(), BenchError> {
    save_json(BARE_MAP, maps)
}

/// Writes the figures of the migration engine.
pub fn save_engine(costs: &EngineCosts) -> Result<(), BenchError> {
    save_json(ENGINE, costs)
}

/// Returns the checked-in figures of the migration engine; `None` before they were measured.
pub fn recorded_engine() -> Result<Option<EngineCosts>, BenchError> {
    load_json(ENGINE)
}

/// Writes the figures of migration 1 on full chunks.
pub fn save_full_chunks(measured: &[FullChunks]) -> Result<(), BenchError> {
    save_json(FULL_CHUNKS, measured)
}

/// Returns the checked-in figures of migration 1 on full chunks; an empty list before they were measured.
pub fn recorded_full_chunks() -> Result<Vec<FullChunks>, BenchError> {
    Ok(load_json(FULL_CHUNKS)?.unwrap_or_default())
}

/// Returns the checked-in figures of large snapshots; `None` before they were measured.
pub fn recorded_sizes() -> Result<Option<sizes::Figures>, BenchError> {
    load_json(SIZES)
}

/// Writes the figures of large snapshots.
pub fn save_sizes(sizes: &sizes::Figures) -> Result<(), BenchError> {
    save_json(SIZES, sizes)
}

fn save_json<T: Serialize + ?Sized>(name: &str, figures: &T) -> Result<(), BenchError> {
    let path = results::folder().join(name);
    let mut json = serde_json::to_string_pretty(figures).map_err(BenchError::file("write", &path))?;
    json.push('\n');
    results::write(&path, json.as_bytes())
}

fn load_json<T: DeserializeOwned>(name: &str) -> Result<Option<T>, BenchError> {
    let path = results::folder().join(name);
    if !path.exists() {
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(BenchError::file("read", &path))?;
    serde_json::from_str(&text).map(Some).map_err(BenchError::file("read", &path))
}

/// Returns the checked-in figures of the scenarios, for the builds that have any.
pub fn recorded() -> Result<Figures, BenchError> {
    let mut all = Vec::new();
    for build in Build::ALL {
        all.extend(Results::load(&results::folder(), build)?);
    }
    Ok(Figures::new(all))
}

/// Returns the documents according to the checked-in results.
///
/// # Errors
/// If a file cannot be read, `README.md` has no section on costs, or the plot cannot be drawn.
pub fn documents() -> Result<Documents, BenchError> {
    let figures = recorded()?;
    let plot = report::plot(&figures).map_err(BenchError::file("draw", in_tree("docs/costs.svg")))?;
    let peers = recorded_peers()?;
    let sources = Sources {
        compiler: recorded_compiler()?,
        scenarios: scenarios::all(),
        bare_map: load_json(BARE_MAP)?.unwrap_or_default(),
        engine: recorded_engine()?.unwrap_or_default(),
        full_chunks: recorded_full_chunks()?,
        side_by_side: peers.map(|peers| peers::markdown(&peers)).unwrap_or_default(),
    };
    let page = report::document(&figures, &sources);
    let readme = readme_with(&report::section(&figures))?;
    let sizes = recorded_sizes()?.map(|figures| sizes::markdown(&figures));
    Ok(Documents { page, plot, sizes, readme })
}

/// Writes the documents.
pub fn write_documents() -> Result<(), BenchError> {
    let documents = documents()?;
    documents.files().iter().try_for_each(|(path, text)| results::write(&in_tree(path), text.as_bytes()))
}

/// Returns the documents that cannot be read or do not match the checked-in results.
pub fn outdated() -> Result<Vec<PathBuf>, BenchError> {
    let documents = documents()?;
    let is_same = |(path, text): &(&str, &str)| {
        std::fs::read_to_string(in_tree(path)).is_ok_and(|found| found == *text)
    };
    Ok(documents.files().iter().filter(|file| !is_same(file)).map(|(path, _)| PathBuf::from(path)).collect())
}
