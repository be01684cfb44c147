//! Defects of authorisation.

use candid::Principal;
use pocket_ic::ErrorCode;
use session_migrate::build::Build;
use upload_canister::api::{AdminConfig, BlobRef, Capsule, CapsuleAccess, Error, Memory, PersonRef, Result};

use crate::support::upload::{NewMemory, file, metadata, sha256, two_chunks};
use crate::support::{InstalledCanister, controller, did, owner, reader, stranger, writer};

fn is_unauthorized<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    matches!(answer, Err(Error::Unauthorized { .. }))
}

/// Returns whether the answer is the one about what does not exist, which callers without access get, too.
fn is_not_found<T: std::fmt::Debug>(answer: Result<T>) -> bool {
    matches!(answer, Err(Error::NotFound { .. }))
}

/// Checks that these functions are not in the interface, and that the canister rejects calls of them.
fn assert_gone(canister: &InstalledCanister, methods: &[&str]) {
    let names = did::names(canister.build);
    for method in methods {
        assert!(!names.iter().any(|name| name == method), "{method} is in the interface");
        let arg = candid::encode_args(()).unwrap();
        for reject in [
            canister.update_bytes(controller(), method, arg.clone()).unwrap_err(),
            canister.query_bytes(controller(), method, arg).unwrap_err(),
        ] {
            assert_eq!(reject.error_code, ErrorCode::CanisterMethodNotFound, "{method}: {reject}");
        }
    }
}

/// Anybody could read any blob. Now every function that reads a blob requires read access to its capsule.
pub fn d13_anybody_could_read_any_blob(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[reader()]);
    let content = file(50, 1);
    let blob = canister.upload(owner(), &capsule, &content, "private").blob_id;
    for caller in [owner(), writer(), reader()] {
        assert_eq!(canister.read_back(caller, &blob), content);
        assert_eq!(canister.read_range(caller, &blob, 10, 5).unwrap(), content[10..15]);
    }
    for caller in [Principal::anonymous(), stranger(), controller()] {
        assert!(is_not_found(canister.blob_meta(caller, &blob)));
        assert!(is_not_found(canister.read_chunk(caller, &blob, 0)));
        assert!(is_not_found(canister.read_range(caller, &blob, 0, 1)));
    }
    canister.share(&capsule, &[], &[]);
    assert!(is_not_found(canister.read_chunk(reader(), &blob, 0)), "access may be revoked");
}

/// Anybody could list all sessions and clear them. These functions have been removed; callers can list only their own
/// sessions.
pub fn d14_anybody_could_list_and_clear_sessions(build: Build) {
    let canister = InstalledCanister::new(build);
    assert_gone(
        &canister,
        &[
            "sessions_clear_all",
            "sessions_cleanup_expired",
            "sessions_list",
            "sessions_stats",
            "clear_all_stable_memory",
            "get_canister_size_stats",
        ],
    );
    let capsule = canister.create_capsule();
    let session = canister.begin(owner(), &capsule, &file(5, 1), "mine").unwrap();
    let list = |caller: Principal| -> Vec<u64> {
        let listed: Result<Vec<upload_canister::api::UploadStatus>> =
            canister.query(caller, "uploads_list", (None::<u64>, None::<u32>));
        listed.unwrap().into_iter().map(|status| status.session).collect()
    };
    assert_eq!(list(owner()), [session]);
    for caller in [Principal::anonymous(), stranger(), controller()] {
        assert_eq!(list(caller), [0; 0]);
    }
}

/// A stranger's chunk was hashed before access was checked, and the owner's upload could never finish. Access
/// is checked first now.
pub fn d15_a_strangers_chunk_spoiled_the_owners_hash(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[reader()]);
    let content = two_chunks(1);
    let session = canister.begin(owner(), &capsule, &content, "mine").unwrap();
    let spoil = |idx: u32| {
        for caller in [Principal::anonymous(), stranger(), reader(), writer(), controller()] {
            assert!(is_not_found(canister.put(caller, session, idx, &two_chunks(2))), "{caller}");
        }
    };
    spoil(0);
    canister.put(owner(), session, 0, &content).unwrap();
    spoil(1);
    canister.put(owner(), session, 1, &content).unwrap();
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(canister.read_back(owner(), &result.blob_id), content);
}

