//! Compares arguments that are read in place with those that the Candid library decodes.

use candid::{CandidType, Encode};
use proptest::prelude::*;

use super::*;
use crate::canister::message::tests::Bytes;

/// Session, chunk number, chunk, digest.
type Args = (u64, u32, Vec<u8>, Option<Vec<u8>>);

fn decode_by_library(message: &[u8]) -> Option<Args> {
    let (session, idx, chunk, sha256): (u64, u32, ByteBuf, Option<ByteBuf>) =
        arguments::decode_by_library(message).ok()?;
    Some((session, idx, chunk.into_vec(), sha256.map(ByteBuf::into_vec)))
}

/// Decodes with this module; `None` if the message is refused. Also returns whether the arguments were read in place.
fn decode_here(message: &[u8]) -> Option<(Args, bool)> {
    let PutArgs { session, idx, chunk, sha256 } = read(&Bytes(message.to_vec())).ok()?;
    let (bytes, in_place) = match chunk {
        ChunkBytes::InMessage { at, len } => (message[at..at + len].to_vec(), true),
        ChunkBytes::Owned(bytes) => (bytes, false),
    };
    Some(((session, idx, bytes, sha256.map(ByteBuf::into_vec)), in_place))
}

/// Asserts that this module and the library decode the same; returns whether the message was read in place.
fn agree(message: &[u8]) -> bool {
    let ours = decode_here(message);
    assert_eq!(
        ours.as_ref().map(|(args, _)| args.clone()),
        decode_by_library(message),
        "{:02x?}",
        &message[..message.len().min(HEAD_BYTES)]
    );
    ours.is_some_and(|(_, in_place)| in_place)
}

#[test]
fn usual_messages_are_read_in_place() {
    let chunk = ByteBuf::from(vec![7; 200_000]);
    let digest = Some(ByteBuf::from([9; 32]));
    let none = None::<ByteBuf>;
    assert!(agree(&Encode!(&5_u64, &6_u32, &chunk, &digest).unwrap()));
    assert!(agree(&Encode!(&5_u64, &6_u32, &chunk, &none).unwrap()));
    assert!(agree(&Encode!(&5_u64, &6_u32, &chunk).unwrap()), "older clients send no digest");
    assert!(agree(&Encode!(&5_u64, &6_u32, &chunk, &()).unwrap()), "an option may be sent as null");
    assert!(agree(&Encode!(&u64::MAX, &u32::MAX, &ByteBuf::new(), &none).unwrap()));
    assert!(agree(&Encode!(&5_u64, &6_u32, &vec![1_u8; 300], &Some(vec![2_u8; 32])).unwrap()));
}

#[test]
fn anything_else_is_left_to_the_library() {
    #[derive(CandidType)]
    struct Other {
        field: u8,
    }
    let chunk = ByteBuf::from(vec![7; 300]);
    for message in [
        Encode!(&5_u64, &6_u32, &chunk, &Some(ByteBuf::from([9; 31]))).unwrap(),
        Encode!(&5_u64, &6_u32, &chunk, &Some(Other { field: 1 })).unwrap(),
        Encode!(&5_u64, &6_u32, &chunk, &None::<ByteBuf>, &Other { field: 1 }).unwrap(),
        Encode!(&5_u32, &6_u32, &chunk).unwrap(),
        Encode!(&5_u64, &6_u32).unwrap(),
        Encode!(&5_u64, &6_u32, &"text").unwrap(),
        Encode!(&5_u64, &6_u32, &vec![1_u16]).unwrap(),
        b"DIDL".to_vec(),
        b"DIDL\0\0".to_vec(),
        Vec::new(),
    ] {
        assert!(!agree(&message));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Messages with some bytes changed, removed or added: this module and the library agree.
    #[test]
    fn damaged_messages_get_the_librarys_answer(
        len in 0..200_usize,
        digest in prop::option::of(prop::sample::select(vec![0_usize, 31, 32, 33])),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        cut in prop::option::weighted(0.3, any::<prop::sample::Index>()),
        tail in prop::collection::vec(any::<u8>(), 0..3),
    ) {
        let digest = digest.map(|len| ByteBuf::from(vec![3; len]));
        let mut message = Encode!(&5_u64, &6_u32, &ByteBuf::from(vec![7; len]), &digest).unwrap();
        for (at, byte) in changes {
            // Changes the header and the first bytes of the chunk. The tag and the length of the digest come after the
            // chunk, so they are changed only in short messages.
            let at = at.index(message.len().min(40));
            message[at] = byte;
        }
        if let Some(cut) = cut {
            message.truncate(cut.index(message.len()));
        }
        message.extend(tail);
        agree(&message);
    }
}
