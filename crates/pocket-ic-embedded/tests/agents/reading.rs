//! The state tree: which paths are present or absent, and who may read them.

use crate::common::user;
use crate::network::{Network, delegated, ed25519, expiring, from_now, signed};
use candid::Principal;
use ic_agent::agent::{Agent, EnvelopeContent};
use ic_agent::hash_tree::{Label, SubtreeLookupResult};
use ic_agent::identity::{AnonymousIdentity, DelegatedIdentity, Delegation};
use ic_agent::{AgentError, Certificate, Identity, lookup_value};
use ic_transport_types::ReadStateResponse;
use pocket_ic::PocketIc;
use std::time::Duration;

fn path(labels: &[&[u8]]) -> Vec<Label<Vec<u8>>> {
    labels.iter().map(|label| Label::from_bytes(label)).collect()
}

fn read_with_agent(
    network: &Network,
    agent: &Agent,
    id: Principal,
    labels: &[&[u8]],
) -> Result<Certificate, AgentError> {
    network.run(agent.read_state_raw(vec![path(labels)], id))
}

/// Returns whether the certificate proves that the path does not exist; a pruned path is not proven to be absent.
fn is_absent<T: std::fmt::Debug>(result: Result<T, AgentError>) -> bool {
    matches!(&result, Err(AgentError::LookupPathAbsent(_)))
}

/// Returns the HTTP status and the text of a refusal.
fn refusal<T: std::fmt::Debug>(result: Result<T, AgentError>) -> (u16, String) {
    let Err(AgentError::HttpError(refused)) = result else { panic!("{result:?}") };
    (refused.status, String::from_utf8(refused.content).unwrap())
}

/// Sets the controllers to the anonymous principal, which is one already, and this one.
fn add_controller(pic: &PocketIc, id: Principal, controller: &dyn Identity) {
    pic.set_controllers(id, None, vec![Principal::anonymous(), controller.sender().unwrap()]).unwrap();
}

#[test]
fn a_canister_has_its_module_hash_and_controllers() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    for id in network.canisters {
        let status = network.pic.canister_status(id, None).unwrap();
        let hash = network.run(agent.read_state_canister_module_hash(id)).unwrap();
        assert_eq!(Some(hash), status.module_hash);
        let controllers = || network.run(agent.read_state_canister_controllers(id)).unwrap();
        assert_eq!(controllers(), status.settings.controllers);
        add_controller(&network.pic, id, &ed25519(2));
        assert_eq!(controllers().len(), 2);
        let empty = network.pic.create_canister_on_subnet(None, None, network.pic.get_subnet(id).unwrap());
        assert!(is_absent(network.run(agent.read_state_canister_module_hash(empty))));
        assert!(is_absent(network.run(agent.read_state_canister_metadata(empty, "open"))));
    }
}

#[test]
fn installations_have_their_time_in_the_tree() {
    let network = Network::new();
    let (agent, id) = (network.anonymous(), network.canister());
    let time = |label: &str| -> Result<u64, AgentError> {
        let labels = [b"canister".as_slice(), id.as_slice(), label.as_bytes()];
        let certificate = read_with_agent(&network, &agent, id, &labels)?;
        let mut bytes = lookup_value(&certificate, labels)?;
        Ok(leb128(&mut bytes))
    };
    let (created, installed) =
        (time("canister_creation_timestamp").unwrap(), time("last_install_timestamp").unwrap());
    assert!(created <= installed);
    network.pic.upgrade_canister(id, crate::common::counter(), vec![], None).unwrap();
    assert!(time("last_install_timestamp").unwrap() > installed);
    let upgraded = time("last_install_timestamp").unwrap();
    let snapshot = network.pic.take_canister_snapshot(id, None, None).unwrap();
    network.pic.load_canister_snapshot(id, None, snapshot.id).unwrap();
    assert!(time("last_install_timestamp").unwrap() > upgraded);
    network.pic.uninstall_canister(id, None).unwrap();
    assert!(is_absent(time("last_install_timestamp")));
    assert_eq!(time("canister_creation_timestamp").unwrap(), created);
}

