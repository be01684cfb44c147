//! The upload contract, rule by rule, on both paths and with the same answers.

use candid::Principal;
use serde_bytes::{ByteBuf, Bytes};
use sha2::{Digest, Sha256};

use super::absorb::digest_of_bytes;
use super::limits::{DEFAULT_MAX_SESSIONS_PER_CALLER, DEFAULT_SESSION_TTL_SECONDS, SWEEP_BATCH};
use super::path::compat::CompatPath;
use super::path::direct::DirectPath;
use super::path::{ActivePath, UploadPath};
use super::*;
use crate::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, CapsuleAccess, Error, HashAlgorithm, Result,
    SessionPath, SmallFile, UploadFinishResult,
};
use crate::blob::CHUNK_SIZE;
use crate::blob::extents::REGION_BYTES;
use crate::config::Config;
use crate::meter::{Meter, Unmetered};
use crate::session::Time;
use crate::stable::RawMemory;
use crate::stable::layout::Layout;
use crate::storage::Storage;

const CHUNK: usize = CHUNK_SIZE as usize;
/// What some build or other accepts.
pub const ALL_LAYOUTS: &[Layout] = &[Layout::LEGACY, Layout::SPLIT, Layout::EXTENTS];
const START: Time = Time::from_nanos(1_700_000_000_000_000_000);

/// A canister without the IC around it.
pub struct World {
    pub raw: RawMemory,
    pub storage: Storage,
    pub path: Box<dyn UploadPath>,
    pub now: Time,
    pub meter: Box<dyn Meter>,
    pub capsule: String,
    pub hash: HashAlgorithm,
}

pub fn person(n: u8) -> Principal {
    Principal::self_authenticating([n])
}

pub const OWNER: u8 = 1;

impl World {
    fn new(path: Box<dyn UploadPath>, compat_share_percent: u8) -> Self {
        Self::in_layout(Layout::SPLIT, path, compat_share_percent)
    }

    fn in_layout(layout: Layout, path: Box<dyn UploadPath>, compat_share_percent: u8) -> Self {
        let raw = RawMemory::default();
        let mut storage = Storage::create(raw.clone()).unwrap();
        storage.layout.set(&layout);
        set_share(&mut storage, compat_share_percent);
        let capsule = storage.capsules.create(person(OWNER), None, START).unwrap().id;
        let hash = HashAlgorithm::Sha256;
        Self { raw, storage, path, now: START, meter: Box::new(Unmetered), capsule, hash }
    }

    pub fn compat() -> Self {
        Self::new(Box::<CompatPath>::default(), 100)
    }

    /// The path of the build that these tests are compiled as: both.
    pub fn staged() -> Self {
        Self::new(Box::<ActivePath>::default(), 0)
    }

    pub fn direct() -> Self {
        Self::new(Box::<DirectPath>::default(), 0)
    }

    /// The direct path over extents, as on a fresh direct installation.
    pub fn extents() -> Self {
        Self::in_layout(Layout::EXTENTS, Box::<DirectPath>::default(), 0)
    }

    /// The same world, with uploads verified by BLAKE3.
    pub fn with_blake3(self) -> Self {
        Self { hash: HashAlgorithm::Blake3, ..self }
    }

    /// The same world, with uploads verified by SHA-256.
    pub fn with_sha256(self) -> Self {
        Self { hash: HashAlgorithm::Sha256, ..self }
    }

    /// The digest that this world verifies uploads by.
    pub fn digest(&self, bytes: &[u8]) -> ByteBuf {
        ByteBuf::from(digest_of_bytes(self.hash, bytes))
    }

