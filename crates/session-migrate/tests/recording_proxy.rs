//! Recording through a proxy: clients notice nothing, and what they did replays to the same answers on another server.

#[path = "recording_proxy/slow_server.rs"]
mod slow_server;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal, encode_args};
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{IngressStatusResult, PocketIc, PocketIcBuilder};
use pocket_ic_embedded::EmbeddedServer;
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::{self, Build};
use session_migrate::proxy::{Options, Proxy, ProxyError, Recorded};
use session_migrate::trace::{Happening, Trace};
use sha2::{Digest, Sha256};
use upload_canister::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, Capsule, Error, PersonRef, Result as Reply,
    UploadFinishResult, UploadStatus,
};

const CHUNK: usize = 1_800_000;
const HOUR: Duration = Duration::from_secs(3_600);

fn person(name: &str) -> Principal {
    Principal::self_authenticating(name)
}

fn wasm(build: Build) -> Vec<u8> {
    std::fs::read(build::ensure(&[build]).unwrap().remove(0).wasm_gz).unwrap()
}

fn proxy(server: &Url, out: &Path) -> Proxy {
    let options = Options {
        listen: ([127, 0, 0, 1], 0).into(),
        server: server.clone(),
        out: out.into(),
        canister: None,
    };
    Proxy::start(options).unwrap()
}

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

/// A front end's test, as far as the server is concerned; it counts its calls.
struct FrontEnd {
    pic: PocketIc,
    id: Principal,
    calls: u64,
}

impl FrontEnd {
    fn install(server: &Url) -> Self {
        let pic = PocketIcBuilder::new().with_server_url(server.clone()).with_application_subnet().build();
        let id = pic.create_canister_with_settings(Some(person("controller")), None);
        let arg = encode_args(()).unwrap();
        pic.install_canister(id, wasm(Build::Legacy), arg, Some(person("controller")));
        Self { pic, id, calls: 0 }
    }

    fn upgrade(&self, to: Build) {
        let arg = encode_args(()).unwrap();
        self.pic.upgrade_canister(self.id, wasm(to), arg, Some(person("controller"))).unwrap();
    }

    fn submit(&mut self, caller: Principal, method: &str, args: impl ArgumentEncoder) -> RawMessageId {
        self.calls += 1;
        self.pic.submit_call(self.id, caller, method, encode_args(args).unwrap()).unwrap()
    }

    fn wait<T: CandidType + DeserializeOwned>(&self, message: RawMessageId) -> Reply<T> {
        candid::decode_one(&self.pic.await_call(message).unwrap()).unwrap()
    }

