//! An instance: subnets, canisters, time, and the operations of clients.
//!
//! This file has the reads and the simple writes. Ingress is in `ingress.rs`, rounds in `round.rs`, messages in
//! `execute.rs`, queries in `query.rs`, the management canister in `management/`.

use super::calls::{CallIds, Origin};
use super::canister::Canister;
use super::certification::Certifier;
use super::clock::{Clock, GENESIS_NANOS};
use super::error::OpError;
use super::ingress_history::IngressHistory;
use super::queued_message::QueuedMessage;
use super::request_table::Requests;
use super::subnet::{self, Subnet};
use crate::MessageCost;
use crate::engine::{Engine, MAX_STABLE_BYTES, StableMemory};
use candid::Principal;
use pocket_ic::common::rest::{
    AutoProgressConfig, IcpConfig, IcpConfigFlag, IcpFeatures, InitialTime, InstanceConfig, SubnetId,
    Topology,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// The largest stable memory that is returned at once: several times its size is needed for the response.
const MAX_WHOLE_STABLE_BYTES: u64 = 1 << 30;

/// One Internet Computer: a PocketIC instance (not an instance of a wasm module).
pub struct Instance {
    pub(super) engine: Engine,
    pub(super) subnets: Vec<Subnet>,
    pub(super) clock: Clock,
    pub(super) canisters: BTreeMap<Principal, Canister>,
    pub(super) ingress: IngressHistory,
    /// Number of messages submitted by PocketIC clients; makes their ids unique.
    pub(super) submitted_count: u64,
    pub(super) queue: VecDeque<QueuedMessage>,
    pub(super) call_ids: CallIds,
    /// Who is waiting for the next round's randomness, and the cycles to refund.
    pub(super) raw_rand_calls: Vec<(Origin, u128)>,
    pub(super) random_draws: u64,
    pub(super) print_logs: bool,
    /// Number of rounds executed so far.
    pub(super) rounds: u64,
    pub(super) certifier: Certifier,
    pub(super) requests: Requests,
    /// See [`Self::checks_envelopes`].
    checks_envelopes: bool,
}

/// A new instance, and what its configuration says about the passing of time.
pub struct Created {
    pub instance: Instance,
    /// How time advances automatically; `None` if it does not.
    pub auto_progress: Option<AutoProgressConfig>,
}

impl Instance {
    /// Creates an instance from a client's configuration. With `print_logs`, canister logs also go to stderr.
    pub fn create(engine: Engine, config: &InstanceConfig, print_logs: bool) -> Result<Created, OpError> {
        check_supported(config)?;
        let subnets = subnet::build(&config.subnet_config_set)?;
        let (initial, auto_progress) = match &config.initial_time {
            None => (GENESIS_NANOS, None),
            Some(InitialTime::AutoProgress(auto)) => (GENESIS_NANOS, Some(auto.clone())),
            Some(InitialTime::Timestamp(time)) => (time.nanos_since_epoch, None),
        };
        if initial < GENESIS_NANOS {
            return Err(OpError::Other(format!(
                "The initial timestamp (unix timestamp in nanoseconds) must be no earlier than {GENESIS_NANOS} (provided {initial})."
            )));
        }
        Ok(Created {
            instance: Self {
                engine: engine_for(engine, config.icp_config.as_ref()),
                subnets,
                clock: Clock::new(initial),
                canisters: BTreeMap::new(),
                ingress: IngressHistory::default(),
                submitted_count: 0,
                queue: VecDeque::new(),
                call_ids: CallIds::default(),
                raw_rand_calls: Vec::new(),
                random_draws: 0,
                print_logs,
                rounds: 0,
                certifier: Certifier::default(),
                requests: Requests::default(),
                checks_envelopes: config.disable_ingress_validation != Some(true),
            },
            auto_progress,
        })
    }

    /// Returns the subnets as clients see them.
    pub fn topology(&self) -> Result<Topology, OpError> {
        subnet::topology(&self.subnets).ok_or_else(|| OpError::Other("The instance has no subnet.".into()))
    }

    /// Returns the public key of a subnet, DER.
    pub fn public_key(&self, subnet: Principal) -> Result<&'static [u8], OpError> {
        Ok(&self.subnet(subnet)?.keys.public_key)
    }

    /// Returns the public key that certificates are verified with, DER.
    pub fn root_key(&self) -> &'static [u8] {
        subnet::root(&self.subnets).map_or(&[], |subnet| &subnet.keys.public_key)
    }

    /// Returns whether agents must sign their requests and send them in time.
    pub fn checks_envelopes(&self) -> bool {
        self.checks_envelopes
    }

    /// Returns the current time, nanoseconds since 1970.
    pub fn time(&self) -> u64 {
        self.clock.now()
    }

    /// Sets the current time; queries see this time after the next round.
    pub fn set_time(&mut self, nanos: u64) -> Result<(), OpError> {
        self.clock.set(nanos)
    }

    /// Sets the current time; queries see this time immediately.
    pub fn set_certified_time(&mut self, nanos: u64) -> Result<(), OpError> {
        self.clock.set_certified(nanos)
    }

    /// Lets `elapsed` pass and runs a round.
    pub fn advance(&mut self, elapsed: Duration) {
        let nanos = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        // Advancing the time never fails.
        let _ = self.clock.set(self.clock.now().saturating_add(nanos));
        self.round();
    }

    /// Returns the subnet of a canister; `None` if the canister does not exist.
    pub fn subnet_of_canister(&self, id: Principal) -> Option<SubnetId> {
        self.canisters.get(&id).map(|canister| canister.subnet)
    }

    /// Returns the subnet that is responsible for a canister id, whether or not the canister exists.
    pub(super) fn route(&self, id: Principal) -> Result<&Subnet, OpError> {
        self.subnets
            .iter()
            .find(|subnet| subnet.owns(id))
            .ok_or_else(|| OpError::CanisterRouting(format!("Canister {id} does not belong to any subnet.")))
    }

    pub(super) fn subnet(&self, id: Principal) -> Result<&Subnet, OpError> {
        self.subnets.iter().find(|subnet| subnet.id == id).ok_or(OpError::SubnetNotFound(id))
    }

    fn canister(&self, id: Principal) -> Result<&Canister, OpError> {
        self.canisters.get(&id).ok_or(OpError::CanisterNotFound(id))
    }

    fn canister_mut(&mut self, id: Principal) -> Result<&mut Canister, OpError> {
        self.canisters.get_mut(&id).ok_or(OpError::CanisterNotFound(id))
    }

    pub fn cycles(&self, id: Principal) -> Result<u128, OpError> {
        Ok(self.canister(id)?.cycles)
    }

    /// Adds to a canister's balance and returns the new one.
    pub fn add_cycles(&mut self, id: Principal, amount: u128) -> Result<u128, OpError> {
        let canister = self.canister_mut(id)?;
        canister.cycles = canister.cycles.saturating_add(amount);
        Ok(canister.cycles)
    }

    /// Returns a canister's controllers, sorted.
    pub fn controllers(&self, id: Principal) -> Result<Vec<Principal>, OpError> {
        Ok(self.canister(id)?.settings.controllers.clone())
    }

    /// Returns all of a canister's stable memory; an error if it is too large to return at once.
    pub fn stable_memory(&self, id: Principal) -> Result<Vec<u8>, OpError> {
        let state = self.canister(id)?.state.as_ref().ok_or(OpError::CanisterIsEmpty(id))?;
        let bytes = state.stable().size_bytes();
        if bytes > MAX_WHOLE_STABLE_BYTES {
            return Err(OpError::Other(format!(
                "Stable memory of {bytes} bytes is more than can be read at once ({MAX_WHOLE_STABLE_BYTES} bytes): take a snapshot and read it in pieces"
            )));
        }
        Ok(state.stable().to_vec())
    }

    pub fn set_stable_memory(&mut self, id: Principal, memory: StableMemory) -> Result<(), OpError> {
        let Some(state) = &mut self.canister_mut(id)?.state else {
            return Err(OpError::CanisterIsEmpty(id));
        };
        if memory.size_bytes() > MAX_STABLE_BYTES {
            return Err(OpError::Other(format!(
                "Stable memory of {} bytes exceeds the maximum of {MAX_STABLE_BYTES} bytes",
                memory.size_bytes()
            )));
        }
        *state.stable_mut() = memory;
        Ok(())
    }

    /// Sets a limit for the instructions of every message of a canister, in addition to the usual limits; `None`
    /// removes it.
    pub fn cap_instructions(&mut self, id: Principal, cap: Option<u64>) -> Result<(), OpError> {
        self.canister_mut(id)?.instruction_cap = cap;
        Ok(())
    }

    /// Returns those costs of a canister's recent messages whose index is `from` or higher, oldest first.
    pub fn costs(&self, id: Principal, from: u64) -> Result<Vec<MessageCost>, OpError> {
        Ok(self.canister(id)?.costs.iter().filter(|cost| cost.index >= from).cloned().collect())
    }
}

