//! The management canister: who may call which of its methods, and where each is implemented.
//!
//! The methods themselves are in the submodules, by subject.

mod argument;
mod chunks;
mod code;
mod create;
mod lifecycle;
mod snapshots;
mod status;

use super::calls::{CallResult, Origin};
use super::canister::Canister;
use super::error::UserError;
use super::ingress::UserCall;
use super::instance::Instance;
use argument::decode_argument;
use candid::utils::ArgumentEncoder;
use candid::{CandidType, Deserialize, Principal};
use pocket_ic::ErrorCode;

pub(super) use argument::target;
pub use snapshots::{DownloadRequest, UploadRequest};

const PROVISIONAL_CREATE: &str = "provisional_create_canister_with_cycles";
const PROVISIONAL_TOP_UP: &str = "provisional_top_up_canister";

/// Who calls the management canister.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    pub id: Principal,
    pub is_canister: bool,
}

impl Caller {
    pub fn user(id: Principal) -> Self {
        Self { id, is_canister: false }
    }

    pub fn canister(id: Principal) -> Self {
        Self { id, is_canister: true }
    }
}

/// One call of a management method.
struct ManagementCall<'a> {
    caller: Caller,
    /// The subnet that the call went to, if it came from a user.
    subnet: Option<Principal>,
    origin: &'a Origin,
    method: &'a str,
    arg: &'a [u8],
    /// Cycles attached; what is left goes back.
    cycles: u128,
    now: u64,
    /// Instructions used by canisters' code in the course of the call.
    instructions: u64,
}

impl ManagementCall<'_> {
    fn decode<T: CandidType + for<'de> Deserialize<'de>>(&self) -> Result<T, UserError> {
        decode_argument(self.arg).map_err(|error| UserError::invalid_payload(self.method, error))
    }
}

/// How a call ended.
enum Reply {
    /// With this answer.
    Now(Vec<u8>),
    /// Not yet: whoever will answer is recorded.
    Later,
}

/// Who may call a method.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Everybody.
    Anyone,
    /// Canisters only.
    Canisters,
    /// Controllers of the canister it is about.
    Controllers,
    /// Those whom the canister lets see its status, and itself.
    StatusReaders,
    /// Those whom the canister lets see its snapshots.
    SnapshotReaders,
    /// Nobody in replicated execution.
    QueryOnly,
}

fn access(method: &str) -> Option<Access> {
    Some(match method {
        PROVISIONAL_CREATE | PROVISIONAL_TOP_UP => Access::Anyone,
        "create_canister" | "deposit_cycles" | "raw_rand" | "canister_info" | "canister_metadata"
        | "subnet_info" => Access::Canisters,
        "install_code"
        | "install_chunked_code"
        | "upload_chunk"
        | "stored_chunks"
        | "clear_chunk_store"
        | "uninstall_code"
        | "canister_metrics"
        | "start_canister"
        | "stop_canister"
        | "delete_canister"
        | "update_settings"
        | "take_canister_snapshot"
        | "load_canister_snapshot"
        | "delete_canister_snapshot"
        | "upload_canister_snapshot_metadata"
        | "upload_canister_snapshot_data" => Access::Controllers,
        "canister_status" => Access::StatusReaders,
        "list_canister_snapshots" | "read_canister_snapshot_metadata" | "read_canister_snapshot_data" => {
            Access::SnapshotReaders
        }
        "fetch_canister_logs" => Access::QueryOnly,
        _ => return None,
    })
}

/// Methods that a canister may also call about itself.
const OPEN_TO_ITSELF: [&str; 4] = ["canister_status", "upload_chunk", "stored_chunks", "clear_chunk_store"];

/// Methods of the real management canister that are not implemented here, apart from those whose name begins
/// with `bitcoin_`.
const UNSUPPORTED: [&str; 12] = [
    "http_request",
    "flexible_http_request",
    "ecdsa_public_key",
    "sign_with_ecdsa",
    "schnorr_public_key",
    "sign_with_schnorr",
    "vetkd_public_key",
    "vetkd_derive_key",
    "node_metrics_history",
    "subnet_metrics",
    "list_canisters",
    "rename_canister",
];

