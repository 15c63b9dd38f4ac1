//! Datasets as people have them on disk, opened without saying what they are.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use fewshot_data::{
    Cache, EpisodeSpec, Episodes, Error, ImageClasses, ImageTasks, Layout, Loader, Omniglot, Parts, Pipeline, Sets,
    Source, split_fractions,
};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

/// A PNG of `side * side` pixels of one colour.
fn png(colour: [u8; 3], side: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(png::ColorType::Rgb);
    let data = colour.repeat((side * side) as usize);
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    bytes
}

/// A directory with these files; images are named by their red value: `cat/7.png`.
fn directory(files: &[(&str, &str)]) -> TempDir {
    let directory = TempDir::new().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content(name, text)).unwrap();
    }
    directory
}

fn content(name: &str, text: &str) -> Vec<u8> {
    let stem = name.rsplit('/').next().unwrap().split('.').next().unwrap();
    match stem.parse() {
        Ok(red) if name.ends_with(".png") => png([red, 10, 20], 4),
        _ => text.as_bytes().to_vec(),
    }
}

fn zip_of(files: &[(&str, &str)], path: &Path) {
    let mut zip = zip::ZipWriter::new(File::create(path).unwrap());
    for (name, text) in files {
        zip.start_file(*name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&content(name, text)).unwrap();
    }
    zip.finish().unwrap();
}

fn load(path: &Path) -> Sets {
    Source::open(path).unwrap().with_cache(Cache::Memory).load().unwrap()
}

/// Class names, each with the red values of its images.
fn reds(data: &ImageClasses) -> Vec<(String, Vec<u8>)> {
    data.classes().iter().map(|c| (c.name().to_owned(), c.images().map(|image| image[0]).collect())).collect()
}

fn class(name: &str, reds: &[u8]) -> (String, Vec<u8>) {
    (name.to_owned(), reds.to_vec())
}

const FOLDERS: [(&str, &str); 4] = [("cat/1.png", ""), ("cat/2.png", ""), ("dog/3.png", ""), ("notes.md", "mine")];

#[test]
fn a_folder_for_each_class_is_a_dataset() {
    let folder = directory(&FOLDERS);
    let data = load(folder.path()).whole().unwrap();
    assert_eq!(data.shape(), [3, 4, 4]);
    assert_eq!(reds(&data), [class("cat", &[1, 2]), class("dog", &[3])]);
    // Channels in order: red, green, blue planes.
    assert_eq!(*data.classes()[0].image(0).unwrap(), [[1; 16], [10; 16], [20; 16]].concat());
}

#[test]
fn every_form_of_the_same_images_gives_the_same_dataset() {
    let expected = (vec![class("ant", &[1, 2])], vec![class("bee", &[3])], vec![class("cow", &[4])]);
    let forms: [&[(&str, &str)]; 4] = [
        &[
            ("top/train/ant/1.png", ""),
            ("top/train/ant/2.png", ""),
            ("top/val/bee/3.png", ""),
            ("top/test/cow/4.png", ""),
        ],
        &[
            ("data/ant/1.png", ""),
            ("data/ant/2.png", ""),
            ("data/bee/3.png", ""),
            ("data/cow/4.png", ""),
            ("splits/bertinetto/train.txt", "ant\n"),
            ("splits/bertinetto/val.txt", "bee\n"),
            ("splits/bertinetto/test.txt", "cow\n"),
        ],
        &[
            ("images/1.png", ""),
            ("images/2.png", ""),
            ("images/3.png", ""),
            ("images/4.png", ""),
            ("train.csv", "filename,label\n1.png,ant\n2.png,ant\n"),
            ("val.csv", "filename,label\n3.png,bee\n"),
            ("test.csv", "filename,label\n4.png,cow\n"),
        ],
        &[
            ("1.png", ""),
            ("2.png", ""),
            ("3.png", ""),
            ("4.png", ""),
            ("all.csv", "path,label,split\n1.png,ant,train\n2.png,ant,train\n3.png,bee,val\n4.png,cow,test\n"),
        ],
    ];
    for files in forms {
        let folder = directory(files);
        let archive = folder.path().join("packed");
        zip_of(files, &archive);
        let unpacked = TempDir::new().unwrap();
        fs::rename(&archive, unpacked.path().join("packed")).unwrap();
        for path in [folder.path(), &unpacked.path().join("packed")] {
            let parts = load(path).parts().unwrap();
            let found = (reds(&parts.train), reds(&parts.val), reds(&parts.test));
            assert_eq!(found, expected, "{files:?} at {}", path.display());
        }
    }
}

#[test]
fn a_table_alone_finds_its_images() {
    let folder = directory(&[("pictures/1.png", ""), ("mine.csv", "path,label\npictures/1.png,ant\n")]);
    let data = load(&folder.path().join("mine.csv")).whole().unwrap();
    assert_eq!(reds(&data), [class("ant", &[1])]);
}

