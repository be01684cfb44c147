//! The type table of a Candid message whose values can be read without the library, and the check whether one table can
//! stand for another.
//!
//! ```text
//! "DIDL", number of entries, entries, number of arguments, their types
//! entry    opt type | vec type | record number (hash type)* | variant number (hash type)*
//! type     a primitive one, by its opcode, or the index of an entry
//! ```
//! Numbers are LEB128, opcodes and indexes signed LEB128.

use crate::leb128;

/// Maximum number of entries, and of arguments: more than any of our messages has, and few enough to be compared
/// quickly.
const MAX_ENTRIES: usize = 256;

/// Maximum number of fields and cases in all entries: more than any of our messages has.
const MAX_FIELDS: usize = 1_024;

const VARIANT: i32 = -21;
const RECORD: i32 = -20;
const VEC: i32 = -19;
const OPT: i32 = -18;
const TEXT: i32 = -15;
const FLOAT32: i32 = -13;
const NAT64: i32 = -8;
const NAT8: i32 = -5;
const BOOL: i32 = -2;
const NULL: i32 = -1;

/// The types of a message whose values can all be read here.
pub struct TypeTable {
    entries: Vec<Entry>,
    /// Fields of all entries, one after the other.
    fields: Vec<Field>,
    /// Types of the arguments, each as in [`Field::type_ref`].
    arguments: Vec<i32>,
    /// See [`TypeTable::len()`].
    len: usize,
}

/// A composed type. Its fields are `count` items of [`TypeTable::fields`] from `first_field` on.
#[derive(Clone, Copy)]
struct Entry {
    opcode: i32,
    first_field: usize,
    count: usize,
}

/// A field, a case, or the element of an `opt` or `vec`.
#[derive(Clone, Copy)]
struct Field {
    hash: u32,
    /// Opcode of the type, or index of its entry.
    type_ref: i32,
}

impl TypeTable {
    /// Parses the table at the beginning of a message; `None` if it is damaged or too large, or has types whose values
    /// cannot be read here.
    pub fn parse(message: &[u8]) -> Option<Self> {
        let mut rest = message.strip_prefix(b"DIDL")?;
        let mut fields = Vec::new();
        let count = take_length(&mut rest, MAX_ENTRIES)?;
        let mut entries = Vec::with_capacity(count);
        for _ in 0..count {
            let opcode = take_signed(&mut rest)?;
            let first = fields.len();
            match opcode {
                OPT | VEC => fields.push(Field { hash: 0, type_ref: take_signed(&mut rest)? }),
                RECORD | VARIANT => {
                    for _ in 0..take_length(&mut rest, MAX_FIELDS.saturating_sub(first))? {
                        let hash = u32::try_from(leb128::take(&mut rest, 5)?).ok()?;
                        fields.push(Field { hash, type_ref: take_signed(&mut rest)? });
                    }
                }
                _ => return None,
            }
            entries.push(Entry { opcode, first_field: first, count: fields.len().saturating_sub(first) });
        }
        let count = take_length(&mut rest, MAX_ENTRIES)?;
        let arguments = (0..count).map(|_| take_signed(&mut rest)).collect::<Option<_>>()?;
        let table = Self { entries, fields, arguments, len: message.len().saturating_sub(rest.len()) };
        table.all_types_are_supported().then_some(table)
    }

    /// Returns the length of the table including the magic, bytes; the values follow.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether each type is a supported primitive type, or the index of an entry.
    fn all_types_are_supported(&self) -> bool {
        let is_supported = |type_ref: i32| match type_ref {
            NULL | BOOL | TEXT | FLOAT32 | NAT64..=NAT8 => true,
            index => usize::try_from(index).is_ok_and(|index| index < self.entries.len()),
        };
        self.fields.iter().all(|field| is_supported(field.type_ref))
            && self.arguments.iter().copied().all(is_supported)
    }

    pub const fn argument_count(&self) -> usize {
        self.arguments.len()
    }

    /// Returns whether values after this table are encoded like values of the expected types. The entries may be in
    /// another order, and trailing options may be missing.
    pub fn can_stand_for(&self, expected: &Self) -> bool {
        let Some((present, missing)) = expected.arguments.split_at_checked(self.argument_count()) else {
            return false;
        };
        let mut compared = Vec::new();
        let mut pairs = self.arguments.iter().zip(present);
        pairs.all(|(type_ref, expected_ref)| {
            self.is_same_type(*type_ref, expected, *expected_ref, &mut compared)
        }) && missing
            .iter()
            .all(|type_ref| expected.entry(*type_ref).is_some_and(|(opcode, _)| opcode == OPT))
    }

