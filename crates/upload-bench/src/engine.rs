//! The migration engine of `ic-stable-migrate` on its own: the cost that it adds to the work of a migration, and the
//! costs that must not grow with the number of records.
//!
//! The canisters are a fixture whose conversion changes nothing (`fixtures/migration-engine`) and the smallest example
//! (`examples/one-map`). Their stable memory is created natively, as an old release would have left it.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use ic_stable_migrate::api::{EndpointError, MigrationPhase, MigrationStatus};
use ic_stable_migrate::{Build, Layout, Ledger, LedgerMemories, QuarantineRecord, Register};
use ic_stable_structures::memory_manager::{MemoryId, MemoryManager, VirtualMemory};
use ic_stable_structures::{StableBTreeMap, VectorMemory};
use serde::{Deserialize, Serialize};
use session_migrate::costs::MessageCost;

use crate::error::BenchError;
use crate::metered_canister::{MeteredCanister, NO_ARGUMENTS};

/// Number of records in the comparison with hand-written loops.
pub const RECORDS: u64 = 100_000;

/// Numbers of records in the states that the smallest example migrates.
const ONE_MAP_RECORDS: [u64; 3] = [1_000, 100_000, 1_000_000];

/// The largest number of records that is measured without `--full`.
const MAX_RECORDS_BY_DEFAULT: u64 = 100_000;

/// Numbers of units in quarantine when the canister is upgraded.
const IN_QUARANTINE: [u64; 3] = [0, 10_000, 100_000];

/// Bytes of a record, as in [`crate::bare_map`].
const RECORD_BYTES: usize = 100;

/// Limits of the figures.
pub mod limits {
    /// Instructions per record that the engine may add to two operations on bare maps, and to the hand-written loop
    /// that computes the same digests.
    pub const OVERHEAD: i64 = 15_000;
    /// Maximum ratio of the engine's cost to that of the hand-written loop that computes the same digests.
    pub const RATIO: f64 = 1.15;
    /// Maximum difference between the costs of `post_upgrade` in the smallest and the largest state, in percent of the
    /// former.
    pub const GROWTH_PERCENT: u64 = 10;
    /// Maximum instructions of a message of the engine.
    pub const MESSAGE: u64 = 1_500_000_000;
    /// Instructions that 10,000 units in quarantine may add to `post_upgrade` and the message after it, if they were
    /// taken out of the old map.
    pub const QUARANTINE: u64 = 2_000_000;
    /// Pages of 64 KiB by which the heap may grow from the smallest state to the largest.
    pub const HEAP_PAGES: u64 = 4;
}

/// Everything that is measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EngineCosts {
    /// Moving [`RECORDS`] records from one map to another.
    pub moves: Vec<Moved>,
    /// Migrations of the smallest example, by number of records.
    pub grown: Vec<MigrationCost>,
    /// Upgrades with units in quarantine.
    pub quarantines: Vec<Quarantined>,
}

/// The cost of one way to move records.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The name of the way.
    pub way: String,
    /// Number of messages.
    pub messages: u64,
    /// Instructions per record.
    pub each: u64,
}

/// A migration of the smallest example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MigrationCost {
    /// Records.
    pub records: u64,
    /// Instructions of the upgrade.
    pub post_upgrade: u64,
    /// Number of messages after the upgrade.
    pub messages: u64,
    /// Instructions of the most expensive of these messages.
    pub highest: u64,
    /// Instructions per record, all messages together.
    pub each: u64,
    /// Size of the wasm memory in the end, pages of 64 KiB.
    pub heap_pages: u64,
}

/// An upgrade with units in quarantine, and the message of the engine after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quarantined {
    /// Units in quarantine.
    pub units: u64,
    /// Instructions if the units were taken out of the old map.
    pub taken_out: u64,
    /// Instructions if the units are also in the old map.
    pub in_place: u64,
}

