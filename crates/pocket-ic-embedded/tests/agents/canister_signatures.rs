//! Canisters that sign, as Internet Identity does: a canister certifies the hash of the message that it signs.

use crate::certificates::CERTIFIED;
use crate::common::{ANONYMOUS, wasm};
use crate::network::{Network, delegated, ed25519, expect_refused, expiring, key_der, signed};
use candid::Principal;
use ic_agent::Identity;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{DelegatedIdentity, InfoAwareIdentity, SenderInfo, SignedDelegation};
use ic_certification::{HashTree, fork, labeled, leaf};
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::borrow::Cow;

/// Last arc of the object identifier of canister signature keys.
const CANISTER_KEY_ARC: u8 = 2;

/// The message that a canister signs about a caller: the prefix `ic-sender-info` after its length (14), and the
/// information.
const SIGNED_INFO: &[u8] = b"\x0eic-sender-infoname=Ada";

/// A canister that replies with the information about its caller, and the id of the canister that signed the
/// information.
const WHO: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
    (import "ic0" "msg_caller_info_data_size" (func $data_size (result i32)))
    (import "ic0" "msg_caller_info_data_copy" (func $data (param i32 i32 i32)))
    (import "ic0" "msg_caller_info_signer_size" (func $signer_size (result i32)))
    (import "ic0" "msg_caller_info_signer_copy" (func $signer (param i32 i32 i32)))
    (memory 1)
    (func $who
        (call $data (i32.const 0) (i32.const 0) (call $data_size))
        (call $append (i32.const 0) (call $data_size))
        (call $signer (i32.const 0) (i32.const 0) (call $signer_size))
        (call $append (i32.const 0) (call $signer_size))
        (call $reply))
    (export "canister_update who" (func $who))
    (export "canister_query who_query" (func $who)))"#;

/// A canister that signs, with the key that `seed` selects.
struct Signer<'a> {
    network: &'a Network,
    canister: Principal,
    seed: Vec<u8>,
}

#[derive(Serialize)]
struct CanisterSignature {
    #[serde(with = "serde_bytes")]
    certificate: Vec<u8>,
    tree: HashTree,
}

impl CanisterSignature {
    /// Encodes as CBOR with the self-describing tag, which canister signatures must have.
    fn encode(&self) -> Vec<u8> {
        [&[0xd9, 0xd9, 0xf7], serde_cbor::to_vec(self).unwrap().as_slice()].concat()
    }
}

impl<'a> Signer<'a> {
    /// Creates a signing canister on the subnet of `other`.
    fn on_subnet_of(network: &'a Network, other: Principal, seed: &[u8]) -> Self {
        let subnet = network.pic.get_subnet(other).unwrap();
        let canister = network.pic.create_canister_on_subnet(None, None, subnet);
        network.pic.install_canister(canister, wasm(CERTIFIED), vec![], None);
        Self { network, canister, seed: seed.to_vec() }
    }

    /// Returns the public key as DER.
    fn key(&self) -> Vec<u8> {
        let id = self.canister.as_slice();
        key_der(CANISTER_KEY_ARC, &[&[u8::try_from(id.len()).unwrap()], id, &self.seed].concat())
    }

    /// Returns the principal of the user whose public key is [`Self::key`]; not the id of the canister that signs.
    fn sender(&self) -> Principal {
        Principal::self_authenticating(self.key())
    }

    /// Lets the canister certify this tree, right or wrong; [`Self::sign`] certifies a right one.
    fn certify(&self, tree: HashTree) -> CanisterSignature {
        let pic = &self.network.pic;
        pic.update_call(self.canister, ANONYMOUS, "set", tree.digest().to_vec()).unwrap();
        let certificate = pic.query_call(self.canister, ANONYMOUS, "get", vec![]).unwrap();
        CanisterSignature { certificate, tree }
    }

    fn sign(&self, message: &[u8]) -> CanisterSignature {
        self.certify(tree(&self.seed, message, b""))
    }

    fn envelope(&self, content: EnvelopeContent, signature: Vec<u8>) -> Envelope<'static> {
        Envelope {
            content: Cow::Owned(content),
            sender_pubkey: Some(self.key()),
            sender_sig: Some(signature),
            sender_delegation: None,
        }
    }

    /// Delegates from the canister's key to the key of `to`.
    fn delegate(&self, to: &dyn Identity) -> SignedDelegation {
        let delegation = expiring(to);
        let signature = self.sign(&delegation.signable()).encode();
        SignedDelegation { delegation, signature }
    }

    /// Returns the identity of a user who has signed in with Internet Identity: a session key, `ed25519(key)`, to which
    /// the canister has delegated.
    fn session(&self, key: u8) -> DelegatedIdentity {
        let link = self.delegate(&ed25519(key));
        // The agent verifies the canister's signature, too.
        let root_key = self.network.anonymous().read_root_key();
        DelegatedIdentity::new_with_root_key(self.key(), Box::new(ed25519(key)), vec![link], &root_key)
            .unwrap()
    }
}

