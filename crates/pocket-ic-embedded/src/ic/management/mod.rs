//! The management canister: who may call which of its methods, and where each is implemented.

mod argument;
mod call;
mod chunks;
mod code;
mod create;
mod lifecycle;
mod snapshots;
mod status;

use super::calls::{CallResult, Origin};
use super::canister::Canister;
use super::error::UserError;
use super::instance::Instance;
use super::user_call::{Target, UserCall};
use call::{Caller, Reply, encode_reply};
use candid::Principal;
use pocket_ic::ErrorCode;

pub(super) use call::{ManagementCall, empty_reply};
pub use snapshots::{DownloadRequest, UploadRequest};

const PROVISIONAL_CREATE: &str = "provisional_create_canister_with_cycles";
const PROVISIONAL_TOP_UP: &str = "provisional_top_up_canister";

/// Who may call a method in replicated execution, that is, as an update; for queries, see [`QueryAccess`].
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    Anyone,
    Canisters,
    /// Controllers of the canister that the call is about.
    Controllers,
    /// Everyone whom the canister's settings allow to see its status.
    StatusReaders,
    /// Everyone whom the canister's settings allow to see its snapshots.
    SnapshotReaders,
    /// Nobody in replicated execution.
    QueryOnly,
}

/// How a method is executed as part of a message.
enum Execution {
    /// May change the instance, and may answer later.
    Update(fn(&mut Instance, &mut ManagementCall) -> Result<Reply, UserError>),
    /// Only reads the instance.
    Read(fn(&Instance, &ManagementCall) -> CallResult),
}

/// Who may call a method as a query, in non-replicated execution.
#[derive(Clone, Copy, PartialEq, Eq)]
enum QueryAccess {
    /// Nobody: the method is not a query method.
    Nobody,
    /// Everyone who may call the method as an update.
    SameAsUpdate,
    /// Everybody, unless the method itself refuses.
    Anyone,
}

/// A row of [`METHODS`].
struct Method {
    name: &'static str,
    access: Access,
    /// Whether a canister may also call the method about itself.
    is_open_to_itself: bool,
    query: QueryAccess,
    /// Returns the canister that a call is about, if its argument names one.
    target: fn(&[u8]) -> Option<Principal>,
    run: Execution,
}

impl Method {
    const fn update(
        name: &'static str,
        access: Access,
        run: fn(&mut Instance, &mut ManagementCall) -> Result<Reply, UserError>,
    ) -> Self {
        Self::new(name, access, Execution::Update(run))
    }

    const fn read(
        name: &'static str,
        access: Access,
        run: fn(&Instance, &ManagementCall) -> CallResult,
    ) -> Self {
        Self::new(name, access, Execution::Read(run))
    }

    const fn new(name: &'static str, access: Access, run: Execution) -> Self {
        let query = QueryAccess::Nobody;
        Self { name, access, is_open_to_itself: false, query, target: argument::canister_id, run }
    }

    const fn open_to_itself(self) -> Self {
        Self { is_open_to_itself: true, ..self }
    }

    const fn with_query(self, query: QueryAccess) -> Self {
        Self { query, ..self }
    }

    // The canister is found by this function instead of the field `canister_id`.
    const fn about(self, target: fn(&[u8]) -> Option<Principal>) -> Self {
        Self { target, ..self }
    }

