//! The plan of an upgrade: the options of `cargo migrate upgrade`, as its journal file on the operator's machine
//! records them.

use std::str::FromStr;

use candid::Principal;
use serde::{Deserialize, Serialize};

use super::UpgradeError;
use crate::build::Build;
use crate::network::Network;

/// What to do if an upgrade fails after the installation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// Roll the migration back, and install the previous module; what clients have written since is kept.
    Rollback,
    /// Like `Rollback`; if that fails, restore the snapshot, which loses what clients have written since.
    Restore,
    /// Do nothing: the upgrade ends, and the canister stays as it is.
    Hold,
}

impl OnFailure {
    /// Returns what to do after an abort, or when a recovery continues that an earlier process began: `Rollback`
    /// instead of `Hold`, since with `Hold` only an abort begins a recovery.
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

/// The options of an upgrade, and its network, caller and module; the upgrade's first line in the journal.
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
    /// Whether to stop the canister during the installation.
    pub stop: bool,
    /// Whether to rehearse the upgrade on the snapshot first.
    pub rehearse: bool,
    /// What to do if the upgrade fails after the installation.
    pub on_failure: OnFailure,
    /// The upgrade fails if more records than this are quarantined; absent if their number does not matter.
    pub max_quarantined: Option<u64>,
    /// The upgrade fails if the migration takes longer than this, in seconds.
    pub time_limit: u64,
    /// Whether to delete the snapshot after a successful upgrade.
    pub drop_snapshot: bool,
    /// Id of an existing snapshot that the new one replaces, hex.
    pub replace_snapshot: Option<String>,
}

impl Plan {
    /// Returns the plan of an upgrade to `to` for tests that send no call.
    #[cfg(test)]
    pub(super) fn example(to: Build) -> Plan {
        Plan {
            canister: Principal::management_canister(),
            network: "http://localhost".into(),
            root_key: "00".into(),
            caller: Principal::anonymous(),
            to,
            module_hash: "ab".into(),
            stop: false,
            rehearse: false,
            on_failure: OnFailure::Rollback,
            max_quarantined: None,
            time_limit: 60,
            drop_snapshot: false,
            replace_snapshot: None,
        }
    }

    /// Returns an error unless network and caller are those with which the upgrade was started.
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
