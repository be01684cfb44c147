//! Clients that upload while their canister is upgraded.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use candid::Principal;
use futures_util::future::try_join_all;
use ic_agent::identity::BasicIdentity;
use session_migrate::build::Build;
use session_migrate::client::{Asset, Uploader};
use session_migrate::network::{self, Retry, RootKey};
use session_migrate::progress::Progress;
use session_migrate::upload::{Options, UploadError, own_capsule, upload};
use upload_canister::api::{AssetType, MigrationPhase};

use super::network::{CHUNK, Network};

const CLIENTS: usize = 40;

/// Options with which a rejected or unanswered call is an error.
const NOTHING_IS_RETRIED: Options = Options { parallel: 1, retry_for: Duration::ZERO };

/// Returns a client's file with this number. Most files are small; the files of every tenth client have two chunks.
fn file(client: usize, number: usize) -> (String, Vec<u8>) {
    let bytes = if client.is_multiple_of(10) { CHUNK + 7 } else { 20_000 + client };
    let content = (0..bytes).map(|i| (i * i / 7 + 31 * client + number) as u8).collect();
    (format!("{client:02}-{number:04}.bin"), content)
}

/// What the clients share.
#[derive(Default)]
struct Traffic {
    uploaded: AtomicUsize,
    is_over: AtomicBool,
}

/// Ends the traffic when it is dropped.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Uploads one file after the other until the traffic is over; returns the client and the number of its files.
async fn upload_until_over(
    network: &Network,
    traffic: &Traffic,
    client: usize,
) -> Result<(Principal, usize), UploadError> {
    let key = RootKey::Der(hex::decode(&network.root_key).unwrap());
    let identity = Arc::new(BasicIdentity::from_raw_key(&[client as u8 + 1; 32]));
    let live = network::Network::connect(&network.url, &key, identity).await.unwrap();
    let (canister, owner) = (live.canister(network.canister), live.caller());
    let progress = Progress::hidden();
    let no_retry = Retry::new(NOTHING_IS_RETRIED.retry_for, &progress);
    let capsule = own_capsule(&canister, owner, no_retry).await?;
    let path = network.path(&format!("client-{client}"));
    for number in 0.. {
        let (name, content) = file(client, number);
        std::fs::write(&path, content).unwrap();
        let asset = Asset::open(&path, &name, AssetType::Original)?;
        let uploader = Uploader::new(owner, &capsule, asset, name, CHUNK as u32);
        upload(&canister, uploader, NOTHING_IS_RETRIED, &progress).await?;
        traffic.uploaded.fetch_add(1, Ordering::Relaxed);
        if traffic.is_over.load(Ordering::Relaxed) {
            return Ok((owner, number + 1));
        }
    }
    unreachable!("the range has no end")
}

#[test]
fn forty_uploaders_do_not_notice_the_whole_upgrade() {
    let network = Network::with(Build::Legacy);
    let traffic = Traffic::default();
    let clients = std::thread::scope(|scope| {
        let running = scope.spawn(|| {
            let all = (0..CLIENTS).map(|client| upload_until_over(&network, &traffic, client));
            tokio::runtime::Runtime::new().unwrap().block_on(try_join_all(all)).unwrap()
        });
        // Waits for as many more uploaded files as there are clients, or until a client has failed.
        let wait_for_more_files = || {
            let before = traffic.uploaded.load(Ordering::Relaxed);
            while traffic.uploaded.load(Ordering::Relaxed) < before + CLIENTS && !running.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
            }
        };
        // Ends the clients even if an assertion fails in this thread.
        let over = EndOnDrop(&traffic.is_over);
        wait_for_more_files();
        let (staged, direct) = upgrade_twice(&network, &traffic, wait_for_more_files);
        drop(over);
        let clients = running.join().unwrap();
        assert!(staged > 0 && direct > 0, "files uploaded during the upgrades: {staged}, {direct}");
        clients
    });
    assert_eq!(network.running_build(), "direct");
    assert_eq!(network.client().migration_status().unwrap().phase, MigrationPhase::Converted);
    for (client, (owner, files)) in clients.into_iter().enumerate() {
        let expected: Vec<_> = (0..files).map(|number| file(client, number)).collect();
        assert!(network.stored_by(owner) == expected, "client {client}, {files} files");
    }
}

/// Upgrades to the staged and to the direct build; returns how many files were uploaded during each.
fn upgrade_twice(network: &Network, traffic: &Traffic, wait: impl Fn()) -> (usize, usize) {
    let upgrade = |to: &str| {
        let before = traffic.uploaded.load(Ordering::Relaxed);
        let (code, out) = network.run_upgrade(to, &[]);
        assert_eq!(code, 0, "{out}");
        traffic.uploaded.load(Ordering::Relaxed) - before
    };
    let staged = upgrade("staged");
    wait();
    network.client().migration_finalize(Principal::anonymous(), false).unwrap();
    let direct = upgrade("direct");
    wait();
    (staged, direct)
}
