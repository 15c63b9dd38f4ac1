//! Tests of whole pipelines.
//!
//! Does not know: what each step does by itself.

use super::*;
use crate::{Fill, Filter};

const SHAPE: [usize; 3] = [3, 12, 10];

/// A planar image and the same pixel by pixel, as it is and reversed.
fn images() -> [(Vec<u8>, Layout); 3] {
    let planar: Vec<u8> = (0..360u32).map(|i| (i * i % 251) as u8).collect();
    let pixel = |channels: [usize; 3]| (0..120).flat_map(move |at| channels.map(|c| c * 120 + at));
    let [rgb, bgr] = [[0, 1, 2], [2, 1, 0]].map(|order| pixel(order).map(|at| planar[at]).collect::<Vec<_>>());
    [(planar, Layout::Planar), (rgb, Layout::Interleaved), (bgr, Layout::Reversed)]
}

fn training() -> Pipeline {
    Pipeline::new()
        .resize([14, 12], Filter::Lanczos)
        .random_crop([12, 12], 2, Fill::Reflect)
        .flip(0.5)
        .jitter(ColorJitter::new(0.4, 0.4, 0.4, 0.1))
        .normalize(&[0.5, 0.4, 0.3], &[0.2, 0.3, 0.4])
}

fn apply(pipeline: &Pipeline, (image, layout): &(Vec<u8>, Layout), key: ImageKey, scratch: &mut Scratch) -> Vec<f32> {
    let plan = pipeline.plan(SHAPE).unwrap();
    let mut out = vec![f32::NAN; plan.shape().iter().product()];
    plan.apply(image, *layout, key, scratch, &mut out).unwrap();
    out
}

fn key(task: u64, image: u64) -> ImageKey {
    ImageKey { seed: 5, task, image }
}

#[test]
fn plain_images_are_divided_and_normalised_as_floats() {
    // Exactly what torchvision's ToTensor and Normalize compute in 32 bits: byte / 255, - mean, / std.
    let image = &images()[0];
    let plain = apply(&Pipeline::new(), image, key(0, 0), &mut Scratch::default());
    let expected: Vec<f32> = image.0.iter().map(|&byte| f32::from(byte) / 255.0).collect();
    assert_eq!(plain, expected);
    let normalised = Pipeline::new().normalize(&[0.5, 0.4, 0.3], &[0.2, 0.3, 0.4]);
    let normalised = apply(&normalised, image, key(0, 0), &mut Scratch::default());
    let scale = [(0.5f32, 0.2f32), (0.4, 0.3), (0.3, 0.4)];
    let expected: Vec<f32> = plain.iter().zip(0..).map(|(v, i)| (v - scale[i / 120].0) / scale[i / 120].1).collect();
    assert_eq!(normalised, expected);
}

#[test]
fn layouts_give_the_same_image() {
    let [planar, others @ ..] = images();
    for pipeline in [Pipeline::new(), training(), training().without_chance(), Pipeline::new().flip(0.0)] {
        let expected = apply(&pipeline, &planar, key(1, 1), &mut Scratch::default());
        for image in &others {
            assert_eq!(apply(&pipeline, image, key(1, 1), &mut Scratch::default()), expected, "{:?}", image.1);
        }
    }
}

#[test]
fn images_depend_on_their_key_alone() {
    // Catches a generator that goes on from image to image, and pixels left in a buffer.
    let (image, pipeline, mut scratch) = (&images()[1], training(), Scratch::default());
    let forward: Vec<_> = (0..40).map(|i| apply(&pipeline, image, key(i / 8, i % 8), &mut scratch)).collect();
    for i in (0..40).rev() {
        assert_eq!(apply(&pipeline, image, key(i / 8, i % 8), &mut Scratch::default()), forward[i as usize]);
    }
    let mut seen: Vec<Vec<u32>> = forward.iter().map(|v| v.iter().map(|x| x.to_bits()).collect()).collect();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!(seen.len(), 40);
    let other_seed = ImageKey { seed: 6, ..key(0, 0) };
    assert_ne!(apply(&pipeline, image, other_seed, &mut scratch), forward[0]);
}

