//! Calls, which are executed once and answered with a certificate, and queries, which are answered with a signature.

use crate::common::{ANONYMOUS, builder, encode_canister_id, parse_u32, read_counter, user, wasm};
use crate::network::{Network, ed25519, from_now, request_id, signed};
use candid::{Decode, Encode, Principal};
use ic_agent::agent::{Agent, CallResponse, EnvelopeContent, RequestStatusResponse};
use ic_agent::identity::AnonymousIdentity;
use ic_agent::{AgentError, Identity, lookup_value};
use ic_management_canister_types as types;
use ic_transport_types::TransportCallResponse;
use std::time::Duration;

/// Makes a call by the agent, and waits for the outcome.
fn update(network: &Network, agent: &Agent, id: Principal, method: &str) -> Result<Vec<u8>, AgentError> {
    network.run(agent.update(&id, method).call_and_wait())
}

#[test]
fn both_subnets_accept_calls_and_queries() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    for id in network.canisters {
        assert_eq!(parse_u32(&update(&network, &agent, id, "inc").unwrap()), 1);
        assert_eq!(parse_u32(&network.run(agent.query(&id, "read").call()).unwrap()), 1);
        let caller = network.run(agent.query(&id, "caller").call()).unwrap();
        assert_eq!(Principal::from_slice(&caller), ed25519(1).sender().unwrap());
    }
}

#[test]
fn rejections_carry_numbered_codes() {
    let network = Network::new();
    let (agent, id) = (network.anonymous(), network.canister());
    for (method, code, part) in [
        ("trap_after_inc", "IC0503", "something went wrong"),
        ("reject", "IC0406", "not today"),
        ("missing", "IC0536", "no update method"),
    ] {
        let Err(AgentError::CertifiedReject { reject, .. }) = update(&network, &agent, id, method) else {
            panic!("{method} is not rejected by certificate");
        };
        assert_eq!(reject.error_code.as_deref(), Some(code), "{method}");
        assert!(reject.reject_message.contains(part), "{}", reject.reject_message);
    }
    // Rejections of queries, and of calls before a round, have no certificate.
    let query = network.run(agent.query(&id, "missing").call());
    let Err(AgentError::UncertifiedReject { reject, .. }) = query else { panic!("{query:?}") };
    assert_eq!(reject.error_code.as_deref(), Some("IC0536"));
    network.pic.stop_canister(id, None).unwrap();
    let stopped = update(&network, &agent, id, "inc");
    let Err(AgentError::UncertifiedReject { reject, .. }) = stopped else { panic!("{stopped:?}") };
    assert_eq!(reject.error_code.as_deref(), Some("IC0508"));
}

#[test]
fn an_agent_creates_canisters_on_the_subnet_it_names() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    let management = Principal::management_canister();
    for existing in network.canisters {
        // The effective canister id selects the subnet.
        let arg = types::ProvisionalCreateCanisterWithCyclesArgs::default();
        let create = agent
            .update(&management, "provisional_create_canister_with_cycles")
            .with_effective_canister_id(existing)
            .with_arg(Encode!(&arg).unwrap());
        let reply = network.run(create.call_and_wait()).unwrap();
        let id = Decode!(&reply, types::CanisterIdRecord).unwrap().canister_id;
        assert_eq!(network.pic.get_subnet(id), network.pic.get_subnet(existing));
        let module_hash = network.run(agent.read_state_canister_module_hash(id));
        assert!(matches!(module_hash, Err(AgentError::LookupPathAbsent(_))), "{module_hash:?}");
        let install = types::InstallCodeArgs {
            mode: types::CanisterInstallMode::Install,
            canister_id: id,
            wasm_module: crate::common::counter(),
            arg: vec![],
            sender_canister_version: None,
        };
        let install = agent
            .update(&management, "install_code")
            .with_effective_canister_id(id)
            .with_arg(Encode!(&install).unwrap());
        network.run(install.call_and_wait()).unwrap();
        assert_eq!(parse_u32(&update(&network, &agent, id, "inc").unwrap()), 1);
        let status = agent
            .update(&management, "canister_status")
            .with_effective_canister_id(id)
            .with_arg(encode_canister_id(id));
        let reply = network.run(status.call_and_wait()).unwrap();
        let status = Decode!(&reply, types::CanisterStatusResult).unwrap();
        assert_eq!(status.settings.controllers, [ed25519(1).sender().unwrap()]);
    }
}

