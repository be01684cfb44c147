//! The subnets of an instance: their ids, the ranges of canister ids they own, and the topology that clients read.
//!
//! Only subnets without a fixed place on the mainnet are built (application, system, verified application, cloud
//! engine); the named ones would need the mainnet's routing table.

use super::error::OpError;
use candid::Principal;
use pocket_ic::common::rest::{
    CanisterCyclesCostSchedule, CanisterIdRange, ExtendedSubnetConfigSet, RawPrincipalId, SubnetConfig,
    SubnetInstructionConfig, SubnetKind, SubnetSpec, Topology,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// How many canister ids one range holds.
const RANGE_LEN: u64 = 1 << 20;

/// One subnet and the canister ids it hands out.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// Its id: a self-authenticating principal derived from the seed.
    pub id: Principal,
    /// What kind of subnet clients asked for.
    pub kind: SubnetKind,
    /// Production limits, or the very high ones for benchmarks.
    pub instructions: SubnetInstructionConfig,
    /// Principals that may administer every canister of the subnet.
    pub admins: Option<Vec<Principal>>,
    /// Whether the clients asked for free cycles. Cycles are never charged; where they are not free, an empty balance
    /// freezes a canister.
    pub cost_schedule: CanisterCyclesCostSchedule,
    seed: [u8; 32],
    first: u64,
    next: u64,
}

impl Subnet {
    fn new(index: u64, kind: SubnetKind, spec: &SubnetSpec) -> Self {
        let seed: [u8; 32] =
            Sha256::digest([b"embedded subnet ".as_slice(), &index.to_be_bytes()].concat()).into();
        // The k-th subnet owns the k-th range from the top of the u64 ids, as on the official server.
        let first = (u64::MAX / RANGE_LEN - 1 - index) * RANGE_LEN;
        Self {
            id: Principal::self_authenticating(seed),
            kind,
            instructions: spec.get_instruction_config(),
            admins: spec.get_subnet_admins(),
            cost_schedule: spec.get_cost_schedule(),
            seed,
            first,
            next: first,
        }
    }

    /// Whether canisters pay nothing here.
    pub fn is_free(&self) -> bool {
        self.kind == SubnetKind::System || self.cost_schedule == CanisterCyclesCostSchedule::Free
    }

    /// The first id of the range.
    pub fn first_canister_id(&self) -> Principal {
        canister_id(self.first)
    }

    /// Whether the subnet is responsible for this canister id.
    pub fn owns(&self, id: Principal) -> bool {
        canister_number(id).is_some_and(|n| n >= self.first && n - self.first < RANGE_LEN)
    }

    /// The next free id; `None` when the range is used up. `taken` tells of ids that were asked for by number.
    pub fn allocate(&mut self, taken: impl Fn(Principal) -> bool) -> Option<Principal> {
        while self.next - self.first < RANGE_LEN {
            let id = canister_id(self.next);
            self.next += 1;
            if !taken(id) {
                return Some(id);
            }
        }
        None
    }

    fn config(&self) -> SubnetConfig {
        SubnetConfig {
            subnet_kind: self.kind,
            subnet_admins: self
                .admins
                .as_ref()
                .map(|list| list.iter().copied().map(RawPrincipalId::from).collect()),
            cost_schedule: self.cost_schedule,
            subnet_seed: self.seed,
            instruction_config: self.instructions.clone(),
            canister_ranges: vec![CanisterIdRange {
                start: canister_id(self.first).into(),
                end: canister_id(self.first + (RANGE_LEN - 1)).into(),
            }],
        }
    }
}

/// The principal of a canister number: the number in big endian, then two bytes that mark a canister id.
fn canister_id(number: u64) -> Principal {
    let mut bytes = [1u8; 10];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Principal::from_slice(&bytes)
}

/// The inverse of [`canister_id`]; `None` for principals that are no canister ids.
fn canister_number(id: Principal) -> Option<u64> {
    let bytes: [u8; 10] = id.as_slice().try_into().ok()?;
    let (number, mark) = bytes.split_first_chunk::<8>()?;
    (mark == [1, 1]).then(|| u64::from_be_bytes(*number))
}

