//! A canister on a separate instance, the client that calls it, and its meter.

use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal};
use pocket_ic::PocketIc;
use pocket_ic::common::rest::BlobCompression;
use serde::de::DeserializeOwned;
use session_migrate::build::{Build, Module};
use session_migrate::client::{Canister, ClientError, EncodedCall};
use session_migrate::costs::MessageCost;
use session_migrate::snapshot::{Snapshot, load};
use session_migrate::{costs, server};
use upload_canister::api::{HttpRequest, HttpResponse};

use crate::cost::{Cost, MemorySizes};
use crate::error::BenchError;

/// Time at which every benchmark begins, in seconds since 1970: the same in every run, since ids depend on it.
pub const BEGINNING_SECONDS: u64 = 1_750_000_000;

/// Candid of an empty list of arguments.
pub const NO_ARGUMENTS: &[u8] = b"DIDL\0\0";

/// The wasm of a build.
#[derive(Clone, Debug)]
pub struct Wasm {
    /// The build.
    pub build: Build,
    /// The gzipped module.
    pub gz: Vec<u8>,
}

/// Returns the principal who makes the measured calls, except those that only a controller may make.
pub fn client() -> Principal {
    Principal::self_authenticating("client of the benchmark")
}

fn controller() -> Principal {
    Principal::self_authenticating("controller of the benchmark")
}

/// A canister on a separate instance. Several threads may call the canister.
pub struct MeteredCanister {
    /// The name of the benchmark, for errors.
    bench: String,
    /// The name of the module, for errors.
    module_name: String,
    module: Vec<u8>,
    pic: PocketIc,
    id: Principal,
    meter: Mutex<Meter>,
}

/// How far the messages have been measured, and the sizes of the memories after them.
#[derive(Default)]
struct Meter {
    /// Index of the first message that has not been measured.
    next: u64,
    sizes: MemorySizes,
}

impl MeteredCanister {
    /// Returns a canister without code, for the benchmark of this name; [`Self::install`] installs this build.
    pub fn empty(bench: impl Into<String>, wasm: &Wasm) -> Result<Self, BenchError> {
        Self::of(bench, wasm.build.name(), wasm.gz.clone())
    }

    /// Returns a canister without code; [`Self::install`] installs this module.
    pub fn of(
        bench: impl Into<String>,
        module_name: impl Into<String>,
        module: Vec<u8>,
    ) -> Result<Self, BenchError> {
        let pic = server::pocket_ic()?;
        pic.set_time((SystemTime::UNIX_EPOCH + Duration::from_secs(BEGINNING_SECONDS)).into());
        let id = pic.create_canister_with_settings(Some(controller()), None);
        let meter = Mutex::default();
        Ok(Self { bench: bench.into(), module_name: module_name.into(), module, pic, id, meter })
    }

    /// Returns a freshly installed canister after its first minute. Neither the installation nor the minute is measured.
    ///
    /// # Errors
    /// If there is no usable server or it does not report costs, the installation fails, or a message traps.
    pub fn installed(bench: impl Into<String>, wasm: &Wasm) -> Result<Self, BenchError> {
        let canister = Self::empty(bench, wasm)?;
        canister.install(NO_ARGUMENTS)?;
        canister.settle();
        canister.take_cost()?;
        Ok(canister)
    }

    /// Installs the module into the empty canister.
    pub fn install(&self, argument: &[u8]) -> Result<(), BenchError> {
        // Reinstalling into an empty canister is the same as installing, and if it fails, the server returns an error
        // instead of panicking.
        self.pic
            .reinstall_canister(self.id, self.module.clone(), argument.to_vec(), Some(controller()))
            .map_err(|reject| self.install_error(reject))
    }

    /// Upgrades the canister to the same module.
    pub fn upgrade(&self, argument: &[u8]) -> Result<(), BenchError> {
        self.pic
            .upgrade_canister(self.id, self.module.clone(), argument.to_vec(), Some(controller()))
            .map_err(|reject| self.install_error(reject))
    }

    /// Replaces the stable memory of the installed canister, which must then be upgraded before it is called.
    pub fn set_stable_memory(&self, gzipped: &[u8]) {
        self.pic.set_stable_memory(self.id, gzipped.to_vec(), BlobCompression::Gzip);
    }

    /// Loads a legacy canister with this stable memory, which is read on demand, into the empty canister.
    pub fn load(&self, stable: &Path, legacy: &Module) -> Result<(), BenchError> {
        let opened = Snapshot::open(stable).map_err(BenchError::file("open", stable))?;
        let as_of = BEGINNING_SECONDS * 1_000_000_000;
        load(&self.pic, self.id, controller(), &opened, as_of, legacy)
            .map_err(BenchError::file("load", stable))
    }

