//! The cost figures that are judged: of each endpoint, the one by which side B exceeds side A the most, in percent; and
//! three of the whole trace.
//!
//! Side B's figure may exceed side A's by at most the percentage that the rules allow. The rules also contain a
//! tolerance in instructions per message, which is first subtracted from side B's instructions: in small messages, a
//! percentage alone would only reflect what the compiler happens to inline.

use super::report::{Endpoint, EndpointCost, Sides, Totals};

/// A figure on both sides, which may be judged.
pub(super) struct Figure<'r> {
    /// Name in the rules: the endpoint, or `stable_bytes_written`, `stable_memory` or `heap` of the whole trace.
    pub name: &'r str,
    /// Name in reports: for an endpoint, its kind and name.
    pub name_in_reports: String,
    /// Which figure of the endpoint or of the trace this is, such as `instructions, median`.
    pub field: &'static str,
    pub a: u64,
    pub b: u64,
    /// How often the tolerance in instructions applies: for a total, the number of side B's messages; for a median or a
    /// percentile, 1; for a figure in bytes, 0.
    pub messages: u64,
}

impl Figure<'_> {
    pub fn more_percent(&self) -> f64 {
        more_percent(self.a, self.b)
    }

    /// Like [`Figure::more_percent`], after `instructions` per message are subtracted from side B's figure. The
    /// subtraction never makes side B's figure smaller than side A's: it stops there, and does not apply to a figure
    /// that is smaller already.
    fn more_percent_beyond(&self, instructions: u64) -> f64 {
        let tolerated = instructions.saturating_mul(self.messages);
        let least = self.a.min(self.b);
        more_percent(self.a, self.b.saturating_sub(tolerated).max(least))
    }
}

/// Returns the percentage by which `b` exceeds `a`, negative if `b` is smaller; 10,000 if only `a` is zero.
pub(super) fn more_percent(a: u64, b: u64) -> f64 {
    match (a, b) {
        (0, 0) => 0.0,
        (0, _) => 10_000.0,
        _ => (b as f64 / a as f64 - 1.0) * 100.0,
    }
}

/// Returns the worst figure of each endpoint and the three figures of the whole trace. Each figure comes with the
/// percentage that is judged: the result of [`Figure::more_percent_beyond`] for `tolerance`, the tolerance in
/// instructions per message.
pub(super) fn figures<'r>(
    endpoints: &'r [Endpoint],
    totals: &Sides<Totals>,
    tolerance: u64,
) -> impl Iterator<Item = (Figure<'r>, f64)> {
    let with_percent = move |figure: Figure<'r>| {
        let more_percent = figure.more_percent_beyond(tolerance);
        (figure, more_percent)
    };
    let worst_figure = move |endpoint| {
        // `max_by` returns the last of equal figures. In reverse order, that is the total.
        endpoint_figures(endpoint).map(with_percent).rev().max_by(|(_, x), (_, y)| x.total_cmp(y))
    };
    endpoints.iter().filter_map(worst_figure).chain(trace_figures(totals).map(with_percent))
}

/// Returns the figures of an endpoint: its instructions in total, at the median and at the 99th percentile. The
/// endpoints `timer` and `upgrade` combine messages that do different work, so only their total is returned.
fn endpoint_figures(endpoint: &Endpoint) -> impl DoubleEndedIterator<Item = Figure<'_>> {
    type Value = fn(&EndpointCost) -> u64;
    let figures: [(&str, Value, u64); 3] = [
        ("instructions", |cost| cost.total, endpoint.b.messages),
        ("instructions, median", |cost| cost.median, 1),
        ("instructions, p99", |cost| cost.p99, 1),
    ];
    // Only for `upgrade` and `timer`, [`Endpoint::kind`] is the name.
    let has_one_kind = endpoint.name != endpoint.kind;
    figures.into_iter().take(if has_one_kind { 3 } else { 1 }).map(|(field, value, messages)| Figure {
        name: &endpoint.name,
        name_in_reports: format!("{} {}", endpoint.kind, endpoint.name),
        field,
        a: value(&endpoint.a),
        b: value(&endpoint.b),
        messages,
    })
}

