//! Requests of the HTTP gateway, on the legacy build and on the direct build: the pages `/metrics` and `/health`, and
//! the answer to any other request.

use crate::support::conversion::sessions::Sessions;
use crate::support::conversion::{after_messages, settle_migration};
use crate::support::scene::Scene;
use crate::support::scrape::get_request;
use crate::support::upload::two_chunks;
use crate::support::{InstalledCanister, controller};
use serde_bytes::ByteBuf;
use session_migrate::build::Build;
use upload_canister::api::{HttpRequest, HttpResponse};

fn body_text(response: HttpResponse) -> String {
    String::from_utf8(response.body.into_vec()).unwrap()
}

#[test]
fn the_metrics_are_what_the_canister_holds() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        Scene::new(&canister, two_chunks(2), 1);
        let stats = canister.stats();
        assert!(stats.sessions == 1 && stats.blobs == 1 && stats.bytes_in_use > 0, "{stats:?}");
        let samples = canister.scrape();
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
            ("stable_memory_bytes", stats.stable_memory_bytes),
        ] {
            assert_eq!(samples.get(name), Some(&(expected as f64)), "{name} in {build}");
        }
        assert_eq!(samples[&format!("upload_build_info{{build=\"{build}\",phase=\"Idle\"}}")], 1.0);
        let status = canister.pic.canister_status(canister.id, Some(controller())).unwrap();
        let heap = u64::try_from(status.memory_metrics.wasm_memory_size.0).unwrap();
        assert_eq!(samples["heap_memory_bytes"], heap as f64, "{build}");
        assert_eq!(samples["cycle_balance"], canister.pic.cycle_balance(canister.id) as f64, "{build}");
        assert_eq!(samples["upload_background_errors_total"], 0.0, "{build}");
        let health = canister.page(get_request("/health"));
        assert_eq!((health.status_code, body_text(health).as_str()), (200, "ok\n"));
    }
}

/// A page from a cache would be out of date.
#[test]
fn gateways_must_not_cache_pages() {
    let canister = InstalledCanister::new(Build::Direct);
    for url in ["/metrics", "/health", "/nothing"] {
        let page = canister.page(get_request(url));
        let cache_control = page.headers.iter().find(|(name, _)| name == "cache-control");
        assert_eq!(cache_control.map(|(_, value)| value.as_str()), Some("no-store"), "{url}");
    }
}

#[test]
fn a_running_migration_reports_its_last_step() {
    let canister = after_messages(Sessions::Counted, 0);
    let now = canister.migration_status();
    let samples = canister.scrape();
    assert!(samples["migration_step_age_seconds"] < 60.0, "{now:?}");
    assert_eq!(samples["migration_attempts"], f64::from(now.attempts));
    assert_eq!(samples["migration_journal_entries"], now.journal_entries as f64);
    assert!(samples["timer_job_age_seconds{job=\"sweep\"}"] < 60.0);
    settle_migration(&canister);
    assert!(
        !canister.scrape().contains_key("migration_step_age_seconds"),
        "a converted migration has no step age"
    );
}

#[test]
fn every_request_gets_a_page() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let status = |method: &str, url: &str, body: usize| -> u16 {
            let headers = vec![("x".into(), "y".into()); 1_000];
            let body = ByteBuf::from(vec![0; body]);
            canister.page(HttpRequest { method: method.into(), url: url.into(), headers, body }).status_code
        };
        assert_eq!(status("GET", "/health", 0), 200);
        assert_eq!(status("GET", "/metrics?x=1", 1_000_000), 200);
        for url in ["", "?", "metrics", "/metrics/", "//", &"/".repeat(100_000)] {
            assert_eq!(status("GET", url, 0), 404, "{}", url.len());
        }
        let page = |method: &str, url: &str| {
            let (method, url) = (method.into(), url.into());
            canister.page(HttpRequest { method, url, headers: Vec::new(), body: ByteBuf::new() })
        };
        for (url, status) in [("/health", 200), ("/metrics", 200), ("/", 404)] {
            let (head, get) = (page("HEAD", url), page("GET", url));
            assert_eq!((head.status_code, get.status_code, head.body.len()), (status, status, 0), "{url}");
            assert_eq!(head.headers, get.headers, "{url}");
        }
        for method in ["", "get", "POST", &"G".repeat(100_000)] {
            let refused = page(method, "/metrics");
            assert_eq!(refused.status_code, 405, "{}", method.len());
            let allow = refused.headers.iter().find(|(name, _)| name == "allow");
            assert_eq!(allow.map(|(_, methods)| methods.as_str()), Some("GET, HEAD"));
        }
    }
}
