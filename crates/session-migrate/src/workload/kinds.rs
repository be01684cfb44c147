//! The kinds of workloads, one function each.

use std::time::Duration;

use serde_bytes::ByteBuf;
use upload_canister::api;

use super::actor::{Actor, Habits, Sequence, drive, round};
use super::world::{RecordedCanister, Whole, controller, person};
use super::{Order, Workload, abuse};
use crate::client::ClientError;

/// Sizes of files, bytes. A chunk has 1,800,000.
const LARGE: u64 = 20_000_000;
const MIDDLE: u64 = 7_000_000;
const TWO_CHUNKS: u64 = 2_500_000;
const SMALL: u64 = 50_000;

/// Makes the calls of a workload.
pub(super) fn run(order: Order, world: &mut RecordedCanister<'_>) -> Result<(), ClientError> {
    match order.workload {
        Workload::SingleLarge => single_large(world, order.size),
        Workload::ManySmall => many_small(world, order.size),
        Workload::ParallelLanes => parallel_lanes(world, order.size),
        Workload::OutOfOrder => out_of_order(world, order.size),
        Workload::FlakyClient => flaky_client(world, order.size),
        Workload::SlowClient => slow_client(world, order.size),
        Workload::AbusiveClient => abusive_client(world, order.size),
        Workload::Mixed => mixed(world, order.size),
    }
}

fn single_large(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    let bytes = LARGE.saturating_mul(u64::from(size));
    let mut actors = [Actor::new(world, client, &capsule, bytes, Habits::PLAIN)?];
    drive(world, &mut actors, 1)?;
    world.look(client)
}

fn many_small(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    for round in 0..size.saturating_mul(4) {
        for _ in 0..5 {
            let bytes = world.below(SMALL);
            let mut actors = [Actor::new(world, client, &capsule, bytes, Habits::PLAIN)?];
            drive(world, &mut actors, 1)?;
        }
        for _ in 0..3 {
            let bytes = 1 + world.below(SMALL);
            let file = world.whole(&capsule, bytes)?;
            world.update(client, "uploads_put_whole", (file.argument(),))?;
            if world.one_in(3) {
                world.update(client, "uploads_put_whole", (file.argument(),))?;
            }
        }
        let files = (0..6).map(|_| world.whole(&capsule, 1_000)).collect::<Result<Vec<_>, _>>()?;
        let files: Vec<api::SmallFile<'_>> = files.iter().map(Whole::argument).collect();
        world.update(client, "uploads_put_many", (files,))?;
        memories(world, round, &capsule)?;
    }
    world.look(client)
}

/// Creates memories without an upload, changes them, and deletes them again.
fn memories(world: &mut RecordedCanister<'_>, round: u32, capsule: &str) -> Result<(), ClientError> {
    let client = person(1);
    let base = api::AssetMetadataBase::new("note.txt", "text/plain", api::AssetType::Original, 5, 0);
    let metadata = api::AssetMetadata::document(base);
    let inline = Some(ByteBuf::from(*b"hello"));
    let (blob, backend, text) = (None::<api::BlobRef>, None::<api::StorageBackend>, None::<String>);
    let (sha256, idem) = (None::<ByteBuf>, format!("note {round}"));
    let args = (capsule, inline, blob, backend, &text, &text, Some(5u64), sha256, &metadata, idem);
    world.think();
    let note: String = world.canister.update(client, "memories_create", args)?;
    world.update(client, "memories_update", (&note, &metadata))?;
    if let Some(first) = world.canister.memories_list(client, capsule, None, Some(1))?.first() {
        world.update(client, "memories_delete", (&first.id,))?;
        world.query(client, "memories_read", (&first.id,))?;
    }
    Ok(())
}

fn parallel_lanes(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let mut actors = Vec::new();
    for number in 1..=4 {
        let client = person(number);
        let capsule = world.capsule(client)?;
        for file in 0..size.saturating_mul(2) {
            let habits = Habits { hashes: file % 2 == 0, ..Habits::PLAIN };
            actors.push(Actor::new(world, client, &capsule, MIDDLE + u64::from(number), habits)?);
        }
    }
    drive(world, &mut actors, 8)?;
    (1..=4).try_for_each(|number| world.look(person(number)))
}

