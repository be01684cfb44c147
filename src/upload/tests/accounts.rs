//! The accounts match the bytes in flight and stored, whoever began a session and however it ends.

use proptest::prelude::*;

use super::*;
use crate::blob::BlobId;
use crate::migrate::{self, controls};
use crate::migrations::split_sessions::LegacyUploadSession;
use crate::session::SessionId;
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, Table, memory_ids};

#[derive(Clone, Copy, Debug)]
enum End {
    Finished,
    /// Finished after an attempt with a wrong digest.
    FinishedAtLast,
    FinishedAndDeleted,
    Aborted,
    /// Ended by the sweep, together with all other idle sessions.
    Expired,
    /// Left in flight.
    Left,
}

/// What a test does with one session.
#[derive(Clone, Debug)]
struct Plan {
    /// Whether the session is as one of the first public release, in no index and on no account.
    is_foreign: bool,
    /// The byte of which the file consists. There are few values and lengths, so that files may have the same content.
    content: u8,
    len: usize,
    /// Whether the file's one chunk arrives right after begin; if so, the later put, which always follows, merely
    /// repeats it.
    is_put_at_begin: bool,
    end: End,
}

/// When the staged build replaces the legacy build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Upgrade {
    BeforeThePuts,
    BeforeTheEnds,
    AfterTheEnds,
}

fn plans() -> impl Strategy<Value = Vec<Plan>> {
    let end = prop_oneof![
        3 => Just(End::Finished),
        1 => Just(End::FinishedAtLast),
        2 => Just(End::FinishedAndDeleted),
        2 => Just(End::Aborted),
        1 => Just(End::Expired),
        2 => Just(End::Left),
    ];
    let plan = (any::<bool>(), 0..3_u8, 1..4_usize, any::<bool>(), end).prop_map(
        |(is_foreign, content, len, is_put_at_begin, end)| Plan {
            is_foreign,
            content,
            len,
            is_put_at_begin,
            end,
        },
    );
    proptest::collection::vec(plan, 1..7)
}

/// Returns the bytes of the caller, of the capsule and of the canister, according to the accounts.
fn accounts(canister: &TestCanister) -> [u64; 3] {
    let table: Table<TwoTexts, u64> = Table::open(&Memories::init(canister.raw.clone()), memory_ids::USAGE);
    let bytes_of =
        |kind: &str, name: &str| table.get(&TwoTexts(kind.into(), name.into())).unwrap().unwrap_or(0);
    [
        bytes_of("caller", &person(OWNER).to_text()),
        bytes_of("capsule", &canister.capsule),
        bytes_of("canister", ""),
    ]
}

/// Returns the same bytes as [`accounts`], but counted from the stored sessions and blobs.
fn counted_bytes(canister: &TestCanister) -> [u64; 3] {
    let Storage { sessions, index, blobs, .. } = &canister.storage;
    let legacy = sessions.legacy.keys_after(None).map(|id| {
        let record = LegacyUploadSession::decode(&sessions.legacy.get_raw(&id).unwrap()).unwrap();
        (id, record.asset_metadata.bytes())
    });
    let split = sessions.sessions.range(..).map(|entry| {
        let (id, record) = entry.unwrap();
        (id, record.into_session().unwrap().bytes_expected)
    });
    let is_counted = |(id, _): &(u64, u64)| index.contains(SessionId(*id), person(OWNER));
    let in_flight: u64 = legacy.chain(split).filter(is_counted).map(|(_, bytes)| bytes).sum();
    let all = [blobs.list_in_chunk_map(None, usize::MAX), blobs.list_in_extents(None, usize::MAX)].concat();
    let stored: u64 = all.into_iter().map(|id| blobs.blob(BlobId(id)).unwrap().size).sum();
    [in_flight, in_flight + stored, in_flight + stored]
}

fn assert_accounts_match(canister: &TestCanister, what: &str) {
    assert_eq!(accounts(canister), counted_bytes(canister), "accounts and counted bytes: {what}");
}

fn sweep(canister: &mut TestCanister) {
    while !canister.service().sweep().unwrap() {}
}

fn run_migration(canister: &mut TestCanister) {
    assert_eq!(
        migrate::run(&mut canister.storage, canister.now, &Unmetered, 0),
        Ok(migrate::RunOutcome::Done)
    );
}

