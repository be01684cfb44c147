//! Requests without an outcome, on a network whose time differs from that of this machine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use ic_agent::identity::AnonymousIdentity;
use pocket_ic::{PocketIc, Time};
use session_migrate::network::{self, Clock, RequestOutcome, Retry, RootKey, Target, Ticket};
use session_migrate::progress::Progress;

use super::driving::meanwhile;
use super::faulty_networks::pruning;
use super::network::instance;

/// The time that passes on the network in each pause.
const STEP: Duration = Duration::from_secs(30);

/// The clock of a network whose time advances only in pauses; by this clock, no time passes on this machine.
struct SlowNetwork {
    pic: PocketIc,
    pauses: AtomicU32,
}

impl Clock for SlowNetwork {
    fn now(&self) -> Duration {
        Duration::ZERO
    }

    fn pause(&self, _: Duration) -> BoxFuture<'static, ()> {
        self.pauses.fetch_add(1, Ordering::Relaxed);
        meanwhile(|| {
            self.pic.advance_time(STEP);
            self.pic.tick();
        });
        ready(()).boxed()
    }
}

#[test]
fn request_is_not_lost_before_it_expires_by_the_network_time() {
    let pic = instance();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let before = |time: Duration| (now - time).as_nanos() as u64;
    // On this machine, the request has expired a minute ago; on the network, it expires in a minute.
    pic.set_time(Time::from_nanos_since_unix_epoch(before(4 * STEP)));
    let canister = pic.create_canister();
    pic.tick();
    let ticket = Ticket { request_id: "07".repeat(32), nonce: String::new(), expiry: before(2 * STEP) };
    let instance_url = pic.get_server_url().join(&format!("instances/{}/", pic.instance_id())).unwrap();
    let (url, root_key) = (pruning(instance_url.as_str()), RootKey::Der(pic.root_key().unwrap()));
    let slow = Arc::new(SlowNetwork { pic, pauses: AtomicU32::new(0) });
    let clock: Arc<dyn Clock> = slow.clone();
    let progress = Progress::hidden();
    let retry = Retry { retry_for: Duration::from_secs(5), progress: &progress, clock: &clock };
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
        let identity = Arc::new(AnonymousIdentity);
        let network = network::Network::connect(&url, &root_key, identity).await.unwrap();
        network.find_outcome("a_method", &ticket, canister, retry).await
    });
    assert_eq!(outcome.unwrap(), RequestOutcome::Lost);
    let pauses = slow.pauses.load(Ordering::Relaxed);
    assert!(pauses >= 2, "lost after {pauses} pauses");
}

/// If the refusal were an error, a command could only be repeated until the request has expired by the slow clock, too.
#[test]
fn request_that_has_expired_by_the_network_time_alone_is_lost() {
    let pic = instance();
    let canister = pic.create_canister();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // The clock of this machine is slow by ten minutes, so that a new request expires six minutes ago on the network.
    pic.set_time(Time::from_nanos_since_unix_epoch((now + 20 * STEP).as_nanos() as u64));
    pic.tick();
    let instance_url = pic.get_server_url().join(&format!("instances/{}/", pic.instance_id())).unwrap();
    let root_key = RootKey::Der(pic.root_key().unwrap());
    let progress = Progress::hidden();
    let retry = Retry::new(Duration::from_secs(5), &progress);
    let outcome = tokio::runtime::Runtime::new().unwrap().block_on(async {
        // An instance does not check the expiry of anonymous reads.
        let identity = Arc::new(AnonymousIdentity);
        let network = network::Network::connect(instance_url.as_str(), &root_key, identity).await.unwrap();
        let call = network.prepare(Target::canister("a_method", canister, ()).unwrap()).unwrap();
        network.settle(&call, retry).await
    });
    assert_eq!(outcome.unwrap(), RequestOutcome::Lost);
}
