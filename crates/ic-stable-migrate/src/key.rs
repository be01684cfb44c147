//! Keys of units, and how they are stored.

mod tuples;

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use candid::Principal;
use ic_stable_structures::Storable;
use ic_stable_structures::storable::{Blob, Bound};
use minicbor::data::Type;
use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError, Write};

/// The key of a unit: a number, a principal, a text, bytes, a pair or triple of keys, or a type of the canister. Keys
/// are passed by value, so they should be small.
///
/// The engine stores keys in its records (as CBOR numbers if [`Key::number`] returns one, otherwise as the bytes of
/// [`Storable`]) and as keys of the quarantine. It reads them with [`Key::from_stored`], which returns an error for
/// damaged bytes; [`Storable::from_bytes`] may trap.
///
/// Pairs need no implementation of their own. Each of their two keys must have a fixed or a maximum size:
///
/// ```
/// use candid::Principal;
/// use ic_stable_migrate::Key;
/// use ic_stable_structures::Storable;
///
/// let key = (Principal::anonymous(), 7_u64);
/// let stored = key.to_bytes();
/// assert_eq!(<(Principal, u64)>::from_stored(&stored), Ok(key));
/// assert!(<(Principal, u64)>::from_stored(&stored[1..]).is_err());
/// assert_eq!((key.number(), u16::from_number(7)), (None, Some(7)));
/// ```
///
/// A key type defined by a canister:
///
/// ```
/// use std::borrow::Cow;
///
/// use ic_stable_migrate::Key;
/// use ic_stable_structures::Storable;
/// use ic_stable_structures::storable::Bound;
///
/// #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
/// struct AccountId([u8; 32]);
///
/// impl Storable for AccountId {
///     const BOUND: Bound = Bound::Bounded { max_size: 32, is_fixed_size: true };
///
///     fn to_bytes(&self) -> Cow<'_, [u8]> {
///         Cow::Borrowed(&self.0)
///     }
///
///     fn into_bytes(self) -> Vec<u8> {
///         self.0.to_vec()
///     }
///
///     fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
///         Self(bytes.as_ref().try_into().unwrap())
///     }
/// }
///
/// impl Key for AccountId {
///     fn from_stored(bytes: &[u8]) -> Result<Self, String> {
///         bytes.try_into().map(Self).map_err(|_| format!("{} bytes, expected 32", bytes.len()))
///     }
/// }
///
/// assert_eq!(AccountId::from_stored(&[7; 32]), Ok(AccountId([7; 32])));
/// assert!(AccountId::from_stored(&[7; 31]).is_err());
/// ```
pub trait Key: Storable + Ord + Clone + fmt::Debug + 'static {
    /// Decodes a key from the bytes of [`Storable::to_bytes`].
    ///
    /// # Errors
    /// The reason why the bytes are not a key.
    fn from_stored(bytes: &[u8]) -> Result<Self, String>;

    /// Returns the number that represents the key in the engine's records; `None` if the records store the bytes of the
    /// key instead.
    fn number(&self) -> Option<u64> {
        None
    }

    /// Returns the key represented by a number from [`Key::number`]; `None` if no key of this type has the number.
    fn from_number(_: u64) -> Option<Self> {
        None
    }
}

fn format_byte_count(bytes: &[u8]) -> String {
    match bytes.len() {
        1 => "1 byte".into(),
        len => format!("{len} bytes"),
    }
}

macro_rules! number_keys {
    ($($number:ty),*) => {$(
        impl Key for $number {
            fn from_stored(bytes: &[u8]) -> Result<Self, String> {
                let expected = size_of::<Self>();
                let wrong_length = |_| format!("a key of {}, expected {expected}", format_byte_count(bytes));
                bytes.try_into().map(Self::from_be_bytes).map_err(wrong_length)
            }

            fn number(&self) -> Option<u64> {
                Some(u64::from(*self))
            }

            fn from_number(number: u64) -> Option<Self> {
                number.try_into().ok()
            }
        }
    )*};
}

number_keys!(u64, u32, u16, u8);

impl Key for Principal {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        Self::try_from_slice(bytes).map_err(|error| error.to_string())
    }
}

impl Key for String {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        std::str::from_utf8(bytes).map(Self::from).map_err(|error| error.to_string())
    }
}

impl Key for u128 {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        <[u8; 16]>::from_stored(bytes).map(Self::from_be_bytes)
    }
}

impl<const N: usize> Key for [u8; N] {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        bytes.try_into().map_err(|_| format!("a key of {}, expected {N}", format_byte_count(bytes)))
    }
}

impl<const N: usize> Key for Blob<N> {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        bytes.try_into().map_err(|_| format!("a key of {}, expected at most {N}", format_byte_count(bytes)))
    }
}

impl Key for Vec<u8> {
    fn from_stored(bytes: &[u8]) -> Result<Self, String> {
        Ok(bytes.to_vec())
    }
}

/// The bytes of a key, as a map stores it. Loading them cannot fail; [`StoredKey::decode`] can.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct StoredKey<K> {
    bytes: Vec<u8>,
    key: PhantomData<K>,
}

