//! Backbones by name: one settings type and one module for all of them.
//!
//! Does not know: what any of them computes.

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::backbone::Backbone;
use super::norm::{Norm, NormConfig};
use super::{Cnn4, Cnn4Config, Mlp, MlpConfig, ResNet12, ResNet12Config, WideResNet, WideResNetConfig};
use crate::error::{Error, Result};

/// Names that [`BackboneConfig::named`] knows.
const NAMES: [&str; 7] = ["cnn4", "omniglot", "resnet12", "resnet12-narrow", "wide-resnet", "mlp", "linear"];

/// Settings of any backbone.
///
/// In settings files a table with `name`, and any of the settings of that network; what is left out is as
/// [`named`](Self::named) has it, and what the network does not have is refused. It is written with all of them.
///
/// # Example
///
/// ```
/// use burn::tensor::{Device, Tensor};
/// use burn_meta::models::{Backbone, BackboneConfig, NormConfig};
///
/// let settings = r#"{ "name": "cnn4", "hidden": 8, "norm": "layer" }"#;
/// let config: BackboneConfig = serde_json::from_str(settings)?;
/// let net = config.clone().with_images(1, 28).with_ways(3).init(&Device::flex().autodiff())?;
/// assert!(!net.batch_statistics());
/// assert_eq!(net.head().weight.dims(), [8, 3]);
///
/// let same = BackboneConfig::named("cnn4")?.with_filters(&[8])?.with_norm(NormConfig::Layer);
/// assert_eq!(same, config);
/// assert!(serde_json::from_str::<BackboneConfig>(r#"{ "name": "mlp", "filters": 8 }"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum BackboneConfig {
    /// `cnn4`.
    Cnn4(Cnn4Config),
    /// `resnet12`.
    ResNet12(ResNet12Config),
    /// `wide-resnet`.
    WideResNet(WideResNetConfig),
    /// `mlp`, on flattened images.
    Mlp(MlpConfig),
}

