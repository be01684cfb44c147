//! What comes through the HTTP gateway: the pages `/metrics` and `/health`, and an answer to anything else. On the
//! legacy build and on the direct build.

use crate::support::World;
use crate::support::scene::Scene;
use crate::support::scrape::request;
use crate::support::upload::two_chunks;
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use upload_canister::api::{HttpRequest, HttpResponse};

fn text(response: HttpResponse) -> String {
    String::from_utf8(response.body.into_vec()).unwrap()
}

#[test]
fn the_metrics_are_what_the_canister_holds() {
    for build in [Build::Legacy, Build::Direct] {
        let world = World::new(build);
        Scene::new(&world, two_chunks(2), 1);
        let stats = world.stats();
        assert!(stats.sessions == 1 && stats.blobs == 1 && stats.bytes_in_use > 0, "{stats:?}");
        let samples = world.scrape();
        for (name, expected) in [
            ("upload_sessions", stats.sessions),
            ("upload_legacy_sessions", stats.legacy_sessions),
            ("upload_blobs", stats.blobs),
            ("upload_chunks", stats.chunks),
            ("upload_payload_bytes", stats.payload_bytes),
            ("upload_payload_region_bytes", stats.payload_region_bytes),
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
        let health = world.page(request("/health"));
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
            world.page(HttpRequest { method: method.into(), url: url.into(), headers, body }).status_code
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
