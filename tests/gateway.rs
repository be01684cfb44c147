//! What comes through the HTTP gateway: the pages `/metrics` and `/health`, and an answer to anything else. On the
//! legacy build and on the direct build.

#[path = "support/mod.rs"]
mod support;

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use support::World;
use support::calls::request;
use support::scene::Scene;
use support::upload::two_chunks;
use upload_canister::api::{HttpRequest, HttpResponse};

fn page(world: &World, request: HttpRequest) -> HttpResponse {
    world.plain("http_request", (request,))
}

fn text(response: HttpResponse) -> String {
    String::from_utf8(response.body.into_vec()).unwrap()
}

/// The samples of a page in the Prometheus text format. A page that is not in that format is a failed test: each
/// sample has its type and its help before it, comes once, and is a number.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut announced = Vec::new();
    for line in page.lines() {
        if let Some(comment) = line.strip_prefix("# ") {
            let mut words = comment.splitn(3, ' ');
            let (kind, name, rest) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            assert!(kind == "HELP" || (kind == "TYPE" && rest == "gauge"), "{line}");
            announced.push((kind.to_owned(), name.to_owned()));
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap();
        let family = name.split('{').next().unwrap();
        assert!(family.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{line}");
        for kind in ["HELP", "TYPE"] {
            assert!(announced.contains(&(kind.to_owned(), family.to_owned())), "{line}");
        }
        let before = samples.insert(name.to_owned(), value.parse().unwrap());
        assert_eq!(before, None, "{line}");
    }
    assert!(page.ends_with('\n'));
    samples
}

#[test]
fn the_metrics_are_what_the_canister_holds() {
    for build in [Build::Legacy, Build::Direct] {
        let world = World::new(build);
        Scene::new(&world, two_chunks(2), 1);
        let stats = world.stats();
        assert!(stats.sessions == 1 && stats.blobs == 1 && stats.chunks == 2, "{stats:?}");
        let response = page(&world, request("/metrics"));
        assert_eq!(response.status_code, 200);
        let content_type = response.headers.iter().find(|(name, _)| name == "content-type").unwrap();
        assert!(content_type.1.starts_with("text/plain; version=0.0.4"), "{content_type:?}");
        let samples = samples(&text(response));
        for (name, expected) in [
            ("upload_sessions", stats.sessions),
            ("upload_legacy_sessions", stats.legacy_sessions),
            ("upload_blobs", stats.blobs),
            ("upload_chunks", stats.chunks),
            ("upload_releases_pending", stats.releases_pending),
            ("upload_capsules", stats.capsules),
            ("upload_memories", stats.memories),
            ("upload_receipts", stats.receipts),
            ("upload_bytes_in_use", stats.bytes_in_use),
            ("upload_stable_memory_bytes", stats.stable_memory_bytes),
        ] {
            assert_eq!(samples.get(name), Some(&(expected as f64)), "{name} in {build}");
        }
        assert_eq!(samples[&format!("upload_build_info{{build=\"{build}\",phase=\"Idle\"}}")], 1.0);
        let health = page(&world, request("/health"));
        assert_eq!((health.status_code, text(health).as_str()), (200, "ok\n"));
    }
}

#[test]
fn every_request_gets_a_page() {
    for build in [Build::Legacy, Build::Direct] {
        let world = World::new(build);
        let status = |method: &str, url: &str, body: usize| -> u16 {
            let headers = vec![("x".into(), "y".into()); 1_000];
            let body = ByteBuf::from(vec![0; body]);
            page(&world, HttpRequest { method: method.into(), url: url.into(), headers, body }).status_code
        };
        assert_eq!(status("GET", "/health", 0), 200);
        assert_eq!(status("GET", "/metrics?x=1", 1_000_000), 200);
        for url in ["", "?", "metrics", "/metrics/", "//", &"/".repeat(100_000)] {
            assert_eq!(status("GET", url, 0), 404, "{}", url.len());
        }
        for method in ["", "get", "POST", &"G".repeat(100_000)] {
            assert_eq!(status(method, "/metrics", 0), 405, "{}", method.len());
        }
    }
}
