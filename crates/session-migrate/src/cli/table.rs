//! Tables on the terminal.

use comfy_table::{CellAlignment, Row, Table, TableComponent, presets};

/// Creates a table. `number_columns` are the indices of the columns that are right-aligned, counted from 0.
pub(super) fn table(
    header: impl Into<Row>,
    rows: impl IntoIterator<Item = impl Into<Row>>,
    number_columns: impl IntoIterator<Item = usize>,
) -> Table {
    let mut table = Table::new();
    table
        .load_preset(presets::UTF8_HORIZONTAL_ONLY)
        .remove_style(TableComponent::HorizontalLines)
        .remove_style(TableComponent::MiddleIntersections)
        .set_header(header)
        .add_rows(rows);
    for index in number_columns {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints a table, unless it has no rows.
pub(super) fn print_rows<const N: usize>(
    header: [&str; N],
    rows: Vec<[String; N]>,
    number_columns: impl IntoIterator<Item = usize>,
) {
    if !rows.is_empty() {
        say!("{}", table(header, rows, number_columns));
    }
}

/// Escapes control characters in a file name, such as line breaks, which would break the row of a table.
pub(super) fn on_one_line(name: &str) -> String {
    let mut line = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_takes_one_line() {
        assert_eq!(on_one_line("a\nb\u{1b}[1m é.txt"), "a\\nb\\u{1b}[1m é.txt");
    }
}
