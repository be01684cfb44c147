//! The settings of a canister: defaults, limits, and the two types that clients write and read.

use super::error::UserError;
use crate::engine::MAX_LOG_BYTES;
use candid::{Nat, Principal};
use ic_management_canister_types::{
    CanisterSettings, DefiniteCanisterSettings, EnvironmentVariable, LogVisibility, SnapshotVisibility,
    StatusVisibility,
};
use num_traits::ToPrimitive;
use pocket_ic::ErrorCode;
use sha2::{Digest, Sha256};

/// Maximum number of controllers of a canister. All limits and defaults in this file are those of the IC.
pub const MAX_CONTROLLERS: usize = 10;
/// Maximum number of principals in each list of viewers of a canister: for its logs, its snapshots and its status.
const MAX_VIEWERS: usize = 10;
const MAX_ENVIRONMENT_VARIABLES: usize = 20;
/// Maximum length of the name or value of an environment variable, in bytes.
const MAX_ENVIRONMENT_VARIABLE_BYTES: usize = 128;
/// The largest memory allocation that can be set, in bytes.
const MAX_MEMORY_ALLOCATION: u64 = 1 << 48;
/// The largest wasm memory limit and threshold that can be set, in bytes.
const MAX_WASM_MEMORY_LIMIT: u64 = 1 << 48;
/// The default wasm memory limit of a canister, in bytes.
const DEFAULT_WASM_MEMORY_LIMIT: u64 = 3 << 30;
/// The default limit of a canister's log, in bytes.
const DEFAULT_LOG_MEMORY_LIMIT: u64 = 4096;
/// The default freezing threshold: 30 days, in seconds.
const DEFAULT_FREEZING_THRESHOLD: u64 = 2_592_000;
/// In cycles.
const DEFAULT_RESERVED_CYCLES_LIMIT: u128 = 5_000_000_000_000;

/// What a canister's controllers can set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The controllers, sorted, without duplicates.
    pub controllers: Vec<Principal>,
    /// Percent of a core; only kept and shown.
    pub compute_allocation: u64,
    /// Bytes; storage counts as at least this much when the freezing limit is calculated.
    pub memory_allocation: u64,
    /// Number of seconds for which the balance must pay for storage.
    pub freezing_threshold: u64,
    /// Cycles; only kept and shown.
    pub reserved_cycles_limit: u128,
    /// Cycles that must be attached to a call from another canister.
    pub minimum_incoming_canister_call_cycles: u128,
    pub log_visibility: LogVisibility,
    /// Bytes of logs that are kept.
    pub log_memory_limit: u64,
    pub snapshot_visibility: SnapshotVisibility,
    pub status_visibility: StatusVisibility,
    /// Bytes of wasm memory; 0 means no limit.
    pub wasm_memory_limit: u64,
    /// Bytes of remaining wasm memory below which the low-memory hook is due.
    pub wasm_memory_threshold: u64,
    pub environment_variables: Vec<EnvironmentVariable>,
}

impl Settings {
    /// Returns the defaults for a canister created by `creator`.
    pub fn new(creator: Principal) -> Self {
        Self {
            controllers: vec![creator],
            compute_allocation: 0,
            memory_allocation: 0,
            freezing_threshold: DEFAULT_FREEZING_THRESHOLD,
            reserved_cycles_limit: DEFAULT_RESERVED_CYCLES_LIMIT,
            minimum_incoming_canister_call_cycles: 0,
            log_visibility: LogVisibility::Controllers,
            log_memory_limit: DEFAULT_LOG_MEMORY_LIMIT,
            snapshot_visibility: SnapshotVisibility::Controllers,
            status_visibility: StatusVisibility::Controllers,
            wasm_memory_limit: DEFAULT_WASM_MEMORY_LIMIT,
            wasm_memory_threshold: 0,
            environment_variables: Vec::new(),
        }
    }

