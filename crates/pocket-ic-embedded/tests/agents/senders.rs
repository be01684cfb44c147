//! Senders: keys of Ed25519 and of both kinds of ECDSA, delegations, and wrong signatures. The other kinds of keys are
//! in `canister_signatures.rs` and `webauthn.rs`.

use crate::network::{Network, delegated, ed25519, expect_refused, expiring, signed};
use candid::Principal;
use ic_agent::Identity;
use ic_agent::agent::Envelope;
use ic_agent::identity::{
    BasicIdentity, DelegatedIdentity, Delegation, DelegationPermissions, Prime256v1Identity,
    Secp256k1Identity,
};

fn secp256k1(n: u8) -> Secp256k1Identity {
    Secp256k1Identity::from_private_key(k256::SecretKey::from_slice(&[n; 32]).unwrap())
}

fn prime256v1(n: u8) -> Prime256v1Identity {
    Prime256v1Identity::from_private_key(p256::SecretKey::from_slice(&[n; 32]).unwrap())
}

#[test]
fn every_kind_of_key_signs_calls_and_queries() {
    let network = Network::new();
    let id = network.canister();
    let identities: [Box<dyn Fn() -> Box<dyn Identity>>; 3] = [
        Box::new(|| Box::new(ed25519(1))),
        Box::new(|| Box::new(secp256k1(1))),
        Box::new(|| Box::new(prime256v1(1))),
    ];
    for (count, identity) in (1..).zip(identities) {
        let agent = network.agent(identity());
        let reply = network.run(agent.update(&id, "inc").call_and_wait()).unwrap();
        assert_eq!(reply, [count, 0, 0, 0]);
        let caller = network.run(agent.query(&id, "caller").call()).unwrap();
        assert_eq!(Principal::from_slice(&caller), identity().sender().unwrap());
    }
}

#[test]
fn a_chain_of_delegations_is_followed() {
    let network = Network::new();
    let (root, middle, last) = (ed25519(1), secp256k1(2), ed25519(3));
    let sender = root.sender().unwrap();
    let chain = vec![delegated(&root, expiring(&middle)), delegated(&middle, expiring(&last))];
    let identity = DelegatedIdentity::new(root.public_key().unwrap(), Box::new(last), chain).unwrap();
    let agent = network.agent(identity);
    let caller = network.run(agent.query(&network.canister(), "caller").call()).unwrap();
    assert_eq!(Principal::from_slice(&caller), sender);
    network.run(agent.update(&network.canister(), "inc").call_and_wait()).unwrap();
}

/// Returns an envelope with `ed25519(1)` as the sender, signed by `ed25519(2)`. Each delegation is given with the
/// identity that signs it.
fn by_delegation(
    network: &Network,
    method: &str,
    delegations: Vec<(BasicIdentity, Delegation)>,
) -> Envelope<'static> {
    let root = ed25519(1);
    let content = network.call(root.sender().unwrap(), method, 1);
    let signature = ed25519(2).sign(&content).unwrap();
    Envelope {
        content: std::borrow::Cow::Owned(content),
        sender_pubkey: root.public_key(),
        sender_sig: signature.signature,
        sender_delegation: Some(
            delegations.into_iter().map(|(from, delegation)| delegated(&from, delegation)).collect(),
        ),
    }
}

