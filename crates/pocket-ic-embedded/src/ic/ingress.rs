//! Messages from users: their destination, whether they are accepted, and their answers.

use super::calls::{CallResult, MessageId};
use super::error::{OpError, UserError, trap_error};
use super::ingress_record::{IngressRecord, IngressState, RecordedAgentCall};
use super::instance::Instance;
use super::management;
use super::queued_message::QueuedMessage;
use super::subnet;
use super::user_call::{UserCall, parse_principal};
use crate::engine::{EntryPoint, Limits, SystemEntry};
use candid::Principal;
use pocket_ic::ErrorCode;
use pocket_ic::common::rest::{RawEffectivePrincipal, RawMessageId};
use sha2::{Digest, Sha256};

/// The largest argument of an ingress message, in bytes.
const MAX_INGRESS_BYTES: usize = 2 << 20;
/// Maximum number of rounds that [`Instance::await_message`] runs.
const MAX_AWAIT_ROUNDS: usize = 100;

impl Instance {
    /// Accepts a message, which is executed in one of the next rounds.
    ///
    /// The outer error concerns the operation; the inner error is the ingress filter's answer to the user.
    pub fn submit(&mut self, call: UserCall) -> Result<Result<RawMessageId, UserError>, OpError> {
        let subnet = self.destination_subnet(&call)?;
        let id = self.new_message_id(&call);
        Ok(self.accept_call(id, call, subnet, None)?.map(|()| RawMessageId {
            effective_principal: RawEffectivePrincipal::SubnetId(subnet.as_slice().to_vec()),
            message_id: id.to_vec(),
        }))
    }

    /// Accepts a message under this id, unless its canister refuses it. The two errors are those of [`Self::submit`].
    pub(super) fn accept_call(
        &mut self,
        id: MessageId,
        call: UserCall,
        subnet: Principal,
        agent_call: Option<RecordedAgentCall>,
    ) -> Result<Result<(), UserError>, OpError> {
        if call.arg.len() > MAX_INGRESS_BYTES {
            return Err(OpError::BadIngressMessage(format!(
                "Request is too large. Message byte size {} is larger than the max allowed {MAX_INGRESS_BYTES}.",
                call.arg.len()
            )));
        }
        if let Err(rejection) = self.check_accepted(&call) {
            return Ok(Err(rejection));
        }
        let record =
            IngressRecord { sender: call.sender, subnet, state: IngressState::Received(call), agent_call };
        self.ingress.insert(id, record);
        self.queue.push_back(QueuedMessage::Ingress(id));
        Ok(Ok(()))
    }

    /// Runs rounds until the message is answered; an error if it is unknown, or not answered after
    /// [`MAX_AWAIT_ROUNDS`].
    pub fn await_message(&mut self, id: &RawMessageId) -> Result<CallResult, OpError> {
        let message_id = parse_message_id(id)?;
        for _ in 0..MAX_AWAIT_ROUNDS {
            match self.ingress.get(&message_id) {
                None => break,
                Some(record) if record.is_answered() => break,
                Some(_) => {}
            }
            self.round();
        }
        let id = hex::encode(message_id);
        let why = match self.ingress.get(&message_id) {
            None => format!("There is no ingress message {id}."),
            Some(IngressRecord { state: IngressState::Answered(answer), .. }) => return Ok(answer.clone()),
            Some(IngressRecord { state: IngressState::Done, .. }) => format!(
                "The answer to ingress {id} has been discarded, because later answers needed the memory: await fewer \
                messages at a time."
            ),
            Some(_) => format!("Failed to answer to ingress {id} after {MAX_AWAIT_ROUNDS} rounds."),
        };
        Err(OpError::BadIngressMessage(why))
    }

    /// Returns the answer of a message; `None` if there is none yet, or no such message. An error if `caller` is given
    /// and did not submit the message.
    pub fn ingress_status(
        &self,
        id: &RawMessageId,
        caller: Option<Principal>,
    ) -> Result<Option<CallResult>, OpError> {
        let Some(record) = self.ingress.get(&parse_message_id(id)?) else {
            return Ok(None);
        };
        if caller.is_some_and(|caller| caller != record.sender) {
            return Err(OpError::Forbidden(
                "The user tries to access Request ID not signed by the caller.".into(),
            ));
        }
        Ok(record.answer().cloned())
    }

