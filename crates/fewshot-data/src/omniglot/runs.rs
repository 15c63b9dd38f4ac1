//! The 20 one-shot runs that come with Omniglot: which of 20 drawings is of the same character?
//!
//! Does not know: classifiers.

use std::path::Path;
use std::sync::Arc;

use burn::tensor::{Device, Int, Tensor, TensorData};

use super::drawing;
use super::listing::Drawing;
use crate::archive::Archive;
use crate::tree::Tree;
use crate::{Error, LabeledImages, Limits};

/// Items of a run, and runs: what the archive has.
const ITEMS: usize = 20;

/// The one-shot classification runs of `all_runs.zip`, or of what it unpacks to.
///
/// Each run has 20 drawings, one of each of 20 characters, and 20 queries, each of one of these characters. The score is
/// the mean error over the runs.
///
/// # Example
/// ```no_run
/// # use fewshot_data::OneShotRuns;
/// let runs = OneShotRuns::new("all_runs.zip").load()?;
/// let guesses: Vec<Vec<usize>> = runs.iter().map(|run| (0..run.len()).collect()).collect();
/// println!("error {:.1} %", 100.0 * runs.error(&guesses)?);
/// # Ok::<(), fewshot_data::Error>(())
/// ```
///
/// # Source
/// Lake, Salakhutdinov and Tenenbaum, "Human-level concept learning through probabilistic program induction", Science
/// 350 (2015); <https://github.com/brendenlake/omniglot>, where a classifier by the modified Hausdorff distance has an
/// error of 38.8 %.
#[derive(Clone, Debug)]
pub struct OneShotRuns {
    path: std::path::PathBuf,
    size: usize,
}

impl OneShotRuns {
    /// The runs at this path.
    pub fn new(path: impl AsRef<Path>) -> Self {
        Self { path: path.as_ref().to_owned(), size: 28 }
    }

    /// Sets the side of the images in pixels, 1 to 1024 (default 28; 105 keeps the drawings as they are).
    pub fn with_size(mut self, size: usize) -> Self {
        self.size = size;
        self
    }

    /// Reads the runs, in order.
    ///
    /// # Errors
    /// [`Error::Setting`] for the size; [`Error::Malformed`] for a run whose labels or drawings are missing, naming it;
    /// those of reading an archive and its drawings.
    pub fn load(&self) -> Result<Runs, Error> {
        super::check_size(self.size)?;
        let tree = match self.path.is_dir() {
            true => Tree::walk(&self.path)?,
            false => Tree::of(&Arc::new(Archive::open(&self.path)?)),
        };
        let mut lists: Vec<_> = tree.files.iter().filter(|file| file.split().1 == "class_labels.txt").collect();
        lists.sort_by(|a, b| a.name.cmp(&b.name));
        let missing =
            || Error::malformed(&tree.root, "runs", "no class_labels.txt; expected run01/class_labels.txt and so on");
        let first = lists.first().ok_or_else(missing)?;
        // What stands above the runs, such as `all_runs/`.
        let above = first.split().0.rsplit_once('/').map_or(String::new(), |(above, _)| format!("{above}/"));
        let run = |file: &&crate::tree::TreeFile| {
            let text = tree.text(file, Limits::default())?;
            read_run(&tree, &above, &file.name, &text, self.size)
        };
        Ok(Runs { runs: lists.iter().map(run).collect::<Result<_, _>>()? })
    }
}

/// The runs, as they were read.
#[derive(Clone, Debug)]
pub struct Runs {
    runs: Vec<OneShotRun>,
}

/// One run: a support drawing of each class, and queries, each with the class it is of.
#[derive(Clone, Debug)]
pub struct OneShotRun {
    size: usize,
    support: Vec<Vec<u8>>,
    query: Vec<(Vec<u8>, usize)>,
}