#[test]
fn a_call_without_an_effective_id_creates_on_the_root_subnet() {
    let network = Network::new();
    let agent = network.anonymous();
    let management = Principal::management_canister();
    let arg = types::ProvisionalCreateCanisterWithCyclesArgs::default();
    let create =
        agent.update(&management, "provisional_create_canister_with_cycles").with_arg(Encode!(&arg).unwrap());
    let reply = network.run(create.call_and_wait()).unwrap();
    let id = Decode!(&reply, types::CanisterIdRecord).unwrap().canister_id;
    assert_eq!(network.pic.get_subnet(id), network.pic.topology().get_nns());
}

#[test]
fn a_call_sent_twice_runs_once() {
    let network = Network::new();
    let identity = ed25519(1);
    let envelope = signed(&identity, network.call(identity.sender().unwrap(), "inc", 1));
    // The call is sent three times.
    let replies: Vec<_> = (0..3)
        .map(|_| {
            let (status, body) = network.send_call("v4", &envelope);
            assert_eq!(status, 200);
            let answer: TransportCallResponse = serde_cbor::from_slice(&body).unwrap();
            let TransportCallResponse::Replied { certificate } = answer else { panic!("{answer:?}") };
            let certificate: ic_agent::Certificate = serde_cbor::from_slice(&certificate).unwrap();
            let id = envelope.content.to_request_id();
            lookup_value(&certificate, [b"request_status".as_slice(), id.as_slice(), b"reply"])
                .unwrap()
                .to_vec()
        })
        .collect();
    assert_eq!(replies, vec![vec![1, 0, 0, 0]; 3]);
    assert_eq!(read_counter(&network.pic, network.canister()), 1);
    // The same call with another nonce is another call.
    let envelope = signed(&identity, network.call(identity.sender().unwrap(), "inc", 2));
    assert_eq!(network.send_call("v4", &envelope).0, 200);
    assert_eq!(read_counter(&network.pic, network.canister()), 2);
}

#[test]
fn an_asynchronous_call_is_accepted_and_polled() {
    let network = Network::new();
    let identity = ed25519(1);
    let envelope = signed(&identity, network.call(identity.sender().unwrap(), "inc", 1));
    let (status, body) = network.send_call("v2", &envelope);
    assert_eq!((status, body.as_slice()), (202, b"".as_slice()));
    let agent = network.agent(ed25519(1));
    let id = envelope.content.to_request_id();
    let (reply, _) = network.run(agent.wait(&id, network.canister())).unwrap();
    assert_eq!(parse_u32(&reply), 1);
    // A call that is refused before a round gets its rejection in the response; there is nothing to poll.
    network.pic.stop_canister(network.canister(), None).unwrap();
    let envelope = signed(&identity, network.call(identity.sender().unwrap(), "inc", 2));
    let (status, body) = network.send_call("v2", &envelope);
    assert_eq!(status, 200);
    let rejected: serde_cbor::Value = serde_cbor::from_slice(&body).unwrap();
    let serde_cbor::Value::Map(fields) = rejected else { panic!("{rejected:?}") };
    let names: Vec<_> = fields.keys().cloned().collect();
    let named = |name: &str| serde_cbor::Value::Text(name.into());
    assert_eq!(names, ["error_code", "reject_code", "reject_message"].map(named));
    // The reject code 5: an error of the canister.
    assert_eq!(fields[&named("reject_code")], serde_cbor::Value::Integer(5));
}

#[test]
fn an_unknown_request_is_proven_to_be_unknown() {
    let network = Network::new();
    let agent = network.agent(ed25519(1));
    for id in network.canisters {
        for another_is_known in [false, true] {
            if another_is_known {
                update(&network, &agent, id, "inc").unwrap();
            }
            let (status, _) = network.run(agent.request_status_raw(&request_id([7; 32]), id)).unwrap();
            assert_eq!(status, RequestStatusResponse::Unknown);
        }
    }
}

