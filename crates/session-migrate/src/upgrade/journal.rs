//! The journal of upgrades, a file of JSON lines on the operator's machine. Each line is on disk before the next step
//! begins.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use candid::Principal;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Ending, Plan, UpgradeError};
use crate::network::{Rejection, Ticket};
use crate::utc::utc;

/// The beginning of every line.
const BEGINNING: &[u8] = b"{\"at\":\"";

/// A call that changes the canister (an *effect*). The rehearsal and the watching are not in this list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Step {
    /// A snapshot is taken.
    Snapshot,
    /// The canister is stopped.
    Stop,
    /// The module is installed.
    Install,
    /// The canister is started.
    Start,
    /// The canister verifies its migration.
    Verify,
    /// The migration is rolled back.
    Rollback,
    /// The previous module is installed.
    InstallBefore,
    /// The snapshot is loaded.
    Restore,
    /// The snapshot is deleted.
    DropSnapshot,
}

impl Step {
    /// Returns whether the step must be executed once it was begun: a rejection for lack of cycles stops the command,
    /// and the step is sent again when the upgrade is resumed. For the snapshot, the stop and the installation, such a
    /// rejection is the outcome of the step, like any other rejection.
    pub(super) fn must_be_done(self) -> bool {
        !matches!(self, Step::Snapshot | Step::Stop | Step::Install)
    }

    /// Describes the step for the operator.
    pub fn name(self) -> &'static str {
        match self {
            Step::Snapshot => "taking a snapshot",
            Step::Stop => "stopping the canister",
            Step::Install => "installing the module",
            Step::Start => "starting the canister",
            Step::Verify => "verifying the migration",
            Step::Rollback => "rolling the migration back",
            Step::InstallBefore => "installing the previous module",
            Step::Restore => "restoring the snapshot",
            Step::DropSnapshot => "deleting the snapshot",
        }
    }
}

/// The outcome of an effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EffectOutcome {
    /// The effect was executed. The reply may still be a refusal of the canister.
    Replied {
        /// The reply, hex.
        reply: String,
        /// The certificate that contains the reply, in CBOR, hex.
        certificate: String,
    },
    /// The effect was rejected.
    Rejected(Rejection),
    /// The answer is lost, but the state of the canister shows the effect.
    Observed,
}

/// What a line records.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// An upgrade begins.
    Begun {
        /// The plan of the upgrade.
        plan: Box<Plan>,
    },
    /// A fact that later steps depend on.
    Known {
        /// The name of the fact.
        fact: String,
        /// The fact.
        value: Value,
    },
    /// An effect is about to be sent.
    Intent {
        /// The effect.
        step: Step,
        /// The method that is called.
        method: String,
        /// The request.
        ticket: Ticket,
    },
    /// The outcome of an effect.
    Receipt {
        /// The effect.
        step: Step,
        /// The outcome of the effect.
        outcome: EffectOutcome,
    },
    /// The request can no longer be executed: it has expired, or its outcome has been removed. The state of the
    /// canister does not show the effect, or (verify, rollback) cannot show it. The next attempt is a new request.
    Lost {
        /// The effect.
        step: Step,
    },
    /// The canister was out of cycles, and the request was not executed.
    OutOfCycles {
        /// The effect.
        step: Step,
    },
    /// The state of the migration has changed.
    Seen {
        /// Number of the migration.
        migration: u16,
        /// Phase of the migration.
        phase: String,
        /// Records that are converted, quarantined or expired.
        done: u64,
        /// Records counted so far.
        source: u64,
        /// Records in quarantine.
        quarantined: u64,
    },
    /// The upgrade has ended.
    Ended {
        /// How the upgrade has ended.
        ending: Box<Ending>,
    },
}

/// A line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// When the line was written, in UTC.
    pub at: String,
    /// The event.
    #[serde(flatten)]
    pub event: Event,
}

