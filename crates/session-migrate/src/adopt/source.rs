//! Reads the stable memory of the first public release, with every byte checked.

use std::borrow::Cow;
use std::collections::BTreeMap;

use candid::Principal;
use candid::de::IDLDeserialize;
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::storable::Bound;
use ic_stable_structures::{Memory, Storable};
use sha2::{Digest, Sha256};
use upload_canister::migrations::public_release::{PublicBlob, PublicCapsule, decode};
use upload_canister::stable::buckets::allocated_buckets;
use upload_canister::stable::memory_ids::numbers as ids;
use upload_canister::stable::preflight;
use upload_canister::stable::{Damage, Key};

use super::AdoptError;
use super::header::{self, Header, PatchedMemory};
use crate::snapshot::{Entry, Snapshot, StableFile, Tree, read_cell};

/// Memory id of the HTTP secret, which a later version of that release stores.
const HTTP_SECRET: u8 = ids::RESERVED_HTTP_SECRET;

/// Memory ids that the first public release uses or has reserved, and that of the HTTP secret, whose use is reported as
/// damage in a text of its own.
const KNOWN_MEMORIES: [u8; 11] = [
    ids::CAPSULES,
    ids::RESERVED_BY_SUBJECT,
    ids::RESERVED_BY_OWNER,
    ids::LEGACY_SESSIONS,
    ids::RESERVED_SESSION_CHUNKS,
    ids::SESSION_COUNTER,
    ids::CHUNKS,
    ids::BLOB_META,
    ids::RESERVED_BLOB_COUNTER,
    ids::RESERVED_ADMINS,
    HTTP_SECRET,
];

type SourceMemory = VirtualMemory<PatchedMemory>;

/// A record that does not decode.
pub(super) struct Undecodable {
    pub kind: super::RecordKind,
    pub key: String,
    pub bytes: Vec<u8>,
    pub why: String,
}

/// The stored chunks under one key prefix. A chunk's key is this prefix (a hash of the session's number) and the number
/// of the chunk.
#[derive(Clone, Debug, Default)]
pub(super) struct StoredChunks {
    /// Length of each chunk, by number.
    pub chunks: BTreeMap<u32, u32>,
    /// The hash of the chunks; `None` if no committed blob refers to this prefix.
    pub hashed: Option<HashedChunks>,
}

/// The chunks under one key prefix, hashed from number 0 to the first gap, at most up to the size of the blob.
#[derive(Clone, Debug)]
pub(super) struct HashedChunks {
    /// Size according to the record of the blob.
    size: u64,
    /// Number of the chunk to be hashed next.
    next: u32,
    /// Bytes hashed so far, at most `size`.
    pub bytes: u64,
    hasher: Sha256,
}

impl HashedChunks {
    fn new(size: u64) -> HashedChunks {
        HashedChunks { size, next: 0, bytes: 0, hasher: Sha256::new() }
    }

    /// Hashes chunk `idx`, if all earlier ones have been hashed and the blob has more bytes; otherwise ignores it.
    fn add(&mut self, idx: u32, chunk: &[u8]) {
        if idx != self.next || self.bytes >= self.size {
            return;
        }
        let wanted = usize::try_from(self.size - self.bytes).unwrap_or(usize::MAX).min(chunk.len());
        self.hasher.update(&chunk[..wanted]);
        self.bytes += wanted as u64;
        self.next += 1;
    }

    /// Returns the SHA-256 of the bytes hashed so far.
    pub fn sha256(&self) -> [u8; 32] {
        self.hasher.clone().finalize().into()
    }

    /// Returns the number of chunks hashed so far.
    pub fn chunk_count(&self) -> u32 {
        self.next
    }
}

pub(super) struct Source {
    memories: MemoryManager<PatchedMemory>,
    pub header: Header,
    pub bucket_pages: u16,
    pub capsules: BTreeMap<String, PublicCapsule>,
    pub blobs: BTreeMap<u64, PublicBlob>,
    pub chunks_by_prefix: BTreeMap<[u8; 32], StoredChunks>,
    /// Entries of the index of capsules by owner: the owner and the id of the capsule.
    pub by_owner: Vec<(Principal, String)>,
    pub admins: Vec<Principal>,
    pub undecodable: Vec<Undecodable>,
    /// Damage to the structures themselves, one line each.
    pub damage: Vec<String>,
}

