//! The canister on which a trace is replayed.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use candid::Principal;
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{PocketIc, RejectResponse, Time};

use super::ReplayError;
use crate::build::{self, Build, Module};
use crate::client::{Canister, NO_ARGUMENTS};
use crate::costs::{self, MessageCost};
use crate::server;
use crate::trace::{CallKind, Header};

/// Modules by the names that a trace uses; each is read or built once.
#[derive(Clone, Debug, Default)]
pub struct Builds(HashMap<String, Arc<Module>>);

impl Builds {
    /// Returns the module of the build `name` or, if there is no such build, of the file at the path `name`.
    pub fn get(&mut self, name: &str) -> Result<Arc<Module>, ReplayError> {
        if let Some(module) = self.0.get(name) {
            return Ok(module.clone());
        }
        let module = match name.parse::<Build>() {
            Ok(build) => Module::read(&build::ensure_one(build)?.wasm_gz)?,
            Err(_) => Module::read(Path::new(name))?,
        };
        Ok(self.0.entry(name.to_owned()).or_insert(Arc::new(module)).clone())
    }

    /// Uses this module for a name, instead of the one built from the tree or read from the file.
    pub fn set(&mut self, name: impl Into<String>, module: Module) {
        self.0.insert(name.into(), Arc::new(module));
    }
}

/// A canister on a separate instance.
pub struct ReplayCanister {
    pic: PocketIc,
    id: Principal,
    controllers: Vec<Principal>,
    /// Costs of the messages up to the last reading.
    costs: Vec<MessageCost>,
    /// How many of the messages in `costs` belong to the installation.
    install_messages: usize,
    /// Whether the server reports costs.
    reports_costs: bool,
}

impl ReplayCanister {
    /// Installs a module on a new instance, with the controllers of the header, and at the time of the header unless
    /// the instance's time is later. `build` is the module's name in errors.
    ///
    /// # Errors
    /// If there is no usable server, the module cannot be installed, or the controllers cannot be set.
    pub fn install(build: &str, module: &Module, header: &Header) -> Result<ReplayCanister, ReplayError> {
        let pic = server::pocket_ic()?;
        let start = Time::from_nanos_since_unix_epoch(header.start);
        if start > pic.get_time() {
            pic.set_time(start);
        }
        // A trace without controllers is replayed with the anonymous principal as controller.
        let controller = header.controllers.first().copied().unwrap_or(Principal::anonymous());
        let id = pic.create_canister_with_settings(Some(controller), None);
        let reports_costs = server::chosen()?.kind == server::ServerKind::Embedded;
        let controllers = vec![controller];
        let mut subject =
            ReplayCanister { pic, id, controllers, costs: Vec::new(), install_messages: 0, reports_costs };
        // Reinstalling into an empty canister is the same as installing. If it fails, `reinstall_canister` returns an
        // error, whereas `install_canister` panics.
        subject
            .pic
            .reinstall_canister(id, module.gz.clone(), NO_ARGUMENTS.to_vec(), Some(controller))
            .map_err(|reject| ReplayError::Install { build: build.into(), message: reject.reject_message })?;
        if header.controllers.len() > 1 {
            subject.controllers.clone_from(&header.controllers);
            subject
                .pic
                .set_controllers(id, Some(controller), header.controllers.clone())
                .map_err(ReplayError::control("set the controllers"))?;
        }
        subject.read_costs()?;
        subject.install_messages = subject.costs.len();
        Ok(subject)
    }

    /// Returns the instance.
    pub fn pic(&self) -> &PocketIc {
        &self.pic
    }

    /// Returns the canister's id.
    pub fn id(&self) -> Principal {
        self.id
    }

    /// Returns the canister's first controller.
    pub fn controller(&self) -> Principal {
        self.controllers.first().copied().unwrap_or(Principal::anonymous())
    }

    /// Returns the time, nanoseconds since 1970.
    pub fn now(&self) -> u64 {
        self.pic.get_time().as_nanos_since_unix_epoch()
    }

    /// Sets the time, nanoseconds since 1970, unless the instance's time is already later.
    pub fn set_time(&self, nanos: u64) {
        let time = Time::from_nanos_since_unix_epoch(nanos);
        if time > self.pic.get_time() {
            self.pic.set_time(time);
        }
    }

    /// Runs rounds without calls.
    pub fn rounds(&self, rounds: u32) {
        for _ in 0..rounds {
            self.pic.tick();
        }
    }

    /// Returns a client handle for this canister.
    pub fn canister(&self) -> Canister<'_> {
        Canister::new(&self.pic, self.id)
    }

    /// Upgrades the canister.
    ///
    /// # Errors
    /// A refusal by the IC or the canister; nothing is changed then.
    pub fn upgrade(&self, module: &Module) -> Result<(), RejectResponse> {
        // This handle has no tape, so the build's name is not used.
        self.canister().upgrade(self.controller(), "", module)
    }

    /// Stops the canister.
    pub fn stop(&self) -> Result<(), ReplayError> {
        self.pic
            .stop_canister(self.id, Some(self.controller()))
            .map_err(ReplayError::control("stop the canister"))
    }

    /// Starts the canister again.
    pub fn start(&self) -> Result<(), ReplayError> {
        self.pic
            .start_canister(self.id, Some(self.controller()))
            .map_err(ReplayError::control("start the canister"))
    }

    /// Sends a call. A query is answered when this returns; the answer to an update is awaited by [`Self::wait`].
    pub(super) fn send(
        &self,
        kind: CallKind,
        caller: Principal,
        method: &str,
        arg: Vec<u8>,
    ) -> PendingAnswer {
        match kind {
            CallKind::Query => PendingAnswer::Answered(self.pic.query_call(self.id, caller, method, arg)),
            CallKind::Update => match self.pic.submit_call(self.id, caller, method, arg) {
                Ok(message) => PendingAnswer::Submitted(message),
                Err(reject) => PendingAnswer::Answered(Err(reject)),
            },
        }
    }

    pub(super) fn wait(&self, call: PendingAnswer) -> Result<Vec<u8>, RejectResponse> {
        match call {
            PendingAnswer::Answered(answer) => answer,
            PendingAnswer::Submitted(message) => self.pic.await_call(message),
        }
    }

    /// Makes a query call.
    pub fn query(&self, caller: Principal, method: &str, arg: Vec<u8>) -> Result<Vec<u8>, RejectResponse> {
        self.pic.query_call(self.id, caller, method, arg)
    }

    /// Makes an update call.
    pub fn update(&self, caller: Principal, method: &str, arg: Vec<u8>) -> Result<Vec<u8>, RejectResponse> {
        self.pic.update_call(self.id, caller, method, arg)
    }

    /// Reads the costs of the messages since the last reading. The server keeps the costs of the last 10,000 messages,
    /// so older ones are lost unless they were read in time.
    pub fn read_costs(&mut self) -> Result<(), ReplayError> {
        if self.reports_costs {
            let from = self.costs.last().map_or(0, |cost| cost.index + 1);
            self.costs.extend(costs::messages(&self.pic, self.id, from)?);
        }
        Ok(())
    }

    /// Returns the costs of the messages since the installation, as far as [`ReplayCanister::read_costs`] has read
    /// them; `None` if the server does not report costs.
    pub fn costs(&self) -> Option<&[MessageCost]> {
        self.reports_costs.then(|| self.costs.get(self.install_messages..).unwrap_or_default())
    }
}

/// A submitted update, or the answer to a query or a refused update.
pub(super) enum PendingAnswer {
    Submitted(RawMessageId),
    Answered(Result<Vec<u8>, RejectResponse>),
}
