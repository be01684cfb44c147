//! Defects of the protocol from finish on: what a client can learn about its uploads, and do with them.

use candid::Principal;
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use upload_canister::api::*;

use crate::support::upload::{CHUNK, file, metadata, sha256, two_chunks};
use crate::support::{InstalledCanister, owner, reader};

/// An uploaded memory could neither be deleted nor changed, so that its bytes were held forever. Now both are possible,
/// and deleting a memory frees its bytes.
pub fn d30_memories_could_not_be_deleted_or_changed(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[], &[reader()]);
    let content = two_chunks(1);
    let result = canister.upload(owner(), &capsule, &content, "key");
    let id = &result.memory_id;

    let changed = all_kinds(&content).remove(0);
    let update = |caller: Principal, asset: &AssetMetadata| -> Result<Memory> {
        canister.update(caller, "memories_update", (id, asset))
    };
    assert!(matches!(update(reader(), &changed), Err(Error::Unauthorized { .. })));
    assert!(matches!(update(owner(), &metadata(1)), Err(Error::InvalidArgument { .. })));
    let updated = update(owner(), &changed).unwrap();
    assert_eq!(updated.asset_metadata, changed);
    assert_eq!(canister.memory(reader(), id).unwrap(), updated);
    assert_eq!(canister.read_back(owner(), &updated.blob.locator), content);

    canister.update::<()>(owner(), "memories_delete", (id,)).unwrap();
    canister.run_timers_until(|stats| stats.memories == 0);
    let stats = canister.stats();
    assert_eq!((stats.blobs, stats.chunks, stats.payload_bytes, stats.bytes_in_use), (0, 0, 0, 0));
    assert_eq!(canister.memory(owner(), id), Err(Error::not_found("memory", id)));
    assert_eq!(canister.query::<Capsule>(owner(), "capsules_read", (&capsule,)).unwrap().memory_count, 0);
    let again: Result<()> = canister.update(owner(), "memories_delete", (id,));
    assert_eq!(again, Err(Error::not_found("memory", id)));
}

/// Returns metadata in all five kinds, with every field set.
fn all_kinds(content: &[u8]) -> Vec<AssetMetadata> {
    let text = |text: &str| Some(text.to_owned());
    let base = AssetMetadataBase {
        name: "name".into(),
        description: text("what it is"),
        tags: vec!["one".into(), "two".into()],
        asset_type: AssetType::Derivative,
        bytes: content.len() as u64,
        mime_type: "image/png".into(),
        sha256: Some(ByteBuf::from(sha256(content))),
        width: Some(640),
        height: Some(480),
        url: text("https://example.com/asset"),
        storage_key: text("key"),
        bucket: text("bucket"),
        asset_location: text("elsewhere"),
        processing_status: Some(ProcessingStatus::Finalizing),
        processing_error: text("none so far"),
        created_at: 1,
        updated_at: 2,
        deleted_at: Some(3),
    };
    vec![
        AssetMetadata::Image(ImageAssetMetadata {
            base: base.clone(),
            color_space: text("sRGB"),
            exif_data: text("exif"),
            compression_ratio: Some(0.25),
            dpi: Some(300),
            orientation: Some(6),
        }),
        AssetMetadata::Video(VideoAssetMetadata {
            base: base.clone(),
            duration: Some(61_000),
            frame_rate: Some(29.97),
            codec: text("av1"),
            bitrate: Some(4_000_000),
            resolution: text("1920x1080"),
            aspect_ratio: Some(1.5),
        }),
        AssetMetadata::Audio(AudioAssetMetadata {
            base: base.clone(),
            duration: Some(61_000),
            sample_rate: Some(48_000),
            channels: Some(2),
            bitrate: Some(320_000),
            codec: text("opus"),
            bit_depth: Some(24),
        }),
        AssetMetadata::Document(DocumentAssetMetadata {
            base: base.clone(),
            page_count: Some(12),
            document_type: text("letter"),
            language: text("de"),
            word_count: Some(3_000),
        }),
        AssetMetadata::Note(NoteAssetMetadata {
            base,
            word_count: Some(30),
            language: text("en"),
            format: text("markdown"),
        }),
    ]
}

