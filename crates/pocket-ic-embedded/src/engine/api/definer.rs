//! Defines functions of the system API, each with its row of the table in `permissions.rs`.

use wasmtime::{IntoFunc, Linker, Result};

use crate::engine::error::EngineError;
use crate::engine::host::{ApiCaller, Host, enter};
use crate::engine::permissions::{self, Api};

pub(super) struct Definer<'a> {
    pub(super) linker: &'a mut Linker<Host>,
}

impl Definer<'_> {
    /// Returns the row of a function; an error if there is none, which is a bug of the server.
    pub(super) fn api(&self, name: &'static str) -> Result<&'static Api> {
        permissions::find_api(name).ok_or_else(|| {
            EngineError(format!("the system API function {name} is missing from the table of permissions"))
                .into()
        })
    }

    /// Defines a function. It must begin with [`enter`], which checks and charges: this does not.
    pub(super) fn func<P, R>(&mut self, api: &Api, func: impl IntoFunc<Host, P, R>) -> Result<()> {
        self.linker.func_wrap("ic0", api.name, func)?;
        Ok(())
    }

    /// Defines a function without parameters that only returns a value of the host; it includes the call of [`enter`].
    pub(super) fn getter<R>(&mut self, name: &'static str, get: fn(&Host) -> R) -> Result<()>
    where
        R: wasmtime::WasmTy + 'static,
    {
        let api = self.api(name)?;
        self.func(api, move |mut c: ApiCaller<'_>| -> Result<R> {
            enter(&mut c, api)?;
            Ok(get(c.data()))
        })
    }
}
