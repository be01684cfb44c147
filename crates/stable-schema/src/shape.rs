//! The shape of a CBOR value, as minicbor encodes it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// The shape of a CBOR value.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// True or false.
    Bool,
    /// An unsigned integer of this many bits.
    Uint(u8),
    /// A signed integer of this many bits.
    Int(u8),
    /// A floating-point number of this many bits.
    Float(u8),
    /// UTF-8.
    Text,
    /// A byte string of any length.
    Bytes,
    /// A byte string of this length.
    FixedBytes(u32),
    /// Null or a value.
    Optional(Box<Shape>),
    /// Any number of values.
    List(Box<Shape>),
    /// Exactly this many values, all of one shape.
    FixedList(u32, Box<Shape>),
    /// Values of these shapes, in this order.
    Tuple(Vec<Shape>),
    /// Keys and values.
    Map(Box<Shape>, Box<Shape>),
    /// Numbered fields.
    Record(Record),
    /// One of several numbered variants.
    Enum(Enum),
    /// Bytes in a format that only the canister's code knows, given by its name and version.
    Opaque(String, u32),
}

/// How numbered fields are stored.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// An array: the number of a field is its index.
    Array,
    /// A map from number to value.
    Map,
}

/// How a variant is identified.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Tag {
    /// By an array of its number and its fields.
    Pair,
    /// By the number alone (`#[cbor(index_only)]`).
    Number,
}

/// A struct.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Name of the type; renaming a type changes nothing.
    pub name: String,
    /// How its fields are stored.
    pub encoding: Encoding,
    /// Its fields.
    pub fields: Vec<Field>,
}

/// A numbered field.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Field {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// Whether the field has the attribute `#[cbor(default)]`, so that it may be absent. An optional field may be
    /// absent even without the attribute.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub default: bool,
    /// Its shape.
    pub shape: Shape,
}

impl Field {
    /// Returns whether a record without the field decodes.
    pub const fn may_be_absent(&self) -> bool {
        self.default || matches!(self.shape, Shape::Optional(_))
    }
}

/// An enum.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Enum {
    /// Name of the type; renaming a type changes nothing.
    pub name: String,
    /// How a variant is identified.
    pub tag: Tag,
    /// Its variants.
    pub variants: Vec<Variant>,
}

/// A numbered variant.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Its number.
    pub number: u32,
    /// Its name.
    pub name: String,
    /// How its fields are stored.
    pub encoding: Encoding,
    /// Its fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fields: Vec<Field>,
}

impl Shape {
    /// Returns a short description of the shape.
    pub fn describe(&self) -> String {
        match self {
            Self::Bool => "bool".into(),
            Self::Uint(bits) => format!("u{bits}"),
            Self::Int(bits) => format!("i{bits}"),
            Self::Float(bits) => format!("f{bits}"),
            Self::Text => "text".into(),
            Self::Bytes => "byte string".into(),
            Self::FixedBytes(len) => format!("byte string of {len}"),
            Self::Optional(inner) => format!("optional {}", inner.describe()),
            Self::List(inner) => format!("list of {}", inner.describe()),
            Self::FixedList(len, inner) => format!("list of {len} {}", inner.describe()),
            Self::Tuple(parts) => {
                format!("({})", parts.iter().map(Self::describe).collect::<Vec<_>>().join(", "))
            }
            Self::Map(key, value) => format!("map from {} to {}", key.describe(), value.describe()),
            Self::Record(record) => format!("record {}", record.name),
            Self::Enum(shape) => format!("enum {}", shape.name),
            Self::Opaque(name, version) => format!("{name} in version {version}"),
        }
    }
}

/// A type whose CBOR has a known shape. Derived for types that derive minicbor's `Encode` and `Decode`.
pub trait StableSchema {
    /// Returns the shape.
    fn shape() -> Shape;
}

/// A type that `minicbor::bytes` encodes as a byte string. Without that module, minicbor encodes a `Vec<u8>` as a list.
pub trait ByteString {
    /// Returns the shape.
    fn shape() -> Shape;
}

impl ByteString for Vec<u8> {
    fn shape() -> Shape {
        Shape::Bytes
    }
}

impl ByteString for ByteBuf {
    fn shape() -> Shape {
        Shape::Bytes
    }
}

impl<const N: usize> ByteString for [u8; N] {
    fn shape() -> Shape {
        Shape::FixedBytes(to_u32(N))
    }
}

impl<T: ByteString> ByteString for Option<T> {
    fn shape() -> Shape {
        Shape::Optional(T::shape().into())
    }
}

fn to_u32(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

macro_rules! shapes {
    ($($ty:ty => $shape:expr;)*) => {
        $(impl StableSchema for $ty {
            fn shape() -> Shape {
                $shape
            }
        })*
    };
}

shapes! {
    bool => Shape::Bool;
    u8 => Shape::Uint(8);
    u16 => Shape::Uint(16);
    u32 => Shape::Uint(32);
    u64 => Shape::Uint(64);
    i8 => Shape::Int(8);
    i16 => Shape::Int(16);
    i32 => Shape::Int(32);
    i64 => Shape::Int(64);
    f32 => Shape::Float(32);
    f64 => Shape::Float(64);
    String => Shape::Text;
}

impl<T: StableSchema> StableSchema for Option<T> {
    fn shape() -> Shape {
        Shape::Optional(T::shape().into())
    }
}

impl<T: StableSchema> StableSchema for Box<T> {
    fn shape() -> Shape {
        T::shape()
    }
}

impl<T: StableSchema> StableSchema for Vec<T> {
    fn shape() -> Shape {
        Shape::List(T::shape().into())
    }
}

impl<T: StableSchema, const N: usize> StableSchema for [T; N] {
    fn shape() -> Shape {
        Shape::FixedList(to_u32(N), T::shape().into())
    }
}

impl<K: StableSchema, V: StableSchema> StableSchema for BTreeMap<K, V> {
    fn shape() -> Shape {
        Shape::Map(K::shape().into(), V::shape().into())
    }
}

impl<A: StableSchema, B: StableSchema> StableSchema for (A, B) {
    fn shape() -> Shape {
        Shape::Tuple(vec![A::shape(), B::shape()])
    }
}

impl<A: StableSchema, B: StableSchema, C: StableSchema> StableSchema for (A, B, C) {
    fn shape() -> Shape {
        Shape::Tuple(vec![A::shape(), B::shape(), C::shape()])
    }
}