    fn update<T: CandidType + DeserializeOwned>(
        &mut self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Reply<T> {
        let message = self.submit(caller, method, args);
        self.wait(message)
    }

    fn query<T: CandidType + DeserializeOwned>(
        &mut self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Reply<T> {
        self.calls += 1;
        let reply = self.pic.query_call(self.id, caller, method, encode_args(args).unwrap()).unwrap();
        candid::decode_one(&reply).unwrap()
    }

    fn begin(&mut self, capsule: &str, file: &[u8], idem: &str) -> RawMessageId {
        let base = AssetMetadataBase::new("a.bin", "text/plain", AssetType::Original, file.len() as u64, 0);
        let chunks = file.len().div_ceil(CHUNK) as u32;
        let args = (capsule, AssetMetadata::document(base), chunks, idem);
        self.submit(person("client"), "uploads_begin", args)
    }

    fn put(&mut self, session: u64, idx: u32, file: &[u8]) -> RawMessageId {
        let chunk = Bytes::new(file.chunks(CHUNK).nth(idx as usize).unwrap());
        self.submit(person("client"), "uploads_put_chunk", (session, idx, chunk, None::<ByteBuf>))
    }

    fn finish(&mut self, session: u64, file: &[u8]) -> Reply<UploadFinishResult> {
        let digest = ByteBuf::from(Sha256::digest(file).to_vec());
        self.update(person("client"), "uploads_finish", (session, digest, file.len() as u64))
    }

    /// Uploads across every build, with what goes wrong in between.
    fn act(&mut self) {
        let client = person("client");
        let capsule: Reply<Capsule> = self.update(client, "capsules_create", (None::<PersonRef>,));
        let capsule = capsule.unwrap().id;
        let (large, small) = (content(CHUNK + 700), content(90));

        // Several on their way at once, and one that depends on an answer while others are still on their way.
        let begun = [self.begin(&capsule, &large, "large"), self.begin(&capsule, &small, "small")];
        let [large_id, small_id] = begun.map(|message| self.wait::<u64>(message).unwrap());
        let first = self.put(large_id, 1, &large);
        let idle = self.begin(&capsule, &small, "left alone");
        let idle = self.wait::<u64>(idle).unwrap();
        let second = self.put(idle, 0, &small);
        self.wait::<()>(second).unwrap();
        self.wait::<()>(first).unwrap();

        // What is refused: by the canister, by the server before a round, and by a query.
        let wrong: Reply<()> = self.update(
            client,
            "uploads_put_chunk",
            (large_id, 0_u32, Bytes::new(b"short"), None::<ByteBuf>),
        );
        assert!(matches!(wrong, Err(Error::InvalidArgument { .. })), "{wrong:?}");
        assert!(matches!(self.finish(small_id, &small), Err(Error::Incomplete { .. })));
        self.calls += 2;
        self.pic.update_call(self.id, client, "no_such_method", vec![]).unwrap_err();
        self.pic.query_call(self.id, client, "no_such_method", vec![]).unwrap_err();

        // Somebody else's canister is nobody's business here.
        let other = self.pic.create_canister();
        self.pic.query_call(other, client, "uploads_list", vec![]).unwrap_err();

        self.upgrade(Build::Staged);
        let config: Reply<AdminConfig> = self.query(person("controller"), "admin_config_get", ());
        let config = AdminConfig { compat_share_percent: 0, ..config.unwrap() };
        self.update::<()>(person("controller"), "admin_config_set", (config,)).unwrap();
        // As clients do that run the rounds themselves and ask after each.
        let put = self.put(small_id, 0, &small);
        assert!(matches!(self.pic.ingress_status_as(put.clone(), client), IngressStatusResult::NotAvailable));
        self.pic.tick();
        assert!(matches!(self.pic.ingress_status_as(put, client), IngressStatusResult::Success(Ok(_))));
        self.finish(small_id, &small).unwrap();
        self.pic.stop_canister(self.id, Some(person("controller"))).unwrap();
        self.pic.start_canister(self.id, Some(person("controller"))).unwrap();

        self.pic.advance_time(HOUR * 23);
        let put = self.put(large_id, 0, &large);
        self.wait::<()>(put).unwrap();
        self.pic.advance_time(HOUR * 2);
        self.pic.tick();
        self.pic.tick();
        let status: Reply<UploadStatus> = self.query(client, "uploads_status", (idle,));
        assert!(matches!(status, Err(Error::NotFound { .. })), "{status:?}");

        self.upgrade(Build::Direct);
        let finished = self.finish(large_id, &large).unwrap();
        let chunk: Reply<ByteBuf> = self.query(client, "blob_read_chunk", (&finished.blob_id, 1_u32));
        assert_eq!(chunk.unwrap().into_vec(), large[CHUNK..]);
    }
}

/// What the command line says about a trace, played on a server of a process of its own, with no difference allowed.
fn replay(trace: &Path) -> Output {
    let rules = trace.with_extension("toml");
    std::fs::write(&rules, "").unwrap();
    command().arg("replay").arg(trace).arg("--rules").arg(rules).output().unwrap()
}

fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_session-migrate"));
    command.env_remove("POCKET_IC_BIN").env_remove("POCKET_IC_SERVER");
    command
}

fn assert_replays(trace: &Path, recorded: &Recorded, calls: u64) {
    assert_eq!(recorded.trace, trace);
    assert_eq!((recorded.calls, recorded.build.as_str()), (calls, "legacy"));
    let read = Trace::read(trace).unwrap();
    assert_eq!(read.header.controllers, [person("controller")]);
    let kinds: Vec<&str> = read
        .events
        .iter()
        .filter_map(|event| match &event.what {
            Happening::Upgrade { build, .. } => Some(build.as_str()),
            Happening::Stop => Some("stop"),
            Happening::Start => Some("start"),
            Happening::Pass { .. } => Some("round"),
            Happening::Call(_) => None,
        })
        .collect();
    assert_eq!(kinds, ["staged", "stop", "start", "round", "round", "direct"]);
    // The second begin came before the first was answered, the third before a chunk was; what was sent after that had
    // waited for a round, which answered the chunk as well.
    let together: Vec<&str> = read
        .events
        .iter()
        .filter_map(|event| match &event.what {
            Happening::Call(call) if call.together => Some(call.method.as_str()),
            _ => None,
        })
        .collect();
    assert_eq!(together, ["uploads_begin", "uploads_begin"]);
    let Output { status, stdout, stderr } = replay(trace);
    assert_eq!(
        status.code(),
        Some(0),
        "{} {}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    );
}

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("recorded.trace");
    (folder, out)
}

#[test]
fn what_came_through_replays_to_the_same_answers_on_another_server() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url(), &out);
    let mut front_end = FrontEnd::install(proxy.url());
    front_end.act();
    assert!(!out.exists(), "a trace appears when it is complete");
    let recorded = proxy.stop().unwrap();
    assert_replays(&out, &recorded, front_end.calls);
    assert_eq!(recorded.canister, front_end.id);
    assert!(recorded.notes.is_empty(), "{:?}", recorded.notes);
}

