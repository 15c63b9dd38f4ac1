//! Damaged files through every reader: no panic, no hang, no allocation over the limit, and errors of one line.
//!
//! Inputs are real files of every form, mutated: bits, bytes, numbers, pieces cut, doubled and taken from other files.
//! Input `i` is a pure function of the seed and `i`. 20,000 of them run by default; for a million:
//!
//! ```sh
//! FEWSHOT_FUZZ=1000000 cargo test --release -p fewshot-data --all-features --test fuzz -- --nocapture
//! ```
//!
//! `FEWSHOT_FUZZ_SEED` takes other inputs. What fails is kept in the folder for temporary files, and named.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fewshot_data::{Cache, Error, FrozenEpisodes, Glyphs, Omniglot, OneShotRuns, Source};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

/// No input here is longer than this, so that the limit is 64 MiB for all of them.
const LONGEST: usize = (64 << 20) / 1_100;
const LIMIT: usize = 64 << 20;
/// No reader may take longer for files of this size.
const PATIENCE: Duration = Duration::from_secs(20);

/// The system's allocator, which remembers the largest single request.
struct Watched;

static LARGEST: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every request is passed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        LARGEST.fetch_max(layout.size(), Ordering::Relaxed);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        LARGEST.fetch_max(size, Ordering::Relaxed);
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// A file to damage, the folder it lies in with what it needs beside it, and the reader.
struct Seed {
    /// What kind of file it is, for the summary.
    kind: &'static str,
    folder: &'static str,
    file: String,
    read: fn(&Path, &Path) -> Result<(), Error>,
}

/// That a file can be read in spite of the damage is no fault: much damage is to pixels. Then all of it can be used.
fn source(_: &Path, file: &Path) -> Result<(), Error> {
    let source = Source::open(file)?;
    assert!(source.report().sets.len() < 4);
    let data = source.with_cache(Cache::Memory).with_threads(1).load()?.whole()?;
    assert!(data.classes().iter().all(|class| class.images().count() == class.image_count()));
    Ok(())
}

/// The same of the folder the file is in.
fn folder(folder: &Path, _: &Path) -> Result<(), Error> {
    source(folder, folder)
}

fn omniglot(_: &Path, file: &Path) -> Result<(), Error> {
    Omniglot::new(file).with_threads(1).load().map(drop)
}

fn runs(_: &Path, file: &Path) -> Result<(), Error> {
    OneShotRuns::new(file).load().map(drop)
}

fn frozen(_: &Path, file: &Path) -> Result<(), Error> {
    FrozenEpisodes::load(file, &glyphs()).map(drop)
}

/// Whether a file could be read; an error must be one line.
fn read(seed: &Seed, folder: &Path, file: &Path) -> bool {
    match (seed.read)(folder, file) {
        Ok(()) => true,
        Err(error) => {
            assert!(!error.to_string().contains(['\r', '\n']), "more than a line: {error:?}");
            false
        }
    }
}

fn glyphs() -> fewshot_data::ImageClasses {
    Glyphs::new(4, 3).with_size(8).generate().unwrap()
}

fn png(side: u32, color: png::ColorType, depth: png::BitDepth, value: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, side, side);
    encoder.set_color(color);
    encoder.set_depth(depth);
    let row = (side as usize * color.samples() * depth as usize).div_ceil(8);
    let data: Vec<u8> = (0..row * side as usize).map(|i| value.wrapping_add(i as u8)).collect();
    encoder.write_header().unwrap().write_image_data(&data).unwrap();
    bytes
}

