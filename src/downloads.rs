//! Tracked downloads: a second kind of session on the generic session layer. The chunks of an upload are read from a
//! message and written to storage; the chunks of a download are read from storage and written to a reply. The session
//! layer's rules about order, repetition, lengths, owners and expiry apply to both. The idempotency key of a download
//! is the locator of its blob, `blob_<number>`.
//!
//! Each chunk is read by an update call, so that the subnet certifies its bytes, and is recorded as sent. A client that
//! has lost track asks what is missing, even after an upgrade. The right to read is checked for every chunk.

use std::cell::RefCell;

use candid::Principal;

use crate::api::{DownloadStatus, Error, Result};
use crate::blob::{BlobError, BlobStore, CHUNK_SIZE, Place};
use crate::blob_access;
use crate::session::{
    ByteSink, ByteSource, Session, SessionError, SessionId, SessionSpec, SessionStore, SinkError, TakeBlock,
    Time,
};
use crate::storage::Storage;
use crate::upload::to_ranges;

mod table;

pub use table::Downloads;

use table::session_service;

/// Maximum number of downloads. At the limit, a new download ends the one that has been idle longest, and the client of
/// that download has to begin again.
pub const MAX_DOWNLOADS: u64 = 1_000;

/// Maximum number of downloads of one caller; unlike at [`MAX_DOWNLOADS`], another one is refused.
pub const MAX_DOWNLOADS_PER_CALLER: u64 = 20;

/// Time after which a download expires if no new chunk is sent, seconds.
pub const DOWNLOAD_TTL_SECONDS: u64 = 60 * 60;

/// Begins a download of a blob, or finds the caller's existing one.
///
/// # Errors
/// [`Error::NotFound`] for a blob that the caller may not read, [`Error::Unauthorized`] for the anonymous principal,
/// [`Error::ResourceExhausted`] at [`MAX_DOWNLOADS_PER_CALLER`] or if stable memory is full, and [`Error::Internal`]
/// for a damaged record.
pub fn begin(storage: &mut Storage, caller: Principal, locator: &str, now: Time) -> Result<DownloadStatus> {
    let blob = blob_access::find_readable(storage, caller, locator)?;
    if caller == Principal::anonymous() {
        return Err(Error::Unauthorized { caller, needs: "an identity".into() });
    }
    let bytes_expected = storage.blobs.blob(blob)?.size;
    let Storage { downloads, sessions, room, .. } = storage;
    let all = downloads.ids().into_iter().filter_map(|id| Some((id, downloads.get(id)?)));
    let all: Vec<(SessionId, Session)> = all.collect();
    let live_and_own = all.iter().filter(|(_, session)| is_live_and_owned_by(session, caller, now));
    if let Some((id, session)) =
        live_and_own.clone().find(|(_, session)| session.session_meta.idem == locator)
    {
        return Ok(status_of(*id, session.clone()));
    }
    let requested = (live_and_own.count() as u64).saturating_add(1);
    if requested > MAX_DOWNLOADS_PER_CALLER {
        return Err(Error::exhausted("downloads per caller", MAX_DOWNLOADS_PER_CALLER, requested));
    }
    room.check_for_records()?;
    let is_full = downloads.len() >= MAX_DOWNLOADS;
    let mut service = session_service(downloads, &mut sessions.ids);
    let longest_idle = all.iter().min_by_key(|(id, session)| (session.session_meta.last_seen, *id));
    if let Some((id, session)) = longest_idle.filter(|_| is_full) {
        service.abort(*id, &session.owner)?;
    }
    let owner = caller.as_slice().to_vec();
    let spec = SessionSpec { chunk_size: CHUNK_SIZE, bytes_expected, owner, idem: locator.to_owned() };
    let id = service.begin(spec, &now)?;
    Ok(status_of(id, service.session(id)?))
}

/// Returns a chunk and records it as sent. Reading a chunk again returns the same bytes and changes nothing.
///
/// # Errors
/// [`Error::NotFound`] for a session that is not the caller's or has expired, and for a blob that the caller may no
/// longer read; [`Error::InvalidArgument`] for a chunk that the blob does not have; [`Error::ResourceExhausted`] if
/// stable memory is full; [`Error::Internal`] for damaged data.
pub fn read_chunk(
    storage: &mut Storage,
    caller: Principal,
    session: u64,
    idx: u32,
    now: Time,
) -> Result<Vec<u8>> {
    let id = SessionId(session);
    let Session { session_meta, received_idxs, .. } = own_session(storage, caller, id, now)?;
    let blob = blob_access::find_readable(storage, caller, &session_meta.idem)?;
    let record = storage.blobs.blob(blob)?;
    let (at, len) = storage.blobs.chunk_range(blob, &record, idx)?;
    // What the session layer calls received is here what was sent.
    if !received_idxs.contains(idx) {
        storage.room.check_for_records()?;
    }
    let Storage { downloads, sessions, blobs, .. } = storage;
    let mut source = StoredChunk { blobs, place: &record.place, at, len, failed: None };
    let mut reply = ReplySink::default();
    let mut service = session_service(downloads, &mut sessions.ids);
    let outcome = service.put_chunk(id, caller.as_slice(), idx, &mut source, &mut reply, &now);
    if let Some(error) = source.failed {
        return Err(error.into());
    }
    outcome?;
    Ok(reply.bytes.into_inner())
}

