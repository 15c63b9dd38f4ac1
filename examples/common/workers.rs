//! Independent pieces of work, side by side on threads.
//!
//! Does not know: what is done.

use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Results of `work` for 0..n, in order, from up to `threads` threads (by default as many as there are cores), each of which
/// takes the next number there is.
pub fn side_by_side<T: Send>(n: usize, threads: Option<usize>, work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let cores = || std::thread::available_parallelism().map_or(1, NonZero::get);
    let threads = threads.unwrap_or_else(cores).min(n);
    if threads <= 1 {
        return (0..n).map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let one = || {
        let mine = std::iter::repeat_with(|| next.fetch_add(1, Ordering::Relaxed)).take_while(|&at| at < n);
        mine.map(|at| (at, work(at))).collect::<Vec<_>>()
    };
    let mut done = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        let results = workers.into_iter().map(|worker| worker.join());
        let results = results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        results.flatten().collect::<Vec<_>>()
    });
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_order_whatever_the_threads() {
        for (n, threads) in [(0, 3), (1, 4), (50, 1), (50, 7)] {
            assert_eq!(side_by_side(n, Some(threads), |at| at * at), (0..n).map(|at| at * at).collect::<Vec<_>>());
        }
    }
}
