//! A test that the command-line reference, docs/cli.md, is what the help of the program gives. It can also write it.

use super::Cli;
use clap::CommandFactory;
use clap_markdown::{MarkdownOptions, help_markdown_command_custom};

const INTRODUCTION: &str = "\
<!-- Written by `UPDATE_GOLDEN=1 cargo test -p session-migrate --bin session-migrate`. -->

# Command line

`cargo migrate COMMAND` runs `session-migrate COMMAND` from the source tree, and `cargo rehearse` runs
`session-migrate rehearse`.

";

#[test]
fn the_reference_of_the_command_line_is_its_help() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let options =
        MarkdownOptions::new().show_footer(false).show_table_of_contents(false).title(String::new());
    let help = help_markdown_command_custom(&Cli::command(), &options);
    // Before the commands, clap-markdown writes a title of its own, which is dropped.
    let commands = help.find("## `").map_or(help.as_str(), |start| &help[start..]);
    let expected = format!("{INTRODUCTION}{}\n", commands.trim());
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(path, &expected).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(written == expected, "docs/cli.md is out of date: UPDATE_GOLDEN=1 writes it again");
}
