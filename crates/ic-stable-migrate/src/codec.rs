//! The encoding of the engine's state, journal and quarantine records, and of any record of a canister that uses it:
//! CBOR with numbered fields after one version byte.
//!
//! ```text
//! byte 0      version of the record type
//! byte 1..    CBOR (minicbor), every field under its number
//! ```
//! A new field gets the next free number and is optional, so that older records still decode.

use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::{Decode, Encode};

/// Capacity that suffices for most records, bytes: growing an empty buffer would copy a record several times.
const USUAL_BYTES: usize = 256;

/// Encodes `version` and the CBOR of `value`.
///
/// ```
/// use ic_stable_migrate::codec;
///
/// #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
/// struct Balance {
///     #[n(0)]
///     cents: u64,
/// }
///
/// let stored = codec::encode(1, &Balance { cents: 100 });
/// assert_eq!(stored, [1, 0x81, 0x18, 100], "the version, an array of one field, a number");
/// assert_eq!(codec::decode(1, &stored), Ok(Balance { cents: 100 }));
/// ```
pub fn encode<T: Encode<()>>(version: u8, value: &T) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(USUAL_BYTES);
    bytes.push(version);
    // Writing to a Vec is infallible, and the derived encoders add no errors of their own.
    let Ok(()) = minicbor::encode(value, &mut bytes) else { unreachable_encoding() };
    bytes
}

#[cold]
#[allow(clippy::panic, reason = "proven unreachable: the writer's error type is Infallible")]
fn unreachable_encoding() -> ! {
    panic!("encoding into a Vec failed")
}

/// Decodes what [`encode`] has written with this version.
///
/// ```
/// use ic_stable_migrate::codec;
///
/// let stored = codec::encode(2, &"text");
/// assert_eq!(codec::decode::<&str>(2, &stored), Ok("text"));
/// assert_eq!(codec::decode::<&str>(1, &stored), Err("record version 2, expected 1".into()));
/// ```
///
/// # Errors
/// What is wrong with the bytes, such as another version, a missing field, or trailing bytes.
pub fn decode<'b, T: Decode<'b, ()>>(version: u8, bytes: &'b [u8]) -> Result<T, String> {
    let (found, body) = bytes.split_first().ok_or("the record is empty")?;
    if *found != version {
        return Err(format!("record version {found}, expected {version}"));
    }
    let mut decoder = Decoder::new(body);
    let value = decoder.decode::<T>().map_err(|e| e.to_string())?;
    if decoder.position() == body.len() {
        Ok(value)
    } else {
        Err(format!("{} bytes after the record", body.len().saturating_sub(decoder.position())))
    }
}

/// Reads null as `None`, and any other value with `read`.
pub(crate) fn null_or<'b, T>(
    d: &mut Decoder<'b>,
    read: impl FnOnce(&mut Decoder<'b>) -> Result<T, DecodeError>,
) -> Result<Option<T>, DecodeError> {
    if d.datatype()? == Type::Null {
        d.null()?;
        return Ok(None);
    }
    read(d).map(Some)
}

/// `#[cbor(with)]` for `Option<ByteBuf>`: a byte string or null.
///
/// ```
/// use serde_bytes::ByteBuf;
///
/// #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
/// struct Upload {
///     #[cbor(n(0), with = "ic_stable_migrate::codec::opt_bytes")]
///     token: Option<ByteBuf>,
///     #[cbor(n(1), with = "ic_stable_migrate::codec::opt_digest")]
///     digest: Option<[u8; 32]>,
/// }
///
/// let upload = Upload { token: Some(ByteBuf::from([1, 2])), digest: None };
/// let stored = minicbor::to_vec(&upload)?;
/// assert_eq!(stored, [0x81, 0x42, 1, 2], "a byte string, not a list of numbers");
/// assert_eq!(minicbor::decode::<Upload>(&stored)?, upload);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod opt_bytes {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};
    use serde_bytes::ByteBuf;

    /// Writes a byte string or null.
    pub fn encode<C, W: Write>(
        value: &Option<ByteBuf>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match value {
            Some(bytes) => e.bytes(bytes)?,
            None => e.null()?,
        };
        Ok(())
    }

    /// Reads a byte string or null.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<ByteBuf>, DecodeError> {
        super::null_or(d, |d| d.bytes().map(ByteBuf::from))
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(all(test, feature = "_schema"))]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(stable_schema::Shape::Bytes.into())
    }
}

/// `#[cbor(with)]` for an optional digest of 32 bytes: a byte string or null.
///
/// ```
/// use ic_stable_migrate::digest_of;
///
/// #[derive(Debug, PartialEq, minicbor::Encode, minicbor::Decode)]
/// struct File {
///     #[cbor(n(0), with = "ic_stable_migrate::codec::opt_digest")]
///     digest: Option<[u8; 32]>,
/// }
///
/// let file = File { digest: Some(digest_of(b"bytes")) };
/// let stored = minicbor::to_vec(&file)?;
/// assert_eq!(minicbor::decode::<File>(&stored)?, file);
/// assert!(minicbor::decode::<File>(&[0x81, 0x42, 1, 2]).is_err(), "a digest has 32 bytes");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub mod opt_digest {
    use minicbor::decode::{Decoder, Error as DecodeError};
    use minicbor::encode::{Encoder, Error as EncodeError, Write};

    /// Writes a byte string or null.
    pub fn encode<C, W: Write>(
        value: &Option<[u8; 32]>,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match value {
            Some(bytes) => e.bytes(bytes)?,
            None => e.null()?,
        };
        Ok(())
    }

    /// Reads a byte string of 32 bytes or null.
    pub fn decode<C>(d: &mut Decoder<'_>, _: &mut C) -> Result<Option<[u8; 32]>, DecodeError> {
        let digest = |bytes: &[u8]| {
            <[u8; 32]>::try_from(bytes).map_err(|_| DecodeError::message("a digest has 32 bytes"))
        };
        super::null_or(d, |d| d.bytes().and_then(digest))
    }

    /// Returns the shape of the stored value, for the schema.
    #[cfg(all(test, feature = "_schema"))]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(stable_schema::Shape::FixedBytes(32).into())
    }
}
