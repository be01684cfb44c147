//! Costs of one look-up, one insertion and one removal in a bare map of `ic-stable-structures`: a lower bound
//! for every call that touches such maps.

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS};

/// Numbers of entries of the measured maps; `scenarios::all` measures states with as many sessions.
const ENTRIES: [u64; 3] = [10, 1_000, 100_000];

/// Number of keys on which each operation is measured. They follow all others, like the keys of new sessions.
const KEYS: u64 = 10;

/// Number of keys that one message inserts, so that it stays within its instruction limit.
const KEYS_PER_MESSAGE: u64 = 10_000;

/// Instructions of each operation on a map: the mean of ten keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapCosts {
    /// Entries of the map.
    pub entries: u64,
    /// To look an entry up.
    pub get: u64,
    /// To insert an entry after all others.
    pub insert: u64,
    /// To remove one of the last entries.
    pub remove: u64,
}

/// Measures the operations on maps of ten to a hundred thousand entries.
///
/// # Errors
/// If the module cannot be built or read, the installation or a call fails, or a reply does not decode.
pub fn measure() -> Result<Vec<MapCosts>, BenchError> {
    let path = pocket_ic_fixtures::stable_map()?;
    let module = std::fs::read(&path).map_err(BenchError::file("read", &path))?;
    ENTRIES.into_iter().map(|entries| measure_map(entries, module.clone())).collect()
}

fn measure_map(entries: u64, module: Vec<u8>) -> Result<MapCosts, BenchError> {
    let canister = MeteredCanister::of(format!("a map of {entries}"), "the bare map", module)?;
    canister.install(NO_ARGUMENTS)?;
    for from in (0..entries).step_by(KEYS_PER_MESSAGE as usize) {
        canister.controller_call("fill", (from, entries.min(from + KEYS_PER_MESSAGE)))?;
    }
    let mean = |method: &'static str| -> Result<u64, BenchError> {
        let mut sum = 0;
        for key in entries..entries + KEYS {
            let reply = canister.controller_call(method, (key,))?;
            sum += candid::decode_one::<u64>(&reply).map_err(|error| canister.reply_error(method, &error))?;
        }
        Ok(sum / KEYS)
    };
    // First, so that the look-ups and removals find the keys.
    let insert = mean("insert")?;
    Ok(MapCosts { entries, insert, get: mean("get")?, remove: mean("remove")? })
}
