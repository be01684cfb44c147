//! Stable memory that no build of this canister left like that: every build refuses it by name, and the old
//! code continues, and memory is unchanged.

use crate::support::World;
use crate::support::legacy_state::{image, memory_of};
use ic_stable_structures::Memory as _;
use ic_stable_structures::memory_manager::MemoryId;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use upload_canister::stable::layout::Layout;
use upload_canister::stable::{Memories, RawMemory, memory_ids};
use upload_canister::storage::Storage;

type Damage = fn(&RawMemory);

/// What was done to the memory, and what the refusal must say of it.
const CASES: &[(&str, Damage, &[&str])] = &[
    (
        "a raw stable_save",
        |raw| raw.write(0, b"DIDL\x00\x01"),
        &["begins with [44, 49, 44, 4c]", "stable_save"],
    ),
    (
        "a memory manager of another version",
        |raw| raw.write(0, b"MGR\x09"),
        &["begins with [4d, 47, 52, 09]", "version 1"],
    ),
    (
        "zeros",
        |raw| raw.write(0, &[0; 4]),
        &["begins with [00, 00, 00, 00]", "expected the memory manager's"],
    ),
    (
        "a damaged header",
        |raw| raw.write(4, &[0xff, 0x7f]),
        &["at offset 4", "number of buckets", "restore a snapshot"],
    ),
    (
        "a wrong magic",
        |raw| Memories::init(raw.clone()).get(memory_ids::SESSIONS).write(0, b"XYZ"),
        &["memory id 11 (SESSIONS)", "58, 59, 5a", "\"BTR\""],
    ),
    (
        "a newer layout",
        |raw| Storage::open_existing(raw.clone()).unwrap().layout.set(&Layout(99)),
        &["stable memory is in layout 99", "accepts"],
    ),
    (
        "a second memory manager",
        |raw| assert!(Memories::init(raw.clone()).get(MemoryId::new(42)).grow(1) >= 0),
        &["memory id 42 has 1 pages", "second memory manager"],
    ),
];

#[test]
fn each_is_refused_with_what_where_and_what_to_do() {
    let world = World::new(Build::Legacy);
    let (healthy, _) = image(3, world.pic.get_time().as_nanos_since_unix_epoch());
    for (what, damage, said) in CASES {
        let raw = memory_of(&healthy);
        damage(&raw);
        let damaged = raw.borrow().clone();
        world.pic.set_stable_memory(world.id, damaged.clone(), BlobCompression::NoCompression);
        for build in [Build::Legacy, Build::Staged, Build::Direct] {
            let refused = world.try_upgrade(build).unwrap_err().reject_message;
            for words in said.iter().chain(&["upgrade refused", "nothing was changed"]) {
                assert!(refused.contains(words), "{what}, {build}: {refused}");
            }
            assert!(world.pic.get_stable_memory(world.id) == damaged, "{what}, {build}");
            let info: upload_canister::api::BuildInfo = world.plain("build_info", ());
            assert_eq!(info.build, "legacy", "the old code goes on");
        }
    }
}