/// Decodes a number that takes all of these bytes.
fn leb128(bytes: &mut &[u8]) -> u64 {
    bytes.iter().enumerate().map(|(index, byte)| u64::from(byte & 0x7f) << (7 * index)).sum()
}

#[test]
fn metadata_is_for_all_or_for_controllers() {
    let network = Network::new();
    let id = network.canister();
    let (stranger, owner) = (network.anonymous(), network.agent(ed25519(1)));
    network.pic.set_controllers(id, None, vec![ed25519(1).sender().unwrap()]).unwrap();
    let metadata = |agent: &Agent, name: &str| network.run(agent.read_state_canister_metadata(id, name));
    assert_eq!(metadata(&stranger, "open").unwrap(), b"for all");
    assert_eq!(metadata(&owner, "shut").unwrap(), b"for some");
    assert!(is_absent(metadata(&stranger, "missing")));
    let (status, text) = refusal(metadata(&stranger, "shut"));
    assert_eq!(status, 403);
    assert!(text.contains("can only be requested by the controllers"), "{text}");
}

#[test]
fn paths_not_requested_are_pruned_but_not_denied() {
    let network = Network::new();
    let (agent, id) = (network.anonymous(), network.canister());
    let module = [b"canister".as_slice(), id.as_slice(), b"module_hash"];
    let certificate = read_with_agent(&network, &agent, id, &module).unwrap();
    lookup_value(&certificate, module).unwrap();
    lookup_value(&certificate, [b"time".as_slice()]).unwrap();
    let other = [b"canister".as_slice(), id.as_slice(), b"controllers"];
    // A pruned path is unknown, which proves neither that it exists nor that it does not.
    let hidden = lookup_value(&certificate, other);
    assert!(matches!(hidden, Err(AgentError::LookupPathUnknown(_))), "{hidden:?}");
    let subnet = network.pic.get_subnet(id).unwrap();
    let hidden = lookup_value(&certificate, [b"subnet".as_slice(), subnet.as_slice(), b"type"]);
    assert!(matches!(hidden, Err(AgentError::LookupPathUnknown(_))), "{hidden:?}");
}

#[test]
fn subnets_show_their_nodes_and_ranges_at_their_endpoint() {
    let network = Network::new();
    let agent = network.anonymous();
    for id in network.canisters {
        let subnet = network.pic.get_subnet(id).unwrap();
        let shown = network.run(agent.get_subnet_by_canister(&id)).unwrap();
        assert_eq!(shown.id(), subnet);
        assert!(shown.contains_canister(&id));
        let by_id = network.run(agent.get_subnet_by_id(&subnet)).unwrap();
        assert_eq!(by_id.id(), subnet);
        assert!(by_id.contains_canister(&id));
        let metrics = network.run(agent.read_state_subnet_metrics(subnet)).unwrap();
        assert_eq!(metrics.num_canisters, 1);
        assert!(metrics.canister_state_bytes > 0 && metrics.update_transactions_total > 0);
        assert_eq!(network.pic.get_subnet_metrics(subnet).unwrap().num_canisters, 1);
    }
    let [root, other] = network.canisters.map(|id| network.pic.get_subnet(id).unwrap());
    let labels = [b"subnet".as_slice(), other.as_slice(), b"metrics"];
    let (status, text) = refusal(network.run(agent.read_subnet_state_raw(vec![path(&labels)], root)));
    assert_eq!(status, 400);
    assert!(text.contains("cannot be read here"), "{text}");
}

/// Reads the state tree as the anonymous user, at an endpoint of this version.
fn read_at(
    network: &Network,
    version: &str,
    id: Principal,
    labels: &[&[u8]],
) -> Result<Certificate, (u16, String)> {
    read_as(network, &format!("{version}/canister/{id}"), labels, &AnonymousIdentity)
}