/// A stranger's finish, with any hash, was refused, but only after it had destroyed the owner's hash state. Now such a
/// call changes nothing.
pub fn d16_a_strangers_finish_destroyed_the_session(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[reader()]);
    let content = file(70, 1);
    let session = canister.begin(owner(), &capsule, &content, "mine").unwrap();
    canister.put_all(owner(), session, &content);
    let before = (canister.holdings(), canister.status(owner(), session).unwrap());
    for caller in [Principal::anonymous(), stranger(), reader(), writer(), controller()] {
        assert!(is_not_found(canister.finish_with_digest(caller, session, &[0; 32], 70)));
        assert!(is_not_found(canister.finish(caller, session, &content)));
        assert!(is_not_found(canister.abort(caller, session)));
    }
    assert_eq!((canister.holdings(), canister.status(owner(), session).unwrap()), before);
    canister.finish(owner(), session, &content).unwrap();
}

/// A debugging function let anyone write any number of bytes under any key, even over committed blobs. No
/// such function exists now, in any build.
pub fn d17_anybody_could_write_into_stable_memory(build: Build) {
    let canister = InstalledCanister::new(build);
    assert_gone(&canister, &["debug_blob_write_canary", "debug_blob_read_canary", "_probe_inline_len"]);
    let names = did::names(build);
    assert!(!names.iter().any(|name| name.contains("debug") || name.contains("probe")), "{names:?}");
}

/// A debugging function committed any hash it was given, and another one stored chunks without hashing them. Now
/// neither function exists, and a blob's digest is always the hash of its bytes.
pub fn d18_a_debug_finish_took_any_hash(build: Build) {
    let canister = InstalledCanister::new(build);
    assert_gone(&canister, &["debug_finish_hex", "debug_put_chunk_b64", "debug_sha256"]);
    let capsule = canister.create_capsule();
    let content = file(33, 1);
    let session = canister.begin(owner(), &capsule, &content, "hashed").unwrap();
    canister.put_all(owner(), session, &content);
    let unrelated = canister.finish_with_digest(owner(), session, &[7; 32], 33);
    assert!(matches!(unrelated, Err(Error::ChecksumMismatch { .. })), "{unrelated:?}");
    let result = canister.finish(owner(), session, &content).unwrap();
    assert_eq!(result.checksum_sha256.unwrap().as_slice(), sha256(&content));
    let memory = canister.memory(owner(), &result.memory_id).unwrap();
    assert_eq!(memory.blob.hash.unwrap().as_slice(), sha256(&content));
}

/// A memory could be created with any locator, and deleting the memory freed the blob of that locator, regardless of
/// the blob's owner. Now a memory refers to a blob of its own capsule. Deleting a memory requires write access, and
/// frees its blob only if no other memory refers to that blob.
pub fn d19_a_memory_could_free_somebody_elses_blob(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[], &[reader()]);
    let theirs = canister.create_capsule_of(stranger());
    let content = file(60, 1);
    let first = canister.upload(owner(), &capsule, &content, "first");
    let second = canister.upload(owner(), &capsule, &content, "second");
    let attacker = canister.upload(stranger(), &theirs, &content, "the same content");
    assert_eq!(first.blob_id, second.blob_id, "stored once in a capsule");
    assert_ne!(first.blob_id, attacker.blob_id, "not shared across capsules");

    let victim_blob = canister.memory(owner(), &first.memory_id).unwrap().blob;
    let gone = BlobRef { locator: "blob_1".into(), ..victim_blob.clone() };
    let prefixed = BlobRef { locator: format!("x:{}", &victim_blob.locator[5..]), ..victim_blob.clone() };
    let before = canister.holdings();
    for blob in [&victim_blob, &gone, &prefixed] {
        let memory = NewMemory::blob(&theirs, blob, "over somebody else's blob");
        assert!(is_not_found(canister.create_memory(stranger(), memory)));
    }
    assert!(is_not_found(canister.update::<()>(stranger(), "blob_delete", (&victim_blob.locator,))));
    let shared = canister.update::<()>(owner(), "blob_delete", (&victim_blob.locator,));
    assert!(matches!(shared, Err(Error::Conflict { .. })), "{shared:?}");
    assert_eq!(canister.holdings(), before);

    let delete =
        |caller: Principal, memory: &str| canister.update::<()>(caller, "memories_delete", (memory,));
    assert!(is_not_found(delete(stranger(), &first.memory_id)));
    assert!(is_not_found(delete(Principal::anonymous(), &first.memory_id)));
    assert!(is_unauthorized(delete(reader(), &first.memory_id)));
    delete(stranger(), &attacker.memory_id).unwrap();
    canister.run_timers_until(|stats| stats.blobs == 1);
    assert_eq!(canister.read_back(owner(), &first.blob_id), content);

    delete(owner(), &first.memory_id).unwrap();
    canister.run_timers_until(|stats| stats.memories == 1);
    assert_eq!(canister.read_back(owner(), &second.blob_id), content, "the other memory still has the blob");
    delete(owner(), &second.memory_id).unwrap();
    canister.run_timers_until(|stats| (stats.chunks, stats.payload_bytes) == (0, 0));
    assert_eq!((canister.stats().blobs, canister.stats().bytes_in_use), (0, 0));
    assert!(is_not_found(canister.blob_meta(owner(), &second.blob_id)));
}

