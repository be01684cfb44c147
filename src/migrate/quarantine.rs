//! Legacy records that could not be converted, as they were.

use minicbor::{Decode, Encode};
use serde_bytes::ByteBuf;

use crate::api::QuarantinedRecord;
use crate::stable::{Record, codec};

/// A record in quarantine. Its session id is its key.
#[derive(Encode, Decode, Clone, Debug, PartialEq, Eq)]
pub struct QuarantineRecord {
    /// Why it could not be converted.
    #[n(0)]
    pub reason: String,
    /// The bytes as they were stored.
    #[cbor(n(1), with = "minicbor::bytes")]
    pub raw: Vec<u8>,
}

impl QuarantineRecord {
    /// As the interface shows it.
    pub fn into_api(self, session: u64) -> QuarantinedRecord {
        QuarantinedRecord { session, reason: self.reason, raw: ByteBuf::from(self.raw) }
    }
}

const VERSION: u8 = 1;

impl Record for QuarantineRecord {
    const NAME: &'static str = "quarantined record";

    fn encode(&self) -> Vec<u8> {
        codec::encode(VERSION, self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, String> {
        codec::decode(VERSION, bytes)
    }
}
