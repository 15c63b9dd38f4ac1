//! The coverage page, written from the table.
//!
//! Does not know: where the page is kept.

use std::fmt::Write;

use crate::rules::{Batching, Derivative, Rule, rows};

const HEAD: &str = "\
# Operations and their rules

One line per row of the table of rules, by family of Burn's intermediate representation. Read it when a transform reports an
operation by name, or to know what a loss may be made of.

* **Derivative**: *zero* carries no tangent (integers, masks, steps, constants); *identity* passes the tangent on; *linear*
  and *bilinear* repeat the operation on the tangents of the operands named; *formula* computes its own; *none* is an error
  that gives the reason.
* **Batching**: how the operation takes a leading batch axis: *elementwise* with broadcasting; *axes shifted* by one; *folded*
  into the axis that is a batch already; as a *matrix product* or a *grouped convolution*; or *not*, with the reason.
* **Remark**: what else there is to know, kinks above all: there a derivative takes the side that Burn's backward takes.

The families `BaseInt`, `NumericInt`, `Int`, `BaseBool` and `Bool` have one row each: nothing in them carries a tangent.
";

/// The page.
pub fn page() -> String {
    let mut page = String::from(HEAD);
    let rows = rows();
    let mut families: Vec<&str> = Vec::new();
    for row in &rows {
        if !families.contains(&family(row)) {
            families.push(family(row));
        }
    }
    for of in families {
        let heading = format!("\n## {of}\n\n| Operation | Derivative | Batching | Remark |\n|---|---|---|---|\n");
        page.push_str(&heading);
        rows.iter().filter(|row| family(row) == of).for_each(|row| line(&mut page, row));
    }
    page
}

/// The rows without a family of their own stand together.
fn family(row: &Rule) -> &str {
    row.name.split_once("::").map_or("Whole families and marks", |(family, _)| family)
}

fn line(page: &mut String, row: &Rule) {
    let name = row.name.split_once("::").map_or(row.name, |(_, name)| name);
    let (derivative, refused) = derivative(row.derivative);
    let (batching, unbatched) = batching(row.batching);
    let remarks: Vec<String> =
        [refused, unbatched, row.note.to_owned()].into_iter().filter(|r| !r.is_empty()).collect();
    writeln!(page, "| `{name}` | {derivative} | {batching} | {} |", remarks.join("; ")).expect("a string takes it");
}

/// Class, and the reason where there is no derivative.
fn derivative(derivative: Derivative) -> (String, String) {
    let class = match derivative {
        Derivative::Zero => "zero".into(),
        Derivative::Identity => "identity".into(),
        Derivative::Linear(at) => {
            let at: Vec<String> = at.iter().map(usize::to_string).collect();
            format!("linear ({})", at.join(", "))
        }
        Derivative::LinearAll => "linear (all)".into(),
        Derivative::Bilinear(a, b) => format!("bilinear ({a}, {b})"),
        Derivative::Formula(_) => "formula".into(),
        Derivative::Unsupported(reason) => return ("none".into(), reason.into()),
    };
    (class, String::new())
}

/// Way, and the reason where there is none.
fn batching(batching: Batching) -> (&'static str, String) {
    let way = match batching {
        Batching::Elementwise => "elementwise",
        Batching::ShiftAxes => "axes shifted",
        Batching::FoldIntoFirst => "folded",
        Batching::FoldIntoChannels => "folded into channels",
        Batching::Matmul => "matrix product",
        Batching::GroupedConvolution => "grouped convolution",
        Batching::Formula(_) => "formula",
        Batching::Unbatchable(reason) => return ("not", format!("no batch: {reason}")),
    };
    (way, String::new())
}