/// The hand-written loops that move records, with the fixture's method for each. `WITH_DIGESTS` computes the same
/// digests as the engine.
const BY_HAND: [(&str, &str); 3] = [
    (TWO_OPERATIONS, "insert_and_remove"),
    ("by hand: insert, then clear", "insert_and_clear"),
    (WITH_DIGESTS, "insert_and_prove"),
];
const TWO_OPERATIONS: &str = "by hand: insert and remove";
const WITH_DIGESTS: &str = "by hand: insert, then clear, with digests before and after";
// The engine's two ways. For both, the fixture has a list of migrations, which `measure` selects in the upgrade.
const IN_BULK: &str = "engine: in bulk";
const ONE_BY_ONE: &str = "engine: one by one";

/// Measures everything, but the largest state of the smallest example only if `full`. Calls `done` after each part.
///
/// # Errors
/// If a canister cannot be built or installed, a call fails, or a migration does not convert every record.
pub fn measure(full: bool, done: &dyn Fn(&str)) -> Result<EngineCosts, BenchError> {
    let read = |path: std::path::PathBuf| std::fs::read(&path).map_err(BenchError::file("read", &path));
    let fixture = read(pocket_ic_fixtures::migration_engine()?)?;
    let mut costs = EngineCosts::default();
    let records = build_image(|image| image.fill_bytes(RECORDS))?;
    for (way, method) in BY_HAND {
        costs.moves.push(measure_loop(way, method, &fixture, &records)?);
        done(way);
    }
    for (way, list) in [(IN_BULK, "bulk"), (ONE_BY_ONE, "one by one")] {
        let canister = install_with_image(way, &fixture, &records)?;
        canister.upgrade(&upgrade_argument(list))?;
        let messages = run_until_converted(&canister, RECORDS)?;
        costs.moves.push(Moved {
            way: way.into(),
            messages: count_executed(&messages),
            each: total_instructions(&messages) / RECORDS,
        });
        done(way);
    }
    for units in IN_QUARANTINE {
        let upgrade = |in_place| {
            let image = build_image(|image| image.quarantine(units, in_place))?;
            let canister = install_with_image("units in quarantine", &fixture, &image)?;
            canister.upgrade(&upgrade_argument("one by one"))?;
            // The engine's message, which follows the upgrade.
            canister.tick();
            Ok::<_, BenchError>(total_instructions(&canister.take_messages()?))
        };
        costs.quarantines.push(Quarantined { units, taken_out: upgrade(false)?, in_place: upgrade(true)? });
        done(&format!("{units} units in quarantine"));
    }
    let one_map = read(pocket_ic_fixtures::one_map()?)?;
    for records in ONE_MAP_RECORDS.into_iter().filter(|records| full || *records <= MAX_RECORDS_BY_DEFAULT) {
        costs.grown.push(measure_one_map(records, &one_map)?);
        done(&format!("{records} records of one map"));
    }
    Ok(costs)
}

/// Measures a hand-written loop: calls its method until the reply is that no records are left.
fn measure_loop(way: &str, method: &'static str, module: &[u8], records: &[u8]) -> Result<Moved, BenchError> {
    let canister = install_with_image(way, module, records)?;
    // Without a list, the upgrade runs no migration.
    canister.upgrade(&candid::encode_args((None::<String>,)).unwrap_or_default())?;
    canister.take_messages()?;
    loop {
        let reply = canister.controller_call(method, ())?;
        let has_more = candid::decode_one::<bool>(&reply);
        if !has_more.map_err(|error| canister.reply_error(method, &error))? {
            break;
        }
    }
    let messages = canister.take_messages()?;
    Ok(Moved {
        way: way.into(),
        messages: count_executed(&messages),
        each: total_instructions(&messages) / RECORDS,
    })
}

