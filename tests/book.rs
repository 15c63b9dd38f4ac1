//! The book: every chapter is listed, every link leads somewhere, every command is one that its program takes.
//!
//! Its Rust is compiled and run as documentation tests (`examples/common/book.rs`).

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use burn_meta::Estimator;
use tempfile::TempDir;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|cause| panic!("{}: {cause}", path.display()))
}

/// Chapters, by their path below `docs`: all files that end in `.md`, but for the summary.
fn chapters() -> BTreeSet<String> {
    fn collect(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|ending| ending == "md") {
                found.push(path);
            }
        }
    }
    let (docs, mut found) = (root().join("docs"), Vec::new());
    collect(&docs, &mut found);
    let name = |path: &PathBuf| path.strip_prefix(&docs).unwrap().to_str().unwrap().replace('\\', "/");
    found.iter().map(name).filter(|name| name != "SUMMARY.md").collect()
}

/// A block of code: the words after its fence, and its lines.
type Block = (String, Vec<String>);

/// The lines of a document outside of blocks of code, and those blocks.
fn parts(text: &str) -> (Vec<&str>, Vec<Block>) {
    let (mut prose, mut blocks, mut inside) = (Vec::new(), Vec::new(), false);
    for line in text.lines() {
        if let Some(language) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            if inside {
                blocks.push((language.trim().to_owned(), Vec::new()));
            }
        } else if inside {
            blocks.last_mut().unwrap().1.push(line.to_owned());
        } else {
            prose.push(line);
        }
    }
    assert!(!inside, "a block of code without an end");
    (prose, blocks)
}

/// Targets of links and pictures: what stands between `](` and `)`.
fn links(text: &str) -> Vec<String> {
    let prose = parts(text).0.join("\n");
    let target = |rest: &str| rest.split_once(')').map(|(target, _)| target.to_owned());
    prose.split("](").skip(1).filter_map(target).collect()
}