fn is_unsupported(method: &str) -> bool {
    UNSUPPORTED.contains(&method) || method.starts_with("bitcoin_")
}

fn unknown_method(method: &str) -> UserError {
    if is_unsupported(method) {
        return UserError::new(
            ErrorCode::UnknownManagementMessage,
            format!("Management method {method} is not supported by the embedded server"),
        );
    }
    UserError::new(
        ErrorCode::UnknownManagementMessage,
        format!("Management canister has no method '{method}'"),
    )
}

/// Returns whether users create canisters with this method, so that it needs no destination.
pub(super) fn creates_for_users(method: &str) -> bool {
    method == PROVISIONAL_CREATE
}

/// Returns the answer of methods without results: the empty argument list.
pub(super) fn empty_reply() -> Vec<u8> {
    b"DIDL\0\0".to_vec()
}

fn encode<T: ArgumentEncoder>(method: &str, values: T) -> CallResult {
    candid::encode_args(values).map_err(|error| {
        // Only a bug in this program gets here; the caller still deserves an answer.
        UserError::new(
            ErrorCode::CanisterContractViolation,
            format!("Cannot encode the answer of {method}: {error}"),
        )
    })
}

/// Returns `Ok(())` if a user's call is accepted. It is checked again when it is executed.
pub(super) fn filter_user_call(instance: &Instance, call: &UserCall) -> Result<(), UserError> {
    check_access(instance, Caller::user(call.sender), &call.method, || target(&call.method, &call.arg))
}

fn check_access(
    instance: &Instance,
    caller: Caller,
    method: &str,
    target: impl FnOnce() -> Option<Principal>,
) -> Result<(), UserError> {
    let access = access(method).ok_or_else(|| unknown_method(method))?;
    match access {
        Access::Anyone => return Ok(()),
        Access::Canisters if caller.is_canister => return Ok(()),
        Access::Canisters => {
            return Err(UserError::rejected(format!("Only canisters can call ic00 method {method}")));
        }
        Access::QueryOnly => {
            return Err(UserError::rejected(format!(
                "{method} API is only accessible in non-replicated mode"
            )));
        }
        Access::Controllers | Access::StatusReaders | Access::SnapshotReaders => {}
    }
    let Some(id) = target() else {
        // The argument does not decode; executing the call reports how.
        return Ok(());
    };
    let canister = instance.find(id)?;
    if caller.id == id && OPEN_TO_ITSELF.contains(&method) {
        return Ok(());
    }
    match access {
        Access::SnapshotReaders if canister.settings.may_read_snapshots(caller.id) => Ok(()),
        Access::StatusReaders if canister.settings.may_read_status(caller.id) => Ok(()),
        Access::StatusReaders => Err(UserError::new(
            ErrorCode::CanisterStatusAccessDenied,
            format!("Caller {} is not allowed to call canister_status", caller.id),
        )),
        _ => canister.check_controller(caller.id),
    }
}

/// Executes a call and answers it. Returns the instructions that canisters' code used for it.
#[allow(clippy::too_many_arguments, reason = "they are the parts of one call")]
pub(super) fn execute(
    instance: &mut Instance,
    origin: Origin,
    caller: Caller,
    subnet: Option<Principal>,
    method: &str,
    arg: &[u8],
    cycles: u128,
    now: u64,
) -> u64 {
    let mut call =
        ManagementCall { caller, subnet, origin: &origin, method, arg, cycles, now, instructions: 0 };
    let result = check_access(instance, caller, method, || target(method, arg))
        .and_then(|()| dispatch(instance, &mut call));
    let (refund, used) = (call.cycles, call.instructions);
    match result {
        Ok(Reply::Now(bytes)) => instance.respond(origin, Ok(bytes), refund),
        Ok(Reply::Later) => {}
        Err(error) => instance.respond(origin, Err(error), refund),
    }
    used
}

