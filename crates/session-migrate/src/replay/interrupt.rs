//! Interruptions: operations between two calls that clients must not notice.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

use candid::Principal;
use pocket_ic::{CanisterSettings, ErrorCode};
use upload_canister::api::MigrationPhase;
use wasm_encoder::{CodeSection, ExportKind, ExportSection, Function, FunctionSection, TypeSection};

use super::{Builds, ReplayCanister, ReplayError};
use crate::build::{Module, gzip};
use crate::client::ClientError;
use crate::trace::Trace;

/// Number of rounds after which a rollback that is not complete counts as failed.
const MAX_ROLLBACK_ROUNDS: u32 = 1_000;

/// An interruption: `KIND@WHEN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interruption {
    kind: InterruptionKind,
    when: When,
}

/// When an interruption occurs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Before the event in this line of the trace.
    Line(usize),
    /// Before the first event, and before every n-th event after it.
    Every(usize),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum InterruptionKind {
    /// An upgrade to this build.
    Upgrade(String),
    /// An upgrade that traps.
    Trap,
    /// The canister is stopped and started.
    Restart,
    /// The canister is frozen by a high freezing threshold, refuses a call, and is thawed.
    LowCycles,
    /// The migration is rolled back, and the canister is upgraded to the legacy build.
    Rollback,
}

impl fmt::Display for Interruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            InterruptionKind::Upgrade(build) => write!(f, "upgrade:{build}")?,
            InterruptionKind::Trap => f.write_str("trap")?,
            InterruptionKind::Restart => f.write_str("restart")?,
            InterruptionKind::LowCycles => f.write_str("low-cycles")?,
            InterruptionKind::Rollback => f.write_str("rollback")?,
        }
        match self.when {
            When::Line(line) => write!(f, "@{line}"),
            When::Every(count) => write!(f, "@every{count}"),
        }
    }
}

impl FromStr for Interruption {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected =
            "expected upgrade:BUILD, trap, restart, low-cycles or rollback, then @LINE or @everyCOUNT";
        let parse_error = || format!("{expected}; got `{text}`");
        let (kind, when) = text.split_once('@').ok_or_else(parse_error)?;
        let kind = match kind.split_once(':') {
            Some(("upgrade", build)) if !build.is_empty() => InterruptionKind::Upgrade(build.to_owned()),
            None if kind == "trap" => InterruptionKind::Trap,
            None if kind == "restart" => InterruptionKind::Restart,
            None if kind == "low-cycles" => InterruptionKind::LowCycles,
            None if kind == "rollback" => InterruptionKind::Rollback,
            _ => return Err(parse_error()),
        };
        let positive =
            |digits: &str| digits.parse().ok().filter(|number| *number > 0).ok_or_else(parse_error);
        let when = match when.strip_prefix("every") {
            Some(count) => When::Every(positive(count)?),
            None => When::Line(positive(when)?),
        };
        Ok(Interruption { kind, when })
    }
}

impl Interruption {
    /// Interrupts before the first of these events, if the interruption is due before any of them, so that calls in
    /// flight together are not separated.
    pub(super) fn interrupt_if_due(
        &self,
        events: Range<usize>,
        trace: &Trace,
        subject: &ReplayCanister,
        builds: &mut Builds,
    ) -> Result<(), ReplayError> {
        let line = trace.line_of(events.start);
        let is_due = |event: usize| match self.when {
            When::Line(at) => at == trace.line_of(event),
            When::Every(count) => event.is_multiple_of(count),
        };
        if events.into_iter().any(is_due) { self.perform(line, subject, builds) } else { Ok(()) }
    }

    /// Returns the build to upgrade to, if the interruption is an upgrade.
    pub fn build(&self) -> Option<&str> {
        match &self.kind {
            InterruptionKind::Upgrade(build) => Some(build),
            _ => None,
        }
    }

    /// Checks that the line of the interruption, if it has one, contains an event.
    pub fn check(&self, trace: &Trace) -> Result<(), ReplayError> {
        let lines = trace.line_of(0)..trace.line_of(trace.events.len());
        match self.when {
            When::Line(line) if !lines.contains(&line) => {
                Err(ReplayError::NoSuchLine { interruption: self.to_string(), lines })
            }
            _ => Ok(()),
        }
    }

