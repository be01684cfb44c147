//! Stable memory of layouts 1 and 2 that clients or an earlier build have filled: no call traps, and what is stored can
//! be finished, aborted, deleted, and moved between the layouts.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use ic_stable_structures::Memory as _;

use super::*;
use crate::blob::ChunkPrefix;
use crate::migrate::{self, MigrationState, RunOutcome, controls};
use crate::session::SessionId;
use crate::stable::buckets::whole_memory;
use crate::stable::{Memories, memory_ids};

const PAGE: usize = 64 * 1024;

/// A canister in a memory of which little is free: most of its one-page buckets are occupied, but never read or
/// written.
struct SmallMemory {
    canister: TestCanister,
    /// The range of the memory's bytes that the occupied buckets take.
    taken: Range<usize>,
    /// Sessions of ten chunks, begun while there was room.
    begun: Vec<u64>,
}

/// Bytes of the memory that stay free: enough for some sixty chunks.
const BYTES_LEFT: u64 = 110 << 20;

impl SmallMemory {
    fn new(layout: Layout, path: fn() -> Box<dyn UploadPath>, share: u8) -> Self {
        let mut canister = TestCanister::with_memory(whole_memory(1), layout, path(), share);
        let config = AdminConfig { max_sessions_per_caller: 1_000, ..canister.storage.config().unwrap() };
        canister.storage.settings.set(&Config::checked(config).unwrap());
        for n in 0..300 {
            canister.begin(1, &format!("small {n}"));
        }
        // Their seventy chunks do not all fit.
        let begun = (0..7).map(|n| canister.begin(10 * CHUNK, &format!("begun {n}"))).collect();
        let taken = fill_memory(&mut canister, BYTES_LEFT);
        Self { canister, taken, begun }
    }

    fn compat() -> Self {
        Self::new(Layout::LEGACY, || Box::<CompatPath>::default(), 100)
    }

    fn direct() -> Self {
        Self::new(Layout::SPLIT, || Box::<DirectPath>::default(), 0)
    }

    fn run_message<T>(&mut self, act: impl FnOnce(&mut TestCanister) -> T) -> Option<T> {
        run_message(&mut self.canister, &self.taken, act)
    }

    fn sweep(&mut self) -> usize {
        sweep(&mut self.canister, &self.taken)
    }
}

/// Runs one message. If the message traps, restores the memory and returns `None`. The bytes in `taken` are not
/// restored, since nothing writes them.
fn run_message<T>(
    canister: &mut TestCanister,
    taken: &Range<usize>,
    act: impl FnOnce(&mut TestCanister) -> T,
) -> Option<T> {
    let before = {
        let raw = canister.raw.borrow();
        [raw[..taken.start].to_vec(), raw[taken.end..].to_vec()]
    };
    let blobs = &mut canister.storage.blobs;
    let (attempt, compaction) = (*blobs.attempt_mut(), *blobs.compaction_mut());
    let done = catch_unwind(AssertUnwindSafe(|| act(canister))).ok();
    if done.is_none() {
        let [head, tail] = before;
        let mut raw = canister.raw.borrow_mut();
        raw[..taken.start].copy_from_slice(&head);
        raw[taken.end..].copy_from_slice(&tail);
        drop(raw);
    }
    // An upgrade may follow any message: the memory must always open.
    let reopened = Storage::open_accepting(canister.raw.clone(), ALL_LAYOUTS).unwrap();
    if done.is_none() {
        canister.storage = reopened;
        *canister.storage.blobs.attempt_mut() = attempt;
        *canister.storage.blobs.compaction_mut() = compaction;
    }
    done
}

/// Sweeps until nothing is left to sweep, with the check for trapped removals before the first message and after each
/// trap. Returns how many messages trapped.
pub fn sweep(canister: &mut TestCanister, taken: &Range<usize>) -> usize {
    // A timer has no caller, so the sweep runs as a person who owns nothing.
    let sweep_once = |canister: &mut TestCanister| canister.as_person(u8::MAX).sweep().unwrap();
    let mut trapped = 0;
    for _ in 0..1_000 {
        canister.storage.blobs.watch_removals();
        loop {
            // Only a sweep whose removal can trap runs through `run_message`, which copies the memory and is slow.
            let has_room = canister.storage.room.has_room_for_removal();
            match if has_room { Some(sweep_once(canister)) } else { run_message(canister, taken, sweep_once) }
            {
                Some(true) => return trapped,
                Some(false) => {}
                None => {
                    trapped += 1;
                    break;
                }
            }
        }
    }
    panic!("{} prefixes are never swept", canister.storage.blobs.release_total());
}

