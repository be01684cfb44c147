//! Migration 1 on very many sessions with a stored chunk of 1.8 MB each: whether its cost depends on the size of the
//! chunks, and how it grows with their number.
//!
//! A hundred thousand such chunks are 180 GB, so the chunk map is *hollow*. It has the nodes that the library creates
//! for the same keys, at the addresses that the nodes would have with these chunks, but only the first page of each
//! node, which contains the keys; the other pages are holes. The library traps when it reads a hole, so a migration
//! that succeeds has read no payload. For a few sessions, the cost is compared with the cost with stored chunks.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use candid::Principal;
use ic_stable_structures::{StableBTreeMap, VectorMemory};
use serde::{Deserialize, Serialize};
use session_migrate::build::{Build, Module};
use session_migrate::snapshot::PAGE_BYTES;
use upload_canister::api::{Error, MigrationPhase};
use upload_canister::blob::ChunkPrefix;
use upload_canister::migrations::split_sessions::{LegacyStatus, LegacyUploadSession};
use upload_canister::session::SessionId;
use upload_canister::stable::buckets::allocated_buckets;
use upload_canister::stable::{RawMemory, memory_ids};
use upload_canister::upload::{IdemKey, RawRecord};

use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS, Wasm};
use crate::payload::{CHUNK_BYTES, metadata};
use crate::seed::{self, LegacyState};
use crate::sparse;

/// Numbers of sessions of the measured states. The memory manager of the canister has 32,768 buckets of 8 MiB, 256 GiB
/// in all; the largest state fills 94 % of them.
const SESSIONS: [u64; 3] = [1_000, 10_000, 140_000];

/// Number of sessions for which the migration is also measured with stored chunks, 180 MB in all.
const COMPARED: u64 = 100;

/// Share, in percent, by which the instructions with stored chunks and with hollow ones may differ.
const TOLERATED_PERCENT: u64 = 1;

/// Number of sessions of each caller, all in one capsule of this caller.
const SESSIONS_OF_CALLER: u64 = 100;

/// The cost of migration 1 on one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FullChunks {
    /// Sessions, each with one stored chunk of 1.8 MB.
    pub sessions: u64,
    /// Bytes of stable memory.
    pub stable_bytes: u64,
    /// Messages of the migration.
    pub messages: u64,
    /// Instructions for each session.
    pub each: u64,
    /// Instructions for each session in a state without stored chunks.
    pub each_without: u64,
}

/// How the chunks of a state are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunks {
    /// Not at all.
    None,
    /// With all of their bytes.
    Stored,
    /// With their keys alone.
    Hollow,
}

/// Measures every state; calls `done` after each migration.
///
/// # Errors
/// [`BenchError`]; also if the cost with hollow chunks differs from the cost with stored ones by more than 1 %.
pub fn measure(wasms: &[Wasm], done: &dyn Fn(&str)) -> Result<Vec<FullChunks>, BenchError> {
    let run = |sessions, chunks| {
        let figures = migrate(wasms, sessions, chunks)?;
        done(&format!("{sessions} sessions, {chunks:?}: {} instructions each", figures.each));
        Ok::<_, BenchError>(figures)
    };
    let (stored, hollow) = (run(COMPARED, Chunks::Stored)?, run(COMPARED, Chunks::Hollow)?);
    if stored.each.abs_diff(hollow.each) * 100 > stored.each * TOLERATED_PERCENT {
        BenchError::check_equal("full chunks", "instructions a session", stored.each, hollow.each)?;
    }
    SESSIONS
        .into_iter()
        .map(|sessions| {
            let without = run(sessions, Chunks::None)?;
            Ok(FullChunks { each_without: without.each, ..run(sessions, Chunks::Hollow)? })
        })
        .collect()
}

/// Maximum instructions for each session, in a state of any size.
const MAX_EACH: u64 = 300_000;

