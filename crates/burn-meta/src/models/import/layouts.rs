//! Names of the backbones' tensors in state dicts of other libraries.
//!
//! Names of this crate are translated to theirs: `blocks.0.conv.weight` to `features.0.conv.weight`. None has code of theirs.
//!
//! Does not know: files, shapes.

/// What a name may depend on besides itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Context {
    /// Blocks of the backbone.
    pub blocks: usize,
    /// Index of the last fully connected layer.
    pub last: usize,
}

/// How some library names the tensors of some backbones.
pub(super) struct Layout {
    pub name: &'static str,
    /// Their name of one of ours; none for a backbone that it does not have.
    rename: fn(&[&str], Context) -> Option<String>,
    /// Beginnings of names that are second names of the same tensors.
    pub aliases: &'static [&'static str],
}

impl Layout {
    pub fn rename(&self, name: &str, context: Context) -> Option<String> {
        (self.rename)(&name.split('.').collect::<Vec<_>>(), context)
    }
}

/// All that are tried, in this order.
pub(super) const LAYOUTS: [Layout; 7] = [
    Layout { name: "burn-meta", rename: |parts, _| Some(parts.join(".")), aliases: &[] },
    // `CNN4`, `MiniImagenetCNN`, `WRN28` (learn2learn/vision/models/cnn4.py, wrn28.py).
    Layout { name: "learn2learn", rename: learn2learn, aliases: &[] },
    // `OmniglotCNN`, `OmniglotFC`, `ResNet12`: these have their layers in `features` once more.
    Layout { name: "learn2learn, twice named", rename: twice_named, aliases: &["features."] },
    // `MiniImagenetCNN` of learn2learn before 0.1.2.
    Layout { name: "learn2learn, early", rename: early, aliases: &["features."] },
    // `ConvModel` of torchmeta's examples and of pytorch-maml.
    Layout { name: "torchmeta", rename: torchmeta, aliases: &[] },
    // Convolution, normalisation, ReLU and pooling as a plain sequence: torchmeta's `conv3x3`.
    Layout { name: "sequential", rename: sequential, aliases: &[] },
    // MetaOptNet's and FEAT's, without a head; the head is called as in learn2learn.
    Layout { name: "embedding", rename: embedding, aliases: &[] },
];

fn learn2learn(parts: &[&str], context: Context) -> Option<String> {
    match parts {
        ["blocks", i, "conv", of] => Some(format!("features.{i}.conv.{of}")),
        ["blocks", i, "norm", of] => Some(format!("features.{i}.normalize.{of}")),
        ["head", of] => Some(format!("classifier.{of}")),
        _ => wide(parts, context).map(|name| format!("features.{name}")),
    }
}

fn twice_named(parts: &[&str], context: Context) -> Option<String> {
    match parts {
        ["blocks", i, "conv", of] => Some(format!("base.{i}.conv.{of}")),
        ["blocks", i, "norm", of] => Some(format!("base.{i}.normalize.{of}")),
        ["layers", i, of] if i.parse() == Ok(context.last) => Some(format!("classifier.{of}")),
        ["layers", i, of] => Some(format!("features.1.{i}.linear.{of}")),
        ["norms", i, of] => Some(format!("features.1.{i}.normalize.{of}")),
        _ => residual(parts),
    }
}

fn early(parts: &[&str], _: Context) -> Option<String> {
    match parts {
        ["blocks", i, "conv", of] => Some(format!("base.{i}.conv.{of}")),
        ["blocks", i, "norm", of] => Some(format!("base.{i}.normalize.{of}")),
        ["head", of] => Some(format!("linear.{of}")),
        _ => None,
    }
}

fn torchmeta(parts: &[&str], _: Context) -> Option<String> {
    match parts {
        ["blocks", i, kind @ ("conv" | "norm"), of] => Some(format!("features.layer{}.{kind}.{of}", next(i)?)),
        ["head", of] => Some(format!("classifier.{of}")),
        _ => None,
    }
}

fn sequential(parts: &[&str], _: Context) -> Option<String> {
    match parts {
        ["blocks", i, "conv", of] => Some(format!("features.{i}.0.{of}")),
        ["blocks", i, "norm", of] => Some(format!("features.{i}.1.{of}")),
        ["head", of] => Some(format!("classifier.{of}")),
        _ => None,
    }
}

fn embedding(parts: &[&str], context: Context) -> Option<String> {
    wide(parts, context)
}

/// ResNet-12, as MetaOptNet names it.
fn residual(parts: &[&str]) -> Option<String> {
    match parts {
        ["blocks", i, "shortcut", of] => Some(format!("layer{}.0.downsample.0.{of}", next(i)?)),
        ["blocks", i, "shortcut_norm", of] => Some(format!("layer{}.0.downsample.1.{of}", next(i)?)),
        ["blocks", i, part, of] => Some(format!("layer{}.0.{}.{of}", next(i)?, part.replace("norm", "bn"))),
        ["head", of] => Some(format!("classifier.{of}")),
        _ => None,
    }
}

/// Wide residual networks, as FEAT names them: blocks are counted within each of three stages.
fn wide(parts: &[&str], context: Context) -> Option<String> {
    match parts {
        ["conv", of] => Some(format!("conv1.{of}")),
        ["norm", of] => Some(format!("bn1.{of}")),
        ["blocks", i, part, of] => {
            let (block, stage) = (i.parse::<usize>().ok()?, (context.blocks / 3).max(1));
            let part = if *part == "shortcut" { "shortcut.0".into() } else { part.replace("norm", "bn") };
            Some(format!("layer{}.{}.{part}.{of}", block / stage + 1, block % stage))
        }
        ["head", of] => Some(format!("classifier.{of}")),
        _ => None,
    }
}

/// Where others count from one.
fn next(index: &str) -> Option<usize> {
    Some(index.parse::<usize>().ok()? + 1)
}
