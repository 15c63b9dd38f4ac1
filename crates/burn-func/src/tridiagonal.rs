//! Eigenvalues and eigenvectors of a symmetric tridiagonal matrix: the implicit QL method.
//!
//! Does not know: where the matrix comes from.

/// Eigenvalues of the matrix with this diagonal and these elements beside it, in no order. Every one of `rows`, a row of
/// the identity, becomes the same row of the matrix whose columns are the eigenvectors: a single row costs what the
/// eigenvalues cost, all of them the cube of the size. `None` if it does not converge, as with elements that are not
/// finite.
///
/// Source: Bowdler, Martin, Reinsch and Wilkinson, Numerische Mathematik 11, 1968 (`tql2` of EISPACK).
pub(crate) fn eigenvalues(diagonal: &[f64], beside: &[f64], rows: &mut [Vec<f64>]) -> Option<Vec<f64>> {
    let n = diagonal.len();
    debug_assert!(beside.len() + 1 == n);
    let mut d = diagonal.to_vec();
    let mut e = [beside, &[0.0]].concat();
    for l in 0..n {
        // One or two sweeps settle an eigenvalue; fifty mean that there is none.
        for _ in 0..50 {
            let negligible = |m: &usize| e[*m].abs() <= f64::EPSILON * (d[*m].abs() + d[m + 1].abs());
            let m = (l..n - 1).find(negligible).unwrap_or(n - 1);
            if m == l {
                break;
            }
            sweep(&mut d, &mut e, l, m, rows);
        }
        if !d[l].is_finite() || (l + 1 < n && e[l].abs() > f64::EPSILON * (d[l].abs() + d[l + 1].abs())) {
            return None;
        }
    }
    Some(d)
}

/// One implicit QL step on the block from `l` to `m`, with Wilkinson's shift.
fn sweep(d: &mut [f64], e: &mut [f64], l: usize, m: usize, rows: &mut [Vec<f64>]) {
    let shift = (d[l + 1] - d[l]) / (2.0 * e[l]);
    let mut g = d[m] - d[l] + e[l] / (shift + shift.hypot(1.0).copysign(shift));
    let (mut sine, mut cosine, mut p) = (1.0, 1.0, 0.0);
    for i in (l..m).rev() {
        let (f, b) = (sine * e[i], cosine * e[i]);
        let r = f.hypot(g);
        e[i + 1] = r;
        if r == 0.0 {
            // The block splits here: take up the shift and look again.
            d[i + 1] -= p;
            e[m] = 0.0;
            return;
        }
        (sine, cosine) = (f / r, g / r);
        g = d[i + 1] - p;
        let r = (d[i] - g) * sine + 2.0 * cosine * b;
        p = sine * r;
        d[i + 1] = g + p;
        g = cosine * r - b;
        for row in rows.iter_mut() {
            (row[i], row[i + 1]) = (cosine * row[i] - sine * row[i + 1], sine * row[i] + cosine * row[i + 1]);
        }
    }
    d[l] -= p;
    e[l] = g;
    e[m] = 0.0;
}

/// The rows of the identity.
pub(crate) fn identity(n: usize) -> Vec<Vec<f64>> {
    (0..n).map(|i| unit(n, i)).collect()
}

/// One row of the identity.
pub(crate) fn unit(n: usize, at: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(u8::from(i == at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Solves, and checks that the vectors are orthonormal and belong to the values.
    fn solved(diagonal: &[f64], beside: &[f64]) -> Vec<f64> {
        let n = diagonal.len();
        let mut z = identity(n);
        let values = eigenvalues(diagonal, beside, &mut z).unwrap();
        let scale = diagonal.iter().chain(beside).fold(0.0_f64, |max, x| max.max(x.abs()));
        for (j, value) in values.iter().enumerate() {
            for i in 0..n {
                let left = if i > 0 { beside[i - 1] * z[i - 1][j] } else { 0.0 };
                let right = if i + 1 < n { beside[i] * z[i + 1][j] } else { 0.0 };
                let residual = left + diagonal[i] * z[i][j] + right - value * z[i][j];
                assert!(residual.abs() <= 1e-13 * scale, "residual {residual:e} of {value}");
            }
            for k in 0..n {
                let dot: f64 = (0..n).map(|i| z[i][j] * z[i][k]).sum();
                assert!((dot - f64::from(u8::from(j == k))).abs() <= 1e-13, "columns {j} and {k}: {dot}");
            }
        }
        let mut values = values;
        values.sort_by(f64::total_cmp);
        values
    }

    fn close(found: &[f64], expected: &[f64], tolerance: f64) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() <= tolerance, "{found} for {expected}");
        }
    }

    #[test]
    fn closed_forms() {
        close(&solved(&[3.0], &[]), &[3.0], 0.0);
        close(&solved(&[1.0, 1.0], &[2.0]), &[-1.0, 3.0], 1e-15);
        close(&solved(&[0.0, 0.0, 0.0], &[0.0, 0.0]), &[0.0; 3], 0.0);
        close(&solved(&[0.0, 0.0], &[1.0]), &[-1.0, 1.0], 1e-15);
        // Second differences on n points: 2 - 2 cos(k pi / (n + 1)).
        let n = 40;
        let angle = |k: usize| (k as f64 * std::f64::consts::PI / (n + 1) as f64).cos();
        let expected: Vec<f64> = (1..=n).map(|k| 2.0 - 2.0 * angle(k)).collect();
        close(&solved(&vec![2.0; n], &vec![-1.0; n - 1]), &expected, 1e-13);
    }

    #[test]
    fn blocks_that_do_not_touch_and_sizes_far_apart() {
        close(&solved(&[1.0, 1.0, 5.0, 1.0], &[2.0, 0.0, 0.0]), &[-1.0, 1.0, 3.0, 5.0], 1e-14);
        let values = solved(&[1e8, 1.0, 1e-8, -3.0], &[1.0, 1e-4, 1e-9]);
        close(&values[..1], &[-3.0], 1e-7);
        assert!((values[3] / 1e8 - 1.0).abs() < 1e-15);
    }

    #[test]
    fn a_single_row_is_the_row_of_all_of_them() {
        let (diagonal, beside) = ([4.0, -1.0, 0.5, 2.0], [1.0, 0.3, -2.0]);
        let (mut all, mut last) = (identity(4), [unit(4, 3)]);
        assert_eq!(eigenvalues(&diagonal, &beside, &mut all), eigenvalues(&diagonal, &beside, &mut last));
        assert_eq!(all[3], last[0]);
    }

    #[test]
    fn what_is_not_finite_has_no_eigenvalues() {
        assert_eq!(eigenvalues(&[1.0, f64::NAN], &[1.0], &mut []), None);
        assert_eq!(eigenvalues(&[1.0, 2.0], &[f64::INFINITY], &mut []), None);
        assert_eq!(eigenvalues(&[f64::NAN], &[], &mut []), None);
    }
}
