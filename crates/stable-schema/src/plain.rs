//! Keys and values whose bytes have a fixed meaning, such as a number or a text.

use std::fmt;

use candid::Principal;
use ic_stable_structures::Storable;
use ic_stable_structures::storable::{Blob, Bound};
use serde::{Deserialize, Serialize};

/// How long the bytes of a `Storable` type may be.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// Always this many bytes.
    Fixed(u32),
    /// At most this many bytes.
    Max(u32),
    /// Any number of bytes.
    Unbounded,
}

impl Size {
    /// Returns the bound of a type.
    pub const fn of<T: Storable>() -> Self {
        match T::BOUND {
            Bound::Bounded { max_size, is_fixed_size: true } => Self::Fixed(max_size),
            Bound::Bounded { max_size, is_fixed_size: false } => Self::Max(max_size),
            Bound::Unbounded => Self::Unbounded,
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes} bytes"),
            Self::Max(bytes) => write!(f, "at most {bytes} bytes"),
            Self::Unbounded => f.write_str("any length"),
        }
    }
}

/// Bytes of a fixed meaning, such as a number, a text, or a tuple of these.
#[derive(Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct Plain {
    /// Name of the meaning: two builds with the same name read the same bytes as the same value.
    pub name: String,
    /// How long the bytes may be.
    pub size: Size,
}

/// A type that is stored as [`Plain`] bytes.
pub trait PlainBytes: Storable + Sized {
    /// Returns the name of the meaning, [`Plain::name`].
    fn name() -> String;

    /// Returns the meaning and the bound.
    fn plain() -> Plain {
        Plain { name: Self::name(), size: Size::of::<Self>() }
    }
}

macro_rules! plain {
    ($($ty:ty => $name:literal;)*) => {
        $(impl PlainBytes for $ty {
            fn name() -> String {
                $name.into()
            }
        })*
    };
}

plain! {
    () => "nothing";
    bool => "bool";
    u8 => "u8";
    u16 => "u16";
    u32 => "u32";
    u64 => "u64";
    u128 => "u128";
    String => "text";
    Vec<u8> => "bytes";
    Principal => "principal";
}

// The length is not in the name, since it is in the bound.
impl<const N: usize> PlainBytes for [u8; N] {
    fn name() -> String {
        "bytes".into()
    }
}

impl<const N: usize> PlainBytes for Blob<N> {
    fn name() -> String {
        "bytes".into()
    }
}

/// Describes a component of a tuple, with its bound, which determines where the next component begins.
fn describe_component<T: PlainBytes>() -> String {
    format!("{} of {}", T::name(), Size::of::<T>())
}

impl<A: PlainBytes, B: PlainBytes> PlainBytes for (A, B) {
    fn name() -> String {
        format!("({}, {})", describe_component::<A>(), describe_component::<B>())
    }
}

impl<A: PlainBytes, B: PlainBytes, C: PlainBytes> PlainBytes for (A, B, C) {
    fn name() -> String {
        format!(
            "({}, {}, {})",
            describe_component::<A>(),
            describe_component::<B>(),
            describe_component::<C>()
        )
    }
}
