//! The checked-in figures of one build.
//!
//! ```text
//! results/<build>/costs.csv                one line for each step, with every figure
//! results/<build>/canbench_results.yml     the figures that canbench reads: benchmarks, with steps as scopes
//! results/compiler.txt                     the compiler of the measured wasms of all builds
//! ```

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use canbench_rs::{BenchResult, Measurement};
use serde::{Deserialize, Serialize};
use session_migrate::build::Build;

use crate::bench::{Bench, MeasuredStep};
use crate::cost::Cost;
use crate::error::BenchError;
use crate::scenarios::Scenario;

/// Format of the yml files: the oldest with all these fields, so that every later canbench can read them.
const CANBENCH_VERSION: &str = "0.1.10";

/// Returns the folder of the checked-in results.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("results")
}

/// A line of `costs.csv`.
#[derive(Serialize, Deserialize)]
struct Row {
    scenario: String,
    bench: String,
    step: String,
    payload_bytes: u64,
    messages: u64,
    instructions: u64,
    stable_bytes_written: u64,
    stable_bytes_read: u64,
    dirty_stable_pages: u64,
    dirty_wasm_pages: u64,
    heap_increase: u64,
    stable_memory_increase: u64,
}

impl Row {
    fn new(bench: &Bench, step: &MeasuredStep) -> Self {
        let cost = step.cost;
        Row {
            scenario: bench.scenario.clone(),
            bench: bench.name.clone(),
            step: step.name.clone(),
            payload_bytes: bench.payload_bytes,
            messages: cost.messages,
            instructions: cost.instructions,
            stable_bytes_written: cost.stable_bytes_written,
            stable_bytes_read: cost.stable_bytes_read,
            dirty_stable_pages: cost.dirty_stable_pages,
            dirty_wasm_pages: cost.dirty_wasm_pages,
            heap_increase: cost.heap_increase,
            stable_memory_increase: cost.stable_memory_increase,
        }
    }

    fn into_step(self) -> MeasuredStep {
        let cost = Cost {
            messages: self.messages,
            instructions: self.instructions,
            stable_bytes_written: self.stable_bytes_written,
            stable_bytes_read: self.stable_bytes_read,
            dirty_stable_pages: self.dirty_stable_pages,
            dirty_wasm_pages: self.dirty_wasm_pages,
            heap_increase: self.heap_increase,
            stable_memory_increase: self.stable_memory_increase,
            wall_nanos: 0,
        };
        MeasuredStep { name: self.step, cost }
    }
}

/// The benchmarks of one build.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    /// The build.
    pub build: Build,
    /// Its benchmarks, in the order in which they were run.
    pub benches: Vec<Bench>,
}

impl Results {
    /// Returns a benchmark by its name.
    pub fn bench(&self, name: &str) -> Option<&Bench> {
        self.benches.iter().find(|bench| bench.name == name)
    }

    /// Adds the checked-in benchmarks of scenarios that were not run, drops benchmarks whose scenario is not in
    /// `scenarios`, and sorts the rest in the order of `scenarios`.
    pub fn completed(mut self, recorded: Option<Self>, scenarios: &[Scenario]) -> Self {
        let recorded = recorded.map_or_else(Vec::new, |recorded| recorded.benches);
        let not_run = |bench: &Bench| self.benches.iter().all(|run| run.scenario != bench.scenario);
        let recorded: Vec<Bench> = recorded.into_iter().filter(not_run).collect();
        self.benches.extend(recorded);
        let place = |bench: &Bench| scenarios.iter().position(|scenario| scenario.name == bench.scenario);
        self.benches.retain(|bench| place(bench).is_some());
        self.benches.sort_by_key(place);
        self
    }

    /// Returns the checked-in results of a build; `None` if there is no table.
    pub fn load(folder: &Path, build: Build) -> Result<Option<Self>, BenchError> {
        let path = table_path(folder, build);
        if !path.exists() {
            return Ok(None);
        }
        let mut benches: Vec<Bench> = Vec::new();
        let mut reader = csv::Reader::from_path(&path).map_err(BenchError::file("read", &path))?;
        for row in reader.deserialize() {
            let row: Row = row.map_err(BenchError::file("read", &path))?;
            match benches.last_mut() {
                Some(bench) if bench.name == row.bench => bench.steps.push(row.into_step()),
                _ => benches.push(Bench {
                    scenario: row.scenario.clone(),
                    name: row.bench.clone(),
                    payload_bytes: row.payload_bytes,
                    steps: vec![row.into_step()],
                }),
            }
        }
        Ok(Some(Self { build, benches }))
    }