/// What is between backquotes.
fn spans(text: &str) -> Vec<String> {
    parts(text).0.join("\n").split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The names by which headings can be linked to.
fn anchors(text: &str) -> Vec<String> {
    let name = |heading: &str| {
        let kept = heading.trim().to_lowercase();
        let kept = kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
        kept.map(|c| if c == ' ' { '-' } else { c }).collect()
    };
    let headings = parts(text).0.into_iter().filter(|line| line.starts_with('#'));
    headings.map(|line| name(line.trim_start_matches('#'))).collect()
}

#[test]
fn every_chapter_is_in_the_summary_and_the_other_way_round() {
    let listed = links(&read("docs/SUMMARY.md"));
    let listed_once: BTreeSet<String> = listed.iter().cloned().collect();
    assert_eq!(listed.len(), listed_once.len(), "a chapter is listed twice");
    assert_eq!(listed_once, chapters());
}

#[test]
fn every_link_of_the_book_leads_somewhere_in_the_book() {
    let mut followed = 0;
    for chapter in chapters() {
        let text = read(Path::new("docs").join(&chapter));
        for link in links(&text).iter().filter(|link| !link.starts_with("http")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let here = Path::new(&chapter);
            let target = if file.is_empty() { here.into() } else { here.with_file_name(file) };
            let path = root().join("docs").join(&target);
            assert!(path.is_file(), "{chapter}: a link to {link}, where there is nothing");
            // Pages are made of what is in the folder alone.
            let inside = path.canonicalize().unwrap().starts_with(root().join("docs").canonicalize().unwrap());
            assert!(inside, "{chapter}: a link to {link}, which is not in the book");
            let there =
                anchor.is_empty() || anchors(&fs::read_to_string(&path).unwrap()).iter().any(|name| name == anchor);
            assert!(there, "{chapter}: a link to {link}, which has no such heading");
            followed += 1;
        }
    }
    assert!(followed > 40, "{followed} links: they are no longer found");
}

#[test]
fn files_that_are_named_are_there() {
    const FOLDERS: [&str; 6] = ["crates/", "examples/", "tests/", "benches/", "datasets/", "docs/"];
    for chapter in chapters().iter().map(|chapter| format!("docs/{chapter}")).chain(["README.md".into()]) {
        let named = spans(&read(&chapter));
        // Paths alone, without wildcards; records of decisions tell of files as they were.
        let path =
            |span: &&String| FOLDERS.iter().any(|folder| span.starts_with(folder)) && !span.contains([' ', '*', '{']);
        for span in named.iter().filter(path).filter(|_| !chapter.starts_with("docs/adr/0")) {
            assert!(root().join(span).exists(), "{chapter}: `{span}` is not there");
        }
    }
}

#[test]
fn chapters_with_rust_are_documentation_tests() {
    let tested = read("examples/common/book.rs");
    for chapter in chapters() {
        let blocks = parts(&read(Path::new("docs").join(&chapter))).1;
        let runs = |(language, _): &Block| language.is_empty() || language.starts_with("rust");
        let rust = blocks.iter().filter(|block| runs(block)).any(|(language, _)| !language.contains("ignore"));
        let named = tested.contains(&format!("\"{chapter}\""));
        assert_eq!(rust, named, "{chapter}: Rust in it, and whether examples/common/book.rs names it");
    }
}

/// The commands `cargo run .. --example NAME -- ARGUMENTS` of a document, with what they are redirected to.
fn commands(text: &str) -> Vec<(String, Vec<String>, Option<String>)> {
    let joined = |lines: &Vec<String>| lines.join("\n").replace("\\\n", " ");
    let shell = parts(text).1.into_iter().filter(|(language, _)| language == "sh");
    let lines: Vec<String> =
        shell.flat_map(|(_, lines)| joined(&lines).lines().map(str::to_owned).collect::<Vec<_>>()).collect();
    let all = lines
        .into_iter()
        .chain(spans(text))
        .filter(|line| line.starts_with("cargo run") && line.contains("--example "));
    let command = |line: String| {
        let (line, into) = match line.split_once(" > ") {
            Some((line, into)) => (line.to_owned(), Some(into.trim().to_owned())),
            None => (line, None),
        };
        let (cargo, arguments) = line.split_once(" -- ").unwrap_or((&line, ""));
        let name = cargo.split_whitespace().skip_while(|word| *word != "--example").nth(1);
        // A letter alone stands for a number.
        let letter = |word: &str| word.len() == 1 && word.chars().all(|c| c.is_ascii_uppercase());
        let plain = |word: &str| if letter(word) { "1".to_owned() } else { word.to_owned() };
        (name.unwrap_or_default().to_owned(), arguments.split_whitespace().map(plain).collect(), into)
    };
    all.map(command).collect()
}

/// A built example: `cargo test` builds them beside the directory of the tests themselves.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let profile = tests.parent().and_then(Path::parent).unwrap();
    let path = profile.join("examples").join(name).with_extension(std::env::consts::EXE_EXTENSION);
    assert!(path.exists(), "{} is not built: `cargo build --examples` builds it", path.display());
    path
}