#[test]
fn sizes_are_scaled_or_refused() {
    let folder = directory(&FOLDERS);
    fs::write(folder.path().join("dog/9.png"), png([9, 9, 9], 5)).unwrap();
    let source = Source::open(folder.path()).unwrap().with_cache(Cache::Memory);
    let error = source.load().unwrap_err().to_string();
    assert!(error.contains("9.png of class dog is 5 x 5; expected 4 x 4 as the first image has"), "{error}");
    let data = source.with_size(6).with_channels(1).load().unwrap().whole().unwrap();
    // A flat image stays flat under any filter: 0.299 * 9 + 0.587 * 9 + 0.114 * 9.
    assert_eq!((data.shape(), data.classes()[1].image(1).unwrap().as_ref()), ([1, 6, 6], [9; 36].as_slice()));
}

/// A source whose decoded images are counted.
fn counted(path: &Path, cache: &Path) -> (Source, Arc<AtomicUsize>) {
    let decoded = Arc::new(AtomicUsize::new(0));
    let count = decoded.clone();
    let source = Source::open(path).unwrap().with_cache(Cache::Directory(cache.to_owned()));
    (source.on_progress(move |done, _| count.store(done, Ordering::Relaxed)), decoded)
}

fn stores(cache: &Path) -> Vec<PathBuf> {
    let mut stores: Vec<_> = fs::read_dir(cache).unwrap().map(|entry| entry.unwrap().path()).collect();
    stores.sort();
    stores
}

#[test]
fn images_are_decoded_once_and_again_when_anything_changed() {
    let (folder, cache) = (directory(&FOLDERS), TempDir::new().unwrap());
    let open = || {
        let (source, decoded) = counted(folder.path(), cache.path());
        (reds(&source.load().unwrap().whole().unwrap()), decoded.load(Ordering::Relaxed))
    };
    let before = vec![class("cat", &[1, 2]), class("dog", &[3])];
    assert_eq!(open(), (before.clone(), 3));
    assert_eq!(open(), (before.clone(), 0), "the store was not used");
    // Another image of the same name, of another length.
    fs::write(folder.path().join("dog/3.png"), png([77, 0, 0], 4)).unwrap();
    let after = vec![class("cat", &[1, 2]), class("dog", &[77])];
    assert_eq!(open(), (after.clone(), 3));
    // A damaged store is made again.
    let [store] = stores(cache.path()).try_into().unwrap();
    let whole = fs::read(&store).unwrap();
    fs::write(&store, &whole[..whole.len() - 1]).unwrap();
    assert_eq!(open(), (after.clone(), 3));
    assert_eq!(fs::read(&store).unwrap().len(), whole.len());
    // Other settings have a store of their own.
    let (source, decoded) = counted(folder.path(), cache.path());
    source.with_size(8).load().unwrap();
    assert_eq!((decoded.load(Ordering::Relaxed), stores(cache.path()).len()), (3, 2));
    assert_eq!(open(), (after, 0));
}

#[test]
fn a_store_is_used_whichever_way_the_path_is_written_and_long_names_have_one() {
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let long = folder.path().join("n".repeat(250));
    fs::rename(directory(&FOLDERS).keep(), &long).unwrap();
    let decoded = |path: &Path| {
        let (source, decoded) = counted(path, cache.path());
        source.load().unwrap();
        decoded.load(Ordering::Relaxed)
    };
    assert_eq!(decoded(&long), 3);
    // As with a path from the current folder.
    assert_eq!((decoded(&long.join("cat/..")), decoded(&long)), (0, 0));
}

#[test]
fn every_damaged_image_is_told_by_a_check() {
    let folder = directory(&FOLDERS);
    let check = || Source::open(folder.path()).unwrap().check().unwrap();
    assert!(check().is_empty());
    for name in ["cat/2.png", "dog/3.png"] {
        fs::write(folder.path().join(name), "GIF89a").unwrap();
    }
    let errors: Vec<String> = check().iter().map(ToString::to_string).collect();
    assert!(errors.len() == 2 && errors[0].contains("2.png of class cat"), "{errors:?}");
    // Of other sizes the first is told: they can be read.
    for name in ["cat/2.png", "dog/3.png"] {
        fs::write(folder.path().join(name), png([0; 3], 9)).unwrap();
    }
    assert!(matches!(&check()[..], [Error::MixedSizes { .. }]), "{:?}", check());
}