fn hash(bytes: &[u8]) -> Vec<u8> {
    Sha256::digest(bytes).to_vec()
}

/// Returns the tree of a canister that signs one message; `at_message` is the leaf at the message's hash, which must be
/// empty in a signature.
fn tree(seed: &[u8], message: &[u8], at_message: &[u8]) -> HashTree {
    let messages = labeled(hash(message), leaf(at_message));
    // The canister certifies other data in addition to signatures.
    fork(labeled("http_assets", leaf(b"")), labeled("sig", labeled(hash(seed), messages)))
}

#[test]
fn a_canister_signs_a_request() {
    let network = Network::new();
    let mut count = 0_u32;
    for existing in network.canisters {
        for seed in [b"".as_slice(), &[7; 32], &[8; 300]] {
            let signer = Signer::on_subnet_of(&network, existing, seed);
            let content = network.call(signer.sender(), "inc", 1);
            let signature = signer.sign(&content.to_request_id().signable()).encode();
            let (status, body) = network.send_call("v4", &signer.envelope(content, signature));
            assert_eq!(status, 200, "{}", String::from_utf8_lossy(&body));
            count += 1;
            assert_eq!(crate::common::read_counter(&network.pic, network.canister()), count);
        }
    }
}

#[test]
fn a_session_of_internet_identity_calls_and_queries() {
    let network = Network::new();
    let id = network.canister();
    for existing in network.canisters {
        let signer = Signer::on_subnet_of(&network, existing, b"user 7");
        let agent = network.agent(signer.session(3));
        network.run(agent.update(&id, "inc").call_and_wait()).unwrap();
        let caller = network.run(agent.query(&id, "caller").call()).unwrap();
        assert_eq!(Principal::from_slice(&caller), signer.sender());
    }
}

#[test]
fn wrong_signatures_of_canisters_are_refused() {
    let network = Network::new();
    let id = network.canister();
    let signer = Signer::on_subnet_of(&network, id, b"user 7");
    let content = network.call(signer.sender(), "inc", 1);
    let message = content.to_request_id().signable();
    let good = || signer.sign(&message);
    let mut uncertified = good();
    uncertified.tree = fork(tree(&signer.seed, &message, b""), labeled("zz", leaf(b"")));
    // Signatures by another canister with the same seed: on the same subnet, and on the root subnet.
    let of_neighbor = Signer::on_subnet_of(&network, id, b"user 7").sign(&message);
    let on_root = Signer::on_subnet_of(&network, network.canisters[0], b"user 7").sign(&message);
    let mut flipped = good();
    // The bytes of the signature follow the name of its field: twenty bytes after the start of the name is one of them.
    let name = flipped.certificate.windows(9).position(|part| part == b"signature").unwrap();
    flipped.certificate[name + 20] ^= 1;
    let no_certificate = CanisterSignature { certificate: b"no CBOR".to_vec(), ..good() };
    let untagged = good().encode()[3..].to_vec();
    for (signature, part) in [
        (uncertified.encode(), "certified_data doesn't match"),
        (signer.sign(b"another message").encode(), "signature entry not found"),
        (signer.certify(tree(b"user 8", &message, b"")).encode(), "signature entry not found"),
        (signer.certify(tree(&signer.seed, &message, b"x")).encode(), "not an empty leaf"),
        (of_neighbor.encode(), "certified_data entry not found"),
        (on_root.encode(), "certified_data entry not found"),
        (flipped.encode(), "invalid BLS signature"),
        (no_certificate.encode(), "certificate"),
        (untagged, "self-describing tag"),
        (b"\xd9\xd9\xf7no CBOR".to_vec(), "failed to parse"),
        (vec![], "self-describing tag"),
    ] {
        let envelope = signer.envelope(content.clone(), signature.clone());
        expect_refused(&network, &envelope, "Invalid signature: Invalid canister signature: ");
        expect_refused(&network, &envelope, part);
        let session = ed25519(2);
        let mut by_session = signed(&session, network.call(signer.sender(), "inc", 2));
        by_session.sender_pubkey = Some(signer.key());
        by_session.sender_delegation =
            Some(vec![SignedDelegation { delegation: expiring(&session), signature }]);
        expect_refused(&network, &by_session, "Invalid delegation: Invalid canister signature: ");
    }
    // The delegations that follow the canister's own are verified, too.
    let mut forged = signed(&ed25519(4), network.call(signer.sender(), "inc", 3));
    forged.sender_pubkey = Some(signer.key());
    let chain = vec![signer.delegate(&ed25519(3)), delegated(&ed25519(5), expiring(&ed25519(4)))];
    forged.sender_delegation = Some(chain);
    expect_refused(&network, &forged, "Invalid delegation: Invalid basic signature: ");
}

