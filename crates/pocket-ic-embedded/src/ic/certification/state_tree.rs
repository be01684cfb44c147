//! The state tree of one subnet, as in the interface specification.
//!
//! Updates are differences: only what has changed is hashed again.

use super::keys::SubnetKeys;
use crate::cbor::self_described;
use crate::engine::CanisterModule;
use crate::ic::calls::{CallResult, MessageId};
use crate::ic::canister::Canister;
use crate::ic::error::reject_number;
use crate::ic::ingress_record::{IngressRecord, IngressState};
use crate::ic::subnet::Subnet;
use candid::Principal;
use ic_certification::{AsHashTree, Hash, HashTree, NestedTree, leaf, leaf_hash, merge_hash_trees};
use ic_transport_types::SubnetMetrics;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The labels from the root to a node.
pub type Path = Vec<Vec<u8>>;

pub fn path_of(labels: &[&[u8]]) -> Path {
    labels.iter().map(|label| label.to_vec()).collect()
}

macro_rules! path {
    ($($label:expr),+ $(,)?) => { path_of(&[$(AsRef::<[u8]>::as_ref(&$label)),+]) };
}

const REQUEST_STATUS: &[u8] = b"request_status";

/// Returns the path under which the tree has the status of a request.
pub fn request_path(id: &MessageId) -> Path {
    path![REQUEST_STATUS, id]
}

/// A value of the tree, hashed once.
#[derive(Clone)]
struct Leaf {
    bytes: Arc<[u8]>,
    hash: Hash,
}

impl Leaf {
    fn new(bytes: impl Into<Arc<[u8]>>) -> Self {
        let bytes = bytes.into();
        Self { hash: leaf_hash(&bytes), bytes }
    }
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Leaf({} bytes)", self.bytes.len())
    }
}

impl AsHashTree for Leaf {
    fn root_hash(&self) -> Hash {
        self.hash
    }

    fn as_hash_tree(&self) -> HashTree {
        leaf(self.bytes.to_vec())
    }
}

/// The parts of a canister's state that the tree contains.
struct CertifiedState {
    certified_data: Vec<u8>,
    controllers: Vec<Principal>,
    module: Option<Arc<CanisterModule>>,
    installed_at: Option<u64>,
}

impl CertifiedState {
    fn of(canister: &Canister) -> Self {
        Self {
            certified_data: canister.certified_data.clone(),
            controllers: canister.settings.controllers.clone(),
            module: canister.state.as_ref().map(|state| state.module().clone()),
            installed_at: canister.installed_at,
        }
    }

    /// Returns whether the canister still has the same module, or still has none.
    fn has_module_of(&self, canister: &Canister) -> bool {
        match (&self.module, canister.state.as_ref().map(|state| state.module())) {
            (Some(old), Some(new)) => Arc::ptr_eq(old, new),
            (None, None) => true,
            _ => false,
        }
    }

    /// Returns whether nothing that the tree contains has changed.
    fn is_state_of(&self, canister: &Canister) -> bool {
        self.has_module_of(canister)
            && self.certified_data == canister.certified_data
            && self.installed_at == canister.installed_at
            && self.controllers == canister.settings.controllers
    }
}

type Tree = NestedTree<Vec<u8>, Leaf>;

/// The tree of one subnet, and the signature of its root.
pub struct StateTree {
    keys: &'static SubnetKeys,
    tree: Tree,
    /// What the tree contains about each canister, to detect changes.
    canisters: BTreeMap<Principal, CertifiedState>,
    signature: Arc<OnceLock<Vec<u8>>>,
    root_hash: Hash,
}

impl StateTree {
    /// Returns the tree of `tree_subnet`, without canisters; it has the keys and ranges of all `subnets` of the
    /// instance. [`Self::update`] must follow: until then, there is no root hash to sign.
    pub fn new(tree_subnet: &Subnet, subnets: &[Subnet]) -> Self {
        let mut tree = Tree::default();
        for subnet in subnets {
            let (id, keys) = (subnet.id, subnet.keys);
            let ranges = subnet.canister_ranges();
            // All ranges are in one shard, whose label is its first canister id.
            let shard_label = ranges.first().map_or(id, |(first, _)| *first);
            let ranges = Leaf::new(to_tagged_cbor(&ranges));
            for (path, value) in [
                (path!["subnet", id, "public_key"], Leaf::new(keys.public_key.as_slice())),
                (path!["subnet", id, "type"], Leaf::new(subnet.type_text().as_bytes())),
                (
                    path!["subnet", id, "node", keys.node_id, "public_key"],
                    Leaf::new(keys.node_public_key.as_slice()),
                ),
                (path!["subnet", id, "canister_ranges"], ranges.clone()),
                (path!["canister_ranges", id, shard_label], ranges),
            ] {
                tree.insert(&path, value);
            }
        }
        Self {
            keys: tree_subnet.keys,
            tree,
            canisters: BTreeMap::new(),
            signature: Arc::default(),
            root_hash: [0; 32],
        }
    }