    pub fn as_person(&mut self, n: u8) -> UploadService<'_> {
        let meter = self.meter.as_ref();
        UploadService::new(&mut self.storage, self.path.as_mut(), person(n), self.now, meter)
    }

    pub fn service(&mut self) -> UploadService<'_> {
        self.as_person(OWNER)
    }

    pub fn begin(&mut self, bytes: usize, idem: &str) -> u64 {
        self.try_begin(bytes, idem).unwrap()
    }

    pub fn try_begin(&mut self, bytes: usize, idem: &str) -> Result<u64> {
        let (capsule, hash) = (self.capsule.clone(), self.hash);
        let chunks = bytes.div_ceil(CHUNK) as u32;
        self.service().begin(capsule, metadata(bytes as u64), chunks, idem.into(), hash)
    }

    pub fn put(&mut self, id: u64, file: &[u8], idx: usize) -> Result<()> {
        let mut chunk = file.chunks(CHUNK).nth(idx).unwrap();
        self.service().put_chunk(id, idx as u32, &mut chunk, None)
    }

    pub fn finish(&mut self, id: u64, file: &[u8]) -> Result<UploadFinishResult> {
        let digest = self.digest(file);
        self.service().finish(id, &digest, file.len() as u64)
    }

    /// What an upgrade does to the heap.
    pub fn restart(&mut self, path: Box<dyn UploadPath>) {
        self.storage = Storage::open_accepting(self.raw.clone(), ALL_LAYOUTS).unwrap();
        self.path = path;
    }

    /// Everything that a session may leave behind.
    pub fn live(&self) -> [u64; 5] {
        let Storage { sessions, payloads, blobs, .. } = &self.storage;
        [
            sessions.legacy.len() + sessions.legacy.notes(),
            sessions.sessions.len() + sessions.metas.len(),
            payloads.len(),
            blobs.chunk_total(),
            blobs.extents().taken_bytes().unwrap(),
        ]
    }
}

impl World {
    /// The digest of a finished upload, by the function that this world verifies by; none by another.
    fn checksum(&self, finished: &UploadFinishResult) -> Option<ByteBuf> {
        let UploadFinishResult { checksum_sha256, checksum_blake3, .. } = finished.clone();
        match self.hash {
            HashAlgorithm::Sha256 => checksum_sha256.filter(|_| checksum_blake3.is_none()),
            HashAlgorithm::Blake3 => checksum_blake3.filter(|_| checksum_sha256.is_none()),
        }
    }

    /// What a committed file of so many bytes takes: chunks of the map, and bytes of the payload region.
    fn stored(&self, bytes: usize) -> [u64; 2] {
        if self.storage.layout.get().unwrap() == Some(Layout::EXTENTS) {
            [0, bytes.next_multiple_of(64) as u64]
        } else {
            [bytes.div_ceil(CHUNK) as u64, 0]
        }
    }
}

/// What a controller does to steer new sessions.
pub fn set_share(storage: &mut Storage, compat_share_percent: u8) {
    let config = AdminConfig { compat_share_percent, ..storage.config().unwrap() };
    storage.settings.set(&Config::checked(config).unwrap());
}

pub fn metadata(bytes: u64) -> AssetMetadata {
    let base = AssetMetadataBase::new("a.jpg", "image/jpeg", AssetType::Original, bytes, 1);
    AssetMetadata::image(base)
}

pub fn sha256(bytes: &[u8]) -> ByteBuf {
    ByteBuf::from(Sha256::digest(bytes).to_vec())
}

/// Bytes of which no two chunks are alike.
pub fn file(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

/// Runs a rule on both paths, over chunks and over extents, by both digests.
fn on_every_path(rule: impl Fn(World)) {
    rule(World::compat());
    rule(World::direct());
    rule(World::extents());
    rule(World::compat().with_blake3());
    rule(World::extents().with_blake3());
}

fn read_back(world: &World, locator: &str) -> Vec<u8> {
    let id = crate::blob::BlobId::from_locator(locator).unwrap();
    let chunks = world.storage.blobs.blob(id).unwrap().chunk_count();
    (0..chunks).flat_map(|idx| world.storage.blobs.read_chunk(id, idx).unwrap()).collect()
}

#[test]
fn a_file_uploaded_in_any_order_is_the_same_file() {
    on_every_path(|mut world| {
        let file = file(2 * CHUNK + 10);
        let id = world.begin(file.len(), "a");
        for idx in [2, 0, 1] {
            world.put(id, &file, idx).unwrap();
        }
        let result = world.finish(id, &file).unwrap();
        assert_eq!(read_back(&world, &result.blob_id), file);
        assert_eq!(world.checksum(&result), Some(world.digest(&file)));
        let memory = world.storage.capsules.memory(person(OWNER), &result.memory_id).unwrap();
        assert_eq!(memory.asset_metadata, metadata(file.len() as u64));
        let [chunks, bytes] = world.stored(file.len());
        assert_eq!(
            world.live(),
            [0, 0, 0, chunks, bytes],
            "a finished session leaves its bytes, nothing else"
        );
    });
}

#[test]
fn begin_twice_is_begin_once() {
    on_every_path(|mut world| {
        let id = world.begin(10, "a");
        assert_eq!(world.begin(10, "a"), id);
        let other = world.try_begin(11, "a").unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "other parameters under the same key: {other}");
        assert_ne!(world.begin(10, "b"), id);
        let file = file(10);
        world.put(id, &file, 0).unwrap();
        world.finish(id, &file).unwrap();
        assert_eq!(world.begin(10, "a"), id, "also after finish, as long as the receipt lives");
    });
}

