//! Records the traces in `tests/replay/`.

use std::path::Path;
use std::time::Duration;

use candid::Principal;
use serde_bytes::ByteBuf;
use session_migrate::client::{Asset, Canister, UploadStep, Uploader};
use session_migrate::replay::{Builds, ReplayCanister};
use session_migrate::trace::{Header, Recorder, Tape};
use session_migrate::workload::{self, Order, Workload};
use upload_canister::api::AssetType;
use upload_canister::session::Chunking;

/// Time at which the scripted traces begin: the first of January 2026, nanoseconds since 1970.
const BEGINNING: u64 = 1_767_225_600_000_000_000;

/// Length of every chunk but the last, in bytes.
const CHUNK: u32 = 1_800_000;

/// Records the trace with this name; returns the build on which it begins.
pub fn by_name(name: &str, path: &Path) -> &'static str {
    match name {
        "layout-1" => workload("legacy", Workload::Mixed, path),
        "layout-2" => scripted("staged", path, in_flight),
        "layout-3" => workload("direct", Workload::Mixed, path),
        "incident-lost-replies" => workload("legacy", Workload::FlakyClient, path),
        "incident-expired-session" => workload("legacy", Workload::SlowClient, path),
        "incident-strangers" => scripted("legacy", path, strangers),
        "incident-upgrade-in-flight" => scripted("legacy", path, upgraded_in_flight),
        "incident-same-round" => scripted("legacy", path, same_round),
        _ => panic!("there is no script of the name {name}"),
    }
}

/// Records a workload of the toolkit on a build; returns the build.
fn workload(build: &'static str, workload: Workload, path: &Path) -> &'static str {
    let module = Builds::default().get(build).unwrap();
    workload::record(Order { workload, seed: 7, size: 1 }, build, &module, path).unwrap();
    build
}

/// The recorded canister, and what its scripts need. (Not the scene in `support`, which is a canister's contents.)
struct Scene<'p> {
    canister: Canister<'p>,
    tape: &'p Tape,
    folder: &'p Path,
    controller: Principal,
}

/// Records the calls of a script on a build; returns the build.
fn scripted(build: &'static str, path: &Path, script: fn(&Scene<'_>)) -> &'static str {
    let controller = Principal::self_authenticating("controller of the trace");
    let header = Header::new(BEGINNING, build, "a script of tests/replay/record.rs", vec![controller]);
    let installed = ReplayCanister::install(build, &Builds::default().get(build).unwrap(), &header).unwrap();
    let tape = Tape::new(Recorder::create(path, &header).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let canister = installed.canister().recorded(Some(&tape));
    script(&Scene { canister, tape: &tape, folder: folder.path(), controller });
    tape.finish().unwrap();
    build
}

fn person(number: u64) -> Principal {
    Principal::self_authenticating(format!("client {number} of the trace"))
}

impl Scene<'_> {
    fn wait(&self, seconds: u64) {
        self.canister.pass(Duration::from_secs(seconds), 2);
    }

    /// Creates an upload of file `seed` into a capsule, without beginning it.
    fn uploader(&self, client: Principal, capsule: &str, seed: u64, bytes: u64) -> Uploader {
        let path = self.folder.join(format!("{seed}.bin"));
        let chunking = Chunking::new(bytes, u64::from(CHUNK));
        let ranges = (0..chunking.count()).filter_map(|idx| chunking.range(idx));
        let chunks = ranges.map(|(offset, len)| self.tape.generate(seed, offset, len as usize));
        std::fs::write(&path, chunks.collect::<Vec<_>>().concat()).unwrap();
        let asset = Asset::open(&path, format!("{seed}.bin"), AssetType::Original).unwrap();
        Uploader::new(client, capsule, asset, format!("upload of {seed}"), CHUNK)
    }

    /// Makes the calls of these steps, a second apart.
    fn steps(&self, upload: &mut Uploader, steps: &[UploadStep]) {
        for step in steps {
            self.wait(1);
            upload.step(&self.canister, *step).unwrap();
        }
    }

    fn create_capsule(&self, client: Principal) -> String {
        self.wait(1);
        self.canister.capsules_create(client, None).unwrap().id
    }
}

