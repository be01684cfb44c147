//! Human-readable numbers.

/// Formats a number of instructions or cycles: `1.32 M`.
pub fn instructions(count: u64) -> String {
    format_scaled(count, 1_000, &["", " k", " M", " B", " T"])
}

/// Formats a number of bytes: `1.72 MiB`.
pub fn bytes(count: u64) -> String {
    format_scaled(count, 1_024, &[" B", " KiB", " MiB", " GiB", " TiB"])
}

/// Formats a change in percent with its sign: `-41.2 %`.
pub fn percent(change: f64) -> String {
    format!("{change:+.1} %")
}

fn format_scaled(count: u64, step: u64, units: &[&str]) -> String {
    let mut value = count as f64;
    let mut unit = 0;
    // A value that would be rounded to `step` is shown as 1.00 of the next unit, if there is one.
    while value >= step as f64 - 0.5 && unit + 1 < units.len() {
        value /= step as f64;
        unit += 1;
    }
    let digits = match value {
        _ if unit == 0 => 0,
        v if v < 9.995 => 2,
        v if v < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.digits$}{}", units.get(unit).unwrap_or(&""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_rounded_and_have_a_unit() {
        let shown = [0, 999, 1_000, 12_345, 999_999, 1_320_000, 84_500_000, u64::MAX].map(instructions);
        assert_eq!(
            shown,
            ["0", "999", "1.00 k", "12.3 k", "1.00 M", "1.32 M", "84.5 M", "18446744 T"].map(String::from)
        );
        let shown = [0, 1_023, 1_024, 1_800_000].map(bytes);
        assert_eq!(shown, ["0 B", "1023 B", "1.00 KiB", "1.72 MiB"].map(String::from));
        assert_eq!((percent(-41.23), percent(5.0)), ("-41.2 %".to_owned(), "+5.0 %".to_owned()));
    }
}
