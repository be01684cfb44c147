//! Promised bytes: their limit, and the eviction of the sessions that have promised them.

use super::*;

const HOUR: u64 = 3_600;

pub fn change_limits(canister: &mut TestCanister, change: impl FnOnce(&mut AdminConfig)) {
    let mut config = canister.storage.config().unwrap();
    change(&mut config);
    canister.storage.settings.set(&Config::checked(config).unwrap());
}

/// Begins an upload as this person, in a new capsule of that person.
pub fn begin_as(canister: &mut TestCanister, who: u8, bytes: u64, idem: &str) -> Result<u64> {
    let capsule = canister.storage.capsules.create(person(who), None, canister.now).unwrap().id;
    let (chunks, hash) = (bytes.div_ceil(CHUNK as u64) as u32, canister.hash);
    canister.as_person(who).begin(capsule, metadata(bytes), chunks, idem.into(), hash)
}

/// Puts a whole chunk of bytes that all have the value `who`.
fn put_as(canister: &mut TestCanister, who: u8, id: u64, idx: u32) -> Result<()> {
    let bytes = vec![who; CHUNK];
    canister.as_person(who).put_chunk(id, idx, &mut bytes.as_slice(), None)
}

/// Reserves as much as eight callers can with one begin each: seven uploads of the size `largest`, and one of the rest
/// of `max_bytes`. Returns the sessions that were accepted, each with its owner.
fn attack(canister: &mut TestCanister, largest: u64, key: &str) -> Vec<(u8, u64)> {
    let remaining = canister.storage.config().unwrap().max_bytes.saturating_sub(7 * largest);
    let sizes = [largest; 7].into_iter().chain([remaining]);
    let begun = sizes.zip(10..).map(|(bytes, who)| (who, begin_as(canister, who, bytes, key)));
    begun.filter_map(|(who, begun)| Some((who, begun.ok()?))).collect()
}

/// Returns what `status` reports to the owner: "in flight", or how the session ended, which is the conflict's text up
/// to the first comma or semicolon.
pub fn reported_state(canister: &mut TestCanister, who: u8, id: u64) -> String {
    match canister.as_person(who).status(id) {
        Ok(_) => "in flight".into(),
        Err(Error::Conflict { detail, .. }) => detail.split([',', ';']).next().unwrap().into(),
        Err(error) => format!("{error:?}"),
    }
}

#[test]
fn promises_alone_do_not_close_the_canister() {
    on_every_path(|mut canister| {
        // The proportion is the same as with the defaults: the largest upload is 13.7 % of `max_bytes`.
        let [all, largest] = [1_000, 137].map(|chunks| chunks * CHUNK as u64);
        change_limits(&mut canister, |config| config.max_bytes = all);
        let held = attack(&mut canister, largest, "attack");
        let config = canister.storage.config().unwrap();
        assert!(canister.storage.promises.total() <= config.max_promised_bytes());
        assert_eq!(config.max_promised_bytes(), config.max_bytes / 2);
        canister.begin(1, "honest");
        canister.try_begin(largest as usize, "large").unwrap();
        let ended =
            held.iter().filter(|(who, id)| reported_state(&mut canister, *who, *id) == "was evicted").count();
        assert!(ended > 0, "some sessions have been evicted");
    });
}

#[test]
fn sessions_with_bytes_outlast_empty_ones() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 120 * CHUNK as u64);
        attack(&mut canister, 16 * CHUNK as u64, "attack");
        let id = canister.begin(16 * CHUNK, "honest");
        canister.put(id, &file(16 * CHUNK), 0).unwrap();
        for n in 0..4 {
            canister.now = canister.now.plus_seconds(HOUR);
            attack(&mut canister, 16 * CHUNK as u64, &format!("again {n}"));
        }
        assert_eq!(reported_state(&mut canister, OWNER, id), "in flight");
    });
}

#[test]
fn a_repeated_chunk_keeps_no_session_alive() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 120 * CHUNK as u64);
        let mut held = attack(&mut canister, 16 * CHUNK as u64, "attack");
        held.retain(|(who, id)| put_as(&mut canister, *who, *id, 0).is_ok());
        assert!(!held.is_empty());
        canister.now = START.plus_seconds(23 * HOUR);
        for (who, id) in &held {
            put_as(&mut canister, *who, *id, 0).unwrap();
        }
        canister.now = START.plus_seconds(24 * HOUR);
        for (who, id) in &held {
            let gone = put_as(&mut canister, *who, *id, 0).unwrap_err();
            let expired = matches!(&gone, Error::Conflict { detail, .. } if detail.contains("has expired"));
            assert!(expired, "{gone}");
        }
        while !canister.service().sweep().unwrap() {}
        assert_eq!(
            (canister.storage.index.len(), canister.storage.promises.total(), canister.live_counts()),
            (0, 0, [0; 5])
        );
    });
}

