//! Limits on numbers and lengths, on the legacy build and on the direct build: each error names the limit and its
//! numbers, a refused call changes nothing, and after a deletion there is room again.

use crate::support::upload::{NewMemory, metadata};
use crate::support::{InstalledCanister, controller, owner, stranger, writer};
use candid::{CandidType, Principal};
use serde::Deserialize;
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use upload_canister::api::*;

/// Runs each test of `check_that` on the legacy build and on the direct build.
macro_rules! on_both_builds {
    ($($test:ident)*) => {$(
        mod $test {
            #[test]
            fn on_legacy() {
                super::check_that::$test(super::Build::Legacy);
            }

            #[test]
            fn on_direct() {
                super::check_that::$test(super::Build::Direct);
            }
        }
    )*};
}

on_both_builds! {
    the_capsules_of_a_caller_are_limited
    the_memories_of_a_capsule_are_limited
    every_text_has_a_length
    a_client_of_the_older_settings_resets_none_of_the_newer_ones
    settings_that_close_the_service_need_force
    who_may_create_capsules_is_a_setting
}

mod check_that {
    use super::*;

    pub fn the_capsules_of_a_caller_are_limited(build: Build) {
        let canister = InstalledCanister::new(build);
        canister.configure(|config| config.max_capsules_per_caller = Some(2));
        let create =
            |caller: Principal| canister.update::<Capsule>(caller, "capsules_create", (None::<PersonRef>,));
        let first = create(owner()).unwrap();
        let second = create(owner()).unwrap();
        let before = canister.holdings();
        assert_eq!(create(owner()), Err(Error::exhausted("capsules per caller", 2, 3)));
        assert_eq!(canister.holdings(), before);

        // A capsule counts against the limit of its creator, not of other owners.
        for capsule in [&first, &second] {
            let owners = vec![owner(), stranger()];
            let access = CapsuleAccess { owners, writers: vec![], readers: vec![] };
            canister.update::<Capsule>(owner(), "capsules_set_access", (&capsule.id, access)).unwrap();
        }
        create(stranger()).unwrap();
        // Regardless of who deletes a capsule, its creator may create another one.
        canister.update::<()>(stranger(), "capsules_delete", (&first.id,)).unwrap();
        create(owner()).unwrap();
        assert_eq!(create(owner()), Err(Error::exhausted("capsules per caller", 2, 3)));
        create(stranger()).unwrap();
        assert_eq!(create(stranger()), Err(Error::exhausted("capsules per caller", 2, 3)));
    }

    pub fn the_memories_of_a_capsule_are_limited(build: Build) {
        let canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        canister.configure(|config| config.max_memories_per_capsule = Some(3));
        // A memory whose content is an external asset.
        let elsewhere = |idem| NewMemory {
            capsule: &capsule,
            inline: None,
            blob: None,
            backend: Some(StorageBackend::S3),
            bytes: 7,
            idem,
        };
        let inline = NewMemory::inline(&capsule, b"inline", "inline");
        let first = canister.create_memory(owner(), inline).unwrap();
        canister.create_memory(owner(), elsewhere("elsewhere")).unwrap();
        canister.upload(owner(), &capsule, b"", "uploaded");

        let before = canister.holdings();
        let full = || Err(Error::exhausted("memories per capsule", 3, 4));
        assert_eq!(canister.create_memory(owner(), elsewhere("one more")), full());
        let one_more = NewMemory::inline(&capsule, b"x", "one more");
        assert_eq!(canister.create_memory(owner(), one_more), full());
        assert_eq!(canister.begin(owner(), &capsule, b"", "one more"), full().map(|_: String| 0));
        assert_eq!(canister.create_memory(owner(), inline).as_ref(), Ok(&first), "the same call again");
        assert_eq!(canister.holdings(), before);

        canister.update::<()>(owner(), "memories_delete", (&first,)).unwrap();
        canister.create_memory(owner(), elsewhere("one more")).unwrap();
    }