/// A key as its bytes, whatever they are, so that every entry of the index can be read.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct RawKey(Vec<u8>);

impl Storable for RawKey {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.0)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Self(bytes.into_owned())
    }
}

impl Key for RawKey {
    fn parse(bytes: &[u8]) -> Option<Self> {
        Some(Self(bytes.to_vec()))
    }

    fn shown(&self) -> String {
        hex::encode(&self.0)
    }
}

impl Source {
    /// Reads every record, and hashes the chunks of committed blobs. `on_bytes` gets the size of every chunk read.
    ///
    /// # Errors
    /// [`AdoptError::Foreign`] if the snapshot is not one of the first public release; [`AdoptError::Snapshot`] if
    /// the snapshot cannot be read.
    pub fn read(snapshot: &Snapshot, on_bytes: &mut dyn FnMut(u64)) -> Result<Source, AdoptError> {
        let foreign =
            |why: String| AdoptError::Foreign { path: snapshot.path.clone(), why: why.replace('\n', " ") };
        let mut saved = None;
        let raw = if header::begins_with_candid(&snapshot.stable) {
            saved = Some(saved_by_pre_upgrade(&snapshot.stable).map_err(&foreign)?);
            header::reconstruct(&snapshot.stable).map_err(&foreign)?
        } else {
            preflight::check_manager(&snapshot.stable).map_err(|error| {
                foreign(error.to_string().trim_end_matches("; nothing was changed").to_owned())
            })?;
            PatchedMemory::unpatched(snapshot.stable.clone())
        };
        snapshot.stable.failure()?;
        let [_, bucket_pages] = allocated_buckets(&raw);
        let bucket_pages = u16::try_from(bucket_pages).unwrap_or(u16::MAX);
        let memories = MemoryManager::init(raw);
        // `check_public_release` is an error if the memory is of that release, and `Ok` if it is not.
        if saved.is_none() && preflight::check_public_release(&memories).is_ok() {
            let is_memory_used = |id: &u8| memories.get(MemoryId::new(*id)).size() > 0;
            let why = match is_memory_used(&ids::LAYOUT) {
                true => {
                    "it is a snapshot of this canister, which needs no adoption: `inspect` shows its state"
                        .into()
                }
                false => {
                    let used: Vec<String> =
                        (0..u8::MAX).filter(is_memory_used).map(|id| id.to_string()).collect();
                    format!(
                        "its memory ids in use are [{}], and that release uses {}, {} and {}",
                        used.join(", "),
                        ids::RESERVED_BY_SUBJECT,
                        ids::RESERVED_BY_OWNER,
                        ids::RESERVED_BLOB_COUNTER
                    )
                }
            };
            return Err(foreign(why));
        }
        let header = if saved.is_some() { Header::Reconstructed } else { Header::Intact };
        let mut source = Source {
            memories,
            header,
            bucket_pages,
            capsules: BTreeMap::new(),
            blobs: BTreeMap::new(),
            chunks_by_prefix: BTreeMap::new(),
            by_owner: Vec::new(),
            admins: Vec::new(),
            undecodable: Vec::new(),
            damage: Vec::new(),
        };
        match saved {
            Some((capsules, admins)) => (source.capsules, source.admins) = (capsules, admins),
            None => source.read_capsules(),
        }
        source.read_blobs();
        source.survey_chunks(on_bytes);
        source.read_indexes_and_unknown_memories(&snapshot.stable);
        snapshot.stable.failure()?;
        Ok(source)
    }

    /// Returns whether the header was reconstructed without a chunk map: the map is empty, or no assignment of buckets
    /// that was tried gives a sound map.
    pub fn lacks_chunk_map(&self) -> bool {
        self.header == Header::Reconstructed && self.memory(ids::CHUNKS).size() == 0
    }

    fn memory(&self, id: u8) -> SourceMemory {
        self.memories.get(MemoryId::new(id))
    }

