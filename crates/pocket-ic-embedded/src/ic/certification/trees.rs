//! The data of the certifier: the state trees of an instance's subnets, and the root subnet's delegations. How
//! certificates are made of them is in `certifier.rs`.

use super::state_tree::StateTree;
use crate::ic::calls::MessageId;
use candid::Principal;
use ic_certification::Delegation;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where in the state tree a delegation lists the canister ids of its subnet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RangesForm {
    /// In one list for the subnet, as in the older endpoints.
    OneList,
    /// In shards, as in the newer endpoints.
    Sharded,
    /// In both forms: for the certificates that canisters read, which belong to no endpoint.
    Both,
}

/// Identifies the state of the instance that a tree shows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Moment {
    /// Number of rounds that the instance has executed.
    pub(super) rounds: u64,
    pub(super) time_nanos: u64,
}

/// The state trees that have been requested so far, by subnet, and the root subnet's delegations.
#[derive(Default)]
pub struct Certifier {
    /// With each tree, the state that it shows.
    pub(super) trees: BTreeMap<Principal, (Moment, StateTree)>,
    /// With each delegation, the time at which it was made, nanoseconds since 1970.
    pub(super) delegations: BTreeMap<(Principal, RangesForm), (u64, Arc<Delegation>)>,
    /// Requests whose status in the tree of their subnet is out of date.
    pub(super) changed_requests: BTreeMap<Principal, BTreeSet<MessageId>>,
}

impl Certifier {
    /// Records that the status of a request has changed, so that the next certificate shows it.
    pub fn request_changed(&mut self, subnet: Principal, id: MessageId) {
        self.changed_requests.entry(subnet).or_default().insert(id);
    }
}