#[test]
fn a_lost_reply_to_finish_is_answered_again() {
    on_every_path(|mut world| {
        let file = file(10);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 0).unwrap();
        let first = world.finish(id, &file).unwrap();
        world.now = world.now.plus_seconds(60);
        assert_eq!(world.finish(id, &file).unwrap(), first);
        let other = world.service().finish(id, &sha256(b"other"), 10).unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "{other}");
        let stranger = world.as_person(2).finish(id, &sha256(&file), 10).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        while !world.service().sweep().unwrap() {}
        assert!(matches!(world.finish(id, &file), Err(Error::NotFound { .. })), "the receipt has run out");
        assert_ne!(world.begin(10, "a"), id, "and the key is free again");
    });
}

#[test]
fn a_wrong_hash_costs_nothing_and_can_be_corrected() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 1).unwrap();
        let early = world.finish(id, &file).unwrap_err();
        assert!(matches!(early, Error::Incomplete { missing_chunks: 1, .. }), "{early}");
        world.put(id, &file, 0).unwrap();
        for _ in 0..2 {
            let wrong = world.service().finish(id, &sha256(b"wrong"), file.len() as u64).unwrap_err();
            assert_eq!(
                wrong,
                Error::ChecksumMismatch { expected: sha256(b"wrong"), got: world.digest(&file) }
            );
        }
        let short = world.service().finish(id, &ByteBuf::from([1, 2, 3]), file.len() as u64).unwrap_err();
        assert_eq!(short, Error::invalid("sha256", "32 bytes", "3 bytes"));
        let len = world.service().finish(id, &sha256(&file), 5).unwrap_err();
        assert_eq!(len, Error::invalid("total_len", file.len().to_string(), 5));
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn a_refused_chunk_does_not_touch_the_hash() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let id = world.begin(file.len(), "a");
        let stranger = world.as_person(2).put_chunk(id, 0, &mut &file[..CHUNK], None).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        let wrong = world.service().put_chunk(id, 0, &mut &file[..CHUNK], Some(sha256(b"x"))).unwrap_err();
        assert!(matches!(wrong, Error::ChecksumMismatch { .. }), "{wrong}");
        let short = world.service().put_chunk(id, 0, &mut &b"short"[..], None).unwrap_err();
        assert!(matches!(short, Error::InvalidArgument { .. }), "{short}");
        world.put(id, &file, 0).unwrap();
        world.put(id, &file, 0).unwrap();
        let other = world.service().put_chunk(id, 0, &mut &vec![9; CHUNK][..], None).unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "{other}");
        world.put(id, &file, 1).unwrap();
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn hashing_beyond_one_message_goes_on_in_the_next() {
    /// A message that is always at its end.
    struct Exhausted;
    impl Meter for Exhausted {
        fn used(&self) -> u64 {
            u64::MAX
        }
    }
    on_every_path(|mut world| {
        let file = file(2 * CHUNK);
        let id = world.begin(file.len(), "a");
        world.meter = Box::new(Exhausted);
        world.put(id, &file, 1).unwrap();
        world.put(id, &file, 0).unwrap();
        let hashing = world.finish(id, &file).unwrap_err();
        assert_eq!(hashing, Error::Hashing { hashed: CHUNK as u64, total: file.len() as u64 });
        world.meter = Box::new(Unmetered);
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn abort_and_expiry_give_everything_back() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let aborted = world.begin(file.len(), "a");
        let idle = world.begin(file.len(), "b");
        let active = world.begin(file.len(), "c");
        for id in [aborted, idle, active] {
            world.put(id, &file, 0).unwrap();
        }
        let one_alive = world.live().map(|count| count / 3);
        let stranger = world.as_person(2).abort(aborted).unwrap_err();
        assert!(matches!(stranger, Error::NotFound { .. }), "{stranger}");
        world.service().abort(aborted).unwrap();
        world.service().abort(aborted).unwrap();
        let put = world.put(aborted, &file, 0).unwrap_err();
        assert!(matches!(put, Error::Conflict { ref detail, .. } if detail == "was aborted"), "{put}");
        world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS - 1);
        world.put(active, &file, 1).unwrap();
        world.now = world.now.plus_seconds(1);
        while !world.service().sweep().unwrap() {}
        assert!(matches!(world.service().status(idle), Err(Error::NotFound { .. })));
        let one_chunk_more = one_alive[3] + one_alive[3].min(1);
        assert_eq!(world.live()[..3], one_alive[..3]);
        assert_eq!(world.live()[3..], [one_chunk_more, one_alive[4]]);
        assert!(world.finish(active, &file).is_ok(), "activity keeps a session alive");
        assert_ne!(world.begin(file.len(), "b"), idle, "the key of an expired session is free");
    });
}