impl<K: Key> StoredKey<K> {
    pub fn of(key: &K) -> Self {
        Self::of_bytes(key.to_bytes().into_owned())
    }

    const fn of_bytes(bytes: Vec<u8>) -> Self {
        Self { bytes, key: PhantomData }
    }

    /// Returns the key without bytes, which is not above any other.
    pub const fn lowest() -> Self {
        Self::of_bytes(Vec::new())
    }

    /// Returns the stored bytes in hex, to show a key that may not decode.
    pub fn hex(&self) -> String {
        self.bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub fn decode(&self) -> Result<K, String> {
        K::from_stored(&self.bytes)
    }
}

impl<K: Key> fmt::Debug for StoredKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(key) => key.fmt(f),
            Err(_) => f.write_str(&self.hex()),
        }
    }
}

impl<K: Key> Storable for StoredKey<K> {
    const BOUND: Bound = K::BOUND;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        Self::of_bytes(bytes.into_owned())
    }
}

/// A key of a map that several migrations share: the number of the migration, big-endian, and the key of the unit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NumberedKey<K> {
    /// None if the stored bytes are too short for a number; `key` then holds all of them.
    migration: Option<u16>,
    pub key: StoredKey<K>,
}

impl<K: Key> NumberedKey<K> {
    pub const fn new(migration: u16, key: StoredKey<K>) -> Self {
        Self { migration: Some(migration), key }
    }

    pub fn is_of(&self, migration: u16) -> bool {
        self.migration == Some(migration)
    }

    pub fn decode(&self) -> Result<K, String> {
        match self.migration {
            Some(_) => self.key.decode(),
            None => Err(format!(
                "{}, too short for the number of a migration",
                format_byte_count(&self.key.bytes)
            )),
        }
    }
}

impl<K: Key> fmt::Debug for NumberedKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.migration {
            Some(migration) => write!(f, "({migration}, {:?})", self.key),
            None => f.write_str(&self.key.hex()),
        }
    }
}

impl<K: Key> Storable for NumberedKey<K> {
    const BOUND: Bound = match K::BOUND {
        Bound::Bounded { max_size, is_fixed_size } => {
            Bound::Bounded { max_size: max_size.saturating_add(2), is_fixed_size }
        }
        Bound::Unbounded => Bound::Unbounded,
    };

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        match self.migration {
            Some(migration) => Cow::Owned([migration.to_be_bytes().as_slice(), &self.key.bytes].concat()),
            None => Cow::Borrowed(&self.key.bytes),
        }
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        match bytes.split_first_chunk() {
            Some((migration, key)) => {
                Self::new(u16::from_be_bytes(*migration), StoredKey::of_bytes(key.to_vec()))
            }
            None => Self { migration: None, key: StoredKey::of_bytes(bytes.into_owned()) },
        }
    }
}

/// `#[cbor(with)]` for a key: a number or a byte string.
pub(crate) mod cbor {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Key, Type, Write};

    pub fn encode<C, K: Key, W: Write>(
        key: &K,
        e: &mut Encoder<W>,
        _: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match key.number() {
            Some(number) => e.u64(number)?,
            None => e.bytes(&key.to_bytes())?,
        };
        Ok(())
    }

    pub fn decode<C, K: Key>(d: &mut Decoder<'_>, _: &mut C) -> Result<K, DecodeError> {
        let key = if d.datatype()? == Type::Bytes {
            K::from_stored(d.bytes()?)
        } else {
            let number = d.u64()?;
            K::from_number(number).ok_or_else(|| format!("{number} is not a key of this type"))
        };
        key.map_err(|why| DecodeError::message(format!("{why}; {IF_CHANGED}")))
    }

    /// What to do about a key that does not decode, if it is not damaged.
    const IF_CHANGED: &str =
        "if the type of the keys has changed, change it back: all migrations of a canister share one";

    /// Opaque: the type of the keys is in the schema of the tables.
    #[cfg(all(test, feature = "_schema"))]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Opaque("key, a number or a byte string".into(), 1)
    }
}

/// `#[cbor(with)]` for a key that may be absent: as [`cbor`], or null.
pub(crate) mod opt_cbor {
    use super::{DecodeError, Decoder, EncodeError, Encoder, Key, Write};

    pub fn encode<C, K: Key, W: Write>(
        key: &Option<K>,
        e: &mut Encoder<W>,
        ctx: &mut C,
    ) -> Result<(), EncodeError<W::Error>> {
        match key {
            Some(key) => super::cbor::encode(key, e, ctx),
            None => e.null().map(drop),
        }
    }

    pub fn decode<C, K: Key>(d: &mut Decoder<'_>, ctx: &mut C) -> Result<Option<K>, DecodeError> {
        crate::codec::null_or(d, |d| super::cbor::decode(d, ctx))
    }

    #[cfg(all(test, feature = "_schema"))]
    pub fn shape() -> stable_schema::Shape {
        stable_schema::Shape::Optional(super::cbor::shape().into())
    }
}

#[cfg(test)]
mod tests;