    /// Passes every entry of a map to `each`, and records damage of the map.
    fn walk<K: Key>(&mut self, id: u8, each: &mut dyn FnMut(K, &Entry<'_, SourceMemory>)) {
        let memory = self.memory(id);
        let describe = |damage: Damage| format!("memory id {id}, offset {}: {}", damage.offset, damage.what);
        let damage = match Tree::open(&memory) {
            Ok(None) => Vec::new(),
            Ok(Some(tree)) => tree.walk::<K>(each).damage,
            Err(damage) => vec![damage],
        };
        self.damage.extend(damage.into_iter().map(describe));
    }

    fn read_capsules(&mut self) {
        let (mut capsules, mut undecodable) = (BTreeMap::new(), Vec::new());
        self.walk(ids::CAPSULES, &mut |key: String, entry| {
            let bytes = entry.value();
            match decode::<PublicCapsule>(&bytes) {
                Ok(capsule) => drop(capsules.insert(key, capsule)),
                Err(why) => {
                    undecodable.push(Undecodable { kind: super::RecordKind::Capsule, key, bytes, why });
                }
            }
        });
        self.capsules = capsules;
        self.undecodable.extend(undecodable);
    }

    fn read_blobs(&mut self) {
        let (mut blobs, mut undecodable) = (BTreeMap::new(), Vec::new());
        self.walk(ids::BLOB_META, &mut |id: u64, entry| {
            let bytes = entry.value();
            let decoded = decode::<PublicBlob>(&bytes).and_then(|blob| {
                match (blob.checksum.len(), blob.pmid_hash.len()) {
                    (32, 32) => Ok(blob),
                    (checksum, prefix) => Err(format!(
                        "a checksum of {checksum} bytes and a chunk prefix of {prefix}, expected 32 each"
                    )),
                }
            });
            match decoded {
                Ok(blob) => drop(blobs.insert(id, blob)),
                Err(why) => {
                    let key = format!("blob_{id}");
                    undecodable.push(Undecodable { kind: super::RecordKind::Blob, key, bytes, why });
                }
            }
        });
        self.blobs = blobs;
        self.undecodable.extend(undecodable);
    }

    /// Reads every chunk once, and hashes the chunks of committed blobs.
    fn survey_chunks(&mut self, on_bytes: &mut dyn FnMut(u64)) {
        let mut chunks_by_prefix: BTreeMap<[u8; 32], StoredChunks> = BTreeMap::new();
        for blob in self.blobs.values() {
            let stored = chunks_by_prefix.entry(chunk_prefix(blob)).or_default();
            stored.hashed.get_or_insert_with(|| HashedChunks::new(blob.size));
        }
        self.walk(ids::CHUNKS, &mut |(prefix, idx): ([u8; 32], u32), entry| {
            let stored = chunks_by_prefix.entry(prefix).or_default();
            stored.chunks.insert(idx, entry.len);
            if let Some(hashed) = &mut stored.hashed {
                hashed.add(idx, &entry.value());
            }
            on_bytes(u64::from(entry.len));
        });
        self.chunks_by_prefix = chunks_by_prefix;
    }

    fn read_indexes_and_unknown_memories(&mut self, file: &StableFile) {
        let (mut by_owner, mut undecodable) = (Vec::new(), Vec::new());
        self.walk(ids::RESERVED_BY_OWNER, &mut |RawKey(key), _| {
            let parsed = key.split_first_chunk::<4>().and_then(|(len, rest)| {
                let (owner, capsule) = rest.split_at_checked(u32::from_be_bytes(*len) as usize)?;
                Some((Principal::try_from_slice(owner).ok()?, String::from_utf8(capsule.to_vec()).ok()?))
            });
            match parsed {
                Some(entry) => by_owner.push(entry),
                None => undecodable.push(Undecodable {
                    kind: super::RecordKind::IndexEntry,
                    key: hex::encode(&key),
                    bytes: key,
                    why: "its key is not a principal and the id of a capsule".into(),
                }),
            }
        });
        self.by_owner = by_owner;
        self.undecodable.extend(undecodable);
        let mut admins = Vec::new();
        self.walk(ids::RESERVED_ADMINS, &mut |admin: Principal, _| admins.push(admin));
        self.admins.extend(admins);
        self.admins.sort();
        self.admins.dedup();
        if let Err(found) = read_cell(&self.memory(ids::RESERVED_BLOB_COUNTER)) {
            let id = ids::RESERVED_BLOB_COUNTER;
            self.damage.push(format!("memory id {id}, offset {}: {}", found.offset, found.what));
        }
        if self.memory(HTTP_SECRET).size() > 0 {
            self.damage.push(format!(
                "memory id {HTTP_SECRET} is in use: a second memory manager of a later version of that release wrote its HTTP secret there, and what else it overwrote cannot be known"
            ));
        }
        for id in (0..u8::MAX).filter(|id| !KNOWN_MEMORIES.contains(id)) {
            let pages = self.memory(id).size();
            if pages > 0 {
                self.damage
                    .push(format!("memory id {id} has {pages} pages, and that release stores nothing there"));
            }
        }
        self.damage.extend(header::lost_pages(file, self.header));
    }

    /// Passes every chunk to `each`: key prefix, number of the chunk, bytes; ascending by key. Damage of the map has
    /// been recorded by [`Self::read`].
    pub fn for_each_chunk(&self, each: &mut dyn FnMut([u8; 32], u32, Vec<u8>)) {
        let memory = self.memory(ids::CHUNKS);
        if let Ok(Some(tree)) = Tree::open(&memory) {
            tree.walk(&mut |(prefix, idx): ([u8; 32], u32), entry| each(prefix, idx, entry.value()));
        }
    }
}

/// Returns the prefix of the keys of a blob's chunks.
pub(super) fn chunk_prefix(blob: &PublicBlob) -> [u8; 32] {
    <[u8; 32]>::try_from(blob.pmid_hash.as_slice()).unwrap_or_default()
}

type Saved = (BTreeMap<String, PublicCapsule>, Vec<Principal>);

/// Reads the Candid that `pre_upgrade` has written over the beginning of the memory: capsules and administrators. In
/// some builds of that release, the state of another feature follows, which is ignored.
fn saved_by_pre_upgrade(stable: &StableFile) -> Result<Saved, String> {
    // The length of the Candid is stored nowhere, so the first `len` bytes of the memory are decoded, with `len` four
    // times as large in each attempt, until one succeeds.
    let mut len = (1 << 20).min(stable.bytes());
    loop {
        let mut bytes = vec![0; usize::try_from(len).map_err(|error| error.to_string())?];
        stable.read(0, &mut bytes);
        match decode_saved(&bytes) {
            Ok(saved) => return Ok(saved),
            Err(error) if len == stable.bytes() => {
                return Err(format!(
                    "it begins with Candid that is not what the first public release saves: {}",
                    error.to_string().lines().next().unwrap_or_default()
                ));
            }
            Err(_) => len = (len * 4).min(stable.bytes()),
        }
    }
}

fn decode_saved(bytes: &[u8]) -> candid::Result<Saved> {
    let mut values = IDLDeserialize::new(bytes)?;
    let capsules: Vec<(String, PublicCapsule)> = values.get_value()?;
    Ok((capsules.into_iter().collect(), values.get_value()?))
}

/// Returns whether a snapshot has a heap and the module that can read it. Without them, sessions in flight are known
/// only by their chunks.
pub(super) fn has_heap(snapshot: &Snapshot) -> bool {
    snapshot
        .metadata
        .as_ref()
        .is_some_and(|metadata| metadata.wasm_module_size > 0 && metadata.wasm_memory_size > 0)
}

/// Returns the time of the snapshot in nanoseconds; if it is not recorded, the time of the last change to a capsule.
/// Never 0.
pub(super) fn taken_at(snapshot: &Snapshot, source: &Source) -> u64 {
    let changed = source.capsules.values().map(|capsule| capsule.updated_at).max().unwrap_or_default();
    snapshot.metadata.as_ref().map_or(changed, |metadata| metadata.taken_at_timestamp).max(1)
}

/// Returns the id of the snapshot's canister, if a manifest names it.
pub(super) fn canister(snapshot: &Snapshot) -> Option<String> {
    snapshot.manifest.as_ref().map(|manifest| manifest.canister.clone())
}