fn measure_one_map(records: u64, module: &[u8]) -> Result<MigrationCost, BenchError> {
    let image = build_image(|image| image.fill_cents(records))?;
    let canister = install_with_image(format!("one map of {records}"), module, &image)?;
    canister.upgrade(NO_ARGUMENTS)?;
    let messages = run_until_converted(&canister, records)?;
    let (upgrade, timers): (Vec<_>, Vec<_>) = messages.iter().cloned().partition(MessageCost::is_install);
    Ok(MigrationCost {
        records,
        post_upgrade: total_instructions(&upgrade),
        messages: count_executed(&timers),
        highest: timers.iter().map(|message| message.instructions).max().unwrap_or(0),
        each: total_instructions(&messages) / records,
        heap_pages: messages.last().map_or(0, |message| message.wasm_memory_pages),
    })
}

/// Returns a canister with this code and this stable memory. It must be upgraded before it is called.
fn install_with_image(
    bench: impl Into<String>,
    module: &[u8],
    image: &[u8],
) -> Result<MeteredCanister, BenchError> {
    let canister = MeteredCanister::of(bench, "the engine", module.to_vec())?;
    canister.install(NO_ARGUMENTS)?;
    canister.set_stable_memory(image);
    canister.take_messages()?;
    Ok(canister)
}

/// Returns the argument with which an upgrade selects a list of the fixture's migrations.
fn upgrade_argument(list: &str) -> Vec<u8> {
    // Encoding a text is infallible.
    candid::encode_args((Some(list),)).unwrap_or_default()
}

/// Runs the timers until everything is converted. Returns all messages that were not taken before, without the calls of
/// `migration_status`.
fn run_until_converted(canister: &MeteredCanister, records: u64) -> Result<Vec<MessageCost>, BenchError> {
    const STATUS: &str = "migration_status";
    let mut messages = Vec::new();
    // More rounds than needed: a record takes less than a million instructions, so a message, with its budget of 1,500
    // million, handles more than a hundred.
    for _ in 0..100 + records / 100 {
        messages.extend(canister.take_messages()?.into_iter().filter(|message| message.method != STATUS));
        let reply = canister.controller_call(STATUS, ())?;
        let status = candid::decode_one::<Result<MigrationStatus, EndpointError>>(&reply);
        let status = status.map_err(|error| canister.reply_error(STATUS, &error))?;
        if let Ok(MigrationStatus { phase: MigrationPhase::Converted, converted, .. }) = status {
            canister.check_equal("records converted", records, converted)?;
            return Ok(messages);
        }
        canister.tick();
    }
    // The two texts always differ: this returns the error of a migration that does not end.
    canister.check_equal("phase", "Converted", "another")?;
    Ok(messages)
}

fn total_instructions(messages: &[MessageCost]) -> u64 {
    messages.iter().map(|message| message.instructions).sum()
}

fn count_executed(messages: &[MessageCost]) -> u64 {
    messages.iter().filter(|message| message.instructions > 0).count() as u64
}

/// Stable memory under construction. The memory ids are those of the fixture and of `examples/one-map`.
struct Image(MemoryManager<VectorMemory>);

/// Returns a stable memory with the contents that `fill` writes, gzipped.
fn build_image(fill: impl FnOnce(&Image)) -> Result<Vec<u8>, BenchError> {
    let raw = VectorMemory::default();
    fill(&Image(MemoryManager::init(raw.clone())));
    let mut packed = GzEncoder::new(Vec::new(), Compression::fast());
    let written = packed.write_all(&raw.borrow()).and_then(|()| packed.finish());
    written.map_err(BenchError::file("pack", "stable memory"))
}

impl Image {
    fn memory(&self, id: u8) -> VirtualMemory<VectorMemory> {
        self.0.get(MemoryId::new(id))
    }

    /// Fills the old map of the fixture.
    fn fill_bytes(&self, records: u64) {
        let mut map = StableBTreeMap::init(self.memory(1));
        for key in 1..=records {
            map.insert(key, vec![7_u8; RECORD_BYTES]);
        }
    }

    /// Fills the old map of `examples/one-map`, whose records are numbers of cents.
    fn fill_cents(&self, records: u64) {
        let mut map = StableBTreeMap::init(self.memory(1));
        for key in 1..=records {
            map.insert(key, key);
        }
    }

