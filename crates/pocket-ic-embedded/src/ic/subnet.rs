//! The subnets of an instance: their ids, their ranges of canister ids, and the topology that clients read.
//!
//! If the mainnet has exactly one subnet of a kind, a subnet of that kind owns the same canister ids here. In addition,
//! every subnet owns one range from which new ids are allocated.

use super::certification::SubnetKeys;
use super::error::OpError;
use candid::Principal;
use pocket_ic::common::rest::{
    CanisterCyclesCostSchedule, CanisterIdRange, ExtendedSubnetConfigSet, SubnetConfig,
    SubnetInstructionConfig, SubnetKind, SubnetSpec, Topology,
};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Number of canister ids in the range from which a subnet allocates; the mainnet's ranges have other lengths.
const RANGE_LEN: u64 = 1 << 20;

/// Instructions per round of one thread of an application subnet.
pub const THREAD_INSTRUCTIONS: u64 = 7_000_000_000;

/// Returns the ranges of canister ids that the mainnet's subnet of this kind owns, each as its first and last id; empty
/// for kinds without such a subnet. `None` for a kind whose ids are not known here.
fn mainnet_ranges(kind: SubnetKind) -> Option<&'static [(&'static str, &'static str)]> {
    Some(match kind {
        SubnetKind::NNS => &[
            ("rwlgt-iiaaa-aaaaa-aaaaa-cai", "renrk-eyaaa-aaaaa-aaada-cai"),
            ("qoctq-giaaa-aaaaa-aaaea-cai", "n5n4y-3aaaa-aaaaa-p777q-cai"),
        ],
        SubnetKind::II => &[
            ("rdmx6-jaaaa-aaaaa-aaadq-cai", "rdmx6-jaaaa-aaaaa-aaadq-cai"),
            ("uc7f6-kaaaa-aaaaq-qaaaa-cai", "ijz7v-ziaaa-aaaaq-7777q-cai"),
        ],
        SubnetKind::SNS => &[("ybpmr-kqaaa-aaaaq-aaaaa-cai", "ekjw2-zyaaa-aaaaq-p777q-cai")],
        SubnetKind::Bitcoin => &[("g3wsl-eqaaa-aaaan-aaaaa-cai", "2qqia-xyaaa-aaaan-p777q-cai")],
        SubnetKind::Fiduciary => &[("mf7xa-laaaa-aaaar-qaaaa-cai", "qoznl-yiaaa-aaaar-7777q-cai")],
        SubnetKind::Application
        | SubnetKind::CloudEngine
        | SubnetKind::System
        | SubnetKind::VerifiedApplication => &[],
        SubnetKind::TestThresholdKeys => return None,
    })
}

/// One subnet and the canister ids that it allocates.
#[derive(Clone, Debug)]
pub struct Subnet {
    /// The subnet's id: the self-authenticating principal of its public key.
    pub id: Principal,
    pub keys: &'static SubnetKeys,
    /// The public key of the instance's root subnet, DER.
    pub root_key: &'static [u8],
    /// Number of messages that the subnet has executed, without queries, hooks, timers and heartbeats.
    pub transactions: u64,
    pub kind: SubnetKind,
    /// Production limits, or the very high ones for benchmarks.
    pub instruction_config: SubnetInstructionConfig,
    /// Whether the client requested free cycles. Even without, this server charges nothing, but a canister with an
    /// empty balance is frozen.
    pub cost_schedule: CanisterCyclesCostSchedule,
    /// The seed that the topology shows; nothing is derived from it.
    seed: [u8; 32],
    /// First and last canister number (see [`canister_id`]) of each range that the mainnet's subnet of this kind owns.
    mainnet_number_ranges: Vec<(u64, u64)>,
    /// The first canister number of the range from which new ids are allocated.
    first_number: u64,
    /// The canister number at which the search for the next free id begins.
    next_number: u64,
}

