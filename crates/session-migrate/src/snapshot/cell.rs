//! Reads a stable cell, checked.
//!
//! ```text
//! byte 0..3    "SCL"
//! byte 3       1
//! byte 4..8    length of the value, little-endian
//! byte 8..     value
//! ```

use ic_stable_structures::Memory;

use super::Damage;
use super::tree::bytes_of;

/// Returns the value of a cell; `None` if nothing was ever stored.
///
/// # Errors
/// What is wrong with the header.
pub fn cell(memory: &impl Memory) -> Result<Option<Vec<u8>>, Damage> {
    let size = bytes_of(memory);
    if size == 0 {
        return Ok(None);
    }
    let mut header = [0; 8];
    memory.read(0, &mut header);
    let [s, c, l, version, len @ ..] = header;
    if [s, c, l] != *b"SCL" || version != 1 {
        return Err(Damage::at(0, format!("begins with {:02x?}, expected \"SCL\" version 1", &header[..4])));
    }
    let len = u64::from(u32::from_le_bytes(len));
    if len > size - 8 {
        return Err(Damage::at(4, format!("a value of {len} bytes in a memory of {size}")));
    }
    let mut value = vec![0; len as usize];
    memory.read(8, &mut value);
    Ok(Some(value))
}
