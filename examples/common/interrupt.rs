//! Ctrl-C, and the signals that end programs: the first asks for an end in good order.
//!
//! Does not know: what is ended.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use burn_meta::CancelToken;

use crate::arguments::note;

/// A second signal within this time is the same one: some are sent to a program and to its group.
const TOGETHER: Duration = Duration::from_secs(1);

/// The token that the first Ctrl-C cancels; one that comes later ends the program.
pub fn stop() -> &'static CancelToken {
    static TOKEN: OnceLock<CancelToken> = OnceLock::new();
    TOKEN.get_or_init(|| {
        let token = CancelToken::new();
        let asked = token.clone();
        let mut first: Option<Instant> = None;
        let handler = move || match first {
            None => {
                first = Some(Instant::now());
                asked.cancel();
                note("stopping in good order; Ctrl-C again stops at once, without a checkpoint");
            }
            Some(first) if first.elapsed() < TOGETHER => {}
            Some(_) => std::process::exit(130),
        };
        // A program that has a handler already is not hindered.
        let _ = ctrlc::set_handler(handler);
        token
    })
}
