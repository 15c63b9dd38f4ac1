//! Memory of this process.
//!
//! Does not know: what uses it.

/// Bytes of this process that are resident in memory; `None` where the system does not say (other than Linux).
pub fn resident_bytes() -> Option<u64> {
    // The second number of statm counts pages. Pages of 4 KiB are what the kernels that matter here have; another size
    // scales all numbers alike.
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * 4096)
}
