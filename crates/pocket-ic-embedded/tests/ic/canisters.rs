//! Canisters from creation to deletion: ids, calls, versions, settings, status.

use super::common::{
    ANONYMOUS, builder, call, counter, install_counter_with, install_wasm, instance, parse_u32, parse_u64,
    read_counter, user, wasm,
};
use candid::Principal;
use pocket_ic::{CanisterSettings, ErrorCode, PocketIc, RejectCode};

#[test]
fn ids_cycles_and_controllers_of_new_canisters() {
    let pic = instance();
    let id = pic.create_canister();
    assert_eq!(id.to_text(), "lxzze-o7777-77777-aaaaa-cai");
    assert_eq!(pic.cycle_balance(id), 100_000_000_000_000);
    assert_eq!(pic.get_controllers(id), [ANONYMOUS]);
    assert!(pic.canister_exists(id));
    let other = pic.create_canister_with_settings(Some(user(1)), None);
    assert_ne!(id, other);
    assert_eq!(pic.get_controllers(other), [user(1)]);
    assert_eq!(pic.get_subnet(id), Some(pic.topology().get_app_subnets()[0]));
    // An id that the instance has not issued, but that a user may choose.
    let unknown = Principal::from_text("x47dp-5x777-77777-p777q-cai").unwrap();
    assert!(!pic.canister_exists(unknown));
    let created = pic.create_canister_with_id(None, None, unknown).unwrap();
    assert_eq!(created, unknown);
    let error = pic.create_canister_with_id(None, None, id).unwrap_err();
    assert!(error.contains("CanisterAlreadyInstalled"), "{error}");
}

#[test]
fn updates_change_queries_do_not() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 6);
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 7);
    let in_query = pic.query_call(id, ANONYMOUS, "inc_query", vec![]).unwrap();
    assert_eq!(parse_u32(&in_query), 8);
    assert_eq!(read_counter(&pic, id), 7);
    // A query method called as an update changes nothing either.
    assert_eq!(parse_u32(&call(&pic, id, "inc_query", &[]).unwrap()), 8);
    assert_eq!(read_counter(&pic, id), 7);
    // A mutable global that the module does not export is also kept: 7 at first, and 1 more for each of the two
    // updates.
    let hidden = pic.query_call(id, ANONYMOUS, "hidden", vec![]).unwrap();
    assert_eq!(parse_u32(&hidden), 9);
}

#[test]
fn the_caller_and_the_argument_arrive() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let caller = pic.query_call(id, user(3), "caller", vec![]).unwrap();
    assert_eq!(caller, user(3).as_slice());
    let payload: Vec<u8> = (0..60_000u32).map(|n| n as u8).collect();
    let echoed = pic.update_call(id, user(3), "echo", payload.clone()).unwrap();
    assert_eq!(echoed, payload);
}

#[test]
fn every_failure_has_its_code_and_changes_nothing() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    for (method, code, part) in [
        (
            "trap_after_inc",
            ErrorCode::CanisterCalledTrap,
            "Canister called `ic0.trap` with message: 'something went wrong'",
        ),
        ("unreachable", ErrorCode::CanisterTrapped, "unreachable"),
        ("no_reply", ErrorCode::CanisterDidNotReply, "did not reply"),
        ("reject", ErrorCode::CanisterRejectedMessage, "not today"),
        ("missing", ErrorCode::CanisterMethodNotFound, "Canister has no update method 'missing'"),
    ] {
        let error = call(&pic, id, method, &[]).unwrap_err();
        assert_eq!(error.error_code, code, "{method}: {error}");
        assert!(error.reject_message.contains(part), "{method}: {error}");
        assert!(error.certified, "{method}");
        assert_eq!(read_counter(&pic, id), 5, "{method}");
    }
    let error = call(&pic, id, "reject", &[]).unwrap_err();
    assert_eq!(error.reject_code, RejectCode::CanisterReject);
    assert_eq!(error.reject_message, "not today");
    let error = pic.query_call(id, ANONYMOUS, "missing", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterMethodNotFound);
    assert!(!error.certified);
}

#[test]
fn errors_say_what_a_developer_can_do() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    for (method, part) in [
        ("trap_after_inc", "Consider gracefully handling failures"),
        ("missing", "Check that the method being called is exported"),
    ] {
        let error = call(&pic, id, method, &[]).unwrap_err();
        assert!(error.reject_message.contains(part), "{method}: {error}");
    }
    let error = pic.query_call(id, ANONYMOUS, "spin", vec![]).unwrap_err();
    assert!(error.reject_message.contains("Try optimizing this method"), "{error}");
    pic.uninstall_canister(id, None).unwrap();
    let error = call(&pic, id, "inc", &[]).unwrap_err();
    assert!(error.reject_message.contains("Please install code to this canister"), "{error}");
}

#[test]
fn a_canister_without_cycles_is_frozen_even_without_a_threshold() {
    let pic = instance();
    // The canister has less than 2^64 cycles, so it burns all that it has.
    let burning = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "cycles_burn128" (func $burn (param i64 i64 i32)))
            (memory 1)
            (func (export "canister_update burn_all")
                (call $burn (i64.const 1) (i64.const 0) (i32.const 0)) (call $reply)))"#,
    );
    let id = install_wasm(&pic, burning);
    set_freezing_threshold(&pic, id, 0);
    call(&pic, id, "burn_all", &[]).unwrap();
    assert_eq!(pic.cycle_balance(id), 0);
    let error = call(&pic, id, "burn_all", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterOutOfCycles);
}

