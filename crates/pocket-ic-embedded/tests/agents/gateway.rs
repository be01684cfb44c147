//! HTTP gateways: opening and closing them, and the pages of canisters.

use crate::common::{ANONYMOUS, builder, call, install_counter, install_wasm, wasm};
use candid::{CandidType, Encode, Func, Principal};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::{HttpGatewayDetails, InstanceHttpGatewayConfig};
use reqwest::blocking::{Client, RequestBuilder, Response};
use serde_json::{Value, json};
use std::net::TcpListener;

/// Returns a module whose replies a test sets: `put_query`, `put_update` and `put_more` store the replies of
/// `http_request`, `http_request_update` and `more`. `asked` returns the argument of the last `http_request_update`.
/// `certify` sets the certified data, and `certificate` returns their certificate. A reply is kept at the address `at`:
/// its length in four bytes, then the reply.
pub fn site() -> Vec<u8> {
    let storing_method = |name: &str, at: u32| {
        format!(
            r#"(func (export "canister_update {name}")
                (i32.store (i32.const {at}) (call $size))
                (call $copy (i32.add (i32.const {at}) (i32.const 4)) (i32.const 0) (call $size))
                (call $reply))"#
        )
    };
    let replying_method = |kind: &str, name: &str, at: u32, remember: &str| {
        format!(
            r#"(func (export "canister_{kind} {name}") {remember}
                (call $append (i32.add (i32.const {at}) (i32.const 4)) (i32.load (i32.const {at})))
                (call $reply))"#
        )
    };
    // The argument is kept in the same way, at the address that `asked` reads.
    let remember = "(i32.store (i32.const 60000) (call $size)) (call $copy (i32.const 60004) (i32.const 0) (call $size))";
    wasm(&format!(
        r#"(module
            (import "ic0" "msg_reply" (func $reply))
            (import "ic0" "msg_reply_data_append" (func $append (param i32 i32)))
            (import "ic0" "msg_arg_data_size" (func $size (result i32)))
            (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
            (import "ic0" "certified_data_set" (func $certify (param i32 i32)))
            (import "ic0" "data_certificate_size" (func $certificate_size (result i32)))
            (import "ic0" "data_certificate_copy" (func $certificate_copy (param i32 i32 i32)))
            (memory 2)
            (func (export "canister_update certify")
                (call $copy (i32.const 100000) (i32.const 0) (call $size))
                (call $certify (i32.const 100000) (call $size))
                (call $reply))
            (func (export "canister_query certificate")
                (call $certificate_copy (i32.const 100000) (i32.const 0) (call $certificate_size))
                (call $append (i32.const 100000) (call $certificate_size))
                (call $reply))
            {} {} {} {} {} {} {})"#,
        storing_method("put_query", 0),
        storing_method("put_update", 20_000),
        storing_method("put_more", 40_000),
        replying_method("query", "http_request", 0, ""),
        replying_method("update", "http_request_update", 20_000, remember),
        replying_method("query", "more", 40_000, ""),
        replying_method("query", "asked", 60_000, ""),
    ))
}

#[derive(CandidType)]
pub struct Page {
    pub status_code: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    // `Some(true)`: the gateway must make the request again, as `http_request_update`.
    pub upgrade: Option<bool>,
    pub streaming_strategy: Option<Strategy>,
}

#[derive(CandidType)]
pub enum Strategy {
    Callback { callback: More, token: Token },
}

candid::define_function!(pub More : (Token) -> (Option<Piece>) query);

#[derive(CandidType, candid::Deserialize)]
pub struct Token {
    key: String,
    index: candid::Nat,
}

#[derive(CandidType, candid::Deserialize)]
pub struct Piece {
    body: Vec<u8>,
    token: Option<Token>,
}

/// Returns a page with status 200 and this body, which needs neither an update nor further pieces.
pub fn page(body: &str) -> Page {
    Page {
        status_code: 200,
        headers: vec![("Content-Type".into(), "text/html".into()), ("X-Mine".into(), "yes".into())],
        body: body.into(),
        upgrade: None,
        streaming_strategy: None,
    }
}

struct Site {
    pic: PocketIc,
    /// The URL of the gateway, with a slash at the end.
    url: String,
    id: Principal,
}

impl Site {
    fn new() -> Self {
        let mut pic = builder().with_nns_subnet().with_application_subnet().build();
        let url = pic.make_live(None).to_string();
        let id = install_wasm(&pic, site());
        Self { pic, url, id }
    }

    /// Lets the canister store a reply; `name` is one of the methods of [`site`] that begin with `put_`.
    fn put(&self, name: &str, reply: impl CandidType) {
        call(&self.pic, self.id, name, &Encode!(&reply).unwrap()).unwrap();
    }

    /// Returns a request to the canister's raw host name, whose responses the gateway does not verify. `path` has no
    /// slash at the beginning.
    fn get(&self, path: &str) -> RequestBuilder {
        Client::new().get(format!("{}{path}", self.url)).header("host", format!("{}.raw.localhost", self.id))
    }
}

