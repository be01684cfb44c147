//! Who may call what: one table of every function of the interface and six kinds of callers, on the legacy
//! build and on the direct build. A function that is missing from the table is a failed test.

#[path = "support/mod.rs"]
mod support;

use candid::{IDLArgs, IDLValue, Principal};
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use support::upload::{file, metadata, sha256};
use support::{World, controller, did, owner, reader, stranger, writer};
use upload_canister::api::*;

/// What a caller is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// The caller may: the call is carried out, or it contradicts what is there ([`Error::Conflict`]).
    Yes,
    /// [`Error::Unauthorized`].
    No,
    /// [`Error::NotFound`]: the caller is not even told that there is such a thing.
    Unknown,
}

use Answer::{No, Unknown, Yes};

/// The callers, in the order of the table's columns.
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

/// What a call is about: a capsule of the owner's, with a reader and a writer, a memory in it, and a complete
/// session of the owner's. And the settings in force.
struct Scene {
    capsule: String,
    memory: Memory,
    session: u64,
    content: Vec<u8>,
    settings: AdminConfig,
}

type Arguments = fn(&Scene) -> Vec<u8>;

macro_rules! args {
    ($($arg:expr),* $(,)?) => { candid::encode_args(($($arg,)*)).unwrap() };
}

const EVERYBODY: [Answer; 6] = [Yes; 6];
const CONTROLLERS: [Answer; 6] = [No, No, No, No, No, Yes];
/// Capsules are named in the call, so a refusal gives nothing away.
const READERS: [Answer; 6] = [No, No, Yes, Yes, Yes, No];
const WRITERS: [Answer; 6] = [No, No, No, Yes, Yes, No];
const OWNERS: [Answer; 6] = [No, No, No, No, Yes, No];
/// Blobs, memories and sessions of others are not known to those who may not read them.
const READERS_OF_THE_THING: [Answer; 6] = [Unknown, Unknown, Yes, Yes, Yes, Unknown];
const WRITERS_OF_THE_THING: [Answer; 6] = [Unknown, Unknown, No, Yes, Yes, Unknown];
const ITS_UPLOADER: [Answer; 6] = [Unknown, Unknown, Unknown, Unknown, Yes, Unknown];

/// Every function, how it is called, and what each caller is answered.
#[rustfmt::skip]
const TABLE: &[(&str, Arguments, [Answer; 6])] = &[
    ("admin_config_get",     |_| args!(),                                                      CONTROLLERS),
    ("admin_config_set",     |s| args!(s.settings),                                            CONTROLLERS),
    ("admin_stats",          |_| args!(),                                                      CONTROLLERS),
    ("blob_delete",          |s| args!(&s.memory.blob.locator),                                WRITERS_OF_THE_THING),
    ("blob_get_meta",        |s| args!(&s.memory.blob.locator),                                READERS_OF_THE_THING),
    ("blob_read_chunk",      |s| args!(&s.memory.blob.locator, 0u32),                          READERS_OF_THE_THING),
    ("blob_read_range",      |s| args!(&s.memory.blob.locator, 0u64, 1u64),                    READERS_OF_THE_THING),
    ("build_info",           |_| args!(),                                                      EVERYBODY),
    ("capsules_create",      |_| args!(None::<PersonRef>),                                     [No, Yes, Yes, Yes, Yes, Yes]),
    ("capsules_delete",      |s| args!(&s.capsule),                                            OWNERS),
    ("capsules_list",        |_| args!(None::<String>, None::<u32>),                           EVERYBODY),
    ("capsules_read",        |s| args!(&s.capsule),                                            READERS),
    ("capsules_set_access",  |s| args!(&s.capsule, access()),                                  OWNERS),
    ("http_request",         |_| args!(request("/health")),                                    EVERYBODY),
    ("memories_create",      new_memory,                                                       WRITERS),
    ("memories_delete",      |s| args!(&s.memory.id),                                          WRITERS_OF_THE_THING),
    ("memories_list",        |s| args!(&s.capsule, None::<String>, None::<u32>),               READERS),
    ("memories_read",        |s| args!(&s.memory.id),                                          READERS_OF_THE_THING),
    ("memories_update",      |s| args!(&s.memory.id, metadata(s.memory.blob.len)),              WRITERS_OF_THE_THING),
    ("migration_dry_run",    |_| args!(None::<u64>, None::<u32>),                              CONTROLLERS),
    ("migration_finalize",   |_| args!(),                                                      CONTROLLERS),
    ("migration_journal",    |_| args!(None::<u64>),                                           EVERYBODY),
    ("migration_pause",      |_| args!(),                                                      CONTROLLERS),
    ("migration_quarantine", |_| args!(None::<u64>),                                           CONTROLLERS),
    ("migration_resume",     |_| args!(),                                                      CONTROLLERS),
    ("migration_retry",      |_| args!(None::<u64>),                                           CONTROLLERS),
    ("migration_rollback",   |_| args!(),                                                      CONTROLLERS),
    ("migration_status",     |_| args!(),                                                      EVERYBODY),
    ("migration_verify",     |_| args!(),                                                      CONTROLLERS),
    ("upload_config",        |_| args!(),                                                      EVERYBODY),
    ("uploads_abort",        |s| args!(s.session),                                             ITS_UPLOADER),
    ("uploads_begin",        |s| args!(&s.capsule, metadata(1), 1u32, "a new one"),            WRITERS),
    ("uploads_finish",       finish,                                                           ITS_UPLOADER),
    ("uploads_list",         |_| args!(None::<u64>, None::<u32>),                              EVERYBODY),
    ("uploads_put_chunk",    put,                                                              ITS_UPLOADER),
    ("uploads_status",       |s| args!(s.session),                                             ITS_UPLOADER),
];

