//! What a browser is answered that asks for a blob: `GET` and `HEAD` of `/blob/blob_<number>`, with `?token=…` where the
//! blob is not public.
//!
//! Owns: paths, preconditions, ranges, header fields, and in which pieces a body goes out. Does not own: who may read (that
//! is [`crate::blob_access`]), nor where the bytes lie (that is [`crate::blob`]). Boundary: knows no IC; certificates are added
//! by the entry point.

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

use range::Asked;

/// Bytes of a part that a range request gets at most: a gateway asks for a thousand pieces of a body and no more.
pub const MAX_PART_BYTES: u64 = 1_000 * CHUNK_SIZE as u64;

/// How long a public blob may be kept by whoever has seen it, seconds. Its bytes never change, but its capsule may become
/// private again, and what shared caches have is out of reach.
const PUBLIC_SECONDS: u32 = 24 * 60 * 60;

/// An answer, and the bytes of it that do not fit.
#[derive(Debug)]
pub struct Answer {
    /// The answer, with the beginning of its body.
    pub response: HttpResponse,
    /// What the rest of the body is asked for with.
    pub rest: Option<StreamingToken>,
}

impl From<HttpResponse> for Answer {
    fn from(response: HttpResponse) -> Self {
        Self { response, rest: None }
    }
}

/// What is answered to a request for a blob; nothing when it is for something else.
pub fn answer(storage: &Storage, request: &HttpRequest, now: Time) -> Option<Answer> {
    let (path, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
    let locator = path.strip_prefix("/blob/")?;
    if !["GET", "HEAD"].contains(&request.method.as_str()) {
        let mut refused = HttpResponse::text(405, "GET and HEAD only\n");
        refused.headers.push(("allow".into(), "GET, HEAD".into()));
        return Some(refused.into());
    }
    let token = query.split('&').find_map(|parameter| parameter.strip_prefix("token="));
    Some(match Found::of(storage, locator, token, now) {
        Ok(found) => found.answer(storage, request).unwrap_or_else(|_| damaged().into()),
        Err(Error::Internal(_)) => damaged().into(),
        // Absent, or not for this reader: nobody can tell the one from the other.
        Err(_) => HttpResponse::text(404, "not found\n").into(),
    })
}

/// A reader may have the blob, and it cannot be read. What is wrong, the queries of readers tell.
fn damaged() -> HttpResponse {
    HttpResponse::text(500, "the stored blob is damaged\n")
}

/// The next piece of a body.
///
/// # Errors
/// [`Error::NotFound`] when the blob is gone, or may not be read any more; [`Error::InvalidArgument`] for bytes that it does
/// not have.
pub fn next_piece(storage: &Storage, token: StreamingToken, now: Time) -> Result<StreamingBody> {
    let found = Found::of(storage, &token.locator, token.access.as_deref(), now)?;
    let StreamingToken { offset, end, .. } = token;
    if offset >= end || end > found.blob.size {
        return Err(Error::invalid(
            "token",
            format!("bytes of {}", found.blob.size),
            format!("{offset}..{end}"),
        ));
    }
    let (body, offset) = found.piece(storage, offset, end)?;
    let token = (offset < end).then_some(StreamingToken { offset, ..token });
    Ok(StreamingBody { body, token })
}

/// A blob that the client may have.
struct Found<'a> {
    id: BlobId,
    blob: BlobRecord,
    grant: Grant,
    token: Option<&'a str>,
}

impl<'a> Found<'a> {
    fn of(storage: &Storage, locator: &str, token: Option<&'a str>, now: Time) -> Result<Self> {
        let missing = || Error::not_found("blob", locator);
        let id = BlobId::from_locator(locator).ok_or_else(missing)?;
        let grant = blob_access::granted(storage, id, token, now).ok_or_else(missing)?;
        let token = token.filter(|_| grant == Grant::Token);
        Ok(Self { id, blob: storage.blobs.blob(id)?, grant, token })
    }

