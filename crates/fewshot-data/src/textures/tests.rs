//! What textures must be: the same everywhere, and neither too easy nor too hard.
//!
//! Does not know: how they are drawn.

use super::*;
use crate::{EpisodeSpec, Episodes, Item};

#[test]
fn an_image_depends_on_seed_class_and_number_alone() {
    let few = Textures::new(3, 2).with_size(24).with_seed(4).generate().unwrap();
    let many = Textures::new(12, 5).with_size(24).with_seed(4).generate().unwrap();
    for (a, b) in few.classes().iter().zip(many.classes()) {
        assert_eq!((a.name(), a.image(0), a.image(1)), (b.name(), b.image(0), b.image(1)));
    }
    let other = Textures::new(3, 2).with_size(24).with_seed(5).generate().unwrap();
    assert_ne!(few.classes()[0].image(0), other.classes()[0].image(0));
}

#[test]
fn the_bytes_are_pinned() {
    // Catches a change of the drawing, and arithmetic that differs between systems.
    let digest = Textures::new(30, 3).with_seed(1).generate().unwrap().fingerprint().digest();
    assert_eq!(digest, PINNED);
}

const PINNED: &str = "425d54e4c586f78995054e2c17ef666f31089d784050c81238c08dc33a6fb080";

#[test]
fn every_pattern_occurs_and_names_a_group() {
    let data = Textures::new(100, 1).with_size(8).generate().unwrap();
    assert_eq!(data.groups().len(), 8);
    let first = &data.classes()[0];
    assert_eq!(first.name(), format!("{}/texture0001", first.group()));
}

#[test]
fn settings_out_of_range_are_errors() {
    let good = Textures::new(1, 1);
    for textures in [
        Textures::new(0, 1),
        Textures::new(1, 0),
        Textures::new(1, usize::MAX),
        good.clone().with_size(7),
        good.clone().with_size(1025),
    ] {
        assert!(matches!(textures.generate(), Err(Error::Setting { .. })), "{textures:?}");
    }
    assert!(good.with_size(8).generate().is_ok());
}

#[test]
fn images_are_neither_flat_nor_blown_out() {
    let data = Textures::new(60, 4).generate().unwrap();
    for class in data.classes() {
        for image in 0..4 {
            let bytes = class.image(image).unwrap();
            let ends = bytes.iter().filter(|&&byte| byte == 0 || byte == 255).count();
            assert!(ends < bytes.len() * 2 / 3, "{} {image}: {ends}", class.name());
            let mean = bytes.iter().map(|&b| f64::from(b)).sum::<f64>() / bytes.len() as f64;
            let spread = bytes.iter().map(|&b| (f64::from(b) - mean).powi(2)).sum::<f64>() / bytes.len() as f64;
            assert!(spread.sqrt() > 8.0, "{} {image}: {spread}", class.name());
        }
    }
}

/// Share of queries whose nearest support image by the distance of `features` has their label, in
/// 5-way 1-shot episodes.
fn nearest(data: &ImageClasses, features: impl Fn(Vec<u8>) -> Vec<f32>) -> f64 {
    let episodes = Episodes::new(data, EpisodeSpec::new(5, 1, 3), 0).unwrap();
    let (mut right, mut all) = (0, 0);
    for episode in episodes.iter().take(150) {
        let seen = |item: &Item| {
            let image = data.classes()[item.class].image(item.image).unwrap();
            (item.label, features(image.to_vec()))
        };
        let support: Vec<_> = episode.support().iter().map(seen).collect();
        for query in episode.query() {
            let (label, query) = seen(query);
            let far = |s: &[f32]| s.iter().zip(&query).map(|(a, b)| (a - b) * (a - b)).sum::<f32>();
            let closest = support.iter().min_by(|a, b| far(&a.1).total_cmp(&far(&b.1)));
            right += usize::from(closest.is_some_and(|(found, _)| *found == label));
            all += 1;
        }
    }
    f64::from(right as u32) / f64::from(all as u32)
}

fn pixels(image: Vec<u8>) -> Vec<f32> {
    image.into_iter().map(f32::from).collect()
}