/// Reads the state tree as `sender`, at an address below `/api/`. An error is the HTTP status and the text.
fn read_as(
    network: &Network,
    address: &str,
    labels: &[&[u8]],
    sender: &dyn Identity,
) -> Result<Certificate, (u16, String)> {
    let content = EnvelopeContent::ReadState {
        ingress_expiry: from_now(Duration::from_secs(60)),
        sender: sender.sender().unwrap(),
        paths: vec![path(labels)],
    };
    let answer = network.post(&format!("{address}/read_state"), signed(sender, content).encode_bytes());
    match answer.status().as_u16() {
        200 => {
            let body: ReadStateResponse = serde_cbor::from_slice(&answer.bytes().unwrap()).unwrap();
            Ok(serde_cbor::from_slice(&body.certificate).unwrap())
        }
        status => Err((status, answer.text().unwrap())),
    }
}

/// `v2` endpoints return the ranges of every subnet as one list; `v3` endpoints return only those of the root subnet as
/// a list, and those of others in shards.
#[test]
fn ranges_have_the_form_of_the_endpoint() {
    let network = Network::new();
    let id = network.canister();
    let [root, other] = network.canisters.map(|id| network.pic.get_subnet(id).unwrap());
    let list =
        |subnet: Principal| [b"subnet".to_vec(), subnet.as_slice().to_vec(), b"canister_ranges".to_vec()];
    // Whether a list is in the tree: it may be pruned, but not denied.
    let shows = |certificate: &Certificate, path: &[Vec<u8>]| match certificate.tree.lookup_subtree(path) {
        SubtreeLookupResult::Found(_) => true,
        SubtreeLookupResult::Unknown => false,
        SubtreeLookupResult::Absent => panic!("the tree denies a path that it has"),
    };
    for (version, in_list) in [("v2", true), ("v3", false)] {
        let certificate = read_at(&network, version, id, &[b"subnet"]).unwrap();
        assert!(shows(&certificate, &list(root)), "{version}");
        assert_eq!(shows(&certificate, &list(other)), in_list, "{version}");
        let delegation = certificate.delegation.unwrap();
        let delegation: Certificate = serde_cbor::from_slice(&delegation.certificate).unwrap();
        assert_eq!(shows(&delegation, &list(other)), in_list, "{version}");
        let shards = [b"canister_ranges".to_vec(), other.as_slice().to_vec()];
        assert_eq!(shows(&delegation, &shards), !in_list, "{version}");
        for (subnet, allowed) in [(root, true), (other, in_list)] {
            let labels = list(subnet);
            let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
            let read = read_at(&network, version, id, &labels);
            assert_eq!(read.is_ok(), allowed, "{version}: {read:?}");
        }
    }
}

#[test]
fn subnets_have_their_type_in_the_tree() {
    let network = Network::new();
    for (id, kind) in network.canisters.into_iter().zip(["system", "application"]) {
        let subnet = network.pic.get_subnet(id).unwrap();
        let labels = [b"subnet".as_slice(), subnet.as_slice(), b"type"];
        let certificate = read_at(&network, "v3", id, &labels).unwrap();
        assert_eq!(lookup_value(&certificate, labels).unwrap(), kind.as_bytes());
    }
}

/// Returns whether the certificate has this path; `false` for pruned and for absent paths.
fn reveals(certificate: &Certificate, labels: &[&[u8]]) -> bool {
    matches!(certificate.tree.lookup_subtree(labels), SubtreeLookupResult::Found(_))
}