#[test]
fn a_live_instance_serves_agents_and_browsers_at_its_gateway() {
    let mut site = Site::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let agent = ic_agent::Agent::builder().with_url(&site.url).build().unwrap();
    runtime.block_on(agent.fetch_root_key()).unwrap();
    assert_eq!(Some(agent.read_root_key()), site.pic.root_key());
    let counter = install_counter(&site.pic);
    let reply = runtime.block_on(agent.update(&counter, "inc").call_and_wait()).unwrap();
    assert_eq!(reply, [1, 0, 0, 0]);
    let topology: Value =
        Client::new().get(format!("{}_/topology", site.url)).send().unwrap().json().unwrap();
    assert!(topology["default_effective_canister_id"].is_object(), "{topology}");
    let listed: Vec<HttpGatewayDetails> = list_gateways(&site.pic).json().unwrap();
    let port = url::Url::parse(&site.url).unwrap().port().unwrap();
    assert!(listed.iter().any(|gateway| gateway.port == port));
    site.pic.stop_live();
    assert!(Client::new().get(format!("{}api/v2/status", site.url)).send().is_err());
    let listed: Vec<HttpGatewayDetails> = list_gateways(&site.pic).json().unwrap();
    assert!(listed.iter().all(|gateway| gateway.port != port));
    assert!(!site.pic.auto_progress_enabled());
}

fn list_gateways(pic: &PocketIc) -> Response {
    Client::new().get(pic.get_server_url().join("http_gateway").unwrap()).send().unwrap()
}

#[test]
fn pages_are_those_of_the_canister_that_is_named() {
    let site = Site::new();
    site.put("put_query", page("<h1>hello</h1>"));
    // A request that names the canister in the query part of a URL, not in the host name. (Not a query call.)
    let by_query =
        |path: &str| Client::new().get(format!("{}{path}", site.url)).header("host", "raw.localhost");
    for request in [
        site.get("index.html?a=b"),
        by_query(&format!("?canisterId={}", site.id)),
        by_query("style.css").header("referer", format!("{}?canisterId={}", site.url, site.id)),
    ] {
        let response = request.send().unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/html");
        assert_eq!(response.headers()["x-mine"], "yes");
        assert_eq!(response.headers()["x-response-verification"], "none; served as raw");
        assert_eq!(response.headers()["access-control-allow-origin"], "*");
        assert_eq!(response.text().unwrap(), "<h1>hello</h1>");
    }
    let host = format!("{}.raw.localhost:80", site.id);
    let head = Client::new().head(&site.url).header("host", host).send().unwrap();
    assert_eq!((head.status().as_u16(), head.text().unwrap().as_str()), (200, ""));
    let unnamed = by_query("").send().unwrap();
    assert_eq!(unnamed.status(), 400);
    assert!(unnamed.text().unwrap().contains("names no canister"));
    let unknown = by_query("?canisterId=x47dp-5x777-77777-p777q-cai").send().unwrap();
    assert_eq!(unknown.status(), 404);
    let counter = install_counter(&site.pic);
    let no_pages = by_query(&format!("?canisterId={counter}")).send().unwrap();
    assert_eq!(no_pages.status(), 502);
    assert!(no_pages.text().unwrap().contains("IC0536"));
    let not_there = by_query("api/v2/more").send().unwrap();
    assert_eq!(not_there.status(), 404);
    let preflight = Client::new().request(reqwest::Method::OPTIONS, &site.url).send().unwrap();
    assert_eq!(preflight.status(), 204);
    assert_eq!(preflight.headers()["access-control-allow-headers"], "*");
}

#[test]
fn a_page_that_asks_for_an_update_is_made_by_one() {
    let site = Site::new();
    site.put("put_query", Page { upgrade: Some(true), ..page("") });
    site.put("put_update", Page { status_code: 201, ..page("made") });
    let url = format!("{}things?canisterId={}", site.url, site.id);
    let response = Client::new().post(url).header("x-say", "hello").body("the body").send().unwrap();
    assert_eq!(response.status(), 201);
    assert_eq!(response.text().unwrap(), "made");
    let asked = site.pic.query_call(site.id, ANONYMOUS, "asked", vec![]).unwrap();
    let asked = candid::IDLArgs::from_bytes(&asked).unwrap().to_string();
    for part in ["POST", "/things?canisterId=", "x-say", "hello", "the body"] {
        assert!(asked.contains(part), "{part}: {asked}");
    }
}

#[test]
fn a_request_for_a_page_may_have_a_body_of_3_mib() {
    let site = Site::new();
    site.put("put_query", page("received"));
    let host = format!("{}.raw.localhost", site.id);
    let response =
        Client::new().post(&site.url).header("host", host).body(vec![b'x'; 3 << 20]).send().unwrap();
    assert_eq!((response.status().as_u16(), response.text().unwrap().as_str()), (200, "received"));
}