    /// Sets layout 2, and quarantines units of migration 1. If `in_place`, the units are also in the old map.
    fn quarantine(&self, units: u64, in_place: bool) {
        if in_place {
            self.fill_bytes(units);
        }
        Register::over(self.memory(0)).set(&Layout(2));
        let memories = LedgerMemories {
            states: self.memory(3),
            journal: self.memory(4),
            quarantine: self.memory(5),
            first: None,
        };
        let mut ledger = Ledger::<u64, _>::open(memories, Build::default());
        for key in 1..=units {
            let quarantined = QuarantineRecord::new("it does not decode".into(), vec![7; RECORD_BYTES]);
            ledger.quarantine.insert(1, key, &quarantined);
        }
    }
}

impl EngineCosts {
    fn instructions_each(&self, way: &str) -> Option<u64> {
        self.moves.iter().find(|moved| moved.way == way).map(|moved| moved.each)
    }

    /// Returns by how many instructions per record the engine in bulk exceeds two operations on bare maps; negative if
    /// it uses fewer.
    pub fn above_two_operations(&self) -> Option<i64> {
        let (engine, by_hand) = (self.instructions_each(IN_BULK)?, self.instructions_each(TWO_OPERATIONS)?);
        Some(engine as i64 - by_hand as i64)
    }

    /// Returns by how many instructions per record the engine in bulk exceeds the hand-written loop with the same
    /// digests, and the instructions of the engine over those of the loop.
    pub fn above_loop_with_digests(&self) -> Option<(i64, f64)> {
        let (engine, by_hand) = (self.instructions_each(IN_BULK)?, self.instructions_each(WITH_DIGESTS)?);
        Some((engine as i64 - by_hand as i64, engine as f64 / by_hand as f64))
    }

