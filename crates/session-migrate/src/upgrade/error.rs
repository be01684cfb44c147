//! Errors of an upgrade.

use std::path::PathBuf;

use candid::Principal;

use crate::build::Build;
use crate::client::ClientError;
use crate::transfer::TransferError;

/// Why the upgrade, or a step of it, cannot continue, in a sentence for the operator.
pub(super) type Refusal = String;

/// The result of a step. The outer error ends the process, and the upgrade can be resumed. The inner error is about the
/// canister or the upgrade: the driver continues, with a recovery or with the end of the upgrade.
pub(super) type Checked<T, E = Refusal> = Result<Result<T, E>, UpgradeError>;

/// Why an upgrade was not completed. The outcome of a completed upgrade is a [`Report`](super::Report).
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpgradeError {
    /// A call failed, but not because the canister is out of cycles.
    #[error("{0}; resume with --resume, or end the upgrade with --abort")]
    Client(ClientError),
    /// A call of the preflight failed. There is no journal yet, so there is nothing to resume.
    #[error("{why}; the upgrade was not begun, and nothing was changed: {advice}")]
    NotBegun {
        /// The error of the call.
        why: String,
        /// What to do.
        advice: &'static str,
    },
    /// The canister is frozen, and executes nothing, not even a rollback.
    #[error("{0}; nothing is lost, but it no longer executes anything: top it up, then --resume, or --abort")]
    OutOfCycles(String),
    /// The journal cannot be opened, locked or read, so nothing was done.
    #[error("cannot {action} {path}: {source}")]
    Unusable {
        /// What was tried.
        action: &'static str,
        /// The journal.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The journal cannot be written.
    #[error("cannot write {path}: {source}")]
    Journal {
        /// The journal.
        path: PathBuf,
        /// The operating system's error.
        source: std::io::Error,
    },
    /// The file is damaged, or not a journal.
    #[error("{path}, line {line}: {why}; this is not a journal of upgrades, or it is damaged")]
    Damaged {
        /// The journal.
        path: PathBuf,
        /// The line.
        line: usize,
        /// The reason.
        why: String,
    },
    /// Another process uses the journal.
    #[error("{path} is locked: another upgrade is running")]
    Locked {
        /// The journal.
        path: PathBuf,
    },
    /// An upgrade was started but not finished.
    #[error("{path} has an unfinished upgrade of {canister}: --resume or --abort it first")]
    Unfinished {
        /// The journal.
        path: PathBuf,
        /// The canister.
        canister: Principal,
    },
    /// The journal has no upgrade to resume.
    #[error("{path} has no unfinished upgrade")]
    NothingToResume {
        /// The journal.
        path: PathBuf,
    },
    /// The upgrade was started with another module.
    #[error("the upgrade was started with module {expected}, got {got}: pass the same module with --wasm")]
    OtherModule {
        /// SHA-256 in the journal.
        expected: String,
        /// SHA-256 of the given module.
        got: String,
    },
    /// The upgrade was started with another network or identity.
    #[error("the upgrade was started with the {what} {expected}, got {got}")]
    OtherNetwork {
        /// `root key` or `caller`.
        what: &'static str,
        /// The value in the journal.
        expected: String,
        /// The value now.
        got: String,
    },
    /// The upgrade was started with another canister.
    #[error("the upgrade was started with the canister {expected}, got {got}")]
    OtherCanister {
        /// The canister in the journal.
        expected: Principal,
        /// The given canister.
        got: Principal,
    },
    /// Somebody has paused the migration.
    #[error(
        "the migration is paused after {converted} of {source_units} records (clients are served): call `migration_resume ()`, \
         then --resume; or --abort"
    )]
    Paused {
        /// Records that are converted.
        converted: u64,
        /// Records counted so far.
        source_units: u64,
    },
    /// The answer to the request for a snapshot is lost, and the canister has several snapshots that it did not have
    /// before the request.
    #[error(
        "the canister has several new snapshots, {}, and the answer that names the one of this upgrade is lost; \
         nothing is installed: delete those that others have taken, then --resume, or --abort",
        .snapshots.join(", ")
    )]
    SeveralSnapshots {
        /// The new snapshots, hex.
        snapshots: Vec<String>,
    },
    /// The snapshot could not be downloaded for the rehearsal.
    #[error("{0}; nothing is installed: resume with --resume, or end the upgrade with --abort")]
    Download(#[from] TransferError),
    /// The rehearsal could not be completed.
    #[error("the rehearsal was not completed: {0}; nothing is installed: --resume or --abort")]
    Rehearsal(String),
}

impl From<ClientError> for UpgradeError {
    fn from(error: ClientError) -> UpgradeError {
        match error.is_out_of_cycles() {
            true => UpgradeError::OutOfCycles(error.to_string()),
            false => UpgradeError::Client(error),
        }
    }
}

/// Why an installation could not be confirmed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Unconfirmed {
    /// The network certifies another module.
    #[error("the module hash is {got}, expected {expected}: somebody else has installed a module")]
    ModuleReplaced {
        /// SHA-256 of the module that was installed, hex.
        expected: String,
        /// The certified SHA-256, hex.
        got: String,
    },
    /// The canister does not report the build that was installed.
    #[error(
        "build_info is answered by the build `{got}`, expected {expected}, although the module hash is as expected"
    )]
    OtherBuild {
        /// The build that was installed.
        expected: Build,
        /// The build that answers.
        got: String,
    },
    /// The canister rejects calls.
    #[error("the canister does not answer: {0}")]
    NoAnswer(ClientError),
}

impl UpgradeError {
    /// Returns an error of a call as that of an upgrade that was not begun; any other error stays as it is.
    pub(super) fn before_begin(self) -> UpgradeError {
        let (why, advice) = match self {
            UpgradeError::Client(error) => (error.to_string(), "repeat the command"),
            UpgradeError::OutOfCycles(why) => (why, "top the canister up, and repeat the command"),
            other => return other,
        };
        UpgradeError::NotBegun { why, advice }
    }

    /// Returns whether the user's input is at fault and nothing was done.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            UpgradeError::Unusable { .. }
                | UpgradeError::Damaged { .. }
                | UpgradeError::Locked { .. }
                | UpgradeError::Unfinished { .. }
                | UpgradeError::NothingToResume { .. }
                | UpgradeError::OtherModule { .. }
                | UpgradeError::OtherNetwork { .. }
                | UpgradeError::OtherCanister { .. }
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_before_the_begin_advises_to_repeat_the_command() {
        let lost = ClientError::Unanswered { method: "canister_status", detail: "refused".into() };
        for error in [UpgradeError::Client(lost), UpgradeError::OutOfCycles("out of cycles".into())] {
            assert!(error.to_string().contains("--resume"), "{error}");
            let before = error.before_begin();
            let text = before.to_string();
            assert!(text.ends_with("repeat the command") && !text.contains("--resume"), "{text}");
            assert!(!before.is_usage());
        }
    }
}