    /// Returns the subnet to which a user's call is routed.
    pub(super) fn destination_subnet(&self, call: &UserCall) -> Result<Principal, OpError> {
        match &call.effective {
            RawEffectivePrincipal::SubnetId(bytes) => {
                return Ok(self.subnet(parse_principal(bytes, "Bad subnet id")?)?.id);
            }
            RawEffectivePrincipal::CanisterId(bytes) => {
                return self.route_call(call, parse_principal(bytes, "Bad canister id")?);
            }
            RawEffectivePrincipal::None => {}
        }
        if call.callee != Principal::management_canister() {
            return Ok(self.route(call.callee)?.id);
        }
        if let Some(target) = management::target(call) {
            return self.route_call(call, target);
        }
        if management::is_provisional_create(&call.method) {
            return subnet::default_subnet(&self.subnets)
                .map(|subnet| subnet.id)
                .ok_or_else(|| OpError::Other("The instance has no subnet.".into()));
        }
        Err(OpError::BadIngressMessage(
            "Effective principal must be specified for all calls but canister creation via the provisional management canister API.".into(),
        ))
    }

    /// Returns the subnet that is responsible for the canister id `id`, to which a call is routed. If no subnet is, and
    /// the call would create this canister, the error says that this is not supported.
    fn route_call(&self, call: &UserCall, id: Principal) -> Result<Principal, OpError> {
        let subnet = self.route(id);
        if subnet.is_err() && management::is_provisional_create(&call.method) {
            // `Display` completes the sentence: "… is not supported by the embedded server".
            return Err(OpError::Unsupported(format!(
                "Creating canister {id}, whose id belongs to no subnet of the instance,"
            )));
        }
        Ok(subnet?.id)
    }

    /// Checks that the canister can receive the message, and does not refuse it.
    fn check_accepted(&mut self, call: &UserCall) -> Result<(), UserError> {
        if call.callee == Principal::management_canister() {
            return management::check_user_call(self, call);
        }
        let now = self.clock.last_round();
        let canister =
            self.canisters.get(&call.callee).ok_or_else(|| UserError::canister_not_found(call.callee))?;
        canister.check_running()?;
        let Some(state) = &canister.state else {
            return Err(UserError::no_wasm_module(call.callee));
        };
        canister.check_not_frozen()?;
        if !state.module().exports_system(SystemEntry::InspectMessage) {
            return Ok(());
        }
        let mut message = canister.message_context(call.sender, now);
        message.method = call.method.clone();
        message.arg = call.arg.clone();
        message.caller_info = call.caller_info.clone();
        let entry = EntryPoint::InspectMessage;
        let limits = canister.limits(Limits::inspect(), &entry);
        let outcome = self.engine.execute(state, entry, message, limits);
        let accepted = outcome.message_accepted;
        let result = outcome.result.clone();
        self.record_cost(call.callee, "inspect_message", &call.method, &outcome, now);
        // These logs are printed, but not stored.
        self.print_logs(call.callee, &outcome.logs, now);
        match result {
            Err(trap) => Err(trap_error(call.callee, &trap)),
            Ok(()) if accepted => Ok(()),
            Ok(()) => Err(UserError::from_execution(
                call.callee,
                ErrorCode::CanisterRejectedMessage,
                "Canister rejected the message",
            )),
        }
    }

    /// Returns whether checking this call runs code of the called canister (`canister_inspect_message`).
    pub fn is_inspected(&self, call: &UserCall) -> bool {
        let state = self.canisters.get(&call.callee).and_then(|canister| canister.state.as_ref());
        state.is_some_and(|state| state.module().exports_system(SystemEntry::InspectMessage))
    }

    /// Returns an id for a message of a PocketIC client (agents compute the ids of theirs). It is unique even among
    /// identical messages, as on the real network, where each message has a nonce.
    fn new_message_id(&mut self, call: &UserCall) -> MessageId {
        let nonce = self.submitted_count;
        self.submitted_count += 1;
        let mut hasher = Sha256::new();
        hasher.update(b"embedded ingress ");
        hasher.update(nonce.to_be_bytes());
        hasher.update(call.sender.as_slice());
        hasher.update(call.callee.as_slice());
        hasher.update(call.method.as_bytes());
        hasher.update(&call.arg);
        hasher.finalize().into()
    }
}

fn parse_message_id(id: &RawMessageId) -> Result<MessageId, OpError> {
    id.message_id.as_slice().try_into().map_err(|_| OpError::Conversion("Bad message id".into()))
}
