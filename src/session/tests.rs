//! Tests of the session layer. The chunk set is compared with a `BTreeSet`.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

const OWNER: &[u8] = b"owner";
const NOW: Time = Time::from_nanos(1_000);

/// A sink on the heap: the offset of each chunk, mapped to its bytes.
#[derive(Debug, Default, PartialEq)]
struct HeapSink(BTreeMap<u64, Vec<u8>>);

impl ByteSink for HeapSink {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        match self.0.insert(offset, bytes.to_vec()) {
            None => Ok(()),
            Some(_) => Err(SinkError::Occupied { offset }),
        }
    }

    fn replace_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        self.0.insert(offset, bytes.to_vec());
        Ok(())
    }

    fn holds_at(&self, offset: u64, bytes: &[u8]) -> Result<bool, SinkError> {
        Ok(self.0.get(&offset).is_some_and(|stored| stored == bytes))
    }
}

fn service_with_session(bytes_expected: u64, chunk_size: u32) -> (SessionService<HeapStore>, SessionId) {
    let mut service = SessionService::new(HeapStore::default());
    let spec = SessionSpec { chunk_size, bytes_expected, owner: OWNER.to_vec(), idem: "key".into() };
    let id = service.begin(spec, &NOW).unwrap();
    (service, id)
}

#[test]
fn chunks_arrive_in_any_order() {
    let (mut service, id) = service_with_session(10, 4);
    let mut sink = HeapSink::default();
    for (idx, bytes) in [(2, &b"89"[..]), (0, b"0123"), (1, b"4567")] {
        assert_eq!(
            service.put_chunk(id, OWNER, idx, &mut { bytes }, &mut sink, &NOW),
            Ok(PutOutcome::Stored)
        );
    }
    assert_eq!(service.session(id).unwrap().received_idxs.len(), 3);
    let session = service.finish(id, OWNER, &NOW).unwrap();
    assert_eq!(session.bytes_received, 10);
    assert_eq!(session.session_meta.status, SessionStatus::Committed { completed_at: NOW });
    assert_eq!(sink.0.into_values().collect::<Vec<_>>().concat(), b"0123456789");
}

#[test]
fn a_repeated_chunk_is_accepted_and_other_bytes_are_not() {
    let (mut service, id) = service_with_session(8, 4);
    let mut sink = HeapSink::default();
    let later = NOW.plus_seconds(5);
    service.put_chunk(id, OWNER, 0, &mut &b"aaaa"[..], &mut sink, &NOW).unwrap();
    let again = service.put_chunk(id, OWNER, 0, &mut &b"aaaa"[..], &mut sink, &later);
    assert_eq!(again, Ok(PutOutcome::AlreadyThere));
    let before = service.session(id).unwrap();
    assert_eq!(before.session_meta.last_seen, NOW, "a repeated chunk is not activity");
    let other = service.put_chunk(id, OWNER, 0, &mut &b"bbbb"[..], &mut sink, &later.plus_seconds(1));
    assert_eq!(other, Err(SessionError::DifferentBytes { id, idx: 0 }));
    assert_eq!(service.session(id), Ok(before), "a refused call changes nothing");
}

#[test]
fn a_chunk_may_be_replaced_where_that_is_allowed() {
    let (mut service, id) = service_with_session(8, 4);
    let mut sink = HeapSink::default();
    let later = NOW.plus_seconds(5);
    let mut put = |idx, mut bytes: &[u8]| {
        let session = service.session(id).unwrap();
        let chunk = NewChunk { idx, bytes: &mut bytes, replace: true };
        service.add_chunk(id, session, chunk, &mut sink, &later)
    };
    assert_eq!(put(0, b"aaaa"), Ok(PutOutcome::Stored));
    assert_eq!(put(0, b"bbbb"), Ok(PutOutcome::Replaced));
    assert_eq!(put(0, b"bbbb"), Ok(PutOutcome::AlreadyThere));
    assert_eq!(put(0, b"bbb"), Err(SessionError::WrongLength { id, idx: 0, expected: 4, got: 3 }));
    let session = service.session(id).unwrap();
    assert_eq!((session.bytes_received, session.session_meta.last_seen), (4, later));
    assert_eq!(sink.0, BTreeMap::from([(0, b"bbbb".to_vec())]));
}

