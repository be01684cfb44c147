//! Requests that the server refuses without executing them.

use crate::common::{install_counter, instance, read_counter};
use crate::network::{Network, ed25519, from_now, signed};
use candid::Principal;
use ic_agent::agent::EnvelopeContent;
use ic_agent::{Agent, AgentError, Identity};
use pocket_ic::common::rest::RawSubnetId;
use reqwest::blocking::Client;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Returns a call by user 1 with this expiry, in nanoseconds since 1970.
fn call_expiring_at(network: &Network, expiry: u64) -> EnvelopeContent {
    let mut content = network.call(ed25519(1).sender().unwrap(), "inc", 1);
    let EnvelopeContent::Call { ingress_expiry, .. } = &mut content else { unreachable!() };
    *ingress_expiry = expiry;
    content
}

#[test]
fn expired_requests_are_refused_with_the_text_agents_look_for() {
    let network = Network::new();
    for expiry in [1, from_now(Duration::ZERO) - 1_000_000_000, from_now(Duration::from_secs(400)), u64::MAX]
    {
        let (status, body) =
            network.send_call("v4", &signed(&ed25519(1), call_expiring_at(&network, expiry)));
        let text = String::from_utf8(body).unwrap();
        assert_eq!(status, 400);
        assert!(
            text.starts_with("Invalid request expiry: Specified ingress_expiry not within expected range: "),
            "{text}"
        );
        assert!(!text.contains("time of this instance"), "{text}");
    }
    assert_eq!(read_counter(&network.pic, network.canister()), 0);
}

#[test]
fn calls_to_an_instance_at_another_time_are_refused_with_a_hint() {
    let network = Network::new();
    network.pic.stop_progress();
    network.pic.advance_time(Duration::from_secs(24 * 60 * 60));
    network.pic.tick();
    let agent = network.agent(ed25519(1));
    let refused = network.run(agent.update(&network.canister(), "inc").call_and_wait());
    let Err(AgentError::HttpError(refused)) = refused else { panic!("{refused:?}") };
    let text = String::from_utf8(refused.content).unwrap();
    assert!(text.contains("The time of this instance is not the current time"), "{text}");
    // An instance whose time is that of genesis. The server does not check the expiry of an anonymous query, but the
    // agent refuses an answer whose time is so long ago.
    let pic = instance();
    let id = install_counter(&pic);
    let url = format!("{}instances/{}/", pic.get_server_url(), pic.instance_id());
    let agent = Agent::builder().with_url(url).build().unwrap();
    network.run(agent.fetch_root_key()).unwrap();
    let query = network.run(agent.query(&id, "read").call());
    assert!(query.is_err(), "{query:?}");
}

#[test]
fn requests_to_the_wrong_address_are_refused() {
    let network = Network::new();
    let body = signed(&ed25519(1), network.call(ed25519(1).sender().unwrap(), "inc", 1)).encode_bytes();
    let (id, other) = (network.canister(), network.canisters[0]);
    let subnet = network.pic.get_subnet(id).unwrap();
    let nowhere = Principal::from_slice(&[0xff, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
    for (path, status, part) in [
        (format!("v4/canister/{other}/call"), 400, "does not match effective canister id in URL"),
        (format!("v4/canister/{nowhere}/call"), 400, "does not match effective canister id in URL"),
        (format!("v4/subnet/{subnet}/call"), 400, "cannot be called at subnet"),
        ("v4/canister/no-principal/call".into(), 400, "Invalid canister id"),
        (format!("v5/canister/{id}/call"), 404, "There is no /api/v5"),
        (format!("v2/subnet/{subnet}/call"), 404, "There is no"),
        (format!("v3/canister/{id}/query"), 400, "Expected a request of type query"),
        (format!("v3/canister/{id}/read_state"), 400, "Expected a request of type read_state"),
    ] {
        let response = network.post(&path, body.clone());
        assert_eq!(response.status(), status, "{path}");
        let text = response.text().unwrap();
        assert!(text.contains(part), "{path}: {text}");
    }
    assert_eq!(read_counter(&network.pic, id), 0);
}

#[test]
fn malformed_bodies_are_refused() {
    let network = Network::new();
    let path = format!("v4/canister/{}/call", network.canister());
    let good = signed(&ed25519(1), network.call(ed25519(1).sender().unwrap(), "inc", 1)).encode_bytes();
    let cut = &good[..good.len() - 1];
    for body in [b"".as_slice(), b"\xff", b"{}", b"\xa0", cut, &[0x9f; 100_000]] {
        assert_eq!(network.post(&path, body).status(), 400);
    }
    let url = format!("{}api/{path}", network.url);
    let json = Client::new().post(&url).header("content-type", "application/json").body(good).send().unwrap();
    assert_eq!(json.status(), 400);
    assert_eq!(Client::new().get(&url).send().unwrap().status(), 405);
    let nowhere = format!("{}instances/1000000/api/v2/status", network.pic.get_server_url());
    assert_eq!(Client::new().get(nowhere).send().unwrap().status(), 400);
}

#[test]
fn requests_that_are_too_large_are_refused() {
    let network = Network::new();
    let path = format!("v4/canister/{}/call", network.canister());
    for bytes in [(4 << 20) + 1, 5_000_000] {
        let response = network.post(&path, vec![0; bytes]);
        assert_eq!(response.status(), 413);
        assert!(response.text().unwrap().contains("4194304"));
    }
}

/// A request of exactly the maximum length is read, and refused only because zeros are not an envelope (400, not 413).
#[test]
fn requests_of_up_to_4_mib_are_read() {
    let network = Network::new();
    let path = format!("v4/canister/{}/call", network.canister());
    let response = network.post(&path, vec![0; 4 << 20]);
    assert_eq!(response.status(), 400, "{:?}", response.text());
}

/// A client that does not finish its request does not block other clients. In the end, its request is refused with
/// status 408.
#[test]
fn a_slow_client_does_not_delay_others() {
    let network = Network::new();
    let url = url::Url::parse(&network.url).unwrap();
    let address = (url.host_str().unwrap(), url.port().unwrap());
    let mut slow = TcpStream::connect(address).unwrap();
    write!(
        slow,
        "POST {}api/v4/canister/{}/call HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\ncontent-type: application/cbor\r\n\r\nabc",
        url.path(),
        network.canister()
    )
    .unwrap();
    let agent = network.anonymous();
    network.run(agent.update(&network.canister(), "inc").call_and_wait()).unwrap();
    let mut answer = [0; 32];
    slow.set_read_timeout(Some(Duration::from_secs(120))).unwrap();
    let read = slow.read(&mut answer).unwrap();
    assert!(String::from_utf8_lossy(&answer[..read]).starts_with("HTTP/1.1 408"));
}

#[test]
fn agents_of_another_network_do_not_trust_this_one() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    // The agent is given the key of the application subnet as the root key: a valid key, but a wrong one.
    let subnet = network.pic.get_subnet(network.canister()).unwrap();
    let url = format!("{}read/pub_key", network.url);
    let body = RawSubnetId { subnet_id: subnet.as_slice().to_vec() };
    let key: Vec<u8> = Client::new().post(url).json(&body).send().unwrap().json().unwrap();
    assert_ne!(key, agent.read_root_key());
    agent.set_root_key(key);
    for id in network.canisters {
        let update = network.run(agent.update(&id, "inc").call_and_wait());
        assert!(matches!(update, Err(AgentError::CertificateVerificationFailed())), "{update:?}");
        assert!(network.run(agent.query(&id, "read").call()).is_err());
    }
}
