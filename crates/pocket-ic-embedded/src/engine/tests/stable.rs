//! Stable memory compared with a vector, its counts of pages compared with a set, its sizes, and pages kept in files.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileExt;

use proptest::prelude::*;

use super::*;
use crate::engine::page_file::PAGE;
use crate::engine::stable::{ACCESS_PAGE, MAX_RESIDENT_PAGES, StableAccess, StableOutOfBounds};

/// The size to which stable memory grows at most in the property tests, in bytes.
const MAX_SIZE: u64 = 20 * WASM_PAGE;

/// Generates offsets, many of them near the borders of pages, and lengths of up to several pages.
fn span() -> impl Strategy<Value = (u64, u64)> {
    let offset = prop_oneof![
        0..MAX_SIZE + 10,
        (0..MAX_SIZE / 4096, 0..20u64).prop_map(|(page, by)| (page * 4096 + by).saturating_sub(10)),
    ];
    let len = prop_oneof![0..40u64, 0..3 * WASM_PAGE];
    (offset, len)
}

#[derive(Clone, Debug)]
// An operation on the memory, and on the vector that it is compared with.
enum Op {
    Write((u64, u64), u8),
    Read((u64, u64)),
    Snapshot,
    GoBack,
    Grow(u64),
    MoveToFile,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => (span(), any::<u8>()).prop_map(|(span, byte)| Op::Write(span, byte)),
        4 => span().prop_map(Op::Read),
        1 => Just(Op::Snapshot),
        1 => Just(Op::GoBack),
        1 => (0..30u64).prop_map(Op::Grow),
        1 => Just(Op::MoveToFile),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn stable_memory_behaves_like_a_vector(
        ops in prop::collection::vec(op(), 1..40),
        file in prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..3),
    ) {
        // The file has, for each byte, a page filled with it and a hole of one page.
        let mut model: Vec<u8> = file.iter().flat_map(|byte| [[*byte; PAGE], [0; PAGE]]).flatten().collect();
        let mut memory = StableMemory::from_file(file_of(&model)).expect("a file");
        model.resize(model.len().next_multiple_of(WASM_PAGE as usize), 0);
        let mut snapshot = (memory.clone(), model.clone());
        for op in ops {
            match op {
                Op::Write((offset, len), byte) => {
                    // The bytes differ, so that the test notices bytes at a wrong offset.
                    let bytes: Vec<u8> = (0..len).map(|i| byte.wrapping_mul(i as u8 | 1)).collect();
                    let fits = offset + len <= model.len() as u64;
                    prop_assert_eq!(memory.write(offset, &bytes).is_ok(), fits);
                    if fits {
                        model[offset as usize..(offset + len) as usize].copy_from_slice(&bytes);
                    }
                }
                Op::Read((offset, len)) => {
                    let mut buf = vec![0xaa; len as usize];
                    let fits = offset + len <= model.len() as u64;
                    prop_assert_eq!(memory.read(offset, &mut buf).is_ok(), fits);
                    if fits {
                        prop_assert_eq!(&buf[..], &model[offset as usize..(offset + len) as usize]);
                    }
                }
                Op::Snapshot => snapshot = (memory.clone(), model.clone()),
                Op::GoBack => (memory, model) = snapshot.clone(),
                Op::MoveToFile => memory.move_to_file(),
                Op::Grow(pages) => {
                    let before = memory.pages();
                    let grown = memory.grow(pages, MAX_SIZE);
                    prop_assert_eq!(grown, (before + pages <= MAX_SIZE / WASM_PAGE).then_some(before));
                    if grown.is_some() {
                        model.resize(((before + pages) * WASM_PAGE) as usize, 0);
                    }
                }
            }
        }
        prop_assert_eq!(memory.size_bytes(), model.len() as u64);
        prop_assert!(memory.to_vec() == model);
        prop_assert!(snapshot.0.to_vec() == snapshot.1);
        prop_assert!(StableMemory::from_bytes(&model).to_vec() == model);
    }

    #[test]
    fn stable_memory_accesses_count_pages_like_a_set(
        accesses in prop::collection::vec((span(), any::<bool>()), 1..30),
    ) {
        let mut access = StableAccess::default();
        let (mut accessed, mut dirtied) = (BTreeSet::new(), BTreeSet::new());
        for ((offset, len), write) in accesses {
            let pages = offset / ACCESS_PAGE..(offset + len).div_ceil(ACCESS_PAGE);
            let pages = if len == 0 { 0..0 } else { pages };
            let before = dirtied.len();
            accessed.extend(pages.clone());
            if write {
                dirtied.extend(pages);
                prop_assert_eq!(access.write(offset, len), (dirtied.len() - before) as u64);
            } else {
                access.read(offset, len);
            }
        }
        prop_assert_eq!(access.accessed, accessed.len() as u64);
        prop_assert_eq!(access.dirtied, dirtied.len() as u64);
    }
}

