#!/usr/bin/env bash
# ic-stable-structures 0.7.2 (crates.io), a key that becomes unbounded
#
# Expected: "you can, however, migrate from a bounded type to an unbounded type if needed" (crate documentation,
#   StableBTreeMap, Warning), and the type of the key only has to read the same bytes.
# Actual: this is so for values, and for keys of variable size. Keys of a fixed size are stored without their lengths, so
#   under the unbounded type the bytes of the first key are read as a length: the key is read as another one, is not
#   found, and can be inserted a second time, while `init` and `len` look fine. Other maps panic instead.
# Affected: canisters whose ids were 8 bytes and become texts in an upgrade: the new build reads wrong keys, and what it
#   inserts is stored among them, so that the old build cannot read the map either. Copy into a new map.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
use ic_stable_structures::{storable::Bound, StableBTreeMap, Storable, VectorMemory};
use std::borrow::Cow;

/// Four bytes, whose bound depends on the build: of a fixed size, of a maximum size, or unbounded.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Id<const KIND: u8>(Vec<u8>);

const FIXED: u8 = 0;
const MAXIMUM: u8 = 1;
const UNBOUNDED: u8 = 2;

impl<const KIND: u8> Storable for Id<KIND> {
    const BOUND: Bound = match KIND {
        UNBOUNDED => Bound::Unbounded,
        kind => Bound::Bounded { max_size: 4, is_fixed_size: kind == FIXED },
    };
    fn to_bytes(&self) -> Cow<'_, [u8]> { Cow::Borrowed(&self.0) }
    fn into_bytes(self) -> Vec<u8> { self.0 }
    fn from_bytes(bytes: Cow<[u8]>) -> Self { Self(bytes.into_owned()) }
}

fn id<const KIND: u8>(number: u32) -> Id<KIND> {
    Id(number.to_be_bytes().to_vec())
}

fn keys<const OLD: u8, const NEW: u8>(what: &str, entries: u32) {
    let memory = VectorMemory::default();
    let mut old = StableBTreeMap::<Id<OLD>, u32, _>::init(memory.clone());
    (0..entries).for_each(|number| { old.insert(id(number), number); });
    let open = || StableBTreeMap::<Id<NEW>, u32, _>::init(memory.clone());
    println!("{what}, {entries}: len {}, first key {}, found {}", open().len(),
        format!("{:?}", open().first_key_value().unwrap().0 .0),
        (0..entries).filter(|number| open().contains_key(&id(*number))).count());
    if entries == 1 {
        open().insert(id(0), 7);
        println!("  inserted again: len {}", open().len());
    }
}

fn main() {
    keys::<MAXIMUM, UNBOUNDED>("maximum to unbounded", 1);
    keys::<MAXIMUM, UNBOUNDED>("maximum to unbounded", 30);
    keys::<FIXED, UNBOUNDED>("fixed to unbounded", 1);

    let memory = VectorMemory::default();
    let mut old = StableBTreeMap::<u32, Id<FIXED>, _>::init(memory.clone());
    (0..30).for_each(|number| { old.insert(number, id(number)); });
    let new = StableBTreeMap::<u32, Id<UNBOUNDED>, _>::init(memory);
    println!("values, fixed to unbounded, 30: found {}", (0..30).filter(|number| new.get(number) == Some(id(*number))).count());
}
EOF
rust_program > seen <<'EOF'
ic-stable-structures = "=0.7.2"
EOF
expect_seen <<'EOF'
maximum to unbounded, 1: len 1, first key [0, 0, 0, 0], found 1
  inserted again: len 1
maximum to unbounded, 30: len 30, first key [0, 0, 0, 0], found 30
fixed to unbounded, 1: len 1, first key [], found 0
  inserted again: len 2
values, fixed to unbounded, 30: found 30
EOF