/// Occupies all of the memory except `left` bytes; returns the range of the occupied bytes.
pub fn fill_memory(canister: &mut TestCanister, left: u64) -> Range<usize> {
    let pages = (canister.storage.room.bytes_left().saturating_sub(left)) / PAGE as u64;
    let region = Memories::init(canister.raw.clone()).get(memory_ids::EXTENT_REGION);
    region.grow(pages);
    // Without its header, the region would be refused when the memory is opened again.
    region.write(0, b"EXT\x01");
    canister.storage = Storage::open_accepting(canister.raw.clone(), ALL_LAYOUTS).unwrap();
    let end = canister.raw.borrow().len() - canister.storage.room.bytes_left() as usize;
    // The occupied bytes are all pages of the region but the first, which has the header.
    end - (pages as usize - 1) * PAGE..end
}

/// Runs the engine, one step in each message, until it has nothing to do, and returns the state of the migration. None
/// of its messages traps.
fn run_migration(small: &mut SmallMemory) -> MigrationState {
    let run_once = |canister: &mut TestCanister| {
        migrate::run(&mut canister.storage, canister.now, &Exhausted, 0).unwrap()
    };
    while run_once(&mut small.canister) == RunOutcome::More {}
    small.canister.storage.migration.state().unwrap()
}

/// Sessions of ten chunks that fill the memory: the id of each, its chunk prefix and its number of stored chunks.
type Sessions = Vec<(u64, ChunkPrefix, usize)>;

/// Aborts the sessions begun so far, and fills the memory as clients do, by begin and put.
fn fill_as_clients(small: &mut SmallMemory) -> Sessions {
    let content = file(10 * CHUNK);
    let mut sessions = Vec::new();
    for id in std::mem::take(&mut small.begun) {
        small.canister.service().abort(id).unwrap();
    }
    // Each session is filled before the next one is begun, since promised bytes have their own limit.
    while let Ok(id) = small.canister.try_begin(content.len(), &sessions.len().to_string()) {
        let status = small.canister.service().status(id).unwrap();
        (0..10).for_each(|idx| small.canister.put(id, &content, idx).unwrap());
        sessions.push((id, ChunkPrefix::of(&status.provisional_memory_id, SessionId(id)), 10));
    }
    sessions
}

/// Fills the memory as clients could in builds that did not check the room: until storing a chunk traps.
fn fill_unchecked(small: &mut SmallMemory) -> Sessions {
    let content = file(10 * CHUNK);
    let mut sessions = Vec::new();
    for id in small.begun.clone() {
        let status = small.canister.service().status(id).unwrap();
        let prefix = ChunkPrefix::of(&status.provisional_memory_id, SessionId(id));
        let mut stored = 0;
        for (idx, chunk) in content.chunks(CHUNK).enumerate() {
            let has_room = small.canister.storage.room.check_for_chunk(chunk.len() as u64).is_ok();
            let put = |canister: &mut TestCanister| {
                canister.storage.blobs.write_chunk(prefix, idx as u32, chunk);
                true
            };
            let is_put =
                if has_room { put(&mut small.canister) } else { small.run_message(put).unwrap_or(false) };
            if !is_put {
                break;
            }
            stored += 1;
        }
        sessions.push((id, prefix, stored));
    }
    assert!(sessions.last().unwrap().2 < 10, "the memory is not full: {sessions:?}");
    sessions
}

#[test]
fn promised_bytes_fit_and_can_all_be_removed() {
    for make in [SmallMemory::compat, SmallMemory::direct] {
        let mut small = make();
        let sessions = fill_as_clients(&mut small);
        assert!(sessions.len() > 2, "{sessions:?}");
        for (id, ..) in &sessions {
            small.canister.service().abort(*id).unwrap();
        }
        assert_eq!(small.sweep(), 0);
        assert_eq!(small.canister.live_counts()[3..], [0; 2]);
        assert_eq!(fill_as_clients(&mut small).len(), sessions.len(), "the room is free again");
        small.canister.now = small.canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        assert_eq!(small.sweep(), 0);
        assert_eq!((small.canister.live_counts(), small.canister.storage.usage.account_count()), ([0; 5], 0));
    }
}

#[test]
fn a_chunk_that_does_not_fit_is_refused_without_a_trap() {
    for make in [SmallMemory::compat, SmallMemory::direct] {
        let mut small = make();
        let content = file(10 * CHUNK);
        let begun = small.begun.clone();
        let mut puts = begun.iter().flat_map(|id| (0..10).map(move |idx| (*id, idx)));
        let refused = puts.find_map(|(id, idx)| small.canister.put(id, &content, idx).err());
        assert!(matches!(refused, Some(Error::ResourceExhausted { .. })), "{refused:?}");
        begun.iter().for_each(|id| small.canister.service().abort(*id).unwrap());
        assert_eq!(small.sweep(), 0);
    }
}

