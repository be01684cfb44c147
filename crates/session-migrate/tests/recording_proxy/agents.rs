//! Calls of agents, through the URL of an instance on the server, and through HTTP gateways.

use std::net::TcpListener;
use std::path::Path;

use candid::{CandidType, Principal};
use pocket_ic::common::rest::{HttpGatewayDetails, InstanceHttpGatewayConfig};
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use reqwest::Url;
use serde_bytes::ByteBuf;
use serde_json::{Value, json};
use session_migrate::build::Build;
use session_migrate::proxy::Recorded;
use session_migrate::trace::{CallKind, EventKind, Trace, TracedAnswer, TracedCall};
use upload_canister::api::{Capsule, Error, PersonRef, Result as Reply, UploadFinishResult, UploadStatus};

use crate::agent::{Agent, decode};
use crate::agent_server;
use crate::front_end::{CHUNK, FrontEnd, begin_args, content, finish_args, person, put_args};
use crate::{assert_replays, proxy, scratch};

const VERSIONS: &[&str] = &["v2", "v3", "v4"];

/// The argument of some methods of the management canister.
#[derive(Clone, CandidType)]
struct CanisterArg {
    canister_id: Principal,
}

fn instance_url(server: &Url, pic: &PocketIc) -> Url {
    server.join(&format!("instances/{}/", pic.instance_id())).unwrap()
}

fn calls(trace: &Path) -> Vec<TracedCall> {
    let events = Trace::read(trace).unwrap().events.into_iter();
    events
        .filter_map(|event| match event.what {
            EventKind::Call(call) => Some(call),
            _ => None,
        })
        .collect()
}

fn create_capsule(agent: &Agent) -> String {
    let capsule: Reply<Capsule> = agent.update("capsules_create", (None::<PersonRef>,));
    capsule.unwrap().id
}

fn begin(agent: &Agent, capsule: &str, file: &[u8], idem: &str) -> u64 {
    let begun: Reply<u64> = agent.update("uploads_begin", begin_args(capsule, file, idem));
    begun.unwrap()
}

/// Uploads a whole file, with a status call in the middle; returns how many calls it took.
fn upload(agent: &Agent) -> u64 {
    let file = content(90);
    let session = begin(agent, &create_capsule(agent), &file, "whole");
    agent.update::<Reply<()>>("uploads_put_chunk", put_args(session, 0, &file)).unwrap();
    let status: Reply<UploadStatus> = decode(agent.query("uploads_status", (session,)));
    assert!(status.unwrap().missing.is_empty());
    agent.update::<Reply<UploadFinishResult>>("uploads_finish", finish_args(session, &file)).unwrap();
    // The capsule, the begin, the chunk, the status and the finish.
    5
}

