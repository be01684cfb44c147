//! Checks that every byte in the used part of the payload region has exactly one owner, or is free.

use upload_canister::blob::extents::Extent;
use upload_canister::blob::{Extents, Place};
use upload_canister::migrate::Phase;
use upload_canister::migrations::extents::extents_of;
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::Facts;
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

/// An extent that is in use or free, and to what it belongs.
struct OwnedExtent {
    extent: Extent,
    /// As a text for findings: a blob, a session, the unit that the second migration is moving, or `a free extent`.
    owner: String,
}

/// Returns, in order of offset, the extents of all blobs and sessions, and of the unit that the second migration is
/// moving.
fn owned_extents(facts: &Facts) -> Vec<OwnedExtent> {
    let mut owned: Vec<OwnedExtent> = Vec::new();
    let mut add = |extents: &Extents, owner: String| {
        owned.extend(extents.iter().map(|extent| OwnedExtent { extent: *extent, owner: owner.clone() }));
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
    let not_converted = facts.migrations.get(&2).filter(|state| state.phase != Phase::Converted);
    if let Some(unit) = not_converted.and_then(|state| state.unit.as_ref())
        && let Some(extents) = extents_of(&unit.progress)
    {
        add(&extents, format!("unit {} being moved into extents", unit.key));
    }
    owned.retain(|owned| owned.extent.len > 0);
    sort_by_offset(&mut owned);
    owned
}

fn sort_by_offset(extents: &mut [OwnedExtent]) {
    extents.sort_by_key(|owned| (owned.extent.offset, owned.extent.len));
}

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    check_lengths(facts, scan);
    if !scan.fully_read(&[ids::EXTENT_STATE]) {
        return;
    }
    check_free_extents(facts, scan);
    let owned = owned_extents(facts);
    check_bounds(&owned, facts.extent_state.end, scan);
    let free = facts.free_extents.iter().map(|(offset, len)| OwnedExtent {
        extent: Extent { offset: *offset, len: *len },
        owner: "a free extent".to_owned(),
    });
    let mut all: Vec<OwnedExtent> = owned.into_iter().chain(free).collect();
    sort_by_offset(&mut all);
    check_owners(&all, facts.extent_state.end, scan);
}

/// Checks that no extent reaches beyond `region_end`, the end of the used part of the region.
fn check_bounds(owned: &[OwnedExtent], region_end: u64, scan: &mut Scan) {
    for OwnedExtent { extent, owner } in owned.iter().filter(|owned| owned.extent.end() > region_end) {
        let what = format!(
            "{owner} has {} bytes there, but the used part of the region ends at {region_end}",
            extent.len
        );
        scan.findings.add_at_offset(
            FindingKind::ExtentOutOfBounds,
            ids::EXTENT_REGION,
            None,
            extent.offset,
            what,
        );
    }
}

/// Checks that the extents, which are in order of offset, do not overlap, and leave no gap before `region_end`. Gaps
/// are only reported if all owners are known.
fn check_owners(extents: &[OwnedExtent], region_end: u64, scan: &mut Scan) {
    let all_owners_are_known =
        scan.fully_read(&[ids::BLOBS, ids::PAYLOAD_STATES, ids::FREE_EXTENTS, ids::MIGRATION_STATES]);
    // All bytes before this offset have been checked.
    let mut checked_to: u64 = 0;
    let mut last_owner = "nobody";
    for OwnedExtent { extent, owner } in extents {
        if extent.offset < checked_to {
            let what = format!("the {} bytes from here ({owner}) overlap with {last_owner}", extent.len);
            scan.findings.add_at_offset(
                FindingKind::ExtentsOverlap,
                ids::EXTENT_REGION,
                None,
                extent.offset,
                what,
            );
        } else if all_owners_are_known {
            check_gap(checked_to, extent.offset, scan);
        }
        if extent.end() >= checked_to {
            checked_to = extent.end();
            last_owner = owner;
        }
    }
    if all_owners_are_known {
        check_gap(checked_to, region_end, scan);
    }
}

/// Checks that there is no byte from `start`, which is 0 or the end of an extent, to `end`, where the next extent or
/// the unused part of the region begins.
fn check_gap(start: u64, end: u64, scan: &mut Scan) {
    if start < end {
        let what = format!("{} bytes there are allocated but have no owner", end - start);
        scan.findings.add_at_offset(FindingKind::ExtentWithoutOwner, ids::EXTENT_REGION, None, start, what);
    }
}

/// Checks that every blob and every session that is in extents fits into them. Extents that are too short are reported
/// as [`FindingKind::ExtentOutOfBounds`], as is an extent beyond the end of the region.
fn check_lengths(facts: &Facts, scan: &mut Scan) {
    let blobs = facts.blobs.iter().filter_map(|(id, (table, blob))| match &blob.place {
        Place::Extents(extents) => Some((*table, *id, blob.size, extents)),
        Place::Chunks(_) => None,
    });
    let sessions = facts.sessions.iter().filter_map(|(id, session)| {
        let extents = facts.payloads.get(id)?.extents.as_ref()?;
        Some((ids::PAYLOAD_STATES, *id, session.bytes_expected, extents))
    });
    let too_short: Vec<_> =
        blobs.chain(sessions).filter(|(.., bytes, extents)| extents.size() < *bytes).collect();
    for (table, id, bytes, extents) in too_short {
        let what = format!("{bytes} bytes are in extents of only {} bytes", extents.size());
        scan.findings.add_at_key(FindingKind::ExtentOutOfBounds, table, id.to_string(), what);
    }
}

/// Checks that both tables of free extents have the same entries; that no free extent is empty, overlaps or adjoins
/// another one, or reaches the end of the used part of the region, which would have to be smaller then; and that free
/// and allocated bytes add up to the used part.
fn check_free_extents(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::FREE_EXTENTS, ids::FREE_EXTENTS_BY_LEN]) {
        return;
    }
    let state = facts.extent_state;
    let (mut last_end, mut free_bytes) = (None, 0_u64);
    for (offset, len) in &facts.free_extents {
        let end = offset.saturating_add(*len);
        if *len == 0 || end >= state.end || last_end.is_some_and(|last| last >= *offset) {
            let what = format!("a free extent of {len} bytes is out of place");
            scan.findings.add_at_key(
                FindingKind::FreeExtentsDisagree,
                ids::FREE_EXTENTS,
                offset.shown(),
                what,
            );
        }
        if !facts.free_extents_by_len.contains(&(*len, *offset)) {
            let what = format!("no entry under its length of {len} bytes");
            scan.findings.add_at_key(
                FindingKind::FreeExtentsDisagree,
                ids::FREE_EXTENTS,
                offset.shown(),
                what,
            );
        }
        free_bytes = free_bytes.saturating_add(*len);
        last_end = Some(end);
    }
    for key in &facts.free_extents_by_len {
        let (len, offset) = *key;
        if facts.free_extents.get(&offset) != Some(&len) {
            let what = format!("no free extent of {len} bytes is at {offset}");
            scan.findings.add_at_key(
                FindingKind::FreeExtentsDisagree,
                ids::FREE_EXTENTS_BY_LEN,
                key.shown(),
                what,
            );
        }
    }
    let allocated_bytes = state.taken;
    if allocated_bytes.saturating_add(free_bytes) != state.end {
        let what = format!("{allocated_bytes} bytes allocated and {free_bytes} free are not {}", state.end);
        scan.findings.add_general(FindingKind::FreeExtentsDisagree, Some(ids::EXTENT_STATE), what);
    }
}
