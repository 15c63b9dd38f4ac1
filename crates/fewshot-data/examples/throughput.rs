//! How fast a dataset opens and episodes come, and what memory that takes.
//!
//! ```sh
//! cargo run --release -p fewshot-data --example throughput            # miniImageNet's training set in size and form
//! cargo run --release -p fewshot-data --example throughput -- PATH    # any dataset
//! ```
//!
//! Without a path it writes a pickle of 38,400 images of 84 x 84 (813 MB) to the folder for temporary files, and removes
//! it at the end. Episodes are 5-way, 1-shot with 15 queries, normalised, onto the CPU backend Flex.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use burn::tensor::Device;
use fewshot_data::{EpisodeSpec, Episodes, Error, ImageClasses, ImageTasks, Loader, Pipeline, Sets, Source};

const CLASSES: usize = 64;
const IMAGES: usize = 600;
const SIDE: usize = 84;
const MEASURED: Duration = Duration::from_secs(5);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let directory = tempfile::tempdir()?;
    let path = match std::env::args_os().nth(1) {
        Some(path) => PathBuf::from(path),
        None => {
            let path = directory.path().join("mini-imagenet-cache-train.pkl");
            write_cache(&path)?;
            path
        }
    };
    let mut data = None;
    for time in ["first", "second"] {
        let start = Instant::now();
        data = Some(open(&path)?);
        println!("opened the {time} time in {:.3} s", start.elapsed().as_secs_f64());
    }
    let data = data.ok_or("nothing was opened")?;
    let (classes, images, shape) = (data.len(), data.image_count(), data.shape());
    println!("{classes} classes, {images} images of {shape:?}; {}", memory());
    let most = std::thread::available_parallelism().map_or(1, usize::from);
    for threads in [0, 1, most] {
        println!("{threads} worker threads: {}", measure(&data, threads)?);
    }
    println!("{}", memory());
    Ok(())
}

fn open(path: &Path) -> Result<ImageClasses, Error> {
    match Source::open(path)?.load()? {
        Sets::Whole(data) => Ok(data),
        Sets::Parts(parts) => Ok(parts.train),
    }
}

fn measure(data: &ImageClasses, threads: usize) -> Result<String, Error> {
    let pipeline = Pipeline::new().normalize(&vec![0.45; data.shape()[0]], &vec![0.28; data.shape()[0]]);
    let episodes = Episodes::new(data, EpisodeSpec::new(5, 1, 15), 42)?;
    let loader = Loader::new(ImageTasks::new(data.clone(), episodes, &pipeline)?).with_threads(threads);
    let device = Device::flex();
    // The pages of a mapped file are read when they are first touched; that is the disk's time.
    let mut tasks = loader.iter_from(0);
    tasks.on(&device).take(1500).try_for_each(|task| task.map(drop))?;
    let mut tasks = loader.iter_from(1500);
    let start = Instant::now();
    while start.elapsed() < MEASURED {
        tasks.on(&device).take(20).try_for_each(|task| task.map(drop))?;
    }
    Ok(tasks.throughput().to_string())
}

/// What the process takes of memory, as Linux tells it: mapped files apart, whose pages the system may drop.
fn memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = |key: &str| {
        let found =
            status.lines().find_map(|line| line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse::<f64>().ok());
        found.map_or("unknown".to_owned(), |kilobytes| format!("{:.0} MB", kilobytes * 1.024e-3))
    };
    format!(
        "memory of its own {}, mapped files in memory {}, peak of both {}",
        line("RssAnon:"),
        line("RssFile:"),
        line("VmHWM:")
    )
}

/// A pickle as Python writes it (protocol 4): `{"image_data": uint8 array, "class_dict": {name: rows}}`.
fn write_cache(path: &Path) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    let text = |file: &mut BufWriter<File>, text: &str| -> io::Result<()> {
        file.write_all(&[0x8c, text.len() as u8])?;
        file.write_all(text.as_bytes())
    };
    let number = |n: usize| {
        let [a, b, c, d] = (n as u32).to_le_bytes();
        [b'J', a, b, c, d]
    };
    file.write_all(b"\x80\x04}(")?;
    text(&mut file, "image_data")?;
    file.write_all(b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85C\x01btR(K\x01(")?;
    for side in [CLASSES * IMAGES, SIDE, SIDE, 3] {
        file.write_all(&number(side))?;
    }
    file.write_all(
        b"tcnumpy\ndtype\n(\x8c\x02u1\x89\x88tR(K\x03\x8c\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89\x8e",
    )?;
    file.write_all(&((CLASSES * IMAGES * SIDE * SIDE * 3) as u64).to_le_bytes())?;
    let mut state = 1u32;
    for _ in 0..CLASSES * IMAGES {
        let mut image = [0u8; SIDE * SIDE * 3];
        for byte in &mut image {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (state >> 24) as u8;
        }
        file.write_all(&image)?;
    }
    file.write_all(b"tb")?;
    text(&mut file, "class_dict")?;
    file.write_all(b"}(")?;
    for class in 0..CLASSES {
        text(&mut file, &format!("n{class:08}"))?;
        file.write_all(b"](")?;
        for row in class * IMAGES..(class + 1) * IMAGES {
            file.write_all(&number(row))?;
        }
        file.write_all(b"e")?;
    }
    file.write_all(b"uu.")?;
    file.flush()
}
