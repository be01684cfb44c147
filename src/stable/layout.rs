//! The header that stores the number of the stable layout.
//!
//! ```text
//! id 10, cell     "UPL"  magic
//!                 1      version of this header
//!                 u16    layout, big-endian: 1 legacy, 2 split, 3 extents
//! ```

use super::Record;

/// The number of a stable layout; decoding accepts any number, also one that no build knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout(pub u16);

impl Layout {
    /// Sessions are `UploadSessionMeta` records.
    pub const LEGACY: Self = Self(1);
    /// Sessions are split into `Session` and `UploadMeta`.
    pub const SPLIT: Self = Self(2);
    /// Payload is in extents, except the payload that migration 2 has not moved yet.
    pub const EXTENTS: Self = Self(3);

    /// Converts the layout to the migration engine's type.
    pub const fn number(self) -> ic_stable_migrate::Layout {
        ic_stable_migrate::Layout(self.0)
    }
}

const MAGIC: &[u8; 3] = b"UPL";
const VERSION: u8 = 1;

impl Record for Layout {
    const NAME: &'static str = "layout header";

    fn encode(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &[VERSION], &self.0.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes {
            [b'U', b'P', b'L', VERSION, high, low] => Ok(Self(u16::from_be_bytes([*high, *low]))),
            [b'U', b'P', b'L', version, ..] => Err(format!("header version {version}, expected {VERSION}")),
            _ => Err(format!("expected the magic \"UPL\", found {:02x?}", bytes.get(..3).unwrap_or(bytes))),
        }
    }
}