#[test]
fn an_expired_session_is_not_given_out_again_even_before_the_timer_comes() {
    on_every_path(|mut world| {
        let file = file(10);
        let id = world.begin(10, "a");
        world.put(id, &file, 0).unwrap();
        world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let fresh = world.begin(10, "a");
        assert_ne!(fresh, id);
        let room_of_one = world.live()[4];
        assert_eq!(world.live()[3], 0, "its chunks are gone");
        assert!(room_of_one < 2_000, "and its room is the new one's: {room_of_one}");
    });
}

#[test]
fn a_session_survives_an_upgrade_at_any_point() {
    type MakePath = fn() -> Box<dyn UploadPath>;
    let builds: [(World, MakePath); 2] = [
        (World::compat(), || Box::<CompatPath>::default()),
        (World::direct(), || Box::<DirectPath>::default()),
    ];
    for (mut world, path) in builds {
        let file = file(3 * CHUNK);
        let id = world.begin(file.len(), "a");
        for idx in [1, 0, 2] {
            world.restart(path());
            assert_eq!(world.begin(file.len(), "a"), id);
            world.put(id, &file, idx).unwrap();
            world.restart(path());
            world.put(id, &file, idx).unwrap();
        }
        world.restart(path());
        let status = world.service().status(id).unwrap();
        assert_eq!((status.bytes_received, status.missing.len()), (file.len() as u64, 0));
        assert!(world.finish(id, &file).is_ok());
        world.restart(path());
        assert!(world.finish(id, &file).is_ok(), "the receipt as well");
        assert_ne!(world.begin(5, "b"), id, "ids are never given out twice");
    }
}

#[test]
fn status_says_what_is_missing() {
    for (mut world, path) in [(World::compat(), SessionPath::Compat), (World::direct(), SessionPath::Direct)]
    {
        let file = file(3 * CHUNK);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 1).unwrap();
        let status = world.service().status(id).unwrap();
        let ranges = |ranges: &[crate::api::ChunkRange]| {
            ranges.iter().map(|range| (range.first, range.last)).collect::<Vec<_>>()
        };
        assert_eq!(ranges(&status.received), [(1, 1)]);
        assert_eq!(ranges(&status.missing), [(0, 0), (2, 2)]);
        assert_eq!(status.next_expected, Some(0));
        assert_eq!(status.path, path);
        assert!(!status.provisional_memory_id.is_empty());
        assert!(matches!(world.as_person(2).status(id), Err(Error::NotFound { .. })));
    }
}

#[test]
fn access_that_was_taken_away_is_gone_at_put_and_finish() {
    on_every_path(|mut world| {
        let (capsule, file) = (world.capsule.clone(), file(10));
        let set_writers = |world: &mut World, writers| {
            let access = CapsuleAccess { owners: vec![person(OWNER)], writers, readers: vec![] };
            world.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
        };
        set_writers(&mut world, vec![person(2)]);
        let capsule = world.capsule.clone();
        let id =
            world.as_person(2).begin(capsule, metadata(10), 1, "a".into(), HashAlgorithm::Sha256).unwrap();
        set_writers(&mut world, vec![]);
        let put = world.as_person(2).put_chunk(id, 0, &mut &file[..], None).unwrap_err();
        assert!(matches!(put, Error::Unauthorized { .. }), "{put}");
        set_writers(&mut world, vec![person(2)]);
        world.as_person(2).put_chunk(id, 0, &mut &file[..], None).unwrap();
        set_writers(&mut world, vec![]);
        let finish = world.as_person(2).finish(id, &sha256(&file), 10).unwrap_err();
        assert!(matches!(finish, Error::Unauthorized { .. }), "{finish}");
        assert_eq!(world.storage.blobs.blob_total(), 0, "nothing was committed");
        world.as_person(2).abort(id).unwrap();
    });
}