/// Write access was checked at begin only, so a session continued after its owner had lost the access. Now write
/// access is checked again at every chunk and at finish. Abort stays possible, since it only frees bytes.
pub fn d20_access_was_checked_at_begin_only(build: Build) {
    let canister = InstalledCanister::new(build);
    let capsule = canister.create_capsule();
    canister.share(&capsule, &[writer()], &[]);
    let content = two_chunks(1);
    let session = canister.begin(writer(), &capsule, &content, "mine").unwrap();
    let dropped = canister.begin(writer(), &capsule, &content, "dropped").unwrap();
    canister.put(writer(), session, 0, &content).unwrap();
    let before = canister.holdings();
    canister.share(&capsule, &[], &[writer()]);
    assert!(is_unauthorized(canister.put(writer(), session, 1, &content)));
    assert!(is_unauthorized(canister.begin(writer(), &capsule, &content, "mine")));
    canister.share(&capsule, &[writer()], &[]);
    canister.put(writer(), session, 1, &content).unwrap();
    canister.share(&capsule, &[], &[]);
    assert!(is_unauthorized(canister.finish(writer(), session, &content)));
    assert_eq!(canister.stats().memories, before.memories);
    canister.abort(writer(), dropped).unwrap();
    canister.share(&capsule, &[writer()], &[]);
    canister.finish(writer(), session, &content).unwrap();
}

/// Anonymous callers could create capsules, a capsule's subject could write but not upload, and the first caller became
/// the administrator. Now anonymous callers have no rights, even if a list contains them; subjects have the rights for
/// which they are listed, and the administrators are the controllers.
pub fn d21_anonymous_callers_subjects_and_first_callers_had_rights(build: Build) {
    let canister = InstalledCanister::new(build);
    let config = || canister.query::<AdminConfig>(stranger(), "admin_config_get", ());
    assert!(is_unauthorized(config()), "the first caller of all has no rights");
    let effective = canister.config();
    assert!(is_unauthorized(canister.update::<()>(stranger(), "admin_config_set", (effective,))));
    assert!(is_unauthorized(canister.update::<()>(owner(), "admin_config_set", (effective,))));

    let nobody = Principal::anonymous();
    let created = canister.update::<Capsule>(nobody, "capsules_create", (None::<PersonRef>,));
    assert!(is_unauthorized(created));
    let capsule = canister.create_capsule();
    let access = CapsuleAccess { owners: vec![owner()], writers: vec![nobody], readers: vec![nobody] };
    canister.update::<Capsule>(owner(), "capsules_set_access", (&capsule, access)).unwrap();
    let content = file(8, 1);
    let result = canister.upload(owner(), &capsule, &content, "mine");
    assert!(is_unauthorized(canister.begin(nobody, &capsule, &content, "anonymous")));
    assert!(is_unauthorized(canister.memories(nobody, &capsule, None, None)));
    assert!(is_not_found(canister.read_chunk(nobody, &result.blob_id, 0)));
    assert!(is_not_found(canister.memory(nobody, &result.memory_id)));

    let subject = stranger();
    let about: Capsule =
        canister.update(owner(), "capsules_create", (Some(PersonRef::Principal(subject)),)).unwrap();
    let memory = canister.upload(owner(), &about.id, &content, "about").memory_id;
    assert!(is_unauthorized(canister.begin(subject, &about.id, &content, "upload")));
    assert!(is_unauthorized(canister.memories(subject, &about.id, None, None)));
    assert!(is_not_found(canister.update::<Memory>(subject, "memories_update", (&memory, metadata(8)))));
    canister.share(&about.id, &[subject], &[]);
    canister.begin(subject, &about.id, &content, "upload").unwrap();
    canister.update::<Memory>(subject, "memories_update", (&memory, metadata(8))).unwrap();
}
