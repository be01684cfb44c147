//! Arguments that are not Candid, or Candid of another type: the caller gets the function's own error, which
//! names the function and says what does not decode. Nothing changes, and no arguments can make decoding hit the
//! instruction limit.

use crate::support::calls::CALLS;
use crate::support::scene::Scene;
use crate::support::upload::{file, two_chunks};
use crate::support::{InstalledCanister, controller, did, owner};
use candid::types::{Function, TypeInner};
use candid::{Principal, Reserved};
use session_migrate::build::Build;
use upload_canister::api::{self, HttpResponse};

/// Length, in bytes, of long arguments. They still fit into one message.
const LONG: usize = 1_900_000;

/// Maximum number of prefixes of valid arguments that are tried for each function.
const PREFIXES: usize = 24;

/// The largest length that a list can declare, as LEB128.
const MAX_LENGTH: &[u8] = b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01";

/// A function of the interface, with valid arguments.
struct Endpoint<'a> {
    name: &'a str,
    function: &'a Function,
    valid: Vec<u8>,
}

impl Endpoint<'_> {
    /// Returns whether every argument is optional. If so, an argument of another type decodes like an omitted one.
    fn all_optional(&self) -> bool {
        self.function.args.iter().all(|arg| matches!(arg.as_ref(), TypeInner::Opt(_)))
    }

    /// Returns the valid arguments, followed by a list that declares as many nulls as possible: a decoder skips
    /// arguments beyond those of the function. Returns `None` unless all arguments are of primitive types.
    fn with_a_list_of_nulls(&self) -> Option<Vec<u8>> {
        let count = self.function.args.len() as u8;
        // With an empty table of types, all arguments are of primitive types.
        let rest = self.valid.strip_prefix(&[b'D', b'I', b'D', b'L', 0, count])?;
        let (types, values) = rest.split_at(count.into());
        Some([b"DIDL\x01\x6d\x7f".as_slice(), &[count + 1], types, &[0], values, MAX_LENGTH].concat())
    }

    /// Returns the malformed arguments, each with a description.
    fn malformed(&self) -> Vec<(String, Vec<u8>)> {
        let mut tried: Vec<(String, Vec<u8>)> = [
            ("not Candid", b"{\"session\": 1}".to_vec()),
            ("long bytes that are not Candid", file(LONG, 3)),
            ("the magic alone", b"DIDL".to_vec()),
            ("an unknown type constructor", b"DIDL\x01\x40\x01\x00".to_vec()),
            ("a type beyond the end of the table of types", b"DIDL\x00\x01\x05".to_vec()),
            ("a table of types without end", [b"DIDL", MAX_LENGTH].concat()),
            ("more arguments than bytes", [b"DIDL\x00", MAX_LENGTH].concat()),
            ("many arguments", many_arguments()),
            ("many types", many_types()),
            ("deep types", deep_types()),
            ("a list of nulls", [b"DIDL\x01\x6d\x7f\x01\x00", MAX_LENGTH].concat()),
            ("a list of empty records", [b"DIDL\x02\x6d\x01\x6c\x00\x01\x00", MAX_LENGTH].concat()),
            ("a record that contains itself", b"DIDL\x01\x6c\x01\x00\x00\x01\x00".to_vec()),
            ("valid arguments, then more bytes", [self.valid.as_slice(), &file(LONG / 20, 4)].concat()),
        ]
        .map(|(what, bytes)| (what.to_owned(), bytes))
        .into();
        tried.extend(
            self.with_a_list_of_nulls().map(|bytes| ("valid arguments, then a list of nulls".into(), bytes)),
        );
        if !self.all_optional() {
            tried.push(("no bytes".into(), Vec::new()));
            tried.push(("an empty record".into(), b"DIDL\x01\x6c\x00\x01\x00".to_vec()));
        }
        let len = self.valid.len();
        let cuts = (1..len).step_by(len.div_ceil(PREFIXES));
        tried.extend(cuts.map(|cut| (format!("{cut} of {len} bytes"), self.valid[..cut].to_vec())));
        tried
    }
}

/// Creates arguments with almost half a million `opt null` types and one value.
fn many_types() -> Vec<u8> {
    let count = LONG / 4;
    [b"DIDL", leb128(count).as_slice(), &b"\x6e\x7f".repeat(count), b"\x01\x00\x00"].concat()
}