    /// Returns these settings with the fields in `change` replaced; an error if one of the new values is not allowed.
    pub fn with(&self, change: CanisterSettings) -> Result<Self, UserError> {
        let mut new = self.clone();
        if let Some(mut controllers) = change.controllers {
            if controllers.len() > MAX_CONTROLLERS {
                return Err(invalid_settings(format!(
                    "The number of controllers exceeds maximum allowed {MAX_CONTROLLERS}: got {}",
                    controllers.len()
                )));
            }
            controllers.sort();
            controllers.dedup();
            new.controllers = controllers;
        }
        if let Some(value) = change.compute_allocation {
            new.compute_allocation = parse_bounded("compute_allocation", &value, 100)?;
        }
        if let Some(value) = change.memory_allocation {
            new.memory_allocation = parse_bounded("memory_allocation", &value, MAX_MEMORY_ALLOCATION)?;
        }
        if let Some(value) = change.freezing_threshold {
            new.freezing_threshold = parse_bounded("freezing_threshold", &value, u64::MAX)?;
        }
        if let Some(value) = change.reserved_cycles_limit {
            new.reserved_cycles_limit = parse_cycles("reserved_cycles_limit", &value)?;
        }
        if let Some(value) = change.minimum_incoming_canister_call_cycles {
            new.minimum_incoming_canister_call_cycles =
                parse_cycles("minimum_incoming_canister_call_cycles", &value)?;
        }
        if let Some(value) = change.log_visibility {
            new.log_visibility = check_viewers("log_visibility", value)?;
        }
        if let Some(value) = change.log_memory_limit {
            new.log_memory_limit = parse_bounded("log_memory_limit", &value, MAX_LOG_BYTES)?;
        }
        if let Some(value) = change.snapshot_visibility {
            new.snapshot_visibility = check_viewers("snapshot_visibility", value)?;
        }
        if let Some(value) = change.status_visibility {
            new.status_visibility = check_viewers("status_visibility", value)?;
        }
        if let Some(value) = change.wasm_memory_limit {
            new.wasm_memory_limit = parse_bounded("wasm_memory_limit", &value, MAX_WASM_MEMORY_LIMIT)?;
        }
        if let Some(value) = change.wasm_memory_threshold {
            new.wasm_memory_threshold =
                parse_bounded("wasm_memory_threshold", &value, MAX_WASM_MEMORY_LIMIT)?;
        }
        if let Some(variables) = change.environment_variables {
            check_environment(&variables)?;
            new.environment_variables = variables;
        }
        Ok(new)
    }

    pub fn is_controlled_by(&self, who: Principal) -> bool {
        self.controllers.contains(&who)
    }

    pub fn may_read_logs(&self, who: Principal) -> bool {
        self.may_see(&self.log_visibility, who)
    }

    pub fn may_read_snapshots(&self, who: Principal) -> bool {
        self.may_see(&self.snapshot_visibility, who)
    }

    pub fn may_read_status(&self, who: Principal) -> bool {
        self.may_see(&self.status_visibility, who)
    }

    /// Returns whether `who` is a controller, or is admitted by `what`, one of the settings on visibility.
    fn may_see(&self, what: &impl Visibility, who: Principal) -> bool {
        self.is_controlled_by(who) || what.viewers().is_none_or(|list| list.contains(&who))
    }

    /// Returns the environment variables as pairs of name and value, in the order in which they were set.
    pub fn environment(&self) -> Vec<(String, String)> {
        self.environment_variables
            .iter()
            .map(|variable| (variable.name.clone(), variable.value.clone()))
            .collect()
    }

    /// Returns the hash of the environment variables for the canister's history: the hash of a map, as the interface
    /// specification defines it.
    pub fn environment_hash(&self) -> [u8; 32] {
        let hash = |text: &str| Sha256::digest(text.as_bytes());
        let mut pairs: Vec<_> = self
            .environment_variables
            .iter()
            .map(|variable| [hash(&variable.name), hash(&variable.value)].concat())
            .collect();
        pairs.sort();
        Sha256::digest(pairs.concat()).into()
    }
}

impl From<&Settings> for DefiniteCanisterSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            controllers: settings.controllers.clone(),
            compute_allocation: settings.compute_allocation.into(),
            memory_allocation: settings.memory_allocation.into(),
            freezing_threshold: settings.freezing_threshold.into(),
            reserved_cycles_limit: settings.reserved_cycles_limit.into(),
            minimum_incoming_canister_call_cycles: settings.minimum_incoming_canister_call_cycles.into(),
            log_visibility: settings.log_visibility.clone(),
            log_memory_limit: settings.log_memory_limit.into(),
            snapshot_visibility: settings.snapshot_visibility.clone(),
            status_visibility: settings.status_visibility.clone(),
            wasm_memory_limit: settings.wasm_memory_limit.into(),
            wasm_memory_threshold: settings.wasm_memory_threshold.into(),
            environment_variables: settings.environment_variables.clone(),
        }
    }
}