fn access() -> CapsuleAccess {
    CapsuleAccess { owners: vec![owner()], writers: vec![writer()], readers: vec![reader()] }
}

fn request(url: &str) -> HttpRequest {
    HttpRequest { method: "GET".into(), url: url.into(), headers: Vec::new(), body: ByteBuf::new() }
}

fn new_memory(scene: &Scene) -> Vec<u8> {
    let text = None::<String>;
    let (blob, backend, sha256) = (None::<BlobRef>, None::<StorageBackend>, None::<ByteBuf>);
    let bytes = Some(Bytes::new(b"inline"));
    args!(&scene.capsule, bytes, blob, backend, &text, &text, Some(6u64), sha256, metadata(6), "a memory")
}

fn put(scene: &Scene) -> Vec<u8> {
    args!(scene.session, 0u32, Bytes::new(&scene.content), None::<ByteBuf>)
}

fn finish(scene: &Scene) -> Vec<u8> {
    args!(scene.session, Bytes::new(&sha256(&scene.content)), scene.content.len() as u64)
}

fn scene(world: &World, seed: u64) -> Scene {
    let capsule = world.capsule();
    world.share(&capsule, &[writer()], &[reader()]);
    let memory = world.upload(owner(), &capsule, &file(5, seed), "stored").memory_id;
    let content = file(7, seed);
    let session = world.begin(owner(), &capsule, &content, "in flight").unwrap();
    world.put_all(owner(), session, &content);
    let settings = world.query(controller(), "admin_config_get", ()).unwrap();
    Scene { memory: world.memory(owner(), &memory).unwrap(), capsule, session, content, settings }
}

/// What a reply says, whatever its type: an error by its name, or that the call was carried out.
fn read(reply: &[u8]) -> std::result::Result<Answer, String> {
    let values = IDLArgs::from_bytes(reply).map_err(|error| error.to_string())?.args;
    let [IDLValue::Variant(outer)] = values.as_slice() else { return Ok(Yes) };
    let is = |label: &candid::types::Label, name: &str| label.get_id() == candid::idl_hash(name);
    if !is(&outer.0.id, "Err") {
        return Ok(Yes);
    }
    match &outer.0.val {
        IDLValue::Variant(error) if is(&error.0.id, "Unauthorized") => Ok(No),
        IDLValue::Variant(error) if is(&error.0.id, "NotFound") => Ok(Unknown),
        IDLValue::Variant(error) if is(&error.0.id, "Conflict") => Ok(Yes),
        other => Err(format!("{other:?}")),
    }
}

#[test]
fn on_legacy() {
    check(Build::Legacy);
}

#[test]
fn on_direct() {
    check(Build::Direct);
}

/// Calls every function as everybody, each time with everything made afresh.
fn check(build: Build) {
    let (_, functions) = did::functions(build);
    let in_table: Vec<&str> = TABLE.iter().map(|(name, _, _)| *name).collect();
    let in_interface: Vec<&str> = functions.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(in_table, in_interface, "the table has every function, in alphabetical order");

    let world = World::new(build);
    let mut wrong = Vec::new();
    for ((name, function), (_, arguments, expected)) in functions.iter().zip(TABLE) {
        for ((who, caller), expected) in callers().into_iter().zip(expected) {
            let scene = scene(&world, 1);
            let arg = arguments(&scene);
            let before = (*expected != Yes).then(|| snapshot(&world, &scene));
            let reply = if function.is_query() {
                world.query_bytes(caller, name, arg)
            } else {
                world.update_bytes(caller, name, arg)
            };
            let found = reply.map_err(|reject| reject.to_string()).and_then(|reply| read(&reply));
            if found.as_ref() != Ok(expected) {
                wrong.push(format!("{name} by {who}: expected {expected:?}, found {found:?}"));
            }
            if before.is_some_and(|before| before != snapshot(&world, &scene)) {
                wrong.push(format!("{name} by {who} was refused and changed something"));
            }
            // Room for the next scene's session; this one's may have ended already.
            let _ = world.abort(owner(), scene.session);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All that a call without the right to it could have changed.
fn snapshot(world: &World, scene: &Scene) -> (AdminStats, AdminConfig, Capsule, Memory, UploadStatus) {
    (
        world.stats(),
        world.query(controller(), "admin_config_get", ()).unwrap(),
        world.query(owner(), "capsules_read", (&scene.capsule,)).unwrap(),
        world.memory(owner(), &scene.memory.id).unwrap(),
        world.status(owner(), scene.session).unwrap(),
    )
}

/// Lists show one's own things and nobody else's, and the gateway's pages name nobody.
#[test]
fn lists_and_pages_give_nothing_away() {
    let world = World::new(Build::Direct);
    let scene = scene(&world, 1);
    for (who, caller) in callers() {
        let sessions: Vec<UploadStatus> =
            world.query(caller, "uploads_list", (None::<u64>, None::<u32>)).unwrap();
        assert_eq!(sessions.len(), usize::from(who == "owner"), "{who}");
        let capsules: Vec<Capsule> =
            world.query(caller, "capsules_list", (None::<String>, None::<u32>)).unwrap();
        assert_eq!(capsules.len(), usize::from(["owner", "writer", "reader"].contains(&who)), "{who}");
    }
    for url in ["/metrics", "/health", "/", "/metrics?capsule=1", "/../metrics"] {
        let page: HttpResponse = world.plain("http_request", (request(url),));
        let text = String::from_utf8(page.body.into_vec()).unwrap();
        for secret in [&owner().to_text(), &scene.capsule, &scene.memory.id, &scene.memory.blob.locator] {
            assert!(!text.contains(secret.as_str()), "{url} names {secret}");
        }
    }
}
