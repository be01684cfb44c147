//! One trace on two builds: what they answered, what they hold at the end, and what it cost, side by side.
//!
//! Owns: the comparison and its report. Does not own: playing ([`crate::replay`]), differences and rules
//! ([`crate::compare`]).

pub mod report;

pub use report::{Report, Verdict};