/// Describes the costs that exceed the target, exceed the checked-in ones by more than 2 %, or are not checked in.
pub fn faults(measured: &[FullChunks], recorded: &[FullChunks]) -> Vec<String> {
    let mut faults = Vec::new();
    for FullChunks { sessions, each, .. } in measured {
        let before = recorded.iter().find(|run| run.sessions == *sessions).map(|run| run.each);
        if *each > MAX_EACH {
            faults.push(format!(
                "{each} instructions for each of {sessions} sessions, the target is {MAX_EACH}"
            ));
        }
        match before {
            None => faults.push(format!("{sessions} sessions: not checked in")),
            Some(before) if each * 100 > before * 102 => faults.push(format!(
                "{each} instructions for each of {sessions} sessions, {before} are checked in"
            )),
            Some(_) => {}
        }
    }
    faults
}

fn migrate(wasms: &[Wasm], sessions: u64, chunks: Chunks) -> Result<FullChunks, BenchError> {
    let find_wasm = |build| {
        let found = wasms.iter().find(|wasm| wasm.build == build);
        found.ok_or_else(|| BenchError::file("find", "target")(format!("the {build} build is missing")))
    };
    let folder = tempfile::tempdir().map_err(BenchError::file("create", std::env::temp_dir()))?;
    let (raw, module) = (folder.path().join("stable.bin"), folder.path().join("legacy.wasm.gz"));
    let seed_error =
        |error: Error| BenchError::Seed { sessions: sessions as u32, memories: 0, detail: error.to_string() };
    let (image, keys) = make_state(sessions, chunks).map_err(seed_error)?;
    write_with_hollow_map(&image, &keys, &raw).map_err(BenchError::file("write", &raw))?;
    drop(image);
    std::fs::write(&module, &find_wasm(Build::Legacy)?.gz).map_err(BenchError::file("write", &module))?;
    let legacy = Module::read(&module).map_err(BenchError::file("read", &module))?;
    let canister = MeteredCanister::empty(format!("{sessions} full chunks"), find_wasm(Build::Staged)?)?;
    canister.load(&raw, &legacy)?;
    canister.upgrade(NO_ARGUMENTS)?;
    let status = loop {
        let status =
            canister.typed_client().migration_status().map_err(|error| canister.call_error(error))?;
        match status.phase {
            MigrationPhase::Validating | MigrationPhase::Converting | MigrationPhase::Verifying => {}
            phase => {
                canister.check_equal("phase", MigrationPhase::Converted, phase)?;
                break status;
            }
        }
        canister.tick();
    };
    canister.check_equal("converted sessions", sessions, status.converted)?;
    let stored = u64::from(chunks != Chunks::None) * sessions;
    let count_of =
        |name: &str| status.classes.iter().find(|class| class.class == name).map_or(0, |class| class.count);
    canister.check_equal("sessions with every chunk", stored, count_of(COMPLETE))?;
    let stable_bytes = std::fs::metadata(&raw).map_err(BenchError::file("read", &raw))?.len();
    let each = status.instructions / sessions;
    // `measure` replaces `each_without`.
    Ok(FullChunks { sessions, stable_bytes, messages: status.messages, each, each_without: each })
}

/// Class of a pending session whose only chunk is stored.
const COMPLETE: &str = "pending, complete";

type ChunkKey = ([u8; 32], u32);

/// Returns the state of a legacy canister, and the keys of the chunks that are to be hollow.
fn make_state(sessions: u64, chunks: Chunks) -> Result<(RawMemory, Vec<ChunkKey>), Error> {
    let mut state = LegacyState::new()?;
    let mut keys = Vec::new();
    let (mut caller, mut capsule) = (Principal::anonymous(), String::new());
    for session in 1..=sessions {
        if session % SESSIONS_OF_CALLER == 1 {
            caller = Principal::self_authenticating(session.to_be_bytes());
            capsule = state.storage.capsules.create(caller, None, seed::now())?.id;
        }
        let prefix = add_session(&mut state, session, caller, &capsule)?;
        match chunks {
            Chunks::None => {}
            Chunks::Stored => {
                state.storage.blobs.write_chunk(prefix, 0, &vec![session as u8; CHUNK_BYTES as usize]);
            }
            Chunks::Hollow => keys.push((prefix.0, 0)),
        }
    }
    state.storage.sessions.ids.continue_after(sessions);
    Ok((state.finish(), keys))
}

