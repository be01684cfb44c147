//! Replays a trace on a separate canister, at the trace's times, with interruptions on request.
//!
//! Owns: the canister that is replayed on ([`ReplayCanister`]), the replay ([`play`]), interruptions, the final
//! state. Does not own: the meaning of a difference ([`crate::compare`]). Boundary: an answer that differs
//! from the recorded one is never an error here.

mod error;
mod interrupt;
mod player;
mod state;
mod subject;

pub use error::ReplayError;
pub use interrupt::{Interruption, When};
pub use player::{Played, Player, Playing, play};
pub use state::{State, final_state};
pub use subject::{Builds, ReplayCanister};
