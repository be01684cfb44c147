//! Answers browsers that request `/blob/blob_<number>` by `GET` or `HEAD`, with `?token=…` if the blob is not public.
//! The last part of this path is the locator of the blob.
//!
//! Owns: paths, preconditions, ranges, header fields, and the pieces of a streamed body. Does not own: who may read
//! (see [`crate::blob_access`]), and where the bytes are stored (see [`crate::blob`]). Boundary: independent of the IC;
//! the entry point adds certificates.

mod media;
mod preconditions;
mod range;

use crate::api::{
    AssetMetadataBase, Error, HttpRequest, HttpResponse, Result, StreamingBody, StreamingToken,
};
use crate::blob::{BlobId, BlobRecord, CHUNK_SIZE};
use crate::blob_access::{self, Grant};
use crate::session::Time;
use crate::storage::Storage;
use serde_bytes::ByteBuf;

use range::RequestedRange;

/// Maximum length of the answer to a range request, bytes: a gateway requests at most a thousand pieces of a body. A
/// longer blob needs several range requests; a request for the whole of it fails at the gateway.
pub const MAX_PART_BYTES: u64 = 1_000 * CHUNK_SIZE as u64;

/// How long caches may keep a public blob, seconds. Its bytes never change, but its capsule may become
/// private again, and shared caches cannot be purged.
const PUBLIC_SECONDS: u32 = 24 * 60 * 60;

/// A response, and the token for the rest of its body.
#[derive(Debug)]
pub struct StreamedResponse {
    /// The response, with the beginning of its body.
    pub response: HttpResponse,
    /// The token for the rest of the body; `None` if the body is complete. It is a streaming token, not an access
    /// token.
    pub rest: Option<StreamingToken>,
}

impl From<HttpResponse> for StreamedResponse {
    fn from(response: HttpResponse) -> Self {
        Self { response, rest: None }
    }
}

/// Returns the answer to a request for a blob; `None` if the request is for something else.
pub fn answer(storage: &Storage, request: &HttpRequest, now: Time) -> Option<StreamedResponse> {
    let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
    let locator = path.strip_prefix("/blob/")?;
    if !request.is_read() {
        return Some(HttpResponse::method_not_allowed("GET and HEAD only\n").into());
    }
    let token = query.split('&').find_map(|parameter| parameter.strip_prefix("token="));
    Some(match ReadableBlob::of(storage, locator, token, now) {
        Ok(readable) => readable.answer(storage, request).unwrap_or_else(|_| damaged_blob_response().into()),
        Err(Error::Internal(_)) => damaged_blob_response().into(),
        // Either the blob does not exist or this reader may not read it: the response does not reveal which.
        Err(_) => HttpResponse::text(404, "not found\n").into(),
    })
}

/// Returns the response to a client that may read a blob whose record or metadata is damaged. The queries
/// `blob_get_meta` and `memories_read` return the details.
fn damaged_blob_response() -> HttpResponse {
    HttpResponse::text(500, "the stored blob is damaged\n")
}

/// Returns the next piece of a body, and the token for the piece after it.
///
/// # Errors
/// [`Error::NotFound`] if the blob is gone or may no longer be read; [`Error::InvalidArgument`] for a range that is
/// empty or not in the blob; [`Error::Internal`] for a damaged blob.
pub fn next_piece(storage: &Storage, token: StreamingToken, now: Time) -> Result<StreamingBody> {
    let readable = ReadableBlob::of(storage, &token.locator, token.access.as_deref(), now)?;
    let StreamingToken { offset, end, .. } = token;
    if offset >= end || end > readable.blob.size {
        return Err(Error::invalid(
            "token",
            format!("bytes of {}", readable.blob.size),
            format!("{offset}..{end}"),
        ));
    }
    let (body, piece_end) = readable.read_piece(storage, offset, end)?;
    let token = (piece_end < end).then_some(StreamingToken { offset: piece_end, ..token });
    Ok(StreamingBody { body, token })
}

/// A blob that the client may read.
struct ReadableBlob<'a> {
    id: BlobId,
    blob: BlobRecord,
    grant: Grant,
    /// The access token; `None` if the blob is public, even if the request has one.
    token: Option<&'a str>,
}

impl<'a> ReadableBlob<'a> {
    fn of(storage: &Storage, locator: &str, token: Option<&'a str>, now: Time) -> Result<Self> {
        let missing = || Error::not_found("blob", locator);
        let id = BlobId::from_locator(locator).ok_or_else(missing)?;
        let grant = blob_access::find_grant(storage, id, token, now).ok_or_else(missing)?;
        let token = token.filter(|_| grant == Grant::Token);
        Ok(Self { id, blob: storage.blobs.blob(id)?, grant, token })
    }

