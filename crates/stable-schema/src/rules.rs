//! Decides whether a reader of one shape can read what a writer of another shape has stored.
//!
//! For the upgrade, the old build is the writer and the new build the reader; for the rollback, it is the reverse. If
//! the old build cannot read some of the values that the new build may write, a rollback is prevented only once such a
//! value has been written, so the verdict is [`Compatibility::Conditional`]. Another type or encoding of all values is
//! [`Compatibility::Forbidden`] in both directions.

use std::fmt;

use serde::Serialize;

use crate::{Body, Encoding, Enum, Field, Plain, Record, Shape, Size, Tag, Value, candid_records};

/// Direction of a comparison.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the old build to the new one: the new build must read everything that is stored, and drop none of it.
    Upgrade,
    /// From the new build back to the old one.
    Rollback,
}

/// The verdict on a memory, or the verdict of one reason. The greater value is the worse verdict.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
pub enum Compatibility {
    /// Both builds store the same.
    Unchanged,
    /// The reader can read what is stored.
    Compatible,
    /// The migration of this number moves what is stored, after the upgrade.
    NeedsMigration(u16),
    /// The reader can read what is stored only if certain values have not been stored yet, or after a step that must be
    /// done first.
    Conditional,
    /// What is stored would be lost, misread, or refused.
    Forbidden,
}

impl fmt::Display for Compatibility {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unchanged => f.write_str("unchanged"),
            Self::Compatible => f.write_str("compatible"),
            Self::NeedsMigration(number) => write!(f, "needs migration {number}"),
            Self::Conditional => f.write_str("conditional"),
            Self::Forbidden => f.write_str("forbidden"),
        }
    }
}

/// The kind of change that a reason reports.
#[derive(Serialize, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Rule {
    /// The type has changed.
    ChangedType,
    /// The encoding of the fields or of the variant has changed.
    ChangedEncoding,
    /// The reader accepts more, such as larger numbers, byte strings or lists of any length, or null.
    Widened,
    /// The reader accepts less, such as only smaller numbers, or only one length of a byte string or list.
    Narrowed,
    /// A required field is not stored.
    NewRequiredField,
    /// An optional field is new.
    NewOptionalField,
    /// A field that may be absent in stored records is required.
    NowRequired,
    /// A field that is stored is not read.
    DroppedField,
    /// A field or a variant is stored under another number.
    Renumbered,
    /// A field is new under a number that the earlier type skipped, so a still earlier type may have used it.
    ReusedNumber,
    /// A field or a variant has another name.
    Renamed,
    /// A variant that may be stored is not known to the reader.
    DroppedVariant,
    /// A variant is new.
    NewVariant,
    /// A version that may be stored is not read.
    DroppedVersion,
    /// A version is new.
    NewVersion,
    /// A key or a value has a lower maximum length.
    ShrunkBound,
    /// A key or a value has a higher maximum length.
    GrownBound,
    /// The bounds of a key or a value, which determine how its bytes are laid out, have changed.
    ChangedBound,
    /// The Candid type has changed.
    CandidType,
    /// A memory is new.
    NewMemory,
    /// A memory is dropped, and its id not reserved.
    DroppedMemory,
    /// A memory is dropped, and its id reserved.
    RetiredMemory,
    /// An id is used that belonged to another memory.
    ReusedId,
    /// A reserved id is no longer reserved.
    DroppedTombstone,
    /// The structure in a memory has changed.
    ChangedStructure,
    /// A migration moves records, or must be finalized or rolled back first.
    Migration,
    /// A layout that may be stored is not accepted.
    Layout,
}

/// A reason for a verdict.
#[derive(Serialize, Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// What has changed, such as `value.v1.asset_metadata.Image.base.name`; empty for the whole memory or value, and
    /// for the layouts.
    pub place: String,
    /// The kind of change.
    pub rule: Rule,
    /// The verdict that follows from this reason.
    pub verdict: Compatibility,
    /// The explanation.
    pub text: String,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        write!(f, "{}: {}", self.verdict, self.text)
    }
}

/// Compares the type that a value has in the old build with its type in the new one. The order of the arguments is the
/// same for both directions.
pub fn compare_values(old: &Value, new: &Value, way: Way) -> Vec<Reason> {
    let mut rules = Rules::new(way);
    match way {
        Way::Upgrade => rules.compare_value("", old, new),
        Way::Rollback => rules.compare_value("", new, old),
    }
    rules.reasons
}

/// Compares what is stored with what is read, and collects the reasons. Unlike [`compare_values`], its functions take
/// the writer's type first, in both directions.
pub(crate) struct Rules {
    way: Way,
    pub reasons: Vec<Reason>,
}

impl Rules {
    pub const fn new(way: Way) -> Self {
        Self { way, reasons: Vec::new() }
    }