fn zip_of(files: &[(String, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in files {
        zip.start_file(name, SimpleFileOptions::default().compression_method(method)).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// Writes the files that are damaged later, and says which.
fn corpus(root: &Path) -> Vec<Seed> {
    let mut seeds = fixtures(root);
    let mut add = |kind, folder: &'static str, files: Vec<(String, Vec<u8>)>, damaged: &str, read| {
        for (name, bytes) in files {
            let path = root.join(folder).join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        seeds.push(Seed { kind, folder, file: damaged.to_owned(), read });
    };
    let rgb = |value| png(6, png::ColorType::Rgb, png::BitDepth::Eight, value);
    let drawing = || png(105, png::ColorType::Grayscale, png::BitDepth::One, 0xf7);
    let classes: Vec<(String, Vec<u8>)> = (0..4).map(|i| (format!("c{}/{i}.png", i / 2), rgb(i))).collect();
    let list = "c0\n".to_owned().into_bytes();
    let split = [classes.clone(), vec![("splits/a/train.txt".to_owned(), list)]].concat();
    let drawings: Vec<_> = (1..4).map(|i| (format!("s/Greek/character0{i}/000{i}_01.png"), drawing())).collect();
    let one = |name: &str, bytes| vec![(name.to_owned(), bytes)];
    add("zip", "zip-stored", one("a.zip", zip_of(&split, CompressionMethod::Stored)), "a.zip", source);
    add("zip", "zip-deflated", one("a.zip", zip_of(&classes, CompressionMethod::Deflated)), "a.zip", source);
    add("zip", "zip-omniglot", one("a.zip", zip_of(&drawings, CompressionMethod::Deflated)), "a.zip", omniglot);
    let run = |i: usize| format!("run01/test/item{i:02}.png run01/training/class{i:02}.png\n");
    let mut all: Vec<_> = (1..=20).map(|i| (format!("run01/test/item{i:02}.png"), drawing())).collect();
    all.extend((1..=20).map(|i| (format!("run01/training/class{i:02}.png"), drawing())));
    all.push(("run01/class_labels.txt".to_owned(), (1..=20).map(run).collect::<String>().into_bytes()));
    add("zip", "zip-runs", one("a.zip", zip_of(&all, CompressionMethod::Deflated)), "a.zip", runs);
    for (name, color, depth) in [
        ("png-rgb", png::ColorType::Rgb, png::BitDepth::Eight),
        ("png-rgba", png::ColorType::Rgba, png::BitDepth::Sixteen),
        ("png-grey", png::ColorType::Grayscale, png::BitDepth::Two),
    ] {
        add("png", name, one("c/1.png", png(9, color, depth, 3)), "c/1.png", folder);
    }
    let table = "filename,label,split\n0.png,a,train\n1.png,a,train\n2.png,\"b \"\"x\"\"\",val\n3.png,b,val\n";
    let images: Vec<_> = (0..4).map(|i| (format!("images/{i}.png"), rgb(i))).collect();
    add("csv", "csv", [images, one("all.csv", table.into())].concat(), "all.csv", folder);
    add("csv", "csv-lists", split, "splits/a/train.txt", folder);
    let store = Source::open(root.join("zip-deflated/a.zip")).unwrap();
    store.with_cache(Cache::Directory(root.join("store"))).load().unwrap();
    let store = fs::read_dir(root.join("store")).unwrap().next().unwrap().unwrap().path();
    add("store", "store-one", one("a.fewshot", fs::read(&store).unwrap()), "a.fewshot", source);
    let list = root.join("list.json");
    let spec = fewshot_data::EpisodeSpec::new(2, 1, 1);
    FrozenEpisodes::draw(&glyphs(), spec, 1, 0..3).unwrap().save(&list).unwrap();
    add("frozen", "frozen", one("list.json", fs::read(&list).unwrap()), "list.json", frozen);
    seeds
}

/// The files of every array form, each among those that lie beside it.
fn fixtures(root: &Path) -> Vec<Seed> {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/forms");
    let mut seeds = Vec::new();
    let mut folders: Vec<PathBuf> = fs::read_dir(&from).unwrap().map(|entry| entry.unwrap().path()).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    for path in folders {
        let name: &'static str = path.file_name().unwrap().to_str().unwrap().to_owned().leak();
        fs::create_dir_all(root.join(name)).unwrap();
        let mut files: Vec<PathBuf> = fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        for file in files {
            let file_name = file.file_name().unwrap().to_str().unwrap().to_owned();
            fs::copy(&file, root.join(name).join(&file_name)).unwrap();
            let start = fs::read(&file).unwrap();
            let kind = match start.as_slice() {
                [b'P', b'K', ..] => "npz",
                [0x89, b'H', ..] => "hdf5",
                [0x93, ..] => "npy",
                _ => "pickle",
            };
            seeds.push(Seed { kind, folder: name, file: file_name, read: source });
        }
    }
    seeds
}

/// Numbers and words that readers stumble over.
const TOKENS: [&[u8]; 18] = [
    b"\xff\xff\xff\xff",
    b"\xff\xff\xff\x7f",
    b"\x00\x00\x00\x80",
    b"\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00\x00\x00\x00",
    b"\x8e\xff\xff\xff\xff\xff\xff\x00\x00",
    b"((((((((((((((((",
    b"\x85\x85\x85\x85\x85\x85\x85\x85",
    b"cos\nsystem\n",
    b"\x94\x94h\x00h\x00a",
    b"PK\x01\x02",
    b"PK\x05\x06",
    b"\x89PNG\r\n\x1a\n",
    b"IDAT",
    b"'shape': (99999999999, 99999999999)",
    b"\"\n,,,\n\"",
    b"../../etc/passwd",
    b"FEWSHOT\0",
];

struct Mutator(ChaCha8Rng);

impl Mutator {
    fn new(seed: u64, index: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index);
        Self(rng)
    }

    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n.max(1) as u64) as usize
    }

    fn damage(&mut self, bytes: &mut Vec<u8>, other: &[u8]) {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let length = self.below(24).min(bytes.len() - at);
            match self.below(8) {
                0 | 1 if at < bytes.len() => bytes[at] ^= 1 << self.below(8),
                2 if at < bytes.len() => bytes[at] = self.0.next_u32() as u8,
                3 => {
                    let token = TOKENS[self.below(TOKENS.len())];
                    let overwritten = if self.below(2) == 0 { token.len().min(bytes.len() - at) } else { 0 };
                    bytes.splice(at..at + overwritten, token.iter().copied());
                }
                4 => bytes.truncate(at),
                5 => drop(bytes.drain(at..at + length)),
                6 => {
                    let piece = bytes[at..at + length].to_vec();
                    let times = 1 + self.below(40);
                    bytes.splice(at..at, piece.repeat(times));
                }
                _ => {
                    let from = self.below(other.len() + 1);
                    let piece = &other[from..(from + self.below(64)).min(other.len())];
                    bytes.splice(at..(at + piece.len()).min(bytes.len()), piece.iter().copied());
                }
            }
        }
        bytes.truncate(LONGEST);
        // Checksums stop most damage at the door; half of it is let in.
        if self.below(2) == 0 {
            mend_png(bytes);
            mend_store(bytes);
        }
    }
}

