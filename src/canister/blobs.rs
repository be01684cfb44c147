//! The entry points of blobs.

use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use super::entry::{Replied, query, update, write_heads};
use super::{App, caller, streams, with_app};
use crate::api::*;
use crate::blob::BlobId;
use crate::capsule::Access;
use crate::memories;
use crate::storage::Storage;
use crate::upload::limits;

/// Returns the blob of a locator, if the caller may read a capsule that holds it.
fn readable_blob(storage: &Storage, locator: &str) -> Result<BlobId> {
    let missing = || Error::not_found("blob", locator);
    let id = BlobId::from_locator(locator).ok_or_else(missing)?;
    let capsule = storage.blobs.capsule_of(id).map_err(|_| missing())?;
    storage.capsules.authorize(caller(), Access::Read, &capsule).map_err(|_| missing())?;
    Ok(id)
}

/// Returns the size of a blob and the number of its chunks, for readers of a capsule that holds it.
#[apply(query)]
fn blob_get_meta(locator: String) -> Result<BlobMeta> {
    with_app(|App { storage, .. }| {
        let blob = storage.blobs.blob(readable_blob(storage, &locator)?)?;
        Ok(BlobMeta { size: blob.size, chunk_count: blob.chunk_count() })
    })
}

/// Replies with stored bytes, or with an error.
fn reply_stored(read: impl FnOnce(&Storage) -> Result<()>) {
    if let Err(error) = with_app(|App { storage, .. }| read(storage)) {
        streams::reply(&Result::<ByteBuf>::Err(error));
    }
}

/// Returns one chunk of a blob.
#[apply(query)]
fn blob_read_chunk(locator: String, idx: u32) -> Replied<Result<ByteBuf>> {
    reply_stored(|storage| {
        let id = readable_blob(storage, &locator)?;
        let blob = storage.blobs.blob(id)?;
        let (offset, len) = storage.blobs.chunk_range(id, &blob, idx)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    Replied::already()
}

/// Returns `len` bytes of a blob from `offset` on.
#[apply(query)]
fn blob_read_range(locator: String, offset: u64, len: u64) -> Replied<Result<ByteBuf>> {
    reply_stored(|storage| {
        let id = readable_blob(storage, &locator)?;
        if len > limits::MAX_RANGE_BYTES {
            return Err(Error::invalid("len", format!("at most {} bytes", limits::MAX_RANGE_BYTES), len));
        }
        let blob = storage.blobs.blob(id)?;
        storage.blobs.check_range(id, &blob, offset, len)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    Replied::already()
}

/// Deletes a blob with the one memory that it belongs to; a blob shared by several goes with the last of
/// them.
#[apply(update)]
fn blob_delete(locator: String) -> Result<()> {
    with_app(|App { storage, .. }| {
        let id = readable_blob(storage, &locator)?;
        memories::delete_blob(storage, caller(), id)
    })
}

/// Writes the Candid headers of these functions.
pub fn write_heads() -> std::result::Result<(), candid::Error> {
    write_heads!(blob_get_meta, blob_read_chunk, blob_read_range, blob_delete)
}
