//! Checks chunks, blobs, and references to them.

use std::collections::{BTreeMap, HashSet};

use upload_canister::blob::{ChunkPrefix, content_key};
use upload_canister::session::{ChunkSet, Chunking};
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::{ContentFact, Facts, Session, mapped_prefix};
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    if scan.fully_read(&[ids::CHUNKS, ids::PAYLOAD_STATES]) {
        for (id, session) in &facts.sessions {
            check_session_chunks(facts, scan, *id, session);
        }
    }
    if scan.fully_read(&[ids::CHUNKS]) {
        check_blob_chunks(facts, scan);
    }
    check_orphans(facts, scan);
    check_payload_states(facts, scan);
    check_blob_references(facts, scan);
    check_reference_table(facts, scan);
    check_content_index(facts, scan);
}

fn check_session_chunks(facts: &Facts, scan: &mut Scan, id: u64, session: &Session) {
    // The record of an unconvertible session may name a wrong prefix, size or number of chunks.
    let is_convertible = facts.examinations.get(&id).is_none_or(|examined| examined.reason.is_none());
    if !facts.is_mapped(id) || !is_convertible {
        return;
    }
    let chunk_key = |idx: u32| (session.prefix.0, idx).shown();
    let stored: ChunkSet = facts.chunks_under(session.prefix).map(|(idx, _)| idx).collect();
    // In layout 1, no record says which chunks have arrived: the stored ones count as arrived, so they cannot differ.
    if session.layout == 2 {
        for idx in difference(&session.received, &stored) {
            let what = format!("chunk {idx} of session {id} has arrived but is not stored");
            scan.findings.add_at_key(FindingKind::MissingChunk, ids::CHUNKS, chunk_key(idx), what);
        }
        for idx in difference(&stored, &session.received) {
            let what = format!(
                "chunk {idx} of session {id} is stored, but has not arrived according to \
                its record"
            );
            scan.findings.add_at_key(FindingKind::StrayChunk, ids::CHUNKS, chunk_key(idx), what);
        }
    }
    let chunking = Chunking::new(session.bytes_expected, u64::from(session.chunk_size));
    for (idx, len) in facts.chunks_under(session.prefix).filter(|(idx, _)| *idx < session.chunk_count) {
        let expected = chunking.len(idx);
        if u64::from(len) != expected {
            let what = format!("chunk {idx} of session {id} has {len} bytes, expected {expected}");
            scan.findings.add_at_key(FindingKind::ChunkLength, ids::CHUNKS, chunk_key(idx), what);
        }
    }
}

/// Iterates over the numbers that are in `these` but not in `those`.
fn difference<'s>(these: &'s ChunkSet, those: &'s ChunkSet) -> impl Iterator<Item = u32> + 's {
    these.ranges().flat_map(|(first, last)| first..=last).filter(|idx| !those.contains(*idx))
}

fn check_blob_chunks(facts: &Facts, scan: &mut Scan) {
    for (id, (table, blob)) in &facts.blobs {
        let Some(prefix) = mapped_prefix(blob) else { continue };
        let (mut next, mut bytes) = (0, 0_u64);
        for (idx, len) in facts.chunks_under(prefix) {
            if idx != next {
                break;
            }
            next += 1;
            bytes += u64::from(len);
        }
        let stored = facts.chunks_under(prefix).count();
        if bytes < blob.size {
            let what = format!("blob_{id} has {} bytes, but its first {next} chunks have {bytes}", blob.size);
            scan.findings.add_at_key(FindingKind::MissingChunk, ids::CHUNKS, (prefix.0, next).shown(), what);
        } else if bytes > blob.size || stored != next as usize {
            let what = format!("blob_{id} has {} bytes, but its {stored} chunks have more", blob.size);
            scan.findings.add_at_key(FindingKind::ChunkLength, *table, id.to_string(), what);
        }
    }
}

