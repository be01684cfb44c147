//! Decoding of the arguments of a message.
//!
//! For each message, the Candid library decodes the type table again and compares it with the expected types for every
//! value, which takes half a million instructions for the metadata of an asset. If the message has exactly the expected
//! types, as up-to-date clients send them, its values are read without the library. All other messages are left to the
//! library, which accepts or refuses them.

mod type_table;
mod values;

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::CandidType;
use candid::types::Type;
use candid::utils::{ArgumentDecoder, decode_args_with_config};
use serde::Deserialize;

use crate::api::{Error, Result};
use crate::stable::codec::candid_header;
use type_table::TypeTable;
use values::Values;

/// Cost that the library may spend on skipping values, as in the entry points of the CDK.
const SKIPPING_QUOTA: usize = 10_000;

/// An encoded empty list of arguments.
const NO_ARGUMENTS: &[u8] = b"DIDL\0\0";

thread_local! {
    /// Headers of the functions whose arguments can be read without the library, by function; empty after every
    /// upgrade, until [`cache_candid_header`] was called.
    static HEADERS: RefCell<BTreeMap<&'static str, Header>> = const { RefCell::new(BTreeMap::new()) };
}

/// The expected types of a function's arguments.
struct Header {
    /// Magic and type table as the Candid library writes them; most messages begin with exactly these bytes.
    bytes: Vec<u8>,
    /// The same table, parsed, for messages that begin with other bytes.
    types: TypeTable,
}

impl Header {
    /// Returns the header of the types; `None` if their values cannot be read without the library.
    fn of<'a, T: Arguments<'a>>() -> std::result::Result<Option<Self>, candid::Error> {
        let bytes = candid_header(&T::types())?;
        Ok(TypeTable::parse(&bytes).map(|types| Self { bytes, types }))
    }
}

/// The arguments of a function as a tuple.
pub trait Arguments<'a>: ArgumentDecoder<'a> {
    /// Returns the Candid types of the arguments.
    fn types() -> Vec<Type>;

    /// Reads the arguments; `None` if they must be left to the library.
    fn read(values: &mut Values<'a>) -> Option<Self>;
}

macro_rules! arguments {
    ($($argument:ident)*) => {
        impl<'a, $($argument: CandidType + Deserialize<'a>),*> Arguments<'a> for ($($argument,)*) {
            fn types() -> Vec<Type> {
                vec![$($argument::ty()),*]
            }

            fn read(values: &mut Values<'a>) -> Option<Self> {
                Some(($($argument::deserialize(values.next_argument()?).ok()?,)*))
            }
        }
    };
}

arguments!(A);
arguments!(A B);
arguments!(A B C);
arguments!(A B C D);
arguments!(A B C D E);
arguments!(A B C D E F G H I J);

/// Caches the header of a function's arguments, so that they are read without the library, if their types allow that.
pub fn cache_candid_header<'a, T: Arguments<'a>>(
    function: &'static str,
) -> std::result::Result<(), candid::Error> {
    if let Some(header) = Header::of::<T>()? {
        HEADERS.with_borrow_mut(|headers| headers.insert(function, header));
    }
    Ok(())
}

/// Decodes the arguments of `function`; byte strings may be borrowed from the message. As in the CDK, an empty message
/// has no arguments, which is sufficient if all of them are optional. Fails with [`Error::InvalidArgument`], which
/// contains the Candid library's message.
pub fn decode<'a, T: Arguments<'a>>(function: &str, message: &'a [u8]) -> Result<T> {
    let message = if message.is_empty() { NO_ARGUMENTS } else { message };
    let read = HEADERS.with_borrow(|headers| read_values(headers.get(function)?, message));
    if let Some(arguments) = read {
        return Ok(arguments);
    }
    decode_by_library(message)
        .map_err(|error| Error::invalid("arguments", format!("those of {function}, in Candid"), error))
}

/// Decodes arguments with the Candid library, as the CDK does.
pub(super) fn decode_by_library<'a, T: ArgumentDecoder<'a>>(
    message: &'a [u8],
) -> std::result::Result<T, candid::Error> {
    let mut config = candid::DecoderConfig::new();
    config.set_skipping_quota(SKIPPING_QUOTA);
    decode_args_with_config(message, &config)
}

/// Reads the arguments without the library if the types are those of `header`; trailing options may be missing. `None`
/// if the message must be left to the library, be it valid or not.
fn read_values<'a, T: Arguments<'a>>(header: &Header, message: &'a [u8]) -> Option<T> {
    let mut values = match message.strip_prefix(header.bytes.as_slice()) {
        Some(values) => Values::new(values, header.types.argument_count()),
        // Another encoder may order the types differently.
        None => {
            let table = TypeTable::parse(message).filter(|table| table.can_stand_for(&header.types))?;
            Values::new(message.get(table.len()..)?, table.argument_count())
        }
    };
    let arguments = T::read(&mut values)?;
    values.is_at_end().then_some(arguments)
}

#[cfg(all(test, feature = "direct"))]
mod tests;