#[test]
fn a_memory_filled_without_a_check_is_emptied() {
    for (make, aborts) in [(SmallMemory::compat as fn() -> SmallMemory, true), (SmallMemory::direct, false)] {
        let mut small = make();
        let sessions = fill_unchecked(&mut small);
        // Returns whether a message that removes all chunks of a session at once traps, as the sweep of such builds
        // did.
        let traps = |(_, prefix, stored): &(u64, ChunkPrefix, usize), small: &mut SmallMemory| {
            let mut is_completed = false;
            let _ = small.run_message(|canister| {
                (0..*stored as u32).for_each(|idx| canister.storage.blobs.remove_unreported(*prefix, idx));
                is_completed = true;
                // The removal was only tried: a panic rolls it back.
                panic!("rolled back");
            });
            !is_completed
        };
        assert!(sessions.iter().any(|session| traps(session, &mut small)), "no removal traps");
        if aborts {
            // As long as more than 32 chunks are in use, the released ones are removed one by one.
            let (in_use, ended) = sessions.split_at(4);
            let in_use: usize = in_use.iter().map(|(.., stored)| stored).sum();
            assert!(in_use > 32 && !ended.is_empty(), "{sessions:?}");
            ended.iter().for_each(|(id, ..)| small.canister.service().abort(*id).unwrap());
            // The second check counts a failure: an attempt marker that is still there then shows that the removal step
            // trapped.
            assert_eq!(small.canister.service().sweep(), Ok(false));
            for failures in ["failures: 0", "failures: 1"] {
                small.canister.storage.blobs.watch_removals();
                let attempt = format!("{:?}", small.canister.storage.blobs.attempt_mut());
                assert!(attempt.contains(failures), "{attempt}");
            }
            let trapped = small.sweep();
            assert!(trapped < 40, "{trapped} messages trapped");
            assert_eq!(small.canister.storage.blobs.chunk_total(), in_use as u64);
        }
        small.canister.now = small.canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let trapped = small.sweep();
        assert!(trapped < 40, "{trapped} messages trapped");
        assert_eq!((small.canister.live_counts(), small.canister.storage.usage.account_count()), ([0; 5], 0));
    }
}

#[test]
fn migration_and_rollback_have_room_in_a_full_memory() {
    let mut small = SmallMemory::compat();
    let sessions = fill_as_clients(&mut small);
    set_share(&mut small.canister.storage, 0);
    small.canister.path = TestCanister::staged().path;
    let migrated = run_migration(&mut small);
    assert_eq!(
        (migrated.phase, migrated.converted),
        (migrate::Phase::Converted, 300 + sessions.len() as u64)
    );
    controls::rollback(&mut small.canister.storage, small.canister.now).unwrap();
    let rolled_back = run_migration(&mut small);
    assert_eq!((rolled_back.phase, rolled_back.note.as_str()), (migrate::Phase::RolledBack, ""));
    small.canister.path = Box::<CompatPath>::default();
    let content = file(10 * CHUNK);
    let (id, ..) = sessions[0];
    let memory_id = small.canister.finish(id, &content).unwrap().memory_id;
    crate::memories::delete(&mut small.canister.storage, person(OWNER), &memory_id).unwrap();
    small.canister.now = small.canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    assert_eq!(small.sweep(), 0);
    assert_eq!((small.canister.live_counts(), small.canister.storage.usage.account_count()), ([0; 5], 0));
}

#[test]
fn a_full_memory_stops_the_engine_and_traps_in_no_call() {
    let mut small = SmallMemory::compat();
    let sessions = fill_unchecked(&mut small);
    // Occupies all remaining buckets, for the memory of the journal.
    let journal = Memories::init(small.canister.raw.clone()).get(memory_ids::MIGRATION_JOURNAL);
    journal.grow(small.canister.storage.room.bytes_left() / PAGE as u64);
    small.canister.restart(Box::<CompatPath>::default());
    for (id, ..) in &sessions[..3] {
        small.canister.service().abort(*id).unwrap();
    }
    assert!(small.canister.storage.receipts.is_empty(), "there is no room for receipts");
    set_share(&mut small.canister.storage, 0);
    small.canister.restart(TestCanister::staged().path);
    let refused = ic_stable_migrate::Host::check_room(&small.canister.storage).unwrap_err();
    assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
    let state = run_migration(&mut small);
    assert_eq!(state.phase, migrate::Phase::Stuck);
    assert!(state.note.contains("bytes of stable memory"), "{}", state.note);
    let content = file(10 * CHUNK);
    let mut assert_refused = |act: &dyn Fn(&mut TestCanister) -> Result<()>| {
        let refused = act(&mut small.canister).unwrap_err();
        assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
    };
    let (id, ..) = *sessions.last().unwrap();
    assert_refused(&|canister| canister.try_begin(1, "new").map(drop));
    assert_refused(&|canister| canister.put(id, &content, 9));
    assert_refused(&|canister| {
        let capsule = canister.storage.capsules.create(person(9), None, START);
        capsule.map(drop).map_err(Error::from)
    });
    assert_refused(&|canister| {
        let file = super::small_file(canister, b"small", "small");
        canister.service().put_whole(file).map(drop)
    });
}