    /// Updates the tree to the state of the subnet. `canisters` are all canisters of the subnet, but `requests` only
    /// those whose status has changed; a request without a record is forgotten, and removed from the tree.
    pub fn update<'a>(
        &mut self,
        time_nanos: u64,
        metrics: &SubnetMetrics,
        canisters: impl Iterator<Item = &'a Canister>,
        requests: impl Iterator<Item = (&'a MessageId, Option<&'a IngressRecord>)>,
    ) {
        self.tree.insert(&path!["time"], leb128_leaf(time_nanos));
        let metrics_path = path!["subnet", self.keys.subnet_id, "metrics"];
        self.tree.insert(&metrics_path, Leaf::new(serde_cbor::to_vec(metrics).unwrap_or_default()));
        let mut previous = std::mem::take(&mut self.canisters);
        for canister in canisters {
            let state = match previous.remove(&canister.id) {
                Some(state) if state.is_state_of(canister) => state,
                outdated => {
                    if !outdated.is_some_and(|state| state.has_module_of(canister)) {
                        self.put_module(canister);
                    }
                    self.put_state(canister);
                    CertifiedState::of(canister)
                }
            };
            self.canisters.insert(canister.id, state);
        }
        for id in previous.keys() {
            self.tree.delete(&path!["canister", id]);
        }
        self.put_requests(requests);
        self.root_hash = self.tree.root_hash();
        self.signature = Arc::default();
    }

    /// Replaces everything about the canister by its module; [`Self::put_state`] must follow.
    fn put_module(&mut self, canister: &Canister) {
        let id = canister.id;
        self.tree.delete(&path!["canister", id]);
        let Some(state) = &canister.state else {
            return;
        };
        let mut put = |path: Path, value: Leaf| self.tree.insert(&path, value);
        put(path!["canister", id, "module_hash"], Leaf::new(state.module().module_hash().as_slice()));
        for (name, section) in state.module().custom_sections() {
            put(path!["canister", id, "metadata", name], Leaf::new(section.data.as_slice()));
        }
    }

    /// Updates the values that can change without a new module. A time of installation never has to be deleted here: it
    /// disappears only together with the module.
    fn put_state(&mut self, canister: &Canister) {
        let id = canister.id;
        let mut put = |path: Path, value: Leaf| self.tree.insert(&path, value);
        let controllers = &canister.settings.controllers;
        put(path!["canister", id, "certified_data"], Leaf::new(canister.certified_data.as_slice()));
        put(path!["canister", id, "controllers"], Leaf::new(to_tagged_cbor(controllers)));
        put(path!["canister", id, "canister_creation_timestamp"], leb128_leaf(canister.created_at));
        if let Some(time) = canister.installed_at {
            put(path!["canister", id, "last_install_timestamp"], leb128_leaf(time));
        }
    }

    /// Replaces the statuses of these requests. The path from `request_status` to the root is hashed once for all of
    /// them.
    fn put_requests<'a>(
        &mut self,
        requests: impl Iterator<Item = (&'a MessageId, Option<&'a IngressRecord>)>,
    ) {
        let NestedTree::Nested(root) = &mut self.tree else {
            return;
        };
        if root.get(REQUEST_STATUS).is_none() {
            root.insert(REQUEST_STATUS.to_vec(), NestedTree::default());
        }
        let mut is_empty = false;
        root.modify(REQUEST_STATUS, |statuses| {
            let NestedTree::Nested(statuses) = statuses else {
                return;
            };
            for (id, record) in requests {
                match record {
                    Some(record) => statuses.insert(id.to_vec(), status_tree(record)),
                    None => statuses.delete(id),
                }
            }
            is_empty = statuses.is_empty();
        });
        if is_empty {
            root.delete(REQUEST_STATUS);
        }
    }

    /// Returns the part of the tree that proves these paths (the presence of each with everything below it, or its
    /// absence) and the time.
    pub fn witness(&self, paths: &[Path]) -> HashTree {
        let time = self.tree.witness(&path!["time"]);
        paths.iter().fold(time, |witness, path| merge_hash_trees(witness, self.tree.witness(path)))
    }

    pub fn signature(&self) -> RootSignature {
        RootSignature { keys: self.keys, root_hash: self.root_hash, signature: self.signature.clone() }
    }
}