/// Returns a file of these bytes, with holes for pages of zeros.
fn file_of(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().expect("a file");
    file.set_len(bytes.len() as u64).expect("the temporary file has room");
    for (index, page) in bytes.chunks(PAGE).enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0))
    {
        file.write_all_at(page, (index * PAGE) as u64).expect("the temporary file has room");
    }
    file
}

/// A canister that writes one byte at each of several offsets, 1 GiB apart, and then replies or traps. The length of
/// the argument is the number of offsets.
const LARGE: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_arg_data_size" (func $places (result i32)))
    (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
    (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
    (memory 1) (data (i32.const 0) "x")
    (func $touch
        (local $n i32)
        (local.set $n (call $places))
        (loop $next
            (local.set $n (i32.sub (local.get $n) (i32.const 1)))
            (call $write (i64.shl (i64.extend_i32_u (local.get $n)) (i64.const 30)) (i64.const 0) (i64.const 1))
            (br_if $next (local.get $n))))
    (func (export "canister_update grow_to_10_gib") (drop (call $grow (i64.const 163840))) (call $reply))
    (func (export "canister_update grow_to_500_gib") (drop (call $grow (i64.const 8192000))) (call $reply))
    (func (export "canister_update touch") (call $touch) (call $reply))
    (func (export "canister_update touch_and_trap") (call $touch) unreachable)
    (func (export "canister_query touch_in_query") (call $touch) (call $reply)))"#;

/// Returns the outcome of a message that writes at this number of offsets.
fn touch(state: &CanisterState, entry: EntryPoint, places: usize) -> MessageOutcome {
    ENGINE.execute(state, entry, context_with_arg(&vec![0; places]), Limits::update())
}

#[test]
fn traps_queries_and_snapshots_of_10_gib_cost_what_they_touch() {
    let large = update(&fresh_state(LARGE), "grow_to_10_gib").state;
    assert_eq!(large.stable().size_bytes(), 10 << 30);
    let nothing = StableMemory::new();
    assert_eq!(large.stable().unshared_bytes(&nothing), 0);
    // A snapshot is a clone, and shares everything.
    let written = touch(&large, EntryPoint::Update("touch".into()), 10).state;
    assert_eq!(written.stable().unshared_bytes(&nothing), 10 * PAGE as u64);
    let snapshot = written.clone();
    assert_eq!(snapshot.stable().unshared_bytes(written.stable()), 0);
    // Pages that are written afterwards are no longer shared.
    let after = touch(&written, EntryPoint::Update("touch".into()), 3).state;
    assert_eq!(after.stable().unshared_bytes(snapshot.stable()), 3 * PAGE as u64);
    // The state of a query holds the pages that the query wrote, until it is dropped; after a trap, the state is the
    // previous one.
    let query = touch(&written, EntryPoint::Query("touch_in_query".into()), 4);
    assert_eq!(query.result, Ok(()));
    assert_eq!(query.state.stable().unshared_bytes(written.stable()), 4 * PAGE as u64);
    let trapped = touch(&written, EntryPoint::Update("touch_and_trap".into()), 5);
    assert_eq!(trapped.result, Err(Trap::Wasm("unreachable".into())));
    assert_eq!(trapped.dirty_stable_pages, 5);
    assert_eq!(trapped.state.stable().unshared_bytes(written.stable()), 0);
}

#[test]
fn messages_reach_all_of_500_gib() {
    let large = update(&fresh_state(LARGE), "grow_to_500_gib").state;
    assert_eq!(large.stable().size_bytes(), 500 << 30);
    let written = touch(&large, EntryPoint::Update("touch".into()), 500).state;
    assert_eq!(written.stable().unshared_bytes(&StableMemory::new()), 500 * PAGE as u64);
    let after = touch(&written, EntryPoint::Update("touch".into()), 1).state;
    assert_eq!(after.stable().unshared_bytes(written.stable()), PAGE as u64);
}

#[test]
fn stable_memory_is_sparse_up_to_its_largest_size() {
    let mut memory = StableMemory::new();
    let largest = 500 << 30;
    assert_eq!(memory.grow(largest / WASM_PAGE, largest), Some(0));
    assert_eq!(memory.grow(1, largest), None);
    assert_eq!(memory.grow(u64::MAX, u64::MAX), None);
    memory.write(largest - 5, b"hello").expect("the access is within stable memory");
    let mut end = [1; 7];
    memory.read(largest - 7, &mut end).expect("the access is within stable memory");
    assert_eq!(&end, b"\0\0hello");
    let beyond = memory.write(largest - 4, b"hello").expect_err("the write ends beyond stable memory");
    assert_eq!(beyond, StableOutOfBounds { offset: largest - 4, len: 5, size: largest });
    assert!(memory.read(u64::MAX, &mut end).is_err());
}

#[test]
fn contents_are_padded_to_whole_pages() {
    let memory = StableMemory::from_bytes(&[9; 70_000]);
    assert_eq!(memory.pages(), 2);
    let bytes = memory.to_vec();
    assert!(bytes[..70_000].iter().all(|b| *b == 9));
    assert!(bytes[70_000..].iter().all(|b| *b == 0));
    assert_eq!(StableMemory::from_bytes(&[]).pages(), 0);
}

#[test]
fn the_32_bit_interface_grows_to_4_gib() {
    let state = fresh_state(
        r#"(module
            (import "ic0" "stable_grow" (func $grow (param i32) (result i32)))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (memory 1)
            (func (export "canister_update grow")
                (i32.store (i32.const 0) (call $grow (i32.const 65535)))
                (i32.store (i32.const 4) (call $grow (i32.const 1)))
                (i32.store (i32.const 8) (call $grow (i32.const 1)))
                (call $append (i32.const 0) (i32.const 12)) (call $reply)))"#,
    );
    let outcome = update(&state, "grow");
    let answers: Vec<u32> =
        reply(&outcome).chunks_exact(4).map(|bytes| u32::from_le_bytes(bytes.try_into().unwrap())).collect();
    assert_eq!(answers, [0, 65_535, u32::MAX]);
    assert_eq!(outcome.state.stable().pages(), 65_536);
}