    pub fn add_reason(&mut self, place: &str, rule: Rule, verdict: Compatibility, text: impl Into<String>) {
        self.reasons.push(Reason { place: place.into(), rule, verdict, text: text.into() });
    }

    /// Returns the verdict on values that the reader cannot read. They are no obstacle to a rollback until the newer
    /// build has written them.
    const fn verdict_once_written(&self) -> Compatibility {
        match self.way {
            Way::Upgrade => Compatibility::Forbidden,
            Way::Rollback => Compatibility::Conditional,
        }
    }

    pub fn compare_value(&mut self, place: &str, written: &Value, read: &Value) {
        match (written, read) {
            (Value::Plain(written), Value::Plain(read)) => self.compare_plain(place, written, read),
            (Value::Versions(written), Value::Versions(read)) => {
                for (version, body) in written {
                    let place = join(place, &format!("v{version}"));
                    match read.get(version) {
                        Some(other) => self.compare_body(&place, body, other),
                        None => {
                            self.add_reason(
                                &place,
                                Rule::DroppedVersion,
                                self.verdict_once_written(),
                                "it is not read",
                            );
                        }
                    }
                }
                for version in read.keys().filter(|version| !written.contains_key(version)) {
                    let place = join(place, &format!("v{version}"));
                    self.add_reason(
                        &place,
                        Rule::NewVersion,
                        Compatibility::Compatible,
                        "a version that is not stored yet",
                    );
                }
            }
            (Value::Plain(plain), Value::Versions(_)) => {
                let text = format!("plain {} where a record with a version is read", plain.name);
                self.add_reason(place, Rule::ChangedType, Compatibility::Forbidden, text);
            }
            (Value::Versions(_), Value::Plain(plain)) => {
                let text = format!("a record with a version where plain {} is read", plain.name);
                self.add_reason(place, Rule::ChangedType, Compatibility::Forbidden, text);
            }
        }
    }

    pub fn compare_plain(&mut self, place: &str, written: &Plain, read: &Plain) {
        if written.name != read.name {
            let text = format!("{} where {} is read", written.name, read.name);
            return self.add_reason(place, Rule::ChangedType, Compatibility::Forbidden, text);
        }
        self.compare_size(place, written.size, read.size);
    }

    fn compare_size(&mut self, place: &str, written: Size, read: Size) {
        let text = format!("{written} where {read} is read");
        match (written, read) {
            _ if written == read => {}
            (Size::Max(written), Size::Max(read)) if written < read => {
                self.add_reason(place, Rule::GrownBound, Compatibility::Compatible, text);
            }
            (Size::Max(_) | Size::Unbounded, Size::Max(_)) => {
                self.add_reason(place, Rule::ShrunkBound, self.verdict_once_written(), text);
            }
            // In the upgrade, the last arm forbids to drop a bound: in a map that an older release of the library
            // created, the size of a page follows from the bounds, so without bounds, the library would write beyond
            // the page.
            (Size::Max(_), Size::Unbounded) if self.way == Way::Rollback => {
                self.add_reason(place, Rule::GrownBound, Compatibility::Compatible, text);
            }
            _ => self.add_reason(place, Rule::ChangedBound, Compatibility::Forbidden, text),
        }
    }

    fn compare_body(&mut self, place: &str, written: &Body, read: &Body) {
        match (written, read) {
            (Body::Cbor(written), Body::Cbor(read)) => self.compare_shape(place, written, read),
            (Body::Candid(written), Body::Candid(read)) if candid_records::is_same(written, read) => {}
            (Body::Candid(written), Body::Candid(read)) => {
                match candid_records::check_readable(written, read) {
                    Ok(()) => {
                        self.add_reason(
                            place,
                            Rule::CandidType,
                            Compatibility::Compatible,
                            "another Candid type, a supertype",
                        );
                    }
                    Err(error) => {
                        self.add_reason(place, Rule::CandidType, self.verdict_once_written(), error)
                    }
                }
            }
            (Body::Opaque(written), Body::Opaque(read)) if written == read => {}
            (Body::Opaque(written), Body::Opaque(read)) => {
                let text = format!("{written} where {read} is read");
                self.add_reason(place, Rule::ChangedType, Compatibility::Forbidden, text);
            }
            _ => self.add_reason(
                place,
                Rule::ChangedEncoding,
                Compatibility::Forbidden,
                "another encoding under the same version",
            ),
        }
    }