    fn answer(&self, storage: &Storage, request: &HttpRequest) -> Result<StreamedResponse> {
        let size = self.blob.size;
        let field_values = |name: &str| {
            let name = name.to_owned();
            let fields = request.headers.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(&name));
            fields.map(|(_, value)| value.as_str())
        };
        let etag = self.etag();
        let mut headers = self.common_headers(&etag);
        let without_body = |status_code, headers| {
            let body = ByteBuf::new();
            Ok(HttpResponse { status_code, headers, body, streaming_strategy: None }.into())
        };
        let mut if_match_lists = field_values("if-match").peekable();
        if if_match_lists.peek().is_some() && !if_match_lists.any(|list| preconditions::contains(list, &etag))
        {
            return without_body(412, headers);
        }
        if field_values("if-none-match").any(|list| preconditions::contains_weakly(list, &etag)) {
            return without_body(304, headers);
        }
        // Without an `if-range` field, the range is current. Several `range` fields are ignored, just like several
        // ranges in one field. `HEAD` supports no ranges.
        let is_current = field_values("if-range").all(|tag| tag.trim() == etag);
        let mut ranges = field_values("range");
        let range =
            ranges.next().filter(|_| ranges.next().is_none() && is_current && request.method == "GET");
        let (status, first, end) = match range::parse(range, size) {
            RequestedRange::Whole => (200, 0, size),
            RequestedRange::Part { first, end } => {
                (206, first, end.min(first.saturating_add(MAX_PART_BYTES)))
            }
            RequestedRange::Unsatisfiable => {
                headers.push(("content-range".into(), format!("bytes */{size}")));
                return without_body(416, headers);
            }
        };
        if status == 206 {
            let last = end.saturating_sub(1);
            headers.push(("content-range".into(), format!("bytes {first}-{last}/{size}")));
        }
        headers.push(("content-length".into(), end.saturating_sub(first).to_string()));
        headers.extend(self.description_headers(storage)?);
        if request.method == "HEAD" {
            return without_body(status, headers);
        }
        let (body, piece_end) = self.read_piece(storage, first, end)?;
        let rest = (piece_end < end).then(|| StreamingToken {
            locator: self.id.to_string(),
            access: self.token.map(str::to_owned),
            offset: piece_end,
            end,
        });
        let response = HttpResponse { status_code: status, headers, body, streaming_strategy: None };
        Ok(StreamedResponse { response, rest })
    }

    /// Returns the bytes from `offset` to the end of the chunk in which it lies, but at most to `end`, and the offset
    /// after them.
    fn read_piece(&self, storage: &Storage, offset: u64, end: u64) -> Result<(ByteBuf, u64)> {
        let chunk_size = u64::from(CHUNK_SIZE);
        let offset_in_chunk = offset.checked_rem(chunk_size).unwrap_or(0);
        let piece_end = offset.saturating_add(chunk_size.saturating_sub(offset_in_chunk)).min(end);
        let bytes = storage.blobs.read_bytes(&self.blob.place, offset, piece_end.saturating_sub(offset))?;
        Ok((ByteBuf::from(bytes), piece_end))
    }

    /// Returns the entity tag: the digest by which the blob was verified, so that different bytes have different tags.
    fn etag(&self) -> String {
        let digest = &self.blob.digest;
        let algorithm = if digest.as_blake3().is_some() { "blake3" } else { "sha256" };
        format!("\"{algorithm}-{}\"", hex::encode(digest.bytes))
    }

    /// Returns the header fields that the responses about the blob have in common, with or without a body.
    fn common_headers(&self, etag: &str) -> Vec<(String, String)> {
        let cache_control = match self.grant {
            Grant::Public => format!("public, max-age={PUBLIC_SECONDS}, immutable"),
            Grant::Token => "private, no-store".into(),
        };
        let fields = [
            ("etag", etag),
            ("cache-control", &cache_control),
            ("accept-ranges", "bytes"),
            // Anyone who has the link may show the blob on their own page.
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            // The link may contain a token.
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", media::CONTENT_SECURITY_POLICY),
        ];
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// Returns the header fields for type and name, from the metadata of the first memory that refers to the blob.
    fn description_headers(&self, storage: &Storage) -> Result<[(String, String); 2]> {
        let first = storage.blobs.refs(self.id).next();
        let (memory, _) = first.ok_or_else(|| Error::not_found("blob", self.id))??;
        let record = storage.capsules.memory_record_unchecked(&memory)?;
        let AssetMetadataBase { name, mime_type, .. } = record.asset_metadata.base();
        Ok([
            ("content-type".into(), media::content_type(mime_type)),
            ("content-disposition".into(), media::content_disposition(mime_type, name)),
        ])
    }
}

#[cfg(test)]
mod tests;
