//! Points of one's own, from tables.
//!
//! Does not know: networks.

use std::path::Path;

use burn::tensor::{Device, Tensor, TensorData};

use crate::failure::Failure;

/// Reads a table with this many columns of numbers or more, with a line of names above them or without. The columns beyond are
/// passed over.
///
/// # Errors
///
/// [`Failure::Usage`] naming file, line and column.
pub fn read<const N: usize>(path: &Path) -> Result<[Vec<f32>; N], Failure> {
    let at = |problem: String| Failure::usage(format!("{}: {problem}", path.display()));
    let table = csv::ReaderBuilder::new().has_headers(false).trim(csv::Trim::All).flexible(true).from_path(path);
    let mut columns = [const { Vec::new() }; N];
    for (index, row) in table.map_err(|cause| at(cause.to_string()))?.records().enumerate() {
        let row = row.map_err(|cause| at(cause.to_string()))?;
        let line = row.position().map_or(index as u64 + 1, csv::Position::line);
        let numbers: Vec<Option<f32>> =
            row.iter().take(N).map(|cell| cell.parse().ok().filter(|x: &f32| x.is_finite())).collect();
        if index == 0 && numbers.len() == N && numbers.iter().all(Option::is_none) {
            continue;
        }
        for (column, values) in columns.iter_mut().enumerate() {
            let cell = row.get(column).unwrap_or("nothing");
            let number = numbers.get(column).copied().flatten();
            values.push(
                number.ok_or_else(|| at(format!("line {line}, column {}: {cell}; expected a number", column + 1)))?,
            );
        }
    }
    match columns.iter().any(Vec::is_empty) {
        true => Err(at(format!("no numbers; expected {N} column(s) of them"))),
        false => Ok(columns),
    }
}

/// Numbers as a tensor `[n, 1]`.
pub fn column(values: Vec<f32>, device: &Device) -> Tensor<2> {
    let shape = [values.len(), 1];
    Tensor::from_data(TensorData::new(values, shape), device)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn says<const N: usize>(text: &str) -> Result<[Vec<f32>; N], String> {
        let path = std::env::temp_dir().join(format!("points-{}-{:x}.csv", std::process::id(), text.len()));
        std::fs::write(&path, text).unwrap();
        let read = read(&path).map_err(|failure| failure.to_string());
        std::fs::remove_file(&path).unwrap();
        read
    }

    #[test]
    fn tables_are_read_with_and_without_names() {
        let expected = [vec![1.0, -2.5], vec![3.0, 4.0]];
        assert_eq!(says::<2>("x,y\n1,3\n-2.5,4\n").unwrap(), expected);
        assert_eq!(says::<2>("1, 3,note\n-2.5, 4\n").unwrap(), expected);
        assert_eq!(says::<1>("1\n2\n3\n").unwrap(), [vec![1.0, 2.0, 3.0]]);
    }

    #[test]
    fn what_is_no_number_is_named_with_its_place() {
        for (text, cause) in [
            ("x,y\n1,2\n3,four\n", "line 3, column 2: four; expected a number"),
            ("1,2\n3\n", "line 2, column 2: nothing; expected a number"),
            ("1,nan\n", "column 2: nan"),
            ("x,y\n", "no numbers"),
            ("", "no numbers"),
        ] {
            let error = says::<2>(text).unwrap_err();
            assert!(error.contains(cause), "{error}");
        }
    }
}
