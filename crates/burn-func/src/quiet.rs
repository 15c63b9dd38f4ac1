//! Panics that are turned into errors, without a word on standard error.
//!
//! A closure that cannot be traced panics inside Burn, and a kernel that fails panics in its backend. Both are caught and
//! handed back as errors; but the panic hook runs first, and the default one prints a message, with a backtrace perhaps,
//! about a panic that nobody suffers. There is one hook per process, so it cannot be swapped for the time of a call:
//! another thread's panic would go unreported, and two calls would restore each other's hooks. Instead a hook is put
//! around the one that is there, once, and stays: it keeps silent on a thread that is inside [`caught`], and passes every
//! other panic on. A hook that the program installed before still gets those. One that it installs later takes the place
//! of this one, as hooks do, and is then told of caught panics too.
//!
//! Does not know: what may panic.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind, set_hook, take_hook};
use std::sync::Once;

static INSTALLED: Once = Once::new();

thread_local! {
    /// How many calls of [`caught`] this thread is inside.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// Where the last panic inside one was raised.
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The result of `body`, or the message of its panic and where it was raised.
pub(crate) fn caught<T>(body: impl FnOnce() -> T) -> Result<T, String> {
    install();
    let outcome = {
        let _inside = Inside::enter();
        catch_unwind(AssertUnwindSafe(body))
    };
    outcome.map_err(|panic| {
        let message = message(panic);
        match PLACE.with(RefCell::take) {
            Some(place) => format!("{message} (at {place})"),
            None => message,
        }
    })
}

fn install() {
    // A hook cannot be set by a thread that is panicking; the panic it is in has been reported already.
    if !std::thread::panicking() {
        INSTALLED.call_once(|| {
            let previous = take_hook();
            set_hook(Box::new(move |info| {
                if !note(info) {
                    previous(info)
                }
            }));
        });
    }
}

/// Notes the place of a panic that will be caught here. Whether it will.
fn note(info: &PanicHookInfo<'_>) -> bool {
    // A thread that is shutting down has no flags left; its panics are its own.
    let inside = DEPTH.try_with(Cell::get).is_ok_and(|depth| depth > 0);
    if inside {
        let place = info.location().map(ToString::to_string);
        PLACE.with(|last| *last.borrow_mut() = place);
    }
    inside
}

struct Inside;

impl Inside {
    fn enter() -> Self {
        DEPTH.with(|depth| depth.set(depth.get() + 1));
        Self
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.with(|depth| depth.set(depth.get() - 1));
    }
}

fn message(panic: Box<dyn Any + Send>) -> String {
    match panic.downcast::<String>() {
        Ok(text) => *text,
        Err(other) => other.downcast::<&str>().map_or_else(|_| "no message".into(), |text| (*text).into()),
    }
}
