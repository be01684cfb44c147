//! The legacy build migrates nothing; it takes over what the staged build has rolled back.

use super::{App, Error, Result, Storage, Time, now, with_app};
use crate::migrate;

pub fn start() {
    if let Err(error) = with_app(|App { storage, .. }| Ok(migrate::taken_over(storage, now())?)) {
        ic_cdk::api::debug_print(format!("migration: {error}"));
    }
}

pub const fn go_on() {}

pub const fn watch() {}

pub mod controls {
    //! There is nothing to control.

    use super::{Error, Result, Storage, Time};

    fn refused() -> Error {
        Error::conflict("migration", "Idle", "the legacy build migrates nothing")
    }

    pub fn pause(_: &mut Storage, _: Time) -> Result<()> {
        Err(refused())
    }

    pub fn resume(_: &mut Storage, _: Time) -> Result<()> {
        Err(refused())
    }

    pub fn rollback(_: &mut Storage, _: Time) -> Result<()> {
        Err(refused())
    }

    pub fn finalize(_: &mut Storage, _: Time) -> Result<()> {
        Err(refused())
    }

    pub fn verify(_: &mut Storage, _: Time) -> Result<()> {
        Err(refused())
    }

    pub fn retry(_: &mut Storage, _: Time, _: Option<u64>) -> Result<()> {
        Err(refused())
    }

    pub const fn check_share(_: &Storage, _: u8) -> Result<()> {
        Ok(())
    }
}