/// Returns the state of a download.
///
/// # Errors
/// [`Error::NotFound`] for a session that is not the caller's or has expired.
pub fn status(storage: &Storage, caller: Principal, session: u64, now: Time) -> Result<DownloadStatus> {
    let id = SessionId(session);
    Ok(status_of(id, own_session(storage, caller, id, now)?))
}

/// Ends a download, complete or not.
///
/// # Errors
/// [`Error::NotFound`] for a session that is not the caller's or has ended.
pub fn end(storage: &mut Storage, caller: Principal, session: u64, now: Time) -> Result<()> {
    let id = SessionId(session);
    own_session(storage, caller, id, now)?;
    session_service(&mut storage.downloads, &mut storage.sessions.ids).abort(id, caller.as_slice())?;
    Ok(())
}

/// Ends the downloads that have expired.
///
/// # Errors
/// A damaged session record. The session is removed: only the information about which chunks were sent is lost. The
/// other sessions have been swept.
pub fn sweep(storage: &mut Storage, now: Time) -> Result<()> {
    let mut result = Ok(());
    for id in storage.downloads.ids() {
        let mut service = session_service(&mut storage.downloads, &mut storage.sessions.ids);
        if let Err(error) = service.tick_ttl(&[id], now, DOWNLOAD_TTL_SECONDS) {
            service.store_mut().remove(id).map_err(SessionError::from)?;
            result = Err(error.into());
        }
    }
    result
}

/// Returns the caller's download; [`Error::NotFound`] if it has expired, or is another caller's.
fn own_session(storage: &Storage, caller: Principal, id: SessionId, now: Time) -> Result<Session> {
    let session = storage.downloads.get(id).filter(|session| is_live_and_owned_by(session, caller, now));
    session.ok_or_else(|| Error::not_found("download", id))
}

/// Returns whether a download is the caller's and has not expired, be it swept or not.
fn is_live_and_owned_by(session: &Session, caller: Principal, now: Time) -> bool {
    session.owner == caller.as_slice() && !session.is_idle_for(DOWNLOAD_TTL_SECONDS, now)
}

/// Converts a download to the type of the interface.
fn status_of(id: SessionId, session: Session) -> DownloadStatus {
    let expected_chunks = session.chunk_count();
    DownloadStatus {
        session: id.0,
        bytes_expected: session.bytes_expected,
        bytes_sent: session.bytes_received,
        chunk_size: session.chunk_size,
        expected_chunks,
        sent: to_ranges(session.received_idxs.ranges()),
        missing: to_ranges(session.received_idxs.missing_below(expected_chunks)),
        expires_at: session.session_meta.last_seen.plus_seconds(DOWNLOAD_TTL_SECONDS).as_nanos(),
        locator: session.session_meta.idem,
    }
}

/// A stored chunk, as a source for the session layer.
struct StoredChunk<'a> {
    blobs: &'a BlobStore,
    place: &'a Place,
    /// Offset in the blob, bytes.
    at: u64,
    len: u64,
    /// Why the chunk could not be read; the session layer has no error for that.
    failed: Option<BlobError>,
}

impl ByteSource for StoredChunk<'_> {
    fn len(&self) -> u64 {
        self.len
    }

    fn each_block(&mut self, take: &mut TakeBlock<'_>) -> std::result::Result<(), SinkError> {
        let Self { blobs, place, at, len, .. } = *self;
        let (mut offset, mut taken) = (0_u64, Ok(()));
        let read = blobs.read(place, at, len, &mut |block| {
            if taken.is_ok() {
                taken = take(offset, block);
            }
            offset = offset.saturating_add(block.len() as u64);
        });
        if let Err(error) = read {
            self.failed = Some(error);
            // Ends the call of the session layer; `read_chunk` then returns `failed` instead.
            return Err(SinkError::OutOfRange { offset: at, got: 0, size: len });
        }
        taken
    }
}

/// The reply to which a chunk is written. For a chunk that was sent before, the session layer calls only `holds_at`, so
/// that method writes the chunk as well.
#[derive(Default)]
struct ReplySink {
    bytes: RefCell<Vec<u8>>,
}

impl ByteSink for ReplySink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> std::result::Result<(), SinkError> {
        self.holds_at(offset, bytes).map(|_| ())
    }

    fn holds_at(&self, _: u64, bytes: &[u8]) -> std::result::Result<bool, SinkError> {
        self.bytes.borrow_mut().extend_from_slice(bytes);
        Ok(true)
    }
}

#[cfg(test)]
mod tests;