impl Runs {
    /// The runs in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &OneShotRun> {
        self.runs.iter()
    }

    /// The mean over the runs of the share of wrong guesses; a guess for each query of each run.
    ///
    /// # Errors
    /// [`Error::Setting`] where there are not as many guesses as queries.
    pub fn error(&self, guesses: &[Vec<usize>]) -> Result<f64, Error> {
        let counts = |guesses: &[Vec<usize>]| format!("{:?}", guesses.iter().map(Vec::len).collect::<Vec<_>>());
        let fit =
            guesses.len() == self.runs.len() && self.runs.iter().zip(guesses).all(|(run, g)| run.len() == g.len());
        if !fit {
            let expected = "one for each query of each run";
            return Err(Error::Setting { setting: "number of guesses", found: counts(guesses), expected });
        }
        let wrong = |(run, guesses): (&OneShotRun, &Vec<usize>)| {
            let wrong = run.query.iter().zip(guesses).filter(|((_, class), guess)| class != *guess).count();
            wrong as f64 / run.len() as f64
        };
        Ok(self.runs.iter().zip(guesses).map(wrong).sum::<f64>() / self.runs.len() as f64)
    }
}

impl OneShotRun {
    /// How many queries, and classes, there are.
    pub fn len(&self) -> usize {
        self.query.len()
    }

    /// Whether there are none; no run that was read is empty.
    pub fn is_empty(&self) -> bool {
        self.query.is_empty()
    }

    /// The class of each query, as an index of the support drawings.
    pub fn answers(&self) -> impl Iterator<Item = usize> {
        self.query.iter().map(|(_, class)| *class)
    }

    /// The support drawings as tensors, `[classes, 1, size, size]` with ink 1 on 0, labelled 0, 1, ...
    pub fn support_batch(&self, device: &Device) -> LabeledImages {
        self.batch(self.support.iter().zip(0..), device)
    }

    /// The queries as tensors, `[queries, 1, size, size]`, labelled with their classes.
    pub fn query_batch(&self, device: &Device) -> LabeledImages {
        self.batch(self.query.iter().map(|(image, class)| (image, *class)), device)
    }

    fn batch<'a>(&self, items: impl Iterator<Item = (&'a Vec<u8>, usize)>, device: &Device) -> LabeledImages {
        let (mut values, mut labels) = (Vec::new(), Vec::new());
        for (image, label) in items {
            values.extend(image.iter().map(|&byte| f32::from(byte) / 255.0));
            labels.push(label as i64);
        }
        let images = TensorData::new(values, [labels.len(), 1, self.size, self.size]);
        let labels = TensorData::new(labels.clone(), [labels.len()]);
        LabeledImages { images: Tensor::from_data(images, device), labels: Tensor::<1, Int>::from_data(labels, device) }
    }
}

/// A run from its list: lines of a query and the support drawing of the same class.
fn read_run(tree: &Tree, above: &str, list: &str, text: &str, size: usize) -> Result<OneShotRun, Error> {
    let malformed = |line: usize, problem: String| Error::malformed(&tree.root, format!("{list}:{line}"), problem);
    let mut pairs = Vec::new();
    for (line, text) in (1..).zip(text.lines()).filter(|(_, text)| !text.trim().is_empty()) {
        let mut words = text.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some(query), Some(support), None) => pairs.push((line, query, support)),
            _ => return Err(malformed(line, format!("{text:?}; expected a query and its support drawing"))),
        }
    }
    if pairs.len() != ITEMS {
        return Err(malformed(pairs.len(), format!("{} pairs; expected {ITEMS}", pairs.len())));
    }
    let mut names: Vec<&str> = pairs.iter().map(|&(_, _, support)| support).collect();
    names.sort_unstable();
    names.dedup();
    if names.len() != pairs.len() {
        return Err(malformed(pairs.len(), format!("{} support drawings; expected one for each query", names.len())));
    }
    let read = |line: usize, name: &str| {
        let full = format!("{above}{name}");
        // Trees are sorted by name.
        let file = tree.files.binary_search_by(|file| file.name.cmp(&full)).ok().and_then(|at| tree.files.get(at));
        let file = file.ok_or_else(|| malformed(line, format!("drawing {full} is not there")))?;
        let png = file.place.read(Limits::default())?.into_owned();
        let drawing = Drawing { set: String::new(), class: String::new(), drawer: 0, entry: full, png };
        let mut images = drawing::decode_all(&tree.root, &[drawing], size, 1)?;
        Ok(images.pop().unwrap_or_default())
    };
    let support = names.iter().map(|name| read(0, name)).collect::<Result<_, Error>>()?;
    let query = |&(line, query, support): &(usize, &str, &str)| {
        let class = names.binary_search(&support).unwrap_or_default();
        Ok((read(line, query)?, class))
    };
    Ok(OneShotRun { size, support, query: pairs.iter().map(query).collect::<Result<_, Error>>()? })
}
