//! Who may read a blob.
//!
//! A caller of the interface may read a blob if its capsule is public or lists the caller. A browser has no principal:
//! it may read the blob if the capsule is public, or with a token issued to a reader. A token is valid for one blob and
//! a limited time. Whenever a token is used, the canister checks that the token's reader is still on an access list.
//!
//! ```text
//! token = hex of: version 1 ‖ expiry in seconds, u64 big-endian ‖ HMAC-SHA-256 ‖ principal
//! HMAC of: "upload-canister blob access" ‖ version ‖ blob, u64 big-endian ‖ expiry ‖ principal
//! ```

use candid::Principal;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::api::{AccessToken, Error, Result};
use crate::blob::BlobId;
use crate::capsule::{Access, CapsuleError};
use crate::session::Time;
use crate::storage::Storage;

mod keys;

pub use keys::{AccessKeys, Keys};

/// Default lifetime of a token, seconds: a page loads its images right away.
pub const DEFAULT_TOKEN_SECONDS: u32 = 5 * 60;

/// Maximum lifetime of a token, seconds: enough to watch a film.
pub const MAX_TOKEN_SECONDS: u32 = 60 * 60;

const TOKEN_VERSION: u8 = 1;

/// Length of a token without the principal, bytes before the conversion to hex.
const TOKEN_BYTES: usize = 1 + 8 + 32;

/// Prefix of what is authenticated, so that no MAC for another purpose is valid here.
const MAC_DOMAIN: &[u8] = b"upload-canister blob access";

/// Why a client may read the bytes of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grant {
    /// The capsule of the blob is public.
    Public,
    /// The client has the token of a reader.
    Token,
}

/// Returns the blob of a locator (`blob_<number>`), if `caller` may read it.
///
/// # Errors
/// [`Error::NotFound`] if there is no such blob, the caller may not read it, or a record needed to decide that is
/// damaged.
pub fn find_readable(storage: &Storage, caller: Principal, locator: &str) -> Result<BlobId> {
    find_authorized(storage, locator, |capsule_id| storage.capsules.authorize_blobs(caller, capsule_id))
}

/// Returns the blob of a locator, if an access list of its capsule has `caller`. For everything except reading bytes:
/// a public capsule lets everyone read the bytes of its blobs, and nothing else.
///
/// # Errors
/// [`Error::NotFound`] if there is no such blob, the capsule does not list the caller, or a record needed to decide
/// that is damaged.
pub fn find_as_member(storage: &Storage, caller: Principal, locator: &str) -> Result<BlobId> {
    find_authorized(storage, locator, |capsule_id| {
        storage.capsules.authorize(caller, Access::Read, capsule_id).map(drop)
    })
}

/// Returns the blob of a locator if `authorize` accepts its capsule. Any failure is the same [`Error::NotFound`], so
/// that it tells a stranger nothing.
fn find_authorized(
    storage: &Storage,
    locator: &str,
    authorize: impl FnOnce(&str) -> std::result::Result<(), CapsuleError>,
) -> Result<BlobId> {
    let missing = || Error::not_found("blob", locator);
    let id = BlobId::from_locator(locator).ok_or_else(missing)?;
    let capsule_id = storage.blobs.capsule_of(id).map_err(|_| missing())?;
    authorize(&capsule_id).map_err(|_| missing())?;
    Ok(id)
}

/// Issues a token for a blob that `caller` may read, valid for `seconds` or by default [`DEFAULT_TOKEN_SECONDS`].
///
/// # Errors
/// Those of [`find_readable`], [`Error::InvalidArgument`] for a lifetime outside 1 to [`MAX_TOKEN_SECONDS`],
/// [`Error::Conflict`] before the canister has a key, and [`Error::Internal`] if the record of the keys is damaged.
pub fn issue(
    storage: &Storage,
    caller: Principal,
    locator: &str,
    seconds: Option<u32>,
    now: Time,
) -> Result<AccessToken> {
    let id = find_readable(storage, caller, locator)?;
    let seconds = seconds.unwrap_or(DEFAULT_TOKEN_SECONDS);
    if !(1..=MAX_TOKEN_SECONDS).contains(&seconds) {
        return Err(Error::invalid("seconds", format!("1 to {MAX_TOKEN_SECONDS}"), seconds));
    }
    let expires = seconds_of(now).saturating_add(u64::from(seconds));
    let keys = storage.access_keys.get()?;
    let Some(mac) = keys.and_then(|keys| token_mac(&keys.current, id, expires, caller)) else {
        return Err(Error::conflict("blob", id, "there is no key for tokens yet: try again in a minute"));
    };
    let tag = mac.finalize().into_bytes();
    let token = hex::encode([&[TOKEN_VERSION], &expires.to_be_bytes()[..], &tag, caller.as_slice()].concat());
    let path = format!("/blob/{id}?token={token}");
    Ok(AccessToken { token, path, expires_at: expires.saturating_mul(1_000_000_000) })
}

/// Returns why a client may read a blob now, with or without a token; `None` if the client may not, or there is no such
/// blob.
pub fn find_grant(storage: &Storage, id: BlobId, token: Option<&str>, now: Time) -> Option<Grant> {
    let capsule_id = storage.blobs.capsule_of(id).ok()?;
    // If the record of the capsule does not decode, nobody may read its blobs.
    let capsule = storage.capsules.capsule(&capsule_id).ok()??;
    if capsule.is_public() {
        return Some(Grant::Public);
    }
    let reader = reader_of_token(&storage.access_keys, id, token?, now)?;
    capsule.access_of(&reader).map(|_| Grant::Token)
}

/// Returns the reader to whom a token was issued; `None` unless this canister issued the token for this blob with one
/// of the stored keys, and the token has not expired.
fn reader_of_token(keys: &AccessKeys, id: BlobId, token: &str, now: Time) -> Option<Principal> {
    let mut bytes = [0; TOKEN_BYTES + Principal::MAX_LENGTH_IN_BYTES];
    let bytes = bytes.get_mut(..token.len().checked_div(2)?)?;
    hex::decode_to_slice(token, bytes).ok()?;
    let (head, principal) = bytes.split_at_checked(TOKEN_BYTES)?;
    let ([TOKEN_VERSION], head) = head.split_first_chunk()? else { return None };
    let (expires, tag) = head.split_first_chunk()?;
    let expires = u64::from_be_bytes(*expires);
    if expires <= seconds_of(now) {
        return None;
    }
    let principal = Principal::try_from_slice(principal).ok()?;
    let Keys { current, previous, .. } = keys.get().ok()??;
    let authenticates = |key: &[u8; 32]| {
        token_mac(key, id, expires, principal).is_some_and(|mac| mac.verify_slice(tag).is_ok())
    };
    [Some(current), previous].iter().flatten().any(authenticates).then_some(principal)
}

/// Returns the MAC of a token's fields. HMAC accepts keys of any length, so the result is never `None`.
fn token_mac(key: &[u8; 32], id: BlobId, expires: u64, reader: Principal) -> Option<Hmac<Sha256>> {
    let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    let mac = mac.chain_update(MAC_DOMAIN).chain_update([TOKEN_VERSION]).chain_update(id.0.to_be_bytes());
    Some(mac.chain_update(expires.to_be_bytes()).chain_update(reader.as_slice()))
}

/// Returns the full seconds of a time.
const fn seconds_of(time: Time) -> u64 {
    time.as_nanos().div_euclid(1_000_000_000)
}

#[cfg(test)]
mod tests;
