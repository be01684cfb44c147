//! Bad input, on the legacy build and on the direct build: each call gets an error that says what is wrong, and changes
//! nothing.

use crate::support::scene::{Scene, args};
use crate::support::upload::{CHUNK, file, metadata, sha256, two_chunks};
use crate::support::{InstalledCanister, controller, did, owner};
use candid::Principal;
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use upload_canister::api::*;

/// Length, in bytes, of huge arguments. They still fit into one message.
const HUGE: usize = 1_900_000;

/// Creates a scene whose session in flight has received the first of its two chunks.
fn scene_in_flight(canister: &InstalledCanister) -> Scene {
    Scene::new(canister, two_chunks(2), 1)
}

/// The variant of the expected error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ErrorKind {
    Unauthorized,
    NotFound,
    Conflict,
    Exhausted,
    /// The argument of this name is invalid.
    Invalid(&'static str),
}

use ErrorKind::{Conflict, Exhausted, Invalid, NotFound, Unauthorized};

impl ErrorKind {
    fn matches(self, error: &Error) -> bool {
        match error {
            Error::Unauthorized { .. } => self == Unauthorized,
            Error::NotFound { .. } => self == NotFound,
            Error::Conflict { .. } => self == Conflict,
            Error::ResourceExhausted { .. } => self == Exhausted,
            Error::InvalidArgument { field, .. } => matches!(self, Invalid(name) if name == field),
            _ => false,
        }
    }
}

/// One call: the function, what is wrong with the input, the caller, the arguments, and the expected error.
type Case = (&'static str, &'static str, Principal, Vec<u8>, ErrorKind);

#[test]
fn on_legacy() {
    check_every_case(Build::Legacy);
}

#[test]
fn on_direct() {
    check_every_case(Build::Direct);
}

