//! Calls and queries of agents. Both specify an effective id. A call is identified by the hash of its content, and is
//! forgotten some time after it has expired.

use super::calls::{CallResult, MessageId};
use super::certification::{RangesForm, SubnetKeys, request_path};
use super::error::{OpError, UserError};
use super::ingress_record::{Effective, IngressRecord, RecordedAgentCall};
use super::instance::Instance;
use super::management;
use super::request_table::Waiter;
use super::subnet;
use super::user_call::UserCall;
use candid::Principal;
use pocket_ic::ErrorCode;
use tokio::sync::oneshot;

/// How long an answer can be read after its request has expired, nanoseconds.
const KEPT_AFTER_EXPIRY: u64 = 5 * 60 * 1_000_000_000;
/// The only query of the management canister that is sent to a subnet.
const LIST_CANISTERS: &str = "list_canisters";

/// A call of an agent.
#[derive(Clone, Debug)]
pub struct AgentCall {
    /// The id: the hash of the call's content.
    pub id: MessageId,
    /// When the call expires, nanoseconds since 1970.
    pub expiry: u64,
    pub effective: Effective,
    pub call: UserCall,
}

/// The answer of a query, and the keys of the subnet whose node signs it.
pub struct QueryAnswer {
    pub result: CallResult,
    /// The time of the state that was queried, nanoseconds since 1970.
    pub time_nanos: u64,
    pub keys: &'static SubnetKeys,
}

impl Instance {
    /// Accepts a call of an agent, with errors as in [`Self::submit`]. A call that was accepted before, and has not
    /// been forgotten, is not accepted again.
    pub fn submit_request(&mut self, agent_call: AgentCall) -> Result<Result<(), UserError>, OpError> {
        let AgentCall { id, expiry, effective, call } = agent_call;
        if self.ingress.get(&id).is_some() {
            return Ok(Ok(()));
        }
        let subnet = self.subnet_for(effective, &call, management::is_provisional_create)?;
        let recorded = RecordedAgentCall { expiry, effective, callee: call.callee };
        let accepted = self.accept_call(id, call, subnet, Some(recorded))?;
        if accepted.is_ok() {
            self.requests.by_expiry.insert((expiry, id));
            self.certifier.request_changed(subnet, id);
        }
        Ok(accepted)
    }

    /// Answers a query of an agent; an error if the effective id is wrong.
    pub fn query_request(&mut self, effective: Effective, call: UserCall) -> Result<QueryAnswer, OpError> {
        let id = self.subnet_for(effective, &call, |method| method == LIST_CANISTERS)?;
        let keys = self.subnet(id)?.keys;
        let result = self.query(call)?;
        Ok(QueryAnswer { result, time_nanos: self.clock.last_round(), keys })
    }

    /// Returns a channel that receives the certificate of a request's answer; the channel is closed without one if the
    /// request is unknown or forgotten.
    pub fn certificate_channel(
        &mut self,
        id: MessageId,
        ranges_form: RangesForm,
    ) -> oneshot::Receiver<Vec<u8>> {
        let (certificate, receiver) = oneshot::channel();
        self.requests.waiters.push(Waiter { id, ranges_form, certificate });
        // The request may already have been answered, and there may be no further round.
        if self.ingress.get(&id).is_none_or(IngressRecord::is_answered) {
            self.notify_waiters();
        }
        receiver
    }

    /// Sends certificates to the waiters whose requests have been answered.
    pub(super) fn notify_waiters(&mut self) {
        if self.requests.waiters.is_empty() {
            return;
        }
        for waiter in std::mem::take(&mut self.requests.waiters) {
            match self.ingress.get(&waiter.id) {
                Some(record) if record.is_answered() => {
                    let certificate =
                        self.certificate(record.subnet, waiter.ranges_form, &[request_path(&waiter.id)]);
                    // A waiter that has disconnected can poll later.
                    let _ = waiter.certificate.send(certificate);
                }
                Some(_) if !waiter.certificate.is_closed() => self.requests.waiters.push(waiter),
                _ => {}
            }
        }
    }

    /// Forgets the requests that expired more than [`KEPT_AFTER_EXPIRY`] ago, with their answers.
    pub(super) fn forget_requests(&mut self, now: u64) {
        while let Some((expiry, id)) = self.requests.by_expiry.first().copied()
            && expiry.saturating_add(KEPT_AFTER_EXPIRY) < now
        {
            self.requests.by_expiry.pop_first();
            if let Some(record) = self.ingress.remove(&id) {
                self.certifier.request_changed(record.subnet, id);
            }
        }
    }

    /// Returns the subnet to which a request is routed. `is_for_any_subnet` says which methods of the management
    /// canister can be sent to any subnet.
    fn subnet_for(
        &self,
        effective: Effective,
        call: &UserCall,
        is_for_any_subnet: impl Fn(&str) -> bool,
    ) -> Result<Principal, OpError> {
        let is_management_call = call.callee == Principal::management_canister();
        let any_subnet = is_management_call && is_for_any_subnet(&call.method);
        let effective_canister = match effective {
            Effective::Subnet(id) if any_subnet => return Ok(self.subnet(id)?.id),
            Effective::Subnet(id) => {
                return Err(OpError::Other(format!(
                    "{} cannot be called at subnet {id}: send it to the canister that it is about",
                    call.method
                )));
            }
            Effective::Canister(id) => id,
        };
        // For the management canister's id, only certificates of the root subnet are valid.
        if any_subnet && effective_canister == Principal::management_canister() {
            let root = subnet::root(&self.subnets);
            return root.map(|subnet| subnet.id).ok_or(OpError::SubnetNotFound(effective_canister));
        }
        let expected = match (is_management_call, any_subnet) {
            (false, _) => Some(call.callee),
            (true, false) => management::target(call),
            (true, true) => None,
        };
        if let Some(expected) = expected
            && expected != effective_canister
        {
            return Err(OpError::Other(format!(
                "Specified CanisterId {expected} does not match effective canister id in URL {effective_canister}"
            )));
        }
        Ok(self.route(effective_canister)?.id)
    }
}

/// Returns the rejection of a request that expired before it was executed.
pub(super) fn expiry_error(id: &MessageId) -> UserError {
    UserError::new(
        ErrorCode::IngressMessageTimeout,
        format!("Ingress message {} timed out waiting to start executing.", hex::encode(id)),
    )
}
