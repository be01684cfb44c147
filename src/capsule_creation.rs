//! Who may create capsules: everyone, those on a list, or nobody, as set by a controller.

use candid::Principal;

use crate::api::{Capsule, CapsuleMakers, Error, PersonRef, Result};
use crate::session::Time;
use crate::storage::Storage;

mod list;

pub use list::{CapsuleMakerList, Listed};

/// Creates a capsule, if the caller may create capsules.
///
/// # Errors
/// [`Error::Unauthorized`], [`Error::InvalidArgument`], [`Error::ResourceExhausted`], [`Error::Internal`] for a damaged
/// record.
pub fn create_capsule(
    storage: &mut Storage,
    caller: Principal,
    subject: Option<PersonRef>,
    now: Time,
) -> Result<Capsule> {
    let limits = storage.config()?;
    // What the caller lacks; `None`: nothing.
    let needs = match limits.capsule_makers.unwrap_or_default() {
        CapsuleMakers::Anyone => None,
        CapsuleMakers::Listed if storage.capsule_maker_list.get()?.contains(&caller) => None,
        CapsuleMakers::Listed => Some("to be on the list of those who may create capsules"),
        CapsuleMakers::Nobody => Some("another setting: capsule_makers is Nobody"),
    };
    if let Some(needs) = needs {
        return Err(Error::Unauthorized { caller, needs: needs.into() });
    }
    Ok(storage.capsules.create_within(limits.capsules_per_caller(), caller, subject, now)?)
}

#[cfg(all(test, feature = "direct"))]
mod tests;
