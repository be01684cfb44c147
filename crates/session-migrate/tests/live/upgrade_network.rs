//! `upgrade` over a network that loses answers, lags, or is unreachable.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use session_migrate::build::Build;
use session_migrate::network::{Clock, system_clock};
use session_migrate::upgrade::Plan;
use session_migrate::upgrade::{Ending, Event, Silent, Step};

use super::driving::After;
use super::faulty_networks::{FaultyProxy, Wire};
use super::network::Network;

/// Effects of an upgrade without options.
const EFFECTS: [Step; 3] = [Step::Snapshot, Step::Install, Step::Verify];

/// Number of requests that are refused after each lost answer.
const AWAY_FOR: u32 = 6;

#[test]
fn upgrade_succeeds_despite_lost_answers_and_refused_requests() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let losing =
        FaultyProxy::in_front_of(&network.url, &["take_canister_snapshot", "install_code"], AWAY_FOR);
    let report = network.drive_at(&losing.url, &plan, &staged, &mut Silent, Duration::from_secs(60)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    assert_eq!(losing.lost(), 2);
    assert!(losing.refused() >= AWAY_FOR);
    assert_eq!((network.running_build(), network.snapshot_count()), ("staged".to_owned(), 1));
    network.finish(upload);
}

/// Returns the effect that is about to be sent, if the event announces one.
fn intent(event: &Event) -> Option<Step> {
    match event {
        Event::Intent { step, .. } => Some(*step),
        _ => None,
    }
}

#[test]
fn network_that_drops_connections_is_waited_for() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let wire = Wire::to(&network.url);
    let mut cutting = After(|event: &Event| {
        if intent(event).is_some() {
            wire.cut_for(2);
        }
    });
    let report = network.drive_at(&wire.url, &plan, &staged, &mut cutting, Duration::from_secs(60)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    assert_eq!(wire.dropped(), 2 * EFFECTS.len() as u32);
    assert_eq!((network.running_build(), network.snapshot_count()), ("staged".to_owned(), 1));
    network.finish(upload);
}

/// How long the network is unreachable each time.
const MINUTE: Duration = Duration::from_secs(60);

/// A clock on which the pauses of a driver take no time while its network is unreachable; after a minute of pauses the
/// network is reachable again.
struct AwayForMinutes {
    wire: Wire,
    /// The rest of the current minute, and the sum of all pauses that took no time.
    left_and_skipped: Mutex<(Duration, Duration)>,
}

impl AwayForMinutes {
    /// Begins a minute without the network, and returns `true`, unless the last minute is not over yet.
    fn begin(&self) -> bool {
        let is_new = !self.wire.is_cut();
        if is_new {
            self.left_and_skipped.lock().unwrap().0 = MINUTE;
            self.wire.cut_for(u32::MAX);
        }
        is_new
    }

    fn skipped(&self) -> Duration {
        self.left_and_skipped.lock().unwrap().1
    }
}

impl Clock for AwayForMinutes {
    fn now(&self) -> Duration {
        system_clock().now() + self.skipped()
    }

    fn pause(&self, pause: Duration) -> BoxFuture<'static, ()> {
        if !self.wire.is_cut() {
            return system_clock().pause(pause);
        }
        let (left, skipped) = &mut *self.left_and_skipped.lock().unwrap();
        *left = left.saturating_sub(pause);
        *skipped += pause;
        if left.is_zero() {
            self.wire.reconnect();
        }
        ready(()).boxed()
    }
}

#[test]
fn network_away_for_a_minute_at_each_step_is_waited_for() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = Plan { time_limit: 600, ..network.plan(Build::Staged, &staged) };
    let wire = Wire::to(&network.url);
    let away = Arc::new(AwayForMinutes { wire: wire.clone(), left_and_skipped: Mutex::default() });
    let clock: Arc<dyn Clock> = away.clone();
    // The network goes away before each effect is sent, and each time the migration is seen in another phase.
    let mut times = 0;
    let mut leaving = After(|event: &Event| {
        if intent(event).is_some() || matches!(event, Event::Seen { .. }) {
            times += u32::from(away.begin());
        }
    });
    let report =
        network.drive_by(&clock, &wire.url, &plan, &staged, &mut leaving, Duration::from_secs(300)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    assert!(times >= EFFECTS.len() as u32, "{times}");
    assert!(away.skipped() >= MINUTE * times, "{times} times, {:?}", away.skipped());
    let sent: Vec<Step> = network.events().iter().filter_map(intent).collect();
    assert_eq!(sent, EFFECTS, "every effect is one request");
    assert_eq!((network.running_build(), network.snapshot_count()), ("staged".to_owned(), 1));
    network.finish(upload);
}

#[test]
fn network_that_stays_away_leaves_an_upgrade_to_resume() {
    let network = Network::with(Build::Legacy);
    let upload = network.upload_in_flight("a.jpg");
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let wire = Wire::to(&network.url);
    for step in EFFECTS {
        let mut cutting = After(|event: &Event| {
            if intent(event) == Some(step) {
                wire.cut_for(u32::MAX);
            }
        });
        let error = network
            .drive_at(&wire.url, &plan, &staged, &mut cutting, Duration::from_secs(1))
            .unwrap_err()
            .to_string();
        assert!(error.contains("resume with --resume"), "{step:?}: {error}");
        wire.reconnect();
    }
    let report = network.drive_at(&wire.url, &plan, &staged, &mut Silent, Duration::from_secs(60)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    let sent: Vec<Step> = network.events().iter().filter_map(intent).collect();
    assert_eq!(sent, EFFECTS, "every effect is one request");
    assert_eq!((network.running_build(), network.snapshot_count()), ("staged".to_owned(), 1));
    network.finish(upload);
}

#[test]
fn network_away_before_the_begin_leaves_nothing_to_resume() {
    let network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let wire = Wire::to(&network.url);
    wire.cut_for(u32::MAX);
    let error = network
        .drive_at(&wire.url, &plan, &staged, &mut Silent, Duration::from_secs(1))
        .unwrap_err()
        .to_string();
    assert!(error.contains("repeat the command") && !error.contains("--resume"), "{error}");
    assert!(!network.journal().exists());
}

#[test]
fn a_lagging_node_is_asked_again() {
    let network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    let plan = network.plan(Build::Staged, &staged);
    let lagging = FaultyProxy::lagging_by(&network.url, 2);
    let report =
        network.drive_at(&lagging.url, &plan, &staged, &mut Silent, Duration::from_secs(60)).unwrap();
    assert_eq!(report.ending, Ending::Upgraded { quarantined: 0 });
    assert_eq!((lagging.is_lagging(), network.running_build().as_str()), (false, "staged"));
}
