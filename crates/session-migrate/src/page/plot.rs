//! A plot of pairs: for each thing that was measured, side A above side B, on one axis for all.
//!
//! Only the bars are drawn; names and numbers are text of the page, so that the plot is as wide as the screen, and its
//! letters are not.

use maud::{Markup, html};

/// The inner width of a drawing; it is stretched to what there is.
const WIDTH: f64 = 1_000.0;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, in equal steps: lengths can be compared.
    Linear,
    /// In powers of ten: what differs by much fits on one axis.
    Logarithmic,
}

/// What is drawn in one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pair {
    /// What was measured.
    pub name: String,
    /// Behind the name, smaller.
    pub detail: String,
    /// Side A: the length of its bar, and how far a thin line goes beyond it.
    pub a: (u64, u64),
    /// Side B.
    pub b: (u64, u64),
    /// The numbers beside the bars.
    pub values: String,
}

/// An axis on which everything fits.
struct Axis {
    scale: Scale,
    lowest: f64,
    highest: f64,
}

impl Axis {
    fn of(pairs: &[Pair], scale: Scale) -> Axis {
        let values = || pairs.iter().flat_map(|pair| [pair.a.0, pair.a.1, pair.b.0, pair.b.1]);
        let highest = values().max().unwrap_or(0).max(1) as f64;
        match scale {
            Scale::Linear => Axis { scale, lowest: 0.0, highest },
            Scale::Logarithmic => {
                let lowest = values().filter(|value| *value > 0).min().unwrap_or(1) as f64;
                let (lowest, highest) = (lowest.log10().floor(), highest.log10().ceil());
                Axis { scale, lowest, highest: highest.max(lowest + 1.0) }
            }
        }
    }

    /// Where a value is, from 0 to 1.
    fn place(&self, value: u64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value as f64,
            Scale::Logarithmic if value == 0 => return 0.0,
            Scale::Logarithmic => (value as f64).log10(),
        };
        ((value - self.lowest) / (self.highest - self.lowest)).clamp(0.0, 1.0)
    }

    /// Where lines are drawn, and the values there.
    fn marks(&self) -> Vec<(f64, u64)> {
        let values: Vec<u64> = match self.scale {
            Scale::Linear => {
                (0..=4).map(|quarter| (self.highest * f64::from(quarter) / 4.0) as u64).collect()
            }
            Scale::Logarithmic => {
                (self.lowest as u32..=self.highest as u32).map(|power| 10_u64.saturating_pow(power)).collect()
            }
        };
        values.into_iter().map(|value| (self.place(value), value)).collect()
    }
}

/// Draws pairs in their order. `unit` writes the values of the axis.
pub fn plot(caption: &str, pairs: &[Pair], scale: Scale, unit: fn(u64) -> String) -> Markup {
    let axis = Axis::of(pairs, scale);
    let marks = axis.marks();
    html! {
        figure {
            figcaption.faint { (caption) }
            @for pair in pairs {
                .row {
                    div { (pair.name) " " span.faint { (pair.detail) } }
                    .plot { (bars(pair, &axis, &marks)) }
                    .values { (pair.values) }
                }
            }
            .row {
                div {}
                .plot {
                    .scale {
                        @for (place, value) in &marks {
                            span style=(format!("left:{:.2}%", place * 100.0)) { (unit(*value)) }
                        }
                    }
                }
                div {}
            }
        }
    }
}

fn bars(pair: &Pair, axis: &Axis, marks: &[(f64, u64)]) -> Markup {
    let at = |place: f64| format!("{:.1}", place * WIDTH);
    let sides = [("a", pair.a, 3.0), ("b", pair.b, 16.0)];
    html! {
        svg viewBox="0 0 1000 30" preserveAspectRatio="none" role="img" aria-label=(format!("{}: {}", pair.name, pair.values)) {
            @for (place, _) in marks {
                line.grid x1=(at(*place)) x2=(at(*place)) y1="0" y2="30" vector-effect="non-scaling-stroke" {}
            }
            @for (side, (value, reach), y) in sides {
                rect class=(format!("bar-{side}")) x="0" y=(y) height="11" width=(at(axis.place(value))) {}
                @if reach > value {
                    line class=(format!("reach-{side}")) x1=(at(axis.place(value))) x2=(at(axis.place(reach)))
                        y1=(y + 5.5) y2=(y + 5.5) vector-effect="non-scaling-stroke" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(a: u64, b: u64) -> Pair {
        Pair { name: "<x>".into(), detail: String::new(), a: (a, a), b: (b, b * 2), values: "v & w".into() }
    }

    fn unit(value: u64) -> String {
        format!("{value} u")
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let drawn = plot("c", &[pair(100, 25)], Scale::Linear, unit).into_string();
        for part in [r#"width="1000.0""#, r#"width="250.0""#, r#"x1="250.0" x2="500.0""#, "50 u"] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let drawn = plot("c", &[pair(1_000, 10)], Scale::Logarithmic, unit).into_string();
        for part in [r#"width="1000.0""#, r#"width="0.0""#, "100 u"] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }

    #[test]
    fn what_was_not_measured_has_no_bar() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            assert!(plot("c", &[pair(0, 0)], scale, unit).into_string().contains(r#"width="0.0""#));
            assert!(plot("c", &[], scale, unit).into_string().contains("<figure>"));
        }
    }

    #[test]
    fn names_are_text() {
        let drawn = plot("c", &[pair(1, 1)], Scale::Linear, unit).into_string();
        assert!(
            drawn.contains("&lt;x&gt;") && drawn.contains("v &amp; w") && !drawn.contains("<x>"),
            "{drawn}"
        );
    }
}
