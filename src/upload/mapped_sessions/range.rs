//! The stored record of the sessions that may still have their bytes in the chunk map.

use minicbor::{Decode, Encode};

use crate::stable::codec;

/// The sessions `after < id <= through`, and the sessions in `again`. Later sessions have had their bytes in
/// extents from the beginning.
#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct MappedSessions {
    /// All sessions up to this id have moved, have ended or are quarantined, except the sessions in `again`.
    #[n(0)]
    pub(super) after: u64,
    /// The last session that may have its bytes in the chunk map.
    #[n(1)]
    pub(super) through: u64,
    /// Sessions up to `after` that were quarantined and are retried, ascending.
    #[cbor(n(2), default)]
    pub(super) again: Vec<u64>,
}

const VERSION: u8 = 1;

codec::cbor_record!(MappedSessions, "range of sessions in the chunk map", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(MappedSessions, cbor VERSION);