#[test]
fn a_query_that_never_ends_is_ended() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let error = pic.query_call(id, ANONYMOUS, "spin", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterInstructionLimitExceeded);
    assert!(error.reject_message.contains("5000000000"), "{error}");
    assert_eq!(read_counter(&pic, id), 5);
}

#[test]
fn a_stopped_canister_rejects_calls_and_can_be_deleted() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let error = pic.delete_canister(id, None).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNotStopped);
    pic.stop_canister(id, None).unwrap();
    let error = call(&pic, id, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopped);
    assert!(!error.certified);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStopped);
    pic.upgrade_canister(id, counter(), vec![], None).unwrap();
    pic.start_canister(id, None).unwrap();
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 1);
    pic.stop_canister(id, None).unwrap();
    pic.stop_canister(id, None).unwrap();
    pic.delete_canister(id, None).unwrap();
    assert!(!pic.canister_exists(id));
    let error = call(&pic, id, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterNotFound);
    assert_ne!(pic.create_canister(), id);
}

#[test]
fn versions_grow_with_every_change() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    let first = parse_u64(&call(&pic, id, "version", &[]).unwrap());
    let second = parse_u64(&call(&pic, id, "version", &[]).unwrap());
    assert!(second > first);
    call(&pic, id, "trap_after_inc", &[]).unwrap_err();
    pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap();
    let third = parse_u64(&call(&pic, id, "version", &[]).unwrap());
    assert_eq!(third, second + 1, "the trap and the query are not counted");
    pic.set_controllers(id, None, vec![user(1), ANONYMOUS]).unwrap();
    let fourth = parse_u64(&call(&pic, id, "version", &[]).unwrap());
    assert_eq!(fourth, third + 2, "one for the controllers, one for the call");
}

fn set_freezing_threshold(pic: &PocketIc, id: Principal, seconds: u64) {
    let settings = CanisterSettings { freezing_threshold: Some(seconds.into()), ..Default::default() };
    pic.update_canister_settings(id, None, settings).unwrap();
}

#[test]
fn status_shows_settings_and_sizes_to_controllers_only() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    set_freezing_threshold(&pic, id, 7);
    let status = pic.canister_status(id, None).unwrap();
    assert_eq!(status.settings.freezing_threshold, 7u8);
    assert_eq!(status.memory_metrics.stable_memory_size, 65_536u32);
    assert_eq!(status.memory_metrics.wasm_memory_size, 65_536u32);
    assert_eq!(status.cycles, 100_000_000_000_000u64);
    let error = pic.canister_status(id, Some(user(1))).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterStatusAccessDenied);
    pic.set_controllers(id, None, vec![user(1)]).unwrap();
    assert_eq!(pic.get_controllers(id), [user(1)]);
    assert!(pic.canister_status(id, Some(user(1))).is_ok());
    assert!(pic.canister_status(id, None).is_err());
}

#[test]
fn a_canister_below_its_freezing_threshold_takes_no_calls() {
    let pic = instance();
    let id = install_counter_with(&pic, 5);
    set_freezing_threshold(&pic, id, u64::MAX);
    let error = call(&pic, id, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterOutOfCycles);
    let error = pic.query_call(id, ANONYMOUS, "read", vec![]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterOutOfCycles);
    pic.add_cycles(id, u128::MAX / 2);
    assert_eq!(parse_u32(&call(&pic, id, "inc", &[]).unwrap()), 6);
    // A system subnet charges nothing, so an empty balance does not matter there.
    let free = builder().with_system_subnet().build();
    let params = pocket_ic::CreateCanisterParams { cycles: Some(0), ..Default::default() };
    let id = free.create_canister_with_params(None, params).unwrap();
    free.install_canister(id, counter(), vec![], None);
    assert_eq!(free.cycle_balance(id), 0);
    assert_eq!(parse_u32(&call(&free, id, "inc", &[]).unwrap()), 1);
}

#[test]
fn inspect_message_decides_about_ingress() {
    let pic = instance();
    // Accepts methods with names of two letters, and traps for those of four; does neither for `not`.
    let gate = wasm(
        r#"(module
            (import "ic0" "msg_method_name_size" (func $size (result i32)))
            (import "ic0" "accept_message" (func $accept))
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "trap" (func $trap (param i32 i32)))
            (memory 1) (data (i32.const 0) "go away")
            (func (export "canister_inspect_message")
                (if (i32.eq (call $size) (i32.const 2)) (then (call $accept)))
                (if (i32.eq (call $size) (i32.const 4))
                    (then (call $trap (i32.const 0) (i32.const 7)))))
            (func (export "canister_update ok") (call $reply))
            (func (export "canister_update not") (call $reply))
            (func (export "canister_update trap") (call $reply)))"#,
    );
    let id = install_wasm(&pic, gate);
    assert!(call(&pic, id, "ok", &[]).is_ok());
    let error = call(&pic, id, "not", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterRejectedMessage);
    assert!(error.reject_message.contains("Canister rejected the message"));
    assert!(!error.certified);
    let error = call(&pic, id, "trap", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterCalledTrap);
    assert!(!error.certified);
}

#[test]
fn instances_do_not_see_each_other() {
    let first = instance();
    let second = builder().with_application_subnet().build();
    let id = install_counter_with(&first, 5);
    assert!(!second.canister_exists(id));
    // Every instance issues the same ids.
    assert_eq!(second.create_canister(), id);
    let error = call(&second, id, "inc", &[]).unwrap_err();
    assert_eq!(error.error_code, ErrorCode::CanisterWasmModuleNotFound);
}