#[test]
fn a_refused_chunk_says_what_was_expected_and_changes_nothing() {
    let (mut service, id) = service_with_session(10, 4);
    let mut sink = HeapSink::default();
    let before = service.session(id).unwrap();
    let later = NOW.plus_seconds(1);
    let mut put = |caller: &[u8], idx, bytes: &[u8]| {
        service.put_chunk(id, caller, idx, &mut { bytes }, &mut sink, &later).unwrap_err()
    };
    assert_eq!(put(OWNER, 0, b"123"), SessionError::WrongLength { id, idx: 0, expected: 4, got: 3 });
    assert_eq!(put(OWNER, 2, b"123"), SessionError::WrongLength { id, idx: 2, expected: 2, got: 3 });
    assert_eq!(put(OWNER, 1, b""), SessionError::WrongLength { id, idx: 1, expected: 4, got: 0 });
    assert_eq!(put(OWNER, 3, b""), SessionError::IndexOutOfRange { id, idx: 3, chunks: 3 });
    assert_eq!(put(OWNER, u32::MAX, b"1"), SessionError::IndexOutOfRange { id, idx: u32::MAX, chunks: 3 });
    assert_eq!(put(b"stranger", 0, b"0123"), SessionError::NotOwner(id));
    assert_eq!(service.session(id), Ok(before));
    assert_eq!(sink, HeapSink::default());
}

#[test]
fn a_session_with_missing_chunks_cannot_finish() {
    let (mut service, id) = service_with_session(12, 4);
    let mut sink = HeapSink::default();
    service.put_chunk(id, OWNER, 2, &mut &b"cccc"[..], &mut sink, &NOW).unwrap();
    let missing = SessionError::Incomplete { id, chunks: 3, missing: 2, ranges: vec![(0, 1)] };
    assert_eq!(service.finish(id, OWNER, &NOW), Err(missing));
    assert_eq!(service.finish(id, b"stranger", &NOW), Err(SessionError::NotOwner(id)));
    assert_eq!(service.session(id).unwrap().received_idxs.len(), 1, "the refused calls changed nothing");
}

#[test]
fn an_empty_object_is_complete_immediately() {
    let (mut service, id) = service_with_session(0, 4);
    let refused = service.put_chunk(id, OWNER, 0, &mut &b""[..], &mut HeapSink::default(), &NOW);
    assert_eq!(refused, Err(SessionError::IndexOutOfRange { id, idx: 0, chunks: 0 }));
    assert!(service.finish(id, OWNER, &NOW).is_ok());
    assert_eq!(service.finish(id, OWNER, &NOW), Err(SessionError::NotFound(id)));
}

#[test]
fn an_impossible_session_spec_is_refused() {
    let mut service = SessionService::new(HeapStore::default());
    let spec = |chunk_size, bytes_expected| SessionSpec {
        chunk_size,
        bytes_expected,
        owner: OWNER.to_vec(),
        idem: String::new(),
    };
    assert_eq!(service.begin(spec(0, 1), &NOW), Err(SessionError::ZeroChunkSize));
    let too_many = SessionError::TooManyChunks { bytes_expected: u64::MAX, chunk_size: 1 };
    assert_eq!(service.begin(spec(1, u64::MAX), &NOW), Err(too_many));
    let id = service.begin(spec(1, 1), &NOW).unwrap();
    let again = service.begin_with_id(id, spec(1, 1), &NOW);
    assert_eq!(again, Err(SessionError::AlreadyExists(id)));
}

#[test]
fn session_ids_are_not_reused() {
    let (mut service, first) = service_with_session(1, 1);
    service.abort(first, OWNER).unwrap();
    let spec = SessionSpec { chunk_size: 1, bytes_expected: 1, owner: OWNER.to_vec(), idem: "b".into() };
    assert_ne!(service.begin(spec, &NOW), Ok(first));
}