/// Reports all wrong answers together. Stops at a call that changes something: all later ones would be wrong, too.
fn check_every_case(build: Build) {
    let canister = InstalledCanister::new(build);
    let scene = scene_in_flight(&canister);
    let (_, functions) = did::functions(build);
    let mut wrong = Vec::new();
    let before = scene.state(&canister);
    let cases = [
        begin_cases(&scene),
        put_cases(&scene),
        end_cases(&scene),
        read_cases(&scene),
        capsule_cases(&scene),
        memory_cases(&scene),
        admin_cases(&scene),
    ];
    for (method, what, caller, arg, kind) in cases.into_iter().flatten() {
        let (_, function) = functions.iter().find(|(name, _)| name == method).expect(method);
        let reply = canister.call(caller, (method, function), arg);
        match reply.map(|reply| error_of(&reply)) {
            Ok(Some(error)) if kind.matches(&error) => {}
            Ok(found) => wrong.push(format!("{method}, {what}: expected {kind:?}, found {}", short(&found))),
            Err(reject) => wrong.push(format!("{method}, {what}: rejected: {}", reject.reject_message)),
        }
        if scene.state(&canister) != before {
            wrong.push(format!("{method}, {what}: something changed: {:?}", scene.state(&canister)));
            break;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    scene.assert_alive(&canister);
}

fn short(found: &Option<Error>) -> String {
    format!("{found:?}").chars().take(300).collect()
}

/// Returns the error in a reply, whatever the type of its `Ok` is.
fn error_of(reply: &[u8]) -> Option<Error> {
    candid::decode_one::<Result<candid::Reserved>>(reply).unwrap().err()
}

/// Returns metadata of an empty file, made invalid by `change`.
fn invalid_metadata(change: impl FnOnce(&mut AssetMetadataBase)) -> AssetMetadata {
    let AssetMetadata::Document(mut document) = metadata(0) else {
        unreachable!("the metadata is not that of a document")
    };
    change(&mut document.base);
    AssetMetadata::Document(document)
}

fn begin_cases(scene: &Scene) -> Vec<Case> {
    let capsule = scene.capsule.as_str();
    let huge = "x".repeat(HUGE);
    let call =
        |capsule: &str, asset: AssetMetadata, chunks: u32, idem: &str| args!(capsule, asset, chunks, idem);
    let bytes = scene.content.len() as u64;
    let case = |what, arg, kind| ("uploads_begin", what, owner(), arg, kind);
    vec![
        case("no capsule id", call("", metadata(0), 0, "k"), Unauthorized),
        case("unknown capsule", call("capsule_999", metadata(0), 0, "k"), Unauthorized),
        case("huge capsule id", call(&huge, metadata(0), 0, "k"), Unauthorized),
        case("empty key", call(capsule, metadata(0), 0, ""), Invalid("idem")),
        case("huge key", call(capsule, metadata(0), 0, &huge), Invalid("idem")),
        case("no chunks", call(capsule, metadata(1), 0, "k"), Invalid("expected_chunks")),
        case("too many chunks", call(capsule, metadata(1), u32::MAX, "k"), Invalid("expected_chunks")),
        case("one chunk for an empty file", call(capsule, metadata(0), 1, "k"), Invalid("expected_chunks")),
        case("largest size", call(capsule, metadata(u64::MAX), u32::MAX, "k"), Exhausted),
        case("largest size, no chunks", call(capsule, metadata(u64::MAX), 0, "k"), Exhausted),
        case("key of another file", call(capsule, metadata(bytes + 1), 2, "in flight"), Conflict),
        case("key of a finished file", call(capsule, metadata(6), 1, "stored"), Conflict),
        case(
            "huge name",
            call(capsule, invalid_metadata(|base| base.name = huge.clone()), 0, "k"),
            Invalid("asset_metadata.name"),
        ),
        case(
            "many tags",
            call(capsule, invalid_metadata(|base| base.tags = vec!["t".into(); 100_000]), 0, "k"),
            Invalid("asset_metadata.tags"),
        ),
        case(
            "short digest",
            call(capsule, invalid_metadata(|base| base.sha256 = Some(ByteBuf::from([1]))), 0, "k"),
            Invalid("asset_metadata.sha256"),
        ),
    ]
}

fn put_cases(scene: &Scene) -> Vec<Case> {
    let (session, first, second) = (scene.session, &scene.content[..CHUNK], &scene.content[CHUNK..]);
    let call = |session: u64, idx: u32, bytes: &[u8], sha256: Option<&[u8]>| {
        args!(session, idx, Bytes::new(bytes), sha256.map(Bytes::new))
    };
    let case = |what, arg, kind| ("uploads_put_chunk", what, owner(), arg, kind);
    vec![
        case("session 0", call(0, 0, b"", None), NotFound),
        case("unknown session", call(u64::MAX, 0, first, None), NotFound),
        case("finished session", call(scene.finished, 0, b"12345", None), Conflict),
        case("chunk beyond the end", call(session, 2, b"", None), Invalid("idx")),
        case("last chunk number", call(session, u32::MAX, first, None), Invalid("idx")),
        case("no bytes", call(session, 1, b"", None), Invalid("chunk")),
        case("one byte too few", call(session, 1, &second[1..], None), Invalid("chunk")),
        case("a whole chunk for a short one", call(session, 1, first, None), Invalid("chunk")),
        case("more than a chunk", call(session, 0, &file(HUGE, 1), None), Invalid("chunk")),
        case("other bytes", call(session, 0, &file(CHUNK, 9), None), Conflict),
        case("empty digest", call(session, 1, second, Some(b"")), Invalid("sha256")),
        case("long digest", call(session, 1, second, Some(&file(100_000, 1))), Invalid("sha256")),
    ]
}

fn end_cases(scene: &Scene) -> Vec<Case> {
    let session = scene.session;
    let (right, bytes) = (sha256(&scene.content), scene.content.len() as u64);
    let finish = |session: u64, digest: &[u8], total: u64| args!(session, Bytes::new(digest), total);
    let case = |method, what, arg, kind| (method, what, owner(), arg, kind);
    vec![
        case("uploads_finish", "unknown session", finish(u64::MAX, &right, bytes), NotFound),
        case("uploads_finish", "session 0", finish(0, b"", 0), NotFound),
        case("uploads_finish", "empty digest", finish(session, b"", bytes), Invalid("digest")),
        case("uploads_finish", "huge digest", finish(session, &file(HUGE, 1), bytes), Invalid("digest")),
        case("uploads_finish", "no bytes", finish(session, &right, 0), Invalid("total_len")),
        case("uploads_finish", "largest length", finish(session, &right, u64::MAX), Invalid("total_len")),
        case("uploads_finish", "finished with another digest", finish(scene.finished, &right, 5), Conflict),
        case("uploads_finish", "finished with a short digest", finish(scene.finished, b"", 5), Conflict),
        case(
            "uploads_finish",
            "finished with another size",
            finish(scene.finished, &sha256(&file(5, 1)), u64::MAX),
            Conflict,
        ),
        case("uploads_abort", "unknown session", args!(u64::MAX), NotFound),
        case("uploads_abort", "finished session", args!(scene.finished), Conflict),
        case("uploads_status", "unknown session", args!(u64::MAX), NotFound),
        case("uploads_status", "session 0", args!(0u64), NotFound),
    ]
}

fn read_cases(scene: &Scene) -> Vec<Case> {
    let blob = scene.memory.blob.locator.as_str();
    let huge = "9".repeat(HUGE);
    let case = |method, what, arg, kind| (method, what, owner(), arg, kind);
    let mut cases = vec![
        case("blob_read_chunk", "last chunk number", args!(blob, u32::MAX), Invalid("idx")),
        case("blob_read_range", "largest length", args!(blob, 0u64, u64::MAX), Invalid("len")),
        case("blob_read_range", "largest offset", args!(blob, u64::MAX, 1u64), Invalid("range")),
        case("blob_read_range", "one byte too many", args!(blob, 0u64, 6u64), Invalid("range")),
        case("blob_access_token", "no time", args!(blob, Some(0u32)), Invalid("seconds")),
        case("blob_access_token", "too much time", args!(blob, Some(u32::MAX)), Invalid("seconds")),
        case("downloads_read_chunk", "last chunk number", args!(scene.download, u32::MAX), Invalid("idx")),
    ];
    for unknown in [0, u64::MAX, scene.session, scene.finished] {
        cases.extend([
            case("downloads_read_chunk", "unknown session", args!(unknown, 0u32), NotFound),
            case("downloads_status", "unknown session", args!(unknown), NotFound),
            case("downloads_end", "unknown session", args!(unknown), NotFound),
        ]);
    }
    let signed = format!("blob_+{}", &blob[5..]);
    let padded = format!("blob_0{}", &blob[5..]);
    for locator in ["", "blob_", &blob[5..], &signed, &padded, "blob_-1", "blob_18446744073709551616", &huge]
    {
        cases.extend([
            case("blob_get_meta", "bad locator", args!(locator), NotFound),
            case("blob_read_chunk", "bad locator", args!(locator, 0u32), NotFound),
            case("blob_read_range", "bad locator", args!(locator, 0u64, u64::MAX), NotFound),
            case("blob_delete", "bad locator", args!(locator), NotFound),
            case("blob_access_token", "bad locator", args!(locator, Some(0u32)), NotFound),
            case("downloads_begin", "bad locator", args!(locator), NotFound),
        ]);
    }
    cases
}

fn capsule_cases(scene: &Scene) -> Vec<Case> {
    let capsule = scene.capsule.as_str();
    let huge = "x".repeat(HUGE);
    let access = |owners: Vec<Principal>, writers: usize| CapsuleAccess {
        owners,
        writers: vec![Principal::management_canister(); writers],
        readers: Vec::new(),
    };
    let case = |method, what, arg, kind| (method, what, owner(), arg, kind);
    let set = |what, arg, kind| case("capsules_set_access", what, arg, kind);
    let mut cases = vec![
        set("no owner", args!(capsule, access(vec![], 0)), Invalid("owners")),
        set("anonymous owner", args!(capsule, access(vec![Principal::anonymous()], 0)), Invalid("owners")),
        set("a long list", args!(capsule, access(vec![owner()], 100_000)), Invalid("writers")),
        case(
            "capsules_create",
            "huge subject",
            args!(Some(PersonRef::Opaque(huge.clone()))),
            Invalid("subject"),
        ),
    ];
    for id in ["", "capsule_0", "capsule_18446744073709551616", &huge] {
        cases.extend([
            case("capsules_read", "unknown id", args!(id), Unauthorized),
            case("capsules_delete", "unknown id", args!(id), Unauthorized),
            case("capsules_set_public", "unknown id", args!(id, true), Unauthorized),
            set("unknown id", args!(id, access(vec![owner()], 0)), Unauthorized),
            case("memories_list", "unknown id", args!(id, None::<String>, None::<u32>), Unauthorized),
        ]);
    }
    cases
}

fn memory_cases(scene: &Scene) -> Vec<Case> {
    let huge = "x".repeat(HUGE);
    let case = |method, what, arg, kind| (method, what, owner(), arg, kind);
    let create = |inline: Option<&[u8]>, blob: Option<BlobRef>, url: Option<&str>, bytes: u64, idem: &str| {
        let backend = url.map(|_| StorageBackend::S3);
        let inline = inline.map(Bytes::new);
        let (key, digest) = (None::<String>, None::<ByteBuf>);
        args!(&scene.capsule, inline, blob, backend, key, url, Some(bytes), digest, metadata(bytes), idem)
    };
    let new = |what, arg, kind| case("memories_create", what, arg, kind);
    let stored = scene.memory.blob.clone();
    let blob =
        |locator: &str, len: u64| Some(BlobRef { locator: locator.into(), len, hash: None, blake3: None });
    let mut cases = vec![
        new("nothing", create(None, None, None, 0, "k"), Invalid("content")),
        new(
            "inline and a blob",
            create(Some(b"12345"), Some(stored.clone()), None, 5, "k"),
            Invalid("content"),
        ),
        new("huge inline", create(Some(&file(HUGE, 1)), None, None, HUGE as u64, "k"), Invalid("inline")),
        new(
            "inline of another size",
            create(Some(b"1"), None, None, u64::MAX, "k"),
            Invalid("asset_metadata.bytes"),
        ),
        new("empty key", create(Some(b"1"), None, None, 1, ""), Invalid("idem")),
        new("huge key", create(Some(b"1"), None, None, 1, &huge), Invalid("idem")),
        new("unknown blob", create(None, blob("blob_1", 5), None, 5, "k"), NotFound),
        new("empty locator", create(None, blob("", 5), None, 5, "k"), NotFound),
        new(
            "blob of another size",
            create(None, blob(&stored.locator, u64::MAX), None, 5, "k"),
            Invalid("blob_ref.len"),
        ),
        new("huge address", create(None, None, Some(&huge), 1, "k"), Invalid("url")),
        case(
            "memories_update",
            "another size",
            args!(&scene.memory.id, metadata(u64::MAX)),
            Invalid("asset_metadata.bytes"),
        ),
        case(
            "memories_update",
            "huge name",
            args!(&scene.memory.id, invalid_metadata(|base| base.name = huge.clone())),
            Invalid("asset_metadata.name"),
        ),
    ];
    for id in ["", "mem_1", &huge] {
        cases.extend([
            case("memories_read", "unknown id", args!(id), NotFound),
            case("memories_delete", "unknown id", args!(id), NotFound),
            case("memories_update", "unknown id", args!(id, metadata(5)), NotFound),
        ]);
    }
    cases
}

fn admin_cases(scene: &Scene) -> Vec<Case> {
    let effective = scene.settings;
    let case =
        |what, config: AdminConfig, kind| ("admin_config_set", what, controller(), args!(config), kind);
    let share = |percent| AdminConfig { compat_share_percent: percent, ..effective };
    let ttl = |seconds| AdminConfig { session_ttl_seconds: seconds, ..effective };
    let age = |seconds| AdminConfig { max_session_age_seconds: Some(seconds), ..effective };
    let promised = |percent| AdminConfig { max_promised_percent: Some(percent), ..effective };
    let bytes = |bytes| AdminConfig { max_bytes: bytes, ..effective };
    vec![
        case("an age below the time to live", age(60), Invalid("max_session_age_seconds")),
        case("largest age", age(u64::MAX), Invalid("max_session_age_seconds")),
        case("more than 100 percent promised", promised(101), Invalid("max_promised_percent")),
        case("nothing promised", promised(0), Invalid("max_promised_percent")),
        case("no bytes", bytes(0), Invalid("max_bytes")),
        case("a share above 100", share(101), Invalid("compat_share_percent")),
        case("a share in between", share(50), Invalid("compat_share_percent")),
        case("largest share", share(u8::MAX), Invalid("compat_share_percent")),
        case("no time to live", ttl(0), Invalid("session_ttl_seconds")),
        case("largest time to live", ttl(u64::MAX), Invalid("session_ttl_seconds")),
    ]
}
