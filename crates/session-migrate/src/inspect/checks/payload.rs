//! Checks chunks, blobs, and references to them.

use std::collections::{BTreeMap, HashSet};

use upload_canister::blob::{ChunkPrefix, content_key};
use upload_canister::session::{ChunkSet, Chunking};
use upload_canister::stable::memory_ids::numbers as ids;

use super::super::facts::{ContentFact, Facts, Session, mapped};
use super::super::finding::FindingKind;
use super::super::scan::Scan;
use crate::snapshot::Key as _;

pub(super) fn check(facts: &Facts, scan: &mut Scan) {
    if scan.fully_read(&[ids::CHUNKS, ids::PAYLOAD_STATES]) {
        for (id, session) in &facts.sessions {
            session_chunks(facts, scan, *id, session);
        }
    }
    if scan.fully_read(&[ids::CHUNKS]) {
        blob_chunks(facts, scan);
    }
    orphans(facts, scan);
    states(facts, scan);
    blobs(facts, scan);
    refs(facts, scan);
    contents(facts, scan);
}

fn session_chunks(facts: &Facts, scan: &mut Scan, id: u64, session: &Session) {
    let is_convertible = facts.examined.get(&id).is_none_or(|examined| examined.reason.is_none());
    if !facts.is_mapped(id) || !is_convertible {
        return;
    }
    let key = |idx: u32| (session.prefix.0, idx).shown();
    let stored: ChunkSet = facts.stored(session.prefix).map(|(idx, _)| idx).collect();
    if session.layout == 2 {
        for idx in difference(&session.received, &stored) {
            let what = format!("chunk {idx} of session {id} has arrived but is not stored");
            scan.findings.at(FindingKind::MissingChunk, ids::CHUNKS, key(idx), what);
        }
        for idx in difference(&stored, &session.received) {
            let what = format!(
                "chunk {idx} of session {id} is stored, but has not arrived according to \
                its record"
            );
            scan.findings.at(FindingKind::StrayChunk, ids::CHUNKS, key(idx), what);
        }
    }
    let chunking = Chunking::new(session.bytes_expected, u64::from(session.chunk_size));
    for (idx, len) in facts.stored(session.prefix).filter(|(idx, _)| *idx < session.chunks) {
        let expected = chunking.len(idx);
        if u64::from(len) != expected {
            let what = format!("chunk {idx} of session {id} has {len} bytes, expected {expected}");
            scan.findings.at(FindingKind::ChunkLength, ids::CHUNKS, key(idx), what);
        }
    }
}

/// Iterates over the numbers that are in `these` but not in `those`.
fn difference<'s>(these: &'s ChunkSet, those: &'s ChunkSet) -> impl Iterator<Item = u32> + 's {
    these.ranges().flat_map(|(first, last)| first..=last).filter(|idx| !those.contains(*idx))
}

fn blob_chunks(facts: &Facts, scan: &mut Scan) {
    for (id, (memory, blob)) in &facts.blobs {
        let Some(prefix) = mapped(blob) else { continue };
        let (mut next, mut bytes) = (0, 0_u64);
        for (idx, len) in facts.stored(prefix) {
            if idx != next {
                break;
            }
            next += 1;
            bytes += u64::from(len);
        }
        let stored = facts.stored(prefix).count();
        if bytes < blob.size {
            let what = format!("blob_{id} has {} bytes, but its first {next} chunks have {bytes}", blob.size);
            scan.findings.at(FindingKind::MissingChunk, ids::CHUNKS, (prefix.0, next).shown(), what);
        } else if bytes > blob.size || stored != next as usize {
            let what = format!("blob_{id} has {} bytes, but its {stored} chunks have more", blob.size);
            scan.findings.at(FindingKind::ChunkLength, *memory, id.to_string(), what);
        }
    }
}

fn orphans(facts: &Facts, scan: &mut Scan) {
    let records = [
        ids::LEGACY_SESSIONS,
        ids::SESSIONS,
        ids::UPLOAD_META,
        ids::BLOB_META,
        ids::MAPPED_BLOBS,
        ids::RELEASED_CHUNKS,
        ids::MIGRATION_QUARANTINE,
    ];
    let mut known: HashSet<[u8; 32]> = facts.released.iter().copied().collect();
    known.extend(facts.sessions.values().map(|session| session.prefix.0));
    known.extend(facts.blobs.values().filter_map(|(_, blob)| mapped(blob)).map(|prefix| prefix.0));
    let quarantined = facts.quarantine.iter().filter_map(|quarantined| quarantined.legacy.as_ref());
    known.extend(quarantined.map(|legacy| legacy.chunk_prefix().0));
    let can_tell = scan.fully_read(&records) && !facts.has_unreadable();
    let kind = if can_tell { FindingKind::OrphanChunks } else { FindingKind::UnattributedChunks };
    let mut orphans: Vec<_> = facts.chunks.iter().filter(|(prefix, _)| !known.contains(*prefix)).collect();
    orphans.sort();
    for (prefix, chunks) in orphans {
        let bytes: u64 = chunks.iter().map(|(_, len)| u64::from(*len)).sum();
        let first = chunks.first().map_or(0, |(idx, _)| *idx);
        let what = format!("{} chunks, {bytes} bytes, belong to no session and no blob", chunks.len());
        scan.findings.at(kind, ids::CHUNKS, (*prefix, first).shown(), what);
    }
}

