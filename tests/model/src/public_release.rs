//! Stable memory as the first public release leaves it, generated from what is publicly known about its formats.
//!
//! ```text
//! id 0   text -> Candid ((1 : nat16, Capsule))            every memory of a capsule is in its record
//! id 1   principal of the subject -> text
//! id 2   u32 length, principal of an owner, capsule id -> nothing
//! id 6   ([u8; 32], u32) -> bytes                         SHA-256 of "#" and le64 session (no id of a memory); chunk
//! id 7   u64 -> Candid ((1 : nat16, BlobMeta))            the first eight bytes of that hash, big-endian
//! id 8   u64                                              a counter that nothing uses
//! id 9   principal -> nothing                             created when an administrator is first looked up
//! ```
//!
//! Each of the two Candid records is encoded as one argument, a tuple of the version and the record. Sessions,
//! idempotency keys and running hashes are on the heap only. There is no layout header.

use std::borrow::Cow;
use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::{CandidType, Principal};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::storable::Bound;
use ic_stable_structures::{Memory as _, StableBTreeMap, StableCell, Storable, VectorMemory};
use sha2::{Digest, Sha256};

mod records;

use records::*;

/// Length of every chunk but the last, in bytes.
pub const CHUNK_SIZE: usize = 1_800_000;

type Memory = VirtualMemory<VectorMemory>;

/// The bytes of a key or value, whose type in the release has this bound.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Bounded<const N: u32>(Vec<u8>);

impl<const N: u32> Storable for Bounded<N> {
    const BOUND: Bound = Bound::Bounded { max_size: N, is_fixed_size: false };

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

/// The stable memory of a canister of the first public release.
pub struct PublicRelease {
    raw: VectorMemory,
    capsules: StableBTreeMap<String, Vec<u8>, Memory>,
    by_subject: StableBTreeMap<Vec<u8>, String, Memory>,
    by_owner: StableBTreeMap<Bounded<284>, (), Memory>,
    chunks: StableBTreeMap<([u8; 32], u32), Vec<u8>, Memory>,
    blobs: StableBTreeMap<u64, Bounded<512>, Memory>,
    /// The decoded records of `capsules`, since each upload rewrites one of them.
    decoded: BTreeMap<String, Capsule>,
    bucket_pages: u16,
}

/// The second memory manager that a later version of the release opens over the same memory. Neither manager has the
/// other's buckets in its table.
pub struct SecondManager(Memory);

impl SecondManager {
    /// Writes the HTTP secret; the first time, a new bucket is allocated for it.
    pub fn write_secret(&self, secret: [u8; 32]) {
        if self.0.size() == 0 {
            self.0.grow(1);
        }
        self.0.write(0, &[b"SCL\x01\x20\0\0\0".as_slice(), &secret].concat());
    }
}

impl PublicRelease {
    /// Creates a canister whose memory manager has buckets of this many pages; in the release they have 128.
    pub fn new(bucket_pages: u16) -> Self {
        Self::over(VectorMemory::default(), bucket_pages)
    }

    /// Opens the release's maps over a memory, as the release does when it starts.
    fn over(raw: VectorMemory, bucket_pages: u16) -> Self {
        let memories = MemoryManager::init_with_bucket_size(raw.clone(), bucket_pages);
        let memory = |id| memories.get(MemoryId::new(id));
        drop(StableCell::init(memory(8), 0_u64));
        Self {
            capsules: StableBTreeMap::init(memory(0)),
            by_subject: StableBTreeMap::init(memory(1)),
            by_owner: StableBTreeMap::init(memory(2)),
            chunks: StableBTreeMap::init(memory(6)),
            blobs: StableBTreeMap::init(memory(7)),
            decoded: BTreeMap::new(),
            raw,
            bucket_pages,
        }
    }

    /// Returns the canister after an upgrade of that release to itself: its memory manager finds Candid where its
    /// header was and starts from scratch, and the capsules are restored from that Candid. Chunks and blobs are lost,
    /// and sessions are numbered from 1 again.
    pub fn upgraded_to_itself(&self) -> Self {
        let raw = VectorMemory::new(RefCell::new(self.after_pre_upgrade()));
        let mut after = Self::over(raw, self.bucket_pages);
        for capsule in self.decoded.values() {
            after.index(capsule);
            after.store(capsule.clone());
        }
        after
    }

