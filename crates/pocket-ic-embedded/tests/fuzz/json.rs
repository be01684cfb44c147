//! JSON that is almost valid: a valid body with some of its parts omitted or replaced.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value, json};

#[derive(Clone, Debug)]
pub enum Change {
    /// The part is removed from its object. A part that is not a field of an object is replaced by null.
    Remove,
    Replace(Value),
}

/// Which parts of a body are changed, and how.
pub type Changes = Vec<(Index, Change)>;

pub fn changes() -> impl Strategy<Value = Changes> {
    let change = prop_oneof![1 => Just(Change::Remove), 4 => value().prop_map(Change::Replace)];
    vec((any::<Index>(), change), 0..4)
}

/// Generates any JSON; numbers and texts that need special care are more frequent than by chance.
pub fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!(u64::MAX)),
        Just(json!(1e300)),
        Just(json!("None")),
        Just(json!("New")),
        ".{0,20}".prop_map(Value::from),
        vec(any::<u8>(), 0..40).prop_map(|bytes| Value::from(base64(&bytes))),
        vec(any::<u8>(), 0..40).prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec(("[a-z_]{1,12}", inner), 0..4).prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

pub fn base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

/// Returns the body with the changes made one after the other. Texts that begin with `/` are file paths: neither they
/// nor the objects and arrays around them are replaced.
pub fn changed(mut body: Value, changes: &Changes) -> Value {
    for (index, change) in changes {
        let mut parts = Vec::new();
        collect(&body, String::new(), &mut parts);
        let Some(path) = parts.get(index.index(parts.len().max(1))) else {
            continue;
        };
        if let Some(part) = body.pointer_mut(path) {
            *part = match change {
                Change::Remove => Value::Null,
                Change::Replace(value) => value.clone(),
            };
        }
        if matches!(change, Change::Remove) {
            remove(&mut body, path);
        }
    }
    body
}

/// Collects the JSON pointers of the parts that hold no file path at any depth; the whole body has the empty pointer.
fn collect(value: &Value, at: String, out: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            fields.iter().for_each(|(name, value)| collect(value, format!("{at}/{name}"), out));
        }
        Value::Array(values) => {
            (0..).zip(values).for_each(|(index, value)| collect(value, format!("{at}/{index}"), out));
        }
        _ => {}
    }
    if !holds_path(value) {
        out.push(at);
    }
}

fn holds_path(value: &Value) -> bool {
    match value {
        Value::String(text) => text.starts_with('/'),
        Value::Array(values) => values.iter().any(holds_path),
        Value::Object(fields) => fields.values().any(holds_path),
        _ => false,
    }
}

/// Removes the part if it is a field of an object.
fn remove(body: &mut Value, path: &str) {
    let Some((parent, name)) = path.rsplit_once('/') else {
        return;
    };
    if let Some(fields) = body.pointer_mut(parent).and_then(Value::as_object_mut) {
        fields.remove(name);
    }
}
