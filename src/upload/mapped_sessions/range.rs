//! The stored record of the sessions that may still have their bytes in the chunk map.

use minicbor::{Decode, Encode};

use crate::stable::{Record, codec};

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

impl Record for MappedSessions {
    const NAME: &'static str = "range of sessions in the chunk map";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}

#[cfg(test)]
crate::stable::schema::described!(MappedSessions, cbor VERSION);
