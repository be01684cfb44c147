//! A second migration for the tests in `second.rs` and `as_they_go.rs`. It waits until the first is finalized, and has
//! no rollback. Its units may be larger than a message, stay in place while they are quarantined, and are never
//! converted on touch.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::*;
use crate::api::Result;
use crate::migrate::controls::Control;

/// Number of bytes that one message moves.
const SLICE: usize = 10;

/// Number of this migration, which no real migration has.
pub const NUMBER: u16 = 9;
/// The layout to which this migration leads; nothing is stored in extents.
pub const EXTENTS: Layout = Layout(3);

/// A migration that moves reels of bytes, each with its expected digest, from `old` to `new` in slices.
#[derive(Default)]
pub struct Reels {
    pub old: RefCell<BTreeMap<u64, Reel>>,
    pub new: RefCell<BTreeMap<u64, Reel>>,
    /// Number of slices moved, repeated ones included.
    pub slices: Cell<u32>,
    /// Keys of the units whose progress was abandoned.
    pub abandoned: RefCell<Vec<u64>>,
    /// Whether each unit is counted when the migration reaches it, instead of before the first conversion.
    pub counts_as_it_goes: bool,
}

/// A unit: bytes, and the digest that they should have. A reel is torn if they have another one.
#[derive(Clone, Debug, PartialEq)]
pub struct Reel {
    pub bytes: Vec<u8>,
    pub digest: [u8; 32],
}

impl Reel {
    pub fn of(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { bytes, digest }
    }
}

pub static PLAN: Plan = Plan {
    number: NUMBER,
    name: "reels",
    from: Layout::SPLIT.number(),
    to: EXTENTS.number(),
    classes: &[
        ClassPlan { name: "whole", treatment: Treatment::Convert, what: "the digest is right" },
        ClassPlan { name: "torn", treatment: Treatment::Quarantine, what: "the digest is wrong" },
        ClassPlan { name: "cut off", treatment: Treatment::Quarantine, what: "a message was cut off" },
    ],
    fields: &[("bytes", "moved")],
};

impl Migration<Storage> for Reels {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn waits_for(&self, storage: &Storage) -> Result<Option<String>> {
        let first = storage.migration.state()?;
        Ok((first.phase != Phase::Finalized).then(|| "migration 1 is not finalized".into()))
    }

    fn counts_ahead(&self) -> bool {
        !self.counts_as_it_goes
    }

    fn sources(&self, _: &Storage, after: Option<u64>, limit: usize) -> Result<Vec<u64>> {
        let old = self.old.borrow();
        Ok(old.keys().copied().filter(|key| after.is_none_or(|after| *key > after)).take(limit).collect())
    }

    fn digest(&self, _: &Storage, key: u64) -> Result<Option<[u8; 32]>> {
        Ok(self.old.borrow().get(&key).map(|reel| reel.digest))
    }

    fn classify(&self, _: &Storage, key: u64, _: EngineTime) -> Result<Classified> {
        let reel = &self.old.borrow()[&key];
        let torn = Reel::of(reel.bytes.clone()).digest != reel.digest;
        Ok(Classified { class: usize::from(torn), reason: torn.then(|| "torn".into()) })
    }

    fn cost_beyond_digest(&self, _: &Storage, key: u64) -> Result<u64> {
        Ok(self.old.borrow()[&key].bytes.len() as u64)
    }

    fn digest_of_quarantined(&self, raw: &[u8]) -> [u8; 32] {
        raw.try_into().unwrap()
    }

    fn convert(&self, _: &mut Storage, key: u64, work: &mut Work<'_>) -> Result<Advance> {
        let old = self.old.borrow().get(&key).cloned();
        let Some(reel) = old else { return Ok(Advance::Gone) };
        self.slices.set(self.slices.get() + 1);
        let done = work.progress.len();
        let end = (done + SLICE).min(reel.bytes.len());
        work.progress.extend_from_slice(&reel.bytes[done..end]);
        if end < reel.bytes.len() {
            return Ok(Advance::More);
        }
        let moved = Reel::of(std::mem::take(&mut work.progress));
        if moved.digest != reel.digest {
            let quarantined = QuarantineRecord::new("torn".into(), reel.digest.to_vec());
            let fate = Fate::Quarantined(quarantined);
            return Ok(Advance::Done { class: 1, fate });
        }
        let digest = moved.digest;
        self.new.borrow_mut().insert(key, moved);
        self.old.borrow_mut().remove(&key);
        Ok(Advance::Done { class: 0, fate: Fate::Converted(digest) })
    }

    fn restore(&self, _: &mut Storage, _: u64, _: QuarantineRecord) -> Result<()> {
        Ok(())
    }

    fn take_out(&self, _: &mut Storage, key: u64, reason: String) -> Result<QuarantineRecord> {
        Ok(QuarantineRecord::new(reason, self.old.borrow()[&key].digest.to_vec()))
    }

    fn trapped_class(&self) -> usize {
        2
    }

    fn abandon(&self, _: &mut Storage, key: u64, _: Vec<u8>) {
        self.abandoned.borrow_mut().push(key);
    }

    fn targets(&self, _: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        let new = self.new.borrow();
        new.keys().copied().filter(|key| after.is_none_or(|after| *key > after)).take(limit).collect()
    }

    fn check(&self, _: &Storage, key: u64) -> Result<Option<String>> {
        let new = self.new.borrow();
        let reel = &new[&key];
        let sound = Reel::of(reel.bytes.clone()).digest == reel.digest;
        Ok((!sound).then(|| format!("reel {key} is torn")))
    }
}

/// Returns a canister after the first migration, and three reels: the second takes five messages, the third is torn.
pub fn reels() -> (TestCanister, Reels) {
    let (mut canister, _) = canister_in_layout_1();
    upgrade(&mut canister);
    run_to_end(&mut canister);
    let reels = Reels::default();
    let torn = Reel { bytes: vec![9; 15], digest: [7; 32] };
    let all = [Reel::of(vec![1; 3]), Reel::of((0..45).collect()), torn];
    reels.old.borrow_mut().extend((10u64..).zip(all));
    (canister, reels)
}

/// Upgrades the canister, and runs one message of the engine.
pub fn run_message(canister: &mut TestCanister, reels: &Reels) -> RunOutcome {
    let layouts = [Layout::SPLIT, EXTENTS];
    canister.storage = Storage::open_accepting(canister.raw.clone(), &layouts).unwrap();
    let message = MessageBudget { now: canister.now.into(), meter: &OneStep, budget: 0 };
    Engine::new(&[&SplitSessions, reels]).run(&mut canister.storage, message).unwrap()
}

/// Runs messages until the migration of the reels has no work left.
pub fn finish(canister: &mut TestCanister, reels: &Reels) -> MigrationState {
    while run_message(canister, reels) == RunOutcome::More {}
    state(canister)
}

/// Returns the controls of the migration of the reels; `controls` are those of the current real migration.
pub fn control<'a>(canister: &'a mut TestCanister, reels: &'a Reels) -> Control<'a> {
    Control::of(reels, &mut canister.storage, canister.now).unwrap()
}

/// Returns the state of the migration of the reels.
pub fn state(canister: &TestCanister) -> MigrationState {
    canister.storage.migration.state_of(NUMBER).unwrap()
}