    pub fn second_manager(&self) -> SecondManager {
        SecondManager(MemoryManager::init(self.raw.clone()).get(MemoryId::new(42)))
    }

    /// Creates a capsule of `owner`, about its owner, with a gallery and an entry in its social graph.
    pub fn create_capsule(&mut self, owner: Principal, now: u64) -> String {
        let id = format!("capsule_{now}");
        let person = PersonRef::Principal(owner);
        let peer = PersonRef::Opaque("grandmother".into());
        let capsule = Capsule {
            id: id.clone(),
            subject: person.clone(),
            owners: vec![(person.clone(), OwnerState { since: now, last_activity_at: now })],
            controllers: vec![(peer.clone(), ControllerState { granted_at: now, granted_by: person })],
            connections: vec![(
                peer.clone(),
                Connection {
                    peer: peer.clone(),
                    status: ConnectionStatus::Accepted,
                    created_at: now,
                    updated_at: now,
                },
            )],
            connection_groups: vec![(
                "family".into(),
                ConnectionGroup {
                    id: "family".into(),
                    name: "Family".into(),
                    description: None,
                    members: vec![peer],
                    created_at: now,
                    updated_at: now,
                },
            )],
            memories: Vec::new(),
            galleries: vec![(
                "gallery_1".into(),
                Gallery {
                    id: "gallery_1".into(),
                    owner_principal: owner,
                    title: "Summer".into(),
                    description: None,
                    is_public: false,
                    created_at: now,
                    updated_at: now,
                    storage_location: GalleryStorageLocation::ICPOnly,
                    memory_entries: vec![GalleryMemoryEntry {
                        memory_id: "mem_1".into(),
                        position: 0,
                        gallery_caption: None,
                        is_featured: false,
                        gallery_metadata: String::new(),
                    }],
                    bound_to_neon: false,
                },
            )],
            created_at: now,
            updated_at: now,
            bound_to_neon: false,
            inline_bytes_used: 0,
        };
        self.index(&capsule);
        self.store(capsule);
        id
    }

    /// Enters a capsule into both indexes.
    fn index(&mut self, Capsule { id, subject, owners, .. }: &Capsule) {
        if let PersonRef::Principal(subject) = subject {
            self.by_subject.insert(subject.as_slice().to_vec(), id.clone());
        }
        for (owner, _) in owners {
            let PersonRef::Principal(owner) = owner else { continue };
            let len = u32::try_from(owner.as_slice().len()).unwrap_or(0).to_be_bytes();
            self.by_owner.insert(Bounded([&len, owner.as_slice(), id.as_bytes()].concat()), ());
        }
    }

    /// Adds this many galleries to a capsule, so that its record grows, and with it the Candid that `pre_upgrade`
    /// writes.
    pub fn pad_galleries(&mut self, capsule: &str, galleries: usize) {
        if let Some(mut capsule) = self.decoded.get(capsule).cloned()
            && let Some((_, gallery)) = capsule.galleries.first().cloned()
        {
            capsule.galleries.extend((0..galleries).map(|n| {
                let id = format!("gallery_of_padding_{n}");
                (id.clone(), Gallery { id, ..gallery.clone() })
            }));
            self.store(capsule);
        }
    }

    fn store(&mut self, capsule: Capsule) {
        self.capsules.insert(capsule.id.clone(), encode_versioned(&capsule));
        self.decoded.insert(capsule.id.clone(), capsule);
    }

    /// Stores the chunks of a session. That release has the session itself only on the heap, so it is not stored.
    pub fn put(&mut self, session: u64, bytes: &[u8]) {
        let prefix = chunk_prefix_of(session);
        for (idx, chunk) in (0..).zip(bytes.chunks(CHUNK_SIZE)) {
            self.chunks.insert((prefix, idx), chunk.to_vec());
        }
    }