#[test]
fn idle_sessions_end_and_active_ones_do_not() {
    let (mut service, id) = service_with_session(8, 4);
    let tick = |service: &mut SessionService<HeapStore>, now| {
        let absent = SessionId(99);
        let ended = service.tick_ttl(&[id, absent], now, 60).unwrap();
        ended.into_iter().map(|(id, _)| id).collect::<Vec<_>>()
    };
    assert_eq!(tick(&mut service, Time::from_nanos(0)), [], "no session ends before its last activity");
    let active = NOW.plus_seconds(50);
    service.put_chunk(id, OWNER, 0, &mut &b"aaaa"[..], &mut HeapSink::default(), &active).unwrap();
    assert_eq!(tick(&mut service, NOW.plus_seconds(60)), [], "the time to live starts at the last activity");
    assert_eq!(tick(&mut service, active.plus_seconds(60)), [id]);
    assert_eq!(service.session(id), Err(SessionError::NotFound(id)));
}

#[test]
fn times_before_1970_and_after_2554_saturate() {
    assert_eq!(Time::from_nanos(u64::MAX).plus_seconds(1), Time::from_nanos(u64::MAX));
    assert_eq!(Time::from_nanos(5).minus_seconds(1), Time::from_nanos(0));
}

proptest! {
    #[test]
    fn a_chunk_set_is_a_set(numbers in prop::collection::vec(0u32..40, 0..60), count in 0u32..45) {
        let mut set = ChunkSet::new();
        let mut model = BTreeSet::new();
        for number in numbers {
            prop_assert_eq!(set.insert(number), model.insert(number));
        }
        let numbers_in = |ranges: Vec<(u32, u32)>| ranges.into_iter().flat_map(|(a, b)| a..=b).collect::<BTreeSet<_>>();
        let ranges: Vec<_> = set.ranges().collect();
        prop_assert_eq!(ChunkSet::from_ranges(&ranges), Some(set.clone()), "ranges are well-formed");
        prop_assert_eq!(numbers_in(ranges), model.clone());
        prop_assert_eq!(set.len(), model.len() as u64);
        prop_assert!((0..45).all(|number| set.contains(number) == model.contains(&number)));
        let missing: BTreeSet<u32> = (0..count).filter(|number| !model.contains(number)).collect();
        prop_assert_eq!(set.contains_all_below(count), missing.is_empty());
        prop_assert_eq!(numbers_in(set.missing_below(count).collect()), missing);
    }
}

#[test]
fn a_chunk_set_may_contain_the_highest_number() {
    let set: ChunkSet = [u32::MAX, u32::MAX - 1].into_iter().collect();
    assert_eq!(set.ranges().collect::<Vec<_>>(), [(u32::MAX - 1, u32::MAX)]);
    assert_eq!(set.missing_below(u32::MAX).collect::<Vec<_>>(), [(0, u32::MAX - 2)]);
    // Empty, adjacent, descending and overlapping ranges.
    for ill_formed in [&[(2, 1)][..], &[(0, 1), (2, 3)], &[(4, 5), (0, 1)], &[(0, u32::MAX), (1, 1)]] {
        assert_eq!(ChunkSet::from_ranges(ill_formed), None, "{ill_formed:?}");
    }
}

#[test]
fn the_chunks_of_an_object_are_adjacent_and_cover_it() {
    for (bytes, chunk_size) in [(0, 4), (1, 4), (4, 4), (9, 4), (12, 4), (5, 1), (7, u64::MAX), (3, 0)] {
        let chunking = Chunking::new(bytes, chunk_size);
        let mut end = 0;
        for idx in 0..chunking.count() {
            let (offset, len) = chunking.range(idx).unwrap();
            assert_eq!(
                (offset, len, offset + len),
                (end, chunking.len(idx), chunking.end(idx)),
                "{chunking:?}"
            );
            end += len;
        }
        let covered = if chunk_size == 0 { 0 } else { bytes };
        assert_eq!(end, covered, "{chunking:?}");
        assert_eq!(chunking.len_of_run(0, u32::MAX), covered, "{chunking:?}");
        assert_eq!(
            (chunking.range(chunking.count()), chunking.len(chunking.count())),
            (None, 0),
            "{chunking:?}"
        );
    }
}

#[test]
fn counts_and_offsets_of_absurd_sizes_saturate() {
    let many = Chunking::new(u64::MAX, 1);
    assert_eq!((many.chunks(), many.count()), (u64::MAX, u32::MAX));
    let long = Chunking::new(u64::MAX, u64::MAX);
    assert_eq!((long.count(), long.offset(2), long.len(2)), (1, u64::MAX, 0));
}