fn add_session(
    state: &mut LegacyState,
    session: u64,
    caller: Principal,
    capsule: &str,
) -> Result<ChunkPrefix, Error> {
    let legacy = LegacyUploadSession {
        session_id: session,
        capsule_id: capsule.to_owned(),
        caller,
        created_at: seed::now().as_nanos(),
        expected_chunks: 1,
        status: LegacyStatus::Pending,
        chunk_count: 1,
        asset_metadata: metadata(CHUNK_BYTES).into(),
        provisional_memory_id: format!("mem_{session}_00112233445566778899aabbccddeeff"),
        chunk_size: CHUNK_BYTES,
        idem: format!("upload {session}"),
        blob_id: None,
    };
    let (id, storage) = (SessionId(session), &mut state.storage);
    storage.sessions.legacy.insert(session, &RawRecord(legacy.encode()));
    storage.sessions.legacy.record_activity(session, seed::now());
    storage.index.insert(id, IdemKey::of(capsule, &caller, &legacy.idem), caller, seed::now());
    storage.usage.reserve_unlimited(caller, capsule, CHUNK_BYTES)?;
    Ok(ChunkPrefix::of(&legacy.provisional_memory_id, id))
}

/// Writes stable memory to a file with holes for zeros. If there are keys, the chunk map is replaced by a hollow one
/// with these keys.
fn write_with_hollow_map(image: &RawMemory, keys: &[ChunkKey], path: &Path) -> std::io::Result<()> {
    let file = sparse::write(image, 0, path)?;
    if keys.is_empty() {
        return Ok(());
    }
    let buckets = Buckets::of(image, memory_ids::numbers::CHUNKS);
    let bytes = hollow_map(keys, CHUNK_BYTES, |address, page| buckets.write(&file, address, page))?;
    buckets.resize(&file, bytes.div_ceil(PAGE_BYTES))
}

/// The buckets of one memory: first those that it has in the image, then new ones at the end of stable memory. The
/// memory manager stores:
///
/// ```text
/// byte 4..6      number of buckets; 6..8: pages of each
/// byte 40..      pages of each memory, 255 numbers
/// byte 2080..    memory of each bucket
/// 65536..        buckets
/// ```
struct Buckets {
    /// Id of the memory.
    memory: u8,
    /// Number of buckets that all memories have in the image.
    allocated: u64,
    bucket_bytes: u64,
    /// Numbers of the memory's buckets in the image.
    own: Vec<u64>,
}

impl Buckets {
    // Addresses in the header of the memory manager: the pages of each memory, and the memory of each bucket.
    const SIZES: u64 = 40;
    const OWNERS: u64 = Self::SIZES + 255 * 8;

    fn of(image: &RawMemory, memory: u8) -> Self {
        let [allocated, pages] = allocated_buckets(image);
        let bytes = image.borrow();
        let own = (0..allocated).filter(|bucket| bytes[(Self::OWNERS + bucket) as usize] == memory);
        Self { memory, allocated, bucket_bytes: pages * PAGE_BYTES, own: own.collect() }
    }

    /// Writes bytes at an address of the memory, to the buckets in the file.
    fn write(&self, file: &File, address: u64, mut bytes: &[u8]) -> std::io::Result<()> {
        let mut address = address;
        while !bytes.is_empty() {
            let (number, offset) = (address / self.bucket_bytes, address % self.bucket_bytes);
            let own_count = self.own.len() as u64;
            let bucket =
                self.own.get(number as usize).copied().unwrap_or_else(|| self.allocated + number - own_count);
            let (now, later) = bytes.split_at(bytes.len().min((self.bucket_bytes - offset) as usize));
            file.write_all_at(now, PAGE_BYTES + bucket * self.bucket_bytes + offset)?;
            (bytes, address) = (later, address + now.len() as u64);
        }
        Ok(())
    }

