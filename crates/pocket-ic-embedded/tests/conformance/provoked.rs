//! Every error that a user of this server can provoke, and how. Those that only canisters get are in `error_codes.rs`.

use crate::common::{
    ANONYMOUS, call, call_management, counter, encode_canister_id, submit_management, user, wasm,
};
use candid::{Principal, encode_one};
use ic_management_canister_types as types;
use pocket_ic::ErrorCode::{self, *};
use pocket_ic::common::rest::{RawEffectivePrincipal, RawMessageId};
use pocket_ic::{CanisterSettings, PocketIc, RejectResponse};
use std::time::Duration;

/// Provokes the error and returns it. The arguments are a new instance and the faulty canister on it.
pub type Provoke = fn(&PocketIc, Principal) -> RejectResponse;

/// Whether a certificate proves the error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certification {
    /// The message was executed in a round.
    Certified,
    /// The error comes from the filter before the round, or from a query.
    Uncertified,
}
use Certification::{Certified, Uncertified};

fn expect_rejection(result: Result<Vec<u8>, RejectResponse>) -> RejectResponse {
    result.expect_err("the call is rejected")
}

pub fn update_rejection(pic: &PocketIc, id: Principal, method: &str) -> RejectResponse {
    expect_rejection(call(pic, id, method, &[]))
}

fn query_rejection(pic: &PocketIc, id: Principal, method: &str) -> RejectResponse {
    expect_rejection(pic.query_call(id, ANONYMOUS, method, vec![]))
}

fn management_rejection(pic: &PocketIc, id: Principal, method: &str) -> RejectResponse {
    expect_rejection(call_management(pic, id, ANONYMOUS, method, encode_canister_id(id)))
}

fn upgrade_rejection(pic: &PocketIc, id: Principal, module: Vec<u8>) -> RejectResponse {
    pic.upgrade_canister(id, module, vec![], None).expect_err("the call is rejected")
}

/// Stops the faulty canister, which never finishes stopping because it keeps calling itself. Returns the id of the stop
/// call.
fn begin_stopping(pic: &PocketIc, id: Principal) -> RawMessageId {
    pic.submit_call(id, ANONYMOUS, "ping", vec![]).expect("the call is accepted");
    let stop = submit_management(pic, id, "stop_canister");
    pic.tick();
    stop
}

fn take_snapshot(pic: &PocketIc, id: Principal) -> Vec<u8> {
    pic.take_canister_snapshot(id, None, None).expect("a snapshot").id
}

/// Freezes the canister: its balance does not suffice for this freezing threshold.
fn freeze(pic: &PocketIc, id: Principal) {
    update_settings(
        pic,
        id,
        CanisterSettings { freezing_threshold: Some(u64::MAX.into()), ..Default::default() },
    );
}

fn update_settings(pic: &PocketIc, id: Principal, settings: CanisterSettings) {
    pic.update_canister_settings(id, None, settings).expect("the settings are accepted");
}

