//! The plan of an upgrade, as stored in its journal.

use std::str::FromStr;

use candid::Principal;
use serde::{Deserialize, Serialize};

use super::UpgradeError;
use crate::build::Build;
use crate::network::Network;

/// What to do when an upgrade fails after the install.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Roll the migration back, and install the previous module; later writes are kept.
    Rollback,
    /// Do the same as `Rollback`; if that fails, restore the snapshot, which loses later writes.
    Restore,
    /// Do nothing.
    Hold,
}

impl OnFailure {
    /// Returns `Rollback` instead of `Hold`, and the others unchanged.
    pub(super) fn or_rollback(self) -> OnFailure {
        if self == OnFailure::Hold { OnFailure::Rollback } else { self }
    }
}

impl FromStr for OnFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<OnFailure, String> {
        match text {
            "rollback" => Ok(OnFailure::Rollback),
            "restore" => Ok(OnFailure::Restore),
            "hold" => Ok(OnFailure::Hold),
            _ => Err("expected rollback, restore or hold".into()),
        }
    }
}

/// The plan of an upgrade.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The canister.
    pub canister: Principal,
    /// Address of the network.
    pub network: String,
    /// Root key of the network in DER, hex.
    pub root_key: String,
    /// The principal that makes the calls.
    pub caller: Principal,
    /// The build to install.
    pub to: Build,
    /// SHA-256 of the module to install, hex.
    pub module_hash: String,
    /// Whether to stop the canister for the install.
    pub stop: bool,
    /// Whether to rehearse the upgrade on the snapshot first.
    pub rehearse: bool,
    /// What to do when the upgrade fails after the install.
    pub on_failure: OnFailure,
    /// Maximum number of quarantined records; more are a failure.
    pub max_quarantined: Option<u64>,
    /// Maximum duration of the migration in seconds; longer is a failure.
    pub time_limit: u64,
    /// Whether to delete the snapshot after an upgrade that did not fail.
    pub drop_snapshot: bool,
    /// Id of an existing snapshot that the new one replaces, hex.
    pub replace_snapshot: Option<String>,
}

impl Plan {
    /// Refuses a network or caller other than those with which the upgrade was started.
    pub(super) fn check_network(&self, network: &Network) -> Result<(), UpgradeError> {
        let differs = |what, expected: &str, got: String| UpgradeError::OtherNetwork {
            what,
            expected: expected.to_owned(),
            got,
        };
        if hex::encode(network.root_key()) != self.root_key {
            return Err(differs("root key", &self.root_key, hex::encode(network.root_key())));
        }
        if network.caller() != self.caller {
            return Err(differs("caller", &self.caller.to_text(), network.caller().to_text()));
        }
        Ok(())
    }
}
