//! Reads the values of a Candid message whose types are known to be those of the reader, through serde.
//!
//! ```text
//! bool, nat8 to nat64, float32   one byte, or little-endian
//! text, blob, vec                length as LEB128, then the bytes or elements
//! opt                            0, or 1 and the value
//! variant                        index of the case in the order of the hashes as LEB128, then its value
//! record                         the fields in the order of the hashes of their names
//! ```
//! The reader is strict: it accepts only what an encoder writes, and leaves everything else to the library.

use candid::idl_hash;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use crate::leb128;

/// The bytes are not what an encoder writes, or have a type that is not supported here.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a supported encoding")]
pub struct NotReadHere;

impl serde::de::Error for NotReadHere {
    fn custom<T: std::fmt::Display>(_: T) -> Self {
        Self
    }
}

type ReadResult<T> = Result<T, NotReadHere>;

/// A cursor over values; texts and blobs are borrowed from the message.
pub struct Values<'de> {
    rest: &'de [u8],
    /// Arguments that the message has after the current one.
    arguments_left: usize,
}

impl<'de> Values<'de> {
    /// Returns a reader of the values of a message with this many arguments; `bytes` begins after the type table.
    pub const fn new(bytes: &'de [u8], arguments: usize) -> Self {
        Self { rest: bytes, arguments_left: arguments }
    }

    /// Returns a reader for the next argument. After the last argument of the message, each further argument reads as
    /// an absent option; `None` if bytes are left over.
    pub fn next_argument(&mut self) -> Option<&mut Self> {
        match self.arguments_left.checked_sub(1) {
            Some(left) => self.arguments_left = left,
            None if self.rest.is_empty() => self.rest = &[0],
            None => return None,
        }
        Some(self)
    }

    /// Returns whether every byte was read.
    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take_array<const N: usize>(&mut self) -> ReadResult<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(NotReadHere)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// Reads a LEB128 number in its shortest encoding, below 2^28: no message is that long.
    fn take_length(&mut self) -> ReadResult<usize> {
        leb128::take_shortest(&mut self.rest, 4).map(|value| value as usize).ok_or(NotReadHere)
    }

    fn take_bytes(&mut self) -> ReadResult<&'de [u8]> {
        let len = self.take_length()?;
        let (taken, rest) = self.rest.split_at_checked(len).ok_or(NotReadHere)?;
        self.rest = rest;
        Ok(taken)
    }
}

macro_rules! numbers {
    ($($method:ident $visit:ident $number:ty),* $(,)?) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
            visitor.$visit(<$number>::from_le_bytes(self.take_array()?))
        }
    )*};
}

impl<'de> Deserializer<'de> for &mut Values<'de> {
    type Error = NotReadHere;

    fn is_human_readable(&self) -> bool {
        false
    }

    numbers! {
        deserialize_u8 visit_u8 u8,
        deserialize_u16 visit_u16 u16,
        deserialize_u32 visit_u32 u32,
        deserialize_u64 visit_u64 u64,
        deserialize_f32 visit_f32 f32,
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        match self.take_array()? {
            [0] => visitor.visit_bool(false),
            [1] => visitor.visit_bool(true),
            _ => Err(NotReadHere),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_borrowed_str(std::str::from_utf8(self.take_bytes()?).map_err(|_| NotReadHere)?)
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_str(visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        visitor.visit_borrowed_bytes(self.take_bytes()?)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        match self.take_array()? {
            [0] => visitor.visit_none(),
            [1] => visitor.visit_some(self),
            _ => Err(NotReadHere),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> ReadResult<V::Value> {
        let left = self.take_length()?;
        visitor.visit_seq(Elements { values: self, left })
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        visitor.visit_map(Fields { values: self, names: in_wire_order(fields).into_iter() })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        cases: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        let case_index = self.take_length()?;
        let case = *in_wire_order(cases).get(case_index).ok_or(NotReadHere)?;
        visitor.visit_enum(Case { values: self, case })
    }

    /// Fails, since the encoding is not self-describing.
    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> ReadResult<V::Value> {
        Err(NotReadHere)
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u128 f64 char unit unit_struct newtype_struct tuple tuple_struct map identifier ignored_any
    }
}

/// Returns names in the order of their hashes, in which Candid writes fields and numbers cases.
fn in_wire_order(names: &'static [&'static str]) -> Vec<&'static str> {
    let mut names: Vec<_> = names.iter().map(|name| (idl_hash(name), *name)).collect();
    names.sort_unstable();
    names.into_iter().map(|(_, name)| name).collect()
}

/// The elements of a `vec`.
struct Elements<'a, 'de> {
    values: &'a mut Values<'de>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_, 'de> {
    type Error = NotReadHere;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> ReadResult<Option<T::Value>> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        seed.deserialize(&mut *self.values).map(Some)
    }

    /// Reserves no more elements than there are bytes left in the message.
    fn size_hint(&self) -> Option<usize> {
        Some(self.left.min(self.values.rest.len()))
    }
}

/// The fields of a record, and the names by which serde knows them, in the order of the message.
struct Fields<'a, 'de> {
    values: &'a mut Values<'de>,
    names: std::vec::IntoIter<&'static str>,
}

impl<'de> MapAccess<'de> for Fields<'_, 'de> {
    type Error = NotReadHere;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> ReadResult<Option<K::Value>> {
        self.names.next().map(|name| seed.deserialize(name.into_deserializer())).transpose()
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> ReadResult<V::Value> {
        seed.deserialize(&mut *self.values)
    }
}

/// One case of a variant, with its value.
struct Case<'a, 'de> {
    values: &'a mut Values<'de>,
    case: &'static str,
}

impl<'a, 'de> EnumAccess<'de> for Case<'a, 'de> {
    type Error = NotReadHere;
    type Variant = &'a mut Values<'de>;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> ReadResult<(V::Value, Self::Variant)> {
        Ok((seed.deserialize(self.case.into_deserializer())?, self.values))
    }
}

impl<'de> VariantAccess<'de> for &mut Values<'de> {
    type Error = NotReadHere;

    fn unit_variant(self) -> ReadResult<()> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> ReadResult<T::Value> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> ReadResult<V::Value> {
        Err(NotReadHere)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> ReadResult<V::Value> {
        self.deserialize_struct("", fields, visitor)
    }
}