/// Refuses options that only the official server supports, instead of ignoring them. All other options are
/// implemented elsewhere, have only one possible value here (`log_level`: only what canisters print is
/// logged; `incomplete_state`: no state is ever loaded), or request nothing.
fn check_supported(config: &InstanceConfig) -> Result<(), OpError> {
    let rate_limiting =
        config.icp_config.as_ref().and_then(|icp| icp.canister_execution_rate_limiting.as_ref());
    let unsupported = [
        (config.state_dir.is_some(), "A state directory".to_owned()),
        (config.bitcoind_addr.as_ref().is_some_and(|a| !a.is_empty()), "A Bitcoin adapter".to_owned()),
        (config.dogecoind_addr.as_ref().is_some_and(|a| !a.is_empty()), "A Dogecoin adapter".to_owned()),
        (config.mainnet_nns_subnet_id == Some(true), "The mainnet NNS subnet id".to_owned()),
        (rate_limiting == Some(&IcpConfigFlag::Enabled), "Rate limiting of canister execution".to_owned()),
    ];
    let requested_canisters = config.icp_features.as_ref().and_then(system_canisters);
    let requested_option =
        unsupported.into_iter().find(|(is_requested, _)| *is_requested).map(|(_, what)| what);
    match requested_option.or(requested_canisters) {
        Some(what) => Err(OpError::Unsupported(what)),
        None => Ok(()),
    }
}

