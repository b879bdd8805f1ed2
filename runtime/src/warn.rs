//! Warnings: what the user should know of something that works all the same.

use std::sync::OnceLock;

static HANDLER: OnceLock<fn(&str)> = OnceLock::new();

/// Has warnings given to a function; the first one stays. Without one they are lines of stderr.
pub fn set_handler(handler: fn(&str)) {
    // Whoever came first stays: a library does not take a program's warnings from it.
    let _ = HANDLER.set(handler);
}

/// Warns.
pub(crate) fn warn(text: &str) {
    match HANDLER.get() {
        Some(handler) => handler(text),
        None => eprintln!("warning: {text}"),
    }
}