    /// Describes the figures that exceed their limits.
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let above_loop_with_digests = self.above_loop_with_digests();
        let differences =
            self.above_two_operations().into_iter().chain(above_loop_with_digests.map(|(each, _)| each));
        for added in differences.filter(|added| *added > limits::OVERHEAD) {
            faults
                .push(format!("the engine adds {added} instructions per record, limit {}", limits::OVERHEAD));
        }
        if let Some((_, ratio)) = above_loop_with_digests
            && ratio > limits::RATIO
        {
            faults.push(format!("the engine costs {ratio:.2} times the loop, limit {}", limits::RATIO));
        }
        if let (Some(few), Some(many)) = (self.grown.first(), self.grown.last()) {
            let (few_cost, many_cost) = (few.post_upgrade, many.post_upgrade);
            if few_cost.abs_diff(many_cost) * 100 > few_cost * limits::GROWTH_PERCENT {
                faults.push(format!(
                    "post_upgrade costs {few_cost} with few records and {many_cost} with many"
                ));
            }
            if many.heap_pages > few.heap_pages + limits::HEAP_PAGES {
                let (many, few) = (many.heap_pages, few.heap_pages);
                faults.push(format!("the heap grows from {few} to {many} pages with the records"));
            }
        }
        for MigrationCost { records, highest, .. } in &self.grown {
            if *highest > limits::MESSAGE {
                faults.push(format!("a message of {records} records uses {highest} instructions"));
            }
        }
        if let [without, with_few, ..] = self.quarantines.as_slice() {
            let added = with_few.taken_out.saturating_sub(without.taken_out);
            if added > limits::QUARANTINE {
                faults.push(format!(
                    "{} units in quarantine add {added} instructions to an upgrade, limit {}",
                    with_few.units,
                    limits::QUARANTINE
                ));
            }
        }
        faults
    }

    /// Returns the figures that [`Self::compare`] compares, each with its name; numbers of messages and pages are not
    /// among them.
    pub fn figures(&self) -> Vec<(String, u64)> {
        let moves = self.moves.iter().map(|moved| (moved.way.clone(), moved.each));
        let grown = self.grown.iter().flat_map(|grown| {
            let name = |figure: &str| format!("one map of {}: {figure}", grown.records);
            [
                (name("post_upgrade"), grown.post_upgrade),
                (name("highest message"), grown.highest),
                (name("each"), grown.each),
            ]
        });
        let quarantines = self.quarantines.iter().flat_map(|upgrade| {
            let name = |place: &str| format!("{} units in quarantine, {place}", upgrade.units);
            [(name("taken out"), upgrade.taken_out), (name("in place"), upgrade.in_place)]
        });
        moves.chain(grown).chain(quarantines).collect()
    }

    /// Returns these costs, with the costs of states that were not measured added from `recorded`.
    #[must_use]
    pub fn completed(mut self, recorded: Option<Self>) -> Self {
        let measured: Vec<u64> = self.grown.iter().map(|grown| grown.records).collect();
        let others = recorded.into_iter().flat_map(|recorded| recorded.grown);
        self.grown.extend(others.filter(|grown| !measured.contains(&grown.records)));
        self
    }

    /// Describes the figures that are more than 2 % above or below the checked-in ones, or are not checked in.
    pub fn compare(&self, recorded: &Self) -> Vec<String> {
        let before = recorded.figures();
        let describe_difference =
            |(name, after): (String, u64)| match before.iter().find(|(known, _)| *known == name) {
                None => Some(format!("{name} is not checked in")),
                Some((_, before)) if after.abs_diff(*before) * 50 > *before => {
                    Some(format!("{name}: {before} -> {after}"))
                }
                Some(_) => None,
            };
        self.figures().into_iter().filter_map(describe_difference).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(by_hand: u64, engine: u64) -> EngineCosts {
        let moved = |way: &str, each| Moved { way: way.into(), messages: 1, each };
        let grown = |records, post_upgrade| MigrationCost {
            records,
            post_upgrade,
            messages: 1,
            highest: limits::MESSAGE,
            each: 1,
            heap_pages: 20,
        };
        EngineCosts {
            moves: vec![moved(TWO_OPERATIONS, by_hand), moved(WITH_DIGESTS, by_hand), moved(IN_BULK, engine)],
            grown: vec![grown(1_000, 100), grown(1_000_000, 110)],
            quarantines: Vec::new(),
        }
    }

    #[test]
    fn figures_at_their_limits_pass_and_above_them_fail() {
        assert_eq!(costs(100_000, 115_000).faults(), Vec::<String>::new());
        assert_eq!(
            costs(200_000, 215_001).faults().len(),
            2,
            "the engine exceeds both loops by more than 15,000"
        );
        assert_eq!(
            costs(10_000, 11_600).faults().len(),
            1,
            "the engine exceeds 1.15 times the loop with digests"
        );
        let mut grown = costs(1, 1);
        grown.grown[1].post_upgrade = 111;
        grown.grown[1].highest += 1;
        grown.grown[1].heap_pages += limits::HEAP_PAGES + 1;
        assert_eq!(grown.faults().len(), 3);
    }

    #[test]
    fn a_figure_that_differs_by_more_than_two_percent_is_named() {
        let before = costs(100_000, 100_000);
        assert_eq!(costs(102_000, 98_000).compare(&before), Vec::<String>::new());
        assert_eq!(costs(102_001, 100_000).compare(&before).len(), 2, "both loops by hand have changed");
        assert_eq!(costs(100_000, 97_999).compare(&before).len(), 1);
        let none = EngineCosts::default();
        assert_eq!(before.compare(&none).len(), before.figures().len());
    }

    #[test]
    fn states_that_were_not_measured_keep_their_figures() {
        let recorded = costs(1, 1);
        let mut measured = costs(2, 2);
        measured.grown.truncate(1);
        let grown = measured.completed(Some(recorded.clone())).grown;
        assert_eq!(grown, recorded.grown);
    }
}
