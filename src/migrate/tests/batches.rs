//! Batches in which one record is not converted correctly: that record stays unchanged, the engine gets stuck, and the
//! records that it has converted stay converted. Also tested: how many units are in a batch, and where a batch ends.

use super::*;
use crate::api::AdminConfig;
use crate::config::Config;
use crate::migrate::open_storage;
use crate::session::{Session, Time};
use crate::stable::keys::TwoTexts;
use crate::stable::{Memories, RawMemory, Table, memory_ids, preflight};
use crate::upload::{SessionRecord, UploadMeta};

/// Returns the stored bytes of a legacy record and the time of its last activity; `None` for each that is not stored.
fn legacy_record(canister: &TestCanister, id: u64) -> (Option<Vec<u8>>, Option<Time>) {
    let legacy = &canister.storage.sessions.legacy;
    (legacy.get_raw(&id), legacy.activity(&id).unwrap())
}

/// Opens the memory of a canister independently of its storage, to read and damage what is stored.
fn memories(raw: &RawMemory) -> Memories {
    preflight::open_existing(raw.clone()).unwrap()
}

/// A faulty memory: the bytes that are read back for one session are not those that were written.
struct Faulty {
    raw: RawMemory,
    session: u64,
    damage: Damage,
}

/// Changes the stored bytes of a session in layout 2, without changing their length.
type Damage = fn(&Memories, u64);

impl Meter for Faulty {
    /// Damages the session. The engine reads the meter after it has written a record of a batch, and before it reads
    /// any of the records back.
    fn used(&self) -> u64 {
        (self.damage)(&memories(&self.raw), self.session);
        0
    }
}

const DAMAGES: &[(&str, Damage)] = &[
    ("another upload meta", |memories, id| {
        let mut metas: Table<u64, UploadMeta> = Table::open(memories, memory_ids::UPLOAD_META);
        if let Some(meta) = metas.get(&id).unwrap() {
            metas.insert(id, &UploadMeta { created_at: u64::MAX, ..meta });
        }
    }),
    // Layout 1 stores the activity separately from the record, so a rollback does not reveal this damage.
    ("another session", |memories, id| {
        let mut sessions: Table<u64, SessionRecord> = Table::open(memories, memory_ids::SESSIONS);
        if let Some(record) = sessions.get(&id).unwrap() {
            let mut session: Session = record.into_session().unwrap();
            session.session_meta.last_seen = Time::from_nanos(u64::MAX);
            sessions.insert(id, &SessionRecord::from(&session));
        }
    }),
    ("a session that does not decode", |memories, id| {
        let mut sessions: Table<u64, RawRecord> = Table::open(memories, memory_ids::SESSIONS);
        if let Some(RawRecord(mut bytes)) = sessions.get(&id).unwrap() {
            bytes[0] = u8::MAX;
            sessions.insert(id, &RawRecord(bytes));
        }
    }),
];

#[test]
fn a_record_that_reads_back_differently_stays_what_it_was() {
    for (what, damage) in DAMAGES {
        for place in 0..5 {
            let (mut canister, sessions) = canister_in_layout_1();
            upgrade(&mut canister);
            let (id, file, _) = &sessions[place];
            let before = legacy_record(&canister, *id);
            let faulty = Faulty { raw: canister.raw.clone(), session: *id, damage: *damage };
            assert_eq!(run(&mut canister.storage, canister.now, &faulty, 0), Ok(RunOutcome::Done));

            let state = canister.storage.migration.state().unwrap();
            assert_eq!(
                (state.phase, state.source, state.converted),
                (Phase::Stuck, 5, 4),
                "{what}: {state:?}"
            );
            assert!(state.note.contains(&format!("session {id}")), "{what}: {}", state.note);
            canister.storage = open_storage(canister.raw.clone()).unwrap();
            let tables = &canister.storage.sessions;
            assert_eq!(
                tables.legacy.keys_after(None).collect::<Vec<_>>(),
                [*id],
                "{what}: only the damaged session is in layout 1"
            );
            assert_eq!(legacy_record(&canister, *id), before, "{what}");
            assert_eq!(
                (tables.sessions.len(), tables.metas.len()),
                (4, 4),
                "{what}: the damaged session is not in layout 2"
            );

            controls::resume(&mut canister.storage, canister.now).unwrap();
            let state = run_to_end(&mut canister);
            assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{what}");
            for idx in 0..file.chunks(CHUNK).len() {
                canister.put(*id, file, idx).unwrap();
            }
            canister.finish(*id, file).unwrap();
        }
    }
}

/// The record with the error is in no index, like records of the first public release, and its capsule's account is
/// damaged.
#[test]
fn an_error_in_the_middle_of_a_batch_ends_it_before_that_record() {
    let (mut canister, sessions) = canister_in_layout_1();
    let (id, file, _) = &sessions[2];
    let caller = person(OWNER);
    forget(&mut canister, *id, file, "2");
    upgrade(&mut canister);
    let account = TwoTexts("capsule".into(), canister.capsule.clone());
    let callers = TwoTexts("caller".into(), caller.to_text());
    let accounts = |canister: &TestCanister| -> Table<TwoTexts, RawRecord> {
        Table::open(&memories(&canister.raw), memory_ids::USAGE)
    };
    let sound = accounts(&canister).get_raw(&account).unwrap();
    let callers_bytes = accounts(&canister).get_raw(&callers);
    accounts(&canister).insert(account.clone(), &RawRecord(b"rubbish".to_vec()));
    add_last_account(accounts(&canister));
    let before = legacy_record(&canister, *id);

    canister.storage = open_storage(canister.raw.clone()).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Stuck, 5, 2), "{state:?}");
    assert!(state.note.contains("number") && state.note.contains(&canister.capsule), "{}", state.note);
    let tables = &canister.storage.sessions;
    assert_eq!((tables.legacy.len(), tables.sessions.len(), tables.metas.len()), (3, 2, 2));
    assert_eq!(legacy_record(&canister, *id), before);
    assert_eq!(accounts(&canister).get_raw(&callers), callers_bytes, "the caller's account was changed");

    accounts(&canister).insert(account.clone(), &RawRecord(sound));
    canister.storage = open_storage(canister.raw.clone()).unwrap();
    controls::resume(&mut canister.storage, canister.now).unwrap();
    let state = run_to_end(&mut canister);
    assert_eq!((state.phase, state.source, state.converted), (Phase::Converted, 5, 5), "{}", state.note);
    let promised: usize = sessions.iter().map(|(_, file, _)| file.len()).sum();
    for account in [account, callers] {
        assert_eq!(accounts(&canister).get_raw(&account), Some((promised as u64).to_be_bytes().to_vec()));
    }
}