/// Reports the chunks that belong to no session, no blob and no prefix that is to be removed.
fn check_orphans(facts: &Facts, scan: &mut Scan) {
    let records = [
        ids::LEGACY_SESSIONS,
        ids::SESSIONS,
        ids::UPLOAD_META,
        ids::BLOB_META,
        ids::MAPPED_BLOBS,
        ids::RELEASED_CHUNKS,
        ids::MIGRATION_QUARANTINE,
    ];
    let mut known_prefixes: HashSet<[u8; 32]> = facts.released_prefixes.iter().copied().collect();
    known_prefixes.extend(facts.sessions.values().map(|session| session.prefix.0));
    known_prefixes
        .extend(facts.blobs.values().filter_map(|(_, blob)| mapped_prefix(blob)).map(|prefix| prefix.0));
    let quarantined = facts.quarantine.iter().filter_map(|quarantined| quarantined.legacy.as_ref());
    known_prefixes.extend(quarantined.map(|legacy| legacy.chunk_prefix().0));
    let all_records_are_known = scan.fully_read(&records) && !facts.has_unreadable();
    let kind =
        if all_records_are_known { FindingKind::OrphanChunks } else { FindingKind::UnattributedChunks };
    let mut unclaimed: Vec<_> =
        facts.chunks_by_prefix.iter().filter(|(prefix, _)| !known_prefixes.contains(*prefix)).collect();
    unclaimed.sort();
    for (prefix, chunks) in unclaimed {
        let bytes: u64 = chunks.iter().map(|(_, len)| u64::from(*len)).sum();
        let first = chunks.first().map_or(0, |(idx, _)| *idx);
        let what = format!("{} chunks, {bytes} bytes, belong to no session and no blob", chunks.len());
        scan.findings.add_at_key(kind, ids::CHUNKS, (*prefix, first).shown(), what);
    }
}

fn check_payload_states(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::LEGACY_SESSIONS, ids::SESSIONS, ids::MIGRATION_QUARANTINE]) {
        return;
    }
    for id in facts.payloads.keys().filter(|id| !facts.is_live(**id) && !facts.is_quarantined(**id)) {
        let what = format!("the payload state of session {id}, which does not exist");
        scan.findings.add_at_key(FindingKind::IndexToNowhere, ids::PAYLOAD_STATES, id.to_string(), what);
    }
}

/// Checks that a memory refers to every blob, or a session may still need it.
fn check_blob_references(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::BLOB_REFS, ids::LEGACY_SESSIONS, ids::SESSIONS, ids::UPLOAD_META]) {
        return;
    }
    // The first public release kept no index by content, so a blob in that index was committed by a later build, which
    // records a reference to the blob at the same time.
    let indexed_blobs: HashSet<u64> = facts.blobs_by_content.values().copied().collect();
    // A legacy record of the first public release may remain after the commit of its blob, to which no memory refers
    // then.
    let session_blobs: HashSet<u64> = facts.sessions.values().filter_map(|session| session.blob).collect();
    let prefixes: HashSet<[u8; 32]> = facts.sessions.values().map(|session| session.prefix.0).collect();
    for (id, (table, blob)) in &facts.blobs {
        let has_session = session_blobs.contains(id)
            || mapped_prefix(blob).is_some_and(|ChunkPrefix(prefix)| prefixes.contains(&prefix));
        if !has_refs(facts, *id) && !has_session && !facts.has_unreadable() {
            let kind = if indexed_blobs.contains(id) {
                FindingKind::IndexedBlobUnreferenced
            } else {
                FindingKind::UnindexedBlobUnreferenced
            };
            let what = format!("no memory refers to blob_{id}, {} bytes", blob.size);
            scan.findings.add_at_key(kind, *table, id.to_string(), what);
        }
    }
}

fn has_refs(facts: &Facts, id: u64) -> bool {
    refs_of(facts, id).next().is_some()
}

/// Returns the ids of the memories that refer to a blob according to the table of references, each with the id of its
/// capsule.
pub(super) fn refs_of(facts: &Facts, id: u64) -> impl Iterator<Item = (&String, &String)> {
    let from_first = facts.blob_refs.range((id, String::new())..);
    from_first
        .take_while(move |((blob, _), _)| *blob == id)
        .map(|((_, memory_id), capsule_id)| (memory_id, capsule_id))
}