#[test]
fn a_session_ends_at_its_maximum_age_however_active() {
    on_every_path(|mut canister| {
        let days = |days: u64| START.plus_seconds(days * 24 * HOUR);
        let file = file(20 * CHUNK);
        let id = canister.begin(file.len(), "a");
        let mut last = START;
        for n in 0..9 {
            last = START.plus_seconds(n * 20 * HOUR);
            canister.now = last;
            canister.put(id, &file, n as usize).unwrap();
        }
        let status = canister.service().status(id).unwrap();
        assert_eq!((status.last_seen, status.expires_at), (last.as_nanos(), days(7).as_nanos()));
        canister.now = Time::from_nanos(days(7).as_nanos() - 1);
        canister.put(id, &file, 9).unwrap();
        canister.now = days(7);
        let over = canister.put(id, &file, 10).unwrap_err();
        assert!(
            matches!(over, Error::Conflict { ref detail, .. } if detail.contains("has expired")),
            "{over}"
        );
        while !canister.service().sweep().unwrap() {}
        assert_eq!(
            (canister.storage.index.len(), canister.live_counts()),
            (0, [0; 5]),
            "the session has ended although it was just in use"
        );
    });
}

#[test]
fn the_emptiest_are_evicted_first_and_the_oldest_of_these() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 80 * CHUNK as u64);
        let mut begun = Vec::new();
        for who in 10..14 {
            begun.push((who, begin_as(&mut canister, who, 10 * CHUNK as u64, "a").unwrap()));
            canister.now = canister.now.plus_seconds(1);
        }
        let [(a, fuller), (b, emptier), (c, first), (d, second)] = begun[..] else { panic!("{begun:?}") };
        (0..2).for_each(|idx| put_as(&mut canister, a, fuller, idx).unwrap());
        put_as(&mut canister, b, emptier, 0).unwrap();
        canister.now = canister.now.plus_seconds(12 * HOUR);
        // After twelve hours, 7 % of the bytes are due: only the two empty sessions lag. 37 of the 40 chunks that may
        // be promised are promised, so each of the two begins has to evict a session.
        let mut expected = Vec::new();
        for (n, next) in [(1, (c, first)), (2, (d, second))] {
            canister.try_begin(9 * CHUNK, &format!("new {n}")).unwrap();
            expected.push(next);
            for (who, id) in &begun {
                let evicted = expected.contains(&(*who, *id));
                assert_eq!(
                    reported_state(&mut canister, *who, *id) == "was evicted",
                    evicted,
                    "{n}: session {id}"
                );
            }
        }
        // No other session may be evicted: each has sent what is due, or belongs to the caller of this begin.
        let before = (canister.live_counts(), canister.storage.promises.total());
        let full = canister.try_begin(10 * CHUNK, "new 3").unwrap_err();
        let promised = before.1 + 10 * CHUNK as u64;
        assert_eq!(full, Error::exhausted("bytes promised in the canister", 40 * CHUNK as u64, promised));
        assert_eq!(
            (canister.live_counts(), canister.storage.promises.total()),
            before,
            "no session is evicted without need"
        );
        // After 23 hours, 14 % of the bytes are due: the session that has sent 10 % lags, that with 20 % does not.
        canister.now = canister.now.plus_seconds(11 * HOUR);
        canister.try_begin(10 * CHUNK, "new 3").unwrap();
        assert_eq!(reported_state(&mut canister, b, emptier), "was evicted");
        assert_eq!(reported_state(&mut canister, a, fuller), "in flight");
    });
}

#[test]
fn a_session_that_has_sent_what_is_due_is_not_evicted() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| {
            config.max_bytes = 4 * CHUNK as u64;
            config.session_ttl_seconds = 2 * HOUR;
            config.max_session_age_seconds = Some(2 * HOUR);
        });
        let id = begin_as(&mut canister, 2, 2 * CHUNK as u64, "a").unwrap();
        put_as(&mut canister, 2, id, 0).unwrap();
        canister.now = canister.now.plus_seconds(HOUR);
        assert!(
            canister.try_begin(2 * CHUNK, "new").is_err(),
            "half of the session has arrived in half of its life"
        );
        canister.now = Time::from_nanos(canister.now.as_nanos() + 1);
        canister.begin(2 * CHUNK, "new");
        assert_eq!(reported_state(&mut canister, 2, id), "was evicted");
    });
}