#[test]
fn random_transforms_are_pinned() {
    // Catches other draws for published seeds. Computed apart from this crate as well, with ChaCha8
    // written out in Python: places of crops, flips, and factors of brightness.
    let image: Vec<u8> = (1..=36).collect();
    let crop = Pipeline::new().random_crop([4, 4], 1, Fill::Zero).flip(0.5).plan([1, 6, 6]).unwrap();
    let jitter = ColorJitter { brightness: [0.0, 1.0], ..ColorJitter::new(0.0, 0.0, 0.0, 0.0) };
    let jitter = Pipeline::new().jitter(jitter).plan([1, 1, 1]).unwrap();
    let (mut out, mut bright, scratch) = ([0.0; 16], [0.0], &mut Scratch::default());
    for (position, (place, flips, factor)) in PINNED.into_iter().enumerate() {
        let key = ImageKey { seed: 42, task: 7, image: position as u64 };
        crop.apply(&image, Layout::Planar, key, scratch, &mut out).unwrap();
        // The second pixel of the second row, before the flip, is the one at the place.
        let found = (255.0 * out[if flips { 6 } else { 5 }]).round() as usize;
        assert_eq!(found, place.0 * 6 + place.1 + 1, "{position}");
        jitter.apply(&[255], Layout::Planar, key, scratch, &mut bright).unwrap();
        assert_eq!(bright, [factor]);
    }
}

const PINNED: [((usize, usize), bool, f32); 4] = [
    ((3, 2), true, 0.710_790_9),
    ((3, 1), true, 0.339_051_25),
    ((1, 3), false, 0.397_961_68),
    ((1, 4), false, 0.592_214_7),
];

#[test]
fn a_later_step_leaves_the_draws_of_an_earlier_one() {
    let image = &images()[0];
    let crop = Pipeline::new().random_crop([8, 8], 0, Fill::Zero);
    for task in 0..20 {
        let cropped = apply(&crop, image, key(task, 0), &mut Scratch::default());
        let mut flipped = apply(&crop.clone().flip(1.0), image, key(task, 0), &mut Scratch::default());
        flipped.chunks_exact_mut(8).for_each(<[f32]>::reverse);
        assert_eq!(cropped, flipped);
    }
}

#[test]
fn without_chance_every_key_gives_the_same() {
    let (image, pipeline) = (&images()[0], training());
    assert!(pipeline.is_random());
    let parts = pipeline.clone().into_parts();
    assert_eq!((parts.train, &parts.val), (pipeline, &parts.test));
    assert!(!parts.test.is_random());
    let first = apply(&parts.test, image, key(0, 0), &mut Scratch::default());
    assert!((1..20).all(|task| apply(&parts.test, image, key(task, 3), &mut Scratch::default()) == first));
}

#[test]
fn settings_come_back_from_text() {
    let text = serde_json::to_string(&training()).unwrap();
    assert_eq!(serde_json::from_str::<Pipeline>(&text).unwrap(), training());
    let short = r#"{"steps": [{"kind": "shorter_side", "side": 92}, {"kind": "center_crop", "size": [84, 84]}]}"#;
    let expected = Pipeline::new().shorter_side(92, Filter::Lanczos).center_crop([84, 84]);
    assert_eq!(serde_json::from_str::<Pipeline>(short).unwrap(), expected);
    assert_eq!(expected.plan([3, 375, 500]).unwrap().shape(), [3, 84, 84]);
    for wrong in [r#"{"flip": 0.5}"#, r#"{"steps": [{"kind": "turn"}]}"#, r#"{"steps": [{"kind": "flip", "p": 1}]}"#] {
        assert!(serde_json::from_str::<Pipeline>(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let says = |pipeline: Pipeline| pipeline.plan(SHAPE).unwrap_err().to_string();
    assert_eq!(
        says(Pipeline::new().normalize(&[0.5], &[0.5])),
        "transform normalize: 1 means and 1 deviations; expected 3 of each, one for a channel"
    );
    assert!(says(Pipeline::new().normalize(&[0.5; 3], &[0.5, 0.0, 1.0])).contains("deviation 0"));
    assert!(says(Pipeline::new().normalize(&[0.5, f64::NAN, 0.5], &[0.5; 3])).contains("mean NaN"));
    assert!(says(training().center_crop([13, 3])).contains("13 x 3 of images of 12 x 12"));
    assert!(Pipeline::new().plan([1, 0, 3]).is_err() && Pipeline::new().plan([usize::MAX, 2, 3]).is_err());
    let plan = Pipeline::new().center_crop([4, 4]).plan(SHAPE).unwrap();
    let error = |image: usize, out: usize| {
        let mut out = vec![0.0; out];
        plan.apply(&vec![0; image], Layout::Planar, key(0, 0), &mut Scratch::default(), &mut out)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(error(359, 48), "an image: 359 values; expected 3 x 12 x 10");
    assert_eq!(error(360, 49), "the place for a transformed image: 49 values; expected 3 x 4 x 4");
}
