//! A caught panic is silent, every other one reaches the program's own hook. Alone in its process: there is one hook.
#![allow(missing_docs)]

mod common;

use std::panic::{catch_unwind, set_hook};
use std::sync::atomic::{AtomicUsize, Ordering};

use burn::tensor::Tensor;
use burn_func::{Error, trace};
use common::*;

static EARLY: AtomicUsize = AtomicUsize::new(0);
static LATE: AtomicUsize = AtomicUsize::new(0);

fn counts() -> (usize, usize) {
    (EARLY.load(Ordering::SeqCst), LATE.load(Ordering::SeqCst))
}

fn refused() -> Error {
    trace(&Mlp::new(3, 4, 2), &data([5, 3], 1), |_: &Mlp, _: Tensor<2>| -> Tensor<1> { panic!("within") }).unwrap_err()
}

#[test]
fn caught_panics_are_silent_and_others_are_not() {
    set_hook(Box::new(|_| _ = EARLY.fetch_add(1, Ordering::SeqCst)));
    for _ in 0..3 {
        assert!(refused().to_string().contains("within"));
    }
    assert_eq!(counts(), (0, 0), "a caught panic was reported");

    let _ = catch_unwind(|| panic!("outside"));
    let _ = std::thread::spawn(|| panic!("elsewhere")).join();
    assert_eq!(counts(), (2, 0), "the program's own panics did not reach its hook");

    // While one thread traces, the panic of another is reported.
    std::thread::scope(|scope| {
        let tracing = scope.spawn(|| (0..50).for_each(|_| drop(refused())));
        let panicking = scope.spawn(|| (0..50).for_each(|_| drop(catch_unwind(|| panic!("meanwhile")))));
        tracing.join().unwrap();
        panicking.join().unwrap();
    });
    assert_eq!(counts(), (52, 0));

    // A trace while a panic unwinds: nothing may panic again.
    struct Traces;
    impl Drop for Traces {
        fn drop(&mut self) {
            drop(refused());
        }
    }
    let _ = catch_unwind(|| {
        let _traces = Traces;
        panic!("unwinding");
    });
    assert_eq!(counts(), (53, 0));

    // A hook that is set later takes over, caught panics included.
    set_hook(Box::new(|_| _ = LATE.fetch_add(1, Ordering::SeqCst)));
    let _ = catch_unwind(|| panic!("outside"));
    assert_eq!(counts(), (53, 1));
    drop(refused());
    assert_eq!(counts(), (53, 2));
}