    fn find(name: &str) -> Option<&'static Self> {
        METHODS.iter().find(|method| method.name == name)
    }

    /// Checks the caller against [`Access`].
    fn check_access(&self, instance: &Instance, call: &ManagementCall) -> Result<(), UserError> {
        let Self { name, access, .. } = *self;
        let caller = call.caller;
        match access {
            Access::Anyone => return Ok(()),
            Access::Canisters if caller.is_canister => return Ok(()),
            Access::Canisters => {
                return Err(UserError::rejected(format!("Only canisters can call ic00 method {name}")));
            }
            Access::QueryOnly => {
                return Err(UserError::rejected(format!(
                    "{name} API is only accessible in non-replicated mode"
                )));
            }
            Access::Controllers | Access::StatusReaders | Access::SnapshotReaders => {}
        }
        let Some(id) = call.target.get_or_find(|| (self.target)(call.arg)) else {
            // The argument does not decode: the error is reported when the call is executed.
            return Ok(());
        };
        let canister = instance.find_canister(id)?;
        if caller.id == id && self.is_open_to_itself {
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
}

/// Every method that is implemented here, by subject.
#[rustfmt::skip]
static METHODS: &[Method] = {
    use Access::{Anyone, Canisters, Controllers, QueryOnly, SnapshotReaders, StatusReaders};
    use QueryAccess::SameAsUpdate;
    &[
        Method::update(PROVISIONAL_CREATE, Anyone, create::provisional_create).about(argument::specified_id),
        Method::update(PROVISIONAL_TOP_UP, Anyone, create::provisional_top_up),
        Method::update("create_canister", Canisters, create::create),
        Method::update("deposit_cycles", Canisters, create::deposit_cycles),
        Method::update("raw_rand", Canisters, create::raw_rand),
        Method::update("install_code", Controllers, code::install),
        Method::update("install_chunked_code", Controllers, code::install_chunked).about(argument::target_canister),
        Method::update("uninstall_code", Controllers, code::uninstall),
        Method::update("upload_chunk", Controllers, chunks::upload).open_to_itself(),
        Method::update("stored_chunks", Controllers, chunks::list).open_to_itself(),
        Method::update("clear_chunk_store", Controllers, chunks::clear).open_to_itself(),
        Method::update("start_canister", Controllers, lifecycle::start),
        Method::update("stop_canister", Controllers, lifecycle::stop),
        Method::update("delete_canister", Controllers, lifecycle::delete),
        Method::update("update_settings", Controllers, lifecycle::update_settings),
        Method::read("canister_status", StatusReaders, status::status).open_to_itself().with_query(SameAsUpdate),
        Method::read("canister_metrics", Controllers, status::metrics).with_query(SameAsUpdate),
        Method::read("canister_info", Canisters, status::info).with_query(QueryAccess::Anyone),
        Method::read("canister_metadata", Canisters, status::metadata),
        Method::read("subnet_info", Canisters, status::subnet),
        // The method itself checks who may see the log.
        Method::read("fetch_canister_logs", QueryOnly, status::logs).with_query(QueryAccess::Anyone),
        Method::update("take_canister_snapshot", Controllers, snapshots::take),
        Method::update("load_canister_snapshot", Controllers, snapshots::load),
        Method::update("delete_canister_snapshot", Controllers, snapshots::delete),
        Method::read("list_canister_snapshots", SnapshotReaders, snapshots::list),
        Method::read("read_canister_snapshot_metadata", SnapshotReaders, snapshots::read_metadata),
        Method::read("read_canister_snapshot_data", SnapshotReaders, snapshots::read_data),
        Method::update("upload_canister_snapshot_metadata", Controllers, snapshots::upload_metadata),
        Method::update("upload_canister_snapshot_data", Controllers, snapshots::upload_data),
    ]
};

/// Returns the canister that a user's call is about, if its argument names one.
pub(super) fn target(call: &UserCall) -> Option<Principal> {
    let UserCall { method, arg, target, .. } = call;
    let find = Method::find(method).map_or(argument::canister_id as fn(&[u8]) -> _, |method| method.target);
    target.get_or_find(|| find(arg))
}

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

/// The error for a method that this server lacks, or that does not exist at all.
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

/// Returns whether users create canisters with this method: a call of it needs no destination.
pub(super) fn is_provisional_create(method: &str) -> bool {
    method == PROVISIONAL_CREATE
}

/// Checks a user's call before it is accepted; the call is checked again when it is executed.
pub(super) fn check_user_call(instance: &Instance, call: &UserCall) -> Result<(), UserError> {
    let now = instance.clock.last_round();
    // The origin is a placeholder, since the call is only checked.
    check_access(instance, &ManagementCall::by_user(call, None, Origin::System, now)).map(drop)
}

/// Returns the method of a call, if its caller may call it.
fn check_access(instance: &Instance, call: &ManagementCall) -> Result<&'static Method, UserError> {
    let method = Method::find(call.method).ok_or_else(|| unknown_method(call.method))?;
    method.check_access(instance, call)?;
    Ok(method)
}

/// Executes a call and answers it, unless the method answers later. Returns the instructions that canisters' code used
/// for it.
pub(super) fn execute(instance: &mut Instance, mut call: ManagementCall) -> u64 {
    let result = dispatch(instance, &mut call);
    let ManagementCall { origin, cycles: refund, instructions: used, .. } = call;
    match result {
        Ok(Reply::Now(bytes)) => instance.respond(origin, Ok(bytes), refund),
        Ok(Reply::Later) => {}
        Err(error) => instance.respond(origin, Err(error), refund),
    }
    used
}

/// Checks the caller and runs the method.
fn dispatch(instance: &mut Instance, call: &mut ManagementCall) -> Result<Reply, UserError> {
    match check_access(instance, call)?.run {
        Execution::Update(run) => run(instance, call),
        Execution::Read(run) => run(instance, call).map(Reply::Now),
    }
}

/// Answers a query to the management canister.
pub(super) fn query(instance: &Instance, caller: Principal, method: &str, arg: &[u8]) -> CallResult {
    let found = Method::find(method).filter(|found| found.query != QueryAccess::Nobody);
    let Some(found @ Method { run: Execution::Read(run), .. }) = found else {
        if is_unsupported(method) {
            return Err(unknown_method(method));
        }
        let not_found = format!("Query method {method} not found.");
        return Err(UserError::new(ErrorCode::CanisterMethodNotFound, not_found));
    };
    // Also for a canister that calls in a composite query: query methods do not distinguish the two.
    let (caller, now) = (Caller::user(caller), instance.clock.last_round());
    // The origin is a placeholder, since the result is returned to the caller of this function.
    let (subnet, origin, target) = (None, Origin::System, Target::default());
    let call =
        &ManagementCall { caller, subnet, origin, method, arg, target, cycles: 0, now, instructions: 0 };
    if found.query == QueryAccess::SameAsUpdate {
        found.check_access(instance, call)?;
    }
    run(instance, call)
}

impl Instance {
    /// Returns a canister, whoever asks.
    fn find_canister(&self, id: Principal) -> Result<&Canister, UserError> {
        self.canisters.get(&id).ok_or_else(|| UserError::canister_not_found(id))
    }

    /// Returns a canister if it is the caller, or if the caller controls it.
    fn own_or_controlled_canister(
        &mut self,
        id: Principal,
        caller: Caller,
    ) -> Result<&mut Canister, UserError> {
        let canister = self.canisters.get_mut(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        if caller.id != id {
            canister.check_controller(caller.id)?;
        }
        Ok(canister)
    }

    /// Returns a canister if the caller controls it.
    fn controlled_canister(&mut self, id: Principal, caller: Caller) -> Result<&mut Canister, UserError> {
        let canister = self.canisters.get_mut(&id).ok_or_else(|| UserError::canister_not_found(id))?;
        canister.check_controller(caller.id)?;
        Ok(canister)
    }
}
