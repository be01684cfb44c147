//! The schema: a description of stable memory, taken from the types of the open structures.
//!
//! Compiled for tests only: the wasm contains the schema as text, `schemas/BUILD.json`, which a test compares with the
//! types. Each store describes its own structures, so that the type of a field determines the schema.

use ic_stable_structures::{StableBTreeMap, Storable};
use stable_schema::{Body, Memory as Entry, Plain, PlainBytes, Size, Structure, Value};

use super::layout::Layout;
use super::memory_ids::{self, ALL};
use super::{Memory, Register, Table};

#[cfg(all(feature = "compat", feature = "direct"))]
mod tests;

/// A record whose stored form can be described.
pub trait Described {
    /// Returns the stored form.
    fn value() -> Value;
}

/// Implements [`Described`] for a record that is stored as a version and then CBOR or Candid.
macro_rules! described {
    ($record:ty, cbor $version:expr) => {
        $crate::stable::schema::described!(
            $record,
            $version,
            stable_schema::Body::Cbor(<$record as stable_schema::StableSchema>::shape())
        );
    };
    ($record:ty, candid $version:ident of $stored:ty) => {
        $crate::stable::schema::described!(
            $record,
            $version,
            stable_schema::Body::Candid(stable_schema::candid_text::<$stored>())
        );
    };
    ($record:ty, $version:expr, $body:expr) => {
        impl $crate::stable::schema::Described for $record {
            fn value() -> stable_schema::Value {
                stable_schema::Value::one(u16::from($version), $body)
            }
        }
    };
}
pub(crate) use described;

macro_rules! plain_records {
    ($($record:ty),*) => {
        $(impl Described for $record {
            fn value() -> Value {
                // A table stores the bytes of a record, of any length.
                Value::Plain(Plain { name: <$record as PlainBytes>::name(), size: Size::Unbounded })
            }
        })*
    };
}

plain_records!((), u64, String);

described!(Layout, 1_u8, Body::Opaque("u16 after UPL and the version of the header, big-endian".into()));

/// The descriptions of the open structures. In its methods, `None` is a structure that is opened when it is first
/// needed.
#[derive(Debug, Default)]
pub struct Description {
    /// The memories, in no particular order.
    pub memories: Vec<Entry>,
}

impl Description {
    fn add(&mut self, id: u8, structure: Structure, key: Option<Plain>, value: Option<Value>) {
        let known = ALL.iter().find(|(known, ..)| *known == id);
        let (_, name, declared) = known.unwrap_or_else(|| panic!("memory {id} is not in the table of ids"));
        let agrees = match structure {
            Structure::Map => *declared == memory_ids::Structure::Map,
            Structure::Cell => *declared == memory_ids::Structure::Cell,
            Structure::Raw(..) => {
                [memory_ids::Structure::Region, memory_ids::Structure::Counters].contains(declared)
            }
            Structure::Reserved => false,
        };
        assert!(agrees, "memory {id}, {name}: {declared:?} in the table of ids, {structure:?} in the code");
        assert!(
            self.memories.iter().all(|memory| memory.id != id),
            "memory {id}, {name}, is described twice"
        );
        self.memories.push(Entry { id, name: (*name).into(), structure, key, value });
    }

    /// Describes a table by its type; `None` is a table that is opened when it is first needed.
    pub fn table<'t, K, V>(&mut self, id: u8, _: impl Into<Option<&'t Table<K, V>>>)
    where
        K: Storable + Ord + Clone + PlainBytes + 't,
        V: Described + 't,
    {
        self.add(id, Structure::Map, Some(K::plain()), Some(V::value()));
    }

    /// Describes a table whose type of value only its readers know; `tests::schema` adds that type.
    pub fn raw_table<K: Storable + Ord + Clone + PlainBytes, V>(&mut self, id: u8, _: &Table<K, V>) {
        self.add(id, Structure::Map, Some(K::plain()), None);
    }

    /// Describes a map that is opened through the library, without [`Table`].
    pub fn map<'m, K, V>(&mut self, id: u8, _: impl Into<Option<&'m StableBTreeMap<K, V, Memory>>>)
    where
        K: Storable + Ord + Clone + PlainBytes + 'm,
        V: Storable + PlainBytes + 'm,
    {
        self.add(id, Structure::Map, Some(K::plain()), Some(Value::Plain(V::plain())));
    }

    /// Describes a register by its type; `None` is a register that is opened when it is first needed.
    pub fn register<'r, V: Described + 'r>(&mut self, id: u8, _: impl Into<Option<&'r Register<V>>>) {
        self.add(id, Structure::Cell, None, Some(V::value()));
    }

    /// Describes a memory that begins with a header of our own, of this version; `value` describes the records in the
    /// memory, if it has any.
    pub fn raw(&mut self, id: u8, version: u8, value: Option<Value>) {
        let magic = ALL.iter().find(|(known, ..)| *known == id).and_then(|(.., structure)| structure.magic());
        let magic = String::from_utf8_lossy(magic.unwrap_or(b"???")).into_owned();
        self.add(id, Structure::Raw(magic, version.into()), None, value);
    }
}