/// Creates as many null arguments as fit into one message.
fn many_arguments() -> Vec<u8> {
    [b"DIDL\x00", leb128(LONG).as_slice(), &b"\x7f".repeat(LONG)].concat()
}

/// Creates a value of the type `opt opt … null`, five thousand levels deep, with a value at each level: too deep for
/// the stack of a recursive decoder.
fn deep_types() -> Vec<u8> {
    let count = 5_000;
    let types: Vec<u8> = (1..=count)
        .flat_map(|next| if next == count { vec![0x6e, 0x7f] } else { [vec![0x6e], leb128(next)].concat() })
        .collect();
    [b"DIDL", leb128(count).as_slice(), &types, b"\x01\x00", &b"\x01".repeat(count)].concat()
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (number & 0x7f) as u8;
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

#[test]
fn on_legacy() {
    check_every_function(Build::Legacy);
}

#[test]
fn on_direct() {
    check_every_function(Build::Direct);
}

fn check_every_function(build: Build) {
    let canister = InstalledCanister::new(build);
    let scene = Scene::new(&canister, two_chunks(2), 1);
    let (_, functions) = did::functions(build);
    assert_eq!(functions.len(), CALLS.len());
    let before = scene.state(&canister);
    let mut wrong = Vec::new();
    for ((name, function), (_, arguments)) in functions.iter().zip(CALLS) {
        let endpoint = Endpoint { name, function, valid: arguments(&scene) };
        if function.args.is_empty() {
            check_ignores_arguments(&canister, &endpoint);
            continue;
        }
        for (what, arg) in endpoint.malformed() {
            let answer = canister.call(controller(), (name, function), arg);
            let is_refused = match &answer {
                Ok(reply) => is_refusal(name, reply),
                // The callback's result has no variant for an error.
                Err(reject) => {
                    *name == "http_request_streaming_callback" && names_reason(name, &reject.reject_message)
                }
            };
            if !is_refused {
                wrong.push(format!("{name}, {what}: {}", short(&answer)));
            }
        }
        if endpoint.all_optional() {
            // The caller has no rights, since only the decoding matters.
            let answer = canister.call(Principal::anonymous(), (name, function), Vec::new());
            if !answer.as_ref().is_ok_and(|reply| !is_refusal(name, reply)) {
                wrong.push(format!("{name}, no bytes at all: {}", short(&answer)));
            }
        }
        assert_eq!(scene.state(&canister), before, "{name}");
    }
    assert!(wrong.is_empty(), "{} wrong answers:\n{}", wrong.len(), wrong.join("\n"));
    scene.assert_alive(&canister);
}

/// Returns whether `reply` is the answer to arguments that do not decode: it must contain an error that names the
/// function and the reason.
fn is_refusal(name: &str, reply: &[u8]) -> bool {
    if name == "http_request" {
        let reply: HttpResponse = candid::decode_one(reply).unwrap();
        let body = String::from_utf8_lossy(&reply.body);
        return reply.status_code == 400 && names_reason(name, &body);
    }
    match candid::decode_one::<api::Result<Reserved>>(reply).unwrap() {
        Err(api::Error::InvalidArgument { field, expected, got }) => {
            field == "arguments" && expected == format!("those of {name}, in Candid") && got.len() > 10
        }
        _ => false,
    }
}

/// Returns whether the text of an answer without a Candid error names the function and the reason.
fn names_reason(name: &str, text: &str) -> bool {
    text.contains(&format!("arguments: expected those of {name}, in Candid, got "))
}

/// Checks that a function without arguments ignores the bytes that are sent as arguments. The caller is not a
/// controller, since a controller's calls could have effects.
fn check_ignores_arguments(canister: &InstalledCanister, endpoint: &Endpoint<'_>) {
    let Endpoint { name, function, .. } = *endpoint;
    let expected = canister.call(owner(), (name, function), Vec::new()).unwrap();
    let answer = canister.call(owner(), (name, function), file(LONG, 5)).unwrap();
    assert_eq!(answer, expected, "{name}");
}

fn short(answer: &impl std::fmt::Debug) -> String {
    format!("{answer:?}").chars().take(300).collect()
}
