//! Differences between the answers or states of two canisters, and the named rules that allow some of them.
//!
//! Owns: finding differences, and the rules file. Does not own: replaying, which produces the two sides.

mod difference;
mod record;
mod rules;

pub use difference::differences_of_texts;
pub use difference::{Difference, differences};
pub use record::{Judgement, Mismatch, with_record};
pub use rules::{CostRule, Rule, RuleError, Rules, Tally};