impl Subnet {
    /// Returns the `index`-th subnet of an instance; an error if the canister ids of its kind are not known.
    fn new(index: usize, kind: SubnetKind, spec: &SubnetSpec) -> Result<Self, OpError> {
        let keys = SubnetKeys::of(index);
        let index = index as u64;
        let unknown = || OpError::Unsupported(format!("A subnet of kind {kind:?}"));
        let number = |id: &str| Principal::from_text(id).ok().and_then(canister_number);
        let mainnet_number_ranges = mainnet_ranges(kind)
            .and_then(|ranges| {
                ranges.iter().map(|(first, last)| Some((number(first)?, number(last)?))).collect()
            })
            .ok_or_else(unknown)?;
        let seed: [u8; 32] =
            Sha256::digest([b"embedded subnet ".as_slice(), &index.to_be_bytes()].concat()).into();
        // The first subnet owns the second-highest range of the canister numbers, the next subnet the range below,
        // and so on, as on the official server.
        let first_number = (u64::MAX / RANGE_LEN - 1 - index) * RANGE_LEN;
        Ok(Self {
            id: keys.subnet_id,
            keys,
            // The root subnet is the first one.
            root_key: &SubnetKeys::of(0).public_key,
            transactions: 0,
            kind,
            instruction_config: spec.get_instruction_config(),
            cost_schedule: spec.get_cost_schedule(),
            seed,
            mainnet_number_ranges,
            first_number,
            next_number: first_number,
        })
    }

    /// Returns whether this is a system subnet: by its kind, or because the mainnet's subnet of this kind is one.
    fn is_system(&self) -> bool {
        [SubnetKind::System, SubnetKind::NNS, SubnetKind::II, SubnetKind::Bitcoin].contains(&self.kind)
    }

    /// Returns whether canisters pay nothing here: on system subnets, and if the client requested free cycles.
    pub fn has_free_cycles(&self) -> bool {
        self.is_system() || self.cost_schedule == CanisterCyclesCostSchedule::Free
    }

    /// Returns the instructions that one canister may use in a round: the IC's limit for one thread of a
    /// subnet, since a canister runs on a single thread.
    pub fn round_instructions(&self) -> u64 {
        match self.instruction_config {
            SubnetInstructionConfig::Production if self.is_system() => 52_000_000_000,
            SubnetInstructionConfig::Production => THREAD_INSTRUCTIONS,
            // The subnet's messages may use any number of instructions, and so may a round.
            SubnetInstructionConfig::Benchmarking => u64::MAX,
        }
    }

    /// Returns the first and last canister number of each range.
    fn number_ranges(&self) -> impl Iterator<Item = (u64, u64)> {
        self.mainnet_number_ranges
            .iter()
            .copied()
            .chain([(self.first_number, self.first_number + (RANGE_LEN - 1))])
    }

    /// Returns the first and last of each range of canister ids, in the order of their bytes.
    pub fn canister_ranges(&self) -> Vec<(Principal, Principal)> {
        let mut ranges: Vec<_> =
            self.number_ranges().map(|(first, last)| (canister_id(first), canister_id(last))).collect();
        ranges.sort();
        ranges
    }

    /// Returns the name of the subnet's kind in certificates.
    pub fn type_text(&self) -> &'static str {
        match self.kind {
            SubnetKind::VerifiedApplication => "verified_application",
            SubnetKind::CloudEngine => "cloud_engine",
            _ if self.is_system() => "system",
            _ => "application",
        }
    }

    pub fn first_canister_id(&self) -> Principal {
        canister_id(self.first_number)
    }

    /// Returns whether the subnet is responsible for this canister id.
    pub fn owns(&self, id: Principal) -> bool {
        canister_number(id)
            .is_some_and(|n| self.number_ranges().any(|(first, last)| (first..=last).contains(&n)))
    }

    /// Returns the next free id; `None` if the range is used up. `is_taken` says whether an id is already in use,
    /// because a client has specified it for a canister.
    pub fn allocate(&mut self, is_taken: impl Fn(Principal) -> bool) -> Option<Principal> {
        while self.next_number - self.first_number < RANGE_LEN {
            let id = canister_id(self.next_number);
            self.next_number += 1;
            if !is_taken(id) {
                return Some(id);
            }
        }
        None
    }

    fn config(&self) -> SubnetConfig {
        SubnetConfig {
            subnet_kind: self.kind,
            subnet_admins: None,
            cost_schedule: self.cost_schedule,
            subnet_seed: self.seed,
            instruction_config: self.instruction_config.clone(),
            canister_ranges: self
                .number_ranges()
                .map(|(first, last)| CanisterIdRange {
                    start: canister_id(first).into(),
                    end: canister_id(last).into(),
                })
                .collect(),
        }
    }
}