/// Each error's code, a part of its message, whether the error is certified, and how it is provoked.
pub const PROVOKED: &[(ErrorCode, &str, Certification, Provoke)] = &[
    (StopCanisterRequestTimeout, "timed out", Certified, |pic, id| {
        let stop = begin_stopping(pic, id);
        pic.advance_time(Duration::from_secs(300));
        expect_rejection(pic.await_call(stop))
    }),
    (CanisterOutOfCycles, "out of cycles", Uncertified, |pic, id| {
        freeze(pic, id);
        update_rejection(pic, id, "pong")
    }),
    (CanisterOutOfCycles, "unable to process query calls because it's frozen", Uncertified, |pic, id| {
        freeze(pic, id);
        query_rejection(pic, id, "hoard")
    }),
    (CanisterOutOfCycles, "is out of cycles: requested", Certified, |pic, id| {
        update_rejection(pic, id, "spend")
    }),
    (CanisterNotFound, "not found", Uncertified, |pic, id| {
        pic.stop_canister(id, None).expect("the canister stops");
        pic.delete_canister(id, None).expect("the stopped canister is deleted");
        update_rejection(pic, id, "pong")
    }),
    (CanisterSnapshotNotFound, "Could not find the snapshot ID 00ff", Certified, |pic, id| {
        pic.load_canister_snapshot(id, None, vec![0, 255]).expect_err("the call is rejected")
    }),
    (CanisterNotHostedBySubnet, "does not belong to any subnet", Certified, |pic, _| {
        let subnet = pic.topology().get_app_subnets()[0];
        let args = types::ProvisionalCreateCanisterWithCyclesArgs {
            specified_id: Some(Principal::from_slice(&[0, 0, 0, 0, 0, 0, 0, 1, 1, 1])),
            ..Default::default()
        };
        expect_rejection(pic.update_call_with_effective_principal(
            Principal::management_canister(),
            RawEffectivePrincipal::SubnetId(subnet.as_slice().to_vec()),
            ANONYMOUS,
            "provisional_create_canister_with_cycles",
            encode_one(args).expect("the argument encodes"),
        ))
    }),
    (CanisterRejectedMessage, "not today", Certified, |pic, id| update_rejection(pic, id, "refuse")),
    (CanisterRejectedMessage, "Canister rejected the message", Uncertified, |pic, id| {
        pic.reinstall_canister(
            id,
            wasm(r#"(module (func (export "canister_inspect_message")))"#),
            vec![],
            None,
        )
        .expect("the module is installed");
        update_rejection(pic, id, "any")
    }),
    (CanisterRejectedMessage, "Only canisters can call", Uncertified, |pic, id| {
        management_rejection(pic, id, "raw_rand")
    }),
    (
        CanisterRejectedMessage,
        "has reached the maximum number of snapshots allowed: 10",
        Certified,
        |pic, id| {
            (0..10).for_each(|_| drop(take_snapshot(pic, id)));
            pic.take_canister_snapshot(id, None, None).expect_err("the call is rejected")
        },
    ),
    (CanisterRejectedMessage, "Failed to create snapshot for empty canister", Certified, |pic, _| {
        let empty = pic.create_canister();
        pic.take_canister_snapshot(empty, None, None).expect_err("the call is rejected")
    }),
    (UnknownManagementMessage, "no method 'make_coffee'", Uncertified, |pic, id| {
        management_rejection(pic, id, "make_coffee")
    }),
    (UnknownManagementMessage, "not supported by the embedded server", Uncertified, |pic, id| {
        management_rejection(pic, id, "sign_with_ecdsa")
    }),
    (InvalidManagementPayload, "Error decoding candid arguments of start_canister", Certified, |pic, id| {
        expect_rejection(call_management(pic, id, ANONYMOUS, "start_canister", b"nonsense".to_vec()))
    }),
    (
        InvalidManagementPayload,
        "Invalid subslice into main memory: offset: 1, size: 262144",
        Certified,
        |pic, id| {
            let args = types::ReadCanisterSnapshotDataArgs {
                canister_id: id,
                snapshot_id: take_snapshot(pic, id),
                kind: types::SnapshotDataKind::WasmMemory { offset: 1, size: 262_144 },
            };
            let arg = encode_one(args).expect("the argument encodes");
            expect_rejection(call_management(pic, id, ANONYMOUS, "read_canister_snapshot_data", arg))
        },
    ),
    (
        CanisterSnapshotImmutable,
        "Only canister snapshots created by metadata upload",
        Certified,
        |pic, id| {
            let args = types::UploadCanisterSnapshotDataArgs {
                canister_id: id,
                snapshot_id: take_snapshot(pic, id),
                kind: types::SnapshotDataOffset::StableMemory { offset: 0 },
                chunk: vec![1],
            };
            let arg = encode_one(args).expect("the argument encodes");
            expect_rejection(call_management(pic, id, ANONYMOUS, "upload_canister_snapshot_data", arg))
        },
    ),
    (CanisterTrapped, "Canister trapped: unreachable", Certified, |pic, id| {
        update_rejection(pic, id, "unreachable")
    }),
    // The trap is in `canister_inspect_message`.
    (CanisterTrapped, "Canister trapped: unreachable", Uncertified, |pic, id| {
        update_rejection(pic, id, "gate")
    }),
    (CanisterTrapped, "Canister trapped: heap out of bounds", Certified, |pic, id| {
        update_rejection(pic, id, "heap")
    }),
    (CanisterTrapped, "Canister trapped: stable memory out of bounds", Certified, |pic, id| {
        update_rejection(pic, id, "stable")
    }),
    (CanisterTrapped, "32 bit stable memory api used on a memory larger than 4GB", Certified, |pic, id| {
        update_rejection(pic, id, "stable32")
    }),
    (CanisterTrapped, "Canister trapped: integer division by 0", Certified, |pic, id| {
        update_rejection(pic, id, "division")
    }),
    (CanisterTrapped, "Canister trapped: integer overflow", Certified, |pic, id| {
        update_rejection(pic, id, "overflow")
    }),
    (CanisterTrapped, "Canister trapped: invalid conversion to integer", Certified, |pic, id| {
        update_rejection(pic, id, "conversion")
    }),
    (CanisterTrapped, "Canister trapped: table out of bounds", Certified, |pic, id| {
        update_rejection(pic, id, "table")
    }),
    (CanisterTrapped, "Canister trapped: indirect call to a null", Certified, |pic, id| {
        update_rejection(pic, id, "null")
    }),
    (CanisterTrapped, "Canister trapped: indirect call type mismatch", Certified, |pic, id| {
        update_rejection(pic, id, "type")
    }),
    (CanisterTrapped, "Canister trapped: stack overflow", Certified, |pic, id| {
        update_rejection(pic, id, "recursion")
    }),
    (
        CanisterCalledTrap,
        "Canister called `ic0.trap` with message: 'a deliberate fault'",
        Certified,
        |pic, id| update_rejection(pic, id, "trap"),
    ),
    (CanisterCalledTrap, "Canister called `ic0.trap`", Uncertified, |pic, id| {
        query_rejection(pic, id, "trap_query")
    }),
    (CanisterCalledTrap, "Canister called `ic0.trap`", Certified, |pic, id| {
        update_rejection(pic, id, "trap_query")
    }),
    (
        CanisterContractViolation,
        "Canister violated contract: ic0_msg_reply: the call is already replied",
        Certified,
        |pic, id| update_rejection(pic, id, "twice"),
    ),
    (
        CanisterContractViolation,
        "\"ic0_accept_message\" cannot be executed in update mode",
        Certified,
        |pic, id| update_rejection(pic, id, "misplaced"),
    ),
    (
        CanisterContractViolation,
        "Canister violated contract: ic0_msg_reply_data_append heap",
        Certified,
        |pic, id| update_rejection(pic, id, "heap_argument"),
    ),
    (CanisterContractViolation, "Error from Wasm chunk store", Certified, |pic, id| {
        let chunk = vec![0; (1 << 20) + 1];
        pic.upload_chunk(id, None, chunk).expect_err("the call is rejected")
    }),
    (CanisterContractViolation, "Missing upgrade option", Certified, |pic, id| {
        let persistent =
            wasm(r#"(module (memory 1) (@custom "icp:private enhanced-orthogonal-persistence" ""))"#);
        pic.reinstall_canister(id, persistent, vec![], None).expect("the canister is reinstalled");
        upgrade_rejection(pic, id, counter())
    }),
    (CanisterInvalidWasm, "Canister's Wasm module is not valid: Failed to decode", Certified, |pic, id| {
        upgrade_rejection(pic, id, b"not wasm".to_vec())
    }),
    (
        CanisterInvalidWasm,
        "imports function 'brew' from 'ic0' that is not exported by the runtime",
        Certified,
        |pic, id| upgrade_rejection(pic, id, wasm(r#"(module (import "ic0" "brew" (func)))"#)),
    ),
    (CanisterDidNotReply, "Canister did not reply to the call", Certified, |pic, id| {
        update_rejection(pic, id, "nothing")
    }),
    (CanisterStopped, "is stopped", Uncertified, |pic, id| {
        pic.stop_canister(id, None).expect("the canister stops");
        update_rejection(pic, id, "pong")
    }),
    (CanisterStopping, "is stopping", Uncertified, |pic, id| {
        begin_stopping(pic, id);
        update_rejection(pic, id, "pong")
    }),
    (CanisterNotStopped, "must be stopped before it is deleted", Certified, |pic, id| {
        management_rejection(pic, id, "delete_canister")
    }),
    (CanisterStoppingCancelled, "stop request was cancelled", Certified, |pic, id| {
        let stop = begin_stopping(pic, id);
        pic.start_canister(id, None).expect("the canister starts");
        expect_rejection(pic.await_call(stop))
    }),
    (CanisterInvalidController, "Only the controllers of the canister", Uncertified, |pic, id| {
        expect_rejection(call_management(pic, id, user(1), "stop_canister", encode_canister_id(id)))
    }),
    (CanisterStatusAccessDenied, "is not allowed to call canister_status", Uncertified, |pic, id| {
        expect_rejection(call_management(pic, id, user(1), "canister_status", encode_canister_id(id)))
    }),
    (CanisterFunctionNotFound, "non-existent Wasm function 99", Certified, |pic, id| {
        update_rejection(pic, id, "lost")
    }),
    (CanisterNonEmpty, "Try installing with mode='reinstall' instead", Certified, |pic, id| {
        let args = types::InstallCodeArgs {
            mode: types::CanisterInstallMode::Install,
            canister_id: id,
            wasm_module: counter(),
            arg: vec![],
            sender_canister_version: None,
        };
        expect_rejection(call_management(
            pic,
            id,
            ANONYMOUS,
            "install_code",
            encode_one(args).expect("the argument encodes"),
        ))
    }),
    // `canister_inspect_message` never ends for this method. Its limit is the smallest of all, so this is the fastest
    // way.
    (CanisterInstructionLimitExceeded, "limit of 200000000 instructions", Uncertified, |pic, id| {
        update_rejection(pic, id, "spin")
    }),
    (CanisterMemoryAccessLimitExceeded, "Canister exceeded memory access limits", Uncertified, |pic, id| {
        query_rejection(pic, id, "hoard")
    }),
    (
        QueryCallGraphTotalInstructionLimitExceeded,
        "Composite query calls exceeded the instruction limit",
        Uncertified,
        |pic, id| query_rejection(pic, id, "insist"),
    ),
    // Seven nested calls, one more than the limit. They count even if a canister calls itself.
    (QueryCallGraphTooDeep, "exceeded the maximum call depth", Uncertified, |pic, id| {
        expect_rejection(pic.query_call(id, ANONYMOUS, "ask", id.as_slice().repeat(7)))
    }),
    (
        CompositeQueryCalledInReplicatedMode,
        "Composite query cannot be called in replicated mode",
        Certified,
        |pic, id| update_rejection(pic, id, "ask"),
    ),
    (CanisterMethodNotFound, "Canister has no update method 'brew'", Certified, |pic, id| {
        update_rejection(pic, id, "brew")
    }),
    (CanisterMethodNotFound, "Canister has no query method 'brew'", Uncertified, |pic, id| {
        query_rejection(pic, id, "brew")
    }),
    (CanisterWasmModuleNotFound, "contains no Wasm module", Uncertified, |pic, id| {
        pic.uninstall_canister(id, None).expect("the code is uninstalled");
        update_rejection(pic, id, "pong")
    }),
    (CanisterAlreadyInstalled, "is already installed", Certified, |pic, id| {
        let args =
            types::ProvisionalCreateCanisterWithCyclesArgs { specified_id: Some(id), ..Default::default() };
        let arg = encode_one(args).expect("the argument encodes");
        expect_rejection(call_management(pic, id, ANONYMOUS, "provisional_create_canister_with_cycles", arg))
    }),
    (
        CanisterWasmMemoryLimitExceeded,
        "exceeded its current Wasm memory limit of 1000000 bytes",
        Certified,
        |pic, id| {
            let small =
                CanisterSettings { wasm_memory_limit: Some(1_000_000u32.into()), ..Default::default() };
            update_settings(pic, id, small);
            update_rejection(pic, id, "grow")
        },
    ),
];