/// Runs an example so that it reads its arguments and does nothing: those that train print the settings that come of them
/// (values, names of presets and what does not go together are seen), the others their help, which is printed once all arguments
/// before it were found good. Both refuse an option that there is not.
fn refused(name: &str, arguments: &[String], directory: &Path, into: Option<&str>) -> Option<String> {
    let trains = ["omniglot", "miniimagenet", "tieredimagenet", "cifar_fs", "sinusoid"].contains(&name)
        && !matches!(arguments.first().map(String::as_str), Some("test" | "adapt" | "--help"));
    let asked = arguments.iter().any(|argument| ["--help", "--print-settings"].contains(&argument.as_str()));
    let last = match (asked, trains) {
        (true, _) => None,
        (false, true) => Some("--print-settings"),
        (false, false) => Some("--help"),
    };
    let output = Command::new(program(name)).args(arguments).args(last).current_dir(directory).output().unwrap();
    if let Some(into) = into {
        fs::write(directory.join(into), &output.stdout).unwrap();
    }
    (!output.status.success()).then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn every_command_is_one_that_its_program_takes() {
    let mut documents: Vec<String> = chapters().iter().map(|chapter| format!("docs/{chapter}")).collect();
    documents.extend(
        ["README.md", "crates/burn-meta/README.md", "crates/burn-meta/GUIDE.md", "crates/burn-func/README.md"]
            .map(String::from),
    );
    let mut tried = 0;
    for document in documents {
        let directory = TempDir::new().unwrap(); // a file that one command writes may be read by the next
        for (name, arguments, into) in commands(&read(&document)) {
            let source = root().join("examples").join(&name).with_extension("rs");
            assert!(source.exists(), "{document}: there is no example `{name}`");
            tried += 1;
            if name.starts_with("func_") {
                assert!(arguments.is_empty(), "{document}: {name} takes no arguments");
                continue;
            }
            let refused = refused(&name, &arguments, directory.path(), into.as_deref());
            assert!(refused.is_none(), "{document}: {name} {arguments:?}: {}", refused.unwrap_or_default());
        }
    }
    assert!(tried > 30, "{tried} commands: they are no longer found");
}

/// What the test above rests on.
#[test]
fn wrong_arguments_are_refused() {
    let directory = TempDir::new().unwrap();
    for (name, line, word) in [
        ("estimators", "--no-such-option", "--no-such-option"),
        ("estimators", "--problem chess", "chess"),
        ("omniglot", "--inner-lr fast", "fast"),
        ("omniglot", "--preset no-such-preset", "no-such-preset"),
        ("omniglot", "--estimator exact --order 2", "--order belongs to"),
        ("omniglot", "test --no-such-option 1", "--no-such-option"),
        ("sinusoid", "--settings no-such-file.toml", "no-such-file.toml"),
    ] {
        let arguments: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = refused(name, &arguments, directory.path(), None);
        assert!(found.as_ref().is_some_and(|error| error.contains(word)), "{name} {line}: {found:?}");
    }
}

/// The pictures that burn-meta's documentation has, and packages with it, are those of the book; and what stands in that of the
/// estimators is what they cost.
#[test]
fn pictures_are_up_to_date() {
    for name in ["kept-terms.svg", "data-flow.svg"] {
        assert_eq!(read(format!("docs/pictures/{name}")), read(format!("crates/burn-meta/pictures/{name}")), "{name}");
    }
    let picture = read("docs/pictures/kept-terms.svg");
    for (name, estimator) in [
        ("first-order", Estimator::FirstOrder),
        ("truncated, L = 2", Estimator::truncated(2)),
        ("frozen, 2 products", Estimator::frozen(2)),
        ("segments, 2 x 1", Estimator::segments(2, 1)),
        ("hybrid, L = 1, C = 4", Estimator::Hybrid { order: 1, window: 4 }),
        ("binomial, L = 1", Estimator::binomial(1)),
        ("binomial, L = 2", Estimator::binomial(2)),
        ("binomial, L = 3", Estimator::binomial(3)),
        ("fitted, L = 1, probe 4", Estimator::fitted(1)),
        ("exact", Estimator::Exact),
    ] {
        let row = picture.split_once(&format!(">{name}<")).unwrap_or_else(|| panic!("no row of {name}")).1;
        let text = |part: &str| part.split_once('>').map(|(_, text)| text.to_owned());
        let shown: Vec<String> =
            row.split("<text ").skip(1).take(3).filter_map(|part| text(part.split("</text").next()?)).collect();
        let costs = [estimator.products(5), estimator.depth(5), estimator.reads(5).len()].map(|cost| cost.to_string());
        assert_eq!(shown, costs, "{name}");
    }
}
