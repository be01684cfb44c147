//! The plot of `docs/costs.md`: the cost per MiB of uploads, by their number of chunks, and the cost of calls, by
//! number of live sessions.

use plotters::coord::Shift;
use plotters::prelude::*;
use session_migrate::build::Build;

use super::Figures;
use super::targets::{LIMIT_PER_MIB, instructions_per_mib};

/// Calls shown in the right half.
const CALLS: [&str; 3] = ["begin", "finish", "status"];

type PlotError = Box<dyn std::error::Error>;

/// Returns the picture as SVG.
pub fn plot(figures: &Figures) -> Result<String, PlotError> {
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (1000, 400)).into_drawing_area();
        root.fill(&WHITE)?;
        let (left, right) = root.split_horizontally(500);
        draw_uploads(&left, figures)?;
        draw_calls(&right, figures)?;
        root.present()?;
    }
    Ok(svg)
}

/// Returns the color of a build. Most color-blind readers can distinguish the three colors.
fn colour(build: Build) -> RGBColor {
    match build {
        Build::Legacy => RGBColor(0xd5, 0x5e, 0x00),
        Build::Staged => RGBColor(0xcc, 0x79, 0xa7),
        Build::Direct => RGBColor(0x00, 0x72, 0xb2),
    }
}

/// Number of chunks or sessions, and millions of instructions.
type Points = Vec<(f64, f64)>;

fn draw_uploads<B: DrawingBackend>(area: &DrawingArea<B, Shift>, figures: &Figures) -> Result<(), PlotError>
where
    B::ErrorType: 'static,
{
    let points = |build| -> Points {
        [1u32, 10, 100, 1000]
            .into_iter()
            .filter_map(|chunks| {
                let bench = figures.bench(build, &format!("upload_{chunks}"))?;
                Some((f64::from(chunks), instructions_per_mib(bench)?))
            })
            .collect()
    };
    let lines: Vec<(Build, Points)> = Build::ALL.into_iter().map(|build| (build, points(build))).collect();
    let mut chart = ChartBuilder::on(area)
        .caption("Upload, begin to finish: M instructions per MiB", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(
            (1f64..1000f64).log_scale(),
            0f64..top_of_axis(lines.iter().map(|(_, points)| points)),
        )?;
    chart
        .configure_mesh()
        .x_desc("chunks of 1.8 MB")
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (build, points) in lines {
        let style = colour(build).stroke_width(2);
        chart
            .draw_series(LineSeries::new(points, style).point_size(3))?
            .label(build.name())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], style));
    }
    let limit = BLACK.stroke_width(1);
    chart
        .draw_series(LineSeries::new([(1.0, LIMIT_PER_MIB), (1000.0, LIMIT_PER_MIB)], limit))?
        .label("target, direct")
        .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], limit));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerLeft)
        .border_style(BLACK)
        .label_font(("sans-serif", 14))
        .draw()?;
    Ok(())
}

fn draw_calls<B: DrawingBackend>(area: &DrawingArea<B, Shift>, figures: &Figures) -> Result<(), PlotError>
where
    B::ErrorType: 'static,
{
    let points = |build, step: &str| -> Points {
        [10u32, 1_000, 100_000]
            .into_iter()
            .filter_map(|count| {
                let cost = figures.bench(build, &format!("calls_{count}"))?.step(step)?;
                Some((f64::from(count), cost.instructions as f64 / 1e6))
            })
            .collect()
    };
    let builds = [Build::Legacy, Build::Direct];
    let lines: Vec<_> =
        builds.into_iter().flat_map(|build| CALLS.map(|call| (build, call, points(build, call)))).collect();
    let mut chart = ChartBuilder::on(area)
        .caption("Calls, by number of live sessions: M instructions", ("sans-serif", 20))
        .margin(10)
        .x_label_area_size(36)
        .y_label_area_size(48)
        .build_cartesian_2d(
            (10f64..100_000f64).log_scale(),
            0f64..top_of_axis(lines.iter().map(|(_, _, points)| points)),
        )?;
    chart
        .configure_mesh()
        .x_desc("live sessions, and as many memories")
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;
    for (build, call, points) in lines {
        let style = colour(build).stroke_width(if call == "finish" { 3 } else { 1 });
        let last = points.last().copied();
        chart.draw_series(LineSeries::new(points, style).point_size(3))?;
        if let Some((x, y)) = last {
            let place = EmptyElement::at((x, y))
                + Text::new(format!("{build} {call}"), (-100, -14), ("sans-serif", 14));
            chart.draw_series([place])?;
        }
    }
    Ok(())
}

/// Returns the end of the axis: 15 % above the highest value, or 1 without values.
fn top_of_axis<'p>(series: impl Iterator<Item = &'p Points>) -> f64 {
    let highest = series.flatten().map(|(_, value)| *value).fold(0.0, f64::max);
    if highest > 0.0 { highest * 1.15 } else { 1.0 }
}