#[test]
fn a_call_that_expires_before_its_turn_is_rejected() {
    let network = Network::new();
    network.pic.stop_progress();
    let sender = ed25519(1);
    let envelope = signed(&sender, network.call(sender.sender().unwrap(), "inc", 1));
    assert_eq!(network.send_call("v2", &envelope).0, 202);
    // The call expires after 240 seconds.
    network.pic.advance_time(Duration::from_secs(300));
    network.pic.tick();
    let id = envelope.content.to_request_id();
    let labels = [b"request_status".as_slice(), id.as_slice()];
    let certificate = network.read_without_agent(&sender, &labels);
    let field = |name: &str| lookup_value(&certificate, [labels[0], labels[1], name.as_bytes()]).unwrap();
    assert_eq!(field("status"), b"rejected");
    assert_eq!(field("error_code"), b"IC0202");
    assert_eq!(read_counter(&network.pic, network.canister()), 0);
}

/// The instance runs no round until the test calls `tick`, so the agent must poll for the outcome.
#[test]
fn an_instance_without_progress_accepts_and_answers_later() {
    let network = Network::new();
    network.pic.stop_progress();
    let agent = network.agent(ed25519(1));
    let call = network.run(async { agent.update(&network.canister(), "inc").call().await }).unwrap();
    let CallResponse::Poll(id) = call else { panic!("{call:?}") };
    network.pic.tick();
    let (reply, _) = network.run(agent.wait(&id, network.canister())).unwrap();
    assert_eq!(parse_u32(&reply), 1);
}

#[test]
fn unsigned_calls_are_accepted_where_nothing_is_checked() {
    let mut network = Network::new();
    let unsigned = ic_agent::agent::Envelope {
        content: std::borrow::Cow::Owned(network.call(user(1), "inc", 1)),
        sender_pubkey: None,
        sender_sig: None,
        sender_delegation: None,
    };
    assert_eq!(network.send_call("v4", &unsigned).0, 400);
    network = Network::with(builder().disable_ingress_validation());
    let unsigned = ic_agent::agent::Envelope {
        content: std::borrow::Cow::Owned(network.call(user(1), "inc", 1)),
        ..unsigned
    };
    assert_eq!(network.send_call("v4", &unsigned).0, 200);
    assert_eq!(network.pic.query_call(network.canister(), ANONYMOUS, "read", vec![]).unwrap(), [1, 0, 0, 0]);
}

/// `raw_rand` is answered in the next round, so the call has no answer yet after its first round. The canister then
/// replies with the text "raw_rand", since it does not read the random bytes.
#[test]
fn a_synchronous_call_waits_for_later_rounds() {
    let network = Network::new();
    let subnet = network.pic.get_subnet(network.canister()).unwrap();
    let id = network.pic.create_canister_on_subnet(None, None, subnet);
    let module = wasm(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "call_new" (func $new (param i32 i32 i32 i32 i32 i32 i32 i32)))
            (import "ic0" "call_data_append" (func $data (param i32 i32)))
            (import "ic0" "call_perform" (func $perform (result i32)))
            (memory 1) (table funcref (elem $answered))
            (data (i32.const 0) "raw_rand") (data (i32.const 8) "DIDL\00\00")
            (func $answered (param i32) (call $append (i32.const 0) (i32.const 8)) (call $reply))
            (func (export "canister_update draw")
                (call $new (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 8)
                    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0))
                (call $data (i32.const 8) (i32.const 6))
                (drop (call $perform))))"#,
    );
    network.pic.install_canister(id, module, vec![], None);
    let identity = ed25519(1);
    let mut content = network.call(identity.sender().unwrap(), "draw", 1);
    let EnvelopeContent::Call { canister_id, .. } = &mut content else { unreachable!() };
    *canister_id = id;
    let request = content.to_request_id();
    let response = network.post(&format!("v4/canister/{id}/call"), signed(&identity, content).encode_bytes());
    assert_eq!(response.status(), 200);
    let answer: TransportCallResponse = serde_cbor::from_slice(&response.bytes().unwrap()).unwrap();
    let TransportCallResponse::Replied { certificate } = answer else { panic!("{answer:?}") };
    let certificate: ic_agent::Certificate = serde_cbor::from_slice(&certificate).unwrap();
    let reply = [b"request_status".as_slice(), request.as_slice(), b"reply"];
    assert_eq!(lookup_value(&certificate, reply).unwrap(), b"raw_rand");
}