/// What views of a class have in common, to some degree: how like its neighbours at some distances a
/// pixel is, and how the colours go together. Neither light nor place nor quarter turns change it much.
fn common(image: Vec<u8>) -> Vec<f32> {
    let area = image.len() / 3;
    let size = area.isqrt();
    let channels: Vec<Vec<f32>> = image.chunks(area).map(normal).collect();
    let mut features = Vec::new();
    for pair in [(0, 1), (0, 2), (1, 2)] {
        let together = channels[pair.0].iter().zip(&channels[pair.1]).map(|(a, b)| a * b);
        features.push(together.sum::<f32>() / area as f32);
    }
    for lag in [2, 4, 7, 11, 16] {
        for channel in &channels {
            let like = |dx: usize, dy: usize| {
                let pairs =
                    (0..size - dy).flat_map(|y| (0..size - dx).map(move |x| (y * size + x, (y + dy) * size + x + dx)));
                let sum: f32 = pairs.map(|(a, b)| channel[a] * channel[b]).sum();
                sum / ((size - dx) * (size - dy)) as f32
            };
            let (across, down) = (like(lag, 0), like(0, lag));
            features.push(0.7 * (across + down));
        }
    }
    features
}

/// Mean 0, spread 1.
fn normal(channel: &[u8]) -> Vec<f32> {
    let n = channel.len() as f32;
    let mean = channel.iter().map(|&b| f32::from(b)).sum::<f32>() / n;
    let spread = (channel.iter().map(|&b| (f32::from(b) - mean).powi(2)).sum::<f32>() / n).sqrt().max(1.0);
    channel.iter().map(|&b| (f32::from(b) - mean) / spread).collect()
}

#[test]
fn pixels_solve_little_of_the_task_and_what_views_share_more() {
    // A task that is trivial, or impossible, would make every method look the same. Chance is 0.2.
    let data = Textures::new(60, 8).generate().unwrap();
    let (by_pixels, by_common) = (nearest(&data, pixels), nearest(&data, common));
    println!("nearest neighbour: {by_pixels:.3} by pixels, {by_common:.3} by what views share");
    assert!((0.25..0.60).contains(&by_pixels), "{by_pixels}");
    assert!(by_common > by_pixels + 0.1, "{by_common} {by_pixels}");
}

/// A sheet of 16 classes by 12 images, written where `FEWSHOT_SHEET` says.
#[test]
#[ignore = "writes a picture to look at"]
fn contact_sheet() {
    let Some(path) = std::env::var_os("FEWSHOT_SHEET") else { return };
    let (classes, images, size) = (16, 12, 84);
    let data = Textures::new(classes, images).generate().unwrap();
    let (width, height) = (images * (size + 2), classes * (size + 2));
    let mut sheet = vec![255; width * height * 3];
    for (row, class) in data.classes().iter().enumerate() {
        for column in 0..images {
            let image = class.image(column).unwrap();
            for pixel in 0..size * size {
                let (y, x) = (row * (size + 2) + pixel / size, column * (size + 2) + pixel % size);
                for channel in 0..3 {
                    sheet[(y * width + x) * 3 + channel] = image[channel * size * size + pixel];
                }
            }
        }
    }
    let file = std::io::BufWriter::new(std::fs::File::create(path).unwrap());
    let mut encoder = png::Encoder::new(file, width as u32, height as u32);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&sheet).unwrap();
}

/// Microseconds an image takes on one thread.
#[test]
#[ignore = "measures time"]
fn drawing_time() {
    let model: Vec<_> = (0..100).map(|class| Model::new(0, class)).collect();
    let mut pixels = vec![0; 3 * 84 * 84];
    let start = std::time::Instant::now();
    for image in 0..2_000u64 {
        let class = image % 100;
        let mut stream = Stream::new(Domain::TextureImage, 0, class, image);
        View::new(&mut stream).draw(&model[class as usize], 84, &mut pixels);
    }
    println!("{:.1} us an image", start.elapsed().as_secs_f64() * 1e6 / 2_000.0);
}