#[test]
fn recorded_agent_calls_replay_to_the_same_answers_elsewhere() {
    let embedded = EmbeddedServer::start().unwrap();
    let server = agent_server::start(VERSIONS, &embedded.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url, &out);
    let front_end = FrontEnd::install(proxy.url());
    let agent = Agent::new(instance_url(proxy.url(), &front_end.pic), front_end.id, person("client"));

    let capsule = create_capsule(&agent);
    let (large, small) = (content(2 * CHUNK + 700), content(90));
    let session = begin(&agent, &capsule, &large, "large");

    // Two calls are in flight before a round. The answer to the first is never requested.
    let begun = agent.submit("uploads_begin", begin_args(&capsule, &small, "never asked for"));
    let other = agent.submit("uploads_begin", begin_args(&capsule, &small, "asked for"));
    front_end.pic.tick();
    decode::<Reply<u64>>(agent.poll(&other)).unwrap();

    // The client hangs up before the answer, repeats the same call, and then begins the upload again.
    let lost = agent.call("uploads_begin", begin_args(&capsule, &small, "lost"));
    agent.send_and_hang_up(&lost, || server.wait_for(lost.to_request_id()));
    let found: u64 = decode::<Reply<u64>>(agent.send(&lost)).unwrap();
    assert_eq!(begin(&agent, &capsule, &small, "lost"), found);

    // Chunks in parallel, one of them too short.
    std::thread::scope(|threads| {
        for idx in 0..2 {
            let put = put_args(session, idx, &large);
            let agent = &agent;
            threads.spawn(move || agent.update::<Reply<()>>("uploads_put_chunk", put).unwrap());
        }
        threads.spawn(|| {
            let short = (session, 2_u32, ByteBuf::from(vec![1; 5]), None::<ByteBuf>);
            agent.update::<Reply<()>>("uploads_put_chunk", short).unwrap_err()
        });
    });
    let status: Reply<UploadStatus> = decode(agent.query("uploads_status", (session,)));
    assert_eq!(status.unwrap().missing.len(), 1);
    agent.update::<Reply<()>>("uploads_put_chunk", put_args(session, 2, &large)).unwrap();

    // Calls that are refused: by the server before and after it has accepted the call, and by the canister.
    assert_eq!(agent.query("no_such_method", ()), Err("IC0536".into()));
    assert_eq!(agent.send(&agent.call("no_such_method", ())), Err("IC0536".into()));
    let stranger =
        Agent::new(instance_url(proxy.url(), &front_end.pic), front_end.id, Principal::anonymous());
    let refused: Reply<u64> = stranger.update("uploads_begin", begin_args(&capsule, &small, "stranger"));
    assert!(matches!(refused, Err(Error::Unauthorized { .. })), "{refused:?}");

    // Calls of the management canister by an agent are recorded, too.
    let controller =
        Agent::new(instance_url(proxy.url(), &front_end.pic), front_end.id, person("controller"));
    let (controller, canister_arg) = (controller.managing(), (CanisterArg { canister_id: front_end.id },));
    let stop = controller.submit("stop_canister", canister_arg.clone());
    front_end.pic.tick();
    controller.poll(&stop).unwrap();
    // The next call has the subnet in its path, and so has the request for its outcome.
    let subnet = front_end.pic.get_subnet(front_end.id).unwrap();
    let controller = controller.at_subnet(subnet);
    let start = controller.call("start_canister", canister_arg);
    controller.send(&start).unwrap();
    controller.poll(&start).unwrap();
    front_end.upgrade(Build::Staged);
    front_end.upgrade(Build::Direct);
    let finished: Reply<UploadFinishResult> = agent.update("uploads_finish", finish_args(session, &large));
    let read: Reply<ByteBuf> = decode(agent.query("blob_read_chunk", (finished.unwrap().blob_id, 2_u32)));
    assert_eq!(read.unwrap().into_vec(), large[2 * CHUNK..]);

    let recorded = proxy.stop().unwrap();
    drop(begun);
    assert!(recorded.notes.is_empty(), "{:?}", recorded.notes);
    assert_eq!(recorded.canister, front_end.id);
    let events = Trace::read(&out).unwrap().events;
    let kinds: Vec<&EventKind> = events.iter().map(|event| &event.what).collect();
    let stopped = [EventKind::Pass { rounds: 1 }, EventKind::Stop, EventKind::Start];
    assert!(kinds.windows(3).any(|three| three.iter().copied().eq(&stopped)), "{kinds:?}");
    let calls = calls(&out);
    assert_eq!(calls.len() as u64, recorded.calls);
    let methods: Vec<&str> = calls.iter().map(|call| call.method.as_str()).collect();
    let (before, after) = methods.split_at(6);
    assert_eq!(before[0], "capsules_create");
    assert!(
        before[1..].iter().all(|method| *method == "uploads_begin"),
        "the repetition is not a new call: {methods:?}"
    );
    assert_eq!(
        after,
        [
            "uploads_put_chunk",
            "uploads_put_chunk",
            "uploads_put_chunk",
            "uploads_status",
            "uploads_put_chunk",
            "no_such_method",
            "no_such_method",
            "uploads_begin",
            "uploads_finish",
            "blob_read_chunk",
        ]
    );
    // Call 3 is the second of the two that were in flight before a round.
    assert!(calls[3].together && !calls[2].together && !calls[4].together, "{calls:?}");
    // The calls of the list above, which begins with call 6: the status query, and the two calls of `no_such_method`.
    for (index, kind) in [(9, CallKind::Query), (11, CallKind::Query), (12, CallKind::Update)] {
        assert_eq!(calls[index].kind, kind);
    }
    for call in &calls[11..13] {
        let rejected =
            matches!(&call.answer, TracedAnswer::Rejected { code, .. } if code == "CanisterMethodNotFound");
        assert!(rejected, "{call:?}");
    }
    assert_eq!(calls[13].caller, Principal::anonymous());
    assert_replays(&out);
}