impl BackboneConfig {
    /// A network by its name, as it is in the literature, for 5 classes:
    ///
    /// | name | network | images |
    /// |---|---|---|
    /// | `cnn4` | [`Cnn4`] with 32 filters | 3x84x84 |
    /// | `omniglot` | [`Cnn4`] with 64 filters and strided convolutions | 1x28x28 |
    /// | `resnet12` | [`ResNet12`] with 64, 160, 320, 640 filters | 3x84x84 |
    /// | `resnet12-narrow` | [`ResNet12`] with 64, 128, 256, 512 filters | 3x84x84 |
    /// | `wide-resnet` | [`WideResNet`] 28-10 | 3x84x84 |
    /// | `mlp` | [`Mlp`] with layers of 256, 128, 64, 64 and batch normalisation | 1x28x28 |
    /// | `linear` | [`Mlp`] of one layer | 1x28x28 |
    ///
    /// # Errors
    ///
    /// [`Error::Backbone`] for another name.
    pub fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "cnn4" => Self::Cnn4(Cnn4Config::new(3, 84, 5)),
            "omniglot" => Self::Cnn4(Cnn4Config::omniglot(5)),
            "resnet12" => Self::ResNet12(ResNet12Config::new(3, 84, 5)),
            "resnet12-narrow" => Self::ResNet12(ResNet12Config::new(3, 84, 5).with_filters([64, 128, 256, 512])),
            "wide-resnet" => Self::WideResNet(WideResNetConfig::new(3, 84, 5)),
            "mlp" => Self::Mlp(MlpConfig::new(vec![784, 256, 128, 64, 64, 5]).with_norm(NormConfig::Batch)),
            "linear" => Self::Mlp(MlpConfig::new(vec![784, 5])),
            _ => return Err(broken(name, format!("is no backbone, expected one of {}", NAMES.join(", ")))),
        })
    }

    /// The name under which it is written.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Cnn4(_) => "cnn4",
            Self::ResNet12(_) => "resnet12",
            Self::WideResNet(_) => "wide-resnet",
            Self::Mlp(_) => "mlp",
        }
    }

    /// Paths of the linear classifier of its network: [`Network::head_paths`].
    pub fn head_paths(&self) -> Vec<String> {
        head_paths(if let Self::Mlp(config) = self { Some(config.sizes.len().saturating_sub(1)) } else { None })
    }

    /// For images of so many channels, of this height and width.
    #[must_use]
    pub fn with_images(mut self, channels: usize, size: usize) -> Self {
        match &mut self {
            Self::Cnn4(config) => (config.channels, config.image_size) = (channels, size),
            Self::ResNet12(config) => (config.channels, config.image_size) = (channels, size),
            Self::WideResNet(config) => (config.channels, config.image_size) = (channels, size),
            Self::Mlp(config) => {
                if let Some(first) = config.sizes.first_mut() {
                    *first = channels * size * size;
                }
            }
        }
        self
    }

    /// For this number of classes.
    #[must_use]
    pub fn with_ways(mut self, ways: usize) -> Self {
        match &mut self {
            Self::Cnn4(config) => config.ways = ways,
            Self::ResNet12(config) => config.ways = ways,
            Self::WideResNet(config) => config.ways = ways,
            Self::Mlp(config) => {
                if let Some(last) = config.sizes.last_mut() {
                    *last = ways;
                }
            }
        }
        self
    }

    /// With this normalisation.
    #[must_use]
    pub fn with_norm(mut self, norm: NormConfig) -> Self {
        match &mut self {
            Self::Cnn4(config) => config.norm = norm,
            Self::ResNet12(config) => config.norm = norm,
            Self::WideResNet(config) => config.norm = norm,
            Self::Mlp(config) => config.norm = norm,
        }
        self
    }

    /// With other widths: the filters of a block of `cnn4` (one number), those of the blocks of `resnet12` (four), the factor of
    /// `wide-resnet` (one), the hidden layers of `mlp` (any).
    ///
    /// # Errors
    ///
    /// [`Error::Backbone`] for another number of them.
    pub fn with_filters(mut self, filters: &[usize]) -> Result<Self> {
        let name = self.name();
        let wrong = |expected: usize| Err(broken(name, format!("has {expected} width(s), found {filters:?}")));
        match (&mut self, filters) {
            (Self::Cnn4(config), [hidden]) => config.hidden = *hidden,
            (Self::WideResNet(config), [width]) => config.width = *width,
            (Self::ResNet12(config), filters) => match filters.try_into() {
                Ok(four) => config.filters = four,
                Err(_) => return wrong(4),
            },
            (Self::Mlp(config), hidden) => {
                let ends = [config.sizes.first(), config.sizes.last()].map(|end| end.copied().unwrap_or(0));
                config.sizes = [&ends[..1], hidden, &ends[1..]].concat();
            }
            _ => return wrong(1),
        }
        Ok(self)
    }

    /// Checks the settings.
    ///
    /// # Errors
    ///
    /// [`Error::Backbone`] naming the one that no network can be made with.
    pub fn check(&self) -> Result<()> {
        let problem = match self {
            Self::Cnn4(config) => config.problem(),
            Self::ResNet12(config) => config.problem(),
            Self::WideResNet(config) => config.problem(),
            Self::Mlp(config) => config.problem(),
        };
        problem.map_or(Ok(()), |problem| Err(broken(self.name(), problem)))
    }

    /// Makes the network on a device, which must be an autodiff device for it to be trained. Weights are drawn from the
    /// device's generator: `Device::seed` makes them repeatable.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check).
    pub fn init(&self, device: &Device) -> Result<Network> {
        self.check()?;
        Ok(match self {
            Self::Cnn4(config) => Network::Cnn4(config.init(device)),
            Self::ResNet12(config) => Network::ResNet12(config.init(device)),
            Self::WideResNet(config) => Network::WideResNet(config.init(device)),
            Self::Mlp(config) => Network::Mlp(config.init(device)),
        })
    }

    fn settings(&self) -> serde_json::Result<Value> {
        match self {
            Self::Cnn4(config) => serde_json::to_value(config),
            Self::ResNet12(config) => serde_json::to_value(config),
            Self::WideResNet(config) => serde_json::to_value(config),
            Self::Mlp(config) => serde_json::to_value(config),
        }
    }

    fn with_settings(&self, settings: Value) -> serde_json::Result<Self> {
        Ok(match self {
            Self::Cnn4(_) => Self::Cnn4(serde_json::from_value(settings)?),
            Self::ResNet12(_) => Self::ResNet12(serde_json::from_value(settings)?),
            Self::WideResNet(_) => Self::WideResNet(serde_json::from_value(settings)?),
            Self::Mlp(_) => Self::Mlp(serde_json::from_value(settings)?),
        })
    }
}

