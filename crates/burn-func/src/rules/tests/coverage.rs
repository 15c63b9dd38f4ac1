//! Every row with a derivative is held against differences, and the coverage page against the table.

use std::collections::BTreeSet;

use super::page;
use super::{activations, elementwise, indexing, layout, reductions};
use crate::rules::{Derivative, Rule, rows};

/// Rows whose derivative is something to be tested. Those of modules have cases of their own.
fn differentiable(row: &Rule) -> bool {
    !matches!(row.derivative, Derivative::Zero | Derivative::Unsupported(_)) && !row.name.starts_with("Module::")
}

#[test]
fn every_row_with_a_derivative_has_a_case() {
    let cases = [activations::cases(), elementwise::cases(), indexing::cases(), layout::cases(), reductions::cases()];
    let seen: BTreeSet<String> = cases.iter().flatten().flat_map(|case| case.operations()).collect();
    // `Custom` has one formula, for the mark of `stop_gradient`: tested where marks are made.
    let wanted = rows().into_iter().filter(differentiable).map(|row| row.name).filter(|name| *name != "Custom");
    let missing: Vec<&str> = wanted.filter(|name| !seen.contains(*name)).collect();
    assert_eq!(missing, Vec::<&str>::new());
}

#[test]
fn the_page_is_the_table() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/COVERAGE.md");
    let page = page::page();
    if std::env::var_os("UPDATE_COVERAGE").is_some() {
        std::fs::write(path, &page).unwrap();
    }
    let found = std::fs::read_to_string(path).unwrap();
    assert!(found == page, "COVERAGE.md is not what the table says: run this test with UPDATE_COVERAGE=1");
}
