//! The command line of the programs that train: `train`, `test` and `adapt`, and where their settings come from.
//!
//! Does not know: what is trained.

use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use serde::Serialize;

use crate::arguments::refused;
use crate::failure::Failure;
use crate::files;
use crate::presets::Preset;
use crate::settings::{Layers, Settings};

/// What a program says of itself, and the settings it comes with.
#[derive(Clone, Debug)]
pub struct About {
    /// Its name, that of the example.
    pub name: &'static str,
    /// What it does, for its help: a line, and more after an empty one.
    pub summary: String,
    /// Lines of examples, for its help.
    pub examples: String,
    /// Its settings where nothing else is said: TOML with every setting that has to be there.
    pub quick: &'static str,
    /// Published settings.
    pub presets: &'static [Preset],
}

/// The commands: with their settings' options `O`, and the arguments of the other commands.
#[derive(Parser, Debug)]
#[command(version, subcommand_required = true, disable_help_subcommand = true)]
struct Line<O: Args, T: Args, A: Args> {
    #[command(subcommand)]
    command: Command<O, T, A>,
}

/// A command.
#[derive(Subcommand, Debug)]
pub enum Command<O: Args, T: Args, A: Args> {
    /// Meta-train, then test; this is what runs if no command is given
    Train(TrainArgs<O>),
    /// Test what was trained
    Test(T),
    /// Adapt what was trained to a task of your own, and predict
    Adapt(A),
}

/// Arguments of `train`.
#[derive(Args, Clone, Debug)]
pub struct TrainArgs<O: Args> {
    /// Directory of the run: checkpoints, metrics.csv and results.json. A run of the same settings that is there goes on
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    #[command(flatten)]
    from: Sources,

    /// Write settings and results as JSON; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Watch the run on the dashboard of burn-train, in the terminal; there `q` stops it, and Ctrl-C does nothing
    #[arg(long)]
    pub dashboard: bool,

    #[command(flatten)]
    options: O,
}

/// Where settings come from, beside options of their own.
#[derive(Args, Clone, Debug)]
struct Sources {
    /// Published settings by name, listed by `--help` without a command [default: quick]
    #[arg(long, value_name = "NAME")]
    preset: Option<String>,

    /// Settings in a TOML file. Over those of a preset; options given here are over both
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Write the settings as a TOML file to standard output, and do nothing else
    #[arg(long)]
    print_settings: bool,
}

/// Reads the command line of a program with settings `S`.
///
/// # Errors
///
/// [`Failure::Usage`] for whatever clap rejects. `--help` and `--version` print, and end the program.
pub fn read<S: Settings, T: Args, A: Args>(about: &About) -> Result<Command<S::Options, T, A>, Failure> {
    let quick = Layers::new::<S>("quick settings", about.quick)?;
    let presets = Preset::listing(about.presets);
    let command = Line::<S::Options, T, A>::command()
        .name(about.name)
        .about(about.summary.split("\n\n").next().unwrap_or_default().to_owned())
        .long_about(about.summary.clone())
        .after_help(format!("Examples:\n{}\n\n{presets}\n\nEvery command has a --help of its own.", about.examples))
        .mut_subcommands(|command| command.args_override_self(true))
        .mut_subcommand("train", |train| with_defaults::<S>(train, &quick, about.name));
    let matches = command.try_get_matches_from(with_command(std::env::args_os().collect()));
    let line = matches.and_then(|matches| Line::from_arg_matches(&matches)).map_err(|error| refused(&error))?;
    Ok(line.command)
}

/// The arguments with `train` in its place where there is no command.
fn with_command(mut args: Vec<OsString>) -> Vec<OsString> {
    let first = args.get(1).map(|first| first.to_string_lossy().into_owned());
    let asks = |first: &str| matches!(first, "-h" | "--help" | "-V" | "--version");
    if first.is_none_or(|first| first.starts_with('-') && !asks(&first)) {
        args.insert(args.len().min(1), "train".into());
    }
    args
}