    fn perform(&self, line: usize, subject: &ReplayCanister, builds: &mut Builds) -> Result<(), ReplayError> {
        let interruption_error =
            |detail: String| ReplayError::InterruptionFailed { line, interruption: self.to_string(), detail };
        match &self.kind {
            InterruptionKind::Upgrade(build) => {
                let module = builds.get(build)?;
                subject.upgrade(&module).map_err(|reject| interruption_error(reject.reject_message))
            }
            InterruptionKind::Trap => {
                match subject
                    .upgrade(&trapping_module().map_err(|error| interruption_error(error.to_string()))?)
                {
                    Ok(()) => Err(interruption_error("the upgrade that must trap was accepted".into())),
                    Err(reject) if reject.error_code == ErrorCode::CanisterTrapped => Ok(()),
                    Err(reject) => Err(interruption_error(reject.reject_message)),
                }
            }
            InterruptionKind::Restart => {
                subject.stop()?;
                subject.start()
            }
            InterruptionKind::LowCycles => freeze_and_thaw(subject).map_err(interruption_error),
            InterruptionKind::Rollback => {
                roll_back(subject).map_err(|error| interruption_error(error.to_string()))?;
                let legacy = builds.get("legacy")?;
                subject.upgrade(&legacy).map_err(|reject| interruption_error(reject.reject_message))
            }
        }
    }
}

/// Returns a module whose `canister_post_upgrade` traps, so that the upgrade is rolled back.
fn trapping_module() -> std::io::Result<Module> {
    let mut types = TypeSection::new();
    types.ty().function([], []);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut exports = ExportSection::new();
    exports.export("canister_post_upgrade", ExportKind::Func, 0);
    let mut body = Function::new([]);
    body.instructions().unreachable().end();
    let mut code = CodeSection::new();
    code.function(&body);
    let mut module = wasm_encoder::Module::new();
    module.section(&types).section(&functions).section(&exports).section(&code);
    let wasm = module.finish();
    let gz = gzip(&wasm)?;
    Ok(Module { features: Vec::new(), wasm_bytes: wasm.len() as u64, sha256: String::new(), gz })
}

/// Freezes the canister, as if its cycles ran out; checks that a call is refused, and thaws the canister.
fn freeze_and_thaw(subject: &ReplayCanister) -> Result<(), String> {
    let set_freezing_threshold = |seconds: u64| {
        let settings =
            CanisterSettings { freezing_threshold: Some(seconds.into()), ..CanisterSettings::default() };
        let pic = subject.pic();
        pic.update_canister_settings(subject.id(), Some(subject.controller()), settings)
            .map_err(|reject| reject.reject_message)
    };
    let status = subject
        .pic()
        .canister_status(subject.id(), Some(subject.controller()))
        .map_err(|reject| reject.reject_message)?;
    let previous_threshold =
        u64::try_from(status.settings.freezing_threshold.0).map_err(|error| error.to_string())?;
    set_freezing_threshold(u64::MAX)?;
    // The session does not exist, so the call changes nothing even if the canister is not frozen.
    let arg = candid::encode_one(u64::MAX).map_err(|error| error.to_string())?;
    let probe = subject.update(Principal::anonymous(), "uploads_abort", arg);
    set_freezing_threshold(previous_threshold)?;
    match probe {
        Err(reject) if reject.error_code == ErrorCode::CanisterOutOfCycles => Ok(()),
        Err(reject) => Err(reject.reject_message),
        Ok(_) => Err("a call was executed although there were no cycles for it".into()),
    }
}

/// Rolls the migration back and waits until everything is in layout 1 again.
fn roll_back(subject: &ReplayCanister) -> Result<(), ClientError> {
    let canister = subject.canister();
    let mut status = canister.migration_rollback(subject.controller())?;
    for _ in 0..MAX_ROLLBACK_ROUNDS {
        if status.phase == MigrationPhase::RolledBack {
            return Ok(());
        }
        subject.rounds(1);
        status = canister.migration_status()?;
    }
    let at = format!("phase {:?} ({})", status.phase, status.note);
    Err(ClientError::NoProgress { method: "migration_rollback", at })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interruptions_are_read_as_they_are_written() {
        for text in ["upgrade:staged@20", "trap@3", "restart@every10", "low-cycles@2", "rollback@9"] {
            assert_eq!(text.parse::<Interruption>().unwrap().to_string(), text);
        }
        for text in ["", "trap", "upgrade@3", "upgrade:@3", "trap@0", "trap@every", "trap:x@1", "explode@3"] {
            let error = text.parse::<Interruption>().unwrap_err();
            assert!(error.contains("expected upgrade:BUILD") && error.contains(text), "{error}");
        }
    }
}