#[test]
fn management_calls_are_routed_to_their_subnet() {
    let network = Network::new();
    let [root, id] = network.canisters;
    let subnet = network.pic.get_subnet(id).unwrap();
    let create = "provisional_create_canister_with_cycles";
    let no_settings = Encode!(&types::ProvisionalCreateCanisterWithCyclesArgs::default()).unwrap();
    let send = |address: String, callee: Principal, method: &str, arg: &[u8]| {
        let content = EnvelopeContent::Call {
            nonce: None,
            ingress_expiry: from_now(Duration::from_secs(60)),
            sender: ANONYMOUS,
            canister_id: callee,
            method_name: method.into(),
            arg: arg.to_vec(),
            sender_info: None,
        };
        let request = content.to_request_id();
        let response = network.post(&address, signed(&AnonymousIdentity, content).encode_bytes());
        (response.status().as_u16(), response.bytes().unwrap().to_vec(), request)
    };
    let management = Principal::management_canister();
    // A management method about a canister must be sent to that canister's address.
    let install = types::InstallChunkedCodeArgs {
        mode: types::CanisterInstallMode::Reinstall,
        target_canister: id,
        store_canister: None,
        chunk_hashes_list: vec![],
        wasm_module_hash: vec![],
        arg: vec![],
        sender_canister_version: None,
    };
    for (method, arg) in
        [("canister_status", encode_canister_id(id)), ("install_chunked_code", Encode!(&install).unwrap())]
    {
        let (status, body, _) = send(format!("v4/canister/{root}/call"), management, method, &arg);
        assert_eq!(status, 400, "{method}");
        assert!(String::from_utf8_lossy(&body).contains("does not match effective canister id in URL"));
    }
    // A method with the name of a management method, but of an ordinary canister: neither the address of another
    // canister nor that of a subnet accepts it.
    let (status, _, _) = send(format!("v4/canister/{root}/call"), id, create, &no_settings);
    assert_eq!(status, 400);
    let (status, body, _) = send(format!("v4/subnet/{subnet}/call"), id, create, &no_settings);
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&body).contains("cannot be called at subnet"));
    let (status, body, request) = send(format!("v4/subnet/{subnet}/call"), management, create, &no_settings);
    assert_eq!(status, 200);
    let answer: TransportCallResponse = serde_cbor::from_slice(&body).unwrap();
    let TransportCallResponse::Replied { certificate } = answer else { panic!("{answer:?}") };
    let certificate: ic_agent::Certificate = serde_cbor::from_slice(&certificate).unwrap();
    let reply = [b"request_status".as_slice(), request.as_slice(), b"reply"];
    let created = Decode!(lookup_value(&certificate, reply).unwrap(), types::CanisterIdRecord).unwrap();
    assert_eq!(network.pic.get_subnet(created.canister_id), Some(subnet));
}

#[test]
fn only_list_canisters_can_be_queried_at_a_subnet() {
    let network = Network::new();
    let subnet = network.pic.get_subnet(network.canister()).unwrap();
    let ask = |method: &str| {
        let content = EnvelopeContent::Query {
            nonce: None,
            ingress_expiry: from_now(Duration::from_secs(60)),
            sender: ANONYMOUS,
            canister_id: Principal::management_canister(),
            method_name: method.into(),
            arg: encode_canister_id(network.canister()),
            sender_info: None,
        };
        let envelope = signed(&AnonymousIdentity, content);
        let response = network.post(&format!("v3/subnet/{subnet}/query"), envelope.encode_bytes());
        (response.status().as_u16(), response.bytes().unwrap().to_vec())
    };
    // The address accepts this method; then the server rejects it.
    let (status, body) = ask("list_canisters");
    assert_eq!(status, 200);
    assert!(String::from_utf8_lossy(&body).contains("not supported by the embedded server"));
    let (status, body) = ask("canister_status");
    assert_eq!(status, 400);
    assert!(String::from_utf8_lossy(&body).contains("cannot be called at subnet"));
}
