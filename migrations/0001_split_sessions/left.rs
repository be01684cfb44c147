//! Records left in quarantine permanently: releases the quota that they still use.
//!
//! A record that decodes has already been removed from all accounts and indexes. If one does not decode, or
//! was quarantined without being read, its quota was kept in case of a retry. Its chunks stay, and their
//! bytes keep counting against its capsule and the canister, since it is unknown which chunks they are.

use std::collections::BTreeSet;

use candid::Principal;
use serde_bytes::ByteBuf;

use super::LegacyUploadSession;
use super::write::withdraw;
use crate::api::{Error, Result};
use crate::session::{SessionId, Time};
use crate::storage::Storage;

/// Releases the quota that the owners of quarantined records still use.
pub fn settle_owners(storage: &mut Storage, migration: u16) -> Result<()> {
    let mut undecodable = BTreeSet::new();
    for key in storage.migration.quarantine.keys(migration, None, usize::MAX) {
        let Some(quarantined) = storage.migration.quarantine.get_or_damaged(migration, key) else { continue };
        match LegacyUploadSession::decode(&quarantined.raw) {
            Ok(legacy) => {
                withdraw(storage, SessionId(key), Some(&legacy), quarantined.beside.map(Time::from_nanos))?;
            }
            Err(_) => {
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
            // Its owner must still be able to learn its outcome.
            let quarantined = crate::migrate::QuarantineRecord {
                owner: Some(ByteBuf::from(owner.as_slice())),
                ..quarantined
            };
            storage.migration.quarantine.insert(migration, id.0, &quarantined);
        }
        storage.index.disown(id, owner);
        owners.insert(owner);
    }
    for owner in owners {
        // If another of the owner's sessions is damaged, its bytes are unknown, and the account stays
        // unchanged.
        if let Ok(bytes) = in_flight(storage, owner) {
            storage.usage.set_in_flight(owner, bytes);
        }
    }
    Ok(())
}

/// Returns the bytes of an owner's sessions.
fn in_flight(storage: &Storage, owner: Principal) -> Result<u64> {
    let mut bytes = 0_u64;
    for id in storage.index.of(owner, None, usize::MAX) {
        let record = storage.sessions.sessions.get(&id.0)?.ok_or_else(|| Error::not_found("session", id))?;
        bytes = bytes.saturating_add(record.into_session().map_err(Error::Internal)?.bytes_expected);
    }
    Ok(bytes)
}
