//! The payload that the calls of a trace have uploaded.

use std::collections::HashSet;

use candid::types::value::{IDLArgs, IDLValue, VariantValue};
use candid_parser::parse_idl_args;

use crate::replay::Played;
use crate::trace::{Arguments, PayloadRef, TracedAnswer, TracedCall};

/// Returns the bytes of payload that the calls of `uploads_put_…` have stored, according to their replies. A call or
/// file with the same text as an earlier one is a repetition, and does not count.
pub(super) fn bytes<'t>(calls: impl Iterator<Item = (usize, &'t TracedCall)>, played: &[Played]) -> u64 {
    let mut counted = HashSet::new();
    let mut bytes = 0;
    for (index, call) in calls.filter(|(_, call)| call.method.starts_with("uploads_put_")) {
        let (Arguments::Candid(arguments), Some(Played::Answered(TracedAnswer::Reply(reply)))) =
            (&call.arguments, played.get(index))
        else {
            continue;
        };
        for text in stored(arguments, reply) {
            // In a trace, payload is replaced by a reference to it, which is a text: "@seed:1:0:700".
            let payloads = text.split('"').filter_map(PayloadRef::parse);
            let length = payloads.map(|reference| reference.length()).sum::<u64>();
            bytes += if counted.insert(text) { length } else { 0 };
        }
    }
    bytes
}

/// Returns the texts of what a call has stored: its arguments or, if the reply has a result for each file, the files
/// that were accepted. Empty if the reply refuses the call.
fn stored(arguments: &str, reply: &str) -> Vec<String> {
    let Ok(reply) = parse_idl_args(reply) else { return Vec::new() };
    match reply.args.first().and_then(accepted) {
        None => Vec::new(),
        Some(IDLValue::Vec(results)) => {
            let parsed = parse_idl_args(arguments).unwrap_or(IDLArgs { args: Vec::new() });
            let Some(IDLValue::Vec(files)) = parsed.args.first() else { return Vec::new() };
            let pairs = files.iter().zip(results).filter(|(_, result)| accepted(result).is_some());
            pairs.map(|(file, _)| format!("{file:?}")).collect()
        }
        Some(_) => vec![arguments.to_owned()],
    }
}

/// Returns the value in `variant { Ok = … }`; `None` if `result` is anything else.
fn accepted(result: &IDLValue) -> Option<&IDLValue> {
    match result {
        IDLValue::Variant(VariantValue(field, _)) if field.id.to_string() == "Ok" => Some(&field.val),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use candid::Principal;

    use super::*;
    use crate::trace::CallKind;

    fn answer(reply: &str) -> TracedAnswer {
        TracedAnswer::Reply(reply.to_owned())
    }

    /// Returns the bytes that calls have stored; each call is a method with its arguments and its reply.
    fn bytes_of(calls: &[(&str, &str, &str)]) -> u64 {
        let traced = |(method, arguments, reply): &(&str, &str, &str)| TracedCall {
            kind: CallKind::Update,
            caller: Principal::anonymous(),
            method: (*method).to_owned(),
            arguments: Arguments::Candid((*arguments).to_owned()),
            together: false,
            answer: answer(reply),
        };
        let played: Vec<Played> = calls.iter().map(|(.., reply)| Played::Answered(answer(reply))).collect();
        let calls: Vec<TracedCall> = calls.iter().map(traced).collect();
        bytes(calls.iter().enumerate(), &played)
    }

    #[test]
    fn only_accepted_payload_counts_and_only_once() {
        let chunk = "(\"@session:1\", 0 : nat32, \"@seed:1:0:700\")";
        let ok = ("uploads_put_chunk", chunk, "(variant { Ok })");
        assert_eq!(bytes_of(&[ok, ok]), 700);
        let refused = "(variant { Err = variant { Internal = \"this text contains Ok\" } })";
        assert_eq!(bytes_of(&[("uploads_put_chunk", chunk, refused)]), 0);
        assert_eq!(bytes_of(&[("uploads_put_chunk", chunk, refused), ok]), 700);
        assert_eq!(bytes_of(&[("uploads_finish", chunk, "(variant { Ok })")]), 0);
    }

    #[test]
    fn refused_files_of_a_call_with_many_do_not_count() {
        let files = "(vec { record { idem = \"a\"; bytes = \"@seed:1:0:700\" }; record { idem = \"b\"; bytes = \"@seed:2:0:80\" } })";
        let first = "(variant { Ok = vec { variant { Ok = record { size = 700 : nat64 } }; variant { Err = variant { NotFound } } } })";
        let both = "(variant { Ok = vec { variant { Ok = record { size = 700 : nat64 } }; variant { Ok = record { size = 80 : nat64 } } } })";
        assert_eq!(bytes_of(&[("uploads_put_many", files, first)]), 700);
        assert_eq!(bytes_of(&[("uploads_put_many", files, first), ("uploads_put_many", files, both)]), 780);
        assert_eq!(bytes_of(&[("uploads_put_many", files, "(variant { Ok = vec {} })")]), 0);
    }
}