    fn answer(&self, storage: &Storage, request: &HttpRequest) -> Result<Answer> {
        let size = self.blob.size;
        let fields = |name: &str| {
            let name = name.to_owned();
            let fields = request.headers.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(&name));
            fields.map(|(_, value)| value.as_str())
        };
        let etag = self.etag();
        let mut headers = self.validators(&etag);
        let empty = |status_code, headers| {
            let body = ByteBuf::new();
            Ok(HttpResponse { status_code, headers, body, streaming_strategy: None }.into())
        };
        let mut if_match = fields("if-match").peekable();
        if if_match.peek().is_some() && !if_match.any(|list| preconditions::names(list, &etag)) {
            return empty(412, headers);
        }
        if fields("if-none-match").any(|list| preconditions::names_weakly(list, &etag)) {
            return empty(304, headers);
        }
        // Of several such fields, as of several ranges, none is answered; and HEAD has no ranges.
        let is_current = fields("if-range").all(|tag| tag.trim() == etag);
        let mut ranges = fields("range");
        let range =
            ranges.next().filter(|_| ranges.next().is_none() && is_current && request.method == "GET");
        let (status, first, end) = match range::asked(range, size) {
            Asked::Whole => (200, 0, size),
            Asked::Part { first, end } => (206, first, end.min(first.saturating_add(MAX_PART_BYTES))),
            Asked::Unsatisfiable => {
                headers.push(("content-range".into(), format!("bytes */{size}")));
                return empty(416, headers);
            }
        };
        if status == 206 {
            let last = end.saturating_sub(1);
            headers.push(("content-range".into(), format!("bytes {first}-{last}/{size}")));
        }
        headers.push(("content-length".into(), end.saturating_sub(first).to_string()));
        headers.extend(self.description(storage)?);
        if request.method == "HEAD" {
            return empty(status, headers);
        }
        let (body, offset) = self.piece(storage, first, end)?;
        let rest = (offset < end).then(|| StreamingToken {
            locator: self.id.to_string(),
            access: self.token.map(str::to_owned),
            offset,
            end,
        });
        let response = HttpResponse { status_code: status, headers, body, streaming_strategy: None };
        Ok(Answer { response, rest })
    }

    /// The bytes from `offset` to the next chunk or to `end`, and where the next piece begins.
    fn piece(&self, storage: &Storage, offset: u64, end: u64) -> Result<(ByteBuf, u64)> {
        let chunk_size = u64::from(CHUNK_SIZE);
        let in_chunk = offset.checked_rem(chunk_size).unwrap_or(0);
        let next = offset.saturating_add(chunk_size.saturating_sub(in_chunk)).min(end);
        let mut bytes = Vec::new();
        let len = next.saturating_sub(offset);
        storage.blobs.read(&self.blob.place, offset, len, &mut |block| bytes.extend_from_slice(block))?;
        Ok((ByteBuf::from(bytes), next))
    }

    /// The digest by which the blob was verified: other bytes, another tag.
    fn etag(&self) -> String {
        let digest = &self.blob.digest;
        let algorithm = if digest.as_blake3().is_some() { "blake3" } else { "sha256" };
        format!("\"{algorithm}-{}\"", hex::encode(digest.bytes))
    }

    /// What every answer about the blob says, also one without its bytes.
    fn validators(&self, etag: &str) -> Vec<(String, String)> {
        let cache_control = match self.grant {
            Grant::Public => format!("public, max-age={PUBLIC_SECONDS}, immutable"),
            Grant::Token => "private, no-store".into(),
        };
        let fields = [
            ("etag", etag),
            ("cache-control", &cache_control),
            ("accept-ranges", "bytes"),
            // Whoever has the link may show the blob on a page of their own.
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
            // The link may have a token in it.
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            ("content-security-policy", media::CONTENT_SECURITY_POLICY),
        ];
        fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into()
    }

    /// What the bytes are, by the metadata of the first memory that has them.
    fn description(&self, storage: &Storage) -> Result<[(String, String); 2]> {
        let first = storage.blobs.refs(self.id).next();
        let (memory, _) = first.ok_or_else(|| Error::not_found("blob", self.id))??;
        let record = storage.capsules.record(&memory)?;
        let AssetMetadataBase { name, mime_type, .. } = record.asset_metadata.base();
        Ok([
            ("content-type".into(), media::content_type(mime_type)),
            ("content-disposition".into(), media::disposition(mime_type, name)),
        ])
    }
}

#[cfg(test)]
mod tests;