/// Options whose help ends in what the quick settings have.
fn with_defaults<S: Settings>(mut train: clap::Command, quick: &Layers, name: &str) -> clap::Command {
    for (section, key, option) in S::keys() {
        let shown = quick.value(section, key).and_then(shown);
        // An argument that is changed goes to the end, so that all are, in their order.
        train = train.mut_arg(option, |arg| {
            let Some(shown) = shown else { return arg };
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            let help = help.split(" [default: ").next().unwrap_or_default();
            arg.help(format!("{help} [default: {shown}]"))
        });
    }
    train.mut_arg("out", |arg| {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        arg.help(format!("{help} [default: out/{name}]"))
    })
}

/// A value as it would be given on the command line; nothing for one that says nothing.
fn shown(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::Array(list) if list.is_empty() => None,
        toml::Value::Array(list) => Some(list.iter().filter_map(shown).collect::<Vec<_>>().join(",")),
        toml::Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

impl<O: Args + Serialize> TrainArgs<O> {
    /// The settings: quick ones or a preset, under a file, under the options.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn settings<S: Settings<Options = O>>(&self, about: &About) -> Result<S, Failure> {
        let mut layers = Layers::new::<S>("quick settings", about.quick)?;
        if let Some(preset) = self.preset(about)? {
            layers = layers.over_text::<S>(preset.name, preset.toml)?;
        }
        if let Some(path) = &self.from.settings {
            let place = path.display().to_string();
            let text = fs::read_to_string(path).map_err(|cause| Failure::usage(cause).at(&place))?;
            layers = layers.over_text::<S>(&place, &text)?;
        }
        layers.over_options::<S>(&self.options)?.settings()
    }

    /// The preset that was asked for; none for `quick`.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`] naming those there are.
    pub fn preset(&self, about: &About) -> Result<Option<Preset>, Failure> {
        let Some(name) = self.from.preset.as_deref().filter(|name| *name != "quick") else { return Ok(None) };
        let found = about.presets.iter().find(|preset| preset.name == name);
        let names = || about.presets.iter().map(|preset| preset.name).collect::<Vec<_>>();
        let unknown = || {
            let known = [vec!["quick"], names()].concat().join(", ");
            Failure::usage(format!("--preset {name}: there is no such preset; there are {known}"))
        };
        found.copied().map(Some).ok_or_else(unknown)
    }

    /// Whether the settings are the quick ones, but for what options and file say.
    pub fn is_quick(&self) -> bool {
        self.from.preset.as_deref().is_none_or(|name| name == "quick")
    }

    /// Whether the settings are to be printed, and nothing else done.
    pub fn prints(&self) -> bool {
        self.from.print_settings
    }

    /// The directory of the run, checked with everything else that is to be written or shown.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn directory(&self, about: &About) -> Result<PathBuf, Failure> {
        if self.dashboard && !std::io::stdout().is_terminal() {
            return Err(Failure::usage("--dashboard: standard output is no terminal"));
        }
        self.json.as_deref().map_or(Ok(()), files::check_file)?;
        let directory = self.out.clone().unwrap_or_else(|| Path::new("out").join(about.name));
        files::check_directory(&directory)?;
        Ok(directory)
    }
}

/// Settings as the text of a TOML file.
///
/// # Errors
///
/// [`Failure::Failed`].
pub fn to_toml<S: Settings>(settings: &S) -> Result<String, Failure> {
    toml::to_string(settings).map_err(Failure::failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn train_is_the_command_where_there_is_none() {
        let read = |line: &str| {
            let args = with_command(line.split(' ').map(OsString::from).collect());
            args.into_iter().map(|arg| arg.into_string().unwrap()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(read("program"), "program train");
        assert_eq!(read("program --way 3"), "program train --way 3");
        for line in ["program test --out x", "program --help", "program -V", "program train"] {
            assert_eq!(read(line), line);
        }
    }
}
