//! What a figure or table leaves behind: Markdown, JSON, and pictures as SVG and PNG, in one directory.
//!
//! Does not know: what any of them shows.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::{Map, Value, json};

use super::provenance::Provenance;
use crate::arguments::{Screen, count, note};
use crate::chart::Chart;
use crate::document::Document;
use crate::failure::Failure;
use crate::files;

/// Options of every figure and table.
#[derive(Args, Clone, Debug)]
pub struct OutputArgs {
    /// The paper's setting, or what stands for it here, in the place of the quick one: hours to weeks on a CPU
    #[arg(long)]
    pub full: bool,

    /// Directory of the outputs
    #[arg(long, value_name = "DIR", default_value = "out/paper")]
    pub out: PathBuf,

    /// Write the JSON document here too; `-` is standard output, and what else would stand there goes to standard error
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Tasks in work at a time [default: the number of cores]; the results do not depend on it, but for figure4, which is about
    /// it
    #[arg(long, value_name = "N", value_parser = count)]
    pub threads: Option<usize>,
}

impl OutputArgs {
    /// Checks that everything can be written before anything is computed, and makes the directory.
    ///
    /// # Errors
    ///
    /// [`Failure::Usage`].
    pub fn prepare(&self) -> Result<(), Failure> {
        self.json.as_deref().map_or(Ok(()), files::check_file)?;
        files::check_directory(&self.out)?;
        let made = std::fs::create_dir_all(&self.out);
        made.map_err(|cause| Failure::usage(format!("{}: {cause}", self.out.display())))
    }
}

/// A figure or table.
#[derive(Debug)]
pub struct Output {
    /// Its name, that of its files.
    pub name: &'static str,
    /// Headline.
    pub title: String,
    /// Settings, seeds among them.
    pub settings: Value,
    /// Numbers that are the same for the same settings.
    pub results: Value,
    /// Numbers that are not.
    pub timing: Map<String, Value>,
    /// What it says, in Markdown, tables among it.
    pub markdown: String,
    /// The picture, of a figure.
    pub chart: Option<Chart>,
}

impl Output {
    /// Writes all files, and shows the text.
    ///
    /// # Errors
    ///
    /// [`Failure::Failed`].
    pub fn write(self, args: &OutputArgs) -> Result<(), Failure> {
        let provenance = Provenance::now();
        let place = |ending: &str| args.out.join(format!("{}.{ending}", self.name));
        let mut written = vec![place("md"), place("json")];
        if let Some(chart) = &self.chart {
            files::write(&place("svg"), &chart.svg()?)?;
            write_bytes(&place("png"), &chart.png()?)?;
            written.extend([place("svg"), place("png")]);
        }
        files::write(&place("md"), &self.document(&provenance)?)?;
        Screen::new(args.json.as_deref()).result(format_args!("{}\n\n{}", self.title, self.markdown.trim_end()));
        let provenance = serde_json::to_value(&provenance).map_err(Failure::failed)?;
        let settings = json!({ "output": self.name, "settings": self.settings });
        let document = Document::new("paper", settings, self.results).with_timing("provenance", provenance);
        let document =
            self.timing.into_iter().fold(document, |document, (key, value)| document.with_timing(&key, value));
        document.write(&place("json"))?;
        args.json.as_deref().map_or(Ok(()), |path| document.write(path))?;
        let written: Vec<String> = written.iter().map(|path| path.display().to_string()).collect();
        note(format!("{} written: {}", self.name, written.join(", ")));
        Ok(())
    }

    fn document(&self, provenance: &Provenance) -> Result<String, Failure> {
        let picture = self.chart.as_ref().map_or_else(String::new, |chart| {
            let caption = chart.subtitle.join("; ");
            format!("![{}. {caption}]({}.svg)\n\n{caption}\n\n", chart.title, self.name)
        });
        let settings = serde_json::to_string_pretty(&self.settings).map_err(Failure::failed)?;
        Ok(format!(
            "# {}\n\n{picture}{}\n\n## Made with\n\n{}\n\n```json\n{settings}\n```\n",
            self.title,
            self.markdown.trim_end(),
            provenance.line()
        ))
    }
}

fn write_bytes(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    files::write_with(path, |temporary| std::fs::write(temporary, bytes).map_err(|cause| cause.to_string()))
}

/// A Markdown table, of cells row by row; the first column to the left, the others to the right.
pub fn table(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column)).chain(head.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
    };
    let line = |cells: &[String]| {
        let cells = cells.iter().enumerate().map(|(at, cell)| {
            let blank = " ".repeat(width(at) - cell.chars().count());
            if at == 0 { format!(" {cell}{blank} |") } else { format!(" {blank}{cell} |") }
        });
        format!("|{}\n", cells.collect::<String>())
    };
    let rule = (0..head.len()).map(|at| {
        let dashes = "-".repeat(width(at));
        if at == 0 { format!("{dashes}--|") } else { format!("{dashes}-:|") }
    });
    let mut text = line(head) + &format!("|{}\n", rule.collect::<String>());
    text.extend(rows.iter().map(|row| line(row)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_aligned() {
        let cells = |texts: [&str; 2]| texts.map(String::from).to_vec();
        let text = table(&cells(["estimator", "5-way"]), &[cells(["MAML", "46.50 ± 1.20"]), cells(["FOMAML", "-"])]);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[1], "|-----------|-------------:|");
        assert_eq!(lines[2], "| MAML      | 46.50 ± 1.20 |");
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()), "{text}");
    }
}