    pub fn every_text_has_a_length(build: Build) {
        let canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        canister.share(&capsule, &[writer()], &[]);
        let memory = canister.upload(owner(), &capsule, b"", "stored").memory_id;
        let before = canister.holdings();
        for (field, max, asset) in metadata_beyond_limits() {
            let expected = match field {
                "asset_metadata.tags (number)" => {
                    Error::invalid("asset_metadata.tags", "at most 100 tags", 101)
                }
                _ => Error::invalid(field, format!("at most {max} bytes"), format!("{} bytes", max + 1)),
            };
            let begun: Result<u64> = canister.update(owner(), "uploads_begin", (&capsule, &asset, 0u32, "k"));
            assert_eq!(begun, Err(expected.clone()));
            let updated: Result<Memory> = canister.update(writer(), "memories_update", (&memory, &asset));
            assert_eq!(updated, Err(expected.clone()));
            let none = None::<String>;
            let (blob, backend, digest) = (None::<BlobRef>, None::<StorageBackend>, None::<ByteBuf>);
            let inline = Some(ByteBuf::new());
            let args = (&capsule, inline, blob, backend, &none, &none, Some(0u64), digest, &asset, "k");
            assert_eq!(canister.update::<String>(owner(), "memories_create", args), Err(expected));
        }
        let external = |key: usize, url: usize| {
            let text = |len: usize| Some("x".repeat(len));
            let (inline, blob, digest) = (None::<ByteBuf>, None::<BlobRef>, None::<ByteBuf>);
            let backend = Some(StorageBackend::S3);
            let args =
                (&capsule, inline, blob, backend, text(key), text(url), Some(0u64), digest, metadata(0), "k");
            canister.update::<String>(owner(), "memories_create", args)
        };
        let long = |field| Err(Error::invalid(field, "at most 2048 bytes", "2049 bytes"));
        assert_eq!(external(2_049, 1), long("storage_key"));
        assert_eq!(external(1, 2_049), long("url"));
        let subject = Some(PersonRef::Opaque("x".repeat(257)));
        let created = canister.update::<Capsule>(owner(), "capsules_create", (subject,));
        assert_eq!(created, Err(Error::invalid("subject", "at most 256 bytes", "257 bytes")));
        assert_eq!(canister.holdings(), before);
        external(2_048, 2_048).unwrap();
    }

    pub fn settings_that_close_the_service_need_force(build: Build) {
        type Change = fn(&mut AdminConfig);
        let canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        canister.upload(owner(), &capsule, b"stored", "stored");
        let in_use = canister.stats().bytes_in_use;
        let open = canister.config();
        let closing: [(&str, Change); 8] = [
            ("max_sessions_per_caller", |config| config.max_sessions_per_caller = 0),
            ("max_bytes_per_caller", |config| config.max_bytes_per_caller = 0),
            ("max_bytes_per_capsule", |config| config.max_bytes_per_capsule = 0),
            // As many bytes as are in use.
            ("max_bytes", |config| config.max_bytes = 6),
            ("max_capsules_per_caller", |config| config.max_capsules_per_caller = Some(0)),
            ("max_memories_per_capsule", |config| config.max_memories_per_capsule = Some(0)),
            ("max_promised_percent", |config| config.max_promised_percent = Some(0)),
            // 1 % of less than 100 bytes.
            ("max_promised_percent", |config| {
                config.max_bytes = 99;
                config.max_promised_percent = Some(1);
            }),
        ];
        assert_eq!(in_use, 6);
        for (named, change) in closing {
            let refused = canister.try_configure(change).unwrap_err();
            let Error::InvalidArgument { field, expected, .. } = &refused else { panic!("{refused}") };
            assert_eq!(field, named);
            assert!(expected.contains("force"), "the error says that `force` allows the change: {expected}");
            assert_eq!(canister.config(), open, "nothing was changed");
            let mut config = open;
            change(&mut config);
            let set = |config: AdminConfig, force: Option<bool>| {
                canister.update::<()>(controller(), "admin_config_set", (config, force))
            };
            assert!(set(config, Some(false)).is_err());
            set(config, Some(true)).unwrap();
            assert_eq!(canister.config(), config);
            set(config, None).unwrap(); // `force` is needed only to close an open service
            set(open, None).unwrap();
        }
    }

    pub fn who_may_create_capsules_is_a_setting(build: Build) {
        let mut canister = InstalledCanister::new(build);
        let create = |canister: &InstalledCanister, caller: Principal| {
            canister.update::<Capsule>(caller, "capsules_create", (None::<PersonRef>,))
        };
        create(&canister, stranger()).unwrap();
        canister.configure(|config| config.capsule_makers = Some(CapsuleMakers::Listed));
        assert!(matches!(create(&canister, owner()), Err(Error::Unauthorized { .. })), "nobody is listed");
        canister.update::<()>(controller(), "admin_capsule_makers_set", (vec![owner()],)).unwrap();
        let listed: Vec<Principal> = canister.query(controller(), "admin_capsule_makers", ()).unwrap();
        assert_eq!(listed, [owner()]);
        create(&canister, owner()).unwrap();
        canister.upgrade(build);
        create(&canister, owner()).unwrap();
        let refused = create(&canister, stranger()).unwrap_err();
        assert!(
            matches!(&refused, Error::Unauthorized { needs, .. } if needs.contains("on the list")),
            "{refused}"
        );
        canister.configure(|config| config.capsule_makers = Some(CapsuleMakers::Nobody));
        assert!(matches!(create(&canister, owner()), Err(Error::Unauthorized { .. })));
    }

    /// The settings as they were before limits on capsules and memories were added.
    #[derive(CandidType, Deserialize)]
    struct OlderConfig {
        compat_share_percent: u8,
        session_ttl_seconds: u64,
        max_sessions_per_caller: u64,
        max_bytes_per_caller: u64,
        max_bytes_per_capsule: u64,
        max_bytes: u64,
    }