    /// Returns whether a type of this table is the same as a type of the table `expected`. `compared` has the pairs met
    /// before; they are assumed to be equal, so that the comparison of recursive types ends.
    fn is_same_type(
        &self,
        type_ref: i32,
        expected: &Self,
        expected_ref: i32,
        compared: &mut Vec<(i32, i32)>,
    ) -> bool {
        // Opcodes of primitive types are negative.
        if type_ref < 0 || expected_ref < 0 {
            return type_ref == expected_ref;
        }
        if compared.contains(&(type_ref, expected_ref)) {
            return true;
        }
        compared.push((type_ref, expected_ref));
        let Some((opcode, fields)) = self.entry(type_ref) else { return false };
        let Some((expected_opcode, expected_fields)) = expected.entry(expected_ref) else { return false };
        opcode == expected_opcode
            && fields.len() == expected_fields.len()
            && fields.iter().zip(expected_fields).all(|(field, expected_field)| {
                field.hash == expected_field.hash
                    && self.is_same_type(field.type_ref, expected, expected_field.type_ref, compared)
            })
    }

    /// Returns the opcode of an entry, and its fields.
    fn entry(&self, index: i32) -> Option<(i32, &[Field])> {
        let Entry { opcode, first_field, count } = *self.entries.get(usize::try_from(index).ok()?)?;
        Some((opcode, self.fields.get(first_field..)?.get(..count)?))
    }
}

fn take_byte(rest: &mut &[u8]) -> Option<u8> {
    let (first, following) = rest.split_first()?;
    *rest = following;
    Some(*first)
}

/// Reads a LEB128 number of at most `max`; `None` if it is larger.
fn take_length(rest: &mut &[u8], max: usize) -> Option<usize> {
    usize::try_from(leb128::take(rest, 5)?).ok().filter(|length| *length <= max)
}

/// Reads an opcode or index of one or two bytes; `None` for longer ones, and for opcodes of two bytes, which no type
/// has.
fn take_signed(rest: &mut &[u8]) -> Option<i32> {
    let low = take_byte(rest)?;
    let value = i32::from(low & 0x7f);
    if low & 0x80 == 0 {
        return Some(if low & 0x40 == 0 { value } else { value.saturating_sub(0x80) });
    }
    let high = take_byte(rest)?;
    // The second byte must be the last one, and its sign must be positive.
    (high < 0x40).then(|| value | (i32::from(high) << 7))
}

#[cfg(all(test, feature = "direct"))]
pub mod tests {
    use super::*;

    impl TypeTable {
        /// Writes the same types as another encoder might: the entry at index `i` moves to index `order[i]`.
        pub fn written_in_order(&self, order: &[usize]) -> Vec<u8> {
            let moved = |type_ref: i32| if type_ref < 0 { type_ref } else { order[type_ref as usize] as i32 };
            let mut entries = vec![Vec::new(); self.entries.len()];
            for (place, entry) in self.entries.iter().enumerate() {
                let out = &mut entries[order[place]];
                write_signed(entry.opcode, out);
                let is_composed = matches!(entry.opcode, RECORD | VARIANT);
                if is_composed {
                    leb128::push(entry.count as u64, out);
                }
                for field in &self.fields[entry.first_field..][..entry.count] {
                    if is_composed {
                        leb128::push(field.hash.into(), out);
                    }
                    write_signed(moved(field.type_ref), out);
                }
            }
            let mut out = b"DIDL".to_vec();
            leb128::push(entries.len() as u64, &mut out);
            out.extend(entries.concat());
            leb128::push(self.arguments.len() as u64, &mut out);
            self.arguments.iter().for_each(|type_ref| write_signed(moved(*type_ref), &mut out));
            out
        }

        /// Returns the number of composed types.
        pub fn entry_count(&self) -> usize {
            self.entries.len()
        }
    }

    fn write_signed(value: i32, out: &mut Vec<u8>) {
        if (-0x40..0x40).contains(&value) {
            out.push(value as u8 & 0x7f);
        } else {
            out.extend([value as u8 | 0x80, (value >> 7) as u8 & 0x7f]);
        }
    }

    #[test]
    fn opcodes_and_indexes_are_read_as_they_are_written() {
        for value in -0x40..0x2000 {
            let mut bytes = Vec::new();
            write_signed(value, &mut bytes);
            let mut rest = bytes.as_slice();
            assert_eq!((take_signed(&mut rest), rest.len()), (Some(value), 0));
        }
    }
}
