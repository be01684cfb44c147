//! Encodings shared by the records: CBOR with numbered fields after one version byte, and the Candid of layout 1.
//!
//! A new CBOR field gets the next free number and is optional, so that older records still decode.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::CandidType;
use candid::ser::{TypeSerialize, ValueSerializer};
use candid::types::{Type, TypeId};

pub use ic_stable_migrate::codec::{decode, encode};

/// Implements [`Record`](crate::stable::Record) for a type that is stored as CBOR after its version in one byte.
/// `format`: the version is the record's `FORMAT`, so that a record of a newer build is recognized as one; `version`:
/// it is not, so that such a record is an error like any other.
macro_rules! cbor_record {
    ($record:ty, $name:literal, format $version:expr) => {
        $crate::stable::codec::cbor_record!($record, $name, $version, Some($version));
    };
    ($record:ty, $name:literal, version $version:expr) => {
        $crate::stable::codec::cbor_record!($record, $name, $version, None);
    };
    ($record:ty, $name:literal, $version:expr, $format:expr) => {
        impl $crate::stable::Record for $record {
            const NAME: &'static str = $name;
            const FORMAT: Option<u8> = $format;

            fn encode(&self) -> Vec<u8> {
                $crate::stable::codec::encode($version, self)
            }

            fn decode(bytes: &[u8]) -> std::result::Result<Self, String> {
                $crate::stable::codec::decode($version, bytes)
            }
        }
    };
}
pub(crate) use cbor_record;

/// `#[cbor(with)]` for `Option<ByteBuf>`: a byte string or null.
pub mod opt_bytes {
    pub use ic_stable_migrate::codec::opt_bytes::*;

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(stable_schema::Shape::Bytes.into())
    }
}

/// `#[cbor(with)]` for an optional digest of 32 bytes: a byte string or null.
pub mod opt_digest {
    pub use ic_stable_migrate::codec::opt_digest::*;

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(stable_schema::Shape::FixedBytes(32).into())
    }
}

/// Encodes `(version, value)` as two Candid arguments: the encoding of layout 1. The first public release writes one
/// argument, a tuple; see `migrations/public_release`.
///
/// The header, with the type table, is the same for every record of a type. Building the header is most of the cost of
/// encoding, so it is cached on the heap.
pub fn encode_candid<T: CandidType>(version: u16, value: &T) -> Vec<u8> {
    // Encoding a value of a static type is infallible: the encoder's errors are about unresolved types.
    try_encode_candid(version, value).unwrap_or_else(|_| unreachable_encoding())
}

fn try_encode_candid<T: CandidType>(version: u16, value: &T) -> Result<Vec<u8>, candid::Error> {
    let mut values = ValueSerializer::new();
    version.idl_serialize(&mut values)?;
    value.idl_serialize(&mut values)?;
    if let Some(bytes) =
        HEADERS.with_borrow(|headers| Some([headers.get(&T::id())?, values.get_result()].concat()))
    {
        return Ok(bytes);
    }
    let header = cache_candid_header::<T>()?;
    Ok([&header, values.get_result()].concat())
}

thread_local! {
    static HEADERS: RefCell<BTreeMap<TypeId, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Returns the header with which every record of a type begins, and caches it on the heap.
///
/// # Errors
/// Does not fail for a static type.
pub fn cache_candid_header<T: CandidType>() -> Result<Vec<u8>, candid::Error> {
    // The library does this before each message, too: types remembered from other messages would change the type table.
    candid::types::internal::env_clear();
    let header = candid_header(&[u16::ty(), T::ty()])?;
    HEADERS.with_borrow_mut(|headers| headers.insert(T::id(), header.clone()));
    Ok(header)
}

/// Returns the magic and the type table of messages of these types, without caching them.
///
/// # Errors
/// Does not fail for static types.
pub fn candid_header(types: &[Type]) -> Result<Vec<u8>, candid::Error> {
    let mut table = TypeSerialize::new();
    for ty in types {
        table.push_type(ty)?;
    }
    table.serialize()?;
    Ok([b"DIDL", table.get_result()].concat())
}

/// Decodes the value of the Candid arguments `(version, value)`.
///
/// # Errors
/// What is wrong with the bytes: not Candid, another version, or another type.
pub fn decode_candid<T>(version: u16, bytes: &[u8]) -> Result<T, String>
where
    T: candid::CandidType + for<'de> candid::Deserialize<'de>,
{
    let (found, value): (u16, T) = candid::decode_args(bytes).map_err(|e| e.to_string())?;
    if found == version { Ok(value) } else { Err(format!("record version {found}, expected {version}")) }
}

#[cold]
#[allow(clippy::panic, reason = "proven unreachable: the types are static")]
fn unreachable_encoding() -> ! {
    panic!("encoding a value of a static type failed")
}

/// `#[cbor(with)]` for a time: nanoseconds.
pub mod time {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    use crate::session::Time;

    /// Writes an unsigned number.
    pub fn encode<C, W: Write>(
        value: &Time,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.u64(value.as_nanos())?;
        Ok(())
    }

    /// Reads an unsigned number.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Time, DecodeError> {
        Ok(Time::from_nanos(d.u64()?))
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Uint(64)
    }
}

/// `#[cbor(with)]` for a principal: its bytes.
pub mod principal {
    use candid::Principal;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    /// Writes a byte string of 0 to 29 bytes.
    pub fn encode<C, W: Write>(
        value: &Principal,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.bytes(value.as_slice())?;
        Ok(())
    }

    /// Reads a byte string of 0 to 29 bytes.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Principal, DecodeError> {
        Principal::try_from_slice(d.bytes()?).map_err(|e| DecodeError::message(e.to_string()))
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Opaque("principal".into(), 1)
    }
}

/// `#[cbor(with)]` for a principal that may be absent: its bytes, or null.
pub mod opt_principal {
    use candid::Principal;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    /// Writes a byte string of 0 to 29 bytes, or null.
    pub fn encode<C, W: Write>(
        value: &Option<Principal>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match value {
            Some(principal) => super::principal::encode(principal, e, ctx),
            None => e.null().map(drop),
        }
    }

    /// Reads a byte string of 0 to 29 bytes, or null.
    pub fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Option<Principal>, DecodeError> {
        if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            return Ok(None);
        }
        super::principal::decode(d, ctx).map(Some)
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(super::principal::shape().into())
    }
}

/// `#[cbor(with)]` for a list of principals.
pub mod principals {
    use candid::Principal;
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    /// Writes an array of byte strings.
    pub fn encode<C, W: Write>(
        value: &[Principal],
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        e.array(value.len() as u64)?;
        value.iter().try_for_each(|principal| super::principal::encode(principal, e, ctx))
    }

    /// Reads an array of byte strings.
    pub fn decode<C>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Vec<Principal>, DecodeError> {
        let len = d.array()?.ok_or_else(|| DecodeError::message("array of unknown length"))?;
        (0..len).map(|_| super::principal::decode(d, ctx)).collect()
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(test)]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::List(super::principal::shape().into())
    }
}
