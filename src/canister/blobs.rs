//! The entry points of blobs.

use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use super::app::{App, caller, now, with_app};
use super::entry::{Replied, cache_candid_headers, query, update};
use super::streams;
use crate::api::*;
use crate::blob_access;
use crate::memories;
use crate::storage::Storage;
use crate::upload::limits;

/// Returns the size of a blob and the number of its chunks, for readers of a capsule that holds it.
#[apply(query)]
fn blob_get_meta(locator: String) -> Result<BlobMeta> {
    with_app(|App { storage, .. }| {
        let blob = storage.blobs.blob(blob_access::find_readable(storage, caller(), &locator)?)?;
        Ok(BlobMeta { size: blob.size, chunk_count: blob.chunk_count() })
    })
}

/// Runs `read`, which must send the reply itself; if it fails, replies with its error.
fn reply_by(read: impl FnOnce(&Storage) -> Result<()>) {
    if let Err(error) = with_app(|App { storage, .. }| read(storage)) {
        streams::reply(&Result::<ByteBuf>::Err(error));
    }
}

/// Returns one chunk of a blob.
#[apply(query)]
fn blob_read_chunk(locator: String, idx: u32) -> Replied<Result<ByteBuf>> {
    reply_by(|storage| {
        let id = blob_access::find_readable(storage, caller(), &locator)?;
        let blob = storage.blobs.blob(id)?;
        let (offset, len) = storage.blobs.chunk_range(id, &blob, idx)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    Replied::already()
}

/// Returns `len` bytes of a blob, starting at `offset`.
#[apply(query)]
fn blob_read_range(locator: String, offset: u64, len: u64) -> Replied<Result<ByteBuf>> {
    reply_by(|storage| {
        let id = blob_access::find_readable(storage, caller(), &locator)?;
        if len > limits::MAX_RANGE_BYTES {
            return Err(Error::invalid("len", format!("at most {} bytes", limits::MAX_RANGE_BYTES), len));
        }
        let blob = storage.blobs.blob(id)?;
        storage.blobs.check_range(id, &blob, offset, len)?;
        streams::reply_stored(&storage.blobs, &blob.place, offset, len)
    });
    Replied::already()
}

/// Deletes a blob together with the only memory that refers to it; a blob that several memories share is
/// deleted with the last of them.
#[apply(update)]
fn blob_delete(locator: String) -> Result<()> {
    with_app(|App { storage, .. }| {
        let id = blob_access::find_as_member(storage, caller(), &locator)?;
        memories::delete_blob(storage, caller(), id)
    })
}

/// Returns a token that lets a browser read a blob, for readers of its capsule. It is valid for `seconds`
/// (300 by default, 3,600 at most), and only while the reader has access.
#[apply(query)]
fn blob_access_token(locator: String, seconds: Option<u32>) -> Result<AccessToken> {
    with_app(|App { storage, .. }| blob_access::issue(storage, caller(), &locator, seconds, now()))
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(blob_get_meta, blob_read_chunk, blob_read_range, blob_delete, blob_access_token)
}
