//! What the `cost_*` functions of the system API return: the published prices, although nothing is charged
//! here.
//!
//! The figures are taken from the page "Cycle costs" of the Internet Computer's documentation, and from the
//! configuration in the sources of its execution layer. They are prices on a subnet of 13 nodes; prices on other
//! subnets are proportional to their size. There are two exceptions: outcalls have their own formulas in the number of
//! nodes, and a signature has the price of the mainnet subnet that holds the key, whichever subnet requests it.

use candid::{CandidType, Deserialize};

/// Number of nodes of the subnet to which the figures refer.
const REFERENCE_NODES: u128 = 13;
/// Price of creating a canister. All prices in this file are in cycles.
const CREATE_CANISTER: u128 = 500_000_000_000;
/// Price of sending a call, without its bytes.
const CALL: u128 = 260_000;
/// Price of each byte of a call or response.
const CALL_BYTE: u128 = 1_000;
/// Maximum size of a response, bytes, for which a call reserves cycles.
const LARGEST_RESPONSE: u128 = 2 << 20;
/// Price of executing one message, without its instructions.
const EXECUTION: u128 = 5_000_000;
/// Instruction limit of a callback, for which a call reserves cycles: one cycle for each instruction, two with a 64-bit
/// memory.
const LONGEST_CALLBACK: u128 = 40_000_000_000;

/// What the prices depend on: the size of the subnet, and whether everything on it is free.
pub(super) struct Prices {
    pub(super) nodes: u32,
    pub(super) cycles_are_free: bool,
}

/// The argument of `cost_http_request_v2`: the size of an outcall.
#[derive(CandidType, Deserialize)]
pub(super) struct Outcall {
    request_bytes: u64,
    http_roundtrip_time_ms: u64,
    raw_response_bytes: u64,
    transformed_response_bytes: u64,
    transform_instructions: u64,
}

impl Prices {
    /// Scales a price on a subnet of [`REFERENCE_NODES`] to this subnet.
    fn scaled(&self, cycles: u128) -> u128 {
        if self.cycles_are_free { 0 } else { cycles * u128::from(self.nodes) / REFERENCE_NODES }
    }

    /// Returns the price of what costs this many cycles on each node. (To [`Self::scaled`], the cycles are those of all
    /// nodes together.)
    fn per_node(&self, cycles: u128) -> u128 {
        if self.cycles_are_free { 0 } else { cycles * u128::from(self.nodes) }
    }

    pub(super) fn create_canister(&self) -> u128 {
        self.scaled(CREATE_CANISTER)
    }

    /// Returns the price of a call whose method name and argument have this many bytes, with the largest
    /// response and the longest callback.
    pub(super) fn call(&self, bytes: u128, memory64: bool) -> u128 {
        let cycles_per_instruction = if memory64 { 2 } else { 1 };
        self.scaled(CALL)
            + self.scaled(CALL_BYTE * bytes)
            + self.scaled(CALL_BYTE * LARGEST_RESPONSE)
            + self.scaled(EXECUTION + LONGEST_CALLBACK * cycles_per_instruction)
    }

    /// Returns the price of an outcall that is charged for the maximum size of its response.
    pub(super) fn http_request(&self, request_bytes: u64, max_response_bytes: u64) -> u128 {
        let nodes = u128::from(self.nodes);
        let bytes = 400 * u128::from(request_bytes) + 800 * u128::from(max_response_bytes);
        self.per_node(3_000_000 + 60_000 * nodes + bytes)
    }

    /// Returns the price of an outcall that is charged for actual usage.
    pub(super) fn http_request_v2(&self, outcall: &Outcall) -> u128 {
        let nodes = u128::from(self.nodes);
        self.per_node(
            1_000_000
                + 140_000 * nodes
                + 800 * nodes * nodes
                + 50 * (u128::from(outcall.request_bytes) + u128::from(outcall.raw_response_bytes))
                + 300 * u128::from(outcall.http_roundtrip_time_ms)
                + u128::from(outcall.transform_instructions) / REFERENCE_NODES
                + (10 * nodes + 650) * u128::from(outcall.transformed_response_bytes),
        )
    }

    /// Returns the price of a signature or a derived key with one of the mainnet's keys; `None` for a key
    /// that does not exist.
    pub(super) fn signature(&self, key: &[u8]) -> Option<u128> {
        let price = match key {
            b"test_key_1" => 10_000_000_000,
            b"key_1" => 26_153_846_153,
            _ => return None,
        };
        Some(if self.cycles_are_free { 0 } else { price })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const THIRTEEN: Prices = Prices { nodes: 13, cycles_are_free: false };
    const THIRTY_FOUR: Prices = Prices { nodes: 34, cycles_are_free: false };

    /// The published tables have prices for subnets of 13 and of 34 nodes.
    #[test]
    fn prices_are_those_of_the_published_tables() {
        assert_eq!(THIRTEEN.create_canister(), 500_000_000_000);
        assert_eq!(THIRTY_FOUR.create_canister(), 1_307_692_307_692);
        assert_eq!(THIRTEEN.http_request(0, 0), 49_140_000);
        assert_eq!(THIRTY_FOUR.http_request(0, 0), 171_360_000);
        assert_eq!(THIRTEEN.http_request(1, 1) - THIRTEEN.http_request(0, 0), 5_200 + 10_400);
        assert_eq!(THIRTY_FOUR.http_request(1, 1) - THIRTY_FOUR.http_request(0, 0), 13_600 + 27_200);
        assert_eq!(THIRTEEN.call(1, false) - THIRTEEN.call(0, false), 1_000);
        assert_eq!(THIRTY_FOUR.scaled(EXECUTION), 13_076_923);
        let signatures = [b"key_1".as_slice(), b"test_key_1", b"key_2"].map(|key| THIRTEEN.signature(key));
        assert_eq!(signatures, [Some(26_153_846_153), Some(10_000_000_000), None]);
    }

    #[test]
    fn a_call_includes_the_cycles_reserved_for_the_response() {
        let response = 1_000 * (2 << 20) + 5_000_000 + 40_000_000_000;
        assert_eq!(THIRTEEN.call(7, false), 260_000 + 7_000 + response);
        assert_eq!(THIRTEEN.call(7, true) - THIRTEEN.call(7, false), 40_000_000_000);
    }

    #[test]
    fn an_outcall_charged_by_usage_counts_each_part() {
        let outcall = |parts: [u64; 5]| {
            let [
                request_bytes,
                http_roundtrip_time_ms,
                raw_response_bytes,
                transformed_response_bytes,
                transform_instructions,
            ] = parts;
            THIRTEEN.http_request_v2(&Outcall {
                request_bytes,
                http_roundtrip_time_ms,
                raw_response_bytes,
                transformed_response_bytes,
                transform_instructions,
            })
        };
        let base = 13 * (1_000_000 + 140_000 * 13 + 800 * 169);
        assert_eq!(outcall([0; 5]), base);
        assert_eq!(outcall([1, 10, 100, 1_000, 13_000]), base + 13 * (50 + 3_000 + 5_000 + 780_000 + 1_000));
    }

    #[test]
    fn a_free_subnet_charges_nothing() {
        let free = Prices { nodes: 13, cycles_are_free: true };
        let all = [free.create_canister(), free.call(1, true), free.http_request(1, 1)];
        assert_eq!(all, [0; 3]);
        assert_eq!((free.signature(b"key_1"), free.signature(b"key_2")), (Some(0), None));
    }
}
