//! The calls of each kind of workload.

use std::time::Duration;

use serde_bytes::ByteBuf;
use upload_canister::api;

use super::actor::{Actor, Habits, Sequence, drive, run_round};
use super::recorded_canister::{RecordedCanister, WholeFile, client_principal, controller};
use super::{Order, Workload, abuse};
use crate::client::ClientError;

/// Sizes of files, bytes. A chunk has 1,800,000.
const LARGE: u64 = 20_000_000;
const MIDDLE: u64 = 7_000_000;
const TWO_CHUNKS: u64 = 2_500_000;
const SMALL: u64 = 50_000;

pub(super) fn run(order: Order, canister: &mut RecordedCanister<'_>) -> Result<(), ClientError> {
    match order.workload {
        Workload::SingleLarge => single_large(canister, order.size),
        Workload::ManySmall => many_small(canister, order.size),
        Workload::ParallelLanes => parallel_lanes(canister, order.size),
        Workload::OutOfOrder => out_of_order(canister, order.size),
        Workload::FlakyClient => flaky_client(canister, order.size),
        Workload::SlowClient => slow_client(canister, order.size),
        Workload::AbusiveClient => abusive_client(canister, order.size),
        Workload::Mixed => mixed(canister, order.size),
    }
}

fn single_large(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    let bytes = LARGE.saturating_mul(u64::from(size));
    let mut actors = [Actor::new(canister, client, &capsule, bytes, Habits::PLAIN)?];
    drive(canister, &mut actors, 1)?;
    canister.read_everything(client)
}

fn many_small(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    for round in 0..size.saturating_mul(4) {
        for _ in 0..5 {
            let bytes = canister.below(SMALL);
            let mut actors = [Actor::new(canister, client, &capsule, bytes, Habits::PLAIN)?];
            drive(canister, &mut actors, 1)?;
        }
        for _ in 0..3 {
            let bytes = 1 + canister.below(SMALL);
            let file = canister.whole_file(&capsule, bytes)?;
            canister.update(client, "uploads_put_whole", (file.argument(),))?;
            if canister.one_in(3) {
                canister.update(client, "uploads_put_whole", (file.argument(),))?;
            }
        }
        let files = (0..6).map(|_| canister.whole_file(&capsule, 1_000)).collect::<Result<Vec<_>, _>>()?;
        let files: Vec<api::SmallFile<'_>> = files.iter().map(WholeFile::argument).collect();
        canister.update(client, "uploads_put_many", (files,))?;
        change_memories(canister, round, &capsule)?;
    }
    canister.read_everything(client)
}

/// Creates a memory without an upload, and changes it. Then deletes the capsule's first memory, and tries to read it.
fn change_memories(
    canister: &mut RecordedCanister<'_>,
    round: u32,
    capsule: &str,
) -> Result<(), ClientError> {
    let client = client_principal(1);
    let base = api::AssetMetadataBase::new("note.txt", "text/plain", api::AssetType::Original, 5, 0);
    let metadata = api::AssetMetadata::document(base);
    let inline = Some(ByteBuf::from(*b"hello"));
    let (blob, backend, text) = (None::<api::BlobRef>, None::<api::StorageBackend>, None::<String>);
    let (sha256, idem) = (None::<ByteBuf>, format!("note {round}"));
    let args = (capsule, inline, blob, backend, &text, &text, Some(5u64), sha256, &metadata, idem);
    canister.pause_between_calls();
    let created: String = canister.handle.update(client, "memories_create", args)?;
    canister.update(client, "memories_update", (&created, &metadata))?;
    if let Some(first) = canister.handle.memories_list(client, capsule, None, Some(1))?.first() {
        canister.update(client, "memories_delete", (&first.id,))?;
        canister.query(client, "memories_read", (&first.id,))?;
    }
    Ok(())
}

fn parallel_lanes(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let mut actors = Vec::new();
    for number in 1..=4 {
        let client = client_principal(number);
        let capsule = canister.create_capsule(client)?;
        for file in 0..size.saturating_mul(2) {
            let habits = Habits { hashes: file % 2 == 0, ..Habits::PLAIN };
            actors.push(Actor::new(canister, client, &capsule, MIDDLE + u64::from(number), habits)?);
        }
    }
    drive(canister, &mut actors, 8)?;
    (1..=4).try_for_each(|number| canister.read_everything(client_principal(number)))
}