/// Every uploaded memory became a note without title, description, author and dates. Now a memory has the metadata
/// given at begin, field by field, in all five kinds, and says who uploaded it.
pub fn d31_metadata_was_lost_on_the_way(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = file(12, 1);
    for (n, asset) in all_kinds(&content).into_iter().enumerate() {
        let args = (&capsule, &asset, 1u32, format!("kind {n}"));
        let session: u64 = canister.update(owner(), "uploads_begin", args).unwrap();
        canister.put_all(owner(), session, &content);
        let result = canister.finish(owner(), session, &content).unwrap();
        let memory = canister.memory(owner(), &result.memory_id).unwrap();
        let locator = result.blob_id;
        let hash = Some(ByteBuf::from(sha256(&content)));
        let expected = Memory {
            id: result.memory_id,
            capsule_id: capsule.clone(),
            asset_metadata: asset,
            blob: BlobRef { locator, hash, len: 12, blake3: None },
            created_at: result.uploaded_at,
            created_by: owner(),
            ..memory.clone()
        };
        assert_eq!(memory, expected);
    }
}

/// The same field was in milliseconds or in nanoseconds, depending on the code that had written it. Now all times are
/// in nanoseconds.
pub fn d32_times_came_in_two_units(build: Build) {
    let canister = InstalledCanister::new(build);
    let now = || canister.pic.get_time().as_nanos_since_unix_epoch();
    let began = now();
    let capsule = canister.create_capsule();
    let content = file(6, 1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put_all(owner(), session, &content);
    let status = canister.status(owner(), session).unwrap();
    let result = canister.finish(owner(), session, &content).unwrap();
    let memory = canister.memory(owner(), &result.memory_id).unwrap();
    let created_at = canister.query::<Capsule>(owner(), "capsules_read", (&capsule,)).unwrap().created_at;
    let ended = now();
    for (what, time) in [
        ("capsule", created_at),
        ("last activity", status.last_seen),
        ("upload", result.uploaded_at),
        ("memory", memory.created_at),
    ] {
        assert!((began..=ended).contains(&time), "{what}: {time} is not in {began}..={ended}");
    }
    assert!(status.expires_at > ended && status.expires_at < ended + 48 * 3_600 * 1_000_000_000);
}

/// A client could not learn which chunks had arrived, or find its sessions again. Now it can query both.
pub fn d33_a_client_could_not_learn_what_had_arrived(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    let content = file(3 * CHUNK + 9, 1);
    let session = canister.begin(owner(), &capsule, &content, "key").unwrap();
    canister.put(owner(), session, 3, &content).unwrap();
    canister.put(owner(), session, 0, &content).unwrap();
    let status = canister.status(owner(), session).unwrap();
    let range = |first, last| ChunkRange { first, last };
    assert_eq!(status.received, [range(0, 0), range(3, 3)]);
    assert_eq!(status.missing, [range(1, 2)]);
    assert_eq!(status.next_expected, Some(1));
    assert_eq!((status.bytes_received, status.bytes_expected), (CHUNK as u64 + 9, content.len() as u64));
    assert_eq!((status.expected_chunks, status.chunk_size), (4, CHUNK as u32));
    assert_eq!((status.capsule_id.as_str(), status.idem.as_str()), (capsule.as_str(), "key"));
    assert!(status.expires_at > status.last_seen);
    let path = if build == Build::Legacy { SessionPath::Compat } else { SessionPath::Direct };
    assert_eq!(status.path, path);

    let mut sessions = vec![session];
    for n in 0..4 {
        sessions.push(canister.begin(owner(), &capsule, &file(5, n), &format!("small {n}")).unwrap());
    }
    let mut listed = Vec::new();
    loop {
        let page: Result<Vec<UploadStatus>> =
            canister.query(owner(), "uploads_list", (listed.last().copied(), Some(2u32)));
        let page = page.unwrap();
        assert!(page.len() <= 2);
        if page.is_empty() {
            break;
        }
        listed.extend(page.iter().map(|status| status.session));
    }
    assert_eq!(listed, sessions);
    let all: Vec<UploadStatus> = canister.query(owner(), "uploads_list", (None::<u64>, None::<u32>)).unwrap();
    assert_eq!(all[0], status);
}
