//! Which tensor of a file is which of a network.
//!
//! Does not know: values.

use std::collections::{BTreeSet, HashSet};

use super::layouts::{Context, LAYOUTS, Layout};
use super::slots::Slot;
use super::{Weights, broken};
use crate::error::Result;

/// Names that are told at most of a kind.
const TOLD: usize = 4;

/// A layout that fits.
pub(super) struct Match {
    pub layout: &'static str,
    pub prefix: String,
    /// What is to be read, with its name in the file.
    pub found: Vec<(Slot, String)>,
}

/// A layout under a prefix, and what it finds.
struct Candidate<'a> {
    layout: &'static Layout,
    prefix: String,
    /// Their name of each tensor that is wanted, with the prefix.
    wanted: Vec<(&'a Slot, String)>,
    /// Names of the head, where it is left out.
    skipped: HashSet<String>,
    found: usize,
}

/// Finds the layout and the prefix under which the file has most of the tensors, and checks that it has all.
pub(super) fn matched(file: &Weights, slots: &[Slot]) -> Result<Match> {
    let context = context(slots);
    let candidates = LAYOUTS.iter().flat_map(|layout| candidates(file, layout, slots, context));
    let candidates: Vec<Candidate> = candidates.filter(|candidate| candidate.found > 0).collect();
    let most = candidates.iter().map(|candidate| candidate.found).max().unwrap_or(0);
    let mut best = candidates.into_iter().filter(|candidate| candidate.found == most);
    let Some(first) = best.next() else { return Err(broken(&file.path, nothing(file, slots, context))) };
    let tensor_of = |candidate: &Candidate| {
        let mut names = candidate.wanted.iter().map(|(_, name)| name.clone());
        names.find(|name| file.tensors.contains_key(name))
    };
    let elsewhere = |other: &Candidate| other.prefix != first.prefix && tensor_of(other) != tensor_of(&first);
    if let Some(other) = best.find(elsewhere) {
        let places = [&first, &other].map(|candidate| format!("`{}`", candidate.prefix.trim_end_matches('.')));
        let problem = format!("two networks fit, under {}: choose one with `under`", places.join(" and "));
        return Err(broken(&file.path, problem));
    }
    first.checked(file, slots.len())
}

/// One candidate for each prefix under which any tensor is found.
fn candidates<'a>(file: &Weights, layout: &'static Layout, slots: &'a [Slot], context: Context) -> Vec<Candidate<'a>> {
    let (mut names, mut skipped) = (Vec::new(), HashSet::new());
    for slot in slots {
        let Some(name) = layout.rename(&slot.name, context) else { continue };
        if file.head || !is_head(slot, context) {
            names.push((slot, name));
        } else {
            skipped.insert(name);
        }
    }
    let mut prefixes = BTreeSet::new();
    for key in file.tensors.keys() {
        let of = names.iter().filter_map(|(_, name)| key.strip_suffix(name.as_str()));
        prefixes.extend(of.filter(|prefix| prefix.is_empty() || prefix.ends_with('.')));
    }
    let allowed = |prefix: &&str| file.under.as_ref().is_none_or(|under| prefix.starts_with(under.as_str()));
    let candidate = |prefix: &str| {
        let with = |name: &String| format!("{prefix}{name}");
        let wanted: Vec<_> = names.iter().map(|(slot, name)| (*slot, with(name))).collect();
        let found = wanted.iter().filter(|(_, name)| file.tensors.contains_key(name)).count();
        Candidate { layout, prefix: prefix.into(), wanted, skipped: skipped.iter().map(with).collect(), found }
    };
    prefixes.into_iter().filter(allowed).map(candidate).collect()
}

