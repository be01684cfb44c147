//! Arguments that are read and replies that are written in parts, so that a chunk is never on the heap as a
//! whole.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::CandidType;
use candid::ser::ValueSerializer;
use candid::types::TypeId;
use candid::utils::{ArgumentDecoder, decode_args_with_config};
use serde_bytes::ByteBuf;

use crate::api::{Error, Result, UploadFinishResult, UploadStatus};
use crate::blob::{BlobStore, Place};

use super::message::Message;

/// What the decoder may skip, as the library's own entry points set it.
pub const SKIPPING_QUOTA: usize = 10_000;

/// The argument of the present message.
pub struct Argument;

impl Message for Argument {
    fn size(&self) -> usize {
        ic0::msg_arg_data_size()
    }

    fn copy(&self, at: usize, into: &mut [u8]) {
        ic0::msg_arg_data_copy(into, at);
    }
}

/// The values of the argument of `function`; byte strings may be borrowed from it.
///
/// # Errors
/// [`Error::InvalidArgument`] with what the Candid library says of an argument that does not decode.
pub fn decode<'a, T: ArgumentDecoder<'a>>(function: &str, argument: &'a [u8]) -> Result<T> {
    let mut config = candid::DecoderConfig::new();
    config.set_skipping_quota(SKIPPING_QUOTA);
    decode_args_with_config(argument, &config)
        .map_err(|error| Error::invalid("arguments", format!("those of {function}, in Candid"), error))
}

thread_local! {
    /// What a reply of each type begins with: the magic and the type table.
    static HEADS: RefCell<BTreeMap<TypeId, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Replies with a value. The type table of our errors alone takes 250,000 instructions to write, so each table is
/// written once and kept on the heap.
pub fn reply<T: CandidType>(value: &T) {
    match encode(value) {
        Ok(bytes) => ic_cdk::api::msg_reply(bytes),
        Err(error) => ic_cdk::api::msg_reject(error.to_string()),
    }
}

/// Keeps what the replies of the upload path begin with, for the queries among them: what a query puts on the heap is
/// not kept.
pub fn keep_heads() -> Result<()> {
    fn keep<T: CandidType>() -> Result<()> {
        let value = Result::<T>::Err(Error::Internal(String::new()));
        encode(&value).map(|_| ()).map_err(|error| Error::Internal(error.to_string()))
    }
    keep::<()>()?;
    keep::<u64>()?;
    keep::<ByteBuf>()?;
    keep::<UploadFinishResult>()?;
    keep::<UploadStatus>()?;
    keep::<Vec<UploadStatus>>()
}

fn encode<T: CandidType>(value: &T) -> std::result::Result<Vec<u8>, candid::Error> {
    let mut values = ValueSerializer::new();
    value.idl_serialize(&mut values)?;
    let values = values.get_result();
    HEADS.with_borrow_mut(|heads| {
        if let Some(head) = heads.get(&T::id()) {
            return Ok([head, values].concat());
        }
        let whole = candid::encode_one(value)?;
        if let Some(head) = whole.strip_suffix(values) {
            heads.insert(T::id(), head.to_vec());
        }
        Ok(whole)
    })
}

/// Replies with `Ok` of `len` stored bytes from position `at` of a whole that has them.
///
/// # Errors
/// When they cannot be read; then there is no reply yet.
pub fn reply_stored(blobs: &BlobStore, place: &Place, at: u64, len: u64) -> Result<()> {
    let mut head = encode(&Result::Ok(ByteBuf::new())).map_err(|e| Error::Internal(e.to_string()))?;
    // The last byte is the length, 0, of no bytes at all.
    head.pop();
    push_leb128(&mut head, len);
    match place {
        // Found out as it is read: a chunk of the map may be missing.
        Place::Chunks(_) => {
            blobs.read(place, at, len, &mut |block| head.extend_from_slice(block))?;
            ic0::msg_reply_data_append(&head);
        }
        // Found out before the first block: bytes that the extents do not have.
        Place::Extents(_) => {
            let mut head = Some(head);
            blobs.read(place, at, len, &mut |block| {
                if let Some(head) = head.take() {
                    ic0::msg_reply_data_append(&head);
                }
                ic0::msg_reply_data_append(block);
            })?;
            if let Some(head) = head.take() {
                ic0::msg_reply_data_append(&head);
            }
        }
    }
    ic0::msg_reply();
    Ok(())
}

fn push_leb128(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first reply of a type and all others are what the library writes.
    #[test]
    fn a_kept_type_table_gives_the_librarys_bytes() {
        fn same<T: CandidType>(values: &[T]) {
            for value in values.iter().chain(values) {
                assert_eq!(encode(value).unwrap(), candid::encode_one(value).unwrap());
            }
        }
        same::<Result<()>>(&[
            Ok(()),
            Err(Error::not_found("session", 7)),
            Err(Error::exhausted("bytes", 1, 2)),
        ]);
        same::<Result<u64>>(&[Ok(0), Ok(u64::MAX), Err(Error::Internal("reason".into()))]);
        same::<Result<Vec<Result<UploadFinishResult>>>>(&[
            Ok(vec![]),
            Ok(vec![Err(Error::Internal("x".into()))]),
        ]);
        same::<Result<Vec<UploadStatus>>>(&[Ok(vec![])]);
    }

    #[test]
    fn a_length_is_written_as_the_library_writes_it() {
        for len in [0_usize, 1, 127, 128, 300, 70_000] {
            let library = candid::encode_one(ByteBuf::from(vec![7; len])).unwrap();
            let mut ours = candid::encode_one(ByteBuf::new()).unwrap();
            ours.pop();
            push_leb128(&mut ours, len as u64);
            ours.extend(vec![7; len]);
            assert_eq!(ours, library);
        }
    }
}
