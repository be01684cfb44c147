//! Costs of the migration for a thousand sessions and for many, with client calls throughout.
//!
//! Many means 100,000 sessions; `MIGRATION_SESSIONS=1000000` runs the million whose figures are in
//! `docs/migration-costs.md`. `UPDATE_REPORT=1` rewrites that report. Without this variable, the test fails if a cost
//! exceeds the report by more than a tenth, and prints a line if a cost is lower by more than a tenth.

use std::fmt::Write as _;
use std::path::PathBuf;

use crate::support::legacy_state::{BYTES, CLIENTS, client, file, idem, image, is_stored, metadata};
use crate::support::upload::sha256;
use crate::support::{InstalledCanister, controller, tree};
use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::Build;
use session_migrate::costs::{self, MessageCost};
use session_migrate::server::ServerKind;
use upload_canister::api::{MigrationPhase, MigrationStatus, Result, UploadFinishResult};

/// Maximum instructions of the migration in `post_upgrade`, regardless of the number of sessions:
/// `UPGRADE_INSTRUCTIONS` in `src/canister/migration.rs`, plus a little for the start of the module and the
/// timers.
const UPGRADE_LIMIT: u64 = 50_000_000 + 1_000_000;

/// Maximum instructions of a message of the migration, and of a client's call.
const MESSAGE_LIMIT: u64 = 2_000_000_000;

/// Maximum number of client calls that arrive in the same round.
const CALLS_OF_A_ROUND: usize = 8;

/// Maximum instructions of the migration for each session, index entries included.
const SESSION_LIMIT: u64 = 400_000;

/// The figures of one migration with clients.
#[derive(Debug)]
struct Figures {
    sessions: u64,
    post_upgrade: u64,
    messages: u64,
    /// Instructions of the most expensive message of the migration after `post_upgrade`.
    most_in_message: u64,
    /// Instructions of the migration, in all messages.
    total: u64,
    /// Number of client calls.
    calls: u64,
    /// The client call with the most instructions.
    most_expensive_call: ClientCall,
    /// Bytes of the heap after the upgrade; `heap_after` has those at the end of the migration.
    heap_before: u64,
    heap_after: u64,
}

#[derive(Debug)]
struct ClientCall {
    method: String,
    instructions: u64,
}

impl Figures {
    fn instructions_each(&self) -> u64 {
        self.total / self.sessions
    }
}

/// The call that a client makes; all but `Begin` are about an existing session.
#[derive(Clone, Copy, Debug)]
enum CallKind {
    Put,
    Finish,
    Abort,
    /// Begin with the key of an existing session.
    Again,
    /// Begin with a new key.
    Begin,
}

/// Clients that make calls about sessions chosen at random, at most one call for each session. Every call must succeed,
/// as it would without a migration.
struct Traffic {
    random: u64,
    sessions: u64,
    capsules: Vec<String>,
    /// Sessions about which a call was made.
    called: std::collections::BTreeSet<u64>,
    calls: u64,
    /// Sessions that a client has finished, with the locators of their blobs.
    finished: Vec<(u64, String)>,
}