/// If the server does not support version 4, an agent sends the same call again with version 2.
#[test]
fn a_call_sent_again_by_version_2_is_recorded_once() {
    let embedded = EmbeddedServer::start().unwrap();
    let server = agent_server::start(&["v2"], &embedded.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url, &out);
    let front_end = FrontEnd::install(proxy.url());
    front_end.pic.auto_progress();
    let agent = Agent::new(instance_url(proxy.url(), &front_end.pic), front_end.id, person("client"));
    let calls_made = upload(&agent);
    let recorded = proxy.stop().unwrap();
    assert_eq!(recorded.calls, calls_made);
    assert!(calls(&out).iter().all(|call| !call.together));
}

fn assert_notes(recorded: &Recorded, parts: &[&str]) {
    let notes = &recorded.notes;
    assert_eq!(notes.len(), parts.len(), "{notes:?}");
    for part in parts {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn gateway_ports(proxy: &Url) -> Vec<u16> {
    let listed = reqwest::blocking::get(proxy.join("http_gateway").unwrap()).unwrap();
    listed.json::<Vec<HttpGatewayDetails>>().unwrap().iter().map(|gateway| gateway.port).collect()
}

#[test]
fn a_live_front_end_reaches_its_gateway_through_the_proxy() {
    let embedded = EmbeddedServer::start().unwrap();
    let server = agent_server::start(VERSIONS, &embedded.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url, &out);
    let mut front_end = FrontEnd::install(proxy.url());
    let mut calls_made = 0;
    for wanted in [None, Some(free_port())] {
        let url = front_end.pic.make_live(wanted);
        let port = url.port().unwrap();
        assert!(wanted.is_none_or(|wanted| wanted == port));
        assert!(!server.gateway_ports().contains(&port), "the port is that of the server's gateway");
        assert_eq!(gateway_ports(proxy.url()), [port]);
        assert_eq!(reqwest::blocking::get(url.clone()).unwrap().text().unwrap(), "a page");
        let client = person(&format!("client at {wanted:?}"));
        calls_made += upload(&Agent::new(url, front_end.id, client));
        front_end.pic.stop_live();
        assert_eq!(server.gateway_ports(), [] as [u16; 0]);
        TcpListener::bind(("127.0.0.1", port)).expect("the port is not free again");
    }
    let recorded = proxy.stop().unwrap();
    assert_eq!(recorded.calls, calls_made);
    assert_notes(&recorded, &["the time advanced automatically"]);
    // The proxy cannot know when calls were executed, so the trace must not contain times.
    let events = Trace::read(&out).unwrap().events;
    assert_eq!(events.iter().position(|event| event.what == EventKind::ClockRuns), Some(0));
    assert!(!std::fs::read_to_string(&out).unwrap().contains("@+"), "{out:?}");
    assert_replays(&out);
}

#[test]
fn an_instance_created_with_a_gateway_is_recorded() {
    let embedded = EmbeddedServer::start().unwrap();
    let server = agent_server::start(VERSIONS, &embedded.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url, &out);
    let config = InstanceHttpGatewayConfig {
        ip_addr: None,
        port: None,
        domains: None,
        https_config: None,
        domain_custom_provider_local_file: None,
    };
    let builder = PocketIcBuilder::new().with_server_url(proxy.url().clone()).with_application_subnet();
    let front_end = FrontEnd::install_on(builder.with_http_gateway(config).build());
    let url = front_end.pic.url().unwrap();
    assert_eq!(gateway_ports(proxy.url()), [url.port().unwrap()]);
    let calls_made = upload(&Agent::new(url, front_end.id, person("client")));

    // A gateway whose requests cannot be read is reported, and the server's refusals are forwarded.
    let open = |config: Value| {
        let answer = reqwest::blocking::Client::new()
            .post(proxy.url().join("http_gateway").unwrap())
            .json(&config)
            .send()
            .unwrap();
        answer.json::<Value>().unwrap()
    };
    let instance = json!({ "PocketIcInstance": front_end.pic.instance_id() });
    let tls = json!({ "cert_path": "cert.pem", "key_path": "key.pem" });
    let opened = open(json!({ "forward_to": instance, "https_config": tls }));
    let port = opened["Created"]["port"].as_u64().unwrap() as u16;
    assert!(server.gateway_ports().contains(&port), "the port is not that of the server's gateway");
    let refused = open(json!({ "forward_to": instance, "port": port }));
    assert!(refused["Error"]["message"].is_string(), "{refused}");

    let recorded = proxy.stop().unwrap();
    assert_eq!(recorded.calls, calls_made);
    assert_notes(&recorded, &["through a gateway are not in the trace: it speaks TLS"]);
    assert_replays(&out);
}
