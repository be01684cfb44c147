//! Two canisters that get the same calls in the same rounds: the one that is upgraded, and the reference, which keeps
//! the old wasm. The upgraded canister must answer what the reference answers.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use candid::Principal;
use pocket_ic::{PocketIc, RejectResponse};

use super::MethodReport;
use super::inputs::{EncodedCall, Inputs, Release};
use crate::build::Module;
use crate::rehearse::RehearseError;
use crate::rehearse::stages::controller;
use crate::trace::{CallKind, Interface, TracedAnswer};
use crate::{shorten, shorten_both};

/// Maximum number of differences of one method that are shown for each step.
const MAX_SHOWN: u64 = 3;

pub(super) struct Pair<'p> {
    pub pic: &'p PocketIc,
    /// The canister that is upgraded.
    pub id: Principal,
    reference: Principal,
    /// The interfaces of the old and the new wasm. A reply is decoded with the first interface that has the method.
    interfaces: [Option<&'p Interface>; 2],
    may_differ: &'p BTreeSet<String>,
    /// The wasm that runs on the canister that is upgraded.
    running: Release,
    pub methods: BTreeMap<String, MethodReport>,
    /// The calls that both canisters have rejected; `None` if there are none.
    pub rejected: Option<Rejected>,
    pub problems: Vec<String>,
    /// Number of differences since the last step, by method.
    difference_counts: BTreeMap<String, u64>,
}

/// Calls that both canisters have rejected.
pub(super) struct Rejected {
    pub count: u64,
    /// Line and method of the first of them.
    pub first: String,
}

/// What a canister has answered: a reply or a rejection.
type Reply = Result<Vec<u8>, RejectResponse>;

impl<'p> Pair<'p> {
    pub fn install(
        pic: &'p PocketIc,
        old: &Module,
        init_arg: &[u8],
        interfaces: [Option<&'p Interface>; 2],
        may_differ: &'p BTreeSet<String>,
    ) -> Result<Pair<'p>, String> {
        let install = || {
            let id = pic.create_canister_with_settings(Some(controller()), None);
            // As in `Stages::install_legacy`, `reinstall_canister` returns an error where `install_canister` panics.
            pic.reinstall_canister(id, old.gz.clone(), init_arg.to_vec(), Some(controller()))
                .map(|()| id)
                .map_err(|reject| first_line(&reject))
        };
        Ok(Pair {
            pic,
            id: install()?,
            reference: install()?,
            interfaces,
            may_differ,
            running: Release::Old,
            methods: BTreeMap::new(),
            rejected: None,
            problems: Vec::new(),
            difference_counts: BTreeMap::new(),
        })
    }

    /// Upgrades the canister; the reference stays as it is.
    pub fn upgrade(&mut self, inputs: &Inputs, to: Release) -> Result<(), String> {
        let (target, arg, sender) =
            (inputs.module(to), inputs.arg_of_upgrade(to).to_vec(), Some(controller()));
        let module = target.module.gz.clone();
        let answer = if target.keeps_wasm_memory {
            self.pic.upgrade_eop_canister(self.id, module, arg, sender)
        } else {
            self.pic.upgrade_canister(self.id, module, arg, sender)
        };
        answer.map_err(|reject| first_line(&reject))?;
        self.running = to;
        Ok(())
    }

    /// Lets time pass, and runs a round on both canisters.
    pub fn run_round(&self, time: Duration) {
        self.pic.advance_time(time);
        self.pic.tick();
    }

    /// Makes a call on both canisters and compares the answers. Returns the difference, unless it is allowed. A method
    /// that only the new wasm has is called on the upgraded canister alone, only while this canister runs the new wasm,
    /// and must not reject the call. `reference_name` names the reference in the difference.
    fn call_and_compare(&mut self, call: &EncodedCall, reference_name: &str) -> Option<String> {
        if !call.old_has_method && self.running == Release::Old {
            return None;
        }
        let (answer, expected) = self.call_both(call);
        let may_differ = self.may_differ.contains(&call.method);
        let report = self.methods.entry(call.method.clone()).or_insert_with(|| MethodReport {
            name: call.method.clone(),
            is_query: call.kind == CallKind::Query,
            calls: 0,
            compared: 0,
            differ: 0,
            may_differ,
        });
        report.calls += 1;
        let Some(expected) = expected else {
            return answer.err().map(|reject| format!("is rejected: {}", first_line(&reject)));
        };
        if answer.is_err() && expected.is_err() {
            let none_yet = || Rejected { count: 0, first: format!("line {}, {}", call.line, call.method) };
            self.rejected.get_or_insert_with(none_yet).count += 1;
        }
        if may_differ {
            return None;
        }
        report.compared += 1;
        let (answer, expected) =
            (self.shown_answer(&call.method, &answer), self.shown_answer(&call.method, &expected));
        if answer == expected {
            return None;
        }
        if let Some(report) = self.methods.get_mut(&call.method) {
            report.differ += 1;
        }
        let (answer, expected) = shorten_both(&in_one_line(&answer), &in_one_line(&expected));
        Some(format!("answers {answer}, {reference_name} {expected}"))
    }