fn states(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::LEGACY_SESSIONS, ids::SESSIONS, ids::MIGRATION_QUARANTINE]) {
        return;
    }
    for id in facts.payloads.keys().filter(|id| !facts.is_live(**id) && !facts.is_quarantined(**id)) {
        let what = format!("the payload state of session {id}, which does not exist");
        scan.findings.at(FindingKind::IndexToNowhere, ids::PAYLOAD_STATES, id.to_string(), what);
    }
}

fn blobs(facts: &Facts, scan: &mut Scan) {
    if !scan.fully_read(&[ids::BLOB_REFS, ids::LEGACY_SESSIONS, ids::SESSIONS, ids::UPLOAD_META]) {
        return;
    }
    // The first public release may keep a session after its blob is committed, and has neither references to blobs nor
    // an index by content.
    let in_index: HashSet<u64> = facts.blobs_by_content.values().copied().collect();
    let session_blobs: HashSet<u64> = facts.sessions.values().filter_map(|session| session.blob).collect();
    let prefixes: HashSet<[u8; 32]> = facts.sessions.values().map(|session| session.prefix.0).collect();
    for (id, (memory, blob)) in &facts.blobs {
        let has_session = session_blobs.contains(id)
            || mapped(blob).is_some_and(|ChunkPrefix(prefix)| prefixes.contains(&prefix));
        if !has_refs(facts, *id) && !has_session && !facts.has_unreadable() {
            let kind = if in_index.contains(id) {
                FindingKind::BlobWithoutMemory
            } else {
                FindingKind::UnreferencedBlob
            };
            let what = format!("no memory refers to blob_{id}, {} bytes", blob.size);
            scan.findings.at(kind, *memory, id.to_string(), what);
        }
    }
}

fn has_refs(facts: &Facts, id: u64) -> bool {
    refs_of(facts, id).next().is_some()
}

/// Returns the memories that refer to a blob, each with its capsule.
pub(super) fn refs_of(facts: &Facts, id: u64) -> impl Iterator<Item = (&String, &String)> {
    let all = facts.blob_refs.range((id, String::new())..);
    all.take_while(move |((blob, _), _)| *blob == id).map(|((_, memory), capsule)| (memory, capsule))
}

fn refs(facts: &Facts, scan: &mut Scan) {
    let can_tell_blobs = scan.fully_read(&[ids::BLOB_META, ids::MAPPED_BLOBS, ids::BLOBS]);
    let can_tell_memories = scan.fully_read(&[ids::MEMORIES]);
    for ((blob, memory), capsule) in &facts.blob_refs {
        let content = facts.memories.get(memory);
        let refers = content.is_some_and(|memory| {
            memory.capsule == *capsule
                && matches!(memory.content, ContentFact::Blob { id, .. } if id == *blob)
        });
        let what = if can_tell_blobs && !facts.blobs.contains_key(blob) {
            format!("blob_{blob} does not exist")
        } else if can_tell_memories && !refers {
            format!("no memory {memory} of {capsule} has blob_{blob}")
        } else {
            continue;
        };
        scan.findings.at(FindingKind::IndexToNowhere, ids::BLOB_REFS, format!("{blob} {memory}"), what);
    }
    if !can_tell_blobs {
        return;
    }
    for (name, memory) in &facts.memories {
        let ContentFact::Blob { id, checksum, size } = memory.content else { continue };
        let what = match facts.blobs.get(&id) {
            None => format!("blob_{id} of memory {name} does not exist"),
            Some((_, blob)) if blob.size != size || blob.digest.bytes != checksum => {
                format!(
                    "memory {name} expects {size} bytes, but blob_{id} has {} bytes or another digest",
                    blob.size
                )
            }
            Some(_) => continue,
        };
        scan.findings.at(FindingKind::MemoryWithoutBlob, ids::MEMORIES, name.clone(), what);
    }
    if scan.fully_read(&[ids::BLOB_REFS]) {
        for (name, memory) in &facts.memories {
            let ContentFact::Blob { id, .. } = memory.content else { continue };
            if !facts.blob_refs.contains_key(&(id, name.clone())) {
                let what = format!(
                    "the reference of memory {name} to blob_{id} is missing: the blob can be deleted before the memory"
                );
                scan.findings.at(FindingKind::MissingInIndex, ids::BLOB_REFS, format!("{id} {name}"), what);
            }
        }
    }
}

fn contents(facts: &Facts, scan: &mut Scan) {
    let mut expected = BTreeMap::new();
    for (id, (_, blob)) in &facts.blobs {
        if let Some((_, capsule)) = refs_of(facts, *id).next() {
            expected.insert(content_key(capsule, blob.digest), *id);
        }
    }
    if scan.fully_read(&[ids::BLOB_META, ids::MAPPED_BLOBS, ids::BLOBS, ids::BLOB_REFS]) {
        for (key, id) in &facts.blobs_by_content {
            if expected.get(key) != Some(id) {
                let what = format!("refers to blob_{id}, which has another content or does not exist");
                scan.findings.at(FindingKind::IndexToNowhere, ids::BLOB_BY_CONTENT, key.shown(), what);
            }
        }
    }
    if scan.fully_read(&[ids::BLOB_BY_CONTENT]) {
        for (key, id) in expected.iter().filter(|(key, _)| !facts.blobs_by_content.contains_key(*key)) {
            let what = format!("blob_{id} is not found by its content");
            scan.findings.at(FindingKind::MissingInIndex, ids::BLOB_BY_CONTENT, key.shown(), what);
        }
    }
}
