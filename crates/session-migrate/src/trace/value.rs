//! Converts between the values of a message and the values in a trace.

use candid::types::value::{IDLField, IDLValue, VariantValue};

use super::Ids;
use super::payload::{INLINE_BYTES, PayloadRef, Seeds};

/// Fields that hold points in time, nanoseconds since 1970.
const TIME_FIELDS: [&str; 8] = [
    "at",
    "created_at",
    "deleted_at",
    "expires_at",
    "last_seen",
    "proven_since",
    "updated_at",
    "uploaded_at",
];

const NANOS_PER_MILLI: u64 = 1_000_000;

/// Methods whose first argument is a session or an optional session.
const SESSION_METHODS: [&str; 6] = [
    "migration_retry",
    "uploads_abort",
    "uploads_finish",
    "uploads_list",
    "uploads_put_chunk",
    "uploads_status",
];

/// Replaces the leaves of a value. `leaf` gets each leaf, and the label of the innermost field that contains it.
fn map_leaves<E>(
    value: IDLValue,
    label: &str,
    leaf: &mut impl FnMut(&str, IDLValue) -> Result<IDLValue, E>,
) -> Result<IDLValue, E> {
    let mut field = |field: IDLField| -> Result<IDLField, E> {
        let label = field.id.to_string();
        Ok(IDLField { val: map_leaves(field.val, &label, leaf)?, id: field.id })
    };
    Ok(match value {
        IDLValue::Record(fields) => {
            IDLValue::Record(fields.into_iter().map(field).collect::<Result<_, E>>()?)
        }
        IDLValue::Variant(VariantValue(inner, index)) => {
            IDLValue::Variant(VariantValue(Box::new(field(*inner)?), index))
        }
        IDLValue::Opt(inner) => IDLValue::Opt(Box::new(map_leaves(*inner, label, leaf)?)),
        IDLValue::Vec(values) => IDLValue::Vec(
            values.into_iter().map(|value| map_leaves(value, label, leaf)).collect::<Result<_, E>>()?,
        ),
        other => leaf(label, other)?,
    })
}

/// How the times in replies are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// When the trace begins, nanoseconds since 1970.
    pub start: u64,
    /// If `false`, every time is shown as `@time`.
    pub are_shown: bool,
}

impl Times {
    fn show(self, time: u64) -> String {
        if self.are_shown { format!("@+{}ms", (time - self.start) / NANOS_PER_MILLI) } else { "@time".into() }
    }
}

/// Converts a reply for a trace: ids to names, times to whole milliseconds since the start, long blobs to digests.
///
/// Times are rounded, since two canisters may take different numbers of rounds for the same work, and every round
/// advances the time by a nanosecond.
pub(super) fn shown_reply(method: &str, value: IDLValue, ids: &mut Ids, times: Times) -> IDLValue {
    let value = name_session_keys(value, ids);
    infallible(map_leaves(value, "", &mut |label, value| {
        Ok(match value {
            IDLValue::Blob(bytes) if bytes.len() > INLINE_BYTES => {
                IDLValue::Text(PayloadRef::of(&bytes).to_string())
            }
            IDLValue::Nat64(id) if label == "session" || (method == "uploads_begin" && label == "Ok") => {
                IDLValue::Text(ids.learn_session(id))
            }
            // A time before the start stays a number.
            IDLValue::Nat64(time) if TIME_FIELDS.contains(&label) && time >= times.start => {
                IDLValue::Text(times.show(time))
            }
            IDLValue::Text(text) => IDLValue::Text(ids.learn_text(&text)),
            other => other,
        })
    }))
}

/// Replaces known session ids in errors by names. An error about a session has the word `session` in its field `kind`,
/// and the id as text in its field `key`.
fn name_session_keys(value: IDLValue, ids: &Ids) -> IDLValue {
    match value {
        IDLValue::Record(fields) => {
            let is_about_session = fields
                .iter()
                .any(|field| field.id.to_string() == "kind" && field.val == IDLValue::Text("session".into()));
            let name_key = |field: IDLField| {
                let name = match &field.val {
                    IDLValue::Text(key) if is_about_session && field.id.to_string() == "key" => {
                        ids.known_session_name(key)
                    }
                    _ => None,
                };
                let val = name.map_or_else(|| name_session_keys(field.val, ids), IDLValue::Text);
                IDLField { id: field.id, val }
            };
            IDLValue::Record(fields.into_iter().map(name_key).collect())
        }
        IDLValue::Variant(VariantValue(inner, index)) => {
            let IDLField { id, val } = *inner;
            let inner = IDLField { id, val: name_session_keys(val, ids) };
            IDLValue::Variant(VariantValue(Box::new(inner), index))
        }
        IDLValue::Vec(values) => {
            IDLValue::Vec(values.into_iter().map(|value| name_session_keys(value, ids)).collect())
        }
        other => other,
    }
}

/// Converts an argument for a trace. Long blobs without a known seed are added to `payloads`.
pub(super) fn shown_argument(
    (method, position): (&str, usize),
    value: IDLValue,
    ids: &Ids,
    seeds: &Seeds,
    payloads: &mut Vec<Vec<u8>>,
) -> IDLValue {
    let is_session = position == 0 && SESSION_METHODS.contains(&method);
    infallible(map_leaves(value, "", &mut |_, value| {
        Ok(match value {
            IDLValue::Blob(bytes) if bytes.len() > INLINE_BYTES => {
                let reference = seeds.reference_to(&bytes);
                if matches!(reference, PayloadRef::Sha256 { .. }) {
                    payloads.push(bytes);
                }
                IDLValue::Text(reference.to_string())
            }
            IDLValue::Nat64(id) if is_session => {
                ids.known_session_name(&id.to_string()).map_or(IDLValue::Nat64(id), IDLValue::Text)
            }
            IDLValue::Text(text) => IDLValue::Text(ids.name_text(&text)),
            other => other,
        })
    }))
}

/// Converts an argument of a trace back, with the ids of this canister. `payload` returns the bytes of a reference;
/// `unknown_name` creates the error for a name that stands for no id of this canister.
pub(super) fn sent_argument<E>(
    value: IDLValue,
    ids: &Ids,
    unknown_name: impl Fn(String) -> E,
    payload: &mut dyn FnMut(&PayloadRef) -> Result<Vec<u8>, E>,
) -> Result<IDLValue, E> {
    map_leaves(value, "", &mut |_, value| {
        let IDLValue::Text(text) = &value else {
            return Ok(value);
        };
        if let Some(reference) = PayloadRef::parse(text) {
            return Ok(IDLValue::Blob(payload(&reference)?));
        }
        let resolved = ids.resolve(text).map_err(&unknown_name)?;
        // Only a text that is nothing but the name of a session stands for a number.
        let is_session = text.strip_prefix("@session:").is_some_and(|number| number.parse::<u32>().is_ok());
        Ok(match resolved.parse() {
            Ok(session) if is_session => IDLValue::Nat64(session),
            _ => IDLValue::Text(resolved),
        })
    })
}

/// Returns the value of a result that cannot be an error.
fn infallible(result: Result<IDLValue, std::convert::Infallible>) -> IDLValue {
    match result {
        Ok(value) => value,
        Err(never) => match never {},
    }
}