/// A meter of which each reading costs 1 instruction.
struct OnePerReading(std::cell::Cell<u64>);

impl Meter for OnePerReading {
    fn used(&self) -> u64 {
        self.0.set(self.0.get() + 1);
        self.0.get()
    }
}

/// Returns a canister on the staged build with this many sessions of one byte, all converted.
fn staged_with_sessions(number: usize) -> TestCanister {
    let mut canister = TestCanister::compat();
    canister.storage.layout.set(&Layout::LEGACY);
    for n in 0..number {
        canister.begin(1, &n.to_string());
    }
    upgrade(&mut canister);
    canister.path = TestCanister::staged().path;
    assert_eq!(run_to_end(&mut canister).converted, number as u64);
    canister
}

/// Runs the engine to the end, in messages of this budget. Returns the largest number of units that one message has
/// handled, as counted by `handled`, and the number of messages.
fn run_in_messages(
    canister: &mut TestCanister,
    budget: u64,
    handled: impl Fn(&TestCanister) -> u64,
) -> (u64, u64) {
    let (mut max, mut messages) = (0, 0);
    loop {
        let before = handled(canister);
        let meter = OnePerReading(std::cell::Cell::new(0));
        let outcome = run(&mut canister.storage, canister.now, &meter, budget).unwrap();
        max = max.max(handled(canister).saturating_sub(before));
        messages += 1;
        if outcome == RunOutcome::Done {
            return (max, messages);
        }
    }
}

#[test]
fn a_batch_ends_when_its_message_is_full() {
    const NUMBER: u64 = 60;
    let mut canister = staged_with_sessions(NUMBER as usize);
    // The meter is read three times for each unit: some ten units fit a message of 30.
    let handled = |canister: &TestCanister| canister.storage.migration.state().unwrap().pace.steps;
    let begins: [fn(&mut TestCanister); 2] = [
        |canister| controls::verify(&mut canister.storage, canister.now).unwrap(),
        |canister| controls::rollback(&mut canister.storage, canister.now).unwrap(),
    ];
    for (what, begin) in ["verify", "rollback"].into_iter().zip(begins) {
        begin(&mut canister);
        let (max, messages) = run_in_messages(&mut canister, 30, handled);
        assert!((1..=15).contains(&max) && messages >= NUMBER / 15, "{what}: {max}, {messages} messages");
    }
    assert_eq!(phase(&canister), Phase::RolledBack);
    controls::resume(&mut canister.storage, canister.now).unwrap();
    let (max, messages) =
        // A bulk conversion reads the meter only once for each unit.
        run_in_messages(&mut canister, 30, |canister| canister.storage.sessions.sessions.len());
    assert!((1..=30).contains(&max) && messages > 2, "converted: {max}, {messages} messages");
    assert_eq!(phase(&canister), Phase::Converted);
}

/// A meter for units that become expensive: each of its first 60 readings adds 1 instruction, and each later one 100.
#[derive(Default)]
struct Steepening {
    readings: std::cell::Cell<u64>,
    used: std::cell::Cell<u64>,
}

impl Meter for Steepening {
    fn used(&self) -> u64 {
        self.readings.set(self.readings.get() + 1);
        self.used.set(self.used.get() + if self.readings.get() > 60 { 100 } else { 1 });
        self.used.get()
    }
}

#[test]
fn a_batch_ends_in_its_middle_when_units_cost_more() {
    const BUDGET: u64 = 1_000;
    let mut canister = TestCanister::compat();
    canister.storage.layout.set(&Layout::LEGACY);
    let config = AdminConfig { max_sessions_per_caller: 300, ..canister.storage.config().unwrap() };
    canister.storage.settings.set(&Config::checked(config).unwrap());
    for n in 0..300 {
        canister.begin(1, &n.to_string());
    }
    upgrade(&mut canister);
    let handled = |canister: &TestCanister| canister.storage.migration.state().unwrap().pace.steps;
    loop {
        let (before, meter) = (handled(&canister), Steepening::default());
        let outcome = run(&mut canister.storage, canister.now, &meter, BUDGET).unwrap();
        let units = handled(&canister) - before;
        // The budget allows 60 readings at 1 and some ten at 100, and each unit takes at least one.
        assert!(units <= 75, "{units} units in {:?}", phase(&canister));
        // A message may exceed its budget by its last unit, and by what follows the last unit.
        assert!(meter.used.get() <= BUDGET + 400, "{} in {:?}", meter.used.get(), phase(&canister));
        if outcome == RunOutcome::Done {
            break;
        }
    }
    assert_eq!(phase(&canister), Phase::Converted);
}
