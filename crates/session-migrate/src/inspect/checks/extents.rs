//! Checks that every byte of the payload region has one owner, or is free.

use upload_canister::blob::extents::Extent;
use upload_canister::blob::{Extents, Place};
use upload_canister::migrate::Phase;
use upload_canister::migrations::extents::extents_of;
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::Facts;
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

/// Returns every extent of a blob, a session or a running migration, with its owner, in order of offset.
fn owned(facts: &Facts) -> Vec<(Extent, String)> {
    let mut owned = Vec::new();
    let mut add = |extents: &Extents, whose: String| {
        owned.extend(extents.iter().map(|extent| (*extent, whose.clone())));
    };
    for (id, (_, blob)) in &facts.blobs {
        if let Place::Extents(extents) = &blob.place {
            add(extents, format!("blob_{id}"));
        }
    }
    for (id, state) in &facts.payloads {
        for extents in [&state.extents, &state.subtrees].into_iter().flatten() {
            add(extents, format!("session {id}"));
        }
    }
    let second = facts.migrations.get(&2).filter(|state| state.phase != Phase::Converted);
    if let Some(unit) = second.and_then(|state| state.unit.as_ref())
        && let Some(extents) = extents_of(&unit.progress)
    {
        add(&extents, format!("unit {} being moved into extents", unit.key));
    }
    owned.retain(|(extent, _)| extent.len > 0);
    owned.sort_by_key(|(extent, _)| (extent.offset, extent.len));
    owned
}

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    lengths(facts, scan);
    if !scan.fully_read(&[ids::EXTENT_STATE]) {
        return;
    }
    free(facts, scan);
    let owned = owned(facts);
    let end = facts.extent_state.end;
    for (extent, whose) in owned.iter().filter(|(extent, _)| extent.end() > end) {
        let what = format!("{whose} has {} bytes there, but the allocated part ends at {end}", extent.len);
        scan.findings.at_offset(
            FindingKind::ExtentOutOfBounds,
            ids::EXTENT_REGION,
            None,
            extent.offset,
            what,
        );
    }
    let free = facts
        .free_extents
        .iter()
        .map(|(offset, len)| (Extent { offset: *offset, len: *len }, "free".to_owned()));
    let mut all: Vec<(Extent, String)> = owned.into_iter().chain(free).collect();
    all.sort_by_key(|(extent, _)| (extent.offset, extent.len));
    let can_tell =
        scan.fully_read(&[ids::BLOBS, ids::PAYLOAD_STATES, ids::FREE_EXTENTS, ids::MIGRATION_STATES]);
    let mut taken_to: (u64, &str) = (0, "nobody");
    for (extent, whose) in &all {
        if extent.offset < taken_to.0 {
            let what = format!("{} bytes there belong to {whose} and to {}", extent.len, taken_to.1);
            scan.findings.at_offset(FindingKind::ExtentOfTwo, ids::EXTENT_REGION, None, extent.offset, what);
        } else if extent.offset > taken_to.0 && can_tell {
            let what = format!("{} bytes there are allocated but have no owner", extent.offset - taken_to.0);
            scan.findings.at_offset(
                FindingKind::ExtentWithoutOwner,
                ids::EXTENT_REGION,
                None,
                taken_to.0,
                what,
            );
        }
        if extent.end() >= taken_to.0 {
            taken_to = (extent.end(), whose);
        }
    }
    if taken_to.0 < end && can_tell {
        let what = format!("{} bytes there are allocated but have no owner", end - taken_to.0);
        scan.findings.at_offset(FindingKind::ExtentWithoutOwner, ids::EXTENT_REGION, None, taken_to.0, what);
    }
}

/// Checks that every blob and every session fits into its extents.
fn lengths(facts: &Facts, scan: &mut Scan) {
    let blobs = facts.blobs.iter().filter_map(|(id, (memory, blob))| match &blob.place {
        Place::Extents(extents) => Some((*memory, *id, blob.size, extents)),
        Place::Chunks(_) => None,
    });
    let sessions = facts.sessions.iter().filter_map(|(id, session)| {
        let extents = facts.payloads.get(id)?.extents.as_ref()?;
        Some((ids::PAYLOAD_STATES, *id, session.bytes_expected, extents))
    });
    let short: Vec<_> =
        blobs.chain(sessions).filter(|(.., bytes, extents)| extents.size() < *bytes).collect();
    for (memory, id, bytes, extents) in short {
        let what = format!("{bytes} bytes are in extents of only {} bytes", extents.size());
        scan.findings.at(FindingKind::ExtentOutOfBounds, memory, id.to_string(), what);
    }
}

/// Checks that both tables of free extents have the same entries; that no free extent is empty, overlaps or adjoins
/// another one, or reaches the end of the used part of the region; and that free and allocated bytes add up to the used
/// part.
fn free(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::FREE_EXTENTS, ids::FREE_EXTENTS_BY_LEN]) {
        return;
    }
    let state = facts.extent_state;
    let (mut last_end, mut free) = (None, 0_u64);
    for (offset, len) in &facts.free_extents {
        let end = offset.saturating_add(*len);
        if *len == 0 || end >= state.end || last_end.is_some_and(|last| last >= *offset) {
            let what = format!("a free extent of {len} bytes is out of place");
            scan.findings.at(FindingKind::FreeExtentsDisagree, ids::FREE_EXTENTS, offset.shown(), what);
        }
        if !facts.free_extents_by_len.contains(&(*len, *offset)) {
            let what = format!("no entry under its length of {len} bytes");
            scan.findings.at(FindingKind::FreeExtentsDisagree, ids::FREE_EXTENTS, offset.shown(), what);
        }
        free = free.saturating_add(*len);
        last_end = Some(end);
    }
    for key in &facts.free_extents_by_len {
        let (len, offset) = *key;
        if facts.free_extents.get(&offset) != Some(&len) {
            let what = format!("no free extent of {len} bytes is at {offset}");
            scan.findings.at(FindingKind::FreeExtentsDisagree, ids::FREE_EXTENTS_BY_LEN, key.shown(), what);
        }
    }
    if state.taken.saturating_add(free) != state.end {
        let what = format!("{} bytes allocated and {free} free are not {}", state.taken, state.end);
        scan.findings.general(FindingKind::FreeExtentsDisagree, Some(ids::EXTENT_STATE), what);
    }
}
