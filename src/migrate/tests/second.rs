//! A second migration, quite unlike the first: units are larger than a message, stay where they are while they are
//! in quarantine, are never touched, there is no way back, and it waits for the first one to be finalized.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::*;
use crate::api::Result;
use crate::migrate::controls::Control;
use crate::session::Time;

/// Bytes that a message has room for.
const SLICE: usize = 10;

const NUMBER: u16 = 9;
const EXTENTS: Layout = Layout(3);

/// Reels of bytes, each with the digest that it should have, move from one shelf to another in slices.
#[derive(Default)]
struct Reels {
    old: RefCell<BTreeMap<u64, Reel>>,
    new: RefCell<BTreeMap<u64, Reel>>,
    slices: Cell<u32>,
}

#[derive(Clone, Debug, PartialEq)]
struct Reel {
    bytes: Vec<u8>,
    digest: [u8; 32],
}

impl Reel {
    fn of(bytes: Vec<u8>) -> Self {
        let digest = Sha256::digest(&bytes).into();
        Self { bytes, digest }
    }
}

static PLAN: Plan = Plan {
    number: NUMBER,
    name: "reels",
    from: Layout::SPLIT,
    to: EXTENTS,
    classes: &[
        ClassPlan { name: "whole", treatment: Treatment::Convert, what: "the digest is right" },
        ClassPlan { name: "torn", treatment: Treatment::Quarantine, what: "it is not" },
        ClassPlan { name: "cut off", treatment: Treatment::Quarantine, what: "a message was cut off" },
    ],
    write_instructions: 1,
    fields: &[("bytes", "moved")],
};

impl Migration for Reels {
    fn plan(&self) -> &'static Plan {
        &PLAN
    }

    fn waits_for(&self, storage: &Storage) -> Result<Option<String>> {
        let first = storage.migration.state()?;
        Ok((first.phase != Phase::Finalized).then(|| "migration 1 is not finalized".into()))
    }

    fn sources(&self, _: &Storage, after: Option<u64>, limit: usize) -> Vec<u64> {
        let old = self.old.borrow();
        old.keys().copied().filter(|key| after.is_none_or(|after| *key > after)).take(limit).collect()
    }

    fn is_source(&self, _: &Storage, key: u64) -> bool {
        self.old.borrow().contains_key(&key)
    }

    fn weigh(&self, _: &Storage, key: u64) -> Result<[u8; 32]> {
        Ok(self.old.borrow()[&key].digest)
    }

    fn classify(&self, _: &Storage, key: u64, _: Time) -> Result<Classified> {
        let reel = &self.old.borrow()[&key];
        let torn = Reel::of(reel.bytes.clone()).digest != reel.digest;
        Ok(Classified { class: usize::from(torn), reason: torn.then(|| "torn".into()) })
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
            let kept = QuarantineRecord::new("torn".into(), reel.digest.to_vec());
            let fate = Fate::Quarantined(kept);
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

    fn take_out(&self, _: &mut Storage, _: u64, reason: String) -> Result<QuarantineRecord> {
        Ok(QuarantineRecord::new(reason, Vec::new()))
    }

    fn trapped_class(&self) -> usize {
        2
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

/// Three reels, of which the second takes five messages and the third is torn, behind a first migration that is
/// converted.
fn reels() -> (World, Reels) {
    let (mut world, _) = layout_1();
    upgrade(&mut world);
    run_to_end(&mut world);
    let reels = Reels::default();
    let torn = Reel { bytes: vec![9; 15], digest: [7; 32] };
    let all = [Reel::of(vec![1; 3]), Reel::of((0..45).collect()), torn];
    reels.old.borrow_mut().extend((10u64..).zip(all));
    (world, reels)
}

/// One message, after an upgrade.
fn slice(world: &mut World, reels: &Reels) -> Progress {
    world.storage = Storage::open_existing(world.raw.clone()).unwrap_or_else(|_| {
        // This build refuses layout 3; the one that carries such a migration would not.
        world.storage.layout.set(&Layout::SPLIT);
        let mut storage = Storage::open_existing(world.raw.clone()).unwrap();
        storage.layout.set(&EXTENTS);
        storage
    });
    let message = Message { now: world.now, meter: &OneStep, budget: 0 };
    run_all(&[&SplitSessions, reels], &mut world.storage, message).unwrap()
}

fn finish(world: &mut World, reels: &Reels) -> MigrationState {
    while slice(world, reels) == Progress::More {}
    state(world)
}

fn control<'a>(world: &'a mut World, reels: &'a Reels) -> Control<'a> {
    Control::of(reels, &mut world.storage, world.now).unwrap()
}

fn state(world: &World) -> MigrationState {
    world.storage.migration.state_of(NUMBER).unwrap()
}

#[test]
fn it_waits_for_the_first_one() {
    let (mut world, reels) = reels();
    assert_eq!(slice(&mut world, &reels), Progress::Done);
    assert_eq!(state(&world), MigrationState::default());
    controls::finalize(&mut world.storage, world.now).unwrap();
    let first = world.storage.migration.state().unwrap();
    assert_eq!(finish(&mut world, &reels).phase, Phase::Converted);
    assert_eq!(world.storage.migration.state().unwrap(), first, "the first one's state is its own");
    assert_eq!(world.storage.layout.get(), Ok(Some(EXTENTS)));
}

#[test]
fn a_large_unit_goes_on_in_the_middle_after_each_message_and_each_upgrade() {
    let (mut world, reels) = reels();
    let before = reels.old.borrow().clone();
    controls::finalize(&mut world.storage, world.now).unwrap();
    let state = finish(&mut world, &reels);
    assert_eq!(reels.slices.get(), 1 + 5 + 2, "no slice was done twice");
    assert_eq!((state.source, state.converted, state.quarantined), (3, 2, 1));
    assert_eq!(state.classes, [("whole".to_owned(), 2), ("torn".to_owned(), 1)]);
    assert_eq!((state.digest_before, state.unit), (state.digest_after, None));
    let new = reels.new.borrow();
    assert!(new.iter().all(|(key, reel)| before[key] == *reel));
    assert_eq!(
        reels.old.borrow().keys().copied().collect::<Vec<_>>(),
        [12],
        "the torn one stays where it is"
    );
    let status = world.storage.migration.status(EXTENTS).unwrap();
    assert_eq!((status.migration, status.name.as_str(), status.layout), (NUMBER, "reels", 3));
    let journal = world.storage.migration.journal(0).unwrap();
    let last = journal.last().unwrap();
    assert_eq!((last.status.migration, last.event.as_str()), (NUMBER, "converted"));
    assert_eq!(last.plan.as_ref().unwrap().as_slice(), PLAN.digest());
}

#[test]
fn a_unit_that_its_client_removes_in_the_middle_is_accounted_for() {
    let (mut world, reels) = reels();
    controls::finalize(&mut world.storage, world.now).unwrap();
    while state(&world).unit.is_none() {
        slice(&mut world, &reels);
    }
    assert_eq!(state(&world).unit.unwrap().key, 11);
    ended(&reels, &mut world.storage, 11).unwrap();
    reels.old.borrow_mut().remove(&11);
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, state.unit), (Phase::Converted, None), "{}", state.note);
    assert_eq!((state.source, state.converted, state.expired, state.quarantined), (3, 1, 1, 1));
}