#[test]
fn an_empty_file_is_a_file() {
    on_every_path(|mut world| {
        let id = world.begin(0, "a");
        let result = world.finish(id, b"").unwrap();
        assert_eq!((result.size, world.checksum(&result)), (0, Some(world.digest(b""))));
        assert_eq!(read_back(&world, &result.blob_id), b"");
    });
}

#[test]
fn what_begin_refuses_it_says_with_numbers_and_changes_nothing() {
    on_every_path(|mut world| {
        let capsule = world.capsule.clone();
        let mut begin = |bytes, chunks, idem: &str| {
            world
                .service()
                .begin(capsule.clone(), metadata(bytes), chunks, idem.into(), HashAlgorithm::Sha256)
                .unwrap_err()
        };
        let largest = 16_384 * 1_800_000;
        assert_eq!(
            begin(largest + 1, 16_385, "a"),
            Error::exhausted("bytes per upload", largest, largest + 1)
        );
        assert_eq!(begin(u64::MAX, u32::MAX, "a"), Error::exhausted("bytes per upload", largest, u64::MAX));
        assert_eq!(
            begin(10, 2, "a"),
            Error::invalid("expected_chunks", "1, for 10 bytes in chunks of 1800000", 2)
        );
        assert_eq!(begin(10, 1, ""), Error::invalid("idem", "1 to 256 bytes", "0 bytes"));
        assert_eq!(begin(10, 1, &"x".repeat(257)), Error::invalid("idem", "1 to 256 bytes", "257 bytes"));
        let mut large = metadata(10);
        if let AssetMetadata::Image(image) = &mut large {
            image.exif_data = Some("x".repeat(16 * 1024));
        }
        let large =
            world.service().begin(capsule.clone(), large, 1, "a".into(), HashAlgorithm::Sha256).unwrap_err();
        assert!(
            matches!(large, Error::InvalidArgument { ref field, .. } if field == "asset_metadata"),
            "{large}"
        );
        let stranger = world
            .as_person(2)
            .begin(capsule.clone(), metadata(10), 1, "a".into(), HashAlgorithm::Sha256)
            .unwrap_err();
        assert!(matches!(stranger, Error::Unauthorized { .. }), "{stranger}");
        assert_eq!(world.live(), [0; 5]);
    });
}

#[test]
fn a_caller_has_so_many_sessions_and_no_more() {
    on_every_path(|mut world| {
        for n in 0..DEFAULT_MAX_SESSIONS_PER_CALLER {
            world.begin(1, &n.to_string());
        }
        let full = world.try_begin(1, "one more").unwrap_err();
        assert_eq!(full, Error::exhausted("sessions per caller", 100, 101));
        assert_eq!(world.begin(1, "0"), world.begin(1, "0"), "one that exists is still found");
        let first = world.begin(1, "0");
        world.service().abort(first).unwrap();
        assert!(world.try_begin(1, "one more").is_ok());
    });
}

#[test]
fn a_session_that_is_finished_says_so() {
    on_every_path(|mut world| {
        let file = file(10);
        let id = world.begin(10, "a");
        world.put(id, &file, 0).unwrap();
        world.finish(id, &file).unwrap();
        let finished = Error::conflict("session", id, "is finished");
        assert_eq!(world.put(id, &file, 0), Err(finished.clone()));
        assert_eq!(world.service().abort(id), Err(finished));
    });
}

#[test]
fn ones_own_sessions_are_listed_in_pages() {
    on_every_path(|mut world| {
        let ids: Vec<u64> = ["a", "b", "c"].iter().map(|idem| world.begin(10, idem)).collect();
        let mut page = |after, limit| {
            let page = world.service().list(after, limit).unwrap();
            page.into_iter().map(|status| status.session).collect::<Vec<_>>()
        };
        assert_eq!(page(None, 2), ids[..2]);
        assert_eq!(page(Some(ids[1]), 2), ids[2..]);
        assert_eq!(world.as_person(2).list(None, 9).unwrap(), []);
    });
}