    /// Returns the answers of the upgraded canister and of the reference; `None` in place of the latter if the old wasm
    /// does not have the method.
    fn call_both(&self, call: &EncodedCall) -> (Reply, Option<Reply>) {
        let EncodedCall { caller, method, arg, .. } = call;
        if call.kind == CallKind::Query {
            let query = |id| self.pic.query_call(id, *caller, method, arg.clone());
            return (query(self.id), call.old_has_method.then(|| query(self.reference)));
        }
        // Both calls are sent before either is awaited, so that they are executed in the same round.
        let submit = |id| self.pic.submit_call(id, *caller, method, arg.clone());
        let (sent, expected) = (submit(self.id), call.old_has_method.then(|| submit(self.reference)));
        let wait = |sent: Result<_, RejectResponse>| sent.and_then(|message| self.pic.await_call(message));
        (wait(sent), expected.map(wait))
    }

    /// Returns an answer as text; a reply that does not decode is shown in hex.
    pub fn shown_answer(&self, method: &str, answer: &Reply) -> String {
        match answer {
            Ok(reply) => {
                let known =
                    self.interfaces.into_iter().flatten().find(|interface| interface.has_method(method));
                let args = match known {
                    Some(interface) => interface.decode_reply(method, reply),
                    None => candid::IDLArgs::from_bytes(reply).ok(),
                };
                args.map_or_else(|| format!("0x{}", hex::encode(reply)), |args| args.to_string())
            }
            // The message of a rejection comes from the server, and is not compared.
            Err(reject) => match TracedAnswer::from(reject) {
                TracedAnswer::Rejected { code, .. } => format!("a rejection, {code}"),
                answer => format!("{answer:?}"),
            },
        }
    }

    /// Makes a call, and records a difference between the answers as a problem; of one method, at most [`MAX_SHOWN`].
    pub fn play(&mut self, call: &EncodedCall, when: &str) {
        let Some(difference) = self.call_and_compare(call, "the old wasm") else { return };
        let count = self.difference_counts.entry(call.method.clone()).or_default();
        *count += 1;
        if *count <= MAX_SHOWN {
            self.problems.push(format!("{when}: {} (line {}) {difference}", call.method, call.line));
        }
    }

    /// Makes calls while both canisters run the old wasm.
    ///
    /// # Errors
    /// A call that the canisters answer differently: its answers cannot be compared after the upgrade, either.
    pub fn play_before_upgrade<'c>(
        &mut self,
        calls: impl Iterator<Item = &'c EncodedCall>,
    ) -> Result<(), String> {
        for call in calls {
            if let Some(difference) = self.call_and_compare(call, "the other") {
                return Err(format!(
                    "line {}: two canisters with the old wasm answer `{}` differently, so its answers \
                    prove nothing: one {difference}; name it with --may-differ",
                    call.line, call.method
                ));
            }
        }
        Ok(())
    }

    /// Makes queries after a step. Then records, for each method, how many differences of this step were not shown.
    pub fn compare_queries<'c>(&mut self, queries: impl Iterator<Item = &'c EncodedCall>, when: &str) {
        queries.for_each(|query| self.play(query, when));
        let more = self.difference_counts.iter().filter(|(_, count)| **count > MAX_SHOWN);
        self.problems.extend(
            more.map(|(method, count)| {
                format!("{when}: {} more answers of {method} differ", count - MAX_SHOWN)
            }),
        );
        self.difference_counts.clear();
    }
}

/// Joins the lines of Candid text. Line breaks in text values are escaped, so all others are layout.
pub(super) fn in_one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

/// Returns the first line of a rejection's message. The further lines of a trap's message are advice and a backtrace.
pub(super) fn first_line(reject: &RejectResponse) -> String {
    shorten(reject.reject_message.lines().next().unwrap_or_default())
}

pub(super) fn not_installed(old: &std::path::Path, message: String) -> RehearseError {
    RehearseError::File { path: old.to_path_buf(), why: format!("cannot install it: {message}") }
}
