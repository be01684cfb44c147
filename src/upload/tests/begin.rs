//! Begin: one session for each idempotency key, and its bytes reserved in advance.

use super::*;

#[test]
fn a_repeated_begin_finds_the_same_session() {
    on_every_path(|mut canister| {
        let id = canister.begin(10, "a");
        assert_eq!(canister.begin(10, "a"), id);
        let other = canister.try_begin(11, "a").unwrap_err();
        assert!(matches!(other, Error::Conflict { .. }), "other parameters under the same key: {other}");
        assert_ne!(canister.begin(10, "b"), id);
        let file = file(10);
        canister.put(id, &file, 0).unwrap();
        canister.finish(id, &file).unwrap();
        assert_eq!(canister.begin(10, "a"), id, "a begin after finish, as long as the receipt exists");
    });
}

#[test]
fn a_refused_begin_names_its_numbers_and_changes_nothing() {
    on_every_path(|mut canister| {
        let capsule = canister.capsule.clone();
        let mut begin = |bytes, chunks, idem: &str| {
            canister
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
            // Alone as long as all metadata may be.
            image.exif_data = Some("x".repeat(16 * 1024));
        }
        let large = canister
            .service()
            .begin(capsule.clone(), large, 1, "a".into(), HashAlgorithm::Sha256)
            .unwrap_err();
        assert!(
            matches!(large, Error::InvalidArgument { ref field, .. } if field == "asset_metadata"),
            "{large}"
        );
        let stranger = canister
            .as_person(2)
            .begin(capsule.clone(), metadata(10), 1, "a".into(), HashAlgorithm::Sha256)
            .unwrap_err();
        assert!(matches!(stranger, Error::Unauthorized { .. }), "{stranger}");
        assert_eq!(canister.live_counts(), [0; 5]);
    });
}

#[test]
fn an_expired_session_is_not_returned_by_begin_before_the_sweep() {
    on_every_path(|mut canister| {
        let file = file(10);
        let id = canister.begin(10, "a");
        canister.put(id, &file, 0).unwrap();
        let [.., extent_bytes_before] = canister.live_counts();
        canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
        let fresh = canister.begin(10, "a");
        assert_ne!(fresh, id);
        let [.., chunks, extent_bytes] = canister.live_counts();
        assert_eq!(chunks, 0, "the chunks of the expired session are released");
        assert_eq!(extent_bytes, extent_bytes_before, "only the fresh session has extents");
    });
}

#[test]
fn the_sessions_of_a_caller_are_limited() {
    on_every_path(|mut canister| {
        for n in 0..DEFAULT_MAX_SESSIONS_PER_CALLER {
            canister.begin(1, &n.to_string());
        }
        let full = canister.try_begin(1, "one more").unwrap_err();
        assert_eq!(full, Error::exhausted("sessions per caller", 100, 101));
        assert_eq!(canister.begin(1, "0"), canister.begin(1, "0"), "a session that exists is still found");
        let first = canister.begin(1, "0");
        canister.service().abort(first).unwrap();
        assert!(canister.try_begin(1, "one more").is_ok());
    });
}

#[test]
fn bytes_are_reserved_at_begin_and_released_at_the_end() {
    on_every_path(|mut canister| {
        let change_limits = |canister: &mut TestCanister, change: fn(&mut AdminConfig)| {
            let mut config = canister.storage.config().unwrap();
            change(&mut config);
            canister.storage.settings.set(&Config::checked(config).unwrap());
        };
        change_limits(&mut canister, |config| config.max_bytes_per_caller = 100);
        let id = canister.begin(60, "a");
        let full = canister.try_begin(60, "b").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes in flight per caller", 100, 120));
        canister.service().abort(id).unwrap();
        let file = file(60);
        let id = canister.begin(60, "b");
        canister.put(id, &file, 0).unwrap();
        canister.finish(id, &file).unwrap();
        change_limits(&mut canister, |config| config.max_bytes_per_capsule = 100);
        let full = canister.try_begin(60, "c").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes per capsule", 100, 120));
        change_limits(&mut canister, |config| {
            config.max_bytes_per_capsule = 1_000;
            config.max_bytes = 119;
        });
        let full = canister.try_begin(60, "c").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes in the canister", 119, 120));
        assert!(canister.try_begin(59, "c").is_ok());
    });
}