#[test]
fn an_evicted_upload_gets_a_conflict_and_can_begin_again() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 100);
        let evicted = canister.begin(50, "a");
        let other = begin_as(&mut canister, 2, 50, "b").unwrap();
        let why = "was evicted, since the room that it had reserved but not filled was needed; begin the upload again";
        let conflict = Error::conflict("session", evicted, why);
        assert_eq!(canister.put(evicted, &file(50), 0), Err(conflict.clone()));
        assert_eq!(canister.finish(evicted, &file(50)), Err(conflict.clone()));
        assert_eq!(canister.service().abort(evicted), Err(conflict.clone()));
        let stranger = canister.as_person(2).status(evicted).unwrap_err();
        assert_eq!(stranger, Error::not_found("session", evicted));
        let counts = canister.storage.counters.all();
        assert_eq!(counts.compat.sessions_evicted + counts.direct.sessions_evicted, 1);

        let again = canister.begin(50, "a");
        assert_ne!(again, evicted);
        assert_eq!(reported_state(&mut canister, 2, other), "was evicted");
        canister.put(again, &file(50), 0).unwrap();
        canister.now = canister.now.plus_seconds(24 * HOUR - 1);
        assert!(canister.finish(again, &file(50)).is_ok());
        canister.now = canister.now.plus_seconds(1);
        let forgotten = canister.service().status(evicted).unwrap_err();
        assert_eq!(forgotten, Error::not_found("session", evicted), "a day later there is no receipt");
    });
}

#[test]
fn a_caller_does_not_evict_its_own_sessions() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 100);
        let first = canister.begin(50, "a");
        let full = canister.try_begin(1, "b").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes promised in the canister", 50, 51));
        assert_eq!(reported_state(&mut canister, OWNER, first), "in flight");
        canister.now = canister.now.plus_seconds(24 * HOUR);
        canister.begin(1, "b");
        assert_eq!(
            reported_state(&mut canister, OWNER, first),
            "has expired",
            "the session has expired before the timer has run"
        );
    });
}

#[test]
fn a_whole_file_may_evict_promised_bytes() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| {
            (config.max_bytes, config.max_promised_percent) = (100, Some(100))
        });
        let promised = begin_as(&mut canister, 2, 60, "a").unwrap();
        let bytes = file(50);
        let whole = small_file(&canister, &bytes, "whole");
        let finished = canister.service().put_whole(whole).unwrap();
        assert_eq!(read_back(&canister, &finished.blob_id), bytes);
        assert_eq!(reported_state(&mut canister, 2, promised), "was evicted");
        // Stored bytes are never evicted.
        let full = begin_as(&mut canister, 2, 60, "a").unwrap_err();
        assert_eq!(full, Error::exhausted("bytes in the canister", 100, 110));
    });
}

#[test]
fn promises_of_a_guest_do_not_close_a_capsule() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes_per_capsule = 100);
        let capsule = canister.capsule.clone();
        let access = CapsuleAccess { owners: vec![person(OWNER)], writers: vec![person(2)], readers: vec![] };
        canister.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
        let elsewhere = begin_as(&mut canister, 2, 90, "elsewhere").unwrap();
        let hash = canister.hash;
        let guest = canister.as_person(2).begin(capsule, metadata(90), 1, "a".into(), hash).unwrap();
        canister.begin(20, "owner");
        assert_eq!(reported_state(&mut canister, 2, guest), "was evicted");
        assert_eq!(
            reported_state(&mut canister, 2, elsewhere),
            "in flight",
            "the session elsewhere holds none of the capsule's bytes"
        );
    });
}

/// If the order were not total, sorting might panic. Expired sessions of empty files are sorted as complete ones. They
/// would release no bytes, so they are not evicted.
#[test]
fn the_eviction_order_is_total_for_sessions_of_every_size() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| {
            (config.max_bytes, config.max_promised_percent) = (100, Some(100))
        });
        for n in 0..40_u64 {
            let id = canister.begin((n % 3) as usize, &n.to_string());
            if n % 3 > 0 {
                canister.put(id, &[7; 2][..(n % 3) as usize], 0).unwrap();
            }
        }
        canister.now = canister.now.plus_seconds(24 * HOUR);
        assert!(canister.try_begin(99, "a").is_ok());
    });
}

