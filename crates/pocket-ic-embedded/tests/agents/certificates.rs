//! The certificates of the state tree and of certified data verify, and damaged certificates do not.

use crate::common::{ANONYMOUS, install_wasm, wasm};
use crate::network::{Network, ed25519};
use candid::Principal;
use ic_agent::hash_tree::Label;
use ic_agent::{AgentError, Certificate, lookup_value};

/// A canister whose `set` certifies its argument, and whose query `get` returns the certificate of the certified data.
pub const CERTIFIED: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_arg_data_size" (func $size (result i32)))
    (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
    (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
    (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
    (import "ic0" "data_certificate_copy" (func $certificate_copy (param i32 i32 i32)))
    (memory 1)
    (func (export "canister_update set")
        (call $copy (i32.const 0) (i32.const 0) (call $size))
        (call $certify (i32.const 0) (call $size))
        (call $reply))
    (func (export "canister_query get")
        (call $certificate_copy (i32.const 0) (i32.const 0) (call $certificate_size))
        (call $append (i32.const 0) (call $certificate_size))
        (call $reply)))"#;

#[test]
fn certified_data_of_a_canister_verifies() {
    let network = Network::new();
    let agent = network.anonymous();
    for existing in network.canisters {
        let subnet = network.pic.get_subnet(existing).unwrap();
        let id = network.pic.create_canister_on_subnet(None, None, subnet);
        network.pic.install_canister(id, wasm(CERTIFIED), vec![], None);
        for data in [b"first".as_slice(), b"second"] {
            network.run(agent.update(&id, "set").with_arg(data).call_and_wait()).unwrap();
            // Both protocols return the certificate of the last round.
            let by_agent = network.run(agent.query(&id, "get").call()).unwrap();
            let by_pocket_ic = network.pic.query_call(id, ANONYMOUS, "get", vec![]).unwrap();
            for bytes in [by_agent, by_pocket_ic] {
                let certificate: Certificate = serde_cbor::from_slice(&bytes).unwrap();
                agent.verify(&certificate, id).unwrap();
                let path = [b"canister".as_slice(), id.as_slice(), b"certified_data"];
                assert_eq!(lookup_value(&certificate, path).unwrap(), data);
            }
        }
    }
}

#[test]
fn an_instance_without_an_nns_certifies_too() {
    let pic = crate::common::instance();
    let id = install_wasm(&pic, wasm(CERTIFIED));
    let bytes = pic.query_call(id, ANONYMOUS, "get", vec![]).unwrap();
    let certificate: Certificate = serde_cbor::from_slice(&bytes).unwrap();
    // The only subnet is the root subnet. Whether the signature verifies is not tested here.
    assert!(certificate.delegation.is_none());
    let path = [b"canister".as_slice(), id.as_slice(), b"certified_data"];
    assert_eq!(lookup_value(&certificate, path).unwrap(), b"");
}

#[test]
fn a_certificate_with_one_bit_flipped_does_not_verify() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    let id = network.canister();
    let subnet = network.pic.get_subnet(id).unwrap();
    let module = vec![
        Label::from_bytes(b"canister"),
        Label::from_bytes(id.as_slice()),
        Label::from_bytes(b"module_hash"),
    ];
    let certificate = network.run(agent.read_state_raw(vec![module], id)).unwrap();
    let bytes = serde_cbor::to_vec(&certificate).unwrap();
    agent.verify(&certificate, id).unwrap();
    agent.verify_for_subnet(&certificate, subnet).unwrap();
    // Verifying a certificate takes one or two slow pairings, so only one bit in each of 40 places is flipped.
    let step = bytes.len() / 40;
    // Number of certificates that still parse, as other certificates.
    let mut parsed = 0;
    for index in (0..bytes.len()).step_by(step.max(1)) {
        let mut flipped = bytes.clone();
        flipped[index] ^= 1 << (index % 8);
        let Ok(other) = serde_cbor::from_slice::<Certificate>(&flipped) else { continue };
        if other != certificate {
            parsed += 1;
            assert!(
                agent.verify(&other, id).is_err(),
                "the certificate verifies although byte {index} is changed"
            );
        }
    }
    assert!(parsed > 10, "only {parsed} changed certificates were tested");
}

#[test]
fn a_subnet_certifies_its_own_canisters_only() {
    let network = Network::new();
    let agent = network.anonymous();
    let [root, app] = network.canisters;
    let time = || vec![vec![Label::from_bytes(b"time")]];
    let certificate = network.run(agent.read_state_raw(time(), app)).unwrap();
    let stranger = agent.verify(&certificate, root);
    assert!(matches!(stranger, Err(AgentError::CertificateNotAuthorized())), "{stranger:?}");
    let subnet = network.pic.get_subnet(root).unwrap();
    assert!(agent.verify_for_subnet(&certificate, subnet).is_err());
    // A canister id of no subnet.
    let outside = Principal::from_slice(&[0, 0, 0, 0, 1, 0, 0, 0, 1, 1]);
    assert!(agent.verify(&certificate, outside).is_err());
}
