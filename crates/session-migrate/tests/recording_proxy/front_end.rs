//! The calls that a front end's tests make to a server.

use std::time::Duration;

use candid::utils::ArgumentEncoder;
use candid::{CandidType, Principal, encode_args};
use pocket_ic::common::rest::RawMessageId;
use pocket_ic::{IngressStatusResult, PocketIc, PocketIcBuilder};
use reqwest::Url;
use serde::de::DeserializeOwned;
use serde_bytes::{ByteBuf, Bytes};
use session_migrate::build::{self, Build};
use sha2::{Digest, Sha256};
use upload_canister::api::{
    AdminConfig, AssetMetadata, AssetMetadataBase, AssetType, Capsule, Error, PersonRef, Result as Reply,
    UploadFinishResult, UploadStatus,
};

pub const CHUNK: usize = 1_800_000;
pub const HOUR: Duration = Duration::from_secs(3_600);

pub fn person(name: &str) -> Principal {
    Principal::self_authenticating(name)
}

pub fn wasm(build: Build) -> Vec<u8> {
    std::fs::read(build::ensure(&[build]).unwrap().remove(0).wasm_gz).unwrap()
}

pub fn content(bytes: usize) -> Vec<u8> {
    (0..bytes).map(|i| (i % 251) as u8 ^ (i / CHUNK) as u8).collect()
}

pub fn begin_args<'a>(
    capsule: &'a str,
    file: &[u8],
    idem: &'a str,
) -> (&'a str, AssetMetadata, u32, &'a str) {
    let base = AssetMetadataBase::new("a.bin", "text/plain", AssetType::Original, file.len() as u64, 0);
    (capsule, AssetMetadata::document(base), file.len().div_ceil(CHUNK) as u32, idem)
}

pub fn put_args(session: u64, idx: u32, file: &[u8]) -> (u64, u32, &Bytes, Option<ByteBuf>) {
    (session, idx, Bytes::new(file.chunks(CHUNK).nth(idx as usize).unwrap()), None)
}

pub fn finish_args(session: u64, file: &[u8]) -> (u64, ByteBuf, u64) {
    (session, ByteBuf::from(Sha256::digest(file).to_vec()), file.len() as u64)
}

/// A front end's test, which counts its calls to the canister.
pub struct FrontEnd {
    pub pic: PocketIc,
    pub id: Principal,
    /// Number of calls to the canister so far.
    pub calls: u64,
}

impl FrontEnd {
    pub fn install(server: &Url) -> Self {
        let builder = PocketIcBuilder::new().with_server_url(server.clone());
        Self::install_on(builder.with_application_subnet().build())
    }

    pub fn install_on(pic: PocketIc) -> Self {
        let id = pic.create_canister_with_settings(Some(person("controller")), None);
        let arg = encode_args(()).unwrap();
        pic.install_canister(id, wasm(Build::Legacy), arg, Some(person("controller")));
        Self { pic, id, calls: 0 }
    }

    pub fn upgrade(&self, to: Build) {
        let arg = encode_args(()).unwrap();
        self.pic.upgrade_canister(self.id, wasm(to), arg, Some(person("controller"))).unwrap();
    }

    pub fn submit(&mut self, caller: Principal, method: &str, args: impl ArgumentEncoder) -> RawMessageId {
        self.calls += 1;
        self.pic.submit_call(self.id, caller, method, encode_args(args).unwrap()).unwrap()
    }

    pub fn wait<T: CandidType + DeserializeOwned>(&self, message: RawMessageId) -> Reply<T> {
        candid::decode_one(&self.pic.await_call(message).unwrap()).unwrap()
    }

