//! A quarantined session does not affect others: neither the sweep nor its owner's list stops at it.

use crate::support::legacy_state::{client, image, memory_of, metadata};
use upload_canister::api::HashAlgorithm;
use upload_canister::meter::Unmetered;
use upload_canister::migrate::open_storage;
use upload_canister::migrate::{self, Phase, RunOutcome};
use upload_canister::migrations::split_sessions::LegacyUploadSession;
use upload_canister::session::Time;
use upload_canister::storage::Storage;
use upload_canister::upload::limits::DEFAULT_SESSION_TTL_SECONDS;
use upload_canister::upload::path::ActivePath;
use upload_canister::upload::{RawRecord, UploadService};

const SESSIONS: u64 = 6;

/// A record that does not decode does not say who owns it, so its entry in the owner's index stays. The list skips the
/// entry, and shows the two sessions that the owner begins afterwards.
#[test]
fn the_others_are_listed_when_one_does_not_decode() {
    let now = Time::from_nanos(1_700_000_000_000_000_000);
    let (bytes, capsules) = image(SESSIONS, now.as_nanos());
    let mut storage = open_storage(memory_of(&bytes)).unwrap();
    storage.sessions.legacy.insert(2, &RawRecord(b"rubbish".to_vec()));
    let mut path = ActivePath::default();
    let list = |storage: &mut Storage, path: &mut ActivePath| {
        let mut service = UploadService::new(storage, path, client(2), now, &Unmetered);
        service.list(None, 99).map(|page| page.iter().map(|status| status.session).collect::<Vec<_>>())
    };
    assert_eq!(migrate::run(&mut storage, now, &Unmetered, 0), Ok(RunOutcome::Done));
    assert_eq!(storage.migration.state().unwrap().quarantined, 1);
    assert_eq!(list(&mut storage, &mut path), Ok(vec![]));
    let mut service = UploadService::new(&mut storage, &mut path, client(2), now, &Unmetered);
    let mut begin = |idem: &str| {
        let hash = HashAlgorithm::Sha256;
        service.begin(capsules[2].clone(), metadata(), 1, idem.into(), hash).unwrap()
    };
    let begun = vec![begin("one"), begin("another")];
    let refused = service.status(2).unwrap_err().to_string();
    assert!(refused.contains("quarantined"), "{refused}");
    assert_eq!(list(&mut storage, &mut path), Ok(begun));
}

/// The record of session 2, the only session of its owner, contradicts itself: its `chunk_count` is wrong.
#[test]
fn quarantined_records_stop_neither_the_sweep_nor_a_list() {
    let now = Time::from_nanos(1_700_000_000_000_000_000);
    let (bytes, capsules) = image(SESSIONS, now.as_nanos());
    let mut storage = open_storage(memory_of(&bytes)).unwrap();
    let stored = storage.sessions.legacy.get_raw(&2).unwrap();
    let mut record = LegacyUploadSession::decode(&stored).unwrap();
    record.chunk_count += 1;
    storage.sessions.legacy.insert(2, &RawRecord(record.encode()));
    assert_eq!(migrate::run(&mut storage, now, &Unmetered, 0), Ok(RunOutcome::Done));
    let state = storage.migration.state().unwrap();
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, SESSIONS - 1, 1));

    let mut path = ActivePath::default();
    let mut service = UploadService::new(&mut storage, &mut path, client(2), now, &Unmetered);
    let new =
        service.begin(capsules[2].clone(), metadata(), 1, "another".into(), HashAlgorithm::Sha256).unwrap();
    let listed: Vec<u64> = service.list(None, 99).unwrap().iter().map(|status| status.session).collect();
    assert_eq!(listed, [new]);
    service.status(2).unwrap_err();

    service.now = now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    while !service.sweep().unwrap() {}
    assert!(storage.index.is_empty(), "everything else has expired");
    assert!(storage.migration.quarantine.contains(1, 2));
    assert_eq!(storage.usage.account_count(), 0, "a quarantined record is on no account");
}
