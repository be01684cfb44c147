//! The second migration: blobs and sessions in flight whose bytes are in the chunk map.

pub mod held;
pub mod image;

use session_migrate::build::Build;
use upload_canister::migrate::Phase;
use upload_canister::stable::layout::Layout;
use upload_canister::storage::Storage;

use held::Held;
use image::image;

use super::Start;
use crate::support::InstalledCanister;
use crate::support::legacy_state::memory_of;

/// Number of the second migration.
pub const SECOND: u16 = 2;

/// Opens a copy of the canister's stable memory.
pub fn storage(canister: &InstalledCanister) -> Storage {
    Storage::open_accepting(canister.stable_memory(), &[Layout::SPLIT, Layout::EXTENTS]).unwrap()
}

/// Returns the key of the unit that the last message left unfinished, if any.
pub fn unit_in_progress(storage: &Storage) -> Option<u64> {
    storage.migration.state_of(SECOND).unwrap().unit.map(|unit| unit.key)
}

/// The start of migration 2: a canister on the staged build, with migration 1 finalized, to be upgraded to the direct
/// build.
#[derive(Clone, Copy, Debug)]
pub struct InChunkMap;

impl Start for InChunkMap {
    const BUILD: Build = Build::Direct;

    type Dump = Dump;

    fn canister(self) -> InstalledCanister {
        let canister = InstalledCanister::empty(Build::Staged);
        canister.set_stable_memory(&memory_of(&image().bytes));
        canister.try_upgrade(Build::Staged).unwrap();
        canister
    }

    fn dump(canister: &InstalledCanister) -> Dump {
        // Chunks that have moved to extents are removed from the chunk map by the sweep, some of them in each message.
        canister.run_timers_until(|stats| stats.releases_pending == 0);
        Dump::of(&storage(canister))
    }
}

/// The contents of the canister, and the counts and digests of migration 2.
#[derive(Debug, PartialEq)]
pub struct Dump {
    pub held: Held,
    pub phase: Phase,
    /// Source units; converted, also on touch; quarantined; expired.
    pub counts: [u64; 4],
    pub classes: Vec<(String, u64)>,
    /// Before and after the migration.
    pub digests: [[u8; 32]; 2],
    pub quarantine: Vec<u64>,
}

impl Dump {
    fn of(storage: &Storage) -> Self {
        let state = storage.migration.state_of(SECOND).unwrap();
        Self {
            held: Held::of(storage),
            phase: state.phase,
            counts: [state.source, state.converted + state.already, state.quarantined, state.expired],
            classes: state.classes,
            digests: [state.digest_before.to_bytes(), state.digest_after.to_bytes()],
            quarantine: storage.migration.quarantine.keys(SECOND, None, 99),
        }
    }
}
