//! Prints a table of the times of calls through the interface for agents and through the PocketIC protocol.
//!
//! `cargo run -p pocket-ic-embedded --example agent_calls`. All ways to call are measured alternately, several times
//! each, on one instance. The table has the medians, and their ratios next to the limits of [`WayToCall::max_ratios`];
//! nothing is asserted.

use candid::Principal;
use ic_agent::agent::{Envelope, EnvelopeContent};
use ic_agent::identity::{AnonymousIdentity, BasicIdentity};
use ic_agent::{Agent, Identity};
use pocket_ic::{PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use reqwest::RequestBuilder;
use std::borrow::Cow;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Builder, Runtime};

/// Number of measurements of each way to call, for each number of clients. (Not rounds of the instance.)
const ROUNDS: usize = 7;
/// Number of calls by each client in a measurement.
const CALLS: usize = 60;
/// Numbers of clients that call at the same time.
const CLIENTS: [usize; 2] = [1, 16];

const CANISTER: &str = r#"(module
    (import "ic0" "msg_reply" (func $reply))
    (func (export "canister_update nothing") (call $reply))
    (func (export "canister_query nothing_query") (call $reply)))"#;

/// The call whose time is measured; its argument is what [`WayToCall::prepare`] has returned.
type TimedCall<'a> = Box<dyn Fn(&Prepared) + Sync + 'a>;

/// What is prepared for a call before the time is measured.
#[derive(Clone, Default)]
struct Prepared {
    /// Empty if the client makes the request itself.
    body: Vec<u8>,
}

struct WayToCall<'a> {
    name: &'static str,
    /// `None` if this way is not compared. Otherwise, the name of the way with which it is compared, and the highest
    /// acceptable ratio of this way's time to that one's, for each of [`CLIENTS`]; printed, not enforced.
    max_ratios: Option<(&'static str, [f64; 2])>,
    /// Called before the measurement, once for each call.
    prepare: Box<dyn Fn() -> Prepared + 'a>,
    call: TimedCall<'a>,
}

/// A client like the PocketIC client: it sends requests and receives responses on the threads that call it.
struct Client {
    runtime: Runtime,
    http: reqwest::Client,
}

impl Client {
    fn new() -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
        Self { runtime, http: reqwest::Client::new() }
    }

    fn send(&self, request: RequestBuilder) {
        self.runtime.block_on(async {
            let response = request.send().await.expect("a response");
            assert_eq!(response.status(), 200);
            response.bytes().await.expect("a body");
        });
    }
}

fn main() {
    let server = EmbeddedServer::start().expect("the server starts");
    let pic = PocketIcBuilder::new()
        .with_server_url(server.url())
        .with_nns_subnet()
        .with_application_subnet()
        .build();
    let url = pic.auto_progress().to_string();
    let id = pic.create_canister();
    let wasm = wat::parse_str(CANISTER).expect("the canister's text is valid");
    pic.install_canister(id, wasm, vec![], None);
    let runtime = Runtime::new().expect("a runtime");
    let agent = Agent::builder().with_url(&url).with_identity(AnonymousIdentity).build().expect("an agent");
    runtime.block_on(agent.fetch_root_key()).expect("the root key");
    let client = Client::new();
    let ways = ways_to_call(&pic, &agent, &runtime, &client, &url, id);
    let mut times = vec![[vec![], vec![]]; ways.len()];
    for _ in 0..ROUNDS {
        for (column, clients) in CLIENTS.into_iter().enumerate() {
            for (way, times) in ways.iter().zip(&mut times) {
                times[column].push(measure(way, clients));
            }
        }
    }
    let medians: Vec<[f64; 2]> = times.into_iter().map(|[one, many]| [median(one), median(many)]).collect();
    print_table(&ways, &medians);
}