#[test]
fn wrong_keys_of_canisters_are_refused() {
    let network = Network::new();
    // A key is the length of the canister's id, the id, and the seed. This key is well-formed. Those in the list have
    // no content, a length beyond their end, a length that no id has, or another object identifier, or are truncated or
    // too long.
    let whole = key_der(CANISTER_KEY_ARC, &[2, 1, 1]);
    for der in [
        key_der(CANISTER_KEY_ARC, &[]),
        key_der(CANISTER_KEY_ARC, &[10, 1, 1]),
        key_der(CANISTER_KEY_ARC, &[30; 40]),
        key_der(9, &[2, 1, 1]),
        whole[..whole.len() - 1].to_vec(),
        whole[..14].to_vec(),
        [whole.as_slice(), &[0]].concat(),
        vec![0x30],
        vec![],
    ] {
        let content = network.call(Principal::self_authenticating(&der), "inc", 1);
        let envelope = Envelope {
            content: Cow::Owned(content),
            sender_pubkey: Some(der),
            sender_sig: Some(vec![1]),
            sender_delegation: None,
        };
        expect_refused(&network, &envelope, "Invalid signature: Invalid public key: ");
    }
}

/// Returns what [`SIGNED_INFO`] says about a caller, with this signature.
fn info(signer: &Signer<'_>, sig: Vec<u8>) -> SenderInfo {
    SenderInfo { info: b"name=Ada".to_vec(), signer: signer.canister.as_slice().to_vec(), sig }
}

#[test]
fn canisters_read_what_the_signer_says_about_a_caller() {
    let network = Network::new();
    let signer = Signer::on_subnet_of(&network, network.canisters[0], b"user 7");
    let subnet = network.pic.get_subnet(network.canister()).unwrap();
    let who = network.pic.create_canister_on_subnet(None, None, subnet);
    network.pic.install_canister(who, wasm(WHO), vec![], None);
    let session = signer.session(3);
    let signature = signer.sign(SIGNED_INFO).encode();
    let root_key = network.anonymous().read_root_key();
    let identity = InfoAwareIdentity::new_with_root_key(session, b"name=Ada".to_vec(), signature, &root_key);
    let agent = network.agent(identity.unwrap());
    let expected = [b"name=Ada", signer.canister.as_slice()].concat();
    assert_eq!(network.run(agent.update(&who, "who").call_and_wait()).unwrap(), expected);
    assert_eq!(network.run(agent.query(&who, "who_query").call()).unwrap(), expected);
}

#[test]
fn wrong_information_about_a_caller_is_refused() {
    let network = Network::new();
    let signer = Signer::on_subnet_of(&network, network.canisters[0], b"user 7");
    let good = info(&signer, signer.sign(SIGNED_INFO).encode());
    let link = signer.delegate(&ed25519(3));
    let call_with = |sender: Principal, info: SenderInfo| {
        let mut content = network.call(sender, "inc", 1);
        let EnvelopeContent::Call { sender_info, .. } = &mut content else { unreachable!() };
        *sender_info = Some(info);
        content
    };
    for (info, part) in [
        (SenderInfo { info: b"name=Eve".to_vec(), ..good.clone() }, "signature entry not found"),
        (SenderInfo { sig: vec![], ..good.clone() }, "Invalid canister signature: "),
        (
            SenderInfo { signer: network.canister().as_slice().to_vec(), ..good.clone() },
            "is not the canister",
        ),
    ] {
        let mut envelope = signed(&ed25519(3), call_with(signer.sender(), info));
        envelope.sender_pubkey = Some(signer.key());
        envelope.sender_delegation = Some(vec![link.clone()]);
        expect_refused(&network, &envelope, "Invalid sender_info: ");
        expect_refused(&network, &envelope, part);
    }
    let user = ed25519(1);
    let envelope = signed(&user, call_with(user.sender().unwrap(), good.clone()));
    expect_refused(
        &network,
        &envelope,
        "Invalid sender_info: sender_pubkey is not a key of canister signatures",
    );
    let anonymous = Envelope {
        content: Cow::Owned(call_with(Principal::anonymous(), good)),
        sender_pubkey: None,
        sender_sig: None,
        sender_delegation: None,
    };
    expect_refused(&network, &anonymous, "Invalid sender_info: the anonymous sender has none");
}
