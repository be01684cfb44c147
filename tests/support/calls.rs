//! Arguments that decode, for every function of the interface, about the items of a scene. Some send the scene's
//! content as one chunk; if the content is longer than a chunk, these calls are refused.

use serde_bytes::{ByteBuf, Bytes};
use upload_canister::api::*;

use super::scene::{Scene, args};
use super::scrape::get_request;
use super::upload::{metadata, sha256};
use super::{owner, reader, writer};

pub type Arguments = fn(&Scene) -> Vec<u8>;

/// Every function of the interface with its encoded arguments, in alphabetical order.
#[rustfmt::skip]
pub const CALLS: &[(&str, Arguments)] = &[
    ("admin_canary_begin",   |_| args!()),
    ("admin_canary_report",  |_| args!(None::<u8>)),
    ("admin_capsule_makers",     |_| args!()),
    ("admin_capsule_makers_set", |_| args!(vec![owner()])),
    ("admin_config_get",     |_| args!()),
    ("admin_config_set",     |s| args!(s.settings)),
    ("admin_errors",         |_| args!()),
    ("admin_stats",          |_| args!()),
    ("blob_access_token",    |s| args!(&s.memory.blob.locator, None::<u32>)),
    ("blob_delete",          |s| args!(&s.memory.blob.locator)),
    ("blob_get_meta",        |s| args!(&s.memory.blob.locator)),
    ("blob_read_chunk",      |s| args!(&s.memory.blob.locator, 0u32)),
    ("blob_read_range",      |s| args!(&s.memory.blob.locator, 0u64, 1u64)),
    ("build_info",           |_| args!()),
    ("capsules_create",      |_| args!(None::<PersonRef>)),
    ("capsules_delete",      |s| args!(&s.capsule)),
    ("capsules_list",        |_| args!(None::<String>, None::<u32>)),
    ("capsules_read",        |s| args!(&s.capsule)),
    ("capsules_set_access",  |s| args!(&s.capsule, access())),
    ("capsules_set_public",  |s| args!(&s.capsule, false)),
    ("downloads_begin",      |s| args!(&s.memory.blob.locator)),
    ("downloads_end",        |s| args!(s.download)),
    ("downloads_read_chunk", |s| args!(s.download, 0u32)),
    ("downloads_status",     |s| args!(s.download)),
    ("http_request",         |_| args!(get_request("/health"))),
    ("http_request_streaming_callback", streaming_token),
    ("memories_create",      new_memory),
    ("memories_delete",      |s| args!(&s.memory.id)),
    ("memories_list",        |s| args!(&s.capsule, None::<String>, None::<u32>)),
    ("memories_read",        |s| args!(&s.memory.id)),
    ("memories_update",      |s| args!(&s.memory.id, metadata(s.memory.blob.len))),
    ("migration_dry_run",    |_| args!(None::<u64>, None::<u32>)),
    ("migration_finalize",   |_| args!()),
    ("migration_journal",    |_| args!(None::<u64>)),
    ("migration_pause",      |_| args!()),
    ("migration_quarantine", |_| args!(None::<u64>)),
    ("migration_resume",     |_| args!()),
    ("migration_retry",      |_| args!(None::<u64>)),
    ("migration_rollback",   |_| args!()),
    ("migration_status",     |_| args!()),
    ("migration_verify",     |_| args!()),
    ("upload_config",        |_| args!()),
    ("uploads_abort",        |s| args!(s.session)),
    ("uploads_begin",        |s| args!(&s.capsule, metadata(1), 1u32, "a new one")),
    ("uploads_chunk_digests", |s| args!(s.session, None::<u32>, None::<u32>)),
    ("uploads_finish",       finish),
    ("uploads_list",         |_| args!(None::<u64>, None::<u32>)),
    ("uploads_put_chunk",    put),
    ("uploads_put_many",     |s| args!(vec![small(s)])),
    ("uploads_put_whole",    |s| args!(small(s))),
    ("uploads_status",       |s| args!(s.session)),
];

fn streaming_token(scene: &Scene) -> Vec<u8> {
    args!(StreamingToken { locator: scene.memory.blob.locator.clone(), access: None, offset: 0, end: 1 })
}

fn access() -> CapsuleAccess {
    CapsuleAccess { owners: vec![owner()], writers: vec![writer()], readers: vec![reader()] }
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

fn small(scene: &Scene) -> SmallFile<'_> {
    SmallFile {
        capsule_id: scene.capsule.clone(),
        asset_metadata: metadata(scene.content.len() as u64),
        idem: "a whole one".into(),
        bytes: Bytes::new(&scene.content),
        digest: ByteBuf::from(sha256(&scene.content)),
        hash: None,
    }
}
