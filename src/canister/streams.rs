//! Arguments that are read and replies that are written in parts, so that a chunk is never on the heap as a
//! whole.

use candid::CandidType;
use candid::utils::{ArgumentDecoder, decode_args_with_config};
use serde_bytes::ByteBuf;

use crate::api::{Error, Result};
use crate::blob::{BlobStore, Place};

use super::put_args::{Message, SKIPPING_QUOTA};

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

/// The values of an argument; byte strings may be borrowed from it.
///
/// # Errors
/// What the Candid library says of an argument that does not decode.
pub fn decode<'a, T: ArgumentDecoder<'a>>(argument: &'a [u8]) -> std::result::Result<T, String> {
    let mut config = candid::DecoderConfig::new();
    config.set_skipping_quota(SKIPPING_QUOTA);
    decode_args_with_config(argument, &config).map_err(|e| e.to_string())
}

/// Replies with a value.
pub fn reply<T: CandidType>(value: &T) {
    match candid::encode_one(value) {
        Ok(bytes) => ic_cdk::api::msg_reply(bytes),
        Err(error) => reject(&error.to_string()),
    }
}

/// Rejects a message whose argument does not decode. Nothing was changed.
pub fn reject(reason: &str) {
    ic_cdk::api::msg_reject(reason);
}

/// Replies with `Ok` of `len` stored bytes from position `at` of a whole that has them.
///
/// # Errors
/// When they cannot be read; then there is no reply yet.
pub fn reply_stored(blobs: &BlobStore, place: &Place, at: u64, len: u64) -> Result<()> {
    let mut head =
        candid::encode_one(Result::Ok(ByteBuf::new())).map_err(|e| Error::Internal(e.to_string()))?;
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
