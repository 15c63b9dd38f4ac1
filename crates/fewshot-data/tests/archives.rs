//! Archives made up here: what may be in one, and what every kind of bad one is called.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

use fewshot_data::{Class, Error, ImageClasses, Omniglot};
use png::{BitDepth, ColorType};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// A PNG of any size and kind whose every byte of pixels is `fill`.
fn png_of(side: u32, color: ColorType, depth: BitDepth, fill: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let row = (side as usize * depth as usize * color.samples()).div_ceil(8);
    let pixels = vec![fill; row * side as usize];
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
    bytes
}

/// A drawing of vertical lines: a 0 bit of `fill` is ink.
fn drawing(fill: u8) -> Vec<u8> {
    png_of(105, ColorType::Grayscale, BitDepth::One, fill)
}

fn zip_of(entries: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

/// A folder with files in it.
fn folder(files: &[(&str, Vec<u8>)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, bytes) in files {
        fs::write(folder.path().join(name), bytes).unwrap();
    }
    folder
}

fn small() -> Vec<u8> {
    zip_of(&[
        ("set/B/character01/0003_01.png", drawing(0xff)),
        ("set/A/character02/0002_01.png", drawing(0x0f)),
        ("set/A/character01/0001_10.png", drawing(0x33)),
        ("set/A/character01/0001_09.png", drawing(0x00)),
    ])
}

/// The error of reading this one archive, after checks that hold for every error.
fn error_of(bytes: Vec<u8>) -> Error {
    let folder = folder(&[("x.zip", bytes)]);
    let path = folder.path().join("x.zip");
    let error = Omniglot::new(&path).load().unwrap_err();
    check_line(&error, &path);
    error
}

/// Every error is one line that begins with the file.
fn check_line(error: &Error, path: &Path) {
    let text = error.to_string();
    assert!(text.starts_with(&format!("{}: ", path.display())), "{text}");
    assert!(!text.contains('\n'), "{text}");
}

fn names(data: &ImageClasses) -> Vec<&str> {
    data.classes().iter().map(Class::name).collect()
}

#[test]
fn classes_are_sorted_by_name_and_images_by_drawer() {
    let folder = folder(&[("x.zip", small())]);
    let data = Omniglot::new(folder.path().join("x.zip")).load().unwrap();
    assert_eq!(names(&data), ["A/character01", "A/character02", "B/character01"]);
    assert_eq!(data.groups().keys().copied().collect::<Vec<_>>(), ["A", "B"]);
    let first = &data.classes()[0];
    assert_eq!(first.image_count(), 2);
    // Drawer 9 is all ink; sorted as text, `10` would have come before it.
    assert!(first.image(0).unwrap().iter().all(|&byte| byte == 255));
    let blank = &data.classes()[2];
    assert!(blank.image(0).unwrap().iter().all(|&byte| byte == 0));
}

#[test]
fn the_size_can_be_chosen() {
    let folder = folder(&[("x.zip", small())]);
    for size in [1, 14, 105, 130] {
        let data = Omniglot::new(folder.path()).with_size(size).load().unwrap();
        assert_eq!(data.shape(), [1, size, size]);
        assert_eq!(data.classes()[0].image(0).unwrap().len(), size * size);
    }
    for size in [0, 1025, usize::MAX] {
        let error = Omniglot::new(folder.path()).with_size(size).load().unwrap_err();
        assert!(matches!(error, Error::Setting { .. }), "{error}");
    }
}

#[test]
fn a_macintoshs_additions_are_passed_over() {
    let noisy = zip_of(&[
        ("set/.DS_Store", vec![1, 2]),
        ("set/A/._character01/0001_01.png", vec![3]),
        ("__MACOSX/set/A/character01/._0001_01.png", vec![4]),
        ("__MACOSX/set/A/character01/0001_01.png", vec![5]),
        ("set/readme.txt", vec![6]),
        ("set/A/character01/0001_01.png", drawing(0)),
    ]);
    let folder = folder(&[("x.zip", noisy)]);
    let data = Omniglot::new(folder.path()).load().unwrap();
    assert_eq!((names(&data), data.image_count()), (vec!["A/character01"], 1));
}

#[test]
fn missing_files_and_folders_without_archives_are_errors() {
    let folder = folder(&[("x.txt", vec![]), (".hidden.zip", vec![])]);
    let missing = folder.path().join("no.zip");
    let error = Omniglot::new(&missing).load().unwrap_err();
    check_line(&error, &missing);
    assert!(matches!(error, Error::Missing { .. }), "{error}");
    let error = Omniglot::new(folder.path()).load().unwrap_err();
    check_line(&error, folder.path());
    assert!(matches!(error, Error::NoArchives { .. }), "{error}");
}

#[test]
fn a_file_that_is_no_zip_is_named_as_such() {
    let error = error_of(b"<!DOCTYPE html>\n<html>quota exceeded".to_vec());
    assert!(matches!(error, Error::NotAZip { .. }), "{error}");
    assert!(error.to_string().contains("<!DOCTYPE html>"), "{error}");
    let error = error_of(Vec::new());
    assert!(error.to_string().contains("0 bytes"), "{error}");
}

#[test]
fn an_archive_cut_short_anywhere_is_an_error() {
    // Catches a reader that goes through the local headers and takes what it finds.
    let whole = small();
    for kept in [40, whole.len() / 2, whole.len() - 30, whole.len() - 1] {
        let error = error_of(whole[..kept].to_vec());
        assert!(matches!(error, Error::DamagedArchive { .. }), "{kept}: {error}");
    }
}

#[test]
fn a_changed_byte_is_found() {
    // Catches a reader that does not check the sum of an entry.
    let mut bytes = Vec::new();
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    let mut writer = zip::ZipWriter::new(Cursor::new(&mut bytes));
    writer.start_file("s/A/character01/0001_01.png", stored).unwrap();
    writer.write_all(&drawing(0)).unwrap();
    writer.finish().unwrap();
    let start = bytes.windows(4).position(|w| w == b"IHDR").unwrap();
    bytes[start + 7] ^= 1;
    let error = error_of(bytes);
    assert!(matches!(error, Error::DamagedEntry { .. }), "{error}");
}

#[test]
fn an_archive_of_something_else_says_what_it_holds() {
    let error = error_of(zip_of(&[("run01/training/class01.png", drawing(0))]));
    assert!(matches!(error, Error::NotOmniglot { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("found \"run01/training/class01.png\""), "{text}");
    assert!(text.contains("expected entries like images_background/Greek"), "{text}");
    let error = error_of(zip_of(&[]));
    assert!(error.to_string().contains("found an empty archive"), "{error}");
}

#[test]
fn a_stray_png_among_the_characters_is_an_error() {
    let error = error_of(zip_of(&[
        ("s/A/character01/0001_01.png", drawing(0)),
        ("s/A/character01/0001_02 (copy).png", drawing(0)),
    ]));
    let named = matches!(&error, Error::UnexpectedEntry { entry, .. } if entry.ends_with("(copy).png"));
    assert!(named, "{error}");
}

#[test]
fn drawings_of_another_size_or_kind_are_errors() {
    let says = |png: Vec<u8>| {
        let error = error_of(zip_of(&[("s/A/character01/0001_01.png", png)]));
        assert!(matches!(error, Error::WrongImage { .. }), "{error}");
        error.to_string()
    };
    let small = says(png_of(28, ColorType::Grayscale, BitDepth::One, 0));
    assert!(small.contains("0001_01.png is a 28 x 28 Grayscale PNG of 1 bit;"), "{small}");
    let deep = says(png_of(105, ColorType::Grayscale, BitDepth::Eight, 0));
    assert!(deep.contains("a 105 x 105 Grayscale PNG of 8 bits;"), "{deep}");
    says(png_of(105, ColorType::Rgb, BitDepth::Eight, 0));
}

#[test]
fn entries_that_are_no_png_are_errors() {
    let whole = drawing(0x5a);
    let cut = whole[..whole.len() - 20].to_vec();
    for png in [b"not a picture".to_vec(), cut, Vec::new()] {
        let error = error_of(zip_of(&[("s/A/character01/0001_01.png", png)]));
        assert!(matches!(error, Error::DamagedEntry { .. }), "{error}");
    }
    let error = error_of(zip_of(&[("s/A/character01/0001_01.png", vec![0; 2 << 20])]));
    assert!(matches!(error, Error::TooLarge { wanted: 2_097_152, limit: 1_048_576, .. }), "{error}");
}

#[test]
fn two_drawings_by_one_drawer_are_an_error() {
    let error =
        error_of(zip_of(&[("s/A/character01/0001_01.png", drawing(0)), ("s/A/character01/0002_01.png", drawing(0))]));
    assert!(matches!(error, Error::DuplicateImage { drawer: 1, .. }), "{error}");
}

/// Two archives that share `A/character01`.
fn pair(second: &[(&str, Vec<u8>)]) -> (TempDir, PathBuf, PathBuf) {
    let first =
        zip_of(&[("one/A/character01/0001_01.png", drawing(0)), ("one/A/character01/0001_02.png", drawing(0x0f))]);
    let folder = folder(&[("1.zip", first), ("2.zip", zip_of(second))]);
    let (first, second) = (folder.path().join("1.zip"), folder.path().join("2.zip"));
    (folder, first, second)
}

#[test]
fn equal_copies_of_a_character_are_merged() {
    let (folder, ..) = pair(&[
        ("two/A/character01/0777_02.png", drawing(0x0f)),
        ("two/A/character01/0777_01.png", drawing(0)),
        ("two/A/character02/0778_01.png", drawing(1)),
    ]);
    let data = Omniglot::new(folder.path()).load().unwrap();
    assert_eq!((names(&data), data.image_count()), (vec!["A/character01", "A/character02"], 3));
}

#[test]
fn copies_that_differ_are_an_error() {
    let says = |entries: &[(&str, Vec<u8>)]| {
        let (_folder, first, second) = pair(entries);
        let error = Omniglot::new(&first).and(&second).load().unwrap_err();
        check_line(&error, &second);
        match error {
            Error::ConflictingClass { other, class, difference, .. } => {
                assert_eq!((other, class.as_str()), (first, "A/character01"));
                difference
            }
            other => other.to_string(),
        }
    };
    let changed =
        says(&[("two/A/character01/0001_01.png", drawing(0)), ("two/A/character01/0001_02.png", drawing(0xf0))]);
    assert_eq!(changed, "another drawing by drawer 2");
    let fewer = says(&[("two/A/character01/0001_01.png", drawing(0))]);
    assert_eq!(fewer, "1 drawings, by other drawers than the 2 there");
}

#[test]
fn a_directory_passes_over_archives_of_something_else() {
    let strokes = zip_of(&[("strokes/A/character01/0001_01.txt", vec![1])]);
    let folder = folder(&[("a.zip", strokes.clone()), ("b.ZIP", small())]);
    assert_eq!(Omniglot::new(folder.path()).load().unwrap().len(), 3);
    // Named itself, it is an error; so is a directory with nothing else.
    let strokes = folder.path().join("a.zip");
    let error = Omniglot::new(&strokes).load().unwrap_err();
    assert!(matches!(error, Error::NotOmniglot { .. }), "{error}");
    fs::remove_file(folder.path().join("b.ZIP")).unwrap();
    let error = Omniglot::new(folder.path()).load().unwrap_err();
    check_line(&error, &strokes);
}

#[test]
fn a_directory_does_not_pass_over_damaged_archives() {
    let cut = small()[..100].to_vec();
    let folder = folder(&[("a.zip", small()), ("b.zip", cut)]);
    let error = Omniglot::new(folder.path()).load().unwrap_err();
    check_line(&error, &folder.path().join("b.zip"));
    assert!(matches!(error, Error::DamagedArchive { .. }), "{error}");
}

#[test]
fn the_first_bad_drawing_is_the_error_whatever_the_threads() {
    let bad = |name| (name, png_of(28, ColorType::Grayscale, BitDepth::One, 0));
    let zip = zip_of(&[
        ("s/A/character01/0001_01.png", drawing(0)),
        bad("s/C/character01/0003_01.png"),
        bad("s/B/character01/0002_01.png"),
        ("s/D/character01/0004_01.png", drawing(0)),
    ]);
    let folder = folder(&[("x.zip", zip)]);
    for threads in [0, 1, 2, 4, 64] {
        let error = Omniglot::new(folder.path()).with_threads(threads).load().unwrap_err();
        assert!(error.to_string().contains("s/B/character01/0002_01.png"), "{error}");
    }
}