/// The official server answers what takes long, or comes while it is busy, in a second request.
#[test]
fn a_server_that_answers_later_is_recorded_the_same() {
    let server = EmbeddedServer::start().unwrap();
    let slow = slow_server::start(&server.url());
    let (_folder, out) = scratch();
    let proxy = proxy(&slow.url, &out);
    let mut front_end = FrontEnd::install(proxy.url());
    front_end.act();
    let recorded = proxy.stop().unwrap();
    assert_replays(&out, &recorded, front_end.calls);
    assert!(recorded.notes.is_empty(), "{:?}", recorded.notes);
    assert!(slow.late() > front_end.calls, "{} answers were late", slow.late());
}

#[test]
fn requests_and_answers_pass_unchanged() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let proxy = proxy(&server.url(), &out);
    let client = reqwest::blocking::Client::new();
    let both = |path: &str, body: Option<&[u8]>| {
        [proxy.url().clone(), server.url()].map(|url| {
            let url = url.join(path).unwrap();
            let request = match body {
                Some(body) => client.post(url).header("content-encoding", "gzip").body(body.to_vec()),
                None => client.get(url),
            };
            let response = request.send().unwrap();
            let headers: Vec<_> = ["content-type", "content-encoding", "content-length"]
                .map(|name| response.headers().get(name).cloned())
                .into();
            (response.status(), headers, response.bytes().unwrap())
        })
    };
    let blob = vec![7; 3_000_000];
    let [through, direct] = both("blobstore", Some(&blob));
    assert_eq!(through, direct);
    let hash = String::from_utf8(direct.2.to_vec()).unwrap();
    for path in
        ["status", "instances", "instances/7/read/get_time", "nowhere?x=1", &format!("blobstore/{hash}")]
    {
        let [through, direct] = both(path, None);
        assert_eq!(through, direct, "{path}");
    }
    for (path, body) in [
        ("instances/0/update/submit_ingress_message", "{}"),
        ("instances/0/read/query", "no json"),
        ("instances/0/update/tick", "{}"),
    ] {
        let [through, direct] = both(path, Some(body.as_bytes()));
        assert_eq!(through, direct, "{path}");
    }
    assert!(matches!(proxy.stop(), Err(ProxyError::NothingCame)));
    assert!(!out.exists());
}