#[test]
fn a_subnet_shows_its_nodes_and_the_keys_of_others() {
    let network = Network::new();
    let id = network.canister();
    let [root, own] = network.canisters.map(|id| network.pic.get_subnet(id).unwrap());
    let at = |labels: &[&[u8]]| read_at(&network, "v3", id, labels).unwrap();
    let (root, own) = (root.as_slice(), own.as_slice());
    let nodes = |subnet| [b"subnet".as_slice(), subnet, b"node"];
    let key = |subnet| [b"subnet".as_slice(), subnet, b"public_key"];
    let all = at(&[b"subnet"]);
    assert!(reveals(&all, &nodes(own)) && reveals(&all, &key(own)));
    assert!(!reveals(&all, &nodes(root)) && reveals(&all, &key(root)));
    let one = at(&[b"subnet", own]);
    assert!(reveals(&one, &nodes(own)) && reveals(&one, &key(own)) && !reveals(&one, &key(root)));
    let other = at(&[b"subnet", root]);
    assert!(!reveals(&other, &nodes(root)) && reveals(&other, &key(root)));
    assert!(reveals(&at(&nodes(own)), &nodes(own)));
    // Of another subnet, the key is returned in place of the nodes.
    let other = at(&nodes(root));
    assert!(!reveals(&other, &nodes(root)) && reveals(&other, &key(root)));
    let absent = [b"subnet".as_slice(), b"unknown"];
    assert!(is_absent(lookup_value(&at(&absent), absent)));
    let absent = [b"api_boundary_nodes".as_slice()];
    assert!(is_absent(lookup_value(&at(&absent), absent)));
}

#[test]
fn shards_are_read_at_a_subnet() {
    let network = Network::new();
    for id in network.canisters {
        let subnet = network.pic.get_subnet(id).unwrap();
        let labels = [b"canister_ranges".as_slice(), subnet.as_slice()];
        let at = |address: &str| read_as(&network, address, &labels, &AnonymousIdentity);
        assert!(reveals(&at(&format!("v3/subnet/{subnet}")).unwrap(), &labels));
        assert_eq!(at(&format!("v3/canister/{id}")).unwrap_err().0, 400);
    }
}

#[test]
fn a_delegation_for_other_canisters_reads_no_status() {
    let network = Network::new();
    let [other, id] = network.canisters;
    let root = ed25519(1);
    let envelope = signed(&root, network.call(root.sender().unwrap(), "inc", 1));
    assert_eq!(network.send_call("v4", &envelope).0, 200);
    let request = envelope.content.to_request_id();
    // The targets of the delegation, and the status of the refusal; `None` if the read is allowed.
    for (targets, status) in [(vec![other], Some(403)), (vec![other, id], None)] {
        let link = delegated(&root, Delegation { targets: Some(targets), ..expiring(&ed25519(2)) });
        let key = root.public_key().unwrap();
        let session = DelegatedIdentity::new_unchecked(key, Box::new(ed25519(2)), vec![link]);
        let labels = [b"request_status".as_slice(), request.as_slice()];
        let read = read_as(&network, &format!("v3/canister/{id}"), &labels, &session);
        assert_eq!(read.err().map(|(status, _)| status), status);
    }
}

/// Agents that create canisters without an effective id read the request status at the management canister's id.
#[test]
fn the_management_canister_is_read_at_the_root_subnet() {
    let network = Network::new();
    let certificate = read_at(&network, "v3", Principal::management_canister(), &[b"time"]).unwrap();
    assert!(certificate.delegation.is_none());
    lookup_value(&certificate, [b"time".as_slice()]).unwrap();
}

#[test]
fn the_status_of_a_request_is_for_its_sender() {
    let network = Network::new();
    let id = network.canister();
    let sender = ed25519(1);
    let envelope = signed(&sender, network.call(sender.sender().unwrap(), "inc", 1));
    assert_eq!(network.send_call("v4", &envelope).0, 200);
    let request = envelope.content.to_request_id();
    let own = network.agent(ed25519(1));
    network.run(own.request_status_raw(&request, id)).unwrap();
    let (status, text) = refusal(network.run(network.agent(ed25519(2)).request_status_raw(&request, id)));
    assert_eq!(status, 403);
    assert!(text.contains("not signed by the caller"), "{text}");
    // At the address of another canister of the same subnet; and two requests in one read.
    let elsewhere = network.pic.create_canister_on_subnet(None, None, network.pic.get_subnet(id).unwrap());
    assert_eq!(refusal(network.run(own.request_status_raw(&request, elsewhere))).0, 403);
    let two = [[1; 32], [2; 32]].map(|id| path(&[b"request_status", &id]));
    assert_eq!(refusal(network.run(own.read_state_raw(two.to_vec(), id))).0, 400);
}

