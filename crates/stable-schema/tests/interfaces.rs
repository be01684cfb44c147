//! Comparisons of Candid interfaces: changes that break clients, and changes that only front ends misread.

use stable_schema::interface::compare;

/// Returns the notes on the upgrade, as texts.
fn notes(old: &str, new: &str) -> Vec<String> {
    compare(old, new).unwrap().upgrade.iter().map(ToString::to_string).collect()
}

#[test]
fn a_removed_method_and_a_changed_argument_break_clients() {
    let old = "service : { a : (nat) -> (text) query; b : () -> () }";
    let found = compare(old, "service : { a : (text) -> (text) query }").unwrap();
    assert_eq!(found.breaking.len(), 2, "{found:?}");
    assert!(found.breaking.iter().any(|text| text.contains("\"b\"")), "{found:?}");
    assert!(found.breaking.iter().any(|text| text.contains("\"a\"")), "{found:?}");
}

#[test]
fn more_optional_arguments_and_fields_are_compatible() {
    let old = "service : { a : (record { x : nat }) -> (record { y : text }) }";
    let new = "service : { a : (record { x : nat; z : opt nat }, opt text) -> (record { y : text; w : nat }); c : () -> () }";
    let found = compare(old, new).unwrap();
    assert_eq!(found.breaking, Vec::<String>::new());
    assert_eq!(found.upgrade, []);
    assert_eq!(found.rollback.len(), 1, "{found:?}");
    assert_eq!(found.rollback[0].to_string(), "c: the older build has no such method");
}

/// Candid allows all of these changes, but @icp-sdk/core 6.1.0 does not decode the new results correctly.
#[test]
fn changes_that_only_front_ends_misread_are_reported() {
    // The results of the old and of the new method, and the beginning or a part of the note.
    let cases = [
        ("(int)", "(nat)", "the result is nat where int is expected: an error"),
        (
            "(record { n : opt int })",
            "(record { n : opt nat })",
            "the result.n is nat where int is expected: silently none",
        ),
        (
            "(opt opt text)",
            "(text)",
            "not an option, where an option of an option is expected: silently none",
        ),
        ("(text, opt nat)", "(text)", "1 results where 2 are expected: an error"),
        ("(record { a : nat; b : null })", "(record { a : nat })", "the result.b, null, is absent: an error"),
        (
            "(record { b : reserved })",
            "(record {})",
            "the result.b, reserved, is absent: silently an empty list",
        ),
        (
            "(vec variant { a : int })",
            "(vec variant { a : nat })",
            "the result[].a is nat where int is expected",
        ),
    ];
    for (old, new, expected) in cases {
        let [old, new] = [old, new].map(|results| format!("service : {{ m : () -> {results} query }}"));
        let found = compare(&old, &new).unwrap();
        assert_eq!(found.breaking, Vec::<String>::new(), "{new}");
        assert!(found.upgrade.iter().all(|note| note.method == "m"), "{found:?}");
        assert!(found.upgrade.iter().any(|note| note.text.contains(expected)), "{new}: {found:?}");
    }
}

#[test]
fn a_trailing_result_is_reported_for_the_rollback() {
    let found = compare("service : { m : () -> (text) }", "service : { m : () -> (text, opt nat) }").unwrap();
    assert_eq!((found.breaking.len(), found.upgrade.len()), (0, 0), "{found:?}");
    assert_eq!(found.rollback[0].to_string(), "m: 1 results where 2 are expected: an error in @icp-sdk/core");
}

#[test]
fn an_option_of_another_type_is_reported_for_the_upgrade() {
    let found = notes("service : { m : () -> (opt text) }", "service : { m : () -> (opt bool) }");
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0], "m: an option of another type is read as null: opt bool <: opt text");
}

#[test]
fn recursive_types_and_init_arguments_are_no_obstacle() {
    let did = "type l = opt record { h : int; t : l }; service : (text) -> { m : () -> (l) }";
    let found = compare(did, &did.replace("h : int", "h : nat")).unwrap();
    assert_eq!(found.upgrade.len(), 1, "{found:?}");
}

#[test]
fn a_text_that_is_not_an_interface_is_an_error_of_one_line() {
    for text in ["", "service", "type a = nat;", "service : { a : () -> (nowhere) }"] {
        let error = compare(text, "service : {}").unwrap_err().to_string();
        assert!(error.starts_with("not a Candid interface: ") && !error.contains('\n'), "{error}");
    }
}