    pub fn compare_shape(&mut self, place: &str, written: &Shape, read: &Shape) {
        match (written, read) {
            _ if written == read => {}
            (Shape::Optional(written), Shape::Optional(read)) => self.compare_shape(place, written, read),
            (Shape::Optional(written), read) => {
                let text = format!("optional where {} is required", read.describe());
                self.add_reason(place, Rule::NowRequired, self.verdict_once_written(), text);
                self.compare_shape(place, written, read);
            }
            (written, Shape::Optional(read)) => {
                self.add_reason(
                    place,
                    Rule::Widened,
                    Compatibility::Compatible,
                    "it may be absent from now on",
                );
                self.compare_shape(place, written, read);
            }
            (Shape::Uint(from), Shape::Uint(to) | Shape::Int(to))
            | (Shape::Int(from), Shape::Int(to))
            | (Shape::Float(from), Shape::Float(to)) => {
                let text = format!("a {} where {} is read", written.describe(), read.describe());
                // A signed number needs one bit for the sign.
                let fits = match (written, read) {
                    (Shape::Uint(_), Shape::Int(_)) => from < to,
                    _ => from <= to,
                };
                match (fits, written) {
                    (true, _) => self.add_reason(place, Rule::Widened, Compatibility::Compatible, text),
                    // The decoder refuses a double where a single is expected, regardless of its value.
                    (false, Shape::Float(_)) => {
                        self.add_reason(place, Rule::Narrowed, Compatibility::Forbidden, text)
                    }
                    (false, _) => self.add_reason(place, Rule::Narrowed, self.verdict_once_written(), text),
                }
            }
            (Shape::FixedBytes(_), Shape::Bytes) => {
                self.add_reason(place, Rule::Widened, Compatibility::Compatible, "any length from now on");
            }
            (Shape::Bytes, Shape::FixedBytes(len)) => {
                let text = format!("a byte string of any length where one of {len} is read");
                self.add_reason(place, Rule::Narrowed, self.verdict_once_written(), text);
            }
            (Shape::List(written), Shape::List(read)) => {
                self.compare_shape(&format!("{place}[]"), written, read)
            }
            (Shape::FixedList(from, written), Shape::FixedList(to, read)) if from == to => {
                self.compare_shape(&format!("{place}[]"), written, read);
            }
            (Shape::FixedList(_, written), Shape::List(read)) => {
                self.add_reason(place, Rule::Widened, Compatibility::Compatible, "any number from now on");
                self.compare_shape(&format!("{place}[]"), written, read);
            }
            (Shape::List(written), Shape::FixedList(len, read)) => {
                let text = format!("any number of values where {len} are read");
                self.add_reason(place, Rule::Narrowed, self.verdict_once_written(), text);
                self.compare_shape(&format!("{place}[]"), written, read);
            }
            (Shape::Tuple(written), Shape::Tuple(read)) if written.len() == read.len() => {
                for (index, (written, read)) in written.iter().zip(read).enumerate() {
                    self.compare_shape(&join(place, &index.to_string()), written, read);
                }
            }
            (Shape::Map(key, value), Shape::Map(read_key, read_value)) => {
                self.compare_shape(&join(place, "key"), key, read_key);
                self.compare_shape(&join(place, "value"), value, read_value);
            }
            (Shape::Record(written), Shape::Record(read)) => self.compare_record(place, written, read),
            (Shape::Enum(written), Shape::Enum(read)) => self.compare_variants(place, written, read),
            _ => {
                let text = format!("{} where {} is read", written.describe(), read.describe());
                self.add_reason(place, Rule::ChangedType, Compatibility::Forbidden, text);
            }
        }
    }

    fn compare_record(&mut self, place: &str, written: &Record, read: &Record) {
        self.compare_encoding(place, written.encoding, read.encoding);
        self.compare_fields(place, &written.fields, &read.fields, read.encoding);
    }

    fn compare_encoding(&mut self, place: &str, written: Encoding, read: Encoding) {
        if written != read {
            let word = |encoding| if encoding == Encoding::Array { "an array" } else { "a map" };
            let text = format!("fields in {} where {} is read", word(written), word(read));
            self.add_reason(place, Rule::ChangedEncoding, Compatibility::Forbidden, text);
        }
    }