/// Of a stable memory that exceeds 128 MiB, only a bounded number of pages stays in the host's memory.
#[test]
fn pages_beyond_the_bound_are_not_in_memory() {
    let pages = MAX_RESIDENT_PAGES + 10;
    let mut memory = StableMemory::new();
    let bytes = (pages * PAGE) as u64;
    assert_eq!(memory.grow(bytes.div_ceil(WASM_PAGE), bytes + WASM_PAGE), Some(0));
    let page = |index: usize| [index as u8 | 1; PAGE];
    for index in 0..pages {
        memory.write((index * PAGE) as u64, &page(index)).expect("the access is within stable memory");
    }
    // All pages were moved to a file when the bound was exceeded; only those written since are in memory.
    assert!(memory.unshared_bytes(&StableMemory::new()) < 10 * PAGE as u64);
    let earlier = memory.clone();
    memory.write(5, b"changed").expect("the access is within stable memory");
    let read = |memory: &StableMemory, index: usize| {
        let mut bytes = [0; PAGE];
        memory.read((index * PAGE) as u64, &mut bytes).expect("the access is within stable memory");
        bytes
    };
    for index in [0, 1, MAX_RESIDENT_PAGES, pages - 1] {
        assert!(read(&earlier, index) == page(index), "page {index}");
    }
    assert!(read(&memory, 0)[..20] == *b"\x01\x01\x01\x01\x01changed\x01\x01\x01\x01\x01\x01\x01\x01");
}

#[test]
fn a_page_in_a_file_that_became_shorter_is_not_zeros() {
    let file = file_of(&[7; 4 * PAGE]);
    let memory = StableMemory::from_file(file.try_clone().expect("a file")).expect("a file");
    file.set_len(0).expect("a file");
    let read = std::panic::AssertUnwindSafe(|| memory.read(0, &mut [0; 8]));
    assert!(std::panic::catch_unwind(read).is_err());
}