    /// Sets the size of the memory to this many pages, and allocates the buckets that it lacks.
    fn resize(&self, file: &File, pages: u64) -> std::io::Result<()> {
        let added = (pages * PAGE_BYTES).div_ceil(self.bucket_bytes).saturating_sub(self.own.len() as u64);
        let allocated = self.allocated + added;
        file.write_all_at(&(allocated as u16).to_le_bytes(), 4)?;
        file.write_all_at(&pages.to_le_bytes(), Self::SIZES + u64::from(self.memory) * 8)?;
        file.write_all_at(&vec![self.memory; added as usize], Self::OWNERS + self.allocated)?;
        file.set_len(PAGE_BYTES + allocated * self.bucket_bytes)
    }
}

// Sizes in a map of the library, in bytes.
const MAP_HEADER: u64 = 100; // before the first page
const NODE_PAGE: u64 = 1_024;
const PAGE_HEADER: u64 = 16; // before each page, written by the allocator
// Magic (3), version (1), type (1), number of entries (2), address of the next page (8).
const NODE_HEADER: u64 = 15;
const ADDRESS_BYTES: u64 = 8; // of a child
const KEY_BYTES: u64 = 36;
const LENGTH_BYTES: u64 = 4; // before each value
const NEXT_HEADER: u64 = 11; // in each page of a node but the first

/// Creates a hollow map with values of this length. For each page that contains more than payload, calls `write` with
/// the page's address and bytes. Returns the size of the map in bytes.
fn hollow_map(
    keys: &[ChunkKey],
    value_bytes: u64,
    mut write: impl FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let memory = VectorMemory::default();
    let mut empty_map = StableBTreeMap::<ChunkKey, Vec<u8>, _>::init(memory.clone());
    for key in keys {
        empty_map.insert(*key, Vec::new());
    }
    drop(empty_map);
    let bytes = memory.borrow();
    let root = read_u64(&bytes, 12);
    let mut end = MAP_HEADER;
    let new_root = hollow_node(&bytes, root, value_bytes, &mut end, &mut write)?;
    let mut header = bytes[..MAP_HEADER as usize].to_vec();
    header[12..20].copy_from_slice(&new_root.to_le_bytes());
    // The list of free pages begins at the end.
    header[76..84].copy_from_slice(&end.to_le_bytes());
    write(0, &header)?;
    write(end, &page_header(false))?;
    Ok(end + PAGE_HEADER + NODE_PAGE)
}

/// Writes the first page of the node at `at` in `empty_map`, and that of every node below it. A node begins at `end`,
/// which is then moved to where the node would end if it had its payload. Returns the new address of the node.
fn hollow_node(
    empty_map: &[u8],
    at: u64,
    value_bytes: u64,
    end: &mut u64,
    write: &mut impl FnMut(u64, &[u8]) -> std::io::Result<()>,
) -> std::io::Result<u64> {
    let page = &empty_map[at as usize..][..NODE_PAGE as usize];
    let (is_internal, entries) = (page[4] == 1, u64::from(u16::from_le_bytes([page[5], page[6]])));
    let children = if is_internal { entries + 1 } else { 0 };
    let mut hollow = vec![0; NODE_PAGE as usize];
    let values = NODE_HEADER + children * ADDRESS_BYTES + entries * KEY_BYTES;
    hollow[..values as usize].copy_from_slice(&page[..values as usize]);
    hollow[values as usize..][..LENGTH_BYTES as usize].copy_from_slice(&(value_bytes as u32).to_le_bytes());
    for child in 0..children {
        let place = NODE_HEADER + child * ADDRESS_BYTES;
        let address = hollow_node(empty_map, read_u64(page, place), value_bytes, end, write)?;
        hollow[place as usize..][..ADDRESS_BYTES as usize].copy_from_slice(&address.to_le_bytes());
    }
    let address = *end + PAGE_HEADER;
    let bytes = values + entries * (LENGTH_BYTES + value_bytes);
    let further_pages = bytes.saturating_sub(NODE_PAGE).div_ceil(NODE_PAGE - NEXT_HEADER);
    let next = if further_pages > 0 { address + NODE_PAGE + PAGE_HEADER } else { 0 };
    hollow[7..15].copy_from_slice(&next.to_le_bytes());
    write(*end, &page_header(true))?;
    write(address, &hollow)?;
    *end += (1 + further_pages) * (PAGE_HEADER + NODE_PAGE);
    Ok(address)
}

