//! Files that fit a message, uploaded in one call.

use super::*;

#[test]
fn a_file_that_fits_a_message_takes_one_call() {
    on_every_path(|mut canister| {
        for file in [file(0), file(1), file(1024), file(CHUNK)] {
            let small = small_file(&canister, &file, &file.len().to_string());
            let result = canister.service().put_whole(small.clone()).unwrap();
            assert_eq!(read_back(&canister, &result.blob_id), file);
            assert_eq!(canister.checksum(&result), Some(small.digest.clone()));
            assert_eq!(
                canister.service().put_whole(small.clone()).unwrap(),
                result,
                "the same call again returns the same result"
            );
            let chunks = u32::from(!file.is_empty());
            let hash = canister.hash;
            let begun = canister.service().begin(
                small.capsule_id.clone(),
                small.asset_metadata.clone(),
                chunks,
                small.idem.clone(),
                hash,
            );
            let finished = canister.finish(begun.unwrap(), &file).unwrap();
            assert_eq!(finished, result, "begin and finish return the result of the one call");
        }
        assert_eq!(canister.storage.capsules.memory_total(), 4);
    });
}

#[test]
fn a_whole_file_that_is_refused_leaves_nothing() {
    on_every_path(|mut canister| {
        let file = file(100);
        let good = small_file(&canister, &file, "a");
        let before = canister.live_counts();
        let too_long = vec![0; CHUNK + 1];
        let refused = [
            SmallFile { digest: ByteBuf::from([1; 32]), ..good.clone() },
            SmallFile { digest: ByteBuf::from([1; 31]), ..good.clone() },
            SmallFile { bytes: Bytes::new(&file[1..]), ..good.clone() },
            SmallFile { idem: String::new(), ..good.clone() },
            SmallFile { capsule_id: "capsule_99".into(), ..good.clone() },
            small_file(&canister, &too_long, "b"),
        ];
        let answers = canister.service().put_many(refused.to_vec()).unwrap();
        assert!(answers.iter().all(std::result::Result::is_err), "{answers:?}");
        let stranger = canister.as_person(2).put_whole(good.clone());
        assert!(matches!(stranger, Err(Error::Unauthorized { .. })));
        assert_eq!(canister.live_counts(), before);
        assert_eq!(canister.storage.usage.account_count(), 0);

        let session = canister.begin(file.len(), "a");
        let in_flight = canister.service().put_whole(good.clone()).unwrap_err();
        assert!(matches!(in_flight, Error::Conflict { .. }), "{in_flight}");
        canister.service().abort(session).unwrap();
        let other = SmallFile { idem: "c".into(), ..good.clone() };
        assert!(canister.service().put_whole(other.clone()).is_ok());
        let changed = SmallFile { asset_metadata: metadata(99), bytes: Bytes::new(&file[..99]), ..other };
        assert!(matches!(canister.service().put_whole(changed), Err(Error::Conflict { .. })));
        let mut many = vec![good; super::limits::MAX_FILES_PER_CALL + 1];
        assert!(matches!(canister.service().put_many(many.clone()), Err(Error::InvalidArgument { .. })));
        many.pop();
        assert_eq!(canister.service().put_many(many.clone()).unwrap().len(), many.len());
    });
}

