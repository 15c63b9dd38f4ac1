//! Every family of operations at random shapes and with random options: the gradient against Burn's own and against
//! differences of the loss, Hessian-vector products against differences of the gradient, their symmetry, and several
//! products as one program against one after the other.
//!
//! `BURN_META_SHAPES_CASES` says how many of each family (default 600), `BURN_META_SHAPES_SEED` which (default 1: the same
//! in every run), `BURN_META_SHAPES_FAMILY=text` only the families with that text in their names. A failure is told with
//! its family, number, shapes and options. The long run is
//! `BURN_META_SHAPES_CASES=6000 BURN_META_SHAPES_SEED=$RANDOM cargo test --test random_shapes -- --nocapture`.
//!
//! Does not know: which rules there are.
#![allow(missing_docs)]

/// Calls a function that is generic over the rank, which is drawn.
macro_rules! ranked {
    ($rank:expr, $f:ident($($arg:expr),*)) => {
        match $rank {
            1 => $f::<1>($($arg),*),
            2 => $f::<2>($($arg),*),
            3 => $f::<3>($($arg),*),
            4 => $f::<4>($($arg),*),
            rank => unreachable!("no case of rank {rank}"),
        }
    };
}

mod attention;
mod broadcast;
mod case;
#[path = "../common/mod.rs"]
mod common;
mod convolutions;
mod draw;
mod indexing;
mod layout;
mod normalisation;
mod pooling;
mod reductions;
mod unary;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use case::{Case, Outcome};
use draw::Draw;

/// A family's name and how one of its cases is drawn.
type Family = (&'static str, fn(&mut Draw) -> Case);

fn families() -> Vec<Family> {
    [
        unary::FAMILIES,
        broadcast::FAMILIES,
        reductions::FAMILIES,
        layout::FAMILIES,
        indexing::FAMILIES,
        convolutions::FAMILIES,
        pooling::FAMILIES,
        normalisation::FAMILIES,
        attention::FAMILIES,
    ]
    .concat()
}

/// What was seen of a family.
#[derive(Clone, Default)]
struct Seen {
    checked: usize,
    /// With a kink so close that differences say nothing.
    discarded: usize,
    seconds: f64,
    failures: Vec<String>,
}

fn number(name: &str, default: usize) -> usize {
    std::env::var(name).map_or(default, |text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn derivatives_are_right_at_random_shapes() {
    let (cases, seed) = (number("BURN_META_SHAPES_CASES", 600), number("BURN_META_SHAPES_SEED", 1));
    let only = std::env::var("BURN_META_SHAPES_FAMILY").unwrap_or_default();
    let families: Vec<Family> = families().into_iter().filter(|(name, _)| name.contains(&only)).collect();
    let (start, seen) = (Instant::now(), Mutex::new(vec![Seen::default(); families.len()]));
    let next = AtomicUsize::new(0);
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(&family) = families.get(at / cases) else { return };
            run(family, seed as u64, (at % cases) as u64, || seen.lock().unwrap(), at / cases);
        }
    };
    std::thread::scope(|scope| (0..2).for_each(|_| drop(scope.spawn(work))));
    report(&families, &seen.into_inner().unwrap(), seed, start);
}

/// Runs one case and notes what came of it.
fn run<'a, G>(family: Family, seed: u64, number: u64, seen: impl Fn() -> G, at: usize)
where
    G: std::ops::DerefMut<Target = Vec<Seen>> + 'a,
{
    let (start, mut text) = (Instant::now(), String::from("not drawn"));
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let case = family.1(&mut Draw::new(seed, family.0, number));
        text = case.to_string();
        case.check()
    }));
    let outcome = outcome.unwrap_or_else(|panic| {
        let message = panic.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| panic.downcast_ref::<&str>().copied());
        Err(format!("panicked: {}", message.unwrap_or("no message")))
    });
    let mut seen = seen();
    let seen = &mut seen[at];
    seen.seconds += start.elapsed().as_secs_f64();
    match outcome {
        Ok(Outcome::Checked) => seen.checked += 1,
        Ok(Outcome::Kink) => seen.discarded += 1,
        Err(problem) => seen.failures.push(format!("{}, seed {seed}, case {number}: {text}: {problem}", family.0)),
    }
}

fn report(families: &[Family], seen: &[Seen], seed: usize, start: Instant) {
    for ((name, _), seen) in families.iter().zip(seen) {
        let Seen { checked, discarded, seconds, failures } = seen;
        println!("{name}: {checked} checked, {discarded} at kinks, {} failed, {seconds:.1} s", failures.len());
    }
    let total = |count: fn(&Seen) -> usize| seen.iter().map(count).sum::<usize>();
    let (checked, discarded, failed) = (total(|s| s.checked), total(|s| s.discarded), total(|s| s.failures.len()));
    let seconds = start.elapsed().as_secs_f64();
    println!("seed {seed}: {checked} checked, {discarded} at kinks, {failed} failed, {seconds:.1} s");
    let told: Vec<String> = seen.iter().flat_map(|seen| seen.failures.iter().take(4).cloned()).collect();
    assert!(failed == 0, "{failed} failed, up to four of each family are:\n{}", told.join("\n"));
    assert!(checked > 0 && discarded * 20 <= checked, "{discarded} at kinks: the differences say too little");
}
