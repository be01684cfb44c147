//! Differences between two answers, down to the field.

use candid::types::Label;
use candid::types::value::{IDLField, IDLValue};
use candid_parser::parse_idl_args;

use crate::replay::Played;
use crate::trace::TracedAnswer;

/// One difference between two answers or states.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The path of the field, such as `Ok.path` or `Ok[].created_at`; `[]` is any element. Empty if the whole value
    /// differs.
    pub field: String,
    /// Side A's value as text, in Candid's form if it is Candid.
    pub a: String,
    /// Side B's value as text, in Candid's form if it is Candid.
    pub b: String,
}

/// Returns all differences between two answers. Of a rejection, only the code is compared, since the text comes from
/// the server.
pub fn differences(a: &Played, b: &Played) -> Vec<Difference> {
    let whole_difference = || vec![Difference { field: String::new(), a: describe(a), b: describe(b) }];
    match (a, b) {
        (Played::Answered(TracedAnswer::Reply(a)), Played::Answered(TracedAnswer::Reply(b))) => {
            differences_of_texts(a, b)
        }
        (
            Played::Answered(TracedAnswer::Rejected { code: a, .. }),
            Played::Answered(TracedAnswer::Rejected { code: b, .. }),
        ) if a == b => Vec::new(),
        // A call that was not sent counts as different, even if it was sent on neither side.
        (Played::NotSent { .. }, _) | (_, Played::NotSent { .. }) => whole_difference(),
        _ if a == b => Vec::new(),
        _ => whole_difference(),
    }
}

/// Returns the text of an outcome, for a difference of whole values.
fn describe(played: &Played) -> String {
    match played {
        Played::Done => "no answer".into(),
        Played::Answered(TracedAnswer::Reply(text)) => text.clone(),
        Played::Answered(TracedAnswer::Raw(bytes)) => format!("not Candid: {bytes}"),
        Played::Answered(TracedAnswer::Rejected { code, message }) => format!("rejected, {code}: {message}"),
        Played::NotSent { name } => format!("not sent, since no reply has shown {name}"),
    }
}

/// Returns all differences between two texts: by field if both are Candid, otherwise of the whole texts.
pub fn differences_of_texts(a: &str, b: &str) -> Vec<Difference> {
    if a == b {
        return Vec::new();
    }
    let whole_difference = || vec![Difference { field: String::new(), a: a.into(), b: b.into() }];
    let (Ok(parsed_a), Ok(parsed_b)) = (parse_idl_args(a), parse_idl_args(b)) else {
        return whole_difference();
    };
    if parsed_a.args.len() != parsed_b.args.len() {
        return whole_difference();
    }
    let mut found = Vec::new();
    for (a, b) in parsed_a.args.iter().zip(&parsed_b.args) {
        collect_differences("", a, b, &mut found);
    }
    // If the texts differ although all values are equal, only the notation differs: the whole texts are one difference.
    if found.is_empty() { whole_difference() } else { found }
}

/// Adds the differences of two values to `found`. `path` is the path of both.
fn collect_differences(path: &str, a: &IDLValue, b: &IDLValue, found: &mut Vec<Difference>) {
    if a == b {
        return;
    }
    match (a, b) {
        (IDLValue::Record(a), IDLValue::Record(b)) => collect_fields(path, a, b, found),
        (IDLValue::Variant(a), IDLValue::Variant(b)) if a.0.id == b.0.id => {
            collect_differences(&join_path(path, &a.0), &a.0.val, &b.0.val, found);
        }
        (IDLValue::Opt(a), IDLValue::Opt(b)) => collect_differences(path, a, b, found),
        (IDLValue::Vec(a), IDLValue::Vec(b)) if a.len() == b.len() => {
            for (a, b) in a.iter().zip(b) {
                collect_differences(&format!("{path}[]"), a, b, found);
            }
        }
        _ => found.push(Difference { field: path.into(), a: format!("{a:?}"), b: format!("{b:?}") }),
    }
}

/// Compares field by field. `outer` is the path of the record. A field that only one side has is a separate difference,
/// so that a rule can name it.
fn collect_fields(outer: &str, a: &[IDLField], b: &[IDLField], found: &mut Vec<Difference>) {
    let value_in = |side: &[IDLField], id: &Label| {
        side.iter().find(|field| field.id == *id).map(|field| field.val.clone())
    };
    for field in a {
        match value_in(b, &field.id) {
            Some(val) => collect_differences(&join_path(outer, field), &field.val, &val, found),
            None => found.push(only_in_a(outer, field)),
        }
    }
    found.extend(
        b.iter().filter(|field| value_in(a, &field.id).is_none()).map(|field| only_in_b(outer, field)),
    );
}

/// The value of the side that lacks a field.
const NO_FIELD: &str = "no such field";

fn only_in_a(outer: &str, field: &IDLField) -> Difference {
    Difference { field: join_path(outer, field), a: format!("{:?}", field.val), b: NO_FIELD.to_owned() }
}

fn only_in_b(outer: &str, field: &IDLField) -> Difference {
    Difference { field: join_path(outer, field), a: NO_FIELD.to_owned(), b: format!("{:?}", field.val) }
}

fn join_path(outer: &str, inner: &IDLField) -> String {
    if outer.is_empty() { inner.id.to_string() } else { format!("{outer}.{}", inner.id) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(a: &str, b: &str) -> Vec<String> {
        differences_of_texts(a, b).into_iter().map(|difference| difference.field).collect()
    }

    #[test]
    fn a_difference_is_named_down_to_its_field() {
        let record = |path: &str, n: u32| {
            format!(
                "(variant {{ Ok = record {{ path = variant {{ {path} }}; list = vec {{ record {{ n = {n} : nat32 }} }} }} }})"
            )
        };
        assert!(fields(&record("Direct", 1), &record("Direct", 1)).is_empty());
        assert_eq!(fields(&record("Direct", 1), &record("Compat", 2)), ["Ok.list[].n", "Ok.path"]);
        assert_eq!(fields("(record { a = 1; b = 2 })", "(record { a = 1; c = 3 })"), ["b", "c"]);
        assert_eq!(fields("(variant { Ok })", "(variant { Err = 1 })"), [""]);
        assert_eq!(fields("(vec { 1 })", "(vec { 1; 2 })"), [""]);
        assert_eq!(fields("(opt record { a = 1 })", "(opt record { a = 2 })"), ["a"]);
        assert_eq!(fields("not Candid", "neither"), [""]);
    }

    #[test]
    fn the_text_of_a_rejection_is_not_compared() {
        let rejected = |code: &str, message: &str| {
            Played::Answered(TracedAnswer::Rejected { code: code.into(), message: message.into() })
        };
        assert!(differences(&rejected("A", "x"), &rejected("A", "y")).is_empty());
        assert_eq!(differences(&rejected("A", "x"), &rejected("B", "x")).len(), 1);
        let unsent = Played::NotSent { name: "@session:2".into() };
        assert!(differences(&unsent, &Played::Done)[0].a.contains("@session:2"));
        assert_eq!(
            differences(&unsent, &unsent).len(),
            1,
            "a call that is sent on neither side counts as different"
        );
    }
}
