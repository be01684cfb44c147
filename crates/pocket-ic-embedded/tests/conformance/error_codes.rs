//! Every error code of the client is in a table: in `PROVOKED` or [`SEEN_BY_CANISTER`], with how it is provoked, or in
//! [`NOT_PROVOKED`], with the reason.

use crate::common::{ANONYMOUS, builder, call, call_management, instance};
use crate::faulty::{faulty, install_faulty};
use crate::provoked::Certification::{Certified, Uncertified};
use crate::provoked::{PROVOKED, update_rejection};
use candid::{Principal, encode_one};
use ic_management_canister_types as types;
use pocket_ic::ErrorCode::{self, *};
use pocket_ic::{PocketIc, RejectCode};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

/// Provokes a rejection, and returns what the faulty canister received: the reject code (one byte) and the text.
type SeenByCanister = fn(&PocketIc, Principal) -> Vec<u8>;

/// Errors that only canisters get, as the answers to their calls: the code, the beginning of the text, and how it is
/// provoked.
const SEEN_BY_CANISTER: &[(ErrorCode, &str, SeenByCanister)] = &[
    (InsufficientCyclesInCall, "IC0520: Canister", |pic, id| {
        let asks_for_cycles = install_faulty(pic);
        let settings = types::CanisterSettings {
            minimum_incoming_canister_call_cycles: Some(5u8.into()),
            ..Default::default()
        };
        let args = types::UpdateSettingsArgs {
            canister_id: asks_for_cycles,
            settings,
            sender_canister_version: None,
        };
        let arg = encode_one(args).expect("the argument encodes");
        call_management(pic, asks_for_cycles, ANONYMOUS, "update_settings", arg)
            .expect("the settings are accepted");
        call(pic, id, "beg", asks_for_cycles.as_slice()).expect("an answer")
    }),
    (DeadlineExpired, "Call deadline has expired.", |pic, id| {
        let waiting = pic.submit_call(id, ANONYMOUS, "impatient", vec![]).expect("the call is accepted");
        pic.tick();
        pic.advance_time(Duration::from_secs(2));
        pic.tick();
        pic.await_call_no_ticks(waiting).expect("an answer")
    }),
];

const NO_PRICES: &str = "cycles are not charged and not reserved";
const NO_RATES: &str = "there are no rate limits";
const NO_ADMINS: &str = "subnets with admins are refused";
const NO_CAUSE: &str = "nothing here causes it";

/// The other codes, each with the reason why it is not provoked here.
const NOT_PROVOKED: &[(ErrorCode, &str)] = &[
    (SubnetOversubscribed, "it takes a million canisters"),
    (MaxNumberOfCanistersReached, "the number of canisters is not limited"),
    (CanisterQueueFull, "queues are not limited; call_perform returns 2 after 500 calls"),
    (IngressMessageTimeout, "only calls of agents expire, see tests/agents/calls.rs"),
    (CanisterQueueNotEmpty, NO_CAUSE),
    (IngressHistoryFull, "the history is not limited"),
    (CanisterIdAlreadyExists, NO_CAUSE),
    (CertifiedStateUnavailable, "the state is certified on demand"),
    (CanisterInstallCodeRateLimited, NO_RATES),
    (CanisterHeapDeltaRateLimited, NO_RATES),
    (SubnetCoolingDown, NO_RATES),
    (InsufficientMemoryAllocation, "allocations are stored and returned, but not enforced"),
    (InsufficientCyclesForCreateCanister, NO_PRICES),
    (SubnetNotFound, "a call without a subnet is refused before it is executed"),
    (InvalidSubnetAdmin, NO_ADMINS),
    (CanisterOutOfMemory, "only when the host has no memory left"),
    (CanisterWasmEngineError, "only by a fault of the server"),
    (QueryTimeLimitExceeded, "queries are limited by instructions, not by time"),
    (QueryCallGraphLoopDetected, "composite queries may call their own canisters"),
    (QueryCallGraphInternal, "only by a fault of the server"),
    (InsufficientCyclesInComputeAllocation, NO_PRICES),
    (InsufficientCyclesInMemoryAllocation, NO_PRICES),
    (InsufficientCyclesInMemoryGrow, NO_PRICES),
    (ReservedCyclesLimitExceededInMemoryAllocation, NO_PRICES),
    (ReservedCyclesLimitExceededInMemoryGrow, NO_PRICES),
    (InsufficientCyclesInMessageMemoryGrow, NO_PRICES),
    (ReservedCyclesLimitIsTooLow, NO_PRICES),
    (CanisterInvalidControllerOrSubnetAdmin, NO_ADMINS),
    (ResponseDropped, "answers are not dropped"),
];

/// Returns the reject code of an error code: the first of its three digits.
fn reject_code(code: ErrorCode) -> RejectCode {
    RejectCode::try_from(code as u64 / 100).expect("a reject code")
}

#[test]
fn each_error_has_its_code_text_and_certification() {
    let mut wrong = Vec::new();
    for (code, part, certification, provoke) in PROVOKED {
        let pic = instance();
        let id = install_faulty(&pic);
        // `provoke` panics if no error occurs; the other rows of the table are tested nevertheless.
        let Ok(error) = catch_unwind(AssertUnwindSafe(|| provoke(&pic, id))) else {
            wrong.push(format!("wanted {code} {certification:?} '{part}', got no error"));
            continue;
        };
        let certified = if error.certified { Certified } else { Uncertified };
        let right = error.error_code == *code
            && error.reject_code == reject_code(*code)
            && error.reject_message.contains(part)
            && certified == *certification;
        if !right {
            wrong.push(format!("wanted {code} {certification:?} '{part}', got {error:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn canisters_learn_the_reject_code_and_the_text() {
    for (code, part, provoke) in SEEN_BY_CANISTER {
        let pic = instance();
        let id = install_faulty(&pic);
        let answer = provoke(&pic, id);
        assert_eq!(answer[0], reject_code(*code) as u8, "{code}");
        let text = String::from_utf8_lossy(&answer[1..]);
        assert!(text.starts_with(part), "{code}: {text}");
    }
}

#[test]
fn every_error_code_is_accounted_for() {
    // All codes that the client knows.
    let all: BTreeSet<u64> = (0..1000).filter(|number| ErrorCode::try_from(*number).is_ok()).collect();
    let provoked = PROVOKED.iter().map(|case| case.0).chain(SEEN_BY_CANISTER.iter().map(|case| case.0));
    let provoked: BTreeSet<u64> = provoked.map(|code| code as u64).collect();
    let not_provoked: BTreeSet<u64> = NOT_PROVOKED.iter().map(|(code, _)| *code as u64).collect();
    assert_eq!(provoked.intersection(&not_provoked).count(), 0);
    assert_eq!(provoked.union(&not_provoked).copied().collect::<BTreeSet<u64>>(), all);
}

/// On a system subnet, which charges nothing, the same faults as on an application subnet cause the same errors.
#[test]
fn a_system_subnet_has_the_same_rules() {
    let pic = builder().with_system_subnet().build();
    let id = pic.create_canister();
    pic.install_canister(id, faulty(), vec![], None);
    for (method, code) in
        [("trap", CanisterCalledTrap), ("twice", CanisterContractViolation), ("nothing", CanisterDidNotReply)]
    {
        assert_eq!(update_rejection(&pic, id, method).error_code, code, "{method}");
    }
}
