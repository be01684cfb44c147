//! Creates certificates: a part of a state tree, the signature of its root, and, except for the root subnet,
//! the root subnet's delegation. The struct `Certifier`, which keeps trees and delegations, is in `trees.rs`.

use super::state_tree::{Path, RootSignature, StateTree, path_of, to_tagged_cbor};
use super::trees::{Certifier, Moment, RangesForm};
use crate::engine::DataCertificate;
use crate::ic::canister::Canister;
use crate::ic::instance::Instance;
use crate::ic::subnet::{self, Subnet};
use candid::Principal;
use ic_certification::{Certificate, Delegation, HashTree};
use ic_transport_types::SubnetMetrics;
use std::sync::Arc;

/// Age at which a delegation is made again, nanoseconds: far below the 30 days up to which JavaScript agents accept it.
const MAX_DELEGATION_AGE: u64 = 24 * 60 * 60 * 1_000_000_000;

impl Instance {
    /// Returns a certificate of the subnet that reveals these paths and the time.
    pub(in crate::ic) fn certificate(
        &mut self,
        subnet: Principal,
        ranges_form: RangesForm,
        paths: &[Path],
    ) -> Vec<u8> {
        let delegation = self.delegation(subnet, ranges_form);
        let tree = self.state_tree(subnet);
        encode_certificate(tree.witness(paths), &tree.signature(), delegation.as_deref())
    }

    /// Returns the certificate of a canister's certified data. The certificate is signed only if the
    /// canister reads it.
    pub(in crate::ic) fn data_certificate(
        &mut self,
        canister: Principal,
        subnet: Principal,
    ) -> DataCertificate {
        let delegation = self.delegation(subnet, RangesForm::Both);
        let tree = self.state_tree(subnet);
        let path = path_of(&[b"canister", canister.as_slice(), b"certified_data"]);
        let (witness, signature) = (tree.witness(&[path]), tree.signature());
        DataCertificate::new(move || encode_certificate(witness, &signature, delegation.as_deref()))
    }

    /// Returns the root subnet's delegation for the key of another subnet; `None` for the root subnet itself.
    fn delegation(&mut self, subnet: Principal, ranges_form: RangesForm) -> Option<Arc<Delegation>> {
        let root = subnet::root(&self.subnets)?.id;
        if root == subnet {
            return None;
        }
        let now = self.clock.last_round();
        // A delegation from the future is made again, too: agents accept at most five minutes.
        if let Some((made_at, delegation)) = self.certifier.delegations.get(&(subnet, ranges_form))
            && now.checked_sub(*made_at).is_some_and(|age| age < MAX_DELEGATION_AGE)
        {
            return Some(delegation.clone());
        }
        let id = subnet.as_slice();
        let mut paths = vec![path_of(&[b"subnet", id, b"public_key"]), path_of(&[b"subnet", id, b"type"])];
        if ranges_form != RangesForm::Sharded {
            paths.push(path_of(&[b"subnet", id, b"canister_ranges"]));
        }
        if ranges_form != RangesForm::OneList {
            paths.push(path_of(&[b"canister_ranges", id]));
        }
        let certificate = self.certificate(root, ranges_form, &paths);
        let delegation = Arc::new(Delegation { subnet_id: id.to_vec(), certificate });
        self.certifier.delegations.insert((subnet, ranges_form), (now, delegation.clone()));
        Some(delegation)
    }

    /// Returns the state tree of a subnet at the end of the last round.
    fn state_tree(&mut self, id: Principal) -> &StateTree {
        let now = Moment { rounds: self.rounds, time_nanos: self.clock.last_round() };
        // A moment that no instance reaches, so that a new tree is updated.
        let never = Moment { rounds: u64::MAX, time_nanos: 0 };
        let subnet = self.subnets.iter().find(|subnet| subnet.id == id).unwrap_or(&self.subnets[0]);
        let Certifier { trees, changed_requests, .. } = &mut self.certifier;
        let (shown, tree) =
            trees.entry(subnet.id).or_insert_with(|| (never, StateTree::new(subnet, &self.subnets)));
        if *shown != now {
            let changed_ids = changed_requests.remove(&subnet.id).unwrap_or_default();
            let requests = changed_ids.iter().map(|id| (id, self.ingress.get(id)));
            let canisters = || self.canisters.values().filter(|canister| canister.subnet == subnet.id);
            tree.update(now.time_nanos, &subnet_metrics(subnet, canisters()), canisters(), requests);
            *shown = now;
        }
        tree
    }
}

/// Returns the metrics of a subnet with these canisters. Nothing is charged, so only burned cycles are consumed.
fn subnet_metrics<'a>(subnet: &Subnet, canisters: impl Iterator<Item = &'a Canister>) -> SubnetMetrics {
    let mut metrics = SubnetMetrics {
        num_canisters: 0,
        canister_state_bytes: 0,
        consumed_cycles_total: 0,
        update_transactions_total: subnet.transactions,
    };
    for canister in canisters {
        metrics.num_canisters += 1;
        metrics.canister_state_bytes += canister.memory_bytes();
        metrics.consumed_cycles_total = metrics.consumed_cycles_total.saturating_add(canister.cycles_burned);
    }
    metrics
}

fn encode_certificate(tree: HashTree, signature: &RootSignature, delegation: Option<&Delegation>) -> Vec<u8> {
    to_tagged_cbor(&Certificate {
        tree,
        signature: signature.bytes().to_vec(),
        delegation: delegation.cloned(),
    })
}