#[test]
fn it_is_paused_and_resumed_in_the_middle_of_a_unit_and_tried_again() {
    let (mut world, reels) = reels();
    controls::finalize(&mut world.storage, world.now).unwrap();
    while state(&world).unit.is_none() {
        slice(&mut world, &reels);
    }
    control(&mut world, &reels).pause().unwrap();
    let slices = reels.slices.get();
    assert_eq!(finish(&mut world, &reels).phase, Phase::Paused);
    assert_eq!(reels.slices.get(), slices);
    control(&mut world, &reels).resume().unwrap();
    assert_eq!(finish(&mut world, &reels).quarantined, 1);

    reels.old.borrow_mut().get_mut(&12).unwrap().bytes = vec![9; 15];
    let whole = Reel::of(vec![9; 15]).digest;
    assert_ne!(reels.old.borrow()[&12].digest, whole, "nothing has changed: it is put aside once more");
    control(&mut world, &reels).retry(None).unwrap();
    let state = finish(&mut world, &reels);
    assert_eq!((state.phase, state.converted, state.quarantined), (Phase::Converted, 2, 1), "{}", state.note);
}

#[test]
fn without_a_way_back_a_rollback_is_refused() {
    let (mut world, reels) = reels();
    controls::finalize(&mut world.storage, world.now).unwrap();
    finish(&mut world, &reels);
    assert!(control(&mut world, &reels).rollback().unwrap_err().to_string().contains("no way back"));
}

#[test]
fn a_unit_that_never_ends_is_noticed() {
    let (mut world, reels) = reels();
    reels.old.borrow_mut().insert(13, Reel::of(vec![1; 200_000]));
    controls::finalize(&mut world.storage, world.now).unwrap();
    let message = Message { now: world.now, meter: &Unmetered, budget: 0 };
    run_all(&[&reels], &mut world.storage, message).unwrap();
    let state = state(&world);
    assert_eq!((state.phase, state.resume_to), (Phase::Stuck, Some(Phase::Converting)));
    assert!(state.note.contains("10033 steps for 4 records, expected at most 10032"), "{}", state.note);
}
