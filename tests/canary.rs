//! A canary on the real wasm: new sessions are divided between the two paths, and the canister's counts for each path
//! are those that the clients observed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::upload::{file, two_chunks};
use crate::support::{InstalledCanister, owner};
use session_migrate::build::Build;
use upload_canister::api::{CallCounts, ErrorCounts, PathCounts, SessionPath, UploadCounts};

/// Those counts of one path that clients can observe themselves.
#[derive(Debug, Default, PartialEq)]
struct ObservedCounts {
    begun: u64,
    finished: u64,
    aborted: u64,
    bytes: u64,
    wrong_hashes: u64,
}

impl ObservedCounts {
    fn of(counts: &PathCounts) -> Self {
        Self {
            begun: counts.sessions_begun,
            finished: counts.sessions_finished,
            aborted: counts.sessions_aborted,
            bytes: counts.bytes_stored,
            wrong_hashes: counts.errors.checksum_mismatch,
        }
    }
}

/// Uploads files until at least `least` sessions have begun on each path, and returns what the client observed. On each
/// path, every third upload is first finished with a wrong hash, which is refused, and every fourth upload is aborted.
fn upload_until(
    canister: &InstalledCanister,
    capsule: &str,
    least: u64,
) -> BTreeMap<&'static str, ObservedCounts> {
    let mut seen =
        BTreeMap::from([("compat", ObservedCounts::default()), ("direct", ObservedCounts::default())]);
    for n in 0_u64.. {
        if seen.values().all(|seen| seen.begun >= least) {
            break;
        }
        assert!(n < 1_000, "a path has too few sessions: {seen:?}");
        let file = file(100, n);
        let session = canister.begin(owner(), capsule, &file, &format!("upload {n}")).unwrap();
        let path = match canister.status(owner(), session).unwrap().path {
            SessionPath::Compat => "compat",
            SessionPath::Direct => "direct",
        };
        let seen = seen.get_mut(path).unwrap();
        seen.begun += 1;
        canister.put_all(owner(), session, &file);
        seen.bytes += file.len() as u64;
        if seen.begun % 3 == 0 {
            canister.finish_with_digest(owner(), session, &[0; 32], 100).unwrap_err();
            seen.wrong_hashes += 1;
        }
        if seen.begun % 4 == 0 {
            canister.abort(owner(), session).unwrap();
            seen.aborted += 1;
        } else {
            canister.finish(owner(), session, &file).unwrap();
            seen.finished += 1;
        }
    }
    seen
}

/// Checks that `/metrics` has these counts of `admin_stats` as samples; of the errors, only two kinds.
fn assert_scraped(canister: &InstalledCanister, counts: &UploadCounts) {
    let samples = canister.scrape();
    for (path, counts) in [("compat", counts.compat), ("direct", counts.direct), ("none", counts.no_path)] {
        let calls = [
            ("begin", counts.begin),
            ("put_chunk", counts.put_chunk),
            ("finish", counts.finish),
            ("abort", counts.abort),
            ("put_whole", counts.put_whole),
        ];
        let mut expected = vec![
            (format!("upload_sessions_begun_total{{path=\"{path}\"}}"), counts.sessions_begun),
            (format!("upload_stored_bytes_total{{path=\"{path}\"}}"), counts.bytes_stored),
        ];
        for (outcome, number) in [
            ("finished", counts.sessions_finished),
            ("aborted", counts.sessions_aborted),
            ("expired", counts.sessions_expired),
        ] {
            let name = format!("upload_sessions_ended_total{{outcome=\"{outcome}\",path=\"{path}\"}}");
            expected.push((name, number));
        }
        for (call, CallCounts { messages, instructions }) in calls {
            let name = |what: &str| format!("upload_{what}_total{{call=\"{call}\",path=\"{path}\"}}");
            expected.extend([(name("messages"), messages), (name("instructions"), instructions)]);
        }
        let ErrorCounts { not_found, checksum_mismatch, .. } = counts.errors;
        for (kind, number) in [("not_found", not_found), ("checksum_mismatch", checksum_mismatch)] {
            expected.push((format!("upload_errors_total{{kind=\"{kind}\",path=\"{path}\"}}"), number));
        }
        for (name, number) in expected {
            assert_eq!(samples.get(&name), Some(&(number as f64)), "{name}");
        }
    }
}

#[test]
fn a_share_of_5_percent_can_be_judged_by_its_counts() {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let capsule = canister.create_capsule();
    canister.upload(owner(), &capsule, &file(100, 1_000), "before the canary");
    let before = canister.stats().counts;
    assert_eq!((before.compat.sessions_finished, before.direct), (1, PathCounts::default()));

    canister.upgrade(Build::Staged);
    canister.configure(|config| config.compat_share_percent = 5);
    assert_eq!(canister.stats().counts, before, "the counts survive the upgrade");
    let seen = upload_until(&canister, &capsule, 4);
    let counts = canister.stats().counts;
    assert_eq!(ObservedCounts::of(&counts.direct), seen["direct"]);
    // Without the upload before the canary.
    let mut compat = ObservedCounts::of(&counts.compat);
    compat.begun -= 1;
    compat.finished -= 1;
    compat.bytes -= 100;
    assert_eq!(compat, seen["compat"]);
    // With a compat share of 5 %, about nineteen times as many are expected; chance may make it fewer.
    assert!(seen["direct"].begun > 4 * seen["compat"].begun, "{seen:?}");
    for path in [counts.compat, counts.direct] {
        for call in [path.begin, path.put_chunk, path.finish, path.abort] {
            assert!(call.messages > 0 && call.instructions / call.messages > 1_000, "{path:?}");
        }
    }
    assert_scraped(&canister, &counts);

    canister.configure(|config| config.compat_share_percent = 0);
    canister.upgrade(Build::Direct);
    assert_eq!(canister.stats().counts, counts, "the counts survive the next upgrade, too");
    canister.upload(owner(), &capsule, &file(100, 1_001), "after the canary");
    let after = canister.stats().counts;
    assert_eq!(
        (after.compat, after.direct.sessions_finished),
        (counts.compat, counts.direct.sessions_finished + 1)
    );
    assert_scraped(&canister, &after);
}

/// A session expires without a call, by a timer, and is counted nevertheless. A later call about it is counted on no
/// path.
#[test]
fn expiry_is_counted_on_the_path_of_the_session() {
    for build in [Build::Legacy, Build::Direct] {
        let canister = InstalledCanister::new(build);
        let capsule = canister.create_capsule();
        let content = two_chunks(1);
        let session = canister.begin(owner(), &capsule, &content, "left alone").unwrap();
        canister.put(owner(), session, 1, &content).unwrap();
        canister.pass(Duration::from_secs(49 * 3_600));
        canister.run_timers_until(|stats| stats.sessions == 0);
        canister.put(owner(), session, 0, &content).unwrap_err();
        let counts = canister.stats().counts;
        let path = if build == Build::Legacy { counts.compat } else { counts.direct };
        assert_eq!((path.sessions_begun, path.sessions_expired, path.bytes_stored), (1, 1, 5), "{build}");
        assert_eq!((counts.no_path.put_chunk.messages, counts.no_path.errors.not_found), (1, 1), "{build}");
        assert_scraped(&canister, &counts);
    }
}