#[test]
fn a_picture_beside_arrays_is_no_dataset() {
    let folder = directory(&[("preview.png", "")]);
    let error = Source::open(folder.path()).err().unwrap().to_string();
    assert!(error.contains("images in no folder of their class, such as preview.png"), "{error}");
    let arrays = format!("{}/tests/fixtures/forms/npz/few-shot-train.npz", env!("CARGO_MANIFEST_DIR"));
    fs::copy(arrays, folder.path().join("few-shot-train.npz")).unwrap();
    assert_eq!(Source::open(folder.path()).unwrap().form(), "images and labels");
}

#[test]
fn archives_are_read_as_the_folders_they_were_made_of() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("a.zip");
    let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
    let names = ["./cat\\1.png", "cat\\.ipynb_checkpoints\\2.png", ".git/2.png", "dog/3.png"];
    for (name, red) in names.into_iter().zip([1, 2, 2, 3]) {
        zip.start_file(name, SimpleFileOptions::default()).unwrap();
        zip.write_all(&png([red, 10, 20], 4)).unwrap();
    }
    zip.finish().unwrap();
    assert_eq!(reds(&load(&path).whole().unwrap()), [class("cat", &[1]), class("dog", &[3])]);
}

#[test]
fn a_store_is_a_source_itself() {
    let (folder, cache) = (directory(&FOLDERS), TempDir::new().unwrap());
    let (source, _) = counted(folder.path(), cache.path());
    let data = source.load().unwrap().whole().unwrap();
    let [store] = stores(cache.path()).try_into().unwrap();
    let again = load(&store).whole().unwrap();
    assert_eq!(again.fingerprint(), data.fingerprint());
    assert_eq!(again.classes()[0].layout(), Layout::Planar);
}

#[test]
fn a_damaged_image_is_named_and_nothing_is_left() {
    let (folder, cache) = (directory(&FOLDERS), TempDir::new().unwrap());
    let whole = png([3, 3, 3], 4);
    fs::write(folder.path().join("dog/3.png"), &whole[..whole.len() / 2]).unwrap();
    let (source, _) = counted(folder.path(), cache.path());
    let error = source.load().unwrap_err();
    assert!(matches!(error, Error::Malformed { .. }), "{error}");
    assert!(error.to_string().contains("3.png of class dog"), "{error}");
    assert!(stores(cache.path()).is_empty());
}