fn ways_to_call<'a>(
    pic: &'a PocketIc,
    agent: &'a Agent,
    runtime: &'a Runtime,
    client: &'a Client,
    url: &str,
    id: Principal,
) -> Vec<WayToCall<'a>> {
    // The two ways through the PocketIC protocol, with which those through the interface for agents are compared.
    const UPDATE: &str = "update, submit and await";
    const QUERY: &str = "query, PocketIC";
    let at = |path: &str| format!("{url}api/{path}");
    let call_url = at(&format!("v4/canister/{id}/call"));
    let query_url = at(&format!("v3/canister/{id}/query"));
    let status_url = pic.get_server_url().join("status").expect("a URL").to_string();
    let post = move |url: String| {
        move |prepared: &Prepared| {
            let request = client.http.post(&url).header("content-type", "application/cbor");
            client.send(request.body(prepared.body.clone()));
        }
    };
    let request = |is_query, is_signed| move || Prepared { body: envelope(id, is_query, is_signed) };
    let no_body = || Prepared::default();
    vec![
        WayToCall {
            name: "`GET /status`, for comparison",
            max_ratios: None,
            prepare: Box::new(no_body),
            call: Box::new(move |_| client.send(client.http.get(&status_url))),
        },
        WayToCall {
            name: UPDATE,
            max_ratios: None,
            prepare: Box::new(no_body),
            call: Box::new(move |_| {
                drop(pic.update_call(id, Principal::anonymous(), "nothing", vec![]).expect("a reply"))
            }),
        },
        WayToCall {
            name: "update, `/api/v4`, anonymous",
            max_ratios: Some((UPDATE, [2.5, 1.5])),
            prepare: Box::new(request(false, false)),
            call: Box::new(post(call_url.clone())),
        },
        WayToCall {
            name: "update, `/api/v4`, signed with Ed25519",
            max_ratios: Some((UPDATE, [2.5, 1.5])),
            prepare: Box::new(request(false, true)),
            call: Box::new(post(call_url)),
        },
        WayToCall {
            name: "update by `ic-agent`, which verifies the certificate",
            max_ratios: None,
            prepare: Box::new(no_body),
            call: Box::new(move |_| {
                runtime
                    .block_on(async { agent.update(&id, "nothing").call_and_wait().await.expect("a reply") });
            }),
        },
        WayToCall {
            name: QUERY,
            max_ratios: None,
            prepare: Box::new(no_body),
            call: Box::new(move |_| {
                drop(pic.query_call(id, Principal::anonymous(), "nothing_query", vec![]).expect("a reply"));
            }),
        },
        WayToCall {
            name: "query, `/api/v3`, anonymous",
            max_ratios: Some((QUERY, [3.0, 3.0])),
            prepare: Box::new(request(true, false)),
            call: Box::new(post(query_url.clone())),
        },
        WayToCall {
            name: "query, `/api/v3`, signed with Ed25519",
            max_ratios: Some((QUERY, [3.0, 3.0])),
            prepare: Box::new(request(true, true)),
            call: Box::new(post(query_url)),
        },
    ]
}

/// Returns a query or an update call, anonymous or signed with Ed25519. It has a nonce of its own, since the server
/// executes equal calls only once.
fn envelope(id: Principal, is_query: bool, is_signed: bool) -> Vec<u8> {
    static NONCE: AtomicU64 = AtomicU64::new(0);
    let nonce = Some(NONCE.fetch_add(1, Ordering::Relaxed).to_be_bytes().to_vec());
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a time after 1970");
    // At most five and a half minutes ahead are allowed.
    let ingress_expiry = (now + Duration::from_secs(240)).as_nanos() as u64;
    let identity = BasicIdentity::from_raw_key(&[7; 32]);
    let sender = match is_signed {
        true => identity.sender().expect("a principal"),
        false => Principal::anonymous(),
    };
    let (canister_id, arg, sender_info) = (id, vec![], None);
    let method_name = if is_query { "nothing_query" } else { "nothing" }.to_owned();
    let content = match is_query {
        true => EnvelopeContent::Query {
            nonce,
            ingress_expiry,
            sender,
            canister_id,
            method_name,
            arg,
            sender_info,
        },
        false => EnvelopeContent::Call {
            nonce,
            ingress_expiry,
            sender,
            canister_id,
            method_name,
            arg,
            sender_info,
        },
    };
    let signature = is_signed.then(|| identity.sign(&content).expect("a signature"));
    let (sender_pubkey, sender_sig) =
        signature.map_or((None, None), |signature| (signature.public_key, signature.signature));
    let envelope =
        Envelope { content: Cow::Owned(content), sender_pubkey, sender_sig, sender_delegation: None };
    envelope.encode_bytes()
}

/// Returns the elapsed time divided by the number of all calls, in microseconds. With several clients, this is not the
/// time that one call takes, since the calls overlap.
fn measure(way: &WayToCall<'_>, clients: usize) -> f64 {
    let prepared: Vec<Vec<Prepared>> =
        (0..clients).map(|_| (0..CALLS).map(|_| (way.prepare)()).collect()).collect();
    let (begun, call) = (Instant::now(), &way.call);
    thread::scope(|scope| {
        for calls in &prepared {
            scope.spawn(move || calls.iter().for_each(call));
        }
    });
    begun.elapsed().as_secs_f64() * 1e6 / (clients * CALLS) as f64
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times[times.len() / 2]
}

fn print_table(ways: &[WayToCall<'_>], medians: &[[f64; 2]]) {
    println!("| one call | µs, 1 client | ratio | limit | µs, 16 clients | ratio | limit |");
    println!("|---|---|---|---|---|---|---|");
    for (way, times) in ways.iter().zip(medians) {
        let other = way.max_ratios.and_then(|(name, _)| ways.iter().position(|other| other.name == name));
        let cells: Vec<String> = (0..CLIENTS.len())
            .map(|column| {
                let ratio = other.map_or("- | -".to_owned(), |other| {
                    let limit = way.max_ratios.map_or(0.0, |(_, max_ratios)| max_ratios[column]);
                    format!("{:.2} | {limit}", times[column] / medians[other][column])
                });
                format!("{:.0} | {ratio}", times[column])
            })
            .collect();
        println!("| {} | {} |", way.name, cells.join(" | "));
    }
}
