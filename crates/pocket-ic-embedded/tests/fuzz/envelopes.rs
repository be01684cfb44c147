//! Requests of agents: envelopes that are almost valid, and valid ones with damaged bytes.

use crate::common::{builder, call, counter, parse_u32};
use crate::fuzz;
use candid::Principal;
use ic_transport_types::{Envelope, EnvelopeContent};
use pocket_ic::PocketIc;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use reqwest::blocking::Client;
use serde_cbor::Value;
use std::borrow::Cow;
use std::collections::BTreeMap;

struct TestInstance {
    pic: PocketIc,
    canister: Principal,
    client: Client,
}

impl TestInstance {
    fn new() -> Self {
        let pic = builder().with_application_subnet().disable_ingress_validation().build();
        let canister = pic.create_canister();
        pic.install_canister(canister, counter(), vec![], None);
        Self { pic, canister, client: Client::new() }
    }

    /// Returns a request of every kind with its path. The requests are not signed, and the instance does not check
    /// signatures: if it did, the server would refuse every changed request by its signature alone.
    fn requests(&self) -> Vec<(String, Value)> {
        // The expiry is in 2116: calls are executed, although it is too late for an instance that checks it.
        let (ingress_expiry, sender, canister_id) = (1 << 62, Principal::anonymous(), self.canister);
        let (nonce, method_name, arg, sender_info) =
            (Some(vec![1; 8]), "inc".to_owned(), vec![1, 2, 3], None);
        let call = EnvelopeContent::Call {
            nonce: nonce.clone(),
            ingress_expiry,
            sender,
            canister_id,
            method_name,
            arg: arg.clone(),
            sender_info: sender_info.clone(),
        };
        let query = EnvelopeContent::Query {
            nonce,
            ingress_expiry,
            sender,
            canister_id,
            method_name: "read".into(),
            arg,
            sender_info,
        };
        let labels =
            ["canister".as_bytes().into(), canister_id.as_slice().into(), "module_hash".as_bytes().into()];
        let paths = vec![vec!["time".as_bytes().into()], labels.to_vec()];
        let read = EnvelopeContent::ReadState { ingress_expiry, sender, paths };
        let place = |version: &str, action: &str| format!("{version}/canister/{canister_id}/{action}");
        [(place("v2", "call"), call), (place("v3", "query"), query), (place("v3", "read_state"), read)]
            .map(|(path, content)| {
                let envelope = Envelope {
                    content: Cow::Owned(content),
                    sender_pubkey: None,
                    sender_sig: None,
                    sender_delegation: None,
                };
                (path, serde_cbor::value::to_value(envelope).expect("CBOR"))
            })
            .to_vec()
    }

    /// Sends a body, and checks that the server answers and does not report a fault of its own.
    fn post(&self, path: &str, body: &[u8]) -> Result<u16, TestCaseError> {
        let url = format!("{}instances/{}/api/{path}", self.pic.get_server_url(), self.pic.instance_id());
        let request = self.client.post(url).header("content-type", "application/cbor").body(body.to_vec());
        let failed = |error| TestCaseError::fail(format!("{path} {}: {error}", hex::encode(body)));
        let status = request.send().map_err(failed)?.status().as_u16();
        prop_assert!([200, 202, 400, 403, 404].contains(&status), "{path} {}: {status}", hex::encode(body));
        Ok(status)
    }

    fn assert_alive(&self) {
        let before = parse_u32(&call(&self.pic, self.canister, "inc", &[]).expect("a reply"));
        assert_eq!(parse_u32(&call(&self.pic, self.canister, "inc", &[]).expect("a reply")), before + 1);
    }
}

/// Generates any CBOR.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<u64>().prop_map(|number| Value::Integer(number.into())),
        any::<i64>().prop_map(|number| Value::Integer(number.into())),
        any::<f64>().prop_map(Value::Float),
        ".{0,20}".prop_map(Value::Text),
        vec(any::<u8>(), 0..40).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(3, 20, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::Array),
            vec((inner.clone(), inner), 0..4).prop_map(|fields| Value::Map(fields.into_iter().collect())),
        ]
    })
}

/// Replaces the fields that the indexes select, or removes those without a new value. They are fields of the content,
/// or fields of the envelope if the content is not a map or is empty.
fn change(body: &mut Value, changes: &[(Index, Option<Value>)]) {
    for (index, new) in changes {
        let Value::Map(envelope) = body else { return };
        let content = envelope.entry(Value::Text("content".into())).or_insert(Value::Null);
        let fields: &mut BTreeMap<Value, Value> = match content {
            Value::Map(fields) if !fields.is_empty() => fields,
            _ => envelope,
        };
        let names: Vec<Value> = fields.keys().cloned().collect();
        if names.is_empty() {
            return;
        }
        let name = index.get(&names).clone();
        match new {
            Some(value) => fields.insert(name, value.clone()),
            None => fields.remove(&name),
        };
    }
}

#[test]
fn good_envelopes_are_accepted() {
    let instance = TestInstance::new();
    for (path, body) in instance.requests() {
        let status = instance.post(&path, &serde_cbor::to_vec(&body).expect("CBOR")).expect("an answer");
        assert_eq!(status, if path.ends_with("call") { 202 } else { 200 }, "{path}");
    }
    instance.assert_alive();
}

#[test]
fn mutated_envelopes_are_answered() {
    let instance = TestInstance::new();
    let requests = instance.requests();
    let changes = vec((any::<Index>(), proptest::option::weighted(0.8, value())), 0..4);
    fuzz(&(select(requests), changes), |((path, mut body), changes)| {
        change(&mut body, &changes);
        instance.post(&path, &serde_cbor::to_vec(&body).expect("CBOR")).map(drop)
    });
    instance.assert_alive();
}

#[test]
fn damaged_envelopes_are_answered() {
    let instance = TestInstance::new();
    let requests: Vec<_> = instance
        .requests()
        .into_iter()
        .map(|(path, body)| (path, serde_cbor::to_vec(&body).expect("CBOR")))
        .collect();
    let damage = vec((any::<Index>(), any::<u8>()), 0..6);
    fuzz(
        &(select(requests), damage, any::<Index>(), any::<bool>()),
        |((path, mut body), damage, end, cut)| {
            for (place, byte) in damage {
                let place = place.index(body.len());
                body[place] = byte;
            }
            if cut {
                body.truncate(end.index(body.len()));
            }
            instance.post(&path, &body).map(drop)
        },
    );
    instance.assert_alive();
}
