//! Published prices of messages and memory.

use serde::{Deserialize, Serialize};

/// Source of the prices.
pub const PRICE_SOURCE: &str = "\"Cycles costs\" of the Internet Computer's documentation: 5,000,000 cycles a message and 1 cycle an instruction on \
     a subnet of 13 nodes, in proportion on others";

/// Number of nodes of the subnets for which the prices below are published.
const REFERENCE_NODES: u128 = 13;
const CYCLES_PER_MESSAGE: u128 = 5_000_000;
const CYCLES_PER_INSTRUCTION: u128 = 1;
/// Cycles for a GiB of memory per second, on the reference subnet like the other prices.
const CYCLES_PER_GIB_SECOND: u128 = 127_000;
/// A year of 365.25 days.
const SECONDS_PER_YEAR: u128 = 31_557_600;

/// Cycles on a subnet of 13 nodes, and on one of 34.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cycles {
    /// On 13 nodes.
    pub nodes_13: u128,
    /// On 34 nodes.
    pub nodes_34: u128,
}

impl Cycles {
    fn of(on_reference: u128) -> Cycles {
        Cycles { nodes_13: on_reference, nodes_34: on_reference * 34 / REFERENCE_NODES }
    }

    /// Returns the price of messages.
    pub fn of_messages(messages: u64, instructions: u64) -> Cycles {
        Cycles::of(
            u128::from(messages) * CYCLES_PER_MESSAGE + u128::from(instructions) * CYCLES_PER_INSTRUCTION,
        )
    }

    /// Returns the price of memory for a year.
    pub fn of_memory(bytes: u64) -> Cycles {
        Cycles::of((u128::from(bytes) * CYCLES_PER_GIB_SECOND * SECONDS_PER_YEAR) >> 30)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prices_are_in_proportion_to_the_nodes() {
        let Cycles { nodes_13, nodes_34 } = Cycles::of_messages(2, 3_000_000);
        assert_eq!((nodes_13, nodes_34), (13_000_000, 34_000_000));
        // An empty legacy canister has 320 MiB, which cost about 1.25 T cycles a year.
        assert_eq!(Cycles::of_memory(335_609_856).nodes_13 / 10_000_000_000, 125);
    }
}
