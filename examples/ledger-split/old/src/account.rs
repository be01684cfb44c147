//! The stored record: an account, in CBOR.

use std::borrow::Cow;

use candid::CandidType;
use ic_stable_structures::Storable;
use ic_stable_structures::storable::Bound;
use minicbor::{Decode, Encode};

#[derive(CandidType, Encode, Decode, Clone)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Account {
    #[n(0)]
    pub name: String,
    #[n(1)]
    pub balance: u64,
    #[n(2)]
    pub opened_at: u64,
}

impl Storable for Account {
    const BOUND: Bound = Bound::Unbounded;

    fn to_bytes(&self) -> Cow<'_, [u8]> {
        Cow::Owned(minicbor::to_vec(self).unwrap())
    }

    fn into_bytes(self) -> Vec<u8> {
        self.to_bytes().into_owned()
    }

    fn from_bytes(bytes: Cow<'_, [u8]>) -> Self {
        minicbor::decode(&bytes).unwrap()
    }
}