/// Returns the principal of a canister number: the number in big endian, then two bytes that mark a canister
/// id.
fn canister_id(number: u64) -> Principal {
    let mut bytes = [1u8; 10];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    Principal::from_slice(&bytes)
}

/// Returns the inverse of [`canister_id`]; `None` for principals that are not canister ids.
fn canister_number(id: Principal) -> Option<u64> {
    let bytes: [u8; 10] = id.as_slice().try_into().ok()?;
    let (number, mark) = bytes.split_first_chunk::<8>()?;
    (mark == [1, 1]).then(|| u64::from_be_bytes(*number))
}

/// Creates the subnets that a configuration requests.
pub fn build(config: &ExtendedSubnetConfigSet) -> Result<Vec<Subnet>, OpError> {
    let single = [
        (SubnetKind::NNS, &config.nns),
        (SubnetKind::SNS, &config.sns),
        (SubnetKind::II, &config.ii),
        (SubnetKind::Fiduciary, &config.fiduciary),
        (SubnetKind::Bitcoin, &config.bitcoin),
        (SubnetKind::TestThresholdKeys, &config.test_threshold_keys),
    ];
    let multiple = [
        (SubnetKind::System, &config.system),
        (SubnetKind::Application, &config.application),
        (SubnetKind::CloudEngine, &config.cloud_engine),
        (SubnetKind::VerifiedApplication, &config.verified_application),
    ];
    let requested: Vec<(SubnetKind, &SubnetSpec)> = single
        .into_iter()
        .flat_map(|(kind, spec)| spec.iter().map(move |spec| (kind, spec)))
        .chain(multiple.into_iter().flat_map(|(kind, specs)| specs.iter().map(move |spec| (kind, spec))))
        .collect();
    if requested.is_empty() {
        return Err(OpError::Other("SubnetConfigSet must contain at least one subnet".into()));
    }
    config.validate().map_err(OpError::Other)?;
    (0..)
        .zip(requested)
        .map(|(index, (kind, spec))| {
            if spec.get_state_path().is_some() || !spec.is_supported() {
                return Err(OpError::Unsupported("A subnet with existing state".into()));
            }
            if spec.get_subnet_admins().is_some_and(|admins| !admins.is_empty()) {
                return Err(OpError::Unsupported("A subnet with admins".into()));
            }
            Subnet::new(index, kind, spec)
        })
        .collect()
}

/// Returns the subnet on which canisters are created by calls that specify none.
pub fn default_subnet(subnets: &[Subnet]) -> Option<&Subnet> {
    [SubnetKind::Application, SubnetKind::VerifiedApplication, SubnetKind::System]
        .into_iter()
        .find_map(|kind| subnets.iter().find(|subnet| subnet.kind == kind))
        .or_else(|| subnets.first())
}

/// Returns the subnet whose key is the root key: the NNS, which is created before all others, or else the
/// first one.
pub fn root(subnets: &[Subnet]) -> Option<&Subnet> {
    subnets.first()
}

