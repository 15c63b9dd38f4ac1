//! Settings from several places, the later ones winning: quick settings or a preset, a file, the command line.
//!
//! Does not know: which settings there are.

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

use crate::failure::Failure;

/// Settings of a program: sections with keys, each of which is an option of the command line too.
pub trait Settings: Serialize + DeserializeOwned {
    /// The same settings where each may be missing: the options of the command line.
    type Options: clap::Args + Serialize + Clone + std::fmt::Debug + Send + Sync + 'static;

    /// Every setting as (section, key, option).
    fn keys() -> Vec<(&'static str, &'static str, &'static str)>;
}

/// Settings that were put one over the other.
#[derive(Clone, Debug)]
pub struct Layers(Table);

impl Layers {
    /// The lowest, with every setting that has to be there.
    ///
    /// # Errors
    ///
    /// As [`over`](Self::over).
    pub fn new<S: Settings>(place: &str, text: &str) -> Result<Self, Failure> {
        Self(Table::new()).over::<S>(place, parse(place, text)?)
    }

    /// These settings with others over them.
    ///
    /// A layer that names an estimator, or a kind of backbone, begins that section anew: an order that was meant for another
    /// estimator is not kept.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] naming the place and the key: one that there is not, or a value of the wrong kind.
    pub fn over<S: Settings>(mut self, place: &str, layer: Table) -> Result<Self, Failure> {
        check_keys::<S>(&layer).map_err(|failure| failure.at(place))?;
        for (section, keys) in layer {
            let Value::Table(keys) = keys else { continue };
            let there = self.0.entry(section.clone()).or_insert_with(|| Value::Table(Table::new()));
            let Value::Table(there) = there else { continue };
            let name = if section == "model" { "backbone" } else { "name" };
            let named = |table: &Table| table.get(name).cloned();
            if named(&keys).is_some_and(|name| named(there) != Some(name)) {
                there.clear();
            }
            there.extend(keys);
        }
        self.settings::<S>().map_err(|failure| failure.at(place))?;
        Ok(self)
    }

    /// The same with the text of a TOML file over them.
    ///
    /// # Errors
    ///
    /// As [`over`](Self::over), and for text that is not TOML.
    pub fn over_text<S: Settings>(self, place: &str, text: &str) -> Result<Self, Failure> {
        self.over::<S>(place, parse(place, text)?)
    }

    /// The same with options of the command line over them.
    ///
    /// # Errors
    ///
    /// As [`over`](Self::over).
    pub fn over_options<S: Settings>(self, options: &impl Serialize) -> Result<Self, Failure> {
        let mut options = Table::try_from(options).map_err(Failure::failed)?;
        options.retain(|_, section| section.as_table().is_some_and(|section| !section.is_empty()));
        self.over::<S>("command line", options)
    }

    /// The settings.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] for a value of the wrong kind or a setting that is missing, naming it.
    pub fn settings<S: Settings>(&self) -> Result<S, Failure> {
        self.0.clone().try_into().map_err(Failure::usage)
    }

    /// What a setting is now, as TOML; nothing if it has no value.
    pub fn value(&self, section: &str, key: &str) -> Option<&Value> {
        self.0.get(section)?.get(key)
    }
}

fn parse(place: &str, text: &str) -> Result<Table, Failure> {
    text.parse::<Table>().map_err(|error| {
        let line = error.span().map_or(0, |span| text[..span.start.min(text.len())].matches('\n').count() + 1);
        Failure::usage(format!("{place}:{line}: {}", error.message()))
    })
}

/// That there are no other keys than the settings have.
fn check_keys<S: Settings>(layer: &Table) -> Result<(), Failure> {
    let known: Vec<String> = S::keys().iter().map(|(section, key, _)| format!("{section}.{key}")).collect();
    for (section, keys) in layer {
        let found: Vec<String> = match keys {
            Value::Table(keys) => keys.keys().map(|key| format!("{section}.{key}")).collect(),
            _ => vec![section.clone()],
        };
        if let Some(unknown) = found.iter().find(|key| !known.contains(key)) {
            let nearest = nearest(unknown, &known);
            return Err(Failure::usage(format!("unknown setting `{unknown}` (did you mean `{nearest}`?)")));
        }
    }
    Ok(())
}

/// The known key that takes the fewest edits, by the whole of it or by what stands behind the dot.
fn nearest<'a>(unknown: &str, known: &'a [String]) -> &'a str {
    let last = |key: &str| key.rsplit('.').next().unwrap_or_default().to_owned();
    // Of keys as near by their last part, the one whose section is nearer.
    let distance = |key: &String| (edits(&last(unknown), &last(key)), edits(unknown, key));
    known.iter().min_by_key(|key| distance(key)).map_or("", String::as_str)
}

/// Levenshtein's distance.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, to) in b.iter().enumerate() {
            let changed = diagonal + usize::from(from != *to);
            let cost = changed.min(row[j] + 1).min(row[j + 1] + 1);
            diagonal = std::mem::replace(&mut row[j + 1], cost);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use clap::Args;
    use serde::Deserialize;

    use super::*;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Small {
        inner: Inner,
        estimator: Estimator,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Inner {
        steps: usize,
        learning_rate: f64,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Estimator {
        name: String,
        order: Option<usize>,
    }

    #[derive(Args, Clone, Debug, Serialize)]
    struct Nothing {}

    impl Settings for Small {
        type Options = Nothing;

        fn keys() -> Vec<(&'static str, &'static str, &'static str)> {
            vec![
                ("inner", "steps", "inner-steps"),
                ("inner", "learning_rate", "inner-lr"),
                ("estimator", "name", "estimator"),
                ("estimator", "order", "order"),
            ]
        }
    }

    const QUICK: &str = "[inner]\nsteps = 5\nlearning_rate = 0.1\n[estimator]\nname = \"binomial\"\norder = 2";

    fn quick() -> Layers {
        Layers::new::<Small>("quick", QUICK).unwrap()
    }

    #[test]
    fn later_layers_win_key_by_key() {
        let layers = quick().over_text::<Small>("file", "[inner]\nsteps = 3").unwrap();
        let settings: Small = layers.over_text::<Small>("line", "estimator.order = 1").unwrap().settings().unwrap();
        assert_eq!((settings.inner.steps, settings.inner.learning_rate), (3, 0.1));
        assert_eq!(settings.estimator, Estimator { name: "binomial".into(), order: Some(1) });
    }

    #[test]
    fn another_estimator_leaves_nothing_of_the_one_before() {
        let of = |text: &str| quick().over_text::<Small>("line", text).unwrap().settings::<Small>().unwrap().estimator;
        assert_eq!(of("estimator.name = \"exact\""), Estimator { name: "exact".into(), order: None });
        assert_eq!(of("estimator.name = \"binomial\"").order, Some(2));
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        for (text, expected) in [
            ("[inner]\nstepz = 3", "file: unknown setting `inner.stepz` (did you mean `inner.steps`?)"),
            ("learning_rate = 3", "file: unknown setting `learning_rate` (did you mean `inner.learning_rate`?)"),
            ("[estimtor]\nname = \"x\"", "file: unknown setting `estimtor.name` (did you mean `estimator.name`?)"),
            ("[inner]\nsteps = = 3", "file:2: "),
        ] {
            let error = quick().over_text::<Small>("file", text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        let error = quick().over_text::<Small>("file", "[inner]\nsteps = \"many\"").unwrap_err().to_string();
        assert!(error.starts_with("file: ") && error.contains("inner.steps") && error.contains("many"), "{error}");
    }
}
