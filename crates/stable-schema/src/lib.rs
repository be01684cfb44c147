//! Describes what a canister keeps in stable memory, and determines whether another build can read it.
//!
//! A Rust canister writes bytes that the next build must be able to read. With this crate, each build states what it
//! keeps: every memory with its id, structure, key and value, down to the numbered fields of each record. The
//! statement, a [`Schema`], is taken from the types themselves by [`StableSchema`], travels in the wasm as the public
//! metadata `stable:schema`, and is compared before an upgrade by [`compare`], for the upgrade and for the rollback.
//!
//! ```
//! use stable_schema::{Body, StableSchema, Value, Way, compare_values};
//!
//! #[derive(minicbor::Encode, minicbor::Decode, StableSchema)]
//! struct Account {
//!     #[n(0)]
//!     owner: String,
//!     #[n(1)]
//!     balance: u64,
//! }
//!
//! mod next {
//!     #[derive(minicbor::Encode, minicbor::Decode, stable_schema::StableSchema)]
//!     pub struct Account {
//!         #[n(0)]
//!         owner: String,
//!         #[n(1)]
//!         balance: u32,
//!     }
//! }
//!
//! let old = Value::one(1, Body::Cbor(Account::shape()));
//! let new = Value::one(1, Body::Cbor(next::Account::shape()));
//! let reasons = compare_values(&old, &new, Way::Upgrade);
//! assert_eq!(reasons[0].to_string(), "v1.balance: forbidden: a u64 where u32 is read");
//! ```
//!
//! Owns: the schema, its text form, the rules. Does not own: where a schema comes from (a wasm, a file), and what is
//! printed. The rules for CBOR are those of minicbor's derive, the rules for maps those of ic-stable-structures 0.7.

#[cfg(feature = "compare")]
mod candid_records;
mod candid_types;
#[cfg(feature = "compare")]
mod compare;
#[cfg(feature = "compare")]
pub mod interface;
mod plain;
#[cfg(feature = "compare")]
mod rules;
mod schema;
mod shape;

pub use candid_types::candid_text;
#[cfg(feature = "compare")]
pub use compare::{Comparison, Line, SchemaMismatch, compare};
pub use plain::{Plain, PlainBytes, Size};
#[cfg(feature = "compare")]
pub use rules::{Compatibility, Reason, Rule, Way, compare_values};
pub use schema::{Body, FORMAT, METADATA, Memory, Migration, Schema, SchemaError, Structure, Value};
pub use shape::{ByteString, Encoding, Enum, Field, Record, Shape, StableSchema, Tag, Variant};
pub use stable_schema_derive::StableSchema;
