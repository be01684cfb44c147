//! Reports as self-contained HTML pages with plots: no script, no font, no network.
//!
//! Owns: the page layout, its style, and bar plots. Does not own: the content of a page, which is in the folder of its
//! report. Boundary: titles and the texts of plots are passed as plain text, and escaped here.

mod numbers;
mod plot;

pub use numbers::{bytes, instructions, percent};
pub use plot::{Bar, Row, Scale, Side, plot};

use maud::{DOCTYPE, Markup, PreEscaped, html};

const STYLE: &str = include_str!("style.css");

/// Returns an HTML page with this title and body.
pub fn page(title: &str, body: &Markup) -> String {
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Whatever a report contains, the page loads nothing.
                meta http-equiv="content-security-policy" content="default-src 'none'; style-src 'unsafe-inline'";
                title { (title) }
                style { (PreEscaped(STYLE)) }
            }
            body { (body) }
        }
    };
    page.into_string()
}