#[cfg(feature = "direct")]
#[test]
fn many_small_sessions_do_not_shield_a_large_one() {
    let mut canister = TestCanister::direct();
    change_limits(&mut canister, |config| {
        (config.max_bytes, config.max_sessions_per_caller) = (2_000, u64::MAX)
    });
    let capsule = canister.storage.capsules.create(person(2), None, START).unwrap().id;
    for n in 0..=crate::upload::limits::EVICTION_CHECKS {
        let mut small = canister.as_person(2);
        let idem = format!("small {n}");
        let id = small.begin(capsule.clone(), metadata(1), 1, idem, HashAlgorithm::Sha256).unwrap();
        small.put_chunk(id, 0, &mut &b"x"[..], None).unwrap();
    }
    let hidden = begin_as(&mut canister, 2, 1_000, "hidden").unwrap();
    assert!(matches!(canister.try_begin(10, "a"), Err(Error::ResourceExhausted { .. })));
    // A begin that fits evicts nothing, and does not change where the next eviction continues: after the sessions
    // already checked.
    begin_as(&mut canister, 3, 0, "a session without bytes, which needs no room").unwrap();
    canister.begin(10, "a");
    assert_eq!(reported_state(&mut canister, 2, hidden), "was evicted");
}

#[test]
fn damaged_sessions_are_skipped_by_eviction() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 100);
        let damaged = begin_as(&mut canister, 2, 20, "damaged").unwrap();
        expiry::damage_session(&mut canister, damaged);
        canister.upgrade();
        let sound = begin_as(&mut canister, 3, 20, "sound").unwrap();
        canister.begin(20, "a");
        assert_eq!(reported_state(&mut canister, 3, sound), "was evicted");
        assert!(canister.storage.index.contains(crate::session::SessionId(damaged), person(2)));
    });
}

/// Clears the sum of promised bytes and the first session that is counted, as in the memory of a build that did not
/// count promises, and upgrades.
fn forget_promises(canister: &mut TestCanister) {
    let memories = crate::stable::Memories::init(canister.raw.clone());
    let counters = crate::stable::Counters::open(&memories, crate::stable::memory_ids::UPLOAD_COUNTS);
    counters.set(PROMISES_PLACE, [0, 0]);
    canister.upgrade();
}

#[test]
fn sessions_from_before_promises_were_counted_end_uncounted() {
    on_every_path(|mut canister| {
        let old = canister.begin(40, "old");
        forget_promises(&mut canister);
        let new = canister.begin(50, "new");
        assert_eq!(canister.storage.promises.total(), 50);
        canister.put(old, &file(40), 0).unwrap();
        assert!(canister.finish(old, &file(40)).is_ok());
        assert_eq!(canister.storage.promises.total(), 50);
        canister.service().abort(new).unwrap();
        assert_eq!(canister.storage.promises.total(), 0);
    });
}

#[test]
fn a_wrong_sum_of_promises_is_reset_when_nothing_is_in_flight() {
    on_every_path(|mut canister| {
        let [first, second] = ["a", "b"].map(|idem| canister.begin(40, idem));
        canister.storage.promises.add(crate::session::SessionId(first), 7);
        let mut end = |id, sum| {
            canister.service().abort(id).unwrap();
            while !canister.service().sweep().unwrap() {}
            assert_eq!(canister.storage.promises.total(), sum);
        };
        end(first, 47);
        end(second, 0);
    });
}

#[test]
fn an_uncounted_session_is_not_evicted_for_promises() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| config.max_bytes = 200);
        let old = begin_as(&mut canister, 2, 40, "old").unwrap();
        forget_promises(&mut canister);
        let new = begin_as(&mut canister, 3, 90, "new").unwrap();
        canister.begin(30, "a");
        assert_eq!(reported_state(&mut canister, 3, new), "was evicted");
        assert_eq!(
            reported_state(&mut canister, 2, old),
            "in flight",
            "the uncounted session is as empty, and older"
        );
    });
}

#[cfg(feature = "direct")]
#[test]
fn every_limit_on_promises_is_in_the_settings() {
    let mut canister = TestCanister::direct();
    let config = canister.storage.config().unwrap();
    assert_eq!(
        (config.max_promised_percent, config.max_session_age_seconds),
        (Some(50), Some(7 * 24 * HOUR))
    );
    change_limits(&mut canister, |config| {
        config.session_ttl_seconds = 10 * 24 * HOUR;
        config.max_session_age_seconds = None;
    });
    assert_eq!(canister.storage.config().unwrap().max_session_age_seconds, Some(10 * 24 * HOUR));
    let refused = |change: fn(&mut AdminConfig)| {
        let mut config = canister.storage.config().unwrap();
        change(&mut config);
        Config::checked(config).unwrap_err().to_string()
    };
    let percent = refused(|config| config.max_promised_percent = Some(101));
    assert_eq!(percent, "max_promised_percent: expected 0 to 100, got 101");
    let age = refused(|config| config.max_session_age_seconds = Some(9 * 24 * HOUR));
    assert_eq!(age, "max_session_age_seconds: expected session_ttl_seconds, 864000, to 31536000, got 777600");
}