/// Checks that the table of references and the memories with a blob agree.
fn check_reference_table(facts: &Facts, scan: &mut Scan) {
    let all_blobs_are_known = scan.fully_read(&[ids::BLOB_META, ids::MAPPED_BLOBS, ids::BLOBS]);
    let all_memories_are_known = scan.fully_read(&[ids::MEMORIES]);
    for ((blob, memory_id), capsule_id) in &facts.blob_refs {
        let record = facts.memories.get(memory_id);
        let refers = record.is_some_and(|memory| {
            memory.capsule_id == *capsule_id
                && matches!(memory.content, ContentFact::Blob { id, .. } if id == *blob)
        });
        let what = if all_blobs_are_known && !facts.blobs.contains_key(blob) {
            format!("blob_{blob} does not exist")
        } else if all_memories_are_known && !refers {
            format!("no memory {memory_id} of {capsule_id} has blob_{blob}")
        } else {
            continue;
        };
        scan.findings.add_at_key(
            FindingKind::IndexToNowhere,
            ids::BLOB_REFS,
            format!("{blob} {memory_id}"),
            what,
        );
    }
    if !all_blobs_are_known {
        return;
    }
    for (memory_id, memory) in &facts.memories {
        let ContentFact::Blob { id, checksum, size } = memory.content else { continue };
        let what = match facts.blobs.get(&id) {
            None => format!("blob_{id} of memory {memory_id} does not exist"),
            Some((_, blob)) if blob.size != size || blob.digest.bytes != checksum => {
                format!(
                    "memory {memory_id} expects {size} bytes, but blob_{id} has {} bytes or another digest",
                    blob.size
                )
            }
            Some(_) => continue,
        };
        scan.findings.add_at_key(FindingKind::MemoryWithoutBlob, ids::MEMORIES, memory_id.clone(), what);
    }
    if scan.fully_read(&[ids::BLOB_REFS]) {
        for (memory_id, memory) in &facts.memories {
            let ContentFact::Blob { id, .. } = memory.content else { continue };
            if !facts.blob_refs.contains_key(&(id, memory_id.clone())) {
                let what = format!(
                    "the reference of memory {memory_id} to blob_{id} is missing: the blob can be deleted before the memory"
                );
                scan.findings.add_at_key(
                    FindingKind::MissingInIndex,
                    ids::BLOB_REFS,
                    format!("{id} {memory_id}"),
                    what,
                );
            }
        }
    }
}

/// Checks the index by content, in which a blob has the key of its digest and of the capsule of its first reference.
fn check_content_index(facts: &Facts, scan: &mut Scan) {
    let mut expected_entries = BTreeMap::new();
    for (id, (_, blob)) in &facts.blobs {
        if let Some((_, capsule)) = refs_of(facts, *id).next() {
            expected_entries.insert(content_key(capsule, blob.digest), *id);
        }
    }
    if scan.fully_read(&[ids::BLOB_META, ids::MAPPED_BLOBS, ids::BLOBS, ids::BLOB_REFS]) {
        for (key, id) in &facts.blobs_by_content {
            if expected_entries.get(key) != Some(id) {
                let what = format!("refers to blob_{id}, which has another content or does not exist");
                scan.findings.add_at_key(
                    FindingKind::IndexToNowhere,
                    ids::BLOB_BY_CONTENT,
                    key.shown(),
                    what,
                );
            }
        }
    }
    if scan.fully_read(&[ids::BLOB_BY_CONTENT]) {
        for (key, id) in expected_entries.iter().filter(|(key, _)| !facts.blobs_by_content.contains_key(*key))
        {
            let what = format!("blob_{id} is not found by its content");
            scan.findings.add_at_key(FindingKind::MissingInIndex, ids::BLOB_BY_CONTENT, key.shown(), what);
        }
    }
}
