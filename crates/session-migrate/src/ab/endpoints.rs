//! Costs of messages: by endpoint, and in total.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::more_percent;
use super::report::{Endpoint, EndpointCost, Sides, Totals};
use crate::costs::MessageCost;

/// Bytes of a wasm page.
const PAGE_BYTES: u64 = 64 * 1024;
/// Prefix of the methods by which the CDK's timers call their own canister.
const INTERNAL_PREFIX: &str = "<ic-cdk internal>";

const MIB: u64 = 1 << 20;

/// Returns each endpoint that executed instructions on at least one side, sorted by name, with its costs on both sides.
pub(super) fn endpoints(a: &[MessageCost], b: &[MessageCost]) -> Vec<Endpoint> {
    let (a, b) = (by_endpoint(a), by_endpoint(b));
    let names: BTreeSet<_> = a.keys().chain(b.keys()).cloned().collect();
    let cost_on = |side: &ByEndpoint<'_>, name: &NameAndKind| {
        side.get(name).map(|messages| summarize(messages)).unwrap_or_default()
    };
    names
        .into_iter()
        .map(|name| {
            let (a, b) = (cost_on(&a, &name), cost_on(&b, &name));
            let (name, kind) = name;
            Endpoint { name, kind, a, b, more_percent: more_percent(a.total, b.total) }
        })
        .collect()
}

/// [`Endpoint::name`] and [`Endpoint::kind`].
type NameAndKind = (String, String);

type ByEndpoint<'c> = BTreeMap<NameAndKind, Vec<&'c MessageCost>>;

fn by_endpoint(costs: &[MessageCost]) -> ByEndpoint<'_> {
    let mut by_endpoint = ByEndpoint::new();
    for cost in costs.iter().filter(|cost| cost.instructions > 0) {
        by_endpoint.entry(endpoint_of(cost)).or_default().push(cost);
    }
    by_endpoint
}

fn endpoint_of(cost: &MessageCost) -> NameAndKind {
    match &*cost.entry {
        // The installation at the beginning is not among the costs, so every install here is an upgrade.
        _ if cost.is_install() => ("upgrade".into(), "upgrade".into()),
        "update" | "query" if !cost.method.starts_with(INTERNAL_PREFIX) => {
            (cost.method.clone(), cost.entry.to_string())
        }
        // Timers, and the messages that they send to the canister itself.
        _ => ("timer".into(), "timer".into()),
    }
}

fn summarize(messages: &[&MessageCost]) -> EndpointCost {
    let mut instructions: Vec<u64> = messages.iter().map(|message| message.instructions).collect();
    instructions.sort_unstable();
    // Nearest-rank percentile.
    let percentile = |percent: usize| {
        let rank = (instructions.len() * percent).div_ceil(100).max(1);
        instructions.get(rank - 1).copied().unwrap_or(0)
    };
    EndpointCost {
        messages: messages.len() as u64,
        median: percentile(50),
        p99: percentile(99),
        total: instructions.iter().sum(),
        stable_bytes_written: messages.iter().map(|message| message.stable_bytes_written).sum(),
    }
}

/// Returns the total costs of each side. Queries do not count. `uploaded`, the payload in bytes, is the divisor of the
/// costs per MiB.
pub(super) fn totals(costs: Sides<&[MessageCost]>, uploaded: u64) -> Sides<Totals> {
    Sides { a: totals_of_side(costs.a, uploaded), b: totals_of_side(costs.b, uploaded) }
}

fn totals_of_side(costs: &[MessageCost], uploaded: u64) -> Totals {
    let without_queries: Vec<&MessageCost> = costs.iter().filter(|cost| cost.entry != "query").collect();
    let instructions = without_queries.iter().map(|cost| cost.instructions).sum();
    let written = without_queries.iter().map(|cost| cost.stable_bytes_written).sum();
    let per_mib = |sum: u64| {
        let scaled = u128::from(sum) * u128::from(MIB) / u128::from(uploaded.max(1));
        (uploaded > 0).then(|| u64::try_from(scaled).unwrap_or(u64::MAX))
    };
    // The sizes of the memories after the last message are those at the end.
    let last = without_queries.last();
    Totals {
        instructions,
        stable_bytes_written: written,
        stable_bytes: last.map_or(0, |cost| cost.stable_memory_pages * PAGE_BYTES),
        heap_bytes: last.map_or(0, |cost| cost.wasm_memory_pages * PAGE_BYTES),
        instructions_per_mib: per_mib(instructions),
        stable_bytes_written_per_mib: per_mib(written),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(entry: &str, method: &str, instructions: u64) -> MessageCost {
        MessageCost {
            entry: entry.to_owned().into(),
            method: method.into(),
            instructions,
            ..MessageCost::default()
        }
    }

    #[test]
    fn endpoints_are_distinguished_and_summed_up() {
        let a: Vec<_> = (1..=200).map(|n| message("update", "put", n)).collect();
        let b = [
            message("update", "put", 40_200),
            message("query", "put", 5),
            message("global_timer", "", 7),
            message("update", "<ic-cdk internal> timer_executor", 8),
        ];
        let found = endpoints(&a, &b);
        let names: Vec<_> = found.iter().map(|e| (e.name.as_str(), e.kind.as_str())).collect();
        assert_eq!(names, [("put", "query"), ("put", "update"), ("timer", "timer")]);
        let put = &found[1];
        assert_eq!((put.a.messages, put.a.median, put.a.p99, put.a.total), (200, 100, 198, 20_100));
        assert_eq!(put.more_percent, 100.0);
        assert_eq!(found[0].more_percent, 10_000.0);
    }

    #[test]
    fn totals_are_also_given_per_uploaded_mib() {
        let costs = [message("update", "put", 3_000), message("query", "get", 1_000)];
        let total = totals_of_side(&costs, 2 * MIB);
        assert_eq!((total.instructions, total.instructions_per_mib), (3_000, Some(1_500)));
        assert_eq!(super::totals_of_side(&costs, 0).instructions_per_mib, None);
    }
}