/// Builds the subnets that a configuration asks for.
///
/// # Errors
/// A message for the client when the configuration is contradictory or asks for what only the official server has.
pub fn build(config: &ExtendedSubnetConfigSet) -> Result<Vec<Subnet>, OpError> {
    let none = config.get_named().is_empty()
        && config.system.is_empty()
        && config.application.is_empty()
        && config.cloud_engine.is_empty()
        && config.verified_application.is_empty();
    if none {
        return Err(OpError::Other("SubnetConfigSet must contain at least one subnet".into()));
    }
    config.validate().map_err(OpError::Other)?;
    if let Some((kind, _, _)) = config.get_named().first() {
        return Err(OpError::Unsupported(format!("A subnet of kind {kind:?}")));
    }
    let wanted = [
        (SubnetKind::System, &config.system),
        (SubnetKind::Application, &config.application),
        (SubnetKind::CloudEngine, &config.cloud_engine),
        (SubnetKind::VerifiedApplication, &config.verified_application),
    ];
    let mut subnets = Vec::new();
    for (kind, specs) in wanted {
        for spec in specs {
            if spec.get_state_path().is_some() || !spec.is_supported() {
                return Err(OpError::Unsupported("A subnet with existing state".into()));
            }
            subnets.push(Subnet::new(subnets.len() as u64, kind, spec));
        }
    }
    Ok(subnets)
}

/// The subnet that takes calls without a stated place.
pub fn default_subnet(subnets: &[Subnet]) -> Option<&Subnet> {
    [SubnetKind::Application, SubnetKind::VerifiedApplication, SubnetKind::System]
        .into_iter()
        .find_map(|kind| subnets.iter().find(|subnet| subnet.kind == kind))
        .or_else(|| subnets.first())
}

/// What clients read about the subnets; `None` without any subnet.
pub fn topology(subnets: &[Subnet]) -> Option<Topology> {
    Some(Topology {
        subnet_configs: subnets.iter().map(|subnet| (subnet.id, subnet.config())).collect::<BTreeMap<_, _>>(),
        default_effective_canister_id: default_subnet(subnets)?.first_canister_id().into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use pocket_ic::common::rest::SubnetConfigSet;

    fn config(application: usize, system: usize) -> ExtendedSubnetConfigSet {
        SubnetConfigSet { application, system, ..SubnetConfigSet::default() }.into()
    }

    #[test]
    fn the_first_ids_are_those_of_the_official_server() {
        let mut subnets = build(&config(2, 0)).unwrap();
        assert_eq!(subnets[0].allocate(|_| false).unwrap().to_text(), "lxzze-o7777-77777-aaaaa-cai");
        assert_eq!(subnets[1].first_canister_id().to_text(), "7tjcv-pp777-77776-qaaaa-cai");
        let topology = topology(&subnets).unwrap();
        let end = &topology.subnet_configs[&subnets[0].id].canister_ranges[0].end;
        assert_eq!(Principal::from_slice(&end.canister_id).to_text(), "x47dp-5x777-77777-p777q-cai");
    }

    #[test]
    fn ids_that_are_taken_are_skipped() {
        let mut subnets = build(&config(1, 0)).unwrap();
        let taken = subnets[0].first_canister_id();
        let id = subnets[0].allocate(|id| id == taken).unwrap();
        assert_ne!(id, taken);
        assert!(subnets[0].owns(id));
        assert!(!subnets[0].owns(Principal::anonymous()));
    }

    #[test]
    fn the_default_is_the_first_application_subnet() {
        let subnets = build(&config(1, 1)).unwrap();
        assert_eq!(default_subnet(&subnets).unwrap().kind, SubnetKind::Application);
    }

    #[test]
    fn no_subnet_and_named_subnets_are_refused() {
        let error = build(&config(0, 0)).unwrap_err().to_string();
        assert!(error.contains("SubnetConfigSet must contain at least one subnet"));
        let named = SubnetConfigSet { nns: true, ..SubnetConfigSet::default() };
        let error = build(&named.into()).unwrap_err().to_string();
        assert!(error.contains("NNS is not supported by the embedded server"));
    }
}