/// Sets the checksums of the chunks of every PNG in these bytes right.
fn mend_png(bytes: &mut [u8]) {
    let magic = b"\x89PNG\r\n\x1a\n";
    let starts: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at..].starts_with(magic)).collect();
    for start in starts {
        let mut at = start + magic.len();
        while let Some(head) = bytes.get(at..at + 8) {
            let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
            let Some(body) = at.checked_add(8).and_then(|from| bytes.get(at + 4..from.checked_add(length)?)) else {
                break;
            };
            let sum = crc32(body).to_be_bytes();
            let Some(place) = bytes.get_mut(at + 8 + length..at + 12 + length) else { break };
            place.copy_from_slice(&sum);
            at += 12 + length;
        }
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |sum, &byte| {
        (0..8).fold(sum ^ u32::from(byte), |sum, _| if sum & 1 == 1 { 0xedb8_8320 ^ (sum >> 1) } else { sum >> 1 })
    })
}

/// Sets the digest of a store's header right.
fn mend_store(bytes: &mut [u8]) {
    use sha2::{Digest, Sha256};
    if !bytes.starts_with(b"FEWSHOT\0") || bytes.len() < 24 {
        return;
    }
    let length = u32::from_le_bytes([bytes[12], bytes[13], bytes[14], bytes[15]]) as usize;
    if let Some(json) = bytes.get(24..24usize.saturating_add(length)) {
        let digest = Sha256::digest(json);
        bytes[16..24].copy_from_slice(&digest[..8]);
    }
}

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().map_or(default, |value| value.parse().unwrap_or_else(|_| panic!("{name} is no number")))
}