fn trace_figures<'r>(totals: &Sides<Totals>) -> impl Iterator<Item = Figure<'r>> + use<'r> {
    type Value = fn(&Totals) -> u64;
    let figures: [(&str, &str, Value); 3] = [
        ("stable_bytes_written", "bytes written to stable memory", |side| side.stable_bytes_written),
        ("stable_memory", "bytes at the end", |side| side.stable_bytes),
        ("heap", "bytes at the end", |side| side.heap_bytes),
    ];
    let Sides { a, b } = *totals;
    figures.into_iter().map(move |(name, field, value)| Figure {
        name,
        name_in_reports: name.replace('_', " "),
        field,
        a: value(&a),
        b: value(&b),
        messages: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: EndpointCost = EndpointCost {
        messages: 100,
        median: 10_000,
        p99: 20_000,
        total: 1_000_000,
        stable_bytes_written: 0,
    };

    /// The kind is always `timer`, so `timer` is the only name that gives an endpoint of which only the total is
    /// judged.
    fn endpoint(name: &str, b: EndpointCost) -> Endpoint {
        let more_percent = more_percent(A.total, b.total);
        Endpoint { name: name.into(), kind: "timer".into(), a: A, b, more_percent }
    }

    /// Returns the field and the judged percentage of the worst figure of an endpoint with side A's costs [`A`].
    fn judged(name: &str, b: EndpointCost, tolerance: u64) -> (&'static str, f64) {
        let endpoints = [endpoint(name, b)];
        let totals = Sides { a: Totals::default(), b: Totals::default() };
        let (figure, more_percent) = figures(&endpoints, &totals, tolerance).next().unwrap();
        (figure.field, more_percent)
    }

    #[test]
    fn an_endpoint_is_judged_by_its_worst_figure() {
        assert_eq!(judged("put", A, 0), ("instructions", 0.0));
        assert_eq!(judged("put", EndpointCost { total: 1_500_000, ..A }, 0), ("instructions", 50.0));
        let median = EndpointCost { median: 15_000, total: 1_400_000, ..A };
        assert_eq!(judged("put", median, 0), ("instructions, median", 50.0));
        let p99 = EndpointCost { p99: 40_000, ..A };
        assert_eq!(judged("put", p99, 0), ("instructions, p99", 100.0));
        assert_eq!(
            judged("timer", p99, 0),
            ("instructions", 0.0),
            "only the total of the endpoint `timer` is judged"
        );
    }

    #[test]
    fn a_few_instructions_per_message_are_tolerated() {
        let b = EndpointCost { median: 12_500, total: 1_250_000, ..A };
        assert_eq!(judged("put", b, 0), ("instructions", 25.0));
        assert_eq!(judged("put", b, 1_250), ("instructions", 12.5));
        assert_eq!(judged("put", b, 2_500), ("instructions", 0.0));
        let cheaper = EndpointCost { median: 5_000, p99: 10_000, total: 500_000, ..A };
        assert_eq!(judged("put", cheaper, 1_000), ("instructions", -50.0));
    }

    #[test]
    fn figures_of_the_whole_trace_are_judged() {
        let a = Totals { stable_bytes_written: 10, stable_bytes: 20, heap_bytes: 40, ..Totals::default() };
        let b = Totals { stable_bytes_written: 20, stable_bytes: 5, heap_bytes: 50, ..Totals::default() };
        let more: Vec<f64> = figures(&[], &Sides { a, b }, 1_000).map(|(_, more)| more).collect();
        assert_eq!(more, [100.0, -75.0, 25.0]);
        assert_eq!(more_percent(0, 1), 10_000.0);
    }
}
