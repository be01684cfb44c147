//! The schema of a build, and its text form.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Plain, Shape};

/// Version of the text form. A reader refuses later versions.
pub const FORMAT: u32 = 1;

/// Name of the public metadata that holds the schema in a wasm.
pub const METADATA: &str = "stable:schema";

/// What a build keeps in stable memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Schema {
    /// Version of the text form; this crate writes [`FORMAT`].
    pub format: u32,
    /// The canister: schemas of two canisters are not compared.
    pub canister: String,
    /// Name of the build.
    pub build: String,
    /// Layouts that the build accepts at an upgrade, and may leave in stable memory.
    pub layouts: Vec<u16>,
    /// Whether the build refuses an upgrade if a memory that it does not have is in use.
    pub refuses_unknown_memories: bool,
    /// Migrations that the build can run, in ascending order of their numbers.
    #[serde(default)]
    pub migrations: Vec<Migration>,
    /// Every memory, in ascending order of the ids.
    pub memories: Vec<Memory>,
}

/// A migration between two layouts.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Migration {
    /// Its number.
    pub number: u16,
    /// Its name.
    pub name: String,
    /// Layout that it starts from.
    pub from: u16,
    /// Layout that it leads to.
    pub to: u16,
    /// Whether this build can roll it back.
    pub reversible: bool,
    /// Memories that it takes records from.
    pub takes_from: Vec<u8>,
    /// Memories that it puts records into.
    pub puts_into: Vec<u8>,
}

/// One memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Memory {
    /// Its id.
    pub id: u8,
    /// Its name. An id with another name is another memory.
    pub name: String,
    /// The structure in it.
    pub structure: Structure,
    /// Its keys, if it is a map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Plain>,
    /// Its values; `None` for a reserved id, and for raw bytes without values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
}

/// The structure in a memory.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Structure {
    /// A `StableBTreeMap`.
    Map,
    /// A `StableCell`.
    Cell,
    /// Bytes in a format of the canister's own, given by name and version.
    Raw(String, u32),
    /// A tombstone: no memory may use the id, in most cases because one did in an earlier build.
    Reserved,
}

/// What is stored as the value of a map or a cell.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Value {
    /// Bytes of a fixed meaning.
    Plain(Plain),
    /// A version number followed by a record; the build reads each of these versions, and may write any of them.
    Versions(BTreeMap<u16, Body>),
}

/// A record of one version.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Body {
    /// CBOR with numbered fields.
    Cbor(Shape),
    /// Candid: type definitions as [`candid_text`](crate::candid_text) writes them; the one named `stored` is the
    /// record's own type.
    Candid(String),
    /// Bytes in a format that only the canister's code knows, given by its name. ([`Shape::Opaque`] is a part of a CBOR
    /// record in such a format.)
    Opaque(String),
}

impl Value {
    /// Returns the type of a record that has one version.
    pub fn one(version: u16, body: Body) -> Self {
        Self::Versions(BTreeMap::from([(version, body)]))
    }
}

/// Text that is not a schema.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// Not JSON, or JSON that does not have the form of a schema.
    #[error("not a stable schema: {0}")]
    Json(#[from] serde_json::Error),
    /// Of a later version of the text form.
    #[error("the stable schema has format {found}, this program reads up to {FORMAT}: use a later one")]
    Format {
        /// Format of the schema.
        found: u32,
    },
    /// There are two entries for the same item, or the entries are not in order.
    #[error("not a stable schema: {what} {number} is listed twice or out of order")]
    Order {
        /// The kind of the item.
        what: &'static str,
        /// Number or id of the item in the second entry.
        number: u32,
    },
}

/// The part that a text of any format has.
#[derive(Deserialize)]
struct Head {
    format: u32,
}

impl Schema {
    /// Reads the text form.
    pub fn from_json(json: &[u8]) -> Result<Self, SchemaError> {
        let Head { format } = serde_json::from_slice(json)?;
        if format > FORMAT {
            return Err(SchemaError::Format { found: format });
        }
        let schema: Self = serde_json::from_slice(json)?;
        check_ascending("memory", schema.memories.iter().map(|memory| memory.id.into()))?;
        check_ascending("migration", schema.migrations.iter().map(|migration| migration.number.into()))?;
        check_ascending("layout", schema.layouts.iter().map(|layout| (*layout).into()))?;
        Ok(schema)
    }

    /// Returns the text form, with line breaks, as it is checked in.
    pub fn to_json(&self) -> String {
        let mut json = Vec::new();
        let formatter = serde_json::ser::PrettyFormatter::with_indent(b" ");
        // Writing to a vector is infallible, and every key of a map is a text or a number.
        let _ = self.serialize(&mut serde_json::Serializer::with_formatter(&mut json, formatter));
        json.push(b'\n');
        String::from_utf8(json).unwrap_or_default()
    }

    /// Returns the text form without blanks, as it travels in a wasm.
    pub fn to_compact_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

fn check_ascending(what: &'static str, numbers: impl Iterator<Item = u32>) -> Result<(), SchemaError> {
    let mut last = None;
    for number in numbers {
        if last.is_some_and(|last| number <= last) {
            return Err(SchemaError::Order { what, number });
        }
        last = Some(number);
    }
    Ok(())
}
