//! Reads arguments and sends replies. Bytes in extents are streamed, so that no whole chunk is on the heap.

use candid::CandidType;
use candid::ser::ValueSerializer;
use serde_bytes::ByteBuf;

use crate::api::*;
use crate::blob::{BlobStore, Place};
use crate::leb128;

use super::candid_headers;
use super::message::MessageArgument;

/// The argument of the current message, read from the IC in parts.
pub struct Argument;

impl MessageArgument for Argument {
    fn size(&self) -> usize {
        ic0::msg_arg_data_size()
    }

    fn copy(&self, at: usize, into: &mut [u8]) {
        ic0::msg_arg_data_copy(into, at);
    }
}

/// Replies with a value; rejects the call if the value cannot be encoded.
pub fn reply<T: CandidType>(value: &T) {
    match encode(value) {
        Ok(bytes) => ic_cdk::api::msg_reply(bytes),
        Err(error) => ic_cdk::api::msg_reject(error.to_string()),
    }
}

/// Encodes a reply, with the cached header of its type.
fn encode<T: CandidType>(value: &T) -> std::result::Result<Vec<u8>, candid::Error> {
    let mut reply = candid_headers::reply_header::<T>()?;
    let mut values = ValueSerializer::new();
    value.idl_serialize(&mut values)?;
    reply.extend_from_slice(values.get_result());
    Ok(reply)
}

/// Replies with `Ok` and `len` stored bytes from offset `at` of an object. If the bytes cannot be read, returns the
/// error and sends no reply.
pub fn reply_stored(blobs: &BlobStore, place: &Place, at: u64, len: u64) -> Result<()> {
    let mut header = encode(&Result::Ok(ByteBuf::new())).map_err(|e| Error::Internal(e.to_string()))?;
    // The last byte is 0, the length of the empty byte string.
    header.pop();
    leb128::push(len, &mut header);
    match place {
        // Only reading reveals that a chunk is missing from the map, so nothing is sent before everything is read.
        Place::Chunks(_) => {
            blobs.read(place, at, len, &mut |block| header.extend_from_slice(block))?;
            ic0::msg_reply_data_append(&header);
        }
        // Reading from extents fails before the first block or not at all, so each block is sent at once.
        Place::Extents(_) => {
            let mut header = Some(header);
            blobs.read(place, at, len, &mut |block| {
                if let Some(header) = header.take() {
                    ic0::msg_reply_data_append(&header);
                }
                ic0::msg_reply_data_append(block);
            })?;
            if let Some(header) = header.take() {
                ic0::msg_reply_data_append(&header);
            }
        }
    }
    ic0::msg_reply();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_encoded_as_by_the_library() {
        fn assert_same<T: CandidType>(values: &[T]) {
            for value in values {
                let library = candid::encode_one(value).unwrap();
                assert_eq!(encode(value).unwrap(), library, "the first encoding of a value differs");
                assert_eq!(encode(value).unwrap(), library, "an encoding with the cached header differs");
            }
        }
        assert_same::<Result<()>>(&[
            Ok(()),
            Err(Error::not_found("session", 7)),
            Err(Error::exhausted("bytes", 1, 2)),
        ]);
        assert_same::<Result<u64>>(&[Ok(0), Ok(u64::MAX), Err(Error::Internal("reason".into()))]);
        assert_same::<Result<Vec<Result<UploadFinishResult>>>>(&[
            Ok(vec![]),
            Ok(vec![Err(Error::Internal("x".into()))]),
        ]);
        assert_same::<Result<Vec<UploadStatus>>>(&[Ok(vec![])]);
    }

    #[test]
    fn a_length_is_written_as_the_library_writes_it() {
        for len in [0_usize, 1, 127, 128, 300, 70_000] {
            let library = candid::encode_one(ByteBuf::from(vec![7; len])).unwrap();
            let mut ours = candid::encode_one(ByteBuf::new()).unwrap();
            ours.pop();
            leb128::push(len as u64, &mut ours);
            ours.extend(vec![7; len]);
            assert_eq!(ours, library);
        }
    }
}