/// The begin exceeds the limits of the capsule, of the canister and of promises. Evicting one session makes room in all
/// three.
#[test]
fn a_begin_that_exceeds_every_limit_evicts_once_for_all_limits() {
    on_every_path(|mut canister| {
        change_limits(&mut canister, |config| {
            (config.max_bytes, config.max_bytes_per_capsule) = (100, 100);
            config.max_promised_percent = Some(100);
        });
        let capsule = canister.capsule.clone();
        let access = CapsuleAccess { owners: vec![person(OWNER)], writers: vec![person(2)], readers: vec![] };
        canister.storage.capsules.set_access(person(OWNER), &capsule, access).unwrap();
        let hash = canister.hash;
        let guest = canister.as_person(2).begin(capsule, metadata(60), 1, "a".into(), hash).unwrap();
        canister.begin(60, "owner");
        assert_eq!(reported_state(&mut canister, 2, guest), "was evicted");
        assert_eq!(canister.storage.usage.total(), Ok(60));
    });
}

/// Begins a session and puts all its bytes, and then one without putting any. Together they fill the canister.
fn complete_and_empty(canister: &mut TestCanister) -> [u64; 2] {
    let [all, most] = [4, 3].map(|chunks| chunks * CHUNK as u64);
    change_limits(canister, |config| (config.max_bytes, config.max_promised_percent) = (all, Some(100)));
    let complete = begin_as(canister, 2, CHUNK as u64, "a").unwrap();
    put_as(canister, 2, complete, 0).unwrap();
    canister.now = canister.now.plus_seconds(1);
    [complete, begin_as(canister, 3, most, "a").unwrap()]
}

#[test]
fn a_message_at_its_limit_considers_one_session() {
    on_every_path(|mut canister| {
        let [complete, empty] = complete_and_empty(&mut canister);
        canister.meter = Box::new(Exhausted);
        canister.try_begin(CHUNK, "new").unwrap_err();
        assert_eq!(
            reported_state(&mut canister, 3, empty),
            "in flight",
            "the next call continues after the first session"
        );
        canister.begin(CHUNK, "new");
        assert_eq!(reported_state(&mut canister, 3, empty), "was evicted");
        assert_eq!(reported_state(&mut canister, 2, complete), "in flight");
    });
}

#[test]
fn a_message_within_its_budget_considers_every_session() {
    on_every_path(|mut canister| {
        let [complete, empty] = complete_and_empty(&mut canister);
        canister.meter = Box::new(Used(CATCH_UP_INSTRUCTIONS));
        canister.begin(CHUNK, "new");
        assert_eq!(reported_state(&mut canister, 3, empty), "was evicted");
        assert_eq!(reported_state(&mut canister, 2, complete), "in flight");
    });
}

/// A message can evict at most eight sessions with 32 chunks each, `EVICTED_CHUNKS` in all.
#[cfg(feature = "direct")]
#[test]
fn a_message_evicts_as_many_chunks_as_it_can_release() {
    use crate::blob::RELEASE_AT_ONCE;
    use crate::upload::limits::EVICTED_CHUNKS;
    const LEN: u64 = 40 * CHUNK as u64;
    let sessions = EVICTED_CHUNKS / RELEASE_AT_ONCE as u64;
    for (n, fits) in [(sessions, true), (sessions + 1, false)] {
        let mut canister = TestCanister::direct();
        change_limits(&mut canister, |config| {
            (config.max_bytes, config.max_promised_percent) = (n * LEN, Some(100))
        });
        for who in 0..n as u8 {
            let id = begin_as(&mut canister, 10 + who, LEN, "a").unwrap();
            // The chunks are only recorded, not stored, since their removal does not matter here.
            let session_id = crate::session::SessionId(id);
            let upload =
                canister.path.load(&mut canister.storage, session_id, None, canister.now).unwrap().unwrap();
            let mut session = upload.session;
            (0..RELEASE_AT_ONCE as u32).for_each(|idx| assert!(session.received_idxs.insert(idx)));
            session.bytes_received = RELEASE_AT_ONCE as u64 * CHUNK as u64;
            canister.storage.promises.subtract(session_id, session.bytes_received);
            canister.storage.sessions.sessions.insert(id, &(&session).into());
        }
        canister.now = canister.now.plus_seconds(24 * HOUR);
        let begun = canister.try_begin((n * LEN) as usize, "all of it");
        assert_eq!(begun.is_ok(), fits, "{n} sessions: {begun:?}");
    }
}