#[test]
fn other_paths_are_refused_by_name() {
    let network = Network::new();
    let (agent, id) = (network.anonymous(), network.canister());
    let root = network.canisters[0];
    let subnet = network.pic.get_subnet(id).unwrap();
    for labels in [
        vec![],
        vec![b"canister".as_slice()],
        vec![b"canister".as_slice(), id.as_slice()],
        vec![b"canister".as_slice(), id.as_slice(), b"certified_data"],
        vec![b"canister".as_slice(), root.as_slice(), b"module_hash"],
        vec![b"canister".as_slice(), id.as_slice(), b"metadata", &[0xff]],
        vec![b"subnet".as_slice(), subnet.as_slice(), b"canister_ranges"],
        vec![b"subnet".as_slice(), subnet.as_slice(), b"metrics"],
        vec![b"canister_ranges".as_slice(), subnet.as_slice()],
        vec![b"request_status".as_slice(), b"short"],
        vec![b"time".as_slice(), b"more"],
        vec![b"request_status".as_slice(), &[1; 32], b"other"],
        vec![b"request_status".as_slice(), &[1; 32], b"reply", b"more"],
        vec![b"subnet".as_slice(), subnet.as_slice(), b"node", b"id", b"public_key", b"more"],
        vec![b"subnet".as_slice(), subnet.as_slice(), b"other"],
        vec![b"api_boundary_nodes".as_slice(), b"id", b"domain", b"more"],
        vec![b"streams".as_slice()],
    ] {
        let (status, text) = refusal(read_with_agent(&network, &agent, id, &labels));
        assert_eq!(status, 400, "{labels:?}: {text}");
    }
    for (labels, part) in [
        (
            vec![b"streams".as_slice(), &[0xff, 1], b"two words"],
            "/streams/0xff01/0x74776f20776f726473 cannot",
        ),
        // The text shows only the first five labels of a longer path.
        (vec![b"x".as_slice(); 127], "Invalid path requested: /x/x/x/x/x cannot be read here"),
        (vec![b"x".as_slice(); 128], "Path of 128 labels: at most 127 are allowed"),
    ] {
        let (status, text) = refusal(read_with_agent(&network, &agent, id, &labels));
        assert!(status == 400 && text.contains(part), "{text}");
    }
    let many = |count| network.run(agent.read_state_raw(vec![path(&[b"time"]); count], id));
    many(1_000).unwrap();
    let (status, text) = refusal(many(1_001));
    assert!(status == 400 && text.contains("at most 1000"), "{text}");
}

#[test]
fn expired_requests_are_forgotten_after_a_while() {
    let network = Network::new();
    let sender = ed25519(1);
    let envelope = signed(&sender, network.call(sender.sender().unwrap(), "inc", 1));
    assert_eq!(network.send_call("v4", &envelope).0, 200);
    network.pic.stop_progress();
    // The request expires after four minutes, and is forgotten five minutes later.
    network.pic.advance_time(Duration::from_secs(20 * 60));
    network.pic.tick();
    let id = envelope.content.to_request_id();
    let labels = [b"request_status".as_slice(), id.as_slice()];
    assert!(is_absent(lookup_value(&network.read_without_agent(&sender, &labels), labels)));
}

#[test]
fn a_canister_is_not_read_at_the_address_of_another() {
    let network = Network::new();
    add_controller(&network.pic, network.canister(), &ed25519(1));
    let agent = network.agent(ed25519(1));
    let labels =
        [b"canister".as_slice(), network.canister().as_slice(), b"metadata", b"shut"].map(<[u8]>::to_vec);
    let labels: Vec<&[u8]> = labels.iter().map(Vec::as_slice).collect();
    let (status, text) = refusal(read_with_agent(&network, &agent, network.canisters[0], &labels));
    assert_eq!(status, 400);
    assert!(text.contains("does not match the effective id"), "{text}");
    // A principal that is not the id of a canister.
    let nobody = user(9);
    assert!(read_with_agent(&network, &agent, nobody, &[b"time"]).is_err());
}
