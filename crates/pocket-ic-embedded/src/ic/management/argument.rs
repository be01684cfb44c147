//! The arguments of management calls: decoding them within limits, and which canister they are about.

use super::PROVISIONAL_CREATE;
use candid::de::DecoderConfig;
use candid::utils::decode_args_with_config;
use candid::{CandidType, Deserialize, Principal};
use ic_management_canister_types::{
    CanisterIdRecord, InstallChunkedCodeArgs, ProvisionalCreateCanisterWithCyclesArgs,
};

/// Decodes the only argument of a call. A few bytes can announce more unread values than there is time to
/// skip, so the work is limited to a multiple of the number of bytes. Values that are read have bytes of
/// their own.
pub(super) fn decode_argument<T: CandidType + for<'de> Deserialize<'de>>(bytes: &[u8]) -> candid::Result<T> {
    /// In candid's units of cost; more than a record of small values needs.
    const BASE: usize = 10_000;
    /// Four times what skipping a vector of single bytes costs.
    const PER_BYTE: usize = 16;
    let mut config = DecoderConfig::new();
    config.set_skipping_quota(BASE.saturating_add(bytes.len().saturating_mul(PER_BYTE)));
    let (value,) = decode_args_with_config(bytes, &config)?;
    Ok(value)
}

/// Returns the canister that a call is about, if its argument says so.
pub(in crate::ic) fn target(method: &str, arg: &[u8]) -> Option<Principal> {
    match method {
        PROVISIONAL_CREATE => {
            decode_argument::<ProvisionalCreateCanisterWithCyclesArgs>(arg).ok()?.specified_id
        }
        "install_chunked_code" => Some(decode_argument::<InstallChunkedCodeArgs>(arg).ok()?.target_canister),
        _ => Some(decode_argument::<CanisterIdRecord>(arg).ok()?.canister_id),
    }
}
