//! The arguments of `uploads_put_chunk`, read without a copy of the chunk.
//!
//! Decoding through the Candid library needs the whole message on the heap, twice. Clients nearly always send `(nat64,
//! nat32, vec nat8, opt vec nat8)` with a type table of two entries. A message of this shape, with a digest of 32 bytes
//! or without one, is read in place; all other messages are left to the library, which accepts or refuses them.

use serde_bytes::ByteBuf;

use super::arguments;
use super::message::MessageArgument;
use crate::api::Result;
use crate::leb128;

/// The arguments of `uploads_put_chunk`.
#[derive(Debug, PartialEq)]
pub struct PutArgs {
    pub session: u64,
    pub idx: u32,
    pub chunk: ChunkBytes,
    pub sha256: Option<ByteBuf>,
}

/// The bytes of a chunk, or their position in the message.
#[derive(Debug, PartialEq)]
pub enum ChunkBytes {
    InMessage { at: usize, len: usize },
    Owned(Vec<u8>),
}

/// Enough bytes of the message for its type table, the session id, the chunk number and the length of the chunk.
const HEAD_BYTES: usize = 96;

/// Reads the arguments; fails with [`crate::api::Error::InvalidArgument`] if the message does not decode.
pub fn read(message: &dyn MessageArgument) -> Result<PutArgs> {
    if let Some(args) = read_in_place(message) {
        return Ok(args);
    }
    let mut bytes = vec![0; message.size()];
    message.copy(0, &mut bytes);
    let (session, idx, chunk, sha256): (u64, u32, ByteBuf, Option<ByteBuf>) =
        arguments::decode("uploads_put_chunk", &bytes)?;
    Ok(PutArgs { session, idx, chunk: ChunkBytes::Owned(chunk.into_vec()), sha256 })
}

/// The argument types that can be read in place.
#[derive(Clone, Copy, PartialEq)]
enum ArgType {
    Blob,
    OptBlob,
    Null,
}

/// Reads the arguments of a message of the usual shape; `None` for any other.
fn read_in_place(message: &dyn MessageArgument) -> Option<PutArgs> {
    let size = message.size();
    let mut header = [0; HEAD_BYTES];
    let header = header.get_mut(..size.min(HEAD_BYTES))?;
    message.copy(0, header);
    let mut header = Cursor { bytes: header, at: 0 };
    if header.take::<4>()? != *b"DIDL" {
        return None;
    }
    let table = read_table(&mut header)?;
    let arg_count = header.take_byte()?;
    if !(3..=4).contains(&arg_count) || header.take_byte()? != NAT64 || header.take_byte()? != NAT32 {
        return None;
    }
    if read_type(&mut header, &table)? != ArgType::Blob {
        return None;
    }
    let digest_type = if arg_count == 4 { read_type(&mut header, &table)? } else { ArgType::Null };
    let session = u64::from_le_bytes(header.take()?);
    let idx = u32::from_le_bytes(header.take()?);
    let len = header.take_length()?;
    let chunk_at = header.at;
    let end = chunk_at.checked_add(len).filter(|end| *end <= size)?;
    let sha256 = read_digest(message, end, digest_type)?;
    Some(PutArgs { session, idx, chunk: ChunkBytes::InMessage { at: chunk_at, len }, sha256 })
}

// Opcodes of Candid types, as the single bytes that encode them; `arguments::type_table` has them as numbers.
const NAT64: u8 = 0x78;
const NAT32: u8 = 0x79;
const NAT8: u8 = 0x7b;
const NULL: u8 = 0x7f;
const VEC: u8 = 0x6d;
const OPT: u8 = 0x6e;

/// Reads a type table; `None` if it has types other than blobs and options of blobs.
fn read_table(header: &mut Cursor<'_>) -> Option<Vec<ArgType>> {
    let entries = header.take_byte()?;
    let raw_entries: Vec<(u8, u8)> =
        (0..entries).map(|_| Some((header.take_byte()?, header.take_byte()?))).collect::<Option<_>>()?;
    let is_blob = |entry: &(u8, u8)| *entry == (VEC, NAT8);
    raw_entries
        .iter()
        .map(|entry| match entry {
            blob if is_blob(blob) => Some(ArgType::Blob),
            (OPT, inner) => {
                raw_entries.get(usize::from(*inner)).filter(|inner| is_blob(inner)).map(|_| ArgType::OptBlob)
            }
            _ => None,
        })
        .collect()
}

/// Reads the type of an argument; `None` if it is neither null nor in the table.
fn read_type(header: &mut Cursor<'_>, table: &[ArgType]) -> Option<ArgType> {
    match header.take_byte()? {
        NULL => Some(ArgType::Null),
        entry => table.get(usize::from(entry)).copied(),
    }
}

/// Reads the last argument, from `at` to the end of the message. The inner `None` means that there is no digest, the
/// outer one that the message must be left to the library, since it ends with anything other than a digest of 32 bytes.
fn read_digest(message: &dyn MessageArgument, at: usize, digest_type: ArgType) -> Option<Option<ByteBuf>> {
    let mut rest = [0; 1 + 1 + 32];
    let rest = rest.get_mut(..message.size().checked_sub(at)?)?;
    message.copy(at, rest);
    match (digest_type, &*rest) {
        (ArgType::Null, []) | (ArgType::OptBlob, [0]) => Some(None),
        (ArgType::OptBlob, [1, 32, digest @ ..]) if digest.len() == 32 => Some(Some(ByteBuf::from(digest))),
        _ => None,
    }
}

/// A position in the first bytes of the message.
struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Cursor<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, _) = self.bytes.get(self.at..)?.split_first_chunk::<N>()?;
        self.at = self.at.saturating_add(N);
        Some(*taken)
    }

    fn take_byte(&mut self) -> Option<u8> {
        self.take::<1>().map(|[byte]| byte)
    }

    /// Reads a length of at most four bytes in LEB128, which is less than 2^28; no message is that long.
    fn take_length(&mut self) -> Option<usize> {
        let mut rest = self.bytes.get(self.at..)?;
        let length = leb128::take(&mut rest, 4)?;
        self.at = self.bytes.len().saturating_sub(rest.len());
        Some(length as usize)
    }
}

#[cfg(test)]
mod tests;