fn page_header(is_allocated: bool) -> [u8; PAGE_HEADER as usize] {
    let mut header = [0; PAGE_HEADER as usize];
    header[..5].copy_from_slice(&[b'C', b'H', b'K', 1, u8::from(is_allocated)]);
    header
}

fn read_u64(bytes: &[u8], at: u64) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at as usize..][..8]);
    u64::from_le_bytes(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_that_is_worse_or_not_checked_in_is_a_fault() {
        let run =
            |sessions, each| FullChunks { sessions, stable_bytes: 0, messages: 0, each, each_without: 0 };
        let recorded = [run(10, 1_000), run(20, 1_000)];
        let faults = faults(&[run(10, 1_020), run(20, 1_021), run(30, 1_000)], &recorded);
        let worse = "1021 instructions for each of 20 sessions, 1000 are checked in";
        assert_eq!(faults, [worse, "30 sessions: not checked in"]);
    }

    /// With empty values there is no payload to omit, so the library can read the whole map.
    #[test]
    fn a_hollow_map_is_a_map_of_the_library() {
        let keys: Vec<ChunkKey> = (0..500_u32).map(|n| ([(n * 37 % 251) as u8; 32], n)).collect();
        let memory = VectorMemory::default();
        let mut write = |address: u64, page: &[u8]| {
            let mut memory = memory.borrow_mut();
            let end = address as usize + page.len();
            let pages = end.max(memory.len()).next_multiple_of(PAGE_BYTES as usize);
            memory.resize(pages, 0);
            memory[address as usize..end].copy_from_slice(page);
            Ok(())
        };
        hollow_map(&keys, 0, &mut write).unwrap();
        let mut expected = keys.clone();
        expected.sort_unstable();
        let mut map = StableBTreeMap::<ChunkKey, Vec<u8>, _>::init(memory.clone());
        assert_eq!(map.keys().collect::<Vec<_>>(), expected);
        map.insert(([255; 32], 9), vec![1; 5_000]);
        assert_eq!((map.len(), map.remove(&keys[7])), (501, Some(Vec::new())));
    }

    #[test]
    fn nodes_have_the_room_of_their_payload() {
        let keys: Vec<ChunkKey> = (0..1_000_u32).map(|n| ([(n * 37 % 251) as u8; 32], n)).collect();
        let (mut last, mut written) = (0, 0);
        let write = |address: u64, page: &[u8]| {
            assert!(address >= last || address == 0, "{address} is before {last}");
            (last, written) = (address, written + page.len() as u64);
            Ok(())
        };
        let bytes = hollow_map(&keys, CHUNK_BYTES, write).unwrap();
        let (content_of_page, bytes_of_page) = (NODE_PAGE - NEXT_HEADER, NODE_PAGE + PAGE_HEADER);
        let (payload, capacity) = (1_000 * CHUNK_BYTES, bytes * content_of_page / bytes_of_page);
        assert!((payload..payload + payload / 100).contains(&capacity), "{payload} bytes in {bytes}");
        assert!(written < 400 * 1_024, "{written} bytes are written, so payload is not omitted");
    }
}
