//! The parts of a page, one a file.

pub mod accuracy;
pub mod arena;
pub mod bench;
pub mod block;
pub mod kernels;
pub mod model;
pub mod rewrites;
pub mod roofline;
pub mod timeline;

use maud::{Markup, html};

/// A table that scrolls inside its box where it is wider than the page.
fn table(caption: &str, head: &[(&str, bool)], body: Markup) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr { @for (name, number) in head { th.n[*number] scope="col" { (name) } } }
                }
                tbody { (body) }
            }
        }
    }
}
