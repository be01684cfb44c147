//! Bar plots: a row of one or more bars for each measurement, on a common axis.
//!
//! Only the bars are drawn; names and numbers are text of the page, so that the plot is as wide as the screen
//! while the text keeps its size.

use maud::{Markup, html};

/// The width of a drawing in its own units; the drawing is stretched to the available width.
const WIDTH: f64 = 1_000.0;

/// Font size of the page, in pixels: 1 rem.
const REM: f64 = 16.0;

/// Distance from one bar to the next, in pixels of a page with this font size.
const BAR_PITCH: f64 = 15.0;

/// Height of a bar, in the same unit.
const BAR_HEIGHT: f64 = 11.0;

/// How an axis is divided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// From 0, in equal steps: lengths can be compared.
    Linear,
    /// In powers of ten: values of different magnitudes fit on one axis.
    Logarithmic,
}

/// The content of one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// What was measured.
    pub name: String,
    /// Text after the name, smaller.
    pub detail: String,
    /// The bars, from top to bottom.
    pub bars: Vec<Bar>,
    /// The text next to the bars, with their numbers.
    pub values: String,
}

/// One bar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The side, which determines the color.
    pub side: Side,
    /// The value at the end of the bar.
    pub length: u64,
    /// The value at the end of a thin line that begins at the end of the bar; there is no line unless this is greater
    /// than `length`.
    pub reach: u64,
}

/// The side to which a bar belongs; in plots that do not compare two sides, it only selects a color.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The first side.
    A,
    /// The second side.
    B,
}

impl Side {
    fn letter(self) -> char {
        match self {
            Side::A => 'a',
            Side::B => 'b',
        }
    }
}

impl Bar {
    /// Creates a bar without a line.
    pub fn new(side: Side, length: u64) -> Self {
        Bar { side, length, reach: length }
    }
}

/// An axis that has room for all values of a plot.
struct Axis {
    scale: Scale,
    /// The value at the beginning of the axis; if the axis is logarithmic, the exponent of this power of ten.
    lowest: f64,
    /// The value at the end of the axis; if the axis is logarithmic, the exponent of this power of ten.
    highest: f64,
}

impl Axis {
    fn for_rows(rows: &[Row], scale: Scale) -> Axis {
        let bars = || rows.iter().flat_map(|row| &row.bars);
        let values = || bars().flat_map(|bar| [bar.length, bar.reach]);
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

    /// Returns the position of a value on the axis: 0 is the beginning, 1 the end.
    fn position(&self, value: u64) -> f64 {
        let value = match self.scale {
            Scale::Linear => value as f64,
            Scale::Logarithmic if value == 0 => return 0.0,
            Scale::Logarithmic => (value as f64).log10(),
        };
        ((value - self.lowest) / (self.highest - self.lowest)).clamp(0.0, 1.0)
    }

    /// Returns the position and the value of each grid line.
    fn grid_lines(&self) -> Vec<(f64, u64)> {
        let values: Vec<u64> = match self.scale {
            Scale::Linear => {
                (0..=4).map(|quarter| (self.highest * f64::from(quarter) / 4.0) as u64).collect()
            }
            Scale::Logarithmic => {
                (self.lowest as u32..=self.highest as u32).map(|power| 10_u64.saturating_pow(power)).collect()
            }
        };
        values.into_iter().map(|value| (self.position(value), value)).collect()
    }
}

/// Draws rows in order. `format_value` formats the values of the axis.
pub fn plot(caption: &str, rows: &[Row], scale: Scale, format_value: fn(u64) -> String) -> Markup {
    let axis = Axis::for_rows(rows, scale);
    let grid_lines = axis.grid_lines();
    html! {
        figure {
            figcaption.faint { (caption) }
            @for row in rows {
                .row {
                    div { (row.name) " " span.faint { (row.detail) } }
                    .plot { (bars(row, &axis, &grid_lines)) }
                    .values { (row.values) }
                }
            }
            .row {
                div {}
                .plot {
                    .scale {
                        @for (position, value) in &grid_lines {
                            span style=(format!("left:{:.2}%", position * 100.0)) { (format_value(*value)) }
                        }
                    }
                }
                div {}
            }
        }
    }
}

fn bars(row: &Row, axis: &Axis, grid_lines: &[(f64, u64)]) -> Markup {
    let x_of = |value: u64| axis.position(value) * WIDTH;
    let label = format!("{}: {}", row.name, row.values);
    let height = BAR_PITCH * row.bars.len() as f64;
    html! {
        svg viewBox=(format!("0 0 {WIDTH} {height}")) style=(format!("height:{:.2}rem", height / REM))
            preserveAspectRatio="none" role="img" aria-label=(label)
        {
            @for (position, _) in grid_lines {
                @let x = format!("{:.1}", position * WIDTH);
                line.grid x1=(x) x2=(x) y1="0" y2=(height) vector-effect="non-scaling-stroke" {}
            }
            @for (number, bar) in row.bars.iter().enumerate() {
                @let y = BAR_PITCH * number as f64;
                @let [end, reach] = [bar.length, bar.reach].map(|value| format!("{:.1}", x_of(value)));
                rect class=(format!("bar-{}", bar.side.letter()))
                    x="0" y=(y + (BAR_PITCH - BAR_HEIGHT) / 2.0) height=(BAR_HEIGHT) width=(end) {}
                @if bar.reach > bar.length {
                    line class=(format!("reach-{}", bar.side.letter())) x1=(end) x2=(reach)
                        y1=(y + BAR_PITCH / 2.0) y2=(y + BAR_PITCH / 2.0) vector-effect="non-scaling-stroke" {}
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second bar has a line to twice its value.
    fn row(a: u64, b: u64) -> Row {
        let bars = vec![Bar::new(Side::A, a), Bar { side: Side::B, length: b, reach: b * 2 }];
        Row { name: "<x>".into(), detail: String::new(), bars, values: "v & w".into() }
    }

    fn unit(value: u64) -> String {
        format!("{value} u")
    }

    #[test]
    fn bars_are_as_long_as_their_values() {
        let drawn = plot("c", &[row(100, 25)], Scale::Linear, unit).into_string();
        for part in [r#"width="1000.0""#, r#"width="250.0""#, r#"x1="250.0" x2="500.0""#, "50 u"] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
        let drawn = plot("c", &[row(1_000, 10)], Scale::Logarithmic, unit).into_string();
        for part in [r#"width="1000.0""#, r#"width="0.0""#, "100 u"] {
            assert!(drawn.contains(part), "{part}: {drawn}");
        }
    }

    #[test]
    fn a_missing_measurement_has_no_bar() {
        for scale in [Scale::Linear, Scale::Logarithmic] {
            assert!(plot("c", &[row(0, 0)], scale, unit).into_string().contains(r#"width="0.0""#));
            assert!(plot("c", &[], scale, unit).into_string().contains("<figure>"));
        }
    }

    #[test]
    fn names_are_text() {
        let drawn = plot("c", &[row(1, 1)], Scale::Linear, unit).into_string();
        assert!(
            drawn.contains("&lt;x&gt;") && drawn.contains("v &amp; w") && !drawn.contains("<x>"),
            "{drawn}"
        );
    }
}
