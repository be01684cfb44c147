#!/usr/bin/env bash
# ic-canister-kit 1.3.3 and candid_parser 0.4.1 (crates.io), an interface that is read by a canister
#
# Expected: parse_methods returns the methods of an interface with their types, for every valid interface (Candid
#   specification, Core Grammar: a field is a number or a name, and other than the number 0 the name "0" has a hash; a
#   method has a function type or the name of one; arguments can be named; Syntactic Shorthands: a field without a
#   number has the number after that of the field before it). candid_parser accepts all interfaces below.
# Actual: fields with a number after one without become fields without a number, which are others; "0" and 0 become the
#   same; a type that refers to itself through another is printed with a reference to a name that nothing has bound.
#   Named function types, named arguments in them, `type T=nat`, and a comment like /* https://… */ are errors.
# Affected: wallets and explorers in canisters that show, compare or call the methods of other canisters: a method is
#   called with another type than it has, two different interfaces seem equal, or an interface cannot be read.
. "$(dirname "$0")/lib/common.sh"

mkdir src
cat > src/main.rs <<'EOF'
fn main() {
    for did in [
        r#"service : { f : (record { text; 5 : nat }) -> () }"#,
        r#"service : { f : (record { 0 : text; "0" : nat }) -> () }"#,
        r#"type A = record { b : opt B }; type B = record { a : opt A }; service : { f : (A) -> (); g : (B) -> () }"#,
        r#"type F = func (nat) -> (); service : { f : F }"#,
        r#"type F = func (id : nat) -> (); service : { f : (F) -> () }"#,
        r#"type T=nat; service : { f : (T) -> () }"#,
        r#"/* https://example.com */ service : { f : (nat) -> () }"#,
    ] {
        candid_parser::utils::CandidSource::Text(did).load().unwrap();
        println!("{did}");
        match ic_canister_kit::candid::parse_methods(did) {
            Ok(methods) => {
                let methods: std::collections::BTreeMap<_, _> = methods.into_iter().collect();
                methods.into_iter().for_each(|(name, signature)| println!("    {name}: {signature}"));
            }
            Err(e) => println!("    {e:?}"),
        }
    }
}
EOF
rust_program > seen <<'EOF'
candid_parser = "=0.4.1"
ic-canister-kit = { version = "=1.3.3", default-features = false, features = ["canister-did"] }
EOF
expect_seen <<'EOF'
service : { f : (record { text; 5 : nat }) -> () }
    f: (record { text; nat }) -> ()
service : { f : (record { 0 : text; "0" : nat }) -> () }
    f: (record { 0 : text; 0 : nat }) -> ()
type A = record { b : opt B }; type B = record { a : opt A }; service : { f : (A) -> (); g : (B) -> () }
    f: (μrec_0.record { b : opt record { a : opt rec_0 } }) -> ()
    g: (record { a : opt rec_0 }) -> ()
type F = func (nat) -> (); service : { f : F }
    ParsedError("next char must be ( at F }")
type F = func (id : nat) -> (); service : { f : (F) -> () }
    ParsedError("2. can not read string at: : nat) -> (); service : { f : (F) -> () }")
type T=nat; service : { f : (T) -> () }
    ParsedError("next char must be = at ; service : { f : (T) -> () }")
/* https://example.com */ service : { f : (nat) -> () }
    WrongComment("Can not find */ for end comment")
EOF