impl Candidate<'_> {
    fn checked(self, file: &Weights, slots: usize) -> Result<Match> {
        let (mut missing, mut wrong, mut found) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, name) in &self.wanted {
            match file.tensors.get(name) {
                None if slot.optional => {}
                None => missing.push(format!("`{name}`")),
                Some(tensor) if tensor.shape.to_vec() != slot.shape => {
                    wrong.push(format!("`{name}` has shape {:?}, expected {:?}", tensor.shape.to_vec(), slot.shape));
                }
                Some(tensor) if !tensor.dtype.is_float() => {
                    wrong.push(format!("`{name}` is {:?}, expected floats", tensor.dtype));
                }
                Some(_) => found.push(((*slot).clone(), name.clone())),
            }
        }
        let unused = if file.allow_unused { Vec::new() } else { self.unused(file) };
        if missing.is_empty() && wrong.is_empty() && unused.is_empty() && !found.is_empty() {
            return Ok(Match { layout: self.layout.name, prefix: self.prefix, found });
        }
        let kinds = [("missing", missing), ("not as expected", wrong), ("left over", unused)];
        let told = kinds.into_iter().filter(|(_, names)| !names.is_empty());
        let told: Vec<String> = told.map(|(kind, names)| format!("{kind}: {}", list(names))).collect();
        let under = self.prefix.trim_end_matches('.');
        let under = if under.is_empty() { String::new() } else { format!(" under `{under}`") };
        let (layout, found) = (self.layout.name, self.found);
        let fits =
            format!("of the network's {slots} tensors it has {found} in the layout {layout}{under}, which fits best");
        Err(broken(&file.path, format!("{fits}; {}; tried: {}", told.join("; "), tried())))
    }

    /// Tensors of the file under the prefix that are not wanted.
    fn unused(&self, file: &Weights) -> Vec<String> {
        let wanted: HashSet<&str> = self.wanted.iter().map(|(_, name)| name.as_str()).collect();
        let is_unused = |key: &&String| {
            let Some(name) = key.strip_prefix(&self.prefix) else { return false };
            let counted = name.ends_with("num_batches_tracked");
            let alias = self.layout.aliases.iter().any(|alias| name.starts_with(alias));
            !(counted || alias || wanted.contains(key.as_str()) || self.skipped.contains(*key))
        };
        file.tensors.keys().filter(is_unused).map(|key| format!("`{key}`")).collect()
    }
}

/// What to say where no name is known.
fn nothing(file: &Weights, slots: &[Slot], context: Context) -> String {
    let leaky = file.tensors.keys().any(|key| key.contains("layer_dict.conv0.conv."));
    if leaky {
        return "are weights of HowToTrainYourMAML, whose network normalises before each convolution and has leaky ReLUs: \
                there is none such here"
            .into();
    }
    let first = slots.first().map_or("", |slot| slot.name.as_str());
    let names: BTreeSet<String> = LAYOUTS.iter().filter_map(|layout| layout.rename(first, context)).collect();
    let expected = list(names.iter().map(|name| format!("`{name}`")).collect());
    let found = match file.tensors.is_empty() {
        true => "no tensors".into(),
        false => list(file.tensors.keys().map(|name| format!("`{name}`")).collect()),
    };
    format!(
        "has none of the network's tensors: found {found}, expected the first to be one of {expected}; tried: {}",
        tried()
    )
}

fn tried() -> String {
    LAYOUTS.map(|layout| layout.name).join(", ")
}

fn list(names: Vec<String>) -> String {
    let more = names.len().saturating_sub(TOLD);
    let told = names[..names.len() - more].join(", ");
    if more > 0 { format!("{told} and {more} more") } else { told }
}

fn context(slots: &[Slot]) -> Context {
    let number = |list: &str| {
        let of = slots.iter().filter_map(|slot| slot.name.strip_prefix(list)?.split('.').next()?.parse::<usize>().ok());
        of.max().map_or(0, |last| last + 1)
    };
    Context { blocks: number("blocks."), last: number("layers.").saturating_sub(1) }
}

fn is_head(slot: &Slot, context: Context) -> bool {
    slot.name.starts_with("head.") || slot.name.starts_with(&format!("layers.{}.", context.last))
}