    /// Writes the table and the file for canbench.
    pub fn save(&self, folder: &Path) -> Result<(), BenchError> {
        let path = table_path(folder, self.build);
        let mut writer = csv::Writer::from_writer(Vec::new());
        for bench in &self.benches {
            for step in &bench.steps {
                writer.serialize(Row::new(bench, step)).map_err(BenchError::file("write", &path))?;
            }
        }
        let table = writer.into_inner().map_err(BenchError::file("write", &path))?;
        write(&path, &table)?;
        let path = canbench_path(folder, self.build);
        let yml = serde_yaml_ng::to_string(&self.canbench()).map_err(BenchError::file("write", &path))?;
        write(&path, yml.as_bytes())
    }

    fn canbench(&self) -> CanbenchFile {
        let benches = self.benches.iter().map(|bench| {
            let scopes =
                bench.steps.iter().map(|step| (step.name.clone(), measurement(&step.cost))).collect();
            (bench.name.clone(), BenchResult { total: measurement(&bench.total()), scopes })
        });
        CanbenchFile { benches: benches.collect(), version: CANBENCH_VERSION.into() }
    }
}

/// The file of the canbench tool, field for field.
#[derive(Serialize, Deserialize)]
struct CanbenchFile {
    benches: BTreeMap<String, BenchResult>,
    version: String,
}

fn measurement(cost: &Cost) -> Measurement {
    Measurement {
        calls: cost.messages,
        instructions: cost.instructions,
        heap_increase: cost.heap_increase,
        stable_memory_increase: cost.stable_memory_increase,
    }
}

/// Returns the path of the table that [`Results::load`] reads; the other file is for canbench only.
fn table_path(folder: &Path, build: Build) -> PathBuf {
    folder.join(build.name()).join("costs.csv")
}

fn canbench_path(folder: &Path, build: Build) -> PathBuf {
    folder.join(build.name()).join("canbench_results.yml")
}

/// Writes a file, and creates its folder if necessary.
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), BenchError> {
    let written =
        path.parent().map_or(Ok(()), std::fs::create_dir_all).and_then(|()| std::fs::write(path, bytes));
    written.map_err(BenchError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn results() -> Results {
        let step = |name: &str, instructions| MeasuredStep {
            name: name.into(),
            cost: Cost {
                messages: 2,
                instructions,
                stable_bytes_written: 7,
                heap_increase: 1,
                ..Cost::default()
            },
        };
        let bench =
            |name: &str, steps| Bench { scenario: "s".into(), name: name.into(), payload_bytes: 10, steps };
        Results {
            build: Build::Direct,
            benches: vec![
                bench("b", vec![step("put", 5), step("finish", 6)]),
                bench("a", vec![step("put", 8)]),
            ],
        }
    }

    #[test]
    fn saved_results_are_loaded_unchanged() {
        let folder = tempfile::tempdir().unwrap();
        assert!(Results::load(folder.path(), Build::Direct).unwrap().is_none());
        results().save(folder.path()).unwrap();
        assert_eq!(Results::load(folder.path(), Build::Direct).unwrap(), Some(results()));
    }

    #[test]
    fn canbench_finds_its_fields() {
        let folder = tempfile::tempdir().unwrap();
        results().save(folder.path()).unwrap();
        let yml = std::fs::read_to_string(canbench_path(folder.path(), Build::Direct)).unwrap();
        let read: CanbenchFile = serde_yaml_ng::from_str(&yml).unwrap();
        let bench = &read.benches["b"];
        let expected =
            Measurement { calls: 4, instructions: 11, heap_increase: 2, stable_memory_increase: 0 };
        assert_eq!(bench.total, expected);
        assert_eq!(bench.scopes["finish"].instructions, 6);
        assert!(yml.starts_with("benches:\n  a:\n    total:\n      calls: 2\n"), "{yml}");
    }
}
