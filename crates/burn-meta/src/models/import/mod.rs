//! Weights of PyTorch and safetensors files, into backbones and out of them.
//!
//! Does not know: architectures; names of other libraries are in `layouts`.

mod layouts;
mod matching;
mod slots;

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::tensor::{DType, TensorData};
use burn_store::burn_pack::Tensor as Stored;
use burn_store::{ModuleStore, PytorchStore, SafetensorsStore, bridge};
use safetensors::Dtype;
use safetensors::tensor::TensorView;

use crate::error::{Error, Result};
use matching::{Match, matched};

/// A file of weights: a PyTorch state dict (`torch.save`, in the zip format or the one before it), whatever it is nested in, or a
/// safetensors file. The content decides which, not the name.
///
/// # Names
///
/// Those of this crate ([`save_weights`]), of learn2learn (`CNN4`, `MiniImagenetCNN`, `OmniglotCNN`, `OmniglotFC`, `ResNet12`,
/// `WRN28`; also what the code of BinomMAML saves), of torchmeta's `ConvModel`, and of MetaOptNet's and FEAT's embeddings are
/// tried, and the one that finds most of the network's tensors is taken. What they are nested in (`state_dict`, `module.`) is
/// found by itself. Weights of HowToTrainYourMAML are refused: its network computes something else (it normalises before each
/// convolution, and its ReLU leaks).
///
/// # Values
///
/// Weights of linear layers are transposed; flattened features are in the same order in both (channel, row, column). Running
/// statistics are taken where the file has them; a network with [`NormConfig::Running`](super::NormConfig::Running) needs them.
/// Numbers are converted to the precision of the network.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::models::{Backbone, BackboneConfig, Weights, save_weights};
///
/// let device = Device::flex().autodiff();
/// let config = BackboneConfig::named("omniglot")?.with_filters(&[4])?;
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("omniglot.safetensors"); // or a .pt file of learn2learn
/// let trained = config.init(&device)?;
/// save_weights(&trained, &path)?;
///
/// let loaded = Weights::open(&path)?.load_into(config.init(&device)?)?;
/// assert_eq!(loaded.layout, "burn-meta");
/// let images = Tensor::<4>::ones([2, 1, 28, 28], &device);
/// assert_eq!(loaded.module.forward(images.clone()).to_data(), trained.forward(images).to_data());
///
/// // A network for other classes keeps its own head.
/// let more = config.with_ways(20).init(&device)?;
/// assert!(Weights::open(&path)?.load_into(more.clone()).is_err());
/// let loaded = Weights::open(&path)?.without_head().load_into(more)?;
/// assert_eq!(loaded.module.head().weight.dims(), [4, 20]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Weights {
    path: PathBuf,
    tensors: BTreeMap<String, Stored>,
    under: Option<String>,
    head: bool,
    allow_unused: bool,
}

/// A module with weights of a file.
#[derive(Clone, Debug)]
pub struct Loaded<M> {
    /// The module.
    pub module: M,
    /// Whose names the file has.
    pub layout: &'static str,
    /// What all names of the network begin with in the file: empty, or as `state_dict.`.
    pub prefix: String,
    /// Number of tensors that were read.
    pub tensors: usize,
    /// Whether running statistics were among them. If not, those of the network are as they were.
    pub statistics: bool,
}

