//! Which dataset is meant, and where its files belong.
//!
//! Does not know: what is done with it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use fewshot_data::Manifest;

use crate::failure::Failure;

/// The manifest of a dataset given by name, or by the path of a manifest: what ends in `.toml` or names a directory.
pub fn manifest(dataset: &str) -> Result<Manifest, Failure> {
    let path = dataset.ends_with(".toml") || dataset.contains(['/', std::path::MAIN_SEPARATOR]);
    Ok(if path { Manifest::read(dataset)? } else { Manifest::named(dataset)? })
}

/// Where the files of a dataset belong if nothing else is said: in a directory of its name in `$FEWSHOT_DATA`, or where the
/// system keeps data of the user.
pub fn home(name: &str) -> Result<PathBuf, Failure> {
    home_in(name, std::env::var_os("FEWSHOT_DATA"), dirs::data_dir())
}

fn home_in(name: &str, variable: Option<OsString>, data: Option<PathBuf>) -> Result<PathBuf, Failure> {
    match (variable.filter(|value| !value.is_empty()), data) {
        (Some(value), _) => Ok(Path::new(&value).join(name)),
        (None, Some(data)) => Ok(data.join("fewshot").join(name)),
        (None, None) => {
            Err(Failure::usage("no home directory is known; say where the files go with --into, or set FEWSHOT_DATA"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_variable_comes_before_the_system() {
        let home = |variable: Option<&str>, data: Option<&str>| {
            home_in("fc100", variable.map(Into::into), data.map(Into::into)).ok()
        };
        assert_eq!(home(Some("/d"), Some("/x")), Some("/d/fc100".into()));
        assert_eq!(home(Some(""), Some("/x")), Some("/x/fewshot/fc100".into()));
        assert_eq!(home(None, None), None);
    }
}