#[test]
fn the_limits_of_bytes_and_memories_apply_to_a_whole_file() {
    type Change = fn(&mut AdminConfig);
    let limits: [(&str, Change, Error); 4] = [
        (
            "memories",
            |config| config.max_memories_per_capsule = Some(1),
            Error::exhausted("memories per capsule", 1, 2),
        ),
        (
            "caller",
            |config| config.max_bytes_per_caller = 149,
            Error::exhausted("bytes in flight per caller", 149, 150),
        ),
        (
            "capsule",
            |config| config.max_bytes_per_capsule = 249,
            Error::exhausted("bytes per capsule", 249, 250),
        ),
        ("canister", |config| config.max_bytes = 249, Error::exhausted("bytes in the canister", 249, 250)),
    ];
    for (what, change, expected) in limits {
        on_every_path(|mut canister| {
            let file = file(100);
            let stored = small_file(&canister, &file, "stored");
            canister.service().put_whole(stored.clone()).unwrap();
            let in_flight = canister.begin(50, "in flight");
            let mut config = canister.storage.config().unwrap();
            change(&mut config);
            canister.storage.settings.set(&Config::checked(config).unwrap());
            let before = (
                canister.live_counts(),
                canister.storage.usage.total(),
                canister.storage.capsules.memory_total(),
            );
            let other = vec![7; 100];
            let file = small_file(&canister, &other, "a");
            assert_eq!(canister.service().put_whole(file.clone()), Err(expected.clone()), "{what}");
            let many = canister.service().put_many(vec![file, stored.clone()]).unwrap();
            assert_eq!(many[0], Err(expected.clone()), "{what}, one of many");
            assert!(many[1].is_ok(), "{what}: a file stored before gets the same answer again");
            let after = (
                canister.live_counts(),
                canister.storage.usage.total(),
                canister.storage.capsules.memory_total(),
            );
            assert_eq!(after, before, "{what}");
            canister.service().abort(in_flight).unwrap();
        });
    }
}

/// The records of capsules are cached during a call. They must be stored, in whatever order the files name the
/// capsules.
#[test]
fn many_files_are_counted_in_each_of_their_capsules() {
    on_every_path(|mut canister| {
        let owner = canister.service().caller;
        let first = canister.capsule.clone();
        let other = canister.storage.capsules.create(owner, None, canister.now).unwrap().id;
        let contents: Vec<Vec<u8>> = (1..=5).map(file).collect();
        let one = |n: usize, capsule: &str| SmallFile {
            capsule_id: capsule.to_owned(),
            ..small_file(&canister, &contents[n], &n.to_string())
        };
        let files =
            vec![one(0, &first), one(1, &other), one(2, "capsule_99"), one(3, &first), one(4, &other)];
        let answers = canister.service().put_many(files).unwrap();
        let are_accepted: Vec<bool> = answers.iter().map(std::result::Result::is_ok).collect();
        assert_eq!(are_accepted, [true, true, false, true, true]);
        canister.upgrade();
        for capsule in [&first, &other] {
            let record =
                canister.storage.capsules.authorize(owner, crate::capsule::Access::Read, capsule).unwrap();
            let listed = canister.storage.capsules.list_memories(owner, capsule, None, 10).unwrap();
            assert_eq!((record.memory_count, listed.len()), (2, 2), "{capsule}");
        }
    });
}

#[test]
fn a_whole_file_is_stored_where_an_upload_would_be() {
    on_every_path(|mut canister| {
        for bytes in [1, CHUNK] {
            let before = canister.live_counts();
            let file = file(bytes);
            let one = small_file(&canister, &file, &bytes.to_string());
            canister.service().put_whole(one).unwrap();
            let [.., chunks, taken] = canister.live_counts();
            assert_eq!([chunks - before[3], taken - before[4]], canister.committed_size(bytes));
        }
    });
}

/// The damage, to the index entry of the file's content, is noticed only after the bytes of the file have been stored.
#[test]
fn a_whole_file_whose_commit_is_refused_leaves_nothing() {
    on_every_path(|mut canister| {
        let file = file(100);
        let stored = small_file(&canister, &file, "stored");
        canister.service().put_whole(stored).unwrap();
        content::damage_content_entry(&canister, &file);
        let counts = |canister: &TestCanister| {
            (canister.live_counts(), canister.storage.usage.total(), canister.storage.capsules.memory_total())
        };
        let before = counts(&canister);
        for idem in ["again", "and again"] {
            let again = small_file(&canister, &file, idem);
            let refused = canister.service().put_whole(again).unwrap_err();
            assert!(matches!(refused, Error::Internal(_)), "{refused}");
            assert_eq!(counts(&canister), before);
        }
    });
}
