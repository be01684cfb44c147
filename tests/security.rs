//! Access control: one table of every function of the interface and six kinds of callers, on every build. A
//! function that is missing from the table fails the test.

use crate::support::calls::CALLS;
use crate::support::scene::Scene;
use crate::support::scrape::get_request;
use crate::support::upload::file;
use crate::support::{InstalledCanister, controller, did, owner, reader, stranger, writer};
use candid::{IDLArgs, IDLValue, Principal};
use session_migrate::build::Build;
use upload_canister::api::{Capsule, HttpResponse, UploadStatus};

/// The kind of answer that a caller gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    /// The caller has access: the call succeeds, or contradicts what is stored (`Conflict`).
    Yes,
    /// `Unauthorized`.
    No,
    /// `NotFound`: the caller does not even learn that the item exists.
    Unknown,
}

use Access::{No, Unknown, Yes};

/// Returns the callers, in the order of the table's columns.
fn callers() -> [(&'static str, Principal); 6] {
    [
        ("anonymous", Principal::anonymous()),
        ("stranger", stranger()),
        ("reader", reader()),
        ("writer", writer()),
        ("owner", owner()),
        ("controller", controller()),
    ]
}

const EVERYBODY: [Access; 6] = [Yes; 6];
const CONTROLLERS: [Access; 6] = [No, No, No, No, No, Yes];
/// A call about a capsule is refused in the same way whether the capsule exists or not, so the refusal reveals nothing.
const READERS: [Access; 6] = [No, No, Yes, Yes, Yes, No];
const WRITERS: [Access; 6] = [No, No, No, Yes, Yes, No];
const OWNERS: [Access; 6] = [No, No, No, No, Yes, No];
/// Blobs, memories and sessions do not exist for callers who may not read them.
const READERS_OF_THE_ITEM: [Access; 6] = [Unknown, Unknown, Yes, Yes, Yes, Unknown];
const WRITERS_OF_THE_ITEM: [Access; 6] = [Unknown, Unknown, No, Yes, Yes, Unknown];
const CLIENT_OF_THE_SESSION: [Access; 6] = [Unknown, Unknown, Unknown, Unknown, Yes, Unknown];

/// Every function and the answer to each caller. [`CALLS`] has the arguments.
#[rustfmt::skip]
const TABLE: &[(&str, [Access; 6])] = &[
    ("admin_canary_begin",   CONTROLLERS),
    ("admin_canary_report",  CONTROLLERS),
    ("admin_capsule_makers",     CONTROLLERS),
    ("admin_capsule_makers_set", CONTROLLERS),
    ("admin_config_get",     CONTROLLERS),
    ("admin_config_set",     CONTROLLERS),
    ("admin_errors",         CONTROLLERS),
    ("admin_stats",          CONTROLLERS),
    ("blob_access_token",    READERS_OF_THE_ITEM),
    ("blob_delete",          WRITERS_OF_THE_ITEM),
    ("blob_get_meta",        READERS_OF_THE_ITEM),
    ("blob_read_chunk",      READERS_OF_THE_ITEM),
    ("blob_read_range",      READERS_OF_THE_ITEM),
    ("build_info",           EVERYBODY),
    ("capsules_create",      [No, Yes, Yes, Yes, Yes, Yes]),
    ("capsules_delete",      OWNERS),
    ("capsules_list",        EVERYBODY),
    ("capsules_read",        READERS),
    ("capsules_set_access",  OWNERS),
    ("capsules_set_public",  OWNERS),
    ("downloads_begin",      READERS_OF_THE_ITEM),
    ("downloads_end",        CLIENT_OF_THE_SESSION),
    ("downloads_read_chunk", CLIENT_OF_THE_SESSION),
    ("downloads_status",     CLIENT_OF_THE_SESSION),
    ("http_request",         EVERYBODY),
    // The token alone determines access; there is no caller.
    ("http_request_streaming_callback", [Unknown; 6]),
    ("memories_create",      WRITERS),
    ("memories_delete",      WRITERS_OF_THE_ITEM),
    ("memories_list",        READERS),
    ("memories_read",        READERS_OF_THE_ITEM),
    ("memories_update",      WRITERS_OF_THE_ITEM),
    ("migration_dry_run",    CONTROLLERS),
    ("migration_finalize",   CONTROLLERS),
    ("migration_journal",    EVERYBODY),
    ("migration_pause",      CONTROLLERS),
    ("migration_quarantine", CONTROLLERS),
    ("migration_resume",     CONTROLLERS),
    ("migration_retry",      CONTROLLERS),
    ("migration_rollback",   CONTROLLERS),
    ("migration_status",     EVERYBODY),
    ("migration_verify",     CONTROLLERS),
    ("upload_config",        EVERYBODY),
    ("uploads_abort",        CLIENT_OF_THE_SESSION),
    ("uploads_begin",        WRITERS),
    ("uploads_chunk_digests", CLIENT_OF_THE_SESSION),
    ("uploads_finish",       CLIENT_OF_THE_SESSION),
    ("uploads_list",         EVERYBODY),
    ("uploads_put_chunk",    CLIENT_OF_THE_SESSION),
    ("uploads_put_many",     WRITERS),
    ("uploads_put_whole",    WRITERS),
    ("uploads_status",       CLIENT_OF_THE_SESSION),
];

/// Creates a scene whose session in flight has all its chunks.
fn scene_with_all_chunks(canister: &InstalledCanister) -> Scene {
    Scene::new(canister, file(7, 1), 1)
}

/// Classifies a reply of any type: by the name of its error, or as a success. The error is an unexpected error's text.
fn classify_reply(reply: &[u8]) -> std::result::Result<Access, String> {
    let values = IDLArgs::from_bytes(reply).map_err(|error| error.to_string())?.args;
    classify_values(&values)
}

/// Classifies decoded values. A reply with a list of answers, one for each file, has a single answer here; that answer
/// is classified.
fn classify_values(values: &[IDLValue]) -> std::result::Result<Access, String> {
    let [IDLValue::Variant(outer)] = values else { return Ok(Yes) };
    let is_named = |label: &candid::types::Label, name: &str| label.get_id() == candid::idl_hash(name);
    if !is_named(&outer.0.id, "Err") {
        return if let IDLValue::Vec(answers) = &outer.0.val { classify_values(answers) } else { Ok(Yes) };
    }
    match &outer.0.val {
        IDLValue::Variant(error) if is_named(&error.0.id, "Unauthorized") => Ok(No),
        IDLValue::Variant(error) if is_named(&error.0.id, "NotFound") => Ok(Unknown),
        IDLValue::Variant(error) if is_named(&error.0.id, "Conflict") => Ok(Yes),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn on_legacy() {
    check_every_function(Build::Legacy);
}

#[test]
fn on_staged() {
    check_every_function(Build::Staged);
}

#[test]
fn on_direct() {
    check_every_function(Build::Direct);
}

/// Calls every function as each of the callers, each time with a new scene.
fn check_every_function(build: Build) {
    let (_, functions) = did::functions(build);
    let in_table: Vec<&str> = TABLE.iter().map(|(name, _)| *name).collect();
    let with_calls: Vec<&str> = CALLS.iter().map(|(name, _)| *name).collect();
    let in_interface: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(in_table, in_interface, "the table has every function, in alphabetical order");
    assert_eq!(with_calls, in_interface, "`CALLS` has every function, in alphabetical order");

    let canister = InstalledCanister::new(build);
    let mut wrong = Vec::new();
    for (((name, function), (_, expected)), (_, arguments)) in functions.iter().zip(TABLE).zip(CALLS) {
        for ((who, caller), expected) in callers().into_iter().zip(expected) {
            let scene = scene_with_all_chunks(&canister);
            let arg = arguments(&scene);
            let before = (*expected != Yes).then(|| scene.state(&canister));
            let reply = canister.call(caller, (name, function), arg);
            let found = match reply {
                Ok(reply) => classify_reply(&reply),
                Err(reject) if reject.reject_message.ends_with("not found") => Ok(Unknown),
                Err(reject) => Err(reject.to_string()),
            };
            if found.as_ref() != Ok(expected) {
                wrong.push(format!("{name} by {who}: expected {expected:?}, found {found:?}"));
            }
            if before.is_some_and(|before| before != scene.state(&canister)) {
                wrong.push(format!("{name} by {who} was refused and changed something"));
            }
            // The sessions of this scene are ended, so that the limits allow those of the next one. They may have ended
            // already.
            let _ = canister.abort(owner(), scene.session);
            let _ = canister.update::<()>(owner(), "downloads_end", (scene.download,));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lists show only the caller's own items, and the gateway's pages name no one.
#[test]
fn lists_and_pages_reveal_nothing_about_others() {
    let canister = InstalledCanister::new(Build::Direct);
    let scene = scene_with_all_chunks(&canister);
    for (who, caller) in callers() {
        let sessions: Vec<UploadStatus> =
            canister.query(caller, "uploads_list", (None::<u64>, None::<u32>)).unwrap();
        assert_eq!(sessions.len(), usize::from(who == "owner"), "{who}");
        let capsules: Vec<Capsule> =
            canister.query(caller, "capsules_list", (None::<String>, None::<u32>)).unwrap();
        assert_eq!(capsules.len(), usize::from(["owner", "writer", "reader"].contains(&who)), "{who}");
    }
    for url in ["/metrics", "/health", "/", "/metrics?capsule=1", "/../metrics"] {
        let page: HttpResponse = canister.query_plain("http_request", (get_request(url),));
        let text = String::from_utf8(page.body.into_vec()).unwrap();
        for secret in [&owner().to_text(), &scene.capsule, &scene.memory.id, &scene.memory.blob.locator] {
            assert!(!text.contains(secret.as_str()), "{url} names {secret}");
        }
    }
}
