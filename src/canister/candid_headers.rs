//! Cached Candid headers of replies: the magic and the type table, which are the same for every reply of a type.
//!
//! Writing the table of our errors alone takes 250,000 instructions, so each header is written once and kept on the
//! heap. What a query puts on the heap is lost, so a message of the timer caches all headers.

use std::cell::RefCell;
use std::collections::BTreeMap;

use candid::CandidType;
use candid::types::TypeId;

use crate::stable::codec::candid_header;

thread_local! {
    static REPLY_HEADERS: RefCell<BTreeMap<TypeId, Vec<u8>>> = const { RefCell::new(BTreeMap::new()) };
}

/// Returns the header of replies of this type, and caches it if it is not cached yet.
pub fn reply_header<T: CandidType>() -> Result<Vec<u8>, candid::Error> {
    if let Some(header) = REPLY_HEADERS.with_borrow(|headers| headers.get(&T::id()).cloned()) {
        return Ok(header);
    }
    let header = candid_header(&[T::ty()])?;
    REPLY_HEADERS.with_borrow_mut(|headers| headers.insert(T::id(), header.clone()));
    Ok(header)
}