    fn compare_fields(&mut self, place: &str, written: &[Field], read: &[Field], encoding: Encoding) {
        for field in read {
            let place = join(place, &field.name);
            let moved = written.iter().find(|other| other.name == field.name && other.number != field.number);
            if let Some(other) = moved {
                let text =
                    format!("stored under number {}, read under number {}", other.number, field.number);
                self.add_reason(&place, Rule::Renumbered, Compatibility::Forbidden, text);
                continue;
            }
            let Some(stored) = written.iter().find(|other| other.number == field.number) else {
                self.report_absent_field(&place, field, written, encoding);
                continue;
            };
            if stored.name != field.name {
                // The reader has the stored name, too, but under another number. The loop also reports that field.
                if read.iter().any(|other| other.name == stored.name) {
                    let text = format!("number {} is stored as `{}`", field.number, stored.name);
                    self.add_reason(&place, Rule::Renumbered, Compatibility::Forbidden, text);
                    continue;
                }
                let text = format!("number {} was `{}`: it must mean the same", field.number, stored.name);
                self.add_reason(&place, Rule::Renamed, Compatibility::Compatible, text);
            }
            if stored.default && !field.may_be_absent() {
                self.add_reason(
                    &place,
                    Rule::NowRequired,
                    self.verdict_once_written(),
                    "absent in older records, and now required",
                );
            }
            self.compare_shape(&place, &stored.shape, &field.shape);
        }
        let is_known =
            |field: &Field| read.iter().any(|other| other.number == field.number || other.name == field.name);
        for field in written.iter().filter(|field| !is_known(field)) {
            let place = join(place, &field.name);
            match self.way {
                Way::Upgrade => {
                    let text = format!(
                        "number {} is stored but not read: keep it, optional and unused, so that the \
                        number is never reused",
                        field.number
                    );
                    self.add_reason(&place, Rule::DroppedField, Compatibility::Forbidden, text);
                }
                Way::Rollback => {
                    let text =
                        "the older build does not read it, and drops it from each record that it writes";
                    self.add_reason(&place, Rule::DroppedField, Compatibility::Conditional, text);
                }
            }
        }
    }

    /// Adds the reason for a field that the reader has and the writer lacks.
    fn report_absent_field(&mut self, place: &str, field: &Field, written: &[Field], encoding: Encoding) {
        let last = written.iter().map(|other| other.number).max();
        if !field.may_be_absent() {
            let text = format!("number {} is new and required: no stored record has it", field.number);
            self.add_reason(place, Rule::NewRequiredField, Compatibility::Forbidden, text);
        } else if self.way == Way::Upgrade && last.is_some_and(|last| field.number < last) {
            let text = format!("number {} was skipped before, and may have been used", field.number);
            self.add_reason(place, Rule::ReusedNumber, Compatibility::Forbidden, text);
        } else {
            let how =
                if encoding == Encoding::Array { "the array ends before it" } else { "the map lacks it" };
            let text = format!("number {} may be absent: in a stored record {how}", field.number);
            self.add_reason(place, Rule::NewOptionalField, Compatibility::Compatible, text);
        }
    }

    fn compare_variants(&mut self, place: &str, written: &Enum, read: &Enum) {
        if written.tag != read.tag {
            let word = |tag| if tag == Tag::Pair { "number and fields" } else { "its number alone" };
            let text = format!("a variant by {} where {} is read", word(written.tag), word(read.tag));
            return self.add_reason(place, Rule::ChangedEncoding, Compatibility::Forbidden, text);
        }
        for variant in &written.variants {
            let place = join(place, &variant.name);
            let Some(other) = read.variants.iter().find(|other| other.number == variant.number) else {
                let moved = read.variants.iter().find(|other| other.name == variant.name);
                match moved {
                    Some(other) => {
                        let text =
                            format!("stored under number {}, read under {}", variant.number, other.number);
                        self.add_reason(&place, Rule::Renumbered, Compatibility::Forbidden, text);
                    }
                    None => {
                        let text = format!("number {} may be stored, but is not known", variant.number);
                        self.add_reason(&place, Rule::DroppedVariant, self.verdict_once_written(), text);
                    }
                }
                continue;
            };
            if other.name != variant.name {
                let has_name =
                    |variants: &[crate::Variant], name: &str| variants.iter().any(|known| known.name == name);
                if has_name(&read.variants, &variant.name) || has_name(&written.variants, &other.name) {
                    let text = format!("number {} is read as `{}`", variant.number, other.name);
                    self.add_reason(&place, Rule::Renumbered, Compatibility::Forbidden, text);
                    continue;
                }
                let text =
                    format!("number {} is now `{}`: it must mean the same", variant.number, other.name);
                self.add_reason(&place, Rule::Renamed, Compatibility::Compatible, text);
            }
            if !variant.fields.is_empty() || !other.fields.is_empty() {
                self.compare_encoding(&place, variant.encoding, other.encoding);
            }
            self.compare_fields(&place, &variant.fields, &other.fields, other.encoding);
        }
        let numbers: Vec<u32> = written.variants.iter().map(|variant| variant.number).collect();
        for variant in read.variants.iter().filter(|variant| !numbers.contains(&variant.number)) {
            let place = join(place, &variant.name);
            // Under another number: the loop above has reported it.
            if written.variants.iter().any(|other| other.name == variant.name) {
                continue;
            }
            let text = format!("number {} is new", variant.number);
            self.add_reason(&place, Rule::NewVariant, Compatibility::Compatible, text);
        }
    }
}

fn join(place: &str, part: &str) -> String {
    if place.is_empty() { part.to_owned() } else { format!("{place}.{part}") }
}
