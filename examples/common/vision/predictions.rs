//! What an adapted network says of images, as a table.
//!
//! Does not know: networks, where images are from.

use std::path::Path;

use burn::tensor::Tensor;
use burn::tensor::activation::softmax;

use crate::failure::Failure;
use crate::files;

/// Probabilities of each class for each image.
#[derive(Clone, Debug)]
pub struct Predictions {
    /// Row by row, `[images, classes]`.
    probabilities: Vec<f32>,
    classes: Vec<String>,
}

impl Predictions {
    /// Of logits `[images, outputs]`, of which the first are those of the classes.
    pub fn new(logits: Tensor<2>, classes: &[String]) -> Self {
        let probabilities = softmax(logits.narrow(1, 0, classes.len()), 1);
        Self { probabilities: probabilities.into_data().iter::<f32>().collect(), classes: classes.to_vec() }
    }

    /// The most probable class of each image, and its probability.
    pub fn answers(&self) -> impl Iterator<Item = (usize, f32)> + '_ {
        let likeliest = |row: &[f32]| {
            let best = (0..row.len()).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap_or(0);
            (best, row[best])
        };
        self.probabilities.chunks_exact(self.classes.len()).map(likeliest)
    }

    /// Writes `predictions.csv`: a line for each file with the predicted class, its probability, and that of every class.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`] naming the file.
    pub fn write(&self, path: &Path, names: &[String]) -> Result<(), Failure> {
        files::write_with(path, |temporary| self.write_to(temporary, names).map_err(|cause| cause.to_string()))
    }

    fn write_to(&self, path: &Path, names: &[String]) -> Result<(), csv::Error> {
        let mut table = csv::Writer::from_path(path)?;
        let head = ["file", "predicted", "probability"].map(str::to_owned).into_iter();
        table.write_record(head.chain(self.classes.iter().map(|class| format!("probability of {class}"))))?;
        let rows = self.probabilities.chunks_exact(self.classes.len());
        for ((name, (answer, probability)), row) in names.iter().zip(self.answers()).zip(rows) {
            let first = [name.clone(), self.classes[answer].clone(), format!("{probability:.6}")].into_iter();
            table.write_record(first.chain(row.iter().map(|probability| format!("{probability:.6}"))))?;
        }
        Ok(table.flush()?)
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::Device;

    use super::*;

    #[test]
    fn outputs_beyond_the_classes_have_no_part() {
        let logits = Tensor::<2>::from_data([[0.0, 1.0, 9.0], [3f32.ln(), 0.0, 9.0]], &Device::flex());
        let classes = ["a".to_owned(), "b, c".to_owned()];
        let predictions = Predictions::new(logits, &classes);
        let answers: Vec<_> = predictions.answers().collect();
        assert_eq!((answers[0].0, answers[1].0), (1, 0));
        assert!((answers[1].1 - 0.75).abs() < 1e-6);
        let folder = std::env::temp_dir().join(format!("predictions-{}.csv", std::process::id()));
        predictions.write(&folder, &["1.png".into(), "2.png".into()]).unwrap();
        let text = std::fs::read_to_string(&folder).unwrap();
        std::fs::remove_file(&folder).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "file,predicted,probability,probability of a,\"probability of b, c\"");
        assert_eq!(lines[2], "2.png,a,0.750000,0.750000,0.250000");
    }
}