fn out_of_order(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    for _ in 0..size {
        for sequence in [Sequence::Backwards, Sequence::Shuffled] {
            let habits = Habits { sequence, hashes: true, ..Habits::PLAIN };
            let mut actors = [Actor::new(canister, client, &capsule, MIDDLE, habits)?];
            drive(canister, &mut actors, 1)?;
        }
    }
    canister.read_everything(client)
}

fn flaky_client(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    let mut actors = Vec::new();
    for file in 0..size.saturating_mul(4) {
        let habits = Habits { flaky: true, aborts: file % 4 == 3, ..Habits::PLAIN };
        actors.push(Actor::new(canister, client, &capsule, MIDDLE, habits)?);
    }
    drive(canister, &mut actors, 2)?;
    canister.read_everything(client)
}

fn slow_client(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    let ttl = Duration::from_secs(canister.handle.admin_config_get(controller())?.session_ttl_seconds);
    let minute = Duration::from_secs(60);
    for _ in 0..size {
        let mut actors = [
            Actor::new(canister, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?,
            Actor::new(canister, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?,
        ];
        let [active, idle] = &mut actors;
        // Each upload begins and sends a chunk.
        for _ in 0..2 {
            run_round(canister, std::slice::from_mut(active), 1)?;
            run_round(canister, std::slice::from_mut(idle), 1)?;
        }
        // Only one of them makes another call shortly before its session expires.
        canister.pass(ttl.saturating_sub(minute));
        run_round(canister, std::slice::from_mut(active), 1)?;
        canister.read_everything(client)?;
        canister.pass(minute * 3);
        canister.read_everything(client)?;
        drive(canister, std::slice::from_mut(active), 1)?;
        drive(canister, std::slice::from_mut(idle), 1)?;
        idle.start_over();
        drive(canister, std::slice::from_mut(idle), 1)?;
        let mut abandoned = [Actor::new(canister, client, &capsule, MIDDLE, Habits::PLAIN)?];
        for _ in 0..3 {
            run_round(canister, &mut abandoned, 1)?;
        }
        // The abandoned upload expires.
        canister.pass(ttl + minute);
        canister.pass(minute * 2);
    }
    canister.query(controller(), "admin_stats", ())?;
    canister.read_everything(client)
}

fn abusive_client(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let client = client_principal(1);
    let capsule = canister.create_capsule(client)?;
    for _ in 0..size {
        let mut actors = [Actor::new(canister, client, &capsule, TWO_CHUNKS, Habits::PLAIN)?];
        while !actors[0].is_done() {
            run_round(canister, &mut actors, 1)?;
            abuse::make_all_calls(canister, &actors[0].uploader)?;
        }
        let other = client_principal(2);
        let capsule_of_other = canister.create_capsule(other)?;
        abuse::begin_too_many(canister, other, &capsule_of_other)?;
        canister.read_everything(other)?;
    }
    canister.read_everything(client)
}

fn mixed(canister: &mut RecordedCanister<'_>, size: u32) -> Result<(), ClientError> {
    let mut actors = Vec::new();
    for number in 1..=3 {
        let client = client_principal(number);
        let capsule = canister.create_capsule(client)?;
        let access = api::CapsuleAccess {
            owners: vec![client],
            writers: vec![],
            readers: vec![client_principal(number + 1)],
        };
        canister.handle.capsules_set_access(client, &capsule, &access)?;
        for _ in 0..size {
            for (bytes, flaky) in [(SMALL, false), (TWO_CHUNKS, true), (MIDDLE, canister.one_in(2))] {
                let sequence = if canister.one_in(2) { Sequence::Shuffled } else { Sequence::Straight };
                let habits =
                    Habits { sequence, flaky, hashes: canister.one_in(2), aborts: canister.one_in(5) };
                actors.push(Actor::new(canister, client, &capsule, bytes, habits)?);
            }
        }
    }
    while actors.iter().any(|actor| !actor.is_done()) {
        let width = 1 + canister.below(5) as usize;
        run_round(canister, &mut actors, width)?;
        match canister.below(12) {
            0 => canister.pass(Duration::from_secs(60)),
            1 => abuse::call_as_strangers(canister, &actors[0].uploader)?,
            2 => canister.read_everything(client_principal(1))?,
            _ => {}
        }
    }
    // The fourth client is only a reader of the third client's capsule.
    (1..=4).try_for_each(|number| canister.read_everything(client_principal(number)))
}