fn dispatch(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    match call.method {
        PROVISIONAL_CREATE => create::provisional_create(instance, call),
        PROVISIONAL_TOP_UP => create::provisional_top_up(instance, call),
        "create_canister" => create::create(instance, call),
        "deposit_cycles" => create::deposit_cycles(instance, call),
        "raw_rand" => create::raw_rand(instance, call),
        "install_code" => code::install(instance, call),
        "install_chunked_code" => code::install_chunked(instance, call),
        "uninstall_code" => code::uninstall(instance, call),
        "upload_chunk" => chunks::upload(instance, call),
        "stored_chunks" => chunks::list(instance, call),
        "clear_chunk_store" => chunks::clear(instance, call),
        "start_canister" => lifecycle::start(instance, call),
        "stop_canister" => lifecycle::stop(instance, call),
        "delete_canister" => lifecycle::delete(instance, call),
        "update_settings" => lifecycle::update_settings(instance, call),
        "canister_status" => status::status(instance, call).map(Reply::Now),
        "canister_metrics" => status::metrics(instance, call).map(Reply::Now),
        "canister_info" => status::info(instance, call).map(Reply::Now),
        "canister_metadata" => status::metadata(instance, call).map(Reply::Now),
        "subnet_info" => status::subnet(instance, call).map(Reply::Now),
        "take_canister_snapshot" => snapshots::take(instance, call),
        "load_canister_snapshot" => snapshots::load(instance, call),
        "list_canister_snapshots" => snapshots::list(instance, call),
        "delete_canister_snapshot" => snapshots::delete(instance, call),
        "read_canister_snapshot_metadata" => snapshots::read_metadata(instance, call),
        "read_canister_snapshot_data" => snapshots::read_data(instance, call),
        "upload_canister_snapshot_metadata" => snapshots::upload_metadata(instance, call),
        "upload_canister_snapshot_data" => snapshots::upload_data(instance, call),
        other => Err(unknown_method(other)),
    }
}

/// Answers a query of the management canister.
pub(super) fn query(instance: &Instance, caller: Principal, method: &str, arg: &[u8]) -> CallResult {
    let (caller, now) = (Caller::user(caller), instance.clock.last_round());
    let origin = &Origin::System;
    let call = &ManagementCall { caller, subnet: None, origin, method, arg, cycles: 0, now, instructions: 0 };
    let check = || check_access(instance, caller, method, || target(method, arg));
    match method {
        "fetch_canister_logs" => status::logs(instance, call),
        "canister_status" => check().and_then(|()| status::status(instance, call)),
        "canister_metrics" => check().and_then(|()| status::metrics(instance, call)),
        // As an update only for canisters, as a query for everyone.
        "canister_info" => status::info(instance, call),
        _ if is_unsupported(method) => Err(unknown_method(method)),
        _ => Err(UserError::new(
            ErrorCode::CanisterMethodNotFound,
            format!("Query method {method} not found."),
        )),
    }
}

impl Instance {
    /// Returns a canister, for the management canister.
    fn find(&self, id: Principal) -> Result<&Canister, UserError> {
        self.canisters.get(&id).ok_or_else(|| UserError::canister_not_found(id))
    }

    /// Returns a canister that the caller controls or is.
    fn controlled_or_self(&mut self, id: Principal, caller: Caller) -> Result<&mut Canister, UserError> {
        let canister = self.canisters.get_mut(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        if caller.id != id {
            canister.check_controller(caller.id)?;
        }
        Ok(canister)
    }

    /// Returns a canister that the caller controls.
    fn controlled(&mut self, id: Principal, caller: Caller) -> Result<&mut Canister, UserError> {
        let canister = self.canisters.get_mut(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        canister.check_controller(caller.id)?;
        Ok(canister)
    }
}