impl Weights {
    /// Reads what tensors a file has. Their elements are read when they are loaded.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] if the file cannot be read, or is neither.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self> {
        let path = path.into();
        let tensors = match is_safetensors(&path).map_err(|error| broken(&path, error))? {
            true => listed(&path, SafetensorsStore::from_file(path.clone()).map_indices_contiguous(false))?,
            false => listed(&path, PytorchStore::from_file(path.clone()).map_indices_contiguous(false))?,
        };
        Ok(Self { path, tensors, under: None, head: true, allow_unused: false })
    }

    /// Names and shapes of all tensors, sorted by name. What is nested has the names of all levels, with dots between.
    pub fn tensors(&self) -> impl Iterator<Item = (&str, Vec<usize>)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor.shape.to_vec()))
    }

    /// Takes those tensors alone that stand under this key, as `ema` of a file that has two networks.
    #[must_use]
    pub fn under(mut self, key: &str) -> Self {
        self.under = Some(format!("{}.", key.trim_end_matches('.')));
        self
    }

    /// Leaves the network's head as it is, whatever the file has.
    #[must_use]
    pub fn without_head(mut self) -> Self {
        self.head = false;
        self
    }

    /// Takes no offence at tensors that the network has not.
    #[must_use]
    pub fn allow_unused(mut self) -> Self {
        self.allow_unused = true;
        self
    }

    /// The module with the weights of the file: a backbone, a [`Network`](super::Network), or a module whose own names the file
    /// has. Ids of parameters stay.
    ///
    /// # Errors
    ///
    /// [`Error::WeightsFile`] naming the tensors that are missing, left over or of another shape, and the layouts that were
    /// tried; or that two networks of the file fit as well.
    pub fn load_into<M: Module>(&self, module: M) -> Result<Loaded<M>> {
        let Match { layout, prefix, found } = matched(self, &slots::slots(&module))?;
        let mut values = HashMap::new();
        let mut statistics = false;
        for (slot, name) in found {
            statistics |= slot.name.ends_with("running_mean");
            let Some(tensor) = self.tensors.get(&name) else { continue };
            let data = bridge::to_data(tensor).map_err(|error| broken(&self.path, format!("`{name}`: {error}")))?;
            values.insert(slot.path, data);
        }
        let tensors = values.len();
        Ok(Loaded { module: slots::with_values(module, values), layout, prefix, tensors, statistics })
    }
}

/// Saves a module's weights and running statistics as safetensors, in PyTorch's names and layouts: `blocks.0.conv.weight`,
/// `head.weight` of shape `[out, in]`, `blocks.0.norm.weight`, `.bias`, `.running_mean`, `.running_var`. [`Weights`] and
/// `safetensors.torch.load_file` read it. A file that is there is replaced, and left as it is if something fails.
///
/// # Errors
///
/// [`Error::WeightsFile`] if it cannot be written, or for a type of number that is none of f64, f32, f16 and bf16.
pub fn save_weights<M: Module>(module: &M, path: impl AsRef<Path>) -> Result<()> {
    let path = path.as_ref();
    let values = slots::values(module);
    let views = values.iter().map(|(slot, data)| Ok((slot.name.clone(), view(data, &slot.shape)?)));
    let views = views.collect::<Result<Vec<_>, String>>().map_err(|problem| broken(path, problem))?;
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let bytes = safetensors::serialize(views, Some(metadata)).map_err(|error| broken(path, error))?;
    // A file beside it, so that nobody sees half of one.
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let written = fs::write(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&partial);
        broken(path, error)
    })
}

fn view<'a>(data: &'a TensorData, shape: &[usize]) -> Result<TensorView<'a>, String> {
    let dtype = match data.dtype() {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        other => return Err(format!("{other:?} is none of f64, f32, f16 and bf16")),
    };
    TensorView::new(dtype, shape.to_vec(), data.as_bytes()).map_err(|error| error.to_string())
}

/// A safetensors file begins with the length of its header, in eight bytes, and the header, which is JSON.
fn is_safetensors(path: &Path) -> std::io::Result<bool> {
    let mut start = Vec::new();
    File::open(path)?.take(9).read_to_end(&mut start)?;
    // A zip archive, as PyTorch writes, has the number of its way of compression there: 0 or 8.
    Ok(start.get(8) == Some(&b'{'))
}

fn listed<S: ModuleStore>(path: &Path, mut store: S) -> Result<BTreeMap<String, Stored>> {
    store.get_all_tensors().cloned().map_err(|error| broken(path, error))
}

fn broken(path: &Path, problem: impl std::fmt::Display) -> Error {
    // One line, whatever a library has to say.
    let problem = problem.to_string().split_whitespace().collect::<Vec<_>>().join(" ");
    Error::WeightsFile { path: path.display().to_string(), problem }
}
