//! `upgrade` whose process is killed, and resumed.

use session_migrate::build::Build;
use session_migrate::upgrade::{Ending, Event, Line, Listener, OnFailure, Plan, Step};

use super::driving::{forget_chunks, is_receipt, meanwhile};
use super::network::{Network, installed};

/// Damages the canister, given a session, as soon as the module is installed.
type Damage<'a> = &'a (dyn Fn(&Network, u64) + Sync);

/// Ends the driver at one of its moments. There is a moment after each line of the journal, and one before each
/// receipt, when the effect is executed but not recorded.
struct Killer<'a> {
    network: &'a Network,
    session: u64,
    damage: Damage<'a>,
    /// The receipt from which moments count; `None` if all moments count.
    from: Option<Step>,
    /// Number of moments before the driver is ended; `None` if it is never ended.
    left: Option<u32>,
    /// The event at which the driver was ended.
    at: Option<Event>,
}

impl Killer<'_> {
    /// Counts a moment, and ends the driver if none is left.
    fn moment(&mut self, event: &Event) -> std::io::Result<()> {
        let Some(left) = &mut self.left else { return Ok(()) };
        if self.from.is_some_and(|from| !is_receipt(event, from)) {
            return Ok(());
        }
        self.from = None;
        if *left > 0 {
            *left -= 1;
            return Ok(());
        }
        self.at.get_or_insert_with(|| event.clone());
        Err(std::io::ErrorKind::Interrupted.into())
    }
}

impl Listener for Killer<'_> {
    fn before(&mut self, event: &Event) -> std::io::Result<()> {
        if matches!(event, Event::Receipt { .. }) { self.moment(event) } else { Ok(()) }
    }

    fn after(&mut self, line: &Line) -> std::io::Result<()> {
        if is_receipt(&line.event, Step::Install) {
            let (network, session, damage) = (self.network, self.session, self.damage);
            meanwhile(|| damage(network, session));
        }
        self.moment(&line.event)
    }
}

/// An upgrade that is killed at each moment from a receipt on, and resumed.
struct Case<'a> {
    from: Option<Step>,
    change_plan: fn(Plan) -> Plan,
    prepare: fn(&Network),
    damage: Damage<'a>,
    is_expected: fn(&Ending) -> bool,
    build_at_end: &'static str,
    /// Number of requests that the upgrade takes, which must not grow when it is killed.
    effects: usize,
    /// A lower bound of the number of moments.
    min_moments: u32,
}

/// Runs the upgrade once for each moment, on a new canister each time, until no moment is left.
fn kill_at_every_moment(case: &Case<'_>) {
    let mut network = Network::with(Build::Legacy);
    let staged = network.module(Build::Staged);
    for moment in 0.. {
        network.canister = installed(&network.pic, network.owner, Build::Legacy);
        let network = &network;
        let upload = network.upload_in_flight(&format!("{moment}.jpg"));
        (case.prepare)(network);
        let plan = (case.change_plan)(network.plan(Build::Staged, &staged));
        let session = upload.session().unwrap();
        let killer = |left| Killer { network, session, damage: case.damage, from: case.from, left, at: None };
        let mut first = killer(Some(moment));
        let (ended, at) = (network.drive(&plan, &staged, &mut first), first.at);
        let last = match (ended, at) {
            (Ok(_), None) => {
                assert!(moment > case.min_moments, "the upgrade has only {moment} moments");
                return;
            }
            // Nothing is left to resume.
            (Err(_), Some(Event::Ended { .. })) => None,
            (Err(_), Some(_)) => Some(network.drive(&plan, &staged, &mut killer(None)).unwrap()),
            (result, at) => panic!("{moment}: {result:?} at {at:?}"),
        };
        if let Some(report) = last {
            assert!((case.is_expected)(&report.ending), "{moment}: {report:?}");
        }
        assert_eq!(
            (network.running_build().as_str(), network.snapshot_count()),
            (case.build_at_end, 1),
            "{moment}"
        );
        let intents = network.events().into_iter().filter(|event| matches!(event, Event::Intent { .. }));
        assert_eq!(intents.count(), case.effects, "{moment}: each effect is one request");
        network.finish(upload);
    }
}

/// An upgrade that succeeds, killed at any moment.
const FORWARD: Case<'static> = Case {
    from: None,
    change_plan: |plan| Plan { stop: true, ..plan },
    prepare: |_| {},
    damage: &|_, _| {},
    is_expected: |ending| *ending == Ending::Upgraded { quarantined: 0 },
    build_at_end: "staged",
    effects: 5,
    min_moments: 15,
};

#[test]
fn driver_killed_at_any_moment_is_resumed_to_the_same_end() {
    kill_at_every_moment(&FORWARD);
}

#[test]
fn a_driver_killed_in_a_rollback_resumes_to_the_same_end() {
    kill_at_every_moment(&Case {
        from: Some(Step::Install),
        change_plan: |plan| Plan { max_quarantined: Some(0), ..plan },
        prepare: Network::damage_a_session,
        is_expected: |ending| matches!(ending, Ending::RolledBack { .. }),
        build_at_end: "legacy",
        effects: 4,
        min_moments: 8,
        ..FORWARD
    });
}

#[test]
fn driver_killed_around_a_restore_is_resumed_to_the_same_end() {
    kill_at_every_moment(&Case {
        from: Some(Step::Rollback),
        change_plan: |plan| Plan { on_failure: OnFailure::Restore, ..plan },
        damage: &forget_chunks,
        is_expected: |ending| matches!(ending, Ending::Restored { lost: Some(_), .. }),
        build_at_end: "legacy",
        effects: 5,
        min_moments: 5,
        ..FORWARD
    });
}