fn end_session(canister: &mut TestCanister, id: u64, file: &[u8], end: End) {
    let finish = |canister: &mut TestCanister| match canister.finish(id, file) {
        Ok(finished) => Some(finished.memory_id),
        // The sweep after another session's `End::Expired` has already ended this one.
        Err(Error::NotFound { .. } | Error::Conflict { .. }) => None,
        Err(error) => panic!("session {id} cannot be finished: {error}"),
    };
    match end {
        End::Finished => drop(finish(canister)),
        End::FinishedAtLast => {
            let digest = ByteBuf::from([7; 32]);
            assert!(canister.service().finish(id, &digest, file.len() as u64).is_err());
            finish(canister);
        }
        End::FinishedAndDeleted => {
            if let Some(memory) = finish(canister) {
                crate::memories::delete(&mut canister.storage, person(OWNER), &memory).unwrap();
            }
        }
        End::Aborted => drop(canister.service().abort(id)),
        End::Expired => {
            canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
            sweep(canister);
        }
        End::Left => {}
    }
}

fn check_accounts(plans: &[Plan], upgrade: Upgrade, rolls_back: bool) {
    let mut canister = TestCanister::with_memory(
        memory_of_small_buckets(),
        Layout::LEGACY,
        Box::<CompatPath>::default(),
        100,
    );
    let file = |plan: &Plan| vec![plan.content; plan.len];
    let mut sessions = Vec::new();
    for (n, plan) in plans.iter().enumerate() {
        let (file, idem) = (file(plan), n.to_string());
        let id = canister.begin(file.len(), &idem);
        if plan.is_put_at_begin {
            canister.put(id, &file, 0).unwrap();
        }
        if plan.is_foreign {
            let (id, caller) = (SessionId(id), person(OWNER));
            canister.storage.index.remove_keeping_key(id, caller, canister.now);
            canister.storage.index.remove_key_of(IdemKey::of(&canister.capsule, &caller, &idem), id).unwrap();
            canister.storage.usage.release_reserved(caller, &canister.capsule, file.len() as u64).unwrap();
        }
        sessions.push((id, file, plan.end));
    }
    assert_accounts_match(&canister, "begun");
    let install_staged = |canister: &mut TestCanister| {
        set_share(&mut canister.storage, 0);
        canister.path = Box::<crate::upload::path::ActivePath>::default();
    };
    if upgrade == Upgrade::BeforeThePuts {
        install_staged(&mut canister);
    }
    for (id, file, _) in &sessions {
        canister.now = canister.now.plus_seconds(1);
        canister.put(*id, file, 0).unwrap();
        assert_accounts_match(&canister, "put");
    }
    if upgrade == Upgrade::BeforeTheEnds {
        install_staged(&mut canister);
        run_migration(&mut canister);
        assert_accounts_match(&canister, "migrated");
    }
    for (id, file, how) in &sessions {
        end_session(&mut canister, *id, file, *how);
        assert_accounts_match(&canister, &format!("session {id} {how:?}"));
    }
    install_staged(&mut canister);
    run_migration(&mut canister);
    assert_accounts_match(&canister, "the migration has ended");
    if rolls_back {
        controls::rollback(&mut canister.storage, canister.now).unwrap();
        run_migration(&mut canister);
        assert_accounts_match(&canister, "rolled back");
    }
    canister.now = canister.now.plus_seconds(DEFAULT_SESSION_TTL_SECONDS);
    sweep(&mut canister);
    assert_accounts_match(&canister, "expired");
    let capsule = canister.capsule.clone();
    let memories = canister.storage.capsules.list_memories(person(OWNER), &capsule, None, 99).unwrap();
    for memory in memories {
        crate::memories::delete(&mut canister.storage, person(OWNER), &memory.id).unwrap();
    }
    sweep(&mut canister);
    assert_eq!((accounts(&canister), canister.live_counts()), ([0; 3], [0; 5]), "nothing is left");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn accounts_are_what_is_in_flight_and_stored(
        plans in plans(),
        upgrade in prop_oneof![
            Just(Upgrade::BeforeThePuts),
            Just(Upgrade::BeforeTheEnds),
            Just(Upgrade::AfterTheEnds),
        ],
        rolls_back in any::<bool>(),
    ) {
        check_accounts(&plans, upgrade, rolls_back);
    }
}