/// A setting that says who, in addition to the controllers, may see a part of a canister's data.
trait Visibility {
    /// Returns the listed viewers; `None` for everyone.
    fn viewers(&self) -> Option<&[Principal]>;
}

macro_rules! visibility {
    ($($type:ident),*) => {$(
        impl Visibility for $type {
            fn viewers(&self) -> Option<&[Principal]> {
                match self {
                    Self::Controllers => Some(&[]),
                    Self::Public => None,
                    Self::AllowedViewers(list) => Some(list),
                }
            }
        }
    )*};
}

visibility!(LogVisibility, SnapshotVisibility, StatusVisibility);

fn check_viewers<V: Visibility>(name: &str, value: V) -> Result<V, UserError> {
    match value.viewers().map_or(0, <[_]>::len) {
        got if got > MAX_VIEWERS => Err(invalid_settings(format!(
            "The number of viewers in {name} exceeds maximum allowed {MAX_VIEWERS}: got {got}"
        ))),
        _ => Ok(value),
    }
}

/// An error if the number has more than 128 bits. (In `create.rs`, a function of this name is for amounts, with another
/// error.)
fn parse_cycles(name: &str, value: &Nat) -> Result<u128, UserError> {
    value.0.to_u128().ok_or_else(|| invalid_settings(format!("{name} {value} is too large")))
}

fn invalid_settings(message: String) -> UserError {
    UserError::new(ErrorCode::InvalidManagementPayload, message)
}

/// Returns the number; an error if it is larger than `max`.
fn parse_bounded(name: &str, value: &Nat, max: u64) -> Result<u64, UserError> {
    value.0.to_u64().filter(|number| *number <= max).ok_or_else(|| {
        invalid_settings(format!("{name} expected to be in the range of [0..{max}], got {value}"))
    })
}

