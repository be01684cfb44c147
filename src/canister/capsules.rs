//! The entry points of capsules and memories.

use candid::Principal;
use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use super::app::{App, caller, controllers_only, now, page_limit, with_app};
use super::entry::{cache_candid_headers, query, update};
use crate::api::*;
use crate::capsule::Access;
use crate::capsule_creation;
use crate::memories::{self, NewContent};

/// Creates a capsule owned by the caller. Its subject is `subject`, or the caller if `subject` is absent. The setting
/// `capsule_makers` determines who may create capsules.
#[apply(update)]
fn capsules_create(subject: Option<PersonRef>) -> Result<Capsule> {
    with_app(|App { storage, .. }| capsule_creation::create_capsule(storage, caller(), subject, now()))
}

/// Returns who may create capsules if the setting `capsule_makers` is `Listed`. For controllers.
#[apply(query)]
fn admin_capsule_makers() -> Result<Vec<Principal>> {
    controllers_only()?;
    with_app(|App { storage, .. }| Ok(storage.capsule_maker_list.get()?))
}

/// Replaces the list of those who may create capsules, at most 1,000. For controllers.
#[apply(update)]
fn admin_capsule_makers_set(principals: Vec<Principal>) -> Result<()> {
    controllers_only()?;
    with_app(|App { storage, .. }| storage.capsule_maker_list.set(principals))
}

/// Returns a capsule, for its readers.
#[apply(query)]
fn capsules_read(capsule_id: String) -> Result<Capsule> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.authorize(caller(), Access::Read, &capsule_id)?.to_api(&capsule_id))
    })
}

/// Lists capsules that the caller may read, after the id `after`; at most 100, fewer if they are large. The
/// end of the list is an empty page.
#[apply(query)]
fn capsules_list(after: Option<String>, limit: Option<u32>) -> Result<Vec<Capsule>> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.list_capsules(caller(), after.as_deref(), page_limit(limit))?)
    })
}

/// Deletes a capsule. For its owners.
#[apply(update)]
fn capsules_delete(capsule_id: String) -> Result<()> {
    with_app(|App { storage, .. }| Ok(storage.capsules.delete(caller(), &capsule_id)?))
}

/// Sets who may own, write to and read a capsule.
#[apply(update)]
fn capsules_set_access(capsule_id: String, access: CapsuleAccess) -> Result<Capsule> {
    with_app(|App { storage, .. }| Ok(storage.capsules.set_access(caller(), &capsule_id, access)?))
}

/// Makes the blobs of a capsule readable by everyone, by locator (`blob_<number>`) and over HTTP, or only by
/// its readers. For its owners. Lists and metadata remain visible only to the readers.
#[apply(update)]
fn capsules_set_public(capsule_id: String, is_public: bool) -> Result<Capsule> {
    with_app(|App { storage, .. }| Ok(storage.capsules.set_public(caller(), &capsule_id, is_public)?))
}

/// Returns a memory, for readers of its capsule.
#[apply(query)]
fn memories_read(memory_id: String) -> Result<Memory> {
    with_app(|App { storage, .. }| Ok(storage.capsules.memory(caller(), &memory_id)?))
}

/// Lists memories of a capsule, after the id `after`; at most 100, fewer if they are large. The end of the
/// list is an empty page.
#[apply(query)]
fn memories_list(capsule_id: String, after: Option<String>, limit: Option<u32>) -> Result<Vec<Memory>> {
    with_app(|App { storage, .. }| {
        Ok(storage.capsules.list_memories(caller(), &capsule_id, after.as_deref(), page_limit(limit))?)
    })
}

/// Creates a memory from bytes that are small, already stored here, or stored elsewhere. The arguments and
/// their order are those of the first public release.
#[allow(clippy::too_many_arguments, reason = "the interface is older than this code")]
#[apply(update)]
fn memories_create(
    capsule_id: String,
    inline: Option<ByteBuf>,
    blob: Option<BlobRef>,
    backend: Option<StorageBackend>,
    storage_key: Option<String>,
    url: Option<String>,
    size: Option<u64>,
    sha256: Option<ByteBuf>,
    asset_metadata: AssetMetadata,
    idem: String,
) -> Result<String> {
    let size = size.unwrap_or(asset_metadata.base().bytes);
    let external = backend.map(|backend| (ExternalAsset { backend, storage_key, url }, size, sha256));
    let new = NewContent { inline, blob, external };
    with_app(|App { storage, .. }| {
        memories::create(storage, caller(), now(), capsule_id, new, asset_metadata, &idem)
    })
}

/// Replaces the metadata of a memory.
#[apply(update)]
fn memories_update(memory_id: String, asset_metadata: AssetMetadata) -> Result<Memory> {
    with_app(|App { storage, .. }| memories::update(storage, caller(), &memory_id, asset_metadata))
}

/// Deletes a memory, and its blob if nothing else refers to it.
#[apply(update)]
fn memories_delete(memory_id: String) -> Result<()> {
    with_app(|App { storage, .. }| memories::delete(storage, caller(), &memory_id))
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(
        admin_capsule_makers,
        admin_capsule_makers_set,
        capsules_create,
        capsules_read,
        capsules_list,
        capsules_delete,
        capsules_set_access,
        capsules_set_public,
        memories_read,
        memories_list,
        memories_create,
        memories_update,
        memories_delete
    )
}