/// An observer of every line. An error ends the driver immediately, as if the process were killed. Tests use this to
/// kill an upgrade between any two lines.
pub trait Listener {
    /// Is called before a line is written.
    fn before(&mut self, _: &Event) -> std::io::Result<()> {
        Ok(())
    }

    /// Is called once a line is on disk.
    fn after(&mut self, _: &Line) -> std::io::Result<()> {
        Ok(())
    }
}

/// A listener that ignores every line.
pub struct Silent;

impl Listener for Silent {}

/// A journal, locked by this process.
pub struct Journal<'a> {
    path: PathBuf,
    file: File,
    /// Lines of the last upgrade in the journal, with their numbers in the file.
    lines: Vec<(usize, Line)>,
    /// Number of lines in the file.
    line_count: usize,
    listener: &'a mut dyn Listener,
}

impl<'a> Journal<'a> {
    /// Opens a journal, or creates a new one.
    ///
    /// # Errors
    /// [`UpgradeError`] if the file cannot be opened, is not a journal, is damaged, or is locked by another process.
    pub fn open(path: &Path, listener: &'a mut dyn Listener) -> Result<Journal<'a>, UpgradeError> {
        let io_error = |action, source| UpgradeError::Unusable { action, path: path.to_path_buf(), source };
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(|error| io_error("open", error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(UpgradeError::Locked { path: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(io_error("lock", error)),
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(|error| io_error("read", error))?;
        let complete_len = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let damaged = |line, why| UpgradeError::Damaged { path: path.to_path_buf(), line, why };
        let mut lines: Vec<(usize, Line)> = Vec::new();
        for (index, text) in bytes[..complete_len].split(|byte| *byte == b'\n').enumerate() {
            if text.is_empty() {
                continue;
            }
            let line: Line =
                serde_json::from_slice(text).map_err(|error| damaged(index + 1, error.to_string()))?;
            if matches!(line.event, Event::Begun { .. }) {
                lines.clear();
            }
            lines.push((index + 1, line));
        }
        let line_count = bytes[..complete_len].iter().filter(|byte| **byte == b'\n').count();
        // If the last line has no end, the process ended while it was writing. Nothing was sent after that.
        // The torn line may be shorter than `BEGINNING`.
        let torn = &bytes[complete_len..];
        if !torn.is_empty() {
            if !torn.starts_with(BEGINNING.get(..torn.len()).unwrap_or(BEGINNING)) {
                return Err(damaged(line_count + 1, "it does not start like a line of a journal".into()));
            }
            file.set_len(complete_len as u64).map_err(|error| io_error("truncate", error))?;
        }
        Ok(Journal { path: path.to_path_buf(), file, lines, line_count, listener })
    }

    /// Returns the path of the journal.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the plan of the last upgrade, if that upgrade is unfinished.
    ///
    /// # Errors
    /// [`UpgradeError::NothingToResume`].
    pub fn unfinished_plan(&self) -> Result<Plan, UpgradeError> {
        let ended = self.lines.iter().any(|(_, line)| matches!(line.event, Event::Ended { .. }));
        match self.lines.first().map(|(_, line)| &line.event) {
            Some(Event::Begun { plan }) if !ended => Ok(plan.as_ref().clone()),
            _ => Err(UpgradeError::NothingToResume { path: self.path.clone() }),
        }
    }

    /// Returns the plan of the last upgrade, if that upgrade is unfinished and is one of `canister`.
    ///
    /// # Errors
    /// [`UpgradeError::NothingToResume`] or [`UpgradeError::OtherCanister`].
    pub fn unfinished_plan_of(&self, canister: Principal) -> Result<Plan, UpgradeError> {
        let plan = self.unfinished_plan()?;
        if plan.canister != canister {
            return Err(UpgradeError::OtherCanister { expected: plan.canister, got: canister });
        }
        Ok(plan)
    }

    pub(super) fn check_none_unfinished(&self) -> Result<(), UpgradeError> {
        match self.unfinished_plan() {
            Ok(Plan { canister, .. }) => Err(UpgradeError::Unfinished { path: self.path.clone(), canister }),
            Err(_) => Ok(()),
        }
    }

    /// Begins an upgrade, unless one is unfinished. The lines of earlier upgrades stay in the file.
    pub(super) fn begin(&mut self, plan: Plan) -> Result<(), UpgradeError> {
        self.check_none_unfinished()?;
        self.lines.clear();
        self.append(Event::Begun { plan: Box::new(plan) })
    }

    /// Writes a line, which is on disk when this function returns.
    pub(super) fn append(&mut self, event: Event) -> Result<(), UpgradeError> {
        let write_error = |source| UpgradeError::Journal { path: self.path.clone(), source };
        self.listener.before(&event).map_err(write_error)?;
        let line = Line { at: utc(SystemTime::now()), event };
        let mut text = serde_json::to_vec(&line).map_err(|error| write_error(error.into()))?;
        text.push(b'\n');
        self.file.write_all(&text).and_then(|()| self.file.sync_data()).map_err(write_error)?;
        self.listener.after(&line).map_err(write_error)?;
        self.line_count += 1;
        self.lines.push((self.line_count, line));
        Ok(())
    }

    /// Returns the last recorded outcome of an effect; `None` if there is none yet.
    pub(super) fn receipt(&self, wanted: Step) -> Option<&EffectOutcome> {
        self.lines.iter().rev().find_map(|(_, line)| match &line.event {
            Event::Receipt { step, outcome } if *step == wanted => Some(outcome),
            _ => None,
        })
    }

    /// Returns the last request of an effect; `None` if none was made, or if the journal has it as lost or not executed
    /// for lack of cycles, so that a new request may be made.
    pub(super) fn intent(&self, wanted: Step) -> Option<&Ticket> {
        let is_about_request = |event: &&Event| match event {
            Event::Intent { step, .. } | Event::Lost { step } | Event::OutOfCycles { step } => {
                *step == wanted
            }
            _ => false,
        };
        match self.lines.iter().rev().map(|(_, line)| &line.event).find(is_about_request) {
            Some(Event::Intent { ticket, .. }) => Some(ticket),
            _ => None,
        }
    }

    /// Returns the certificate of the last reply to an effect, hex.
    pub(super) fn last_certificate(&self) -> Option<&str> {
        self.lines.iter().rev().find_map(|(_, line)| match &line.event {
            Event::Receipt { outcome: EffectOutcome::Replied { certificate, .. }, .. } => {
                Some(certificate.as_str())
            }
            _ => None,
        })
    }

    /// Returns a fact; `None` if the journal does not have it.
    ///
    /// # Errors
    /// [`UpgradeError::Damaged`] if the fact does not decode.
    pub(super) fn known<T: DeserializeOwned>(&self, wanted: &str) -> Result<Option<T>, UpgradeError> {
        let Some((line, value)) = self.fact(wanted) else { return Ok(None) };
        serde_json::from_value(value.clone()).map(Some).map_err(|error| UpgradeError::Damaged {
            path: self.path.clone(),
            line,
            why: format!("the fact `{wanted}` does not decode: {error}"),
        })
    }

    pub(super) fn is_known(&self, wanted: &str) -> bool {
        self.fact(wanted).is_some()
    }

    fn fact(&self, wanted: &str) -> Option<(usize, &Value)> {
        self.lines.iter().rev().find_map(|(number, line)| match &line.event {
            Event::Known { fact, value } if fact == wanted => Some((*number, value)),
            _ => None,
        })
    }
}

impl Drop for Journal<'_> {
    /// Removes an empty file.
    fn drop(&mut self) {
        if self.file.metadata().is_ok_and(|file| file.len() == 0) {
            // If removing fails, the file stays, which does no harm.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::Build;

    fn plan() -> Plan {
        Plan::example(Build::Staged)
    }

    fn ended() -> Event {
        Event::Ended { ending: Box::new(Ending::NothingToDo) }
    }

    #[test]
    fn torn_last_line_is_dropped_and_the_rest_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        Journal::open(&path, &mut Silent).unwrap().begin(plan()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let torn = [&whole[..], br#"{"at":"2026-01"#].concat();
        std::fs::write(&path, torn).unwrap();
        let mut silent = Silent;
        let mut journal = Journal::open(&path, &mut silent).unwrap();
        assert_eq!(journal.unfinished_plan().unwrap(), plan());
        assert_eq!(std::fs::read(&path).unwrap(), whole);
        assert!(matches!(journal.begin(plan()), Err(UpgradeError::Unfinished { .. })));
        journal.append(ended()).unwrap();
        assert!(matches!(journal.unfinished_plan(), Err(UpgradeError::NothingToResume { .. })));
        journal.begin(plan()).unwrap();
        assert!(journal.unfinished_plan().is_ok(), "the next upgrade is added to the same file");
    }

    #[test]
    fn an_unfinished_upgrade_of_another_canister_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let mut silent = Silent;
        let mut journal = Journal::open(&folder.path().join("journal"), &mut silent).unwrap();
        let (canister, other) = (plan().canister, Principal::anonymous());
        let nothing = journal.unfinished_plan_of(other);
        assert!(matches!(nothing, Err(UpgradeError::NothingToResume { .. })), "{nothing:?}");
        journal.begin(plan()).unwrap();
        assert_eq!(journal.unfinished_plan_of(canister).unwrap(), plan());
        let error = journal.unfinished_plan_of(other).unwrap_err();
        assert!(error.is_usage());
        let expected = format!("the upgrade was started with the canister {canister}, got {other}");
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn a_damaged_last_line_is_counted_from_the_start_of_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut silent = Silent;
        let mut journal = Journal::open(&path, &mut silent).unwrap();
        for _ in 0..2 {
            journal.begin(plan()).unwrap();
            journal.append(ended()).unwrap();
        }
        drop(journal);
        let bytes = [&std::fs::read(&path).unwrap()[..], b"no journal"].concat();
        std::fs::write(&path, bytes).unwrap();
        let error = Journal::open(&path, &mut Silent).err().unwrap();
        assert!(matches!(error, UpgradeError::Damaged { line: 5, .. }), "{error}");
    }

    #[test]
    fn fact_that_does_not_decode_is_reported_with_path_and_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let mut silent = Silent;
        let mut journal = Journal::open(&path, &mut silent).unwrap();
        journal.begin(plan()).unwrap();
        journal.append(ended()).unwrap();
        journal.begin(plan()).unwrap();
        journal.append(Event::Known { fact: "snapshot".into(), value: "no bytes".into() }).unwrap();
        let check = |journal: &Journal<'_>| {
            let error = journal.known::<Vec<u8>>("snapshot").unwrap_err();
            let is_named =
                matches!(&error, UpgradeError::Damaged { path: named, line: 4, .. } if *named == path);
            assert!(is_named && error.to_string().contains("the fact `snapshot`"), "{error}");
            assert!(journal.is_known("snapshot") && journal.known::<u64>("written").unwrap().is_none());
        };
        check(&journal);
        drop(journal);
        let mut silent = Silent;
        check(&Journal::open(&path, &mut silent).unwrap());
    }

    #[test]
    fn other_files_are_refused_and_stay_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt");
        for text in ["no journal", "no journal\n", "{\"at\":\"\"}\n"] {
            std::fs::write(&path, text).unwrap();
            let error = Journal::open(&path, &mut Silent).err().unwrap();
            assert!(matches!(error, UpgradeError::Damaged { line: 1, .. }), "{error}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    #[test]
    fn an_open_journal_is_locked() {
        let folder = tempfile::tempdir().unwrap();
        let (mut one, mut other) = (Silent, Silent);
        let path = folder.path().join("journal");
        let _held = Journal::open(&path, &mut one).unwrap();
        assert!(matches!(Journal::open(&path, &mut other), Err(UpgradeError::Locked { .. })));
    }
}