/// An upload that does not fit into the payload region leaves nothing: no extents, no session, no reserved bytes.
#[cfg(feature = "direct")]
#[test]
fn a_full_region_refuses_a_begin_and_allocates_nothing() {
    for mut canister in [TestCanister::extents(), TestCanister::extents().with_blake3()] {
        // The remaining region has room for a file of 100 bytes, but not for its chaining values as well.
        canister.storage.blobs.allocate(crate::blob::extents::REGION_BYTES - 128).unwrap();
        let before = (canister.live_counts(), canister.storage.usage.account_count());
        let begun = [canister.try_begin(100, "a"), canister.try_begin(200, "b")];
        let fits = canister.hash == HashAlgorithm::Sha256;
        assert_eq!(begun.each_ref().map(Result::is_ok), [fits, false], "{begun:?}");
        for refused in begun.iter().filter_map(|begun| begun.as_ref().err()) {
            assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
        }
        if fits {
            canister.service().abort(*begun[0].as_ref().unwrap()).unwrap();
        }
        assert_eq!((canister.live_counts(), canister.storage.usage.account_count()), before);

        let large = vec![1; 200];
        let too_large = small_file(&canister, &large, "c");
        let refused = canister.service().put_whole(too_large).unwrap_err();
        assert!(matches!(refused, Error::ResourceExhausted { .. }), "{refused}");
        assert_eq!((canister.live_counts(), canister.storage.usage.account_count()), before);
    }
}

/// If the next id is already taken by a session in flight (the test sets the counter back), the path refuses the begin,
/// and everything reserved for it is released.
#[test]
fn a_begin_that_its_path_refuses_reserves_nothing() {
    on_every_path(|mut canister| {
        let id = canister.begin(CHUNK, "a");
        let before = (canister.live_counts(), canister.storage.usage.total(), canister.storage.index.len());
        canister.storage.sessions.ids.continue_after(id - 1);
        canister.try_begin(CHUNK + 1, "b").unwrap_err();
        assert_eq!(
            (canister.live_counts(), canister.storage.usage.total(), canister.storage.index.len()),
            before
        );
    });
}

#[test]
fn a_caller_may_have_exactly_its_limit_in_flight() {
    on_every_path(|mut canister| {
        let config = AdminConfig { max_bytes_per_caller: 100, ..canister.storage.config().unwrap() };
        canister.storage.settings.set(&Config::checked(config).unwrap());
        canister.begin(60, "a");
        canister.begin(40, "b");
        let full = Error::exhausted("bytes in flight per caller", 100, 101);
        assert_eq!(canister.try_begin(1, "c"), Err(full));
    });
}

#[test]
fn the_largest_upload_is_accepted() {
    use crate::upload::begin::check_begin;
    use crate::upload::limits::{MAX_CHUNKS, MAX_UPLOAD_BYTES};
    assert_eq!(check_begin(&metadata(MAX_UPLOAD_BYTES), MAX_CHUNKS, "a"), Ok(()));
    let too_large = check_begin(&metadata(MAX_UPLOAD_BYTES + 1), MAX_CHUNKS + 1, "a");
    assert!(matches!(too_large, Err(Error::ResourceExhausted { .. })), "{too_large:?}");
}

#[test]
fn metadata_of_the_largest_size_is_accepted() {
    use crate::upload::check_metadata;
    use crate::upload::limits::{MAX_METADATA_BYTES, MAX_WORD_BYTES};
    let with_description = |description: usize| {
        let mut base = AssetMetadataBase::new("a.jpg", "image/jpeg", AssetType::Original, 1, 1);
        base.tags = vec!["x".repeat(MAX_WORD_BYTES); 32];
        base.description = Some("x".repeat(description));
        AssetMetadata::image(base)
    };
    // Any length will do whose prefix in CBOR is as long as that of the largest description: three bytes.
    let some_len = 1_000;
    let remaining = MAX_METADATA_BYTES - crate::stable::codec::encode(1, &with_description(some_len)).len();
    let [largest, too_large] =
        [0, 1].map(|more| check_metadata(&with_description(some_len + remaining + more)));
    assert_eq!(largest, Ok(()));
    assert!(too_large.unwrap_err().to_string().contains("asset_metadata"));
}

/// Releases before BLAKE3 stored fingerprints without the name of a hash function, so the fingerprint of a SHA-256
/// upload must not contain one either.
#[test]
fn a_fingerprint_names_no_function_for_sha_256() {
    let fingerprint = |hash| crate::upload::idempotency::Fingerprint::of(&metadata(7), 1, hash).0;
    let encoded = crate::stable::codec::encode(1, &metadata(7));
    let expected = |function: &[u8]| sha256(&[&1_u32.to_be_bytes()[..], &encoded, function].concat());
    assert_eq!(fingerprint(HashAlgorithm::Sha256).as_slice(), expected(b"").as_slice());
    assert_eq!(fingerprint(HashAlgorithm::Blake3).as_slice(), expected(b"Blake3").as_slice());
}

/// With a compat share of 50 %, the lower half of all keys is on the compat path; the key at exactly 50 % is not.
#[cfg(all(feature = "compat", feature = "direct"))]
#[test]
fn a_key_at_the_share_is_on_the_direct_path() {
    let mut canister = TestCanister::staged();
    set_share(&mut canister.storage, 50);
    let path_of = |first: u16| {
        let mut key = [0xff; 32];
        key[..2].copy_from_slice(&first.to_be_bytes());
        canister.path.for_new(&canister.storage, IdemKey(key)).unwrap()
    };
    assert_eq!([0x7fff, 0x8000].map(path_of), [SessionPath::Compat, SessionPath::Direct]);
}