/// What a trace cannot tell is said, and the trace is sound up to there.
#[test]
fn a_trace_ends_where_the_canister_begins_anew() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let mut front_end = FrontEnd::install(&server.url());
    let proxy = proxy(&server.url(), &out);
    // The same instance, through the proxy.
    let instance = front_end.pic.instance_id();
    let through = PocketIc::new_from_existing_instance(proxy.url().clone(), instance, None);
    let direct = std::mem::replace(&mut front_end.pic, through);
    let capsule: Reply<Capsule> = front_end.update(person("client"), "capsules_create", (None::<PersonRef>,));
    capsule.unwrap();
    let unanswered = front_end.begin("capsule_1", &content(1), "never asked about");
    front_end.calls -= 1;
    let arg = encode_args(()).unwrap();
    let wasm = wasm(Build::Legacy);
    front_end.pic.reinstall_canister(front_end.id, wasm, arg, Some(person("controller"))).unwrap();
    front_end.pic.query_call(front_end.id, person("client"), "build_info", encode_args(()).unwrap()).unwrap();
    let recorded = proxy.stop().unwrap();
    drop((unanswered, direct));
    assert!(recorded.calls >= front_end.calls, "{recorded:?}");
    let notes: Vec<&str> = recorded.notes.iter().map(String::as_str).collect();
    for part in ["was there before the trace", "ends where the canister was reinstalled"] {
        assert!(notes.iter().any(|note| note.contains(part)), "{part}: {notes:?}");
    }
    assert_eq!(Trace::read(&out).unwrap().events.len() as u64, recorded.calls);
}

/// A proxy of the command line, and the address it listens at.
fn start_command(server: &Url, out: &Path) -> (Child, Url) {
    let mut child = command()
        .args(["record", "--proxy", "127.0.0.1:0", "--server", server.as_str()])
        .arg(out)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    let url = line.split(' ').find(|word| word.starts_with("http://")).unwrap().parse().unwrap();
    // The rest of it is read with the output.
    child.stdout = Some(lines.into_inner());
    (child, url)
}

#[test]
fn a_signal_completes_the_trace_of_the_command() {
    let server = EmbeddedServer::start().unwrap();
    let (_folder, out) = scratch();
    let (child, url) = start_command(&server.url(), &out);
    let mut front_end = FrontEnd::install(&url);
    let capsule: Reply<Capsule> = front_end.update(person("client"), "capsules_create", (None::<PersonRef>,));
    capsule.unwrap();
    drop(front_end);
    assert!(Command::new("kill").arg(child.id().to_string()).status().unwrap().success());
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert_eq!((status.code(), &*stderr), (Some(0), ""), "{stdout}");
    assert!(stdout.contains("1 calls of") && stdout.contains("legacy build"), "{stdout}");
    assert_eq!(Trace::read(&out).unwrap().events.len(), 1);
}

#[test]
fn what_cannot_work_is_said_at_once() {
    let server = EmbeddedServer::start().unwrap();
    let (folder, out) = scratch();
    let dead = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}/", listener.local_addr().unwrap())
    };
    let url = server.url().to_string();
    let taken = server.address().to_string();
    let absent = folder.path().join("absent").join("x.trace");
    let (out, absent) = (out.to_str().unwrap(), absent.to_str().unwrap());
    for (args, code, part) in [
        (["--proxy", "127.0.0.1:0", "--server", &dead, out], 3, "no PocketIC server answers at"),
        (
            ["--proxy", "127.0.0.1:0", "--server", "https://127.0.0.1:1/", out],
            2,
            "expected http://HOST:PORT/",
        ),
        (["--proxy", &taken, "--server", &url, out], 3, "cannot listen on"),
        (["--proxy", "127.0.0.1:0", "--server", &url, absent], 2, absent),
        (["--proxy", "127.0.0.1:0", "--workload", "mixed", out], 2, "cannot be used with"),
    ] {
        let Output { status, stdout, stderr } = command().arg("record").args(args).output().unwrap();
        let stderr = String::from_utf8_lossy(&stderr);
        assert_eq!((status.code(), stdout.len()), (Some(code), 0), "{args:?}: {stderr}");
        assert!(stderr.contains(part), "{args:?}: {stderr}");
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
