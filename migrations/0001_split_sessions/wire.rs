//! The value part of a Candid message, read and written without its type table.
//!
//! Every record of layout 1 that this canister writes begins with the same 504 bytes: the magic, the type table, and
//! the types of the two arguments, version and record. The library decodes that table again for each record, which is
//! most of the cost of decoding. This module recognizes the table and reads the value after it. It accepts only what
//! the encoder writes, so that each record has exactly one encoding here; anything else is left to the library.
//!
//! ```text
//! nat64, nat32, nat16, nat8, float32   little-endian
//! text, vec                            length as LEB128, then the bytes or elements
//! opt                                  0, or 1 and the value
//! principal                            1, length as LEB128, bytes
//! variant                              index of the case in the order of hashes, as LEB128, then its value
//! record                               the fields, in the order of the hashes of their names
//! ```

use candid::Principal;
use serde_bytes::ByteBuf;

use crate::bytes::is_same;
use crate::leb128;

/// The 504 bytes with which every record of layout 1 begins that this canister writes; other encoders may write others.
pub const HEADER: &[u8] = include_bytes!("golden/header.bin");

/// Returns the value part of a message that begins with [`HEADER`]; `None` for any other.
pub fn after_header(message: &[u8]) -> Option<&[u8]> {
    let (header, value) = message.split_at_checked(HEADER.len())?;
    is_same(header, HEADER).then_some(value)
}

/// Reads values one after the other.
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub const fn new(value: &'a [u8]) -> Self {
        Self { rest: value }
    }

    pub const fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }

    fn take_array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*taken)
    }

    /// Reads a LEB128 number in its shortest encoding, below 2^28; no length here is larger.
    fn take_length(&mut self) -> Option<usize> {
        leb128::take_shortest(&mut self.rest, 4).map(|value| value as usize)
    }
}

fn write_length(value: usize, out: &mut Vec<u8>) {
    leb128::push(value as u64, out);
}

/// A type whose values are read and written in Candid's encoding.
pub trait Wire: Sized {
    /// Reads a value; `None` if the bytes are not what [`Self::write`] writes, even if they are valid Candid.
    fn read(reader: &mut Reader<'_>) -> Option<Self>;

    fn write(&self, out: &mut Vec<u8>);
}

macro_rules! numbers {
    ($($number:ty),*) => {$(
        impl Wire for $number {
            fn read(reader: &mut Reader<'_>) -> Option<Self> {
                reader.take_array().map(Self::from_le_bytes)
            }

            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, f32);

impl Wire for String {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let len = reader.take_length()?;
        std::str::from_utf8(reader.take(len)?).ok().map(Self::from)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        out.extend_from_slice(self.as_bytes());
    }
}

impl Wire for ByteBuf {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let len = reader.take_length()?;
        reader.take(len).map(Self::from)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        out.extend_from_slice(self);
    }
}

impl Wire for Principal {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let [1] = reader.take_array()? else { return None };
        let len = reader.take_length()?;
        Self::try_from_slice(reader.take(len)?).ok()
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(1);
        write_length(self.as_slice().len(), out);
        out.extend_from_slice(self.as_slice());
    }
}

impl<T: Wire> Wire for Option<T> {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        match reader.take_array()? {
            [0] => Some(None),
            [1] => T::read(reader).map(Some),
            _ => None,
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            None => out.push(0),
            Some(value) => {
                out.push(1);
                value.write(out);
            }
        }
    }
}

impl Wire for Vec<String> {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let len = reader.take_length()?;
        // No memory is reserved, since the length may exceed the remaining bytes.
        let mut texts = Self::new();
        for _ in 0..len {
            texts.push(String::read(reader)?);
        }
        Some(texts)
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_length(self.len(), out);
        self.iter().for_each(|text| text.write(out));
    }
}

/// Implements [`Wire`] for a struct. The fields must be listed in the order of the hashes of their names: a test checks
/// this order, and the compiler that no field is omitted.
macro_rules! record {
    ($record:ident { $($field:ident),* $(,)? }) => {
        impl crate::migrations::split_sessions::wire::Wire for $record {
            fn read(reader: &mut crate::migrations::split_sessions::wire::Reader<'_>) -> Option<Self> {
                use crate::migrations::split_sessions::wire::Wire;
                Some(Self { $($field: Wire::read(reader)?),* })
            }

            fn write(&self, out: &mut Vec<u8>) {
                use crate::migrations::split_sessions::wire::Wire;
                let Self { $($field),* } = self;
                $(Wire::write($field, out);)*
            }
        }

        #[cfg(test)]
        impl crate::migrations::split_sessions::wire::Listed for $record {
            const NAMES: &[&str] = &[$(stringify!($field)),*];
        }
    };
}

/// Implements [`Wire`] for an enum. The cases must be numbered in the order of the hashes of their names. Either every
/// case has a value or none has. The number is a single byte, since there are fewer than 128 cases.
macro_rules! variant {
    ($variant:ident { $($place:literal => $case:ident $(($value:ident))? ),* $(,)? }) => {
        impl crate::migrations::split_sessions::wire::Wire for $variant {
            fn read(reader: &mut crate::migrations::split_sessions::wire::Reader<'_>) -> Option<Self> {
                match u8::read(reader)? {
                    $($place => Some(Self::$case $((<$value>::read(reader)?))?),)*
                    _ => None,
                }
            }

            fn write(&self, out: &mut Vec<u8>) {
                variant!(@write self, out, $($place => $case $(($value))?),*);
            }
        }

        #[cfg(test)]
        impl crate::migrations::split_sessions::wire::Listed for $variant {
            const NAMES: &[&str] = &[$(stringify!($case)),*];
        }
    };
    (@write $self:ident, $out:ident, $($place:literal => $case:ident),*) => {
        $out.push(match $self { $(Self::$case => $place),* })
    };
    (@write $self:ident, $out:ident, $($place:literal => $case:ident ($value:ident)),*) => {
        match $self {
            $(Self::$case(value) => {
                $out.push($place);
                value.write($out);
            })*
        }
    };
}

pub(super) use {record, variant};

/// Field or case names in the order of their hashes, for the test that checks that order.
#[cfg(test)]
pub trait Listed {
    const NAMES: &[&str];
}
