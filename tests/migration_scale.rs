//! What the migration costs, for a thousand sessions and for very many, with clients at work all the time.
//!
//! A hundred thousand by default; `MIGRATION_SESSIONS=1000000` runs the million whose figures are in
//! `docs/migration-costs.md`. `UPDATE_REPORT=1` writes the report anew; without it the figures of the run must be
//! those of the report, within a tenth.

#[path = "support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::path::PathBuf;

use candid::Principal;
use pocket_ic::common::rest::BlobCompression;
use session_migrate::build::Build;
use session_migrate::costs::{self, MessageCost};
use support::legacy_state::{BYTES, CLIENTS, client, file, idem, image, is_stored, metadata};
use support::upload::sha256;
use support::{World, controller};
use upload_canister::api::{MigrationPhase, MigrationStatus, Result};

/// Of the 300 billion instructions of an installation.
const INSTALL_LIMIT: u64 = 300_000_000_000;

/// No message of the migration may take more.
const MESSAGE_LIMIT: u64 = 2_000_000_000;

/// Instructions for each session, all indexes included.
const SESSION_LIMIT: u64 = 400_000;

/// What one run has cost.
#[derive(Debug)]
struct Figures {
    sessions: u64,
    post_upgrade: u64,
    messages: u64,
    dearest: u64,
    total: u64,
    calls: u64,
    slowest: (String, u64),
    heap_before: u64,
    heap_after: u64,
}

impl Figures {
    fn each(&self) -> u64 {
        self.total / self.sessions
    }
}

#[derive(Clone, Copy, Debug)]
enum Act {
    Put,
    Finish,
    Abort,
    Begin,
}

/// Clients that act on sessions chosen at random, each session at most once, and must always be answered as if
/// there were no migration: every call succeeds.
struct Traffic {
    random: u64,
    sessions: u64,
    capsules: Vec<String>,
    used: std::collections::BTreeSet<u64>,
    calls: u64,
}

impl Traffic {
    fn next(&mut self, below: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % below
    }

    fn act(&mut self, world: &World) {
        let session = 1 + self.next(self.sessions);
        if !self.used.insert(session) {
            return;
        }
        let n = session % CLIENTS.min(self.sessions);
        let caller = client(n);
        let act = [Act::Put, Act::Finish, Act::Abort, Act::Begin][self.next(4) as usize];
        let bytes = file(session);
        match act {
            Act::Put => world.put_bytes(caller, session, 0, &bytes).unwrap(),
            Act::Finish => {
                if !is_stored(session) {
                    world.put_bytes(caller, session, 0, &bytes).unwrap();
                    self.calls += 1;
                }
                let finished = world.finish_as(caller, session, &sha256(&bytes), BYTES as u64).unwrap();
                assert_eq!(world.read_back(caller, &finished.blob_id), bytes);
            }
            Act::Abort => world.abort(caller, session).unwrap(),
            Act::Begin => {
                let capsule = &self.capsules[n as usize];
                // Once more with the key of a session that may be a legacy record, and once with a new one.
                let again: Result<u64> =
                    world.update(caller, "uploads_begin", (capsule, metadata(), 1u32, idem(session)));
                assert_eq!(again, Ok(session));
                let new = format!("new-{session}");
                world.update::<u64>(caller, "uploads_begin", (capsule, metadata(), 1u32, new)).unwrap();
                self.calls += 1;
            }
        }
        self.calls += 1;
    }
}

fn status(world: &World) -> MigrationStatus {
    world.query::<MigrationStatus>(Principal::anonymous(), "migration_status", ()).unwrap()
}

fn heap(world: &World) -> u64 {
    let status = world.pic.canister_status(world.id, Some(controller())).unwrap();
    u64::try_from(status.memory_metrics.wasm_memory_size.0).unwrap()
}

fn run(sessions: u64) -> Option<Figures> {
    let mut world = World::new(Build::Legacy);
    let (bytes, capsules) = image(sessions, world.pic.get_time().as_nanos_since_unix_epoch());
    world.pic.set_stable_memory(world.id, bytes, BlobCompression::NoCompression);
    world.upgrade(Build::Legacy);
    let mut seen = costs::messages(&world.pic, world.id, 0).ok()?.last()?.index + 1;
    world.try_upgrade(Build::Staged).unwrap();
    let heap_before = heap(&world);
    let mut all = costs::messages(&world.pic, world.id, seen).ok()?;
    let upgrade = |cost: &&MessageCost| ["start", "post_upgrade"].contains(&cost.entry.as_str());
    let post_upgrade = all.iter().filter(upgrade).map(|cost| cost.instructions).sum();

    let per_message = if sessions > 10_000 { 6 } else { 60 };
    let mut traffic = Traffic { random: 42, sessions, capsules, used: Default::default(), calls: 0 };
    let mut state = status(&world);
    while state.phase != MigrationPhase::Converted {
        for _ in 0..per_message {
            traffic.act(&world);
        }
        world.pic.tick();
        state = status(&world);
        assert_ne!(state.phase, MigrationPhase::Stuck, "{}", state.note);
        seen = all.last()?.index + 1;
        all.extend(costs::messages(&world.pic, world.id, seen).ok()?);
    }
    let accounted = state.converted + state.already + state.quarantined + state.expired;
    assert_eq!((state.source, accounted, state.quarantined), (sessions, sessions, 0), "{state:?}");
    assert_eq!(state.digest_before, state.digest_after);
    assert!(state.already > 0, "no client touched a legacy record");

    let of_timer = |cost: &&MessageCost| cost.method.is_empty() && !upgrade(cost);
    let calls = all.iter().filter(|cost| cost.method.starts_with("uploads_"));
    let slowest = calls.max_by_key(|cost| cost.instructions)?;
    Some(Figures {
        sessions,
        post_upgrade,
        messages: state.messages,
        dearest: all.iter().filter(of_timer).map(|cost| cost.instructions).max().unwrap_or(0),
        total: state.instructions,
        calls: traffic.calls,
        slowest: (slowest.method.clone(), slowest.instructions),
        heap_before,
        heap_after: heap(&world),
    })
}

