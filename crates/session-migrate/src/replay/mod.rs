//! Replays a trace on a separate canister, at the trace's times, with interruptions if requested. An answer that
//! differs from the recorded one is no error here: [`crate::compare`] decides which differences are allowed.

mod canister;
mod error;
mod interrupt;
mod player;
mod state;

pub use canister::{Builds, ReplayCanister};
pub use error::ReplayError;
pub use interrupt::{Interruption, When};
pub use player::{Playback, Played, Player, play};
pub use state::{State, final_state};
