//! Settings by name: the quick ones a program has by itself, and published ones with their sources.
//!
//! Does not know: what the settings do.

use std::fmt::Write;

/// Settings with a name.
#[derive(Clone, Copy, Debug)]
pub struct Preset {
    /// What it is asked for by.
    pub name: &'static str,
    /// Where the settings are from, and where they differ.
    pub source: &'static str,
    /// TOML. What it does not say is as in the quick settings.
    pub toml: &'static str,
}

impl Preset {
    /// The list of presets, for the help of a program.
    pub fn listing(presets: &[Preset]) -> String {
        let mut text = String::from(
            "Presets (--preset NAME):\n  quick  What a run without options does, in a minute or two on two cores\n",
        );
        for Preset { name, source, .. } in presets {
            // Writing to a string does not fail.
            let _ = writeln!(text, "  {name}\n      {source}");
        }
        text.pop();
        text
    }
}

const BINOMIAL: &str = "Zhang et al. 2026 (arXiv 2604.13263) and its code, with --order 2 (--order 3, --estimator exact and so on \
                        for its other rows); tested with 15 queries of each class, where its code takes as many as shots";
const MAML: &str = "Finn et al. 2017 (arXiv 1703.03400) and its code, main.py; tested with 15 queries of each class, where its \
                    code takes as many as shots";

/// Published settings for miniImageNet.
pub const MINI_IMAGENET: &[Preset] = &[
    Preset { name: "paper-mini-1shot", source: BINOMIAL, toml: include_str!("binomial_1shot.toml") },
    Preset { name: "paper-mini-5shot", source: BINOMIAL, toml: include_str!("binomial_5shot.toml") },
    Preset { name: "maml-mini-1shot", source: MAML, toml: include_str!("maml_mini_1shot.toml") },
    Preset { name: "maml-mini-5shot", source: MAML, toml: include_str!("maml_mini_5shot.toml") },
];

/// Published settings for tieredImageNet.
pub const TIERED_IMAGENET: &[Preset] =
    &[Preset { name: "paper-tiered-1shot", source: BINOMIAL, toml: include_str!("binomial_1shot.toml") }];

/// Published settings for Omniglot.
pub const OMNIGLOT: &[Preset] = &[
    Preset { name: "maml-omniglot-5way", source: MAML, toml: include_str!("maml_omniglot_5way.toml") },
    Preset { name: "maml-omniglot-20way", source: MAML, toml: include_str!("maml_omniglot_20way.toml") },
];

/// Published settings for CIFAR-FS: nobody has published MAML's own; those for miniImageNet are customary.
pub const CIFAR_FS: &[Preset] = &[];

/// Published settings for sinusoids.
pub const SINUSOID: &[Preset] = &[Preset {
    name: "maml-sinusoid",
    source: "Finn et al. 2017 (arXiv 1703.03400), section 5.1 and main.py",
    toml: include_str!("maml_sinusoid.toml"),
}];
