//! The arguments of management calls: decoding them within limits, and which canister they are about.

use candid::de::DecoderConfig;
use candid::utils::decode_args_with_config;
use candid::{CandidType, Deserialize, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, InstallChunkedCodeArgs, ProvisionalCreateCanisterWithCyclesArgs,
};

/// Decodes the only argument of a call. A few bytes can declare more unread values than can be skipped in a reasonable
/// time, so the work of skipping is limited to a multiple of the number of bytes. Reading needs no limit, since each
/// value that is read has bytes of its own.
pub(super) fn decode_argument<T: CandidType + for<'de> Deserialize<'de>>(bytes: &[u8]) -> candid::Result<T> {
    /// The fixed part of the limit, in candid's units of cost: more than a record of small values needs.
    const BASE: usize = 10_000;
    /// The part for each byte: four times the cost of skipping a vector of single bytes.
    const PER_BYTE: usize = 16;
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(BASE.saturating_add(bytes.len().saturating_mul(PER_BYTE)));
    let (value,) = decode_args_with_config(bytes, &config)?;
    Ok(value)
}

/// Returns the canister that a call is about: the field `canister_id`, which most arguments have; `None` if this one
/// lacks it or does not decode.
pub(super) fn canister_id(arg: &[u8]) -> Option<Principal> {
    Some(decode_argument::<CanisterIdRecord>(arg).ok()?.canister_id)
}

/// Returns the id that the new canister shall have (`provisional_create_canister_with_cycles`); `None` if the call
/// specifies none or does not decode.
pub(super) fn specified_id(arg: &[u8]) -> Option<Principal> {
    decode_argument::<ProvisionalCreateCanisterWithCyclesArgs>(arg).ok()?.specified_id
}

/// Returns the canister into which `install_chunked_code` installs; `None` if the argument does not decode.
pub(super) fn target_canister(arg: &[u8]) -> Option<Principal> {
    Some(decode_argument::<InstallChunkedCodeArgs>(arg).ok()?.target_canister)
}