#[test]
fn the_same_content_is_stored_once_in_a_capsule() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let [one, two] = ["a", "b"].map(|idem| {
            let id = world.begin(file.len(), idem);
            world.put(id, &file, 0).unwrap();
            world.put(id, &file, 1).unwrap();
            world.finish(id, &file).unwrap()
        });
        assert_eq!(one.blob_id, two.blob_id);
        assert_ne!(one.memory_id, two.memory_id);
        assert_eq!(world.live()[3..], world.stored(file.len()), "its bytes once and not twice");
        assert_eq!(world.storage.usage.total(), Ok(file.len() as u64));

        let delete =
            |world: &mut World, id: &str| crate::memories::delete(&mut world.storage, person(OWNER), id);
        let stranger = crate::memories::delete(&mut world.storage, person(2), &one.memory_id);
        assert!(matches!(stranger, Err(Error::NotFound { .. })));
        delete(&mut world, &one.memory_id).unwrap();
        assert_eq!(read_back(&world, &two.blob_id), file, "the other memory still has its bytes");
        delete(&mut world, &two.memory_id).unwrap();
        assert_eq!(world.live(), [0; 5]);
        assert_eq!((world.storage.usage.accounts(), world.storage.blobs.blob_total()), (0, 0));
    });
}

#[test]
fn content_is_not_shared_between_capsules() {
    on_every_path(|mut world| {
        let file = file(10);
        let upload = |world: &mut World| {
            let id = world.begin(file.len(), "a");
            world.put(id, &file, 0).unwrap();
            world.finish(id, &file).unwrap().blob_id
        };
        let first = upload(&mut world);
        world.capsule = world.storage.capsules.create(person(OWNER), None, START).unwrap().id;
        assert_ne!(upload(&mut world), first);
        assert_eq!(world.live()[3..], world.stored(file.len()).map(|once| 2 * once));
    });
}

#[test]
fn bytes_are_reserved_at_begin_and_given_back_at_the_end() {
    on_every_path(|mut world| {
        let limit = |world: &mut World, change: fn(&mut AdminConfig)| {
            let mut config = world.storage.config().unwrap();
            change(&mut config);
            world.storage.settings.set(&Config::checked(config).unwrap());
        };
        limit(&mut world, |config| config.max_bytes_per_caller = 100);
        let id = world.begin(60, "a");
        let full = world.try_begin(60, "b").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes in flight per caller", 100, 120));
        world.service().abort(id).unwrap();
        let file = file(60);
        let id = world.begin(60, "b");
        world.put(id, &file, 0).unwrap();
        world.finish(id, &file).unwrap();
        limit(&mut world, |config| config.max_bytes_per_capsule = 100);
        let full = world.try_begin(60, "c").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes per capsule", 100, 120));
        limit(&mut world, |config| {
            config.max_bytes_per_capsule = 1_000;
            config.max_bytes = 119;
        });
        let full = world.try_begin(60, "c").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes in the canister", 119, 120));
        assert!(world.try_begin(59, "c").is_ok());
    });
}

#[test]
fn a_deleted_capsule_is_gone_at_once_and_its_bytes_soon() {
    on_every_path(|mut world| {
        let file = file(CHUNK + 1);
        let finished = world.begin(file.len(), "a");
        world.put(finished, &file, 0).unwrap();
        world.put(finished, &file, 1).unwrap();
        let memory = world.finish(finished, &file).unwrap().memory_id;
        let pending = world.begin(file.len(), "b");
        world.put(pending, &file, 0).unwrap();
        let capsule = world.capsule.clone();
        assert!(world.storage.capsules.delete(person(2), &capsule).is_err());
        world.storage.capsules.delete(person(OWNER), &capsule).unwrap();
        assert!(world.storage.capsules.memory(person(OWNER), &memory).is_err());
        assert_eq!(world.storage.capsules.list_capsules(person(OWNER), None, 9), Ok(vec![]));
        let put = world.put(pending, &file, 1).unwrap_err();
        assert!(matches!(put, Error::Unauthorized { .. }), "{put}");
        let finish = world.finish(pending, &file).unwrap_err();
        assert!(matches!(finish, Error::Unauthorized { .. }), "{finish}");
        while !crate::memories::sweep(&mut world.storage).unwrap() {}
        world.service().abort(pending).unwrap();
        assert_eq!(world.live(), [0; 5]);
        assert_eq!(world.storage.usage.accounts(), 0);
    });
}