    pub fn a_client_of_the_older_settings_resets_none_of_the_newer_ones(build: Build) {
        let canister = InstalledCanister::new(build);
        canister.configure(|config| {
            config.max_capsules_per_caller = Some(5);
            config.max_memories_per_capsule = Some(6);
            config.max_promised_percent = Some(7);
            config.max_session_age_seconds = Some(8 * 86_400);
            config.capsule_makers = Some(CapsuleMakers::Nobody);
        });
        let config: OlderConfig = canister.query(controller(), "admin_config_get", ()).unwrap();
        let changed = OlderConfig { max_sessions_per_caller: 7, ..config };
        canister.update::<()>(controller(), "admin_config_set", (changed,)).unwrap();
        let config = canister.config();
        assert_eq!(config.max_sessions_per_caller, 7);
        assert_eq!((config.max_capsules_per_caller, config.max_memories_per_capsule), (Some(5), Some(6)));
        assert_eq!(
            (config.max_promised_percent, config.max_session_age_seconds, config.capsule_makers),
            (Some(7), Some(8 * 86_400), Some(CapsuleMakers::Nobody))
        );
        let fresh = InstalledCanister::new(build).config();
        assert_eq!(
            (fresh.max_capsules_per_caller, fresh.max_memories_per_capsule),
            (Some(1_000), Some(1_000_000))
        );
    }
}

/// Returns the name of each limited field, its limit, and metadata that exceed just this limit, by one byte or one tag.
fn metadata_beyond_limits() -> Vec<(&'static str, usize, AssetMetadata)> {
    type Change<T> = fn(&mut T, String);
    let base: [(&str, usize, Change<AssetMetadataBase>); 9] = [
        ("asset_metadata.name", 1_024, |base, text| base.name = text),
        ("asset_metadata.description", 8_192, |base, text| base.description = Some(text)),
        ("asset_metadata.tags", 256, |base, text| base.tags = vec!["one".into(), text]),
        ("asset_metadata.mime_type", 256, |base, text| base.mime_type = text),
        ("asset_metadata.url", 2_048, |base, text| base.url = Some(text)),
        ("asset_metadata.storage_key", 2_048, |base, text| base.storage_key = Some(text)),
        ("asset_metadata.bucket", 2_048, |base, text| base.bucket = Some(text)),
        ("asset_metadata.asset_location", 2_048, |base, text| base.asset_location = Some(text)),
        ("asset_metadata.processing_error", 8_192, |base, text| base.processing_error = Some(text)),
    ];
    let plain = || metadata(0).base().clone();
    let mut all: Vec<_> = base
        .into_iter()
        .map(|(field, max, change)| {
            let mut base = plain();
            change(&mut base, "x".repeat(max + 1));
            (field, max, AssetMetadata::document(base))
        })
        .collect();
    let mut tagged = plain();
    tagged.tags = vec!["t".into(); 101];
    all.push(("asset_metadata.tags (number)", 100, AssetMetadata::document(tagged)));

    let word = || Some("x".repeat(257));
    let base = plain();
    let image = ImageAssetMetadata {
        base: base.clone(),
        color_space: None,
        exif_data: None,
        compression_ratio: None,
        dpi: None,
        orientation: None,
    };
    let video = VideoAssetMetadata {
        base: base.clone(),
        duration: None,
        frame_rate: None,
        codec: None,
        bitrate: None,
        resolution: None,
        aspect_ratio: None,
    };
    let audio = AudioAssetMetadata {
        base: base.clone(),
        duration: None,
        sample_rate: None,
        channels: None,
        bitrate: None,
        codec: word(),
        bit_depth: None,
    };
    let document = DocumentAssetMetadata {
        base: base.clone(),
        page_count: None,
        document_type: None,
        language: None,
        word_count: None,
    };
    let note = NoteAssetMetadata { base, word_count: None, language: None, format: None };
    all.extend([
        (
            "asset_metadata.color_space",
            256,
            AssetMetadata::Image(ImageAssetMetadata { color_space: word(), ..image.clone() }),
        ),
        (
            "asset_metadata.exif_data",
            16_384,
            AssetMetadata::Image(ImageAssetMetadata { exif_data: Some("x".repeat(16_385)), ..image }),
        ),
        (
            "asset_metadata.codec",
            256,
            AssetMetadata::Video(VideoAssetMetadata { codec: word(), ..video.clone() }),
        ),
        (
            "asset_metadata.resolution",
            256,
            AssetMetadata::Video(VideoAssetMetadata { resolution: word(), ..video }),
        ),
        ("asset_metadata.codec", 256, AssetMetadata::Audio(audio)),
        (
            "asset_metadata.document_type",
            256,
            AssetMetadata::Document(DocumentAssetMetadata { document_type: word(), ..document.clone() }),
        ),
        (
            "asset_metadata.language",
            256,
            AssetMetadata::Document(DocumentAssetMetadata { language: word(), ..document }),
        ),
        (
            "asset_metadata.language",
            256,
            AssetMetadata::Note(NoteAssetMetadata { language: word(), ..note.clone() }),
        ),
        ("asset_metadata.format", 256, AssetMetadata::Note(NoteAssetMetadata { format: word(), ..note })),
    ]);
    all
}
