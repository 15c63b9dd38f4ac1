//! Tests of the regression families.
//!
//! Does not know: anything but them.

use super::*;

/// The largest distance between the share of draws below each value and `share` of it: Kolmogorov and
/// Smirnov's test statistic, times the root of the number. Above 2.7 with a probability of 1e-6.
fn distance(mut draws: Vec<f64>, share: impl Fn(f64) -> f64) -> f64 {
    draws.sort_by(f64::total_cmp);
    let n = draws.len() as f64;
    let far = |(i, x): (usize, &f64)| (share(*x) - i as f64 / n).abs().max((share(*x) - (i + 1) as f64 / n).abs());
    draws.iter().enumerate().map(far).fold(0.0, f64::max) * n.sqrt()
}

fn uniform(low: f64, high: f64) -> impl Fn(f64) -> f64 {
    move |x| ((x - low) / (high - low)).clamp(0.0, 1.0)
}

/// The normal distribution function about `mean`.
fn normal(mean: f64) -> impl Fn(f64) -> f64 {
    move |x| 0.5 * libm::erfc(-(x - mean) / 2f64.sqrt())
}

fn sinusoids() -> Regression<Sinusoid> {
    Regression::new(Sinusoid::default(), 3, 2, 42).unwrap()
}

fn first<T>(draw: impl Fn(u64) -> T) -> Vec<T> {
    (0..4_000).map(draw).collect()
}

#[test]
fn the_test_of_distributions_can_fail() {
    // A tenth of the range too much, as if phases went to 1.1 pi, and a normal of deviation 1.1.
    let mut stream = Stream::for_task(0, Split::Train, 0);
    let wide: Vec<f64> = (0..4_000).map(|_| stream.uniform(0.0, 1.1)).collect();
    assert!(distance(wide, uniform(0.0, 1.0)) > 2.7);
    let wide: Vec<f64> = (0..4_000).map(|_| 1.1 * stream.normal()).collect();
    assert!(distance(wide, normal(0.0)) > 1.3);
}

#[test]
fn sinusoids_have_their_distributions() {
    let functions = first(|index| sinusoids().function(index));
    assert!(functions.iter().all(|wave| wave.frequency == 1.0));
    let amplitudes = functions.iter().map(|wave| wave.amplitude).collect();
    assert!(distance(amplitudes, uniform(0.1, 5.0)) < 2.7);
    let phases = functions.iter().map(|wave| -wave.phase).collect();
    assert!(distance(phases, uniform(0.0, std::f64::consts::PI)) < 2.7);
    let inputs = first(|index| f64::from(sinusoids().draw(index).unwrap().query.x.values()[1]));
    assert!(distance(inputs, uniform(-5.0, 5.0)) < 2.7);
}

#[test]
fn half_are_lines() {
    let tasks = Regression::new(SinusoidOrLine::default(), 1, 1, 1).unwrap();
    let functions = first(|index| tasks.function(index));
    let lines = functions.iter().filter_map(|f| if let WaveOrLine::Line(line) = f { Some(*line) } else { None });
    let lines: Vec<Line> = lines.collect();
    // 4.9 sigma of 4,000 halves are 155.
    assert!(lines.len().abs_diff(2_000) < 155, "{}", lines.len());
    assert!(distance(lines.iter().map(|line| line.slope).collect(), uniform(-3.0, 3.0)) < 2.7);
    assert!(distance(lines.iter().map(|line| line.intercept).collect(), uniform(-3.0, 3.0)) < 2.7);
    // Slope and intercept are draws of their own: of 4,000 / 2 products of mean 0 and deviation 3.
    let products = lines.iter().map(|line| line.slope * line.intercept).sum::<f64>() / lines.len() as f64;
    assert!(products.abs() < 0.34, "{products}");
}

#[test]
fn harmonics_have_their_distributions() {
    let tasks = Regression::new(Harmonic::default(), 1, 1, 2).unwrap();
    let functions = first(|index| tasks.function(index));
    let of = |get: fn(&TwoWaves) -> f64| functions.iter().map(get).collect::<Vec<f64>>();
    assert!(distance(of(|f| f.place), uniform(-4.0, 4.0)) < 2.7);
    assert!(distance(of(|f| f.waves[0].frequency), uniform(5.0, 7.0)) < 2.7);
    assert!(functions.iter().all(|f| f.waves[1].frequency == 2.0 * f.waves[0].frequency));
    for amplitudes in [of(|f| f.waves[0].amplitude), of(|f| f.waves[1].amplitude)] {
        assert!(distance(amplitudes, normal(0.0)) < 2.7);
    }
    for phases in [of(|f| f.waves[0].phase), of(|f| f.waves[1].phase)] {
        assert!(distance(phases, uniform(0.0, std::f64::consts::TAU)) < 2.7);
    }
    let about =
        first(|index| f64::from(tasks.draw(index).unwrap().support.x.values()[0]) - tasks.function(index).place);
    assert!(distance(about, normal(0.0)) < 2.7);
}

