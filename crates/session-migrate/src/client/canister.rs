//! Calls to the canister, recorded on request.

use std::time::Duration;

use candid::utils::{ArgumentDecoder, ArgumentEncoder};
use candid::{CandidType, Principal};
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{PocketIc, RejectResponse};
use serde::de::DeserializeOwned;
use upload_canister::api;

use super::ClientError;
use crate::build::Module;
use crate::trace::{CallKind, EventKind, Tape, TapeTicket, TracedAnswer};

/// An empty list of arguments in Candid, for `init` and `post_upgrade`, which take none.
pub(crate) const NO_ARGUMENTS: &[u8] = b"DIDL\0\0";

/// An upload canister on a PocketIC instance; those on a live network are in [`crate::network`].
#[derive(Clone, Copy)]
pub struct Canister<'p> {
    pic: &'p PocketIc,
    id: Principal,
    tape: Option<&'p Tape>,
}

/// An update call that was submitted and whose answer has not been awaited.
#[derive(Clone, Debug)]
pub struct CallInFlight {
    message: RawMessageId,
    /// `None` if the call is not recorded.
    ticket: Option<TapeTicket>,
}

/// An update call, ready to be sent.
#[derive(Clone, Debug)]
pub struct EncodedCall {
    /// The canister's method.
    pub method: &'static str,
    /// The encoded arguments.
    pub arg: Vec<u8>,
}

impl EncodedCall {
    /// Encodes the arguments.
    pub fn new(method: &'static str, args: impl ArgumentEncoder) -> Result<EncodedCall, ClientError> {
        let arg = candid::encode_args(args).map_err(|error| ClientError::Candid {
            method,
            action: "encode",
            detail: first_line(&error),
        })?;
        Ok(EncodedCall { method, arg })
    }
}

/// Decodes the reply of a function that returns `variant { Ok; Err }`; `Err` becomes [`ClientError::Refused`].
pub(crate) fn decode_result<T: CandidType + DeserializeOwned>(
    method: &'static str,
    reply: &[u8],
) -> Result<T, ClientError> {
    let (answer,): (api::Result<T>,) = decode(method, reply)?;
    answer.map_err(|error| ClientError::Refused { method, error })
}

/// Decodes the reply of a function that returns its value as it is.
pub(crate) fn decode<'a, T: ArgumentDecoder<'a>>(
    method: &'static str,
    reply: &'a [u8],
) -> Result<T, ClientError> {
    candid::decode_args(reply).map_err(|error| ClientError::Candid {
        method,
        action: "decode",
        detail: first_line(&error),
    })
}

/// Returns the first line of an error. In the lines after it, Candid prints the two types that do not match, each in
/// full.
fn first_line(error: &candid::Error) -> String {
    let text = error.to_string();
    text.lines().next().unwrap_or_default().to_owned()
}

/// Returns a closure for `map_err` on the answers of PocketIC.
pub(crate) fn rejected(method: &'static str) -> impl FnOnce(RejectResponse) -> ClientError {
    move |reject| ClientError::Rejected {
        method,
        code: reject.error_code,
        // The message of a trap continues with advice and a backtrace; its first line says what happened.
        message: reject.reject_message.lines().next().unwrap_or_default().to_owned(),
    }
}

impl<'p> Canister<'p> {
    /// Returns the canister `id` on `pic`.
    pub fn new(pic: &'p PocketIc, id: Principal) -> Self {
        Canister { pic, id, tape: None }
    }

    /// Returns the same canister with `tape`, on which its calls and events are recorded from now on; with `None`, they
    /// are not recorded.
    #[must_use]
    pub fn recorded(self, tape: Option<&'p Tape>) -> Self {
        Canister { tape, ..self }
    }