/// The signature of a root hash, created once and only on demand.
#[derive(Clone)]
pub struct RootSignature {
    keys: &'static SubnetKeys,
    root_hash: Hash,
    signature: Arc<OnceLock<Vec<u8>>>,
}

impl RootSignature {
    pub fn bytes(&self) -> &[u8] {
        self.signature.get_or_init(|| self.keys.sign_root(&self.root_hash))
    }
}

fn status_tree(record: &IngressRecord) -> Tree {
    let status = match &record.state {
        IngressState::Received(_) => "received",
        IngressState::Processing => "processing",
        IngressState::Answered(Ok(_)) => "replied",
        IngressState::Answered(Err(_)) => "rejected",
        IngressState::Done => "done",
    };
    let mut leaves = vec![("status", Leaf::new(status.as_bytes()))];
    match record.answer() {
        None => {}
        Some(CallResult::Ok(reply)) => leaves.push(("reply", Leaf::new(reply.as_slice()))),
        Some(CallResult::Err(error)) => leaves.extend([
            ("reject_code", leb128_leaf(reject_number(error.reject_code()).into())),
            ("reject_message", Leaf::new(error.message.as_bytes())),
            ("error_code", Leaf::new(error.code_text().as_bytes())),
        ]),
    }
    let leaves = leaves.into_iter().map(|(label, leaf)| (label.as_bytes().to_vec(), NestedTree::Leaf(leaf)));
    NestedTree::Nested(leaves.collect())
}

/// Returns a leaf with this number in unsigned LEB128.
fn leb128_leaf(mut number: u64) -> Leaf {
    let mut bytes = Vec::new();
    while number > 0x7f {
        bytes.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
    Leaf::new(bytes)
}

/// Encodes a value in CBOR, beginning with the tag of self-described CBOR.
pub fn to_tagged_cbor(value: &impl Serialize) -> Vec<u8> {
    // Writing to memory fails only for values that CBOR cannot represent; there are none here.
    self_described(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ic::subnet;
    use pocket_ic::common::rest::SubnetConfigSet;

    #[test]
    fn numbers_are_unsigned_leb128() {
        for (number, bytes) in [(0, "00"), (127, "7f"), (128, "8001"), (624_485, "e58e26")] {
            assert_eq!(hex::encode(&leb128_leaf(number).bytes), bytes);
        }
    }

    #[test]
    fn a_request_shows_its_newest_status_until_it_is_forgotten() {
        let config = SubnetConfigSet { application: 1, ..SubnetConfigSet::default() };
        let subnets = subnet::build(&config.into()).unwrap();
        let mut tree = StateTree::new(&subnets[0], &subnets);
        let record = |state| IngressRecord {
            agent_call: None,
            sender: Principal::anonymous(),
            subnet: subnets[0].id,
            state,
        };
        let without_requests = tree.tree.root_hash();
        let ids: [MessageId; 2] = [[1; 32], [2; 32]];
        let processing = record(IngressState::Processing);
        let replied = record(IngressState::Answered(Ok(b"reply".to_vec())));
        tree.put_requests(ids.iter().map(|id| (id, Some(&processing))));
        tree.put_requests([(&ids[0], Some(&replied))].into_iter());
        let text_at = |tree: &StateTree, id, label: &str| {
            let mut path = request_path(id);
            path.push(label.into());
            tree.tree.get(&path).map(|leaf| String::from_utf8(leaf.bytes.to_vec()).unwrap())
        };
        assert_eq!(text_at(&tree, &ids[0], "status").as_deref(), Some("replied"));
        assert_eq!(text_at(&tree, &ids[0], "reply").as_deref(), Some("reply"));
        assert_eq!(text_at(&tree, &ids[1], "status").as_deref(), Some("processing"));
        assert_eq!(text_at(&tree, &ids[1], "reply"), None);
        tree.put_requests([(&ids[0], Some(&record(IngressState::Done)))].into_iter());
        assert_eq!(text_at(&tree, &ids[0], "status").as_deref(), Some("done"));
        assert_eq!(text_at(&tree, &ids[0], "reply"), None);
        tree.put_requests(ids.iter().map(|id| (id, None)));
        assert_eq!(tree.tree.root_hash(), without_requests);
    }
}
