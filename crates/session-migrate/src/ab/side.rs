//! Replays a trace on both builds at once, one thread each.

use crate::ab::AbError;
use crate::ab::report::Sides;
use crate::costs::MessageCost;
use crate::replay::{self, Builds, Played, ReplayCanister, State};
use crate::trace::Trace;

/// What a replay on one build gave. Not `page::Side`, which only says A or B.
pub(super) struct Side {
    /// The outcome of each event of the trace.
    pub events: Vec<Played>,
    pub state: State,
    /// Costs of the canister's messages; absent if the server does not report costs.
    pub costs: Option<Vec<MessageCost>>,
}

pub(super) fn play_both(trace: &Trace, a: &str, b: &str, builds: &Builds) -> Result<Sides<Side>, AbError> {
    std::thread::scope(|scope| {
        let [a, b] = [a, b].map(|build| scope.spawn(move || play(trace, build, builds.clone())));
        let join = |side: std::thread::ScopedJoinHandle<'_, Result<Side, AbError>>| {
            side.join().unwrap_or_else(|panic| Err(AbError::Panicked(crate::panic_text(&*panic))))
        };
        // Both threads are joined before an error of either is returned: if a thread has panicked and is not joined,
        // `scope` panics.
        let (a, b) = (join(a), join(b));
        Ok(Sides { a: a?, b: b? })
    })
}

fn play(trace: &Trace, build: &str, mut builds: Builds) -> Result<Side, AbError> {
    let module = builds.get(build)?;
    let mut subject = ReplayCanister::install(build, &module, &trace.header)?;
    let mut playing = replay::play(trace, &mut subject, &mut builds, &[])?;
    let costs = subject.costs().map(<[MessageCost]>::to_vec);
    // A trace may end with a stopped canister, and reading the final state needs calls.
    subject.start()?;
    let state = replay::final_state(trace, &subject, &mut playing.codec)
        .map_err(|detail| AbError::State { build: build.into(), detail })?;
    Ok(Side { events: playing.events, state, costs })
}