    fn install_error(&self, reject: pocket_ic::RejectResponse) -> BenchError {
        let message = reject.reject_message.lines().next().unwrap_or_default().to_owned();
        BenchError::Install { bench: self.bench.clone(), module: self.module_name.clone(), message }
    }

    /// Returns the cost of all messages since the last call of this function or of [`Self::take_messages`].
    ///
    /// # Errors
    /// [`BenchError::Trapped`], and if the server does not report costs.
    pub fn take_cost(&self) -> Result<Cost, BenchError> {
        let messages = self.take_messages()?;
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let mut sum = Cost::default();
        for message in messages {
            sum += meter.sizes.cost_of_next(&message);
        }
        Ok(sum)
    }

    /// Returns the messages since the last call of this function or of [`Self::take_cost`], each with its cost. The
    /// growth of the memories in these messages is included in the next [`Self::take_cost`].
    ///
    /// # Errors
    /// As [`Self::take_cost`].
    pub fn take_messages(&self) -> Result<Vec<MessageCost>, BenchError> {
        let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
        let messages = costs::messages(&self.pic, self.id, meter.next)?;
        if let Some(trapped) = messages.iter().find(|message| !message.ok) {
            let message = format!("{} {}", trapped.entry, trapped.method);
            return Err(BenchError::Trapped { bench: self.bench.clone(), message });
        }
        if let Some(last) = messages.last() {
            meter.next = last.index + 1;
        }
        Ok(messages)
    }

    /// Makes an update call as the client.
    ///
    /// # Errors
    /// [`BenchError::Call`], with the canister's refusal if there is one.
    pub fn update<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, BenchError> {
        self.typed_client().update(client(), method, args).map_err(|source| self.call_error(source))
    }

    /// Makes a query call as the client.
    pub fn query<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, BenchError> {
        self.typed_client().query(client(), method, args).map_err(|source| self.call_error(source))
    }

    /// Makes an update call as the controller; returns the raw reply.
    pub fn controller_call(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<Vec<u8>, BenchError> {
        let call = EncodedCall::new(method, args).map_err(|source| self.call_error(source))?;
        self.typed_client().call(controller(), call).map_err(|source| self.call_error(source))
    }

    /// Makes a query call as the controller.
    pub fn controller_query<T: CandidType + DeserializeOwned>(
        &self,
        method: &'static str,
        args: impl ArgumentEncoder,
    ) -> Result<T, BenchError> {
        self.typed_client().query(controller(), method, args).map_err(|source| self.call_error(source))
    }

    /// Makes a query call as the client; returns the raw reply.
    pub fn raw_query(&self, method: &'static str, args: impl ArgumentEncoder) -> Result<Vec<u8>, BenchError> {
        let call = EncodedCall::new(method, args).map_err(|source| self.call_error(source))?;
        self.typed_client().query_raw(client(), call).map_err(|source| self.call_error(source))
    }

    /// Passes an HTTP request to the canister, as the gateway does.
    pub fn http_request(&self, request: HttpRequest) -> Result<HttpResponse, BenchError> {
        self.typed_client().http_request(&request).map_err(|source| self.call_error(source))
    }

    /// Lets time pass, and runs the timers that have become due.
    pub fn pass_time(&self, time: Duration) {
        self.pic.advance_time(time);
        self.pic.tick();
    }

    /// Lets the first minute after an installation or upgrade pass. During it, the canister caches data for all later
    /// calls on its heap.
    pub fn settle(&self) {
        self.pass_time(Duration::from_secs(61));
        // The timer is a call of the canister to itself, whose reply takes another round.
        self.tick();
    }

    /// Runs one round, for timers that are due immediately.
    pub fn tick(&self) {
        self.pic.tick();
    }

    /// Returns the object with a function for each method of the canister; [`client`] is the principal who calls.
    pub fn typed_client(&self) -> Canister<'_> {
        Canister::new(&self.pic, self.id)
    }

    /// Returns the benchmark's error for a failed call, for use in `map_err`.
    pub fn call_error(&self, source: ClientError) -> BenchError {
        BenchError::Call { bench: self.bench.clone(), source }
    }

    /// Returns the benchmark's error for a reply that does not decode, for use in `map_err`.
    pub fn reply_error(&self, method: &'static str, error: &candid::Error) -> BenchError {
        let detail = error.to_string().lines().next().unwrap_or_default().to_owned();
        BenchError::Reply { bench: self.bench.clone(), method, detail }
    }

    /// Returns [`BenchError::State`] unless the values are equal.
    pub fn check_equal<T: PartialEq + std::fmt::Debug>(
        &self,
        what: &'static str,
        expected: T,
        got: T,
    ) -> Result<(), BenchError> {
        BenchError::check_equal(&self.bench, what, expected, got)
    }
}