#[test]
fn delegations_are_limited_to_what_they_grant() {
    let network = Network::new();
    let id = network.canister();
    let plain = || expiring(&ed25519(2));
    let one = |delegation| by_delegation(&network, "inc", vec![(ed25519(1), delegation)]);
    for (delegation, part) in [
        (Delegation { expiration: 1, ..plain() }, "Invalid delegation expiry"),
        (
            Delegation { targets: Some(vec![network.canisters[0]]), ..plain() },
            "not one of the delegation targets",
        ),
        (Delegation { targets: Some(vec![id; 1_001]), ..plain() }, "at most 1000"),
        (Delegation { permissions: Some(DelegationPermissions::Queries), ..plain() }, "permits queries"),
    ] {
        expect_refused(&network, &one(delegation), part);
    }
    let mut forged = one(plain());
    forged.sender_delegation.as_mut().unwrap()[0].signature[0] ^= 1;
    expect_refused(
        &network,
        &forged,
        "Invalid delegation: Invalid basic signature: Ed25519 signature could not be verified",
    );
    let others = by_delegation(&network, "inc", vec![(ed25519(3), plain())]);
    expect_refused(&network, &others, "Invalid delegation");
    let long = (0..21).map(|_| (ed25519(1), plain())).collect();
    expect_refused(&network, &by_delegation(&network, "inc", long), "at most 20");
    // A chain in which a key delegates to itself.
    let round = vec![(ed25519(1), expiring(&ed25519(1))), (ed25519(1), plain())];
    expect_refused(&network, &by_delegation(&network, "inc", round), "appears twice");
    // A permission that does not exist.
    let mut unknown = serde_cbor::value::to_value(one(plain())).unwrap();
    set_permissions(&mut unknown, "everything");
    let path = format!("v4/canister/{id}/call");
    assert_eq!(network.post(&path, serde_cbor::to_vec(&unknown).unwrap()).status(), 400);
    let good =
        one(Delegation { targets: Some(vec![id]), permissions: Some(DelegationPermissions::All), ..plain() });
    assert_eq!(network.send_call("v4", &good).0, 200);
}

/// Replaces the permissions of the first delegation.
fn set_permissions(envelope: &mut serde_cbor::Value, permissions: &str) {
    use serde_cbor::Value::{Array, Map, Text};
    let field = |name: &str| Text(name.into());
    let Map(envelope) = envelope else { panic!("no map") };
    let Some(Array(chain)) = envelope.get_mut(&field("sender_delegation")) else { panic!("no chain") };
    let Map(link) = &mut chain[0] else { panic!("no link") };
    let Some(Map(delegation)) = link.get_mut(&field("delegation")) else { panic!("no delegation") };
    delegation.insert(field("permissions"), Text(permissions.into()));
}

#[test]
fn signatures_that_do_not_fit_the_sender_are_refused() {
    let network = Network::new();
    let identity = ed25519(1);
    let sender = identity.sender().unwrap();
    let good = || signed(&identity, network.call(sender, "inc", 1));
    let bare = |envelope: Envelope<'static>| Envelope { sender_pubkey: None, sender_sig: None, ..envelope };
    let mut flipped = good();
    flipped.sender_sig.as_mut().unwrap()[5] ^= 0x10;
    // Signed, then given another content; with another's key; with another's principal; with a key but no signature.
    let changed =
        Envelope { content: std::borrow::Cow::Owned(network.call(sender, "trap_after_inc", 1)), ..good() };
    let other = Envelope { sender_pubkey: ed25519(2).public_key(), ..good() };
    let stranger = signed(&identity, network.call(ed25519(2).sender().unwrap(), "inc", 1));
    let half = Envelope { sender_sig: None, ..good() };
    let anonymous = Envelope {
        content: std::borrow::Cow::Owned(network.call(Principal::anonymous(), "inc", 1)),
        ..good()
    };
    for (envelope, part) in [
        (flipped, "Ed25519 signature could not be verified"),
        (changed, "Ed25519 signature could not be verified"),
        (other, "does not match the public key"),
        (stranger, "does not match the public key"),
        (bare(good()), "Missing signature"),
        (half, "go together"),
        (anonymous, "the anonymous sender does not sign"),
    ] {
        expect_refused(&network, &envelope, part);
    }
    for identity in [&secp256k1(1) as &dyn Identity, &prime256v1(1)] {
        let mut flipped = signed(identity, network.call(identity.sender().unwrap(), "inc", 1));
        flipped.sender_sig.as_mut().unwrap()[5] ^= 0x10;
        expect_refused(&network, &flipped, "ECDSA");
    }
}