fn out_of_order(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    for _ in 0..size {
        for sequence in [Sequence::Backwards, Sequence::Shuffled] {
            let habits = Habits { sequence, hashes: true, ..Habits::PLAIN };
            let mut actors = [Actor::new(world, client, &capsule, MIDDLE, habits)?];
            drive(world, &mut actors, 1)?;
        }
    }
    world.look(client)
}

fn flaky_client(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    let mut actors = Vec::new();
    for file in 0..size.saturating_mul(4) {
        let habits = Habits { flaky: true, gives_up: file % 4 == 3, ..Habits::PLAIN };
        actors.push(Actor::new(world, client, &capsule, MIDDLE, habits)?);
    }
    drive(world, &mut actors, 2)?;
    world.look(client)
}

fn slow_client(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    let ttl = Duration::from_secs(world.canister.admin_config_get(controller())?.session_ttl_seconds);
    let minute = Duration::from_secs(60);
    for _ in 0..size {
        let mut actors = [
            Actor::new(world, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?,
            Actor::new(world, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?,
        ];
        let [kept, lost] = &mut actors;
        // Two calls of each: begun, and one chunk there.
        for _ in 0..2 {
            round(world, std::slice::from_mut(kept), 1)?;
            round(world, std::slice::from_mut(lost), 1)?;
        }
        // One is touched shortly before it would expire, the other is not.
        world.pass(ttl.saturating_sub(minute));
        round(world, std::slice::from_mut(kept), 1)?;
        world.look(client)?;
        world.pass(minute * 3);
        world.look(client)?;
        drive(world, std::slice::from_mut(kept), 1)?;
        drive(world, std::slice::from_mut(lost), 1)?;
        lost.start_over();
        drive(world, std::slice::from_mut(lost), 1)?;
        // An abandoned upload expires.
        let mut left = [Actor::new(world, client, &capsule, MIDDLE, Habits::PLAIN)?];
        for _ in 0..3 {
            round(world, &mut left, 1)?;
        }
        world.pass(ttl + minute);
        world.pass(minute * 2);
    }
    world.query(controller(), "admin_stats", ())?;
    world.look(client)
}

fn abusive_client(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = person(1);
    let capsule = world.capsule(client)?;
    for _ in 0..size {
        let mut actors = [Actor::new(world, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?];
        while !actors[0].is_done() {
            round(world, &mut actors, 1)?;
            abuse::all(world, &actors[0].uploader)?;
        }
        let other = person(2);
        let own = world.capsule(other)?;
        abuse::hoard(world, other, &own)?;
        world.look(other)?;
    }
    world.look(client)
}

fn mixed(world: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let mut actors = Vec::new();
    for number in 1..=3 {
        let client = person(number);
        let capsule = world.capsule(client)?;
        let access =
            api::CapsuleAccess { owners: vec![client], writers: vec![], readers: vec![person(number + 1)] };
        world.canister.capsules_set_access(client, &capsule, &access)?;
        for _ in 0..size {
            for (bytes, flaky) in [(SMALL, false), (TWO_CHUNKS, true), (MIDDLE, world.one_in(2))] {
                let sequence = if world.one_in(2) { Sequence::Shuffled } else { Sequence::Straight };
                let habits = Habits { sequence, flaky, hashes: world.one_in(2), gives_up: world.one_in(5) };
                actors.push(Actor::new(world, client, &capsule, bytes, habits)?);
            }
        }
    }
    while actors.iter().any(|actor| !actor.is_done()) {
        // At most five of them at once.
        let width = 1 + world.below(5) as usize;
        round(world, &mut actors, width)?;
        match world.below(12) {
            0 => world.pass(Duration::from_secs(60)),
            1 => abuse::strangers(world, &actors[0].uploader)?,
            2 => world.look(person(1))?,
            _ => {}
        }
    }
    (1..=4).try_for_each(|number| world.look(person(number)))
}