#[test]
fn hashing_goes_on_without_its_client() {
    on_every_path(|mut world| {
        let file = file(2 * CHUNK);
        let id = world.begin(file.len(), "a");
        world.put(id, &file, 1).unwrap();
        world.put(id, &file, 0).unwrap();
        assert_eq!(world.service().hash_on(id), Ok(true));
        assert_eq!(world.storage.payloads.get(&id).unwrap().unwrap().next_chunk, 2);
        assert_eq!(world.service().hash_on(id + 1), Ok(true), "a session that is gone needs no hash");
        assert!(world.finish(id, &file).is_ok());
    });
}

#[test]
fn what_was_deleted_can_be_uploaded_again_under_the_same_key() {
    on_every_path(|mut world| {
        let file = file(10);
        let upload = |world: &mut World| {
            let id = world.begin(10, "a");
            world.put(id, &file, 0).map(|()| world.finish(id, &file).unwrap().memory_id)
        };
        let first = upload(&mut world).unwrap();
        upload(&mut world).unwrap_err(); // it is finished
        crate::memories::delete(&mut world.storage, person(OWNER), &first).unwrap();
        assert_ne!(upload(&mut world).unwrap(), first);
    });
}

#[test]
fn chunks_before_their_turn_are_hashed_as_soon_as_it_comes() {
    on_every_path(|mut world| {
        let file = file(4 * CHUNK + 7);
        let id = world.begin(file.len(), "a");
        for (idx, hashed) in [(4, 0), (2, 0), (0, 1), (1, 3), (3, 5)] {
            world.put(id, &file, idx).unwrap();
            let payload = world.storage.payloads.get(&id).unwrap().unwrap_or_default();
            assert_eq!(payload.next_chunk, hashed, "after chunk {idx}");
        }
        assert!(world.finish(id, &file).is_ok());
    });
}

fn small<'a>(world: &World, bytes: &'a [u8], idem: &str) -> SmallFile<'a> {
    SmallFile {
        capsule_id: world.capsule.clone(),
        asset_metadata: metadata(bytes.len() as u64),
        idem: idem.into(),
        bytes: Bytes::new(bytes),
        digest: world.digest(bytes),
        hash: Some(world.hash),
    }
}

#[test]
fn a_file_that_fits_a_message_takes_one_call() {
    on_every_path(|mut world| {
        for file in [file(0), file(1), file(1024), file(CHUNK)] {
            let small = small(&world, &file, &file.len().to_string());
            let result = world.service().put_whole(small.clone()).unwrap();
            assert_eq!(read_back(&world, &result.blob_id), file);
            assert_eq!(world.checksum(&result), Some(small.digest.clone()));
            assert_eq!(world.service().put_whole(small.clone()).unwrap(), result, "the same call again");
            let chunks = u32::from(!file.is_empty());
            let hash = world.hash;
            let begun = world.service().begin(
                small.capsule_id.clone(),
                small.asset_metadata.clone(),
                chunks,
                small.idem.clone(),
                hash,
            );
            let finished = world.finish(begun.unwrap(), &file).unwrap();
            assert_eq!(finished, result, "begin and finish find what the one call made");
        }
        assert_eq!(world.storage.capsules.memory_total(), 4);
    });
}

#[test]
fn a_whole_file_that_is_refused_leaves_nothing() {
    on_every_path(|mut world| {
        let file = file(100);
        let good = small(&world, &file, "a");
        let before = world.live();
        let too_long = vec![0; CHUNK + 1];
        let refused = [
            SmallFile { digest: ByteBuf::from([1; 32]), ..good.clone() },
            SmallFile { digest: ByteBuf::from([1; 31]), ..good.clone() },
            SmallFile { bytes: Bytes::new(&file[1..]), ..good.clone() },
            SmallFile { idem: String::new(), ..good.clone() },
            SmallFile { capsule_id: "capsule_99".into(), ..good.clone() },
            small(&world, &too_long, "b"),
        ];
        let answers = world.service().put_many(refused.to_vec()).unwrap();
        assert!(answers.iter().all(std::result::Result::is_err), "{answers:?}");
        let stranger = world.as_person(2).put_whole(good.clone());
        assert!(matches!(stranger, Err(Error::Unauthorized { .. })));
        assert_eq!(world.live(), before);
        assert_eq!(world.storage.usage.accounts(), 0);

        let session = world.begin(file.len(), "a");
        let in_flight = world.service().put_whole(good.clone()).unwrap_err();
        assert!(matches!(in_flight, Error::Conflict { .. }), "{in_flight}");
        world.service().abort(session).unwrap();
        let other = SmallFile { idem: "c".into(), ..good.clone() };
        assert!(world.service().put_whole(other.clone()).is_ok());
        let changed = SmallFile { asset_metadata: metadata(99), bytes: Bytes::new(&file[..99]), ..other };
        assert!(matches!(world.service().put_whole(changed), Err(Error::Conflict { .. })));
        let many = vec![good; super::limits::MAX_FILES_PER_CALL + 1];
        assert!(matches!(world.service().put_many(many), Err(Error::InvalidArgument { .. })));
    });
}

