//! The Prometheus text format.

/// Writes all samples under one name, each with its labels. Writes nothing if there are no samples.
pub fn write_metric<L: AsRef<str>, V: ToString>(
    text: &mut String,
    kind: &str,
    name: &str,
    help: &str,
    samples: impl IntoIterator<Item = (L, V)>,
) {
    let mut samples = samples.into_iter().peekable();
    if samples.peek().is_some() {
        for part in ["# HELP ", name, " ", help, "\n# TYPE ", name, " ", kind, "\n"] {
            text.push_str(part);
        }
    }
    for (labels, value) in samples {
        for part in [name, labels.as_ref(), " ", &value.to_string(), "\n"] {
            text.push_str(part);
        }
    }
}
