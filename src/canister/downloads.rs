//! The entry points of downloads.

use macro_rules_attribute::apply;
use serde_bytes::ByteBuf;

use super::app::{App, caller, now, with_app};
use super::entry::{cache_candid_headers, query, update};
use crate::api::*;
use crate::downloads;

/// Begins a tracked download of a blob, or finds the caller's existing one; returns its status. A download
/// expires an hour after its last new chunk. A caller may have 20 downloads.
#[apply(update)]
fn downloads_begin(locator: String) -> Result<DownloadStatus> {
    with_app(|App { storage, .. }| downloads::begin(storage, caller(), &locator, now()))
}

/// Returns a chunk of a download, in any order, certified by the subnet like every reply of an update, and
/// records the chunk as sent. A chunk can be requested again.
#[apply(update)]
fn downloads_read_chunk(session: u64, idx: u32) -> Result<ByteBuf> {
    let sent = with_app(|App { storage, .. }| downloads::read_chunk(storage, caller(), session, idx, now()));
    sent.map(ByteBuf::from)
}

/// Returns the state of a download: the chunks sent, the chunks missing, and when it expires.
#[apply(query)]
fn downloads_status(session: u64) -> Result<DownloadStatus> {
    with_app(|App { storage, .. }| downloads::status(storage, caller(), session, now()))
}

/// Ends a download, complete or not.
#[apply(update)]
fn downloads_end(session: u64) -> Result<()> {
    with_app(|App { storage, .. }| downloads::end(storage, caller(), session, now()))
}

pub fn cache_candid_headers() -> std::result::Result<(), candid::Error> {
    cache_candid_headers!(downloads_begin, downloads_read_chunk, downloads_status, downloads_end)
}
