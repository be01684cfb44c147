//! The number of the stable layout.

use crate::Record;

/// A stable layout: which structures stable memory contains, and what their records mean. A migration leads
/// from one layout to another with a higher number.
///
/// ```
/// use ic_stable_migrate::{Layout, Record};
///
/// assert!(Layout(1) < Layout(2));
/// // For a host without a header of its own.
/// assert_eq!(Layout::decode(&Layout(2).encode()), Ok(Layout(2)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layout(pub u16);

const MAGIC: [u8; 3] = *b"LAY";
const VERSION: u8 = 1;

/// A header for hosts that do not have their own: a magic, the version of the header, and the number of the layout,
/// big-endian.
impl Record for Layout {
    const NAME: &'static str = "layout header";

    fn encode(&self) -> Vec<u8> {
        [MAGIC.as_slice(), &[VERSION], &self.0.to_be_bytes()].concat()
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        match bytes.split_first_chunk() {
            Some((&MAGIC, [VERSION, high, low])) => Ok(Self(u16::from_be_bytes([*high, *low]))),
            Some((&MAGIC, [version, ..])) => Err(format!("header version {version}, expected {VERSION}")),
            _ => Err(format!("expected the magic \"LAY\", found {:02x?}", bytes.get(..3).unwrap_or(bytes))),
        }
    }
}