/// Returns the text for [`OpError::Unsupported`] that names the system canisters whose deployment a client requests;
/// `None` if it requests none.
fn system_canisters(features: &IcpFeatures) -> Option<String> {
    let IcpFeatures {
        registry,
        cycles_minting,
        icp_token,
        cycles_token,
        nns_governance,
        sns,
        ii,
        nns_ui,
        bitcoin,
        dogecoin,
        canister_migration,
    } = features;
    let names: Vec<&str> = [
        (registry, "registry"),
        (cycles_minting, "cycles_minting"),
        (icp_token, "icp_token"),
        (cycles_token, "cycles_token"),
        (nns_governance, "nns_governance"),
        (sns, "sns"),
        (ii, "ii"),
        (nns_ui, "nns_ui"),
        (bitcoin, "bitcoin"),
        (dogecoin, "dogecoin"),
        (canister_migration, "canister_migration"),
    ]
    .into_iter()
    .filter(|(wanted, _)| wanted.is_some())
    .map(|(_, name)| name)
    .collect();
    (!names.is_empty()).then(|| format!("Deploying system canisters (icp_features: {})", names.join(", ")))
}

/// Returns the engine that the client's configuration requests. The beta features concern only HTTP outcalls, which are
/// refused when they are made.
fn engine_for(engine: Engine, icp: Option<&IcpConfig>) -> Engine {
    let IcpConfig { beta_features: _, function_name_length_limits, canister_execution_rate_limiting: _ } =
        icp.cloned().unwrap_or_default();
    match function_name_length_limits {
        Some(IcpConfigFlag::Disabled) => engine.without_method_limits(),
        Some(IcpConfigFlag::Enabled) | None => engine,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocket_ic::common::rest::{IcpFeaturesConfig, IncompleteStateFlag, SubnetConfigSet};

    fn create(config: InstanceConfig) -> Result<Instance, String> {
        let subnet_config_set = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() }.into();
        let config = InstanceConfig { subnet_config_set, ..config };
        let created = Instance::create(Engine::new().unwrap(), &config, false);
        created.map(|created| created.instance).map_err(|error| error.to_string())
    }

    fn create_with(icp_config: IcpConfig) -> Result<Instance, String> {
        create(InstanceConfig { icp_config: Some(icp_config), ..InstanceConfig::default() })
    }

    #[test]
    fn flags_are_implemented_or_refused_by_name() {
        for flag in [IcpConfigFlag::Enabled, IcpConfigFlag::Disabled] {
            create_with(IcpConfig { beta_features: Some(flag.clone()), ..IcpConfig::default() }).unwrap();
            create_with(IcpConfig { function_name_length_limits: Some(flag), ..IcpConfig::default() })
                .unwrap();
        }
        let limited =
            |flag| IcpConfig { canister_execution_rate_limiting: Some(flag), ..IcpConfig::default() };
        create_with(limited(IcpConfigFlag::Disabled)).unwrap();
        assert_eq!(
            create_with(limited(IcpConfigFlag::Enabled)).err().unwrap(),
            "Rate limiting of canister execution is not supported by the embedded server"
        );
        create(InstanceConfig {
            log_level: Some("Debug".into()),
            incomplete_state: Some(IncompleteStateFlag::Enabled),
            disable_ingress_validation: Some(true),
            mainnet_nns_subnet_id: Some(false),
            icp_features: Some(IcpFeatures::default()),
            ..InstanceConfig::default()
        })
        .unwrap();
    }

    #[test]
    fn system_canisters_are_refused_by_name() {
        let features = IcpFeatures {
            registry: Some(IcpFeaturesConfig::DefaultConfig),
            ii: Some(IcpFeaturesConfig::DefaultConfig),
            ..IcpFeatures::default()
        };
        let config = InstanceConfig { icp_features: Some(features), ..InstanceConfig::default() };
        assert_eq!(
            create(config).err().unwrap(),
            "Deploying system canisters (icp_features: registry, ii) is not supported by the embedded server"
        );
    }

    #[test]
    fn limits_on_method_names_can_be_turned_off() {
        let wat = format!(r#"(module (func (export "canister_query {}")))"#, "n".repeat(20_001));
        let wasm = wat::parse_str(wat).unwrap();
        for (flag, accepted) in
            [(None, false), (Some(IcpConfigFlag::Enabled), false), (Some(IcpConfigFlag::Disabled), true)]
        {
            let instance =
                create_with(IcpConfig { function_name_length_limits: flag.clone(), ..IcpConfig::default() })
                    .unwrap();
            assert_eq!(instance.engine.compile(&wasm).is_ok(), accepted, "{flag:?}");
        }
    }
}
