//! Arguments that are read and replies that are written in parts, so that a chunk is never on the heap as a
//! whole.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::CandidType;
use candid::ser::{TypeSerialize, ValueSerializer};
use candid::types::TypeId;
use candid::utils::{ArgumentDecoder, decode_args_with_config};
use serde_bytes::ByteBuf;

use crate::api::*;
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

/// Replies with a value.
pub fn reply<T: CandidType>(value: &T) {
    match encode(value) {
        Ok(bytes) => ic_cdk::api::msg_reply(bytes),
        Err(error) => ic_cdk::api::msg_reject(error.to_string()),
    }
}

fn encode<T: CandidType>(value: &T) -> std::result::Result<Vec<u8>, candid::Error> {
    let mut reply = head::<T>()?;
    let mut values = ValueSerializer::new();
    value.idl_serialize(&mut values)?;
    reply.extend_from_slice(values.get_result());
    Ok(reply)
}

/// What a reply of the type begins with. To write the type table of our errors alone takes 250,000 instructions, so
/// each is written once and kept on the heap.
fn head<T: CandidType>() -> std::result::Result<Vec<u8>, candid::Error> {
    if let Some(head) = HEADS.with_borrow(|heads| heads.get(&T::id()).cloned()) {
        return Ok(head);
    }
    let mut types = TypeSerialize::new();
    types.push_type(&T::ty())?;
    types.serialize()?;
    let head = [b"DIDL", types.get_result()].concat();
    HEADS.with_borrow_mut(|heads| heads.insert(T::id(), head.clone()));
    Ok(head)
}

/// Writes the heads of all replies, for the queries among them: what a query puts on the heap is not kept.
///
/// # Errors
/// Those of the Candid library.
pub fn write_heads() -> std::result::Result<(), candid::Error> {
    macro_rules! heads {
        ($($reply:ty),* $(,)?) => { $(head::<$reply>()?;)* };
    }
    heads!(
        UploadConfig,
        BuildInfo,
        HttpResponse,
        Result<()>,
        Result<u64>,
        Result<String>,
        Result<ByteBuf>,
        Result<UploadFinishResult>,
        Result<Vec<Result<UploadFinishResult>>>,
        Result<UploadStatus>,
        Result<Vec<UploadStatus>>,
        Result<BlobMeta>,
        Result<Capsule>,
        Result<Vec<Capsule>>,
        Result<Memory>,
        Result<Vec<Memory>>,
        Result<MigrationStatus>,
        Result<Vec<JournalEntry>>,
        Result<Vec<QuarantinedRecord>>,
        Result<DryRun>,
        Result<AdminConfig>,
        Result<AdminStats>,
    );
    Ok(())
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

    #[test]
    fn a_kept_type_table_gives_the_librarys_bytes() {
        fn same<T: CandidType>(values: &[T]) {
            for value in values {
                let library = candid::encode_one(value).unwrap();
                assert_eq!(encode(value).unwrap(), library, "its head is written");
                assert_eq!(encode(value).unwrap(), library, "its head was kept");
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