    pub fn update<T: CandidType + DeserializeOwned>(
        &mut self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Reply<T> {
        let message = self.submit(caller, method, args);
        self.wait(message)
    }

    pub fn query<T: CandidType + DeserializeOwned>(
        &mut self,
        caller: Principal,
        method: &str,
        args: impl ArgumentEncoder,
    ) -> Reply<T> {
        self.calls += 1;
        let reply = self.pic.query_call(self.id, caller, method, encode_args(args).unwrap()).unwrap();
        candid::decode_one(&reply).unwrap()
    }

    pub fn create_capsule(&mut self) -> String {
        let capsule: Reply<Capsule> = self.update(person("client"), "capsules_create", (None::<PersonRef>,));
        capsule.unwrap().id
    }

    pub fn submit_begin(&mut self, capsule: &str, file: &[u8], idem: &str) -> RawMessageId {
        self.submit(person("client"), "uploads_begin", begin_args(capsule, file, idem))
    }

    pub fn submit_put(&mut self, session: u64, idx: u32, file: &[u8]) -> RawMessageId {
        self.submit(person("client"), "uploads_put_chunk", put_args(session, idx, file))
    }

    pub fn finish(&mut self, session: u64, file: &[u8]) -> Reply<UploadFinishResult> {
        self.update(person("client"), "uploads_finish", finish_args(session, file))
    }

    /// Uploads across every build, with faults in between.
    pub fn act(&mut self) {
        let client = person("client");
        let capsule = self.create_capsule();
        let (large, small) = (content(CHUNK + 700), content(90));

        // Several calls are in flight at once, and a call depends on an answer while other calls are still in flight.
        let begun =
            [self.submit_begin(&capsule, &large, "large"), self.submit_begin(&capsule, &small, "small")];
        let [large_id, small_id] = begun.map(|message| self.wait::<u64>(message).unwrap());
        let first = self.submit_put(large_id, 1, &large);
        let idle = self.submit_begin(&capsule, &small, "left alone");
        let idle = self.wait::<u64>(idle).unwrap();
        let second = self.submit_put(idle, 0, &small);
        self.wait::<()>(second).unwrap();
        self.wait::<()>(first).unwrap();

        // Calls that are refused: updates by the canister, an update by the server before a round, and a query.
        let wrong: Reply<()> = self.update(
            client,
            "uploads_put_chunk",
            (large_id, 0_u32, Bytes::new(b"short"), None::<ByteBuf>),
        );
        assert!(matches!(wrong, Err(Error::InvalidArgument { .. })), "{wrong:?}");
        assert!(matches!(self.finish(small_id, &small), Err(Error::Incomplete { .. })));
        self.calls += 2;
        self.pic.update_call(self.id, client, "no_such_method", vec![]).unwrap_err();
        self.pic.query_call(self.id, client, "no_such_method", vec![]).unwrap_err();

        // A call to another canister, which must not be recorded.
        let other = self.pic.create_canister();
        self.pic.query_call(other, client, "uploads_list", vec![]).unwrap_err();

        self.upgrade(Build::Staged);
        let config: Reply<AdminConfig> = self.query(person("controller"), "admin_config_get", ());
        let config = AdminConfig { compat_share_percent: 0, ..config.unwrap() };
        self.update::<()>(person("controller"), "admin_config_set", (config,)).unwrap();
        // Some clients run the rounds themselves, and ask for the result after each round.
        let put = self.submit_put(small_id, 0, &small);
        assert!(matches!(self.pic.ingress_status_as(put.clone(), client), IngressStatusResult::NotAvailable));
        self.pic.tick();
        assert!(matches!(self.pic.ingress_status_as(put, client), IngressStatusResult::Success(Ok(_))));
        self.finish(small_id, &small).unwrap();
        self.pic.stop_canister(self.id, Some(person("controller"))).unwrap();
        self.pic.start_canister(self.id, Some(person("controller"))).unwrap();

        // An idle session expires after a day: `idle` does, the large upload does not.
        self.pic.advance_time(HOUR * 23);
        let put = self.submit_put(large_id, 0, &large);
        self.wait::<()>(put).unwrap();
        self.pic.advance_time(HOUR * 2);
        self.pic.tick();
        self.pic.tick();
        let status: Reply<UploadStatus> = self.query(client, "uploads_status", (idle,));
        assert!(matches!(status, Err(Error::Conflict { .. })), "{status:?}");

        self.upgrade(Build::Direct);
        let finished = self.finish(large_id, &large).unwrap();
        let chunk: Reply<ByteBuf> = self.query(client, "blob_read_chunk", (&finished.blob_id, 1_u32));
        assert_eq!(chunk.unwrap().into_vec(), large[CHUNK..]);
    }
}
