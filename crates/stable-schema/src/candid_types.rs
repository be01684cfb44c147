//! Candid types of stored records, as text.

use candid::CandidType;
use candid::types::internal::TypeContainer;

/// Name of the record's own type among the definitions.
pub(crate) const STORED: &str = "stored";

/// Returns the Candid type of a stored record as type definitions, of which `stored` is the record's own type.
pub fn candid_text<T: CandidType>() -> String {
    let mut container = TypeContainer::new();
    let ty = container.add::<T>();
    let mut env = container.env;
    env.0.insert(STORED.into(), ty);
    candid::pretty::candid::compile(&env, &None)
}