#[test]
fn expiry_goes_in_slices_of_bounded_length() {
    on_every_path(|mut world| {
        let sessions = 2 * SWEEP_BATCH as u64 + 1;
        for n in 0..sessions {
            let id = world.begin(1, &n.to_string());
            world.put(id, &file(1), 0).unwrap();
        }
        world.now = world.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let mut left = vec![sessions];
        while !world.service().sweep().unwrap() {
            left.push(world.storage.index.len());
        }
        let slices: Vec<u64> = left.windows(2).map(|pair| pair[0] - pair[1]).collect();
        assert!(slices.len() > 1 && slices.iter().all(|slice| *slice <= SWEEP_BATCH as u64), "{slices:?}");
        assert_eq!((world.storage.index.len(), world.live()), (0, [0; 5]));
    });
}

/// Number of bytes of stable memory that differ before and after.
fn bytes_changed_by(world: &mut World, act: impl FnOnce(&mut World)) -> usize {
    let before = world.raw.borrow().clone();
    act(world);
    let after = world.raw.borrow();
    let grown = after.len() - before.len();
    before.iter().zip(after.iter()).filter(|(before, after)| before != after).count() + grown
}

#[test]
fn a_commit_writes_no_more_into_a_large_capsule_than_into_a_small_one() {
    on_every_path(|mut world| {
        let config = AdminConfig { max_sessions_per_caller: 10_000, ..world.storage.config().unwrap() };
        world.storage.settings.set(&Config::checked(config).unwrap());
        let fill = |world: &mut World, memories: std::ops::Range<u64>| {
            for n in memories {
                let id = world.begin(0, &n.to_string());
                world.finish(id, b"").unwrap();
            }
        };
        let commit = |world: &mut World, idem: &str| {
            let id = world.begin(0, idem);
            bytes_changed_by(world, |world| drop(world.finish(id, b"").unwrap()))
        };
        fill(&mut world, 0..10);
        let small = commit(&mut world, "small");
        fill(&mut world, 10..2_000);
        let large = commit(&mut world, "large");
        assert_eq!(world.storage.capsules.memory_total(), 2_002);
        // A record of a memory has some hundreds of bytes; two thousand of them have hundreds of thousands.
        assert!(large < small + 8 * 1024, "{large} bytes changed in a large capsule, {small} in a small one");
    });
}

/// An upload that the payload region has no room for leaves nothing behind: no room, no session, no bytes on account.
#[test]
fn a_full_region_is_refused_and_nothing_is_taken() {
    for mut world in [World::extents(), World::extents().with_blake3()] {
        // Room for the bytes of a file of 100, and not for the chaining values beside them.
        world.storage.blobs.allocate(REGION_BYTES - 128).unwrap();
        let before = (world.live(), world.storage.usage.accounts());
        let begun = [world.try_begin(100, "a"), world.try_begin(200, "b")];
        let fits = world.hash == HashAlgorithm::Sha256;
        assert_eq!(begun.each_ref().map(Result::is_ok), [fits, false], "{begun:?}");
        for refused in begun.iter().filter_map(|begun| begun.as_ref().err()) {
            assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
        }
        if fits {
            world.service().abort(*begun[0].as_ref().unwrap()).unwrap();
        }
        assert_eq!((world.live(), world.storage.usage.accounts()), before);

        let large = vec![1; 200];
        let refused = small(&world, &large, "c");
        let refused = world.service().put_whole(refused).unwrap_err();
        assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
        assert_eq!((world.live(), world.storage.usage.accounts()), before);
    }
}