fn check_environment(variables: &[EnvironmentVariable]) -> Result<(), UserError> {
    if variables.len() > MAX_ENVIRONMENT_VARIABLES {
        return Err(invalid_settings(format!(
            "Too many environment variables: {} (max: {MAX_ENVIRONMENT_VARIABLES})",
            variables.len()
        )));
    }
    for variable in variables {
        for (what, text) in [("name", &variable.name), ("value", &variable.value)] {
            if text.len() > MAX_ENVIRONMENT_VARIABLE_BYTES {
                return Err(invalid_settings(format!(
                    "Environment variable {what} of {} bytes exceeds the maximum of {MAX_ENVIRONMENT_VARIABLE_BYTES}",
                    text.len()
                )));
            }
        }
    }
    let mut names: Vec<&String> = variables.iter().map(|variable| &variable.name).collect();
    names.sort();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(invalid_settings(format!("Duplicate environment variable name {:?}", pair[0])));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(n: u8) -> Principal {
        Principal::from_slice(&[n])
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let settings = Settings::new(user(1));
        let new = settings
            .with(CanisterSettings { freezing_threshold: Some(5u8.into()), ..CanisterSettings::default() })
            .unwrap();
        assert_eq!(new.freezing_threshold, 5);
        assert_eq!(Settings { freezing_threshold: DEFAULT_FREEZING_THRESHOLD, ..new }, settings);
    }

    #[test]
    fn values_out_of_range_are_named() {
        let settings = Settings::new(user(1));
        for (change, part) in [
            (
                CanisterSettings {
                    controllers: Some((0..11).map(user).collect()),
                    ..CanisterSettings::default()
                },
                "maximum allowed 10",
            ),
            (
                CanisterSettings { compute_allocation: Some(101u8.into()), ..CanisterSettings::default() },
                "compute_allocation",
            ),
            (
                CanisterSettings {
                    log_memory_limit: Some((MAX_LOG_BYTES + 1).into()),
                    ..CanisterSettings::default()
                },
                "log_memory_limit",
            ),
            (
                CanisterSettings {
                    environment_variables: Some(vec![EnvironmentVariable::default(); 2]),
                    ..CanisterSettings::default()
                },
                "Duplicate",
            ),
            (
                CanisterSettings {
                    status_visibility: Some(StatusVisibility::AllowedViewers((0..11).map(user).collect())),
                    ..CanisterSettings::default()
                },
                "viewers in status_visibility exceeds maximum allowed 10: got 11",
            ),
        ] {
            let error = settings.with(change).unwrap_err();
            assert!(error.message.contains(part), "{}", error.message);
        }
    }

    #[test]
    fn environment_variables_are_limited_in_number_and_length() {
        let check = |count: usize, bytes: usize| {
            let variables = (0..count)
                .map(|n| EnvironmentVariable { name: format!("{n:0bytes$}"), value: "x".repeat(bytes) });
            check_environment(&variables.collect::<Vec<_>>()).map_err(|error| error.message)
        };
        assert_eq!(check(MAX_ENVIRONMENT_VARIABLES, MAX_ENVIRONMENT_VARIABLE_BYTES), Ok(()));
        let many = check(MAX_ENVIRONMENT_VARIABLES + 1, 3).unwrap_err();
        assert!(many.starts_with("Too many environment variables"), "{many}");
        let long = check(1, MAX_ENVIRONMENT_VARIABLE_BYTES + 1).unwrap_err();
        assert!(long.contains("exceeds the maximum"), "{long}");
    }

    /// The pairs are sorted by their hashes, not by the names.
    #[test]
    fn the_environment_hash_is_that_of_a_map() {
        let mut settings = Settings::new(user(1));
        settings.environment_variables =
            ["a", "b", "c"].map(|name| EnvironmentVariable { name: name.into(), value: "v".into() }).to_vec();
        assert_eq!(
            hex::encode(settings.environment_hash()),
            "50dea6e849b0888e8f25abb461aae54f80f200bd679da1478e39535c59361ae3"
        );
    }

    #[test]
    fn viewers_are_the_controllers_and_the_listed_ones() {
        let mut settings = Settings::new(user(1));
        assert!(settings.may_read_logs(user(1)) && !settings.may_read_logs(user(2)));
        settings.log_visibility = LogVisibility::AllowedViewers(vec![user(2)]);
        assert!(settings.may_read_logs(user(2)) && !settings.may_read_logs(user(3)));
        settings.log_visibility = LogVisibility::Public;
        assert!(settings.may_read_logs(user(3)));
        assert!(settings.may_read_snapshots(user(1)) && !settings.may_read_snapshots(user(3)));
        settings.status_visibility = StatusVisibility::AllowedViewers(vec![user(2)]);
        assert!(settings.may_read_status(user(1)) && settings.may_read_status(user(2)));
        assert!(!settings.may_read_status(user(3)));
    }

    #[test]
    fn values_at_the_end_of_their_range_are_set() {
        let users: Vec<_> = (0..10).map(user).collect();
        let change = CanisterSettings {
            controllers: Some(users.clone()),
            compute_allocation: Some(100u8.into()),
            memory_allocation: Some((1u64 << 48).into()),
            log_memory_limit: Some(MAX_LOG_BYTES.into()),
            log_visibility: Some(LogVisibility::AllowedViewers(users.clone())),
            ..CanisterSettings::default()
        };
        let new = Settings::new(user(1)).with(change).unwrap();
        assert_eq!((new.controllers.len(), new.log_visibility), (10, LogVisibility::AllowedViewers(users)));
        assert_eq!((new.compute_allocation, new.memory_allocation), (100, 1 << 48));
        assert_eq!(new.log_memory_limit, MAX_LOG_BYTES);
        let change =
            CanisterSettings { memory_allocation: Some(((1u64 << 48) + 1).into()), ..Default::default() };
        let error = Settings::new(user(1)).with(change).unwrap_err();
        assert!(error.message.contains("[0..281474976710656]"), "{}", error.message);
    }

    #[test]
    fn the_environment_has_names_and_values() {
        let mut settings = Settings::new(user(1));
        let variable = EnvironmentVariable { name: "name".into(), value: "value".into() };
        settings.environment_variables = vec![variable];
        assert_eq!(settings.environment(), [("name".to_owned(), "value".to_owned())]);
    }
}
