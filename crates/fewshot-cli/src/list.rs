//! `fewshot fetch --list`: what can be fetched.
//!
//! Does not know: downloads.

use fewshot_data::{Manifest, ManifestFile};
use serde_json::{Value, json};

use crate::failure::Failure;
use crate::output::{Output, bytes};

/// Lists one dataset in full, or all of them.
pub fn run(one: Option<Manifest>, output: &Output) -> Result<(), Failure> {
    let full = one.is_some();
    let manifests = match one {
        Some(manifest) => vec![manifest],
        None => Manifest::known().map(Manifest::named).collect::<Result<_, _>>()?,
    };
    for manifest in &manifests {
        show(manifest, full, output);
    }
    let datasets: Vec<_> = manifests.iter().map(document).collect();
    output.document("fetch --list", json!({}), json!({ "datasets": datasets }))
}

fn show(manifest: &Manifest, full: bool, output: &Output) {
    let title = manifest.title.as_deref().unwrap_or_default();
    output.line(format!("{:<16}{title}", manifest.name));
    if full {
        let optional = [("homepage", &manifest.homepage), ("images", &manifest.images)];
        let always = [("licence", &manifest.licence), ("cite", &manifest.citation)];
        let lines = optional.into_iter().filter_map(|(key, value)| Some((key, value.as_ref()?)));
        lines.chain(always).for_each(|(key, value)| output.line(format!("  {key}: {value}")));
    }
    for file in &manifest.files {
        output.line(format!("  {}", line(file, full)));
    }
    for split in manifest.splits.iter().filter(|_| full) {
        let val = split.val.as_ref().map_or(String::new(), |val| format!("; val: {val}"));
        output.line(format!("  split {}: train: {}{val}; test: {}", split.name, split.train, split.test));
    }
}

fn line(file: &ManifestFile, full: bool) -> String {
    let mut line = file.name.clone();
    if let Some(size) = file.size {
        line += &format!(", {}", bytes(size));
    }
    if file.optional {
        line += ", optional";
    }
    if file.urls.is_empty() {
        line += ", by hand";
    }
    if let Some(holds) = &file.holds {
        line += &format!(": {holds}");
    }
    match &file.by_hand {
        Some(how) if full => line + "\n    " + how,
        _ => line,
    }
}

fn document(manifest: &Manifest) -> Value {
    let file = |file: &ManifestFile| {
        json!({
            "name": file.name, "urls": file.urls, "by_hand": file.by_hand, "size": file.size, "md5": file.md5,
            "sha256": file.sha256, "holds": file.holds, "optional": file.optional,
        })
    };
    let files: Vec<_> = manifest.files.iter().map(file).collect();
    json!({
        "name": manifest.name, "title": manifest.title, "homepage": manifest.homepage, "licence": manifest.licence,
        "citation": manifest.citation, "files": files,
    })
}