/// Returns what clients read about the subnets; `None` without any subnet.
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
    fn a_range_is_issued_to_its_last_id() {
        let mut subnet = build(&config(1, 0)).unwrap().remove(0);
        subnet.next_number = subnet.first_number + (RANGE_LEN - 1);
        let last = subnet.allocate(|_| false).unwrap();
        assert_eq!(subnet.canister_ranges().last().unwrap().1, last);
        assert_eq!(subnet.allocate(|_| false), None);
    }

    /// The expected limits are taken from the IC's documentation of its resource limits.
    #[test]
    fn a_round_has_more_instructions_on_a_system_subnet() {
        let subnets = build(&config(1, 1)).unwrap();
        let instructions_on =
            |kind| subnets.iter().find(|subnet| subnet.kind == kind).unwrap().round_instructions();
        assert_eq!(instructions_on(SubnetKind::Application), 7_000_000_000);
        assert_eq!(instructions_on(SubnetKind::System), 52_000_000_000);
    }

    #[test]
    fn certificates_name_the_kind_of_a_subnet() {
        let free = SubnetSpec::default().with_cost_schedule(CanisterCyclesCostSchedule::Free);
        let named = SubnetConfigSet {
            nns: true,
            ii: true,
            sns: true,
            system: 1,
            application: 1,
            ..Default::default()
        };
        let set = ExtendedSubnetConfigSet {
            verified_application: vec![SubnetSpec::default()],
            cloud_engine: vec![free],
            ..named.into()
        };
        for subnet in build(&set).unwrap() {
            let expected = match subnet.kind {
                SubnetKind::NNS | SubnetKind::II | SubnetKind::System => "system",
                SubnetKind::VerifiedApplication => "verified_application",
                SubnetKind::CloudEngine => "cloud_engine",
                _ => "application",
            };
            assert_eq!(subnet.type_text(), expected, "{:?}", subnet.kind);
        }
    }

    #[test]
    fn a_subnet_with_a_state_is_refused() {
        let mut set = config(1, 0);
        set.application = vec![SubnetSpec::default().with_state_dir("state".into())];
        let error = build(&set).map(drop).unwrap_err().to_string();
        assert_eq!(error, "A subnet with existing state is not supported by the embedded server");
    }

    #[test]
    fn the_default_is_the_first_application_subnet() {
        let subnets = build(&config(1, 1)).unwrap();
        assert_eq!(default_subnet(&subnets).unwrap().kind, SubnetKind::Application);
    }

    #[test]
    fn named_subnets_own_the_ids_of_the_mainnet_and_issue_others() {
        let set = SubnetConfigSet { nns: true, ii: true, application: 1, ..SubnetConfigSet::default() };
        let mut subnets = build(&set.into()).unwrap();
        let owner = |subnets: &[Subnet], id: &str| {
            let id = Principal::from_text(id).unwrap();
            subnets.iter().position(|subnet| subnet.owns(id))
        };
        for (id, kind) in [
            ("rwlgt-iiaaa-aaaaa-aaaaa-cai", Some(SubnetKind::NNS)),
            ("rdmx6-jaaaa-aaaaa-aaadq-cai", Some(SubnetKind::II)),
            ("qoctq-giaaa-aaaaa-aaaea-cai", Some(SubnetKind::NNS)),
            ("g3wsl-eqaaa-aaaan-aaaaa-cai", None),
        ] {
            assert_eq!(owner(&subnets, id).map(|index| subnets[index].kind), kind, "{id}");
        }
        let first = subnets[0].allocate(|_| false).unwrap().to_text();
        assert_eq!(first, "lxzze-o7777-77777-aaaaa-cai");
        assert_eq!(owner(&subnets, &first), Some(0));
        assert!(subnets[0].has_free_cycles());
        assert_eq!(default_subnet(&subnets).unwrap().kind, SubnetKind::Application);
    }

    #[test]
    fn the_seven_ranges_of_the_mainnet_do_not_overlap() {
        let all = SubnetConfigSet {
            nns: true,
            sns: true,
            ii: true,
            fiduciary: true,
            bitcoin: true,
            ..SubnetConfigSet::default()
        };
        let ranges: Vec<(u64, u64)> = build(&all.into())
            .unwrap()
            .iter()
            .flat_map(|subnet| subnet.mainnet_number_ranges.clone())
            .collect();
        assert_eq!(ranges.len(), 7);
        for (index, (first, last)) in ranges.iter().enumerate() {
            assert!(first <= last, "range {index} ends before it starts");
            let others = ranges.iter().enumerate().filter(|(other, _)| *other != index);
            assert!(
                others.into_iter().all(|(_, (start, end))| end < first || last < start),
                "range {index} overlaps another"
            );
        }
    }

    #[test]
    fn empty_sets_and_subnets_with_unknown_ids_are_refused() {
        let error = build(&config(0, 0)).unwrap_err().to_string();
        assert!(error.contains("SubnetConfigSet must contain at least one subnet"));
        let named = SubnetConfigSet { test_threshold_keys: true, ..SubnetConfigSet::default() };
        let error = build(&named.into()).unwrap_err().to_string();
        assert!(error.contains("TestThresholdKeys is not supported by the embedded server"), "{error}");
    }

    #[test]
    fn subnet_admins_are_refused_and_not_ignored() {
        let with = |admins: Vec<Principal>| {
            let mut set = config(1, 0);
            let spec = SubnetSpec::default().with_cost_schedule(CanisterCyclesCostSchedule::Free);
            set.application = vec![spec.with_subnet_admins(admins)];
            build(&set).map(drop)
        };
        let error = with(vec![Principal::anonymous()]).unwrap_err().to_string();
        assert_eq!(error, "A subnet with admins is not supported by the embedded server");
        with(vec![]).unwrap();
    }
}
