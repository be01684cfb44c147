//! One benchmark: named steps on one canister, each with its cost.

use serde::{Deserialize, Serialize};

use crate::cost::Cost;
use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, Wasm};

/// A measured step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MeasuredStep {
    /// Its name, unique within the benchmark.
    pub name: String,
    /// Its cost.
    #[serde(flatten)]
    pub cost: Cost,
}

/// A benchmark.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bench {
    /// The name of the scenario that it belongs to; empty until `measure::run` sets it.
    pub scenario: String,
    /// Its name, unique within a build.
    pub name: String,
    /// Bytes of payload that were transferred; zero if the benchmark transfers no payload.
    pub payload_bytes: u64,
    /// Its steps, in the order in which they were first measured.
    pub steps: Vec<MeasuredStep>,
}

impl Bench {
    fn new(name: impl Into<String>) -> Self {
        Self { scenario: String::new(), name: name.into(), payload_bytes: 0, steps: Vec::new() }
    }

    /// Returns the total cost of all steps.
    pub fn total(&self) -> Cost {
        let mut sum = Cost::default();
        for step in &self.steps {
            sum += step.cost;
        }
        sum
    }

    /// Returns the cost of a step; `None` if the benchmark has no step of this name.
    pub fn step(&self, name: &str) -> Option<&Cost> {
        self.steps.iter().find(|step| step.name == name).map(|step| &step.cost)
    }
}

/// A benchmark in progress.
pub struct Recorder {
    /// The canister.
    pub canister: MeteredCanister,
    bench: Bench,
}

impl Recorder {
    /// Returns a benchmark on a freshly installed canister.
    ///
    /// # Errors
    /// If there is no usable server, or the installation fails.
    pub fn new(name: impl Into<String>, wasm: &Wasm) -> Result<Self, BenchError> {
        let name = name.into();
        Ok(Self::over(MeteredCanister::installed(name.clone(), wasm)?, name))
    }

    /// Returns a benchmark on an existing canister. Its first step includes all messages that were not measured before.
    pub fn over(canister: MeteredCanister, name: impl Into<String>) -> Self {
        Self { canister, bench: Bench::new(name) }
    }

    /// Sets how many bytes of payload the current benchmark transfers.
    pub fn set_payload(&mut self, bytes: u64) {
        self.bench.payload_bytes = bytes;
    }

    /// Measures `work` as a step. If there is a step of this name already, the cost is added to that step.
    pub fn measure<T>(
        &mut self,
        step: &str,
        work: impl FnOnce(&MeteredCanister) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let value = work(&self.canister)?;
        let cost = self.canister.take_cost()?;
        match self.bench.steps.iter_mut().find(|known| known.name == step) {
            Some(known) => known.cost += cost,
            None => self.bench.steps.push(MeasuredStep { name: step.to_owned(), cost }),
        }
        Ok(value)
    }

    /// Does `work` without measuring it. Earlier messages that no step has measured are not measured, either.
    pub fn unmeasured<T>(
        &mut self,
        work: impl FnOnce(&MeteredCanister) -> Result<T, BenchError>,
    ) -> Result<T, BenchError> {
        let value = work(&self.canister)?;
        self.canister.take_cost()?;
        Ok(value)
    }

    /// Returns the benchmark so far, and starts another one on the same canister.
    pub fn finish_and_start(&mut self, name: impl Into<String>) -> Bench {
        std::mem::replace(&mut self.bench, Bench::new(name))
    }

    /// Returns the finished benchmark.
    pub fn finish(self) -> Bench {
        self.bench
    }
}