/// Creates a session at each stage: begun, with a hole, complete, finished, aborted.
fn in_flight(scene: &Scene<'_>) {
    let client = person(1);
    let capsule = scene.create_capsule(client);
    for (seed, steps) in [
        (1, vec![UploadStep::Begin]),
        (2, vec![UploadStep::Begin, UploadStep::Put(2), UploadStep::Put(0)]),
        (3, vec![UploadStep::Begin, UploadStep::Put(1), UploadStep::Put(0), UploadStep::Put(2)]),
        (
            4,
            vec![
                UploadStep::Begin,
                UploadStep::Put(0),
                UploadStep::Put(1),
                UploadStep::Put(2),
                UploadStep::Finish,
            ],
        ),
        (5, vec![UploadStep::Begin, UploadStep::Put(0), UploadStep::Abort]),
    ] {
        let mut upload = scene.uploader(client, &capsule, seed, 4_000_000);
        scene.steps(&mut upload, &steps);
        if upload.result().is_none() && !upload.aborted() {
            upload.ask(&scene.canister).unwrap();
        }
    }
    scene.canister.memories_all(client, &capsule).unwrap();
}

/// A stranger and an anonymous caller put, finish, abort and query a session of somebody else. In the first public
/// release such calls destroyed the owner's upload: before access was checked, the stranger's chunk was hashed, or the
/// owner's hash state removed.
fn strangers(scene: &Scene<'_>) {
    let (owner, stranger) = (person(1), person(2));
    let capsule = scene.create_capsule(owner);
    let mut upload = scene.uploader(owner, &capsule, 1, 4_000_000);
    scene.steps(&mut upload, &[UploadStep::Begin, UploadStep::Put(0)]);
    let session = upload.session().unwrap();
    for caller in [stranger, Principal::anonymous()] {
        scene.wait(1);
        let chunk = scene.tape.generate(9, 0, CHUNK as usize);
        scene.canister.uploads_put_chunk(caller, session, 1, chunk, None).unwrap_err();
        scene.canister.uploads_finish(caller, session, [7; 32], 4_000_000).unwrap_err();
        scene.canister.uploads_abort(caller, session).unwrap_err();
        scene.canister.uploads_status(caller, session).unwrap_err();
    }
    scene.steps(&mut upload, &[UploadStep::Put(1), UploadStep::Put(2), UploadStep::Finish]);
}

/// The canister is upgraded to its own build during an upload, and another client begins an upload after the upgrade.
/// In the first public release, an upgrade lost the sessions, which were on the heap, and the sessions' ids were issued
/// again.
fn upgraded_in_flight(scene: &Scene<'_>) {
    let (first, second) = (person(1), person(2));
    let capsule = scene.create_capsule(first);
    let mut upload = scene.uploader(first, &capsule, 1, 4_000_000);
    scene.steps(&mut upload, &[UploadStep::Begin, UploadStep::Put(2), UploadStep::Put(0)]);
    scene.wait(60);
    let legacy = Builds::default().get("legacy").unwrap();
    scene.canister.upgrade(scene.controller, "legacy", &legacy).unwrap();
    let other = scene.create_capsule(second);
    let mut later = scene.uploader(second, &other, 2, 1_000);
    scene.steps(&mut later, &[UploadStep::Begin]);
    upload.ask(&scene.canister).unwrap();
    scene.steps(
        &mut upload,
        &[UploadStep::Begin, UploadStep::Put(0), UploadStep::Put(1), UploadStep::Finish, UploadStep::Finish],
    );
    scene.steps(&mut later, &[UploadStep::Put(0), UploadStep::Finish]);
}

/// Several clients begin, and finish, in the same round. In the first public release a memory's id was the time, so
/// that two memories got the same id and one upload was lost.
fn same_round(scene: &Scene<'_>) {
    let mut uploads: Vec<Uploader> = (1..=3)
        .map(|number| {
            let client = person(number);
            let capsule = scene.create_capsule(client);
            scene.uploader(client, &capsule, number, 1_000)
        })
        .collect();
    for step in [UploadStep::Begin, UploadStep::Put(0), UploadStep::Finish] {
        scene.wait(1);
        let sent: Vec<_> = uploads
            .iter()
            .map(|upload| {
                let call = upload.call(step).unwrap();
                (call.method, scene.canister.submit(upload.client, call).unwrap())
            })
            .collect();
        for (upload, (method, sent)) in uploads.iter_mut().zip(sent) {
            upload.accept(step, &scene.canister.wait(method, sent).unwrap()).unwrap();
        }
    }
    for upload in &uploads {
        let blob = &upload.result().unwrap().blob_id;
        scene.canister.query::<ByteBuf>(upload.client, "blob_read_chunk", (blob, 0u32)).unwrap();
    }
}