    /// Returns the time of the PocketIC instance, nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.pic.get_time().as_nanos_since_unix_epoch()
    }

    /// Lets time pass without a call: advances the clock by `time`, then executes `rounds` rounds, in which timers run.
    pub fn pass(&self, time: Duration, rounds: u32) {
        self.pic.advance_time(time);
        self.record_event(self.now(), EventKind::Pass { rounds });
        for _ in 0..rounds {
            self.pic.tick();
        }
    }

    /// Upgrades the canister to `module`, as a controller. `build` is only the name of the module in a trace.
    ///
    /// # Errors
    /// If the IC or the canister refuses the upgrade, in which case nothing is changed.
    pub fn upgrade(&self, controller: Principal, build: &str, module: &Module) -> Result<(), RejectResponse> {
        let at = self.now();
        let answer =
            self.pic.upgrade_canister(self.id, module.gz.clone(), NO_ARGUMENTS.to_vec(), Some(controller));
        let traced = answer.as_ref().map_or_else(TracedAnswer::from, |()| TracedAnswer::accepted());
        self.record_event(at, EventKind::Upgrade { build: build.to_owned(), answer: traced });
        answer
    }

    fn record_event(&self, at: u64, what: EventKind) {
        if let Some(tape) = self.tape {
            tape.add_event(at, what);
        }
    }

    fn record_call(&self, kind: CallKind, caller: Principal, method: &str, arg: &[u8]) -> Option<TapeTicket> {
        self.tape.map(|tape| tape.sent(self.now(), kind, caller, method, arg))
    }

    fn record_answer(&self, ticket: Option<TapeTicket>, answer: &Result<Vec<u8>, RejectResponse>) {
        if let (Some(tape), Some(ticket)) = (self.tape, ticket) {
            tape.answered(ticket, answer);
        }
    }

    /// Returns the canister's id.
    pub fn id(&self) -> Principal {
        self.id
    }

    /// Returns the PocketIC instance.
    pub fn pic(&self) -> &'p PocketIc {
        self.pic
    }

    /// Submits an update call without waiting for the answer.
    ///
    /// # Errors
    /// [`ClientError::Rejected`] if the IC does not accept the call for execution.
    pub fn submit(&self, caller: Principal, call: EncodedCall) -> Result<CallInFlight, ClientError> {
        let ticket = self.record_call(CallKind::Update, caller, call.method, &call.arg);
        match self.pic.submit_call(self.id, caller, call.method, call.arg) {
            Ok(message) => Ok(CallInFlight { message, ticket }),
            Err(reject) => {
                self.record_answer(ticket, &Err(reject.clone()));
                Err(rejected(call.method)(reject))
            }
        }
    }

    /// Waits for a submitted call and returns its raw reply. `method` is the call's method, for errors.
    pub fn wait(&self, method: &'static str, sent: CallInFlight) -> Result<Vec<u8>, ClientError> {
        let answer = self.pic.await_call(sent.message);
        self.record_answer(sent.ticket, &answer);
        answer.map_err(rejected(method))
    }

    /// Sends all calls before waiting for any answer; returns the replies in the order of the calls. The error of a
    /// call that cannot be sent is in its place; the other calls are sent nevertheless.
    pub fn call_together(
        &self,
        calls: impl IntoIterator<Item = (Principal, Result<EncodedCall, ClientError>)>,
    ) -> Vec<Result<Vec<u8>, ClientError>> {
        let submit = |(caller, call): (Principal, Result<EncodedCall, ClientError>)| {
            let call = call?;
            Ok((call.method, self.submit(caller, call)?))
        };
        // Collecting into a vector sends all calls before the first one is awaited.
        let sent: Vec<Result<_, ClientError>> = calls.into_iter().map(submit).collect();
        sent.into_iter().map(|sent| sent.and_then(|(method, sent)| self.wait(method, sent))).collect()
    }

    /// Makes an update call, and returns the raw reply.
    pub fn call(&self, caller: Principal, call: EncodedCall) -> Result<Vec<u8>, ClientError> {
        let method = call.method;
        self.wait(method, self.submit(caller, call)?)
    }

    /// Makes an update call to a function that returns `variant { Ok; Err }`.
    ///
    /// # Errors
    /// If the call fails, or the canister returns an error of its own.
    pub fn update<T: CandidType + DeserializeOwned>(
        &self,
        caller: Principal,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ClientError> {
        decode_result(method, &self.call(caller, EncodedCall::new(method, args)?)?)
    }

    /// Makes a query call, and returns the raw reply.
    pub fn query_raw(&self, caller: Principal, call: EncodedCall) -> Result<Vec<u8>, ClientError> {
        let EncodedCall { method, arg } = call;
        let ticket = self.record_call(CallKind::Query, caller, method, &arg);
        let answer = self.pic.query_call(self.id, caller, method, arg);
        self.record_answer(ticket, &answer);
        answer.map_err(rejected(method))
    }

    pub(super) fn query_with(
        &self,
        caller: Principal,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<Vec<u8>, ClientError> {
        self.query_raw(caller, EncodedCall::new(method, args)?)
    }

    /// Makes a query call to a function that returns `variant { Ok; Err }`.
    ///
    /// # Errors
    /// If the call fails, or the canister returns an error of its own.
    pub fn query<T: CandidType + DeserializeOwned>(
        &self,
        caller: Principal,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, ClientError> {
        decode_result(method, &self.query_with(caller, method, args)?)
    }
}