#[test]
fn points_lie_on_the_function() {
    fn check<F: Family>(family: F) {
        let tasks = Regression::new(family, 4, 6, 9).unwrap();
        for index in 0..50 {
            let (task, function) = (tasks.draw(index).unwrap(), tasks.function(index));
            for (half, count) in [(task.support, 4), (task.query, 6)] {
                assert_eq!((half.x.shape(), half.y.shape()), ([count, 1], [count, 1]));
                for (&x, &y) in half.x.values().iter().zip(half.y.values()) {
                    // Inputs were rounded to floats: 5e-7 of 8 at most, times a slope of 60 or so.
                    assert!((function.at(f64::from(x)) - f64::from(y)).abs() < 1e-4);
                }
            }
        }
    }
    check(Sinusoid::default());
    check(SinusoidOrLine::default());
    check(Harmonic::default());
}

#[test]
fn sizes_noise_and_parts_change_what_they_should() {
    let tasks = sinusoids();
    let (task, more) =
        (tasks.draw(5).unwrap(), Regression::new(Sinusoid::default(), 4, 7, 42).unwrap().draw(5).unwrap());
    assert_eq!(task.support.x.values(), &more.support.x.values()[..3]);
    assert_eq!(task.query.y.values(), &more.query.y.values()[..2]);
    let noisy = tasks.with_noise(0.5).unwrap();
    assert_eq!(noisy.draw(5).unwrap().support.x, task.support.x);
    let noise = |get: fn(&SupportQuery<HostPoints>) -> &Floats<2>| {
        first(|index| {
            let [noisy, clean] = [&noisy, &tasks].map(|tasks| f64::from(get(&tasks.draw(index).unwrap()).values()[0]));
            2.0 * (noisy - clean)
        })
    };
    let [support, query] = [noise(|task| &task.support.y), noise(|task| &task.query.y)];
    // Catches one draw of noise for both halves.
    assert_ne!(support, query);
    assert!(distance(support, normal(0.0)) < 2.7 && distance(query, normal(0.0)) < 2.7);
    let functions: Vec<Wave> = [Split::Train, Split::Val, Split::Test]
        .iter()
        .flat_map(|&part| [0, 1].map(|i| tasks.with_split(part).function(i)))
        .collect();
    assert!((1..6).all(|i| !functions[..i].contains(&functions[i])));
    // In any order, again and again.
    let forward: Vec<_> = (0..9).map(|i| tasks.draw(i).unwrap()).collect();
    assert!((0..9).rev().all(|i| tasks.draw(i).unwrap() == forward[i as usize]));
}

#[test]
fn impossible_settings_are_errors() {
    let says = |family: Sinusoid, shot| Regression::new(family, shot, 1, 0).unwrap_err().to_string();
    assert_eq!(says(Sinusoid::default(), 0), "shot is 0; expected at least 1");
    let turned = Sinusoid { phase: [1.0, 0.0], ..Sinusoid::default() };
    assert_eq!(says(turned, 1), "phase is 1 to 0; expected two numbers, the lower one first");
    for bad in [f64::NAN, f64::INFINITY] {
        assert!(says(Sinusoid { x: [0.0, bad], ..Sinusoid::default() }, 1).starts_with("x is 0 to"));
        assert!(sinusoids().with_noise(bad).is_err());
    }
    let from_text: Sinusoid = serde_json::from_str("{\"amplitude\": [1, 2]}").unwrap();
    assert_eq!(from_text, Sinusoid { amplitude: [1.0, 2.0], ..Sinusoid::default() });
}

#[test]
fn tasks_are_pinned() {
    // Catches any change of a draw or of a sine's last bits. The numbers are those of ChaCha8, Box and
    // Muller and the formulas written out in Python, rounded to 32 bits.
    let task = sinusoids().draw(7).unwrap();
    assert_eq!(task.support.x.values(), PINNED.0);
    assert_eq!(task.support.y.values(), PINNED.1);
    let task = Regression::new(Harmonic::default(), 2, 1, 42).unwrap().draw(7).unwrap();
    assert_eq!(task.support.x.values(), PINNED.2);
    assert_eq!(task.support.y.values(), PINNED.3);
}

type Pinned = ([f32; 3], [f32; 3], [f32; 2], [f32; 2]);
const PINNED: Pinned = (
    [3.998_808_9, -2.168_830_6, -3.388_992],
    [-2.196_638_6, -2.546_221_7, 1.834_824_9],
    [1.675_815_5, 2.365_078_2],
    [0.399_855_9, -0.529_159_2],
);