fn check(figures: &Figures) {
    assert!(figures.post_upgrade < INSTALL_LIMIT / 20, "{figures:?}");
    assert!(figures.dearest < MESSAGE_LIMIT, "{figures:?}");
    assert!(figures.slowest.1 < MESSAGE_LIMIT, "{figures:?}");
    assert!(figures.each() <= SESSION_LIMIT, "{figures:?}");
}

fn line(figures: &Figures) -> String {
    let Figures { sessions, post_upgrade, messages, dearest, total, calls, slowest, heap_before, heap_after } =
        figures;
    format!(
        "| {sessions} | {post_upgrade} | {messages} | {dearest} | {total} | {} | {calls} | {} in `{}` | {heap_before} | {heap_after} |",
        figures.each(),
        slowest.1,
        slowest.0
    )
}

fn report_path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/migration-costs.md")
}

/// The lines of the table, by number of sessions.
fn lines_of(report: &str) -> Vec<(u64, String)> {
    let rows = report.lines().filter_map(|line| {
        let sessions = line.strip_prefix("| ")?.split(' ').next()?.parse().ok()?;
        Some((sessions, line.to_owned()))
    });
    rows.collect()
}

fn numbers(line: &str) -> Vec<u64> {
    line.split(|c: char| !c.is_ascii_digit()).filter_map(|number| number.parse().ok()).collect()
}

/// Writes the lines of this run into the report, or compares them with it.
fn report(runs: &[Figures]) {
    let old = std::fs::read_to_string(report_path()).unwrap_or_default();
    if std::env::var_os("UPDATE_REPORT").is_none() {
        let written = lines_of(&old);
        for figures in runs {
            let Some((_, line_there)) = written.iter().find(|(sessions, _)| *sessions == figures.sessions)
            else {
                panic!("{} sessions are not in the report", figures.sessions)
            };
            for (there, here) in numbers(line_there).into_iter().zip(numbers(&line(figures))) {
                let tenth = there.max(10) / 10;
                assert!(here.abs_diff(there) <= tenth, "report: {line_there}\n   run: {}", line(figures));
            }
        }
        return;
    }
    let mut lines = lines_of(&old);
    for figures in runs {
        lines.retain(|(sessions, _)| *sessions != figures.sessions);
        lines.push((figures.sessions, line(figures)));
    }
    lines.sort();
    let mut text = String::from(HEAD);
    for (_, line) in lines {
        writeln!(text, "{line}").unwrap();
    }
    std::fs::write(report_path(), text).unwrap();
}

const HEAD: &str = "# What migration 1 costs

Written by `UPDATE_REPORT=1 cargo test --test migration_scale`, with `MIGRATION_SESSIONS=1000000` for the million. Every
session is a file of one chunk with its metadata, four index entries and its accounts; the chunk of every third one is
stored. A thousand clients put, finish, abort and begin all the time, on sessions chosen at random, and no call fails.

Instructions are IC instructions as the embedded server counts them. `post_upgrade` includes the start of the module.
`dearest message` is the dearest one of the migration behind post_upgrade. `each` is everything that the engine has used,
in whatever message, by the number of sessions.

| sessions | post_upgrade | messages | dearest message | all together | each | calls meanwhile | slowest call | heap before, bytes | heap after, bytes |
|---|---|---|---|---|---|---|---|---|---|
";

#[test]
fn the_upgrade_costs_the_same_for_a_thousand_sessions_and_for_very_many() {
    let many = std::env::var("MIGRATION_SESSIONS").map_or(100_000, |text| text.parse().unwrap());
    let Some(few) = run(1_000) else {
        eprintln!("the chosen server does not tell what a message costs: nothing is measured");
        return;
    };
    let many = run(many).unwrap();
    println!("{}\n{}", line(&few), line(&many));
    check(&few);
    check(&many);
    let tenth = few.post_upgrade / 10;
    assert!(many.post_upgrade.abs_diff(few.post_upgrade) <= tenth, "{few:?}\n{many:?}");
    assert!(many.heap_after <= few.heap_after * 2, "the heap follows the number of sessions: {many:?}");
    report(&[few, many]);
}
