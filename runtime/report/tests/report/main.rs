//! Pages: what they say, and what a browser makes of them.

mod browser;
mod chromium;
mod content;
mod made;