    /// Uploads a file in the session of this number; returns the ids of its memory and its blob. The id of the memory
    /// is derived from the time: a second memory of the same time and capsule replaces the first.
    pub fn upload(&mut self, capsule: &str, session: u64, bytes: &[u8], now: u64) -> (String, u64) {
        self.put(session, bytes);
        let (pmid_hash, checksum) = (chunk_prefix_of(session), <[u8; 32]>::from(Sha256::digest(bytes)));
        let blob = blob_of(session);
        let meta = BlobMeta { size: bytes.len() as u64, checksum, created_at: now, pmid_hash };
        self.blobs.insert(blob, Bounded(encode_versioned(&meta)));
        let id = format!("mem_{now}");
        let memory = MemoryOfRelease {
            id: id.clone(),
            metadata: MemoryMetadata {
                memory_type: MemoryType::Note,
                title: None,
                description: None,
                content_type: "image/jpeg".into(),
                created_at: now,
                updated_at: now,
                uploaded_at: now,
                date_of_memory: None,
                file_created_at: None,
                parent_folder_id: None,
                tags: vec!["sea".into()],
                deleted_at: None,
                people_in_memory: None,
                location: None,
                memory_notes: None,
                created_by: None,
                database_storage_edges: vec![StorageEdgeDatabaseType::Icp],
            },
            access: MemoryAccess::Private { owner_secure_code: format!("blob_{blob}_1") },
            inline_assets: Vec::new(),
            blob_internal_assets: vec![MemoryAssetBlobInternal {
                blob_ref: BlobRef {
                    locator: format!("blob_{blob}"),
                    hash: Some(checksum),
                    len: bytes.len() as u64,
                },
                metadata: image(bytes.len() as u64, now),
            }],
            blob_external_assets: Vec::new(),
        };
        if let Some(mut capsule) = self.decoded.get(capsule).cloned() {
            capsule.memories.retain(|(memory_id, _)| *memory_id != id);
            capsule.memories.push((id.clone(), memory));
            capsule.updated_at = now;
            self.store(capsule);
        }
        (id, blob)
    }

    pub fn stable_memory(&self) -> Vec<u8> {
        self.raw.borrow().clone()
    }

    /// Returns the stable memory after the release's `pre_upgrade`, which writes the capsules and the administrators as
    /// Candid over the first bytes, and so over the memory manager's header.
    pub fn after_pre_upgrade(&self) -> Vec<u8> {
        let capsules: Vec<_> =
            self.decoded.iter().map(|(id, capsule)| (id.clone(), capsule.clone())).collect();
        let saved = candid::encode_args((capsules, Vec::<Principal>::new())).unwrap_or_default();
        let raw = VectorMemory::default();
        raw.borrow_mut().extend_from_slice(&self.raw.borrow());
        while raw.size() * 65_536 < saved.len() as u64 {
            raw.grow(1);
        }
        raw.write(0, &saved);
        raw.take()
    }
}

/// Returns the hash that is the first part of the keys of a session's chunks in memory id 6. Only the session's number
/// determines it, since every session has the empty text as the id of its memory.
pub fn chunk_prefix_of(session: u64) -> [u8; 32] {
    Sha256::new().chain_update(b"#").chain_update(session.to_le_bytes()).finalize().into()
}

/// Returns the id of the blob that a session becomes.
pub fn blob_of(session: u64) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = chunk_prefix_of(session);
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}

fn encode_versioned<T: CandidType>(record: &T) -> Vec<u8> {
    candid::encode_one((1_u16, record)).unwrap_or_default()
}

/// Returns the metadata of a picture, as a client gives them when it begins an upload.
pub fn metadata(bytes: u64, now: u64) -> impl CandidType {
    image(bytes, now)
}

fn image(bytes: u64, now: u64) -> AssetMetadata {
    AssetMetadata::Image(ImageAssetMetadata {
        base: AssetMetadataBase {
            name: "harbour.jpg".into(),
            description: None,
            tags: vec!["sea".into()],
            asset_type: AssetType::Original,
            bytes,
            mime_type: "image/jpeg".into(),
            sha256: None,
            width: Some(6_000),
            height: Some(4_000),
            url: None,
            storage_key: None,
            bucket: None,
            asset_location: None,
            processing_status: None,
            processing_error: None,
            created_at: now,
            updated_at: now,
            deleted_at: None,
        },
        color_space: None,
        exif_data: None,
        compression_ratio: None,
        dpi: None,
        orientation: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected ids are taken from the published documents of the release.
    #[test]
    fn blob_ids_are_those_that_the_release_issues() {
        let published = [
            (1, 5_535_978_201_241_661_286),
            (2, 9_046_547_090_427_919_786),
            (3, 12_286_345_354_415_549_334),
            (7, 11_410_754_707_272_541_975),
        ];
        for (session, id) in published {
            assert_eq!(blob_of(session), id, "session {session}");
        }
    }
}
