//! Records left in quarantine permanently: releases the bytes that they still have on accounts.
//!
//! A record that was read and decodes was removed from all accounts and indexes when it was quarantined. If a record
//! does not decode, or was quarantined without being read, its bytes stayed on the accounts in case of a retry. Here,
//! such a record is not decoded with the Candid library, since that may be what trapped: a record that only the library
//! could decode is treated as undecodable. The chunks of an undecodable record are unknown: they stay, and keep
//! counting against its capsule and the canister; only its owner's usage is reduced.

use std::collections::BTreeSet;

use serde_bytes::ByteBuf;

use super::LegacyUploadSession;
use super::write::withdraw;
use crate::api::Result;
use crate::session::{SessionId, Time};
use crate::storage::Storage;

/// Releases what the quarantined records of a migration still use, as described above.
pub fn release_owners_usage(storage: &mut Storage, migration: u16) -> Result<()> {
    let mut undecodable = BTreeSet::new();
    for key in storage.migration.quarantine.keys(migration, None, usize::MAX) {
        let Some(quarantined) = storage.migration.quarantine.get_or_damaged(migration, key) else { continue };
        match LegacyUploadSession::read_after_header(&quarantined.raw) {
            Some(legacy) => {
                withdraw(storage, SessionId(key), Some(&legacy), quarantined.beside.map(Time::from_nanos))?;
            }
            None => {
                undecodable.insert(key);
            }
        }
    }
    if undecodable.is_empty() {
        return Ok(());
    }
    let mut owners = BTreeSet::new();
    for (owner, id) in storage.index.owners_of(&undecodable) {
        if let Ok(Some(quarantined)) = storage.migration.quarantine.get(migration, id.0) {
            // The owner must still be able to learn the outcome of the session.
            let quarantined = crate::migrate::QuarantineRecord {
                owner: Some(ByteBuf::from(owner.as_slice())),
                ..quarantined
            };
            storage.migration.quarantine.insert(migration, id.0, &quarantined);
        }
        storage.index.remove_from_owner(id, owner);
        owners.insert(owner);
    }
    for owner in owners {
        let ids = storage.index.sessions_of(owner, None, usize::MAX);
        let bytes = ids.into_iter().map(|id| bytes_of(storage, id)).fold(0, u64::saturating_add);
        storage.usage.set_in_flight(owner, bytes);
    }
    Ok(())
}

/// Returns the size of a session, from either of its two records. If neither can be read, the size is unknown, and 0 is
/// returned: nothing will ever be subtracted for the session.
fn bytes_of(storage: &Storage, id: SessionId) -> u64 {
    let session = storage.sessions.sessions.get(&id.0).ok().flatten();
    let session = session.and_then(|record| record.into_session().ok()).map(|session| session.bytes_expected);
    let meta = || Some(storage.sessions.metas.get(&id.0).ok()??.asset_metadata.base().bytes);
    session.or_else(meta).unwrap_or(0)
}