impl From<BackboneConfig> for Value {
    fn from(config: BackboneConfig) -> Self {
        let mut settings = config.settings().unwrap_or_default();
        settings["name"] = config.name().into();
        settings
    }
}

impl TryFrom<Value> for BackboneConfig {
    type Error = Error;

    fn try_from(given: Value) -> Result<Self> {
        let Value::Object(mut given) = given else {
            return Err(broken(&given.to_string(), "is no table of settings with a `name`".into()));
        };
        let name = match given.remove("name") {
            Some(Value::String(name)) => name,
            other => {
                let found = other.map_or("none".into(), |other| other.to_string());
                return Err(broken("backbone", format!("`name` is {found}, expected one of {}", NAMES.join(", "))));
            }
        };
        let known = Self::named(&name)?;
        let fail = |error: serde_json::Error| broken(&name, error.to_string());
        let mut settings = known.settings().map_err(fail)?;
        for (key, value) in given {
            match settings.get_mut(&key) {
                Some(place) => *place = value,
                None => {
                    let keys = settings.as_object().map(|all| all.keys().cloned().collect::<Vec<_>>().join(", "));
                    let problem = format!("has no setting `{key}`, expected {}", keys.unwrap_or_default());
                    return Err(broken(&name, problem));
                }
            }
        }
        known.with_settings(settings).map_err(fail)
    }
}

fn broken(name: &str, problem: String) -> Error {
    Error::Backbone { name: name.into(), problem }
}

/// Any backbone: what a [`BackboneConfig`] makes.
///
/// Paths of its parameters begin with the variant: `Cnn4.head.weight`. Filters say `*head.*`.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant)]
pub enum Network {
    /// Four convolutional blocks.
    Cnn4(Cnn4),
    /// Twelve-layer residual network.
    ResNet12(ResNet12),
    /// Wide residual network.
    WideResNet(WideResNet),
    /// Fully connected network.
    Mlp(Mlp),
}

macro_rules! each {
    ($self:ident, $net:ident => $body:expr) => {
        match $self {
            Self::Cnn4($net) => $body,
            Self::ResNet12($net) => $body,
            Self::WideResNet($net) => $body,
            Self::Mlp($net) => $body,
        }
    };
}

impl Network {
    /// Images `[n, channels, image_size, image_size]` to logits `[n, ways]`.
    pub fn forward(&self, images: Tensor<4>) -> Tensor<2> {
        Backbone::forward(self, images)
    }

    /// Paths of the linear classifier, for [`InnerLoopConfig::adapt`](crate::InnerLoopConfig::adapt) (ANIL) and groups of rates.
    pub fn head_paths(&self) -> Vec<String> {
        head_paths(if let Self::Mlp(mlp) = self { Some(mlp.layers.len()) } else { None })
    }
}

/// Of a network with a head, or of one of so many layers.
fn head_paths(layers: Option<usize>) -> Vec<String> {
    match layers {
        Some(layers) => vec![format!("*layers.{}.*", layers.saturating_sub(1))],
        None => vec!["*head.*".into()],
    }
}

impl Backbone for Network {
    fn features(&self, images: Tensor<4>) -> Tensor<2> {
        each!(self, net => net.features(images))
    }

    fn head(&self) -> &Linear {
        each!(self, net => net.head())
    }

    fn head_mut(&mut self) -> &mut Linear {
        each!(self, net => net.head_mut())
    }

    fn norms(&self) -> Vec<&Norm> {
        each!(self, net => net.norms())
    }

    fn norms_mut(&mut self) -> Vec<&mut Norm> {
        each!(self, net => net.norms_mut())
    }
}
