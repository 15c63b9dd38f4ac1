//! The settings of the programs that train: declared once, read from presets, files and the command line.
//!
//! A section such as `[inner]` is declared with its keys, their types, their options and a line of help. Of that are made a
//! struct of settings, the same with every key optional for the command line, and the list of keys.
//!
//! Does not know: what the settings do.

pub mod convert;
mod layers;
mod numbers;
mod sections;

pub use layers::{Layers, Settings};
pub use numbers::{Count, Positive, Share};
pub use sections::*;

/// Declares sections of settings: `Struct, Options, "section", "Heading"`, keys that every run has, and after `maybe` those
/// that may be missing.
macro_rules! declare {
    ($(
        $(#[doc = $about:literal])*
        $name:ident, $options:ident, $section:literal, $heading:literal {
            $( $(#[doc = $help:literal])+ $key:ident: $type:ty, $flag:literal $([$($extra:tt)+])?; )*
        } maybe {
            $( $(#[doc = $maybe_help:literal])+ $maybe_key:ident: $maybe_type:ty, $maybe_flag:literal $([$($maybe_extra:tt)+])?; )*
        }
    )*) => { $(
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name {
            $( $(#[doc = $help])+ pub $key: $type, )*
            $( $(#[doc = $maybe_help])+ #[serde(skip_serializing_if = "Option::is_none")] pub $maybe_key: Option<$maybe_type>, )*
        }

        #[doc = concat!("Options of the command line for [`", stringify!($name), "`].")]
        #[derive(clap::Args, Clone, Debug, Default, serde::Serialize)]
        #[command(next_help_heading = $heading)]
        pub struct $options {
            $( $(#[doc = $help])+
               #[arg(id = $flag, long = $flag $(, $($extra)+)?)]
               #[serde(skip_serializing_if = "Option::is_none")]
               pub $key: Option<$type>, )*
            $( $(#[doc = $maybe_help])+
               #[arg(id = $maybe_flag, long = $maybe_flag $(, $($maybe_extra)+)?)]
               #[serde(skip_serializing_if = "Option::is_none")]
               pub $maybe_key: Option<$maybe_type>, )*
        }

        impl $name {
            /// Section, key and option of each setting.
            pub const KEYS: &'static [(&'static str, &'static str, &'static str)] = &[
                $( ($section, stringify!($key), $flag), )*
                $( ($section, stringify!($maybe_key), $maybe_flag), )*
            ];
        }
    )* };
}
use declare;

/// Declares the settings of a program as a list of sections.
macro_rules! settings {
    ($(#[doc = $about:literal])* $name:ident, $options:ident { $( $(#[doc = $help:literal])+ $section:ident: $type:ident, $of:ident; )* }) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        pub struct $name { $( $(#[doc = $help])+ pub $section: $crate::settings::$type, )* }

        #[doc = concat!("Options of the command line for [`", stringify!($name), "`].")]
        #[derive(clap::Args, Clone, Debug, Default, serde::Serialize)]
        pub struct $options { $( $(#[doc = $help])+ #[command(flatten)] pub $section: $crate::settings::$of, )* }

        impl $crate::settings::Settings for $name {
            type Options = $options;

            fn keys() -> Vec<(&'static str, &'static str, &'static str)> {
                [$( $crate::settings::$type::KEYS ),*].concat()
            }
        }
    };
}
pub(crate) use settings;