impl Traffic {
    fn next_random(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    /// Makes up to [`CALLS_OF_A_ROUND`] calls in one round; fewer if a session is drawn about which a call was made
    /// before.
    fn make_round(&mut self, canister: &InstalledCanister) {
        let mut sent = Vec::new();
        while sent.len() < CALLS_OF_A_ROUND {
            let session = 1 + self.next_random(self.sessions);
            if !self.called.insert(session) {
                break;
            }
            let caller = client(session % CLIENTS.min(self.sessions));
            let (method, arguments, kind) = self.next_call(session);
            let id = canister.pic.submit_call(canister.id, caller, method, arguments).unwrap();
            sent.push((id, session, kind));
        }
        for (id, session, kind) in sent {
            let reply = canister.pic.await_call(id).unwrap();
            match kind {
                CallKind::Put | CallKind::Abort => candid::decode_one::<Result<()>>(&reply).unwrap().unwrap(),
                CallKind::Again => {
                    assert_eq!(candid::decode_one::<Result<u64>>(&reply).unwrap(), Ok(session))
                }
                CallKind::Begin => drop(candid::decode_one::<Result<u64>>(&reply).unwrap().unwrap()),
                CallKind::Finish => {
                    let finished = candid::decode_one::<Result<UploadFinishResult>>(&reply).unwrap().unwrap();
                    self.finished.push((session, finished.blob_id));
                }
            }
            self.calls += 1;
        }
    }

    fn next_call(&mut self, session: u64) -> (&'static str, Vec<u8>, CallKind) {
        let capsule = &self.capsules[(session % CLIENTS.min(self.sessions)) as usize].clone();
        let bytes = file(session);
        let begin = |idem: String| candid::encode_args((capsule, metadata(), 1u32, idem)).unwrap();
        match self.next_random(5) {
            0 if is_stored(session) => {
                let digest = sha256(&bytes);
                let arguments = (session, Bytes::new(&digest), BYTES as u64);
                ("uploads_finish", candid::encode_args(arguments).unwrap(), CallKind::Finish)
            }
            1 => ("uploads_abort", candid::encode_args((session,)).unwrap(), CallKind::Abort),
            2 => ("uploads_begin", begin(idem(session)), CallKind::Again),
            3 => ("uploads_begin", begin(format!("new-{session}")), CallKind::Begin),
            _ => {
                let arguments = (session, 0u32, Bytes::new(&bytes), None::<ByteBuf>);
                ("uploads_put_chunk", candid::encode_args(arguments).unwrap(), CallKind::Put)
            }
        }
    }

    /// Reads back the uploads that were finished during the migration.
    fn read_back(&self, canister: &InstalledCanister) {
        assert!(!self.finished.is_empty(), "nobody finished an upload");
        for (session, locator) in &self.finished {
            let caller = client(session % CLIENTS.min(self.sessions));
            assert_eq!(canister.read_back(caller, locator), file(*session), "session {session}");
        }
    }
}

fn status(canister: &InstalledCanister) -> MigrationStatus {
    canister.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

fn heap(canister: &InstalledCanister) -> u64 {
    let status = canister.pic.canister_status(canister.id, Some(controller())).unwrap();
    u64::try_from(status.memory_metrics.wasm_memory_size.0).unwrap()
}

/// Migrates this many sessions, while clients call.
fn migrate(sessions: u64) -> Figures {
    let mut canister = InstalledCanister::new(Build::Legacy);
    let (bytes, capsules) = image(sessions, canister.pic.get_time().as_nanos_since_unix_epoch());
    canister.pic.set_stable_memory(canister.id, bytes, BlobCompression::NoCompression);
    canister.upgrade(Build::Legacy);
    let messages_from = |canister: &InstalledCanister, from| {
        costs::messages(&canister.pic, canister.id, from).expect("the server does not report costs")
    };
    let last_index = |all: &[MessageCost]| all.last().expect("no message was executed").index;
    let first_unseen = last_index(&messages_from(&canister, 0)) + 1;
    canister.try_upgrade(Build::Staged).unwrap();
    let heap_before = heap(&canister);
    let mut all = messages_from(&canister, first_unseen);
    let is_upgrade = |cost: &&MessageCost| ["start", "post_upgrade"].contains(&&*cost.entry);
    let post_upgrade = all.iter().filter(is_upgrade).map(|cost| cost.instructions).sum();

    let mut traffic = Traffic {
        random: 42,
        sessions,
        capsules,
        called: Default::default(),
        calls: 0,
        finished: Vec::new(),
    };
    let state = loop {
        traffic.make_round(&canister);
        let state = status(&canister);
        assert_ne!(state.phase, MigrationPhase::Stuck, "{}", state.note);
        let new = messages_from(&canister, last_index(&all) + 1);
        all.extend(new);
        if state.phase == MigrationPhase::Converted {
            break state;
        }
    };
    let accounted = state.converted + state.already + state.quarantined + state.expired;
    assert_eq!((state.source, accounted, state.quarantined), (sessions, sessions, 0), "{state:?}");
    assert_eq!(state.digest_before, state.digest_after);
    // With few sessions, the migration may be complete before a client has touched a legacy record or finished an
    // upload.
    if sessions > 10_000 {
        assert!(state.already > 0, "no client touched a legacy record");
        traffic.read_back(&canister);
    }

    // The timers' library runs each timer in a call of the canister to itself.
    let is_of_timer = |cost: &&MessageCost| cost.entry == "update" && !cost.method.starts_with("uploads_");
    let calls = all.iter().filter(|cost| cost.method.starts_with("uploads_"));
    let most_expensive = calls.max_by_key(|cost| cost.instructions).expect("no client has called");
    Figures {
        sessions,
        post_upgrade,
        messages: state.messages,
        most_in_message: all.iter().filter(is_of_timer).map(|cost| cost.instructions).max().unwrap_or(0),
        total: state.instructions,
        calls: traffic.calls,
        most_expensive_call: ClientCall {
            method: most_expensive.method.clone(),
            instructions: most_expensive.instructions,
        },
        heap_before,
        heap_after: heap(&canister),
    }
}

fn check_limits(figures: &Figures) {
    assert!(figures.post_upgrade < UPGRADE_LIMIT, "{figures:?}");
    assert!(figures.most_in_message < MESSAGE_LIMIT, "{figures:?}");
    assert!(figures.most_expensive_call.instructions < MESSAGE_LIMIT, "{figures:?}");
    assert!(figures.instructions_each() <= SESSION_LIMIT, "{figures:?}");
}

fn report_row(figures: &Figures) -> String {
    let Figures {
        sessions,
        post_upgrade,
        messages,
        most_in_message,
        total,
        calls,
        most_expensive_call: ClientCall { method, instructions },
        heap_before,
        heap_after,
    } = figures;
    format!(
        "| {sessions} | {post_upgrade} | {messages} | {most_in_message} | {total} | {} | {calls} | {instructions} in `{method}` | {heap_before} | {heap_after} |",
        figures.instructions_each()
    )
}

fn report_path() -> PathBuf {
    tree::root().join("docs/migration-costs.md")
}

/// Returns the rows of the table, by number of sessions.
fn rows_of(report: &str) -> Vec<(u64, String)> {
    // Rows of the tables in the introduction are skipped: they have two columns, or numbers with commas.
    let rows = report.lines().filter(|line| line.split('|').count() > 4).filter_map(|line| {
        let sessions = line.strip_prefix("| ")?.split(' ').next()?.parse().ok()?;
        Some((sessions, line.to_owned()))
    });
    rows.collect()
}

/// Returns all numbers in a row, in order.
fn numbers(line: &str) -> Vec<u64> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// With `UPDATE_REPORT`, writes the rows of this run to the report; otherwise, compares them with the report.
fn report_or_compare(runs: &[Figures]) {
    let old = std::fs::read_to_string(report_path()).unwrap_or_default();
    if std::env::var_os("UPDATE_REPORT").is_none() {
        assert!(old.starts_with(HEAD), "the introduction of the report differs");
        let written = rows_of(&old);
        for figures in runs {
            let Some((_, reported_line)) = written.iter().find(|(sessions, _)| *sessions == figures.sessions)
            else {
                panic!("{} sessions are not in the report", figures.sessions)
            };
            for (reported, measured) in numbers(reported_line).into_iter().zip(numbers(&report_row(figures)))
            {
                let tenth = reported.max(10) / 10;
                let both = format!("report: {reported_line}\n   run: {}", report_row(figures));
                assert!(
                    measured <= reported + tenth,
                    "more expensive than in the report by more than a tenth\n{both}"
                );
                if measured + tenth < reported {
                    println!(
                        "the report is stale, write it with UPDATE_REPORT=1: {measured} instead of {reported}\n{both}"
                    );
                }
            }
        }
        return;
    }
    let mut lines = rows_of(&old);
    for figures in runs {
        lines.retain(|(sessions, _)| *sessions != figures.sessions);
        lines.push((figures.sessions, report_row(figures)));
    }
    lines.sort();
    let mut text = String::from(HEAD);
    for (_, line) in lines {
        writeln!(text, "{line}").unwrap();
    }
    std::fs::write(report_path(), text).unwrap();
}

const HEAD: &str = "# What migration 1 costs

Written by `UPDATE_REPORT=1 cargo test -p upload-e2e migration_scale`, with `MIGRATION_SESSIONS=1000000` for the last
row. Every session is a file of one chunk of 64 bytes with its metadata, four index entries and its accounts; every
third session has its chunk stored. A thousand clients put, finish, abort and begin continuously, on sessions chosen at
random, and no call fails.

Instructions are IC instructions as the embedded server counts them. `post_upgrade` includes the start of the module.
`most in a message` is the highest count of any migration message after `post_upgrade`. `per session` is the total of
the engine's instructions, in all messages, divided by the number of sessions.

**Full-size chunks used to make the migration more expensive**, before the keys of the chunk map were read without its
payload (`src/stable/map_keys.rs`): a node holds up to eleven chunks, and to load a node, the library had to follow the
list of its pages. The figures in the next table are from commit 1e45df9, with stored chunks of 1.8 MB. For current
figures, see `migrate_chunks_0`, `_20` and `_400` in [costs.md](costs.md):

| a session with | instructions per session |
|---|---|
| no stored chunk | 0.19 M |
| 20 stored chunks | 3.3 M |
| 400 stored chunks | 6.65 M |

**With one full-size chunk stored for each session, the current build stays below 0.30 M** up to the capacity of a
canister: 140,000 such chunks take 241 of the memory manager's 256 GiB, and a million would take 1.8 TB. The chunks'
bytes are holes in a sparse file; `cargo bench-costs full-chunks` compares the results with those of chunks that are
stored completely (without client calls, [all figures](costs.md#migration-1-with-chunks-of-18-mb)). The cost of a
session increases with the number of sessions, since every look-up and insertion in a deeper map costs more; looking up
its chunk, by the keys alone, is 7 % of the cost. The size of the chunks no longer matters:

| sessions with one chunk of 1.8 MB | instructions per session | without the chunk |
|---|---|---|
| 1,000 | 0.225 M | 0.211 M |
| 10,000 | 0.254 M | 0.235 M |
| 140,000 | 0.289 M | 0.267 M |

| sessions | post_upgrade | messages | most in a message | total | per session | client calls | most expensive call | heap before, bytes | heap after, bytes |
|---|---|---|---|---|---|---|---|---|---|
";

#[test]
fn an_upgrade_costs_the_same_for_any_number_of_sessions() {
    let many = std::env::var("MIGRATION_SESSIONS").map_or(100_000, |text| text.parse().unwrap());
    if session_migrate::server::chosen().unwrap().kind != ServerKind::Embedded {
        eprintln!("only the embedded server reports what a message costs: nothing is measured");
        return;
    }
    let (few, many) = (migrate(1_000), migrate(many));
    println!("{}\n{}", report_row(&few), report_row(&many));
    check_limits(&few);
    check_limits(&many);
    let tenth = few.post_upgrade / 10;
    assert!(many.post_upgrade.abs_diff(few.post_upgrade) <= tenth, "{few:?}\n{many:?}");
    assert!(many.heap_after <= few.heap_after * 2, "the heap grows with the number of sessions: {many:?}");
    report_or_compare(&[few, many]);
}
