//! The list of those who may create capsules.
//!
//! ```text
//! id 47   CBOR    the list
//! ```

use candid::Principal;
use minicbor::{Decode, Encode};

use crate::api::{Error, Result};
use crate::stable::{Memories, Register, StableError, codec, memory_ids};
use crate::upload::limits::MAX_CAPSULE_MAKERS;

/// The list of those who may create capsules.
pub struct CapsuleMakerList {
    listed: Register<Listed>,
}

/// The stored list.
#[derive(Encode, Decode, Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(test, derive(stable_schema::StableSchema))]
pub struct Listed {
    /// The principals on the list.
    #[cbor(n(0), with = "codec::principals")]
    pub principals: Vec<Principal>,
}

const VERSION: u8 = 1;

codec::cbor_record!(Listed, "list of those who may create capsules", version VERSION);

#[cfg(test)]
crate::stable::schema::described!(Listed, cbor VERSION);

impl CapsuleMakerList {
    /// Opens the list.
    pub fn open(memories: &Memories) -> Self {
        Self { listed: Register::open(memories, memory_ids::CAPSULE_MAKERS) }
    }

    /// Returns the principals on the list.
    ///
    /// # Errors
    /// The list does not decode.
    pub fn get(&self) -> std::result::Result<Vec<Principal>, StableError> {
        Ok(self.listed.get()?.unwrap_or_default().principals)
    }

    /// Replaces the list by these principals, each once.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] for more than [`MAX_CAPSULE_MAKERS`] different principals.
    pub fn set(&mut self, mut principals: Vec<Principal>) -> Result<()> {
        principals.sort_unstable();
        principals.dedup();
        if principals.len() > MAX_CAPSULE_MAKERS {
            let expected = format!("at most {MAX_CAPSULE_MAKERS} principals");
            return Err(Error::invalid("principals", expected, principals.len()));
        }
        self.listed.set(&Listed { principals });
        Ok(())
    }

    /// Describes the stored structures, for the schema.
    #[cfg(test)]
    pub fn describe(&self, to: &mut crate::stable::schema::Description) {
        to.register(memory_ids::numbers::CAPSULE_MAKERS, &self.listed);
    }
}