#[test]
fn long_pages_are_sent_in_pieces() {
    let site = Site::new();
    let callback = More(Func { principal: site.id, method: "more".into() });
    let token = |index: u8| Token { key: "k".into(), index: index.into() };
    site.put(
        "put_query",
        Page { streaming_strategy: Some(Strategy::Callback { callback, token: token(1) }), ..page("first ") },
    );
    site.put("put_more", Some(Piece { body: b"last".to_vec(), token: None }));
    assert_eq!(site.get("").send().unwrap().text().unwrap(), "first last");
    // `null` ends the body; a piece may also be sent without `opt`.
    site.put("put_more", None::<Piece>);
    assert_eq!(site.get("").send().unwrap().text().unwrap(), "first ");
    site.put("put_more", Piece { body: b"end".to_vec(), token: None });
    assert_eq!(site.get("").send().unwrap().text().unwrap(), "first end");
    // A truncated body must not look complete.
    site.put("put_more", "no piece");
    let broken = site.get("").send().unwrap().text();
    assert!(broken.is_err(), "{broken:?}");
}

#[test]
fn invalid_responses_are_reported_as_such() {
    let site = Site::new();
    site.put("put_query", "no page");
    let response = site.get("").send().unwrap();
    assert_eq!(response.status(), 502);
    assert!(response.text().unwrap().contains("does not decode"));
    site.put("put_query", Page { status_code: 7, ..page("") });
    assert_eq!(site.get("").send().unwrap().status(), 502);
    site.put("put_query", Page { headers: vec![("a b".into(), "c".into())], ..page("") });
    assert_eq!(site.get("").send().unwrap().status(), 502);
    // A wrong length is no reason to refuse: the gateway sends the true one.
    site.put("put_query", Page { headers: vec![("Content-Length".into(), "999".into())], ..page("short") });
    assert_eq!(site.get("").send().unwrap().text().unwrap(), "short");
}

#[test]
fn impossible_gateways_are_refused() {
    let pic = builder().with_nns_subnet().build();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let instance = json!({ "PocketIcInstance": pic.instance_id() });
    for (config, part) in [
        (json!({ "forward_to": instance, "port": port }), "Failed to bind"),
        (json!({ "forward_to": { "PocketIcInstance": 99_999 } }), "Instance not found"),
        (json!({ "forward_to": { "Replica": "http://x" } }), "not supported by the embedded server"),
        (json!({ "forward_to": instance, "ip_addr": "0.0.0.0" }), "not a loopback address"),
        (json!({ "forward_to": instance, "ip_addr": "here" }), "not an address to listen on"),
        (json!({ "forward_to": instance, "https_config": { "cert_path": "a", "key_path": "b" } }), "HTTPS"),
        (json!({ "forward_to": instance, "domain_custom_provider_local_file": "f" }), "custom domains"),
        (json!({}), "forward_to"),
    ] {
        let url = pic.get_server_url().join("http_gateway").unwrap();
        let response = Client::new().post(url).json(&config).send().unwrap();
        assert_eq!(response.status(), 400, "{config}");
        let body: Value = response.json().unwrap();
        let message = body["Error"]["message"].as_str().unwrap();
        assert!(message.contains(part), "{config}: {message}");
    }
    let stop = pic.get_server_url().join("http_gateway/99999/stop").unwrap();
    assert_eq!(Client::new().post(stop).send().unwrap().status(), 404);
}

#[test]
fn an_instance_can_begin_with_a_gateway() {
    let config = |port| InstanceHttpGatewayConfig {
        ip_addr: None,
        port: Some(port),
        domains: Some(vec!["localhost".into(), "example.test".into()]),
        https_config: None,
        domain_custom_provider_local_file: None,
    };
    // Port 0: any free one.
    let pic = builder().with_nns_subnet().with_http_gateway(config(0)).build();
    let url = pic.url().unwrap();
    assert_eq!(Client::new().get(url.join("api/v2/status").unwrap()).send().unwrap().status(), 200);
    assert!(!pic.auto_progress_enabled());
    // Deleting the instance stops its gateway.
    let port = url.port().unwrap();
    drop(pic);
    crate::common::wait_for("the release of the port", || TcpListener::bind(("127.0.0.1", port)).ok());
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let body = json!({
        "subnet_config_set": { "system": [], "verified_application": [],
            "application": [{ "state_config": "New", "instruction_config": "Production" }] },
        "http_gateway_config": config(taken.local_addr().unwrap().port()),
    });
    let server = pocket_ic_embedded::EmbeddedServer::shared().unwrap().url();
    let refused = Client::new().post(server.join("instances").unwrap()).json(&body).send().unwrap();
    assert_eq!(refused.status(), 400);
    assert!(refused.text().unwrap().contains("Failed to bind"));
}