#[test]
fn damaged_files_are_errors_and_nothing_worse() {
    let (inputs, seed) = (setting("FEWSHOT_FUZZ", 20_000), setting("FEWSHOT_FUZZ_SEED", 1));
    let temporary = match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let seeds = corpus(&temporary.path().join("0"));
    (1..threads).for_each(|worker| drop(corpus(&temporary.path().join(worker.to_string()))));
    let whole: Vec<Vec<u8>> = seeds
        .iter()
        .map(|seed| fs::read(temporary.path().join("0").join(seed.folder).join(&seed.file)).unwrap())
        .collect();
    // Undamaged, what ought to be read is read; otherwise only the doors were tried.
    let readable = |at: usize| {
        let folder = temporary.path().join("0").join(seeds[at].folder);
        read(&seeds[at], &folder, &folder.join(&seeds[at].file))
    };
    let fine = (0..seeds.len()).filter(|&at| readable(at)).count();
    assert!(fine * 2 > seeds.len(), "{fine} of {} undamaged files can be read", seeds.len());

    LARGEST.store(0, Ordering::SeqCst);
    std::panic::set_hook(Box::new(|_| ()));
    let (next, failures) = (AtomicU64::new(0), Mutex::new(Vec::<String>::new()));
    let counts = Mutex::new(BTreeMap::<&str, [u64; 2]>::new());
    let running: Vec<Mutex<Option<(u64, Instant)>>> = (0..threads).map(|_| Mutex::new(None)).collect();
    let work = |worker: usize| {
        let root = temporary.path().join(worker.to_string());
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= inputs || failures.lock().unwrap().len() > 20 {
                *running[worker].lock().unwrap() = None;
                return;
            }
            let mut mutator = Mutator::new(seed, index);
            let (at, other) = (mutator.below(seeds.len()), mutator.below(seeds.len()));
            let mut bytes = whole[at].clone();
            mutator.damage(&mut bytes, &whole[other]);
            let folder = root.join(seeds[at].folder);
            let file = folder.join(&seeds[at].file);
            fs::write(&file, &bytes).unwrap();
            *running[worker].lock().unwrap() = Some((index, Instant::now()));
            let read = catch_unwind(AssertUnwindSafe(|| read(&seeds[at], &folder, &file)));
            // Put right again, since it may lie beside the next one.
            fs::write(&file, &whole[at]).unwrap();
            let largest = LARGEST.load(Ordering::SeqCst);
            let mut counts = counts.lock().unwrap();
            let count = counts.entry(seeds[at].kind).or_default();
            count[0] += 1;
            count[1] += u64::from(matches!(read, Ok(true)));
            drop(counts);
            let what = match read {
                Err(fault) => format!("panic: {}", message(&*fault)),
                // With other threads at work it may have been their input; both are reported.
                Ok(_) if largest > LIMIT => format!("an allocation of {largest} bytes"),
                Ok(_) => continue,
            };
            let kept = std::env::temp_dir().join(format!("fewshot-fuzz-{seed}-{index}"));
            fs::write(&kept, &bytes).unwrap();
            LARGEST.store(0, Ordering::SeqCst);
            failures.lock().unwrap().push(format!(
                "{}/{}: {what}; kept as {}",
                seeds[at].folder,
                seeds[at].file,
                kept.display()
            ));
        }
    };
    let start = Instant::now();
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads)
            .map(|worker| {
                scope.spawn({
                    let work = &work;
                    move || work(worker)
                })
            })
            .collect();
        while workers.iter().any(|worker| !worker.is_finished()) {
            std::thread::sleep(Duration::from_millis(50));
            for slot in &running {
                if let Some((index, since)) = *slot.lock().unwrap()
                    && since.elapsed() > PATIENCE
                {
                    eprintln!("input {index} of seed {seed} takes longer than {PATIENCE:?}");
                    std::process::abort();
                }
            }
        }
    });
    let _ = std::panic::take_hook();
    let failures = failures.into_inner().unwrap();
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
    let counts = counts.into_inner().unwrap();
    let largest = LARGEST.load(Ordering::SeqCst);
    println!("{inputs} inputs in {:.0} s, largest allocation {largest} bytes", start.elapsed().as_secs_f64());
    for (kind, [all, read]) in &counts {
        println!("  {kind}: {all} inputs, {read} of them read in spite of the damage");
    }
    // Both outcomes occur in numbers, so that the inputs are neither all noise nor all whole.
    let [all, read] = counts.values().fold([0, 0], |[a, b], [c, d]| [a + c, b + d]);
    assert!(read * 50 > all && read * 10 < all * 9, "{read} of {all} were read");
}

fn message(fault: &(dyn std::any::Any + Send)) -> String {
    let text = fault.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| fault.downcast_ref::<String>().cloned()).unwrap_or_else(|| "unknown".to_owned())
}
