//! Composite queries: which canisters they can call, how deep they can be nested, and which limit they share.

use super::calls::{forwarded_call, install_proxy};
use super::common::{
    ANONYMOUS, builder, call, counter, install_counter, install_wasm, instance, parse_u32, wasm,
};
use pocket_ic::ErrorCode;

#[test]
fn a_composite_query_that_has_replied_makes_no_more_calls() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let answer = pic.query_call(proxy, ANONYMOUS, "query_twice", forwarded_call(target, "read")).unwrap();
    assert_eq!(parse_u32(&answer), 0);
    assert_eq!(pic.canister_status(target, None).unwrap().query_stats.num_calls_total, 1u8);
}

#[test]
fn composite_queries_stay_on_their_subnet() {
    let pic = builder().with_application_subnet().with_application_subnet().build();
    let proxy = install_proxy(&pic);
    let subnets = pic.topology().get_app_subnets();
    let own = pic.get_subnet(proxy).unwrap();
    let other = *subnets.iter().find(|subnet| **subnet != own).unwrap();
    let target = pic.create_canister_on_subnet(None, None, other);
    pic.install_canister(target, counter(), vec![], None);
    let got = pic.query_call(proxy, ANONYMOUS, "query_text", forwarded_call(target, "read")).unwrap();
    assert_eq!(String::from_utf8(got).unwrap(), format!("IC0301: Canister {target} not found."));
    // Calls by updates reach other subnets.
    assert_eq!(parse_u32(&call(&pic, proxy, "forward", &forwarded_call(target, "inc")).unwrap()), 1);
}

#[test]
fn composite_queries_ask_other_canisters() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    call(&pic, target, "inc", &[]).unwrap();
    let answer = pic.query_call(proxy, ANONYMOUS, "forward_query", forwarded_call(target, "read")).unwrap();
    assert_eq!(parse_u32(&answer), 1);
    let itself = pic.query_call(proxy, ANONYMOUS, "forward_query", forwarded_call(proxy, "read")).unwrap();
    assert_eq!(parse_u32(&itself), 0);
    let error = call(&pic, proxy, "forward_query", &forwarded_call(target, "read")).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CompositeQueryCalledInReplicatedMode);
}

/// A nested query that uses up the instructions ends the whole graph: the query that called it gets no rejection to
/// handle.
#[test]
fn the_queries_of_a_graph_share_their_instructions() {
    let pic = instance();
    let (target, proxy) = (install_counter(&pic), install_proxy(&pic));
    let error =
        pic.query_call(proxy, ANONYMOUS, "forward_query", forwarded_call(target, "spin")).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::QueryCallGraphTotalInstructionLimitExceeded);
    let later = pic.query_call(proxy, ANONYMOUS, "forward_query", forwarded_call(target, "read"));
    assert_eq!(parse_u32(&later.unwrap()), 0);
}

/// Only the depth of nesting is limited, not the number of calls: `deep` calls itself twice, with 0 and with the number
/// that is one less than its argument. With 0, it makes no calls.
#[test]
fn composite_queries_are_nested_up_to_six_deep() {
    let pic = instance();
    let module = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_arg_data_copy" (func $arg (param i32 i32 i32)))
            (import "ic0" "canister_self_copy" (func $self_copy (param i32 i32 i32)))
            (import "ic0" "canister_self_size" (func $self_size (result i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_data_append" (func $data (param i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1) (table funcref (elem $answered $rejected))
            (data (i32.const 32) "deep")
            (func $ask
                (call $self_copy (i32.const 64) (i32.const 0) (call $self_size))
                (call $new (i32.const 64) (call $self_size) (i32.const 32) (i32.const 4)
                    (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 0))
                (call $data (i32.const 0) (i32.const 1))
                (drop (call $perform)))
            (func $answered (param i32)
                (i32.store (i32.const 16) (i32.add (i32.load (i32.const 16)) (i32.const 1)))
                (if (i32.eq (i32.load (i32.const 16)) (i32.const 2)) (then (call $reply))))
            (func $rejected (param i32) (unreachable))
            (func (export "canister_composite_query deep")
                (call $arg (i32.const 0) (i32.const 0) (i32.const 1))
                (if (i32.eqz (i32.load8_u (i32.const 0))) (then (call $reply) (return)))
                (i32.store8 (i32.const 8) (i32.sub (i32.load8_u (i32.const 0)) (i32.const 1)))
                (i32.store8 (i32.const 0) (i32.const 0))
                (call $ask)
                (i32.store8 (i32.const 0) (i32.load8_u (i32.const 8)))
                (call $ask)))"#,
    );
    let id = install_wasm(&pic, module);
    let ask = |depth: u8| pic.query_call(id, ANONYMOUS, "deep", vec![depth]);
    ask(6).unwrap();
    assert_eq!(ask(7).unwrap_err().error_code, ErrorCode::QueryCallGraphTooDeep);
}