#[test]
fn threads_do_not_change_the_bytes() {
    let names: Vec<String> = (0..200).map(|i| format!("c{}/{i}.png", i % 7)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let folder = directory(&files);
    let print = |threads| {
        let source = Source::open(folder.path()).unwrap().with_cache(Cache::Memory).with_threads(threads);
        source.load().unwrap().whole().unwrap().fingerprint()
    };
    assert_eq!(print(1), print(5));
}

#[test]
fn what_is_no_dataset_is_said_to_be_what_it_is() {
    let folder = directory(&[
        ("page", "<!DOCTYPE html><html>quota</html>"),
        ("gz", "\u{1f}\u{1}"),
        ("text", "hello\n"),
        ("empty", ""),
        ("cut.zip", "PK\u{3}\u{4}rest"),
    ]);
    fs::write(folder.path().join("gz"), [0x1f, 0x8b, 8, 0]).unwrap();
    fs::write(folder.path().join("one"), png([0; 3], 1)).unwrap();
    fs::create_dir(folder.path().join("none")).unwrap();
    let says = |name: &str| {
        let error = Source::open(folder.path().join(name)).err().unwrap().to_string();
        error.split_once(": ").unwrap().1.to_owned()
    };
    assert!(says("page").starts_with("a web page"), "{}", says("page"));
    assert!(says("gz").ends_with("found a gzip archive; unpack it first"));
    assert!(says("empty").ends_with("found an empty file"));
    assert!(says("one").contains("a single image"));
    assert!(says("none").ends_with("found an empty folder or archive"));
    assert!(says("cut.zip").starts_with("damaged or truncated zip archive"));
    assert!(says("text").contains("columns hello"), "{}", says("text"));
    assert_eq!(says("nothing"), "no such file or directory");
}

#[test]
fn classes_in_two_parts_are_an_error_when_parts_are_asked_for() {
    let folder = directory(&[("train/cat/1.png", ""), ("test/cat/2.png", "")]);
    let error = load(folder.path()).parts().unwrap_err();
    assert!(matches!(error, Error::SharedClass { .. }), "{error}");
    assert!(matches!(load(directory(&FOLDERS).path()).parts(), Err(Error::NoSplit)));
}

#[test]
fn omniglot_is_recognised_packed_and_unpacked() {
    let Some(archives) = std::env::var_os("FEWSHOT_OMNIGLOT").filter(|v| !v.is_empty()).map(PathBuf::from) else {
        println!("skipped: FEWSHOT_OMNIGLOT does not name a directory with the archives");
        return;
    };
    let source = Source::open(&archives).unwrap();
    assert_eq!(source.form(), "Omniglot drawings");
    let cache = TempDir::new().unwrap();
    let source = source.with_cache(Cache::Directory(cache.path().to_owned()));
    let whole = source.load().unwrap().whole().unwrap();
    // From the store now, which is opened and not written.
    let [store] = stores(cache.path()).try_into().unwrap();
    let written = fs::metadata(&store).unwrap().modified().unwrap();
    assert_eq!(source.load().unwrap().whole().unwrap().fingerprint(), whole.fingerprint());
    assert_eq!(fs::metadata(&store).unwrap().modified().unwrap(), written);
    // 136 and 156 characters, of which the two sets share those of two alphabets.
    assert_eq!(whole.fingerprint(), Omniglot::new(&archives).load().unwrap().fingerprint());
    let small = archives.join("images_background_small1.zip");
    let unpacked = TempDir::new().unwrap();
    zip::ZipArchive::new(File::open(&small).unwrap()).unwrap().extract(unpacked.path()).unwrap();
    let data = load(unpacked.path()).whole().unwrap();
    assert_eq!((data.len(), data.shape()), (136, [1, 28, 28]));
    assert_eq!(data.fingerprint(), load(&small).whole().unwrap().fingerprint());
}

#[test]
fn ones_own_folder_becomes_tasks() {
    // The README's ten lines, run.
    let names: Vec<String> = (0..60).map(|i| format!("class{}/{i}.png", i / 6)).collect();
    let files: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    let folder = directory(&files);
    let source = Source::open(folder.path()).unwrap().with_cache(Cache::Memory);
    let data = source.with_size(84).load().unwrap().whole().unwrap();
    let parts = split_fractions(&data, &Parts { train: 0.6, val: 0.2, test: 0.2 }, 0).unwrap();
    let episodes = Episodes::new(&parts.train, EpisodeSpec::new(5, 1, 5), 42).unwrap();
    let pipeline = Pipeline::new().normalize(&[0.5; 3], &[0.3; 3]);
    let tasks = ImageTasks::new(parts.train, episodes, &pipeline).unwrap();
    let mut seen = 0;
    for task in Loader::new(tasks).iter_from(0).on(&burn::tensor::Device::flex()).take(4) {
        let task = task.unwrap();
        assert_eq!((task.support.images.dims(), task.query.labels.dims()), ([5, 3, 84, 84], [25]));
        seen += 1;
    }
    assert_eq!(seen, 4);
}

#[test]
fn a_table_of_something_else_is_passed_over() {
    let files = [FOLDERS.as_slice(), &[("scores.csv", "name,points\nme,3\n")]].concat();
    let data = load(directory(&files).path()).whole().unwrap();
    assert_eq!(reds(&data), [class("cat", &[1, 2]), class("dog", &[3])]);
}

#[test]
fn one_folder_of_a_split_is_that_part() {
    let folder = directory(&[("mine/train/cat/1.png", ""), ("mine/train/dog/2.png", "")]);
    let parts = load(folder.path()).parts().unwrap();
    assert_eq!(reds(&parts.train), [class("cat", &[1]), class("dog", &[2])]);
}

#[cfg(unix)]
#[test]
fn pipes_are_no_images() {
    let folder = directory(&FOLDERS);
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("cat/9.png")).status();
    if !made.is_ok_and(|status| status.success()) {
        println!("skipped: no mkfifo");
        return;
    }
    assert_eq!(reds(&load(folder.path()).whole().unwrap()), [class("cat", &[1, 2]), class("dog", &[3])]);
}

#[test]
fn a_changed_archive_of_several_is_noticed() {
    let drawing = |ink: u8| {
        let mut bits = vec![0xffu8; 14 * 105];
        bits[..20].fill(ink);
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, 105, 105);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        encoder.write_header().unwrap().write_image_data(&bits).unwrap();
        bytes
    };
    let (folder, cache) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let write = |archive: &str, character: &str, ink: u8| {
        let mut zip = zip::ZipWriter::new(File::create(folder.path().join(archive)).unwrap());
        zip.start_file(format!("s/Greek/{character}/0001_01.png"), SimpleFileOptions::default()).unwrap();
        zip.write_all(&drawing(ink)).unwrap();
        zip.finish().unwrap();
    };
    let load = || {
        let source = Source::open(folder.path()).unwrap().with_cache(Cache::Directory(cache.path().to_owned()));
        source.load().unwrap().whole().unwrap().fingerprint()
    };
    write("a.zip", "character01", 0);
    write("b.zip", "character02", 0);
    let before = load();
    assert_eq!((load(), stores(cache.path()).len()), (before.clone(), 1));
    write("b.zip", "character02", 0xaa);
    assert_ne!(load(), before);
}
