//! Time of a Hessian-vector product over the time of a gradient, f32 on the CPU: `cargo bench --bench hvp`.
//!
//! The ratios are medians over pairs taken in turn, so that a machine whose speed drifts does not move them. Beside them
//! stands what the graphs say: operations, arithmetic and memory traffic.

use std::hint::black_box;
use std::time::Instant;

use burn::module::Module;
use burn::tensor::{Device, Distribution, Int, Tensor};
use burn_func::{Batch, Params, ProgramCache, Traced, trace_with};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, MlpConfig, cross_entropy, mean_squared_error};
use criterion::Criterion;

struct Case<B> {
    name: &'static str,
    traced: Traced<B>,
    retrace: Box<dyn Fn() -> Traced<B>>,
    at: Params,
    batch: B,
}

impl<B: Batch + 'static> Case<B> {
    fn new<M: Module + 'static>(name: &'static str, model: M, batch: B, f: fn(&M, B) -> Tensor<1>) -> Self {
        let at = Params::from_module(&model).expect("the model is on an autodiff device");
        let (cache, example) = (ProgramCache::new(), batch.clone());
        let retrace = move || trace_with(&cache, &model, &example, f).expect("the closure can be traced");
        Self { name, traced: retrace(), retrace: Box::new(retrace), at, batch }
    }

    fn gradient(&self) -> Params {
        self.traced.value_and_grad(&self.at, &self.batch).expect("a gradient").1
    }

    fn bench(&self, criterion: &mut Criterion) {
        let point = self.traced.linearize(&self.at, &self.batch).expect("every operation has a rule");
        let v = point.grad().clone();
        let mut group = criterion.benchmark_group(self.name);
        group.sample_size(20);
        group.bench_function("trace again", |b| b.iter(|| black_box((self.retrace)())));
        group.bench_function("gradient", |b| b.iter(|| black_box(self.gradient())));
        group.bench_function("linearize", |b| b.iter(|| black_box(self.traced.linearize(&self.at, &self.batch))));
        group.bench_function("hvp", |b| b.iter(|| black_box(point.hvp(&v))));
        group.finish();
        self.ratios();
    }

    fn ratios(&self) {
        let point = self.traced.linearize(&self.at, &self.batch).expect("every operation has a rule");
        let v = point.grad().clone();
        let repeats = (0.02 / seconds(1, || drop(self.gradient()))).ceil().clamp(1.0, 500.0) as usize;
        let (mut product, mut linearize, mut retrace) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..60 {
            let gradient = seconds(repeats, || drop(black_box(self.gradient())));
            product.push(seconds(repeats, || drop(black_box(point.hvp(&v)))) / gradient);
            linearize
                .push(seconds(repeats, || drop(black_box(self.traced.linearize(&self.at, &self.batch)))) / gradient);
        }
        for _ in 0..20 {
            let gradient = seconds(repeats, || drop(black_box(self.gradient())));
            retrace.push(seconds(repeats, || drop(black_box((self.retrace)()))) / gradient);
        }
        let costs = self.traced.costs().expect("every operation has a rule");
        println!("{}\n{costs}", self.name);
        println!("  product / gradient: {}", spread(&mut product));
        println!("  linearize / gradient: {}", spread(&mut linearize));
        println!("  tracing again / gradient: {}\n", spread(&mut retrace));
    }
}

fn seconds(repeats: usize, mut f: impl FnMut()) -> f64 {
    let start = Instant::now();
    (0..repeats).for_each(|_| f());
    start.elapsed().as_secs_f64()
}

fn spread(ratios: &mut [f64]) -> String {
    ratios.sort_by(f64::total_cmp);
    let at = |part: f64| ratios[(part * (ratios.len() - 1) as f64) as usize];
    format!("{:.2} (quartiles {:.2} to {:.2})", at(0.5), at(0.25), at(0.75))
}

fn main() {
    let device = Device::flex().autodiff();
    device.seed(0);
    let mut criterion = Criterion::default().configure_from_args();

    let mlp = MlpConfig::new(vec![1, 40, 40, 1]).init(&device);
    let x = Tensor::<2>::random([10, 1], Distribution::Uniform(-5.0, 5.0), &device);
    let y = x.clone().sin();
    let loss = |net: &Mlp, (x, y): (Tensor<2>, Tensor<2>)| mean_squared_error(net.forward(x), y);
    Case::new("sinusoid MLP 1-40-40-1, 10 points", mlp, (x, y), loss).bench(&mut criterion);

    let cnn = Cnn4Config::new(3, 84, 5).init(&device);
    let images = Tensor::<4>::random([5, 3, 84, 84], Distribution::Uniform(0.0, 1.0), &device);
    let labels = Tensor::<1, Int>::from_data([0, 1, 2, 3, 4], &device);
    let loss = |net: &Cnn4, (x, y): (Tensor<4>, Tensor<1, Int>)| cross_entropy(net.forward(x), y);
    Case::new("CNN4 32 filters 84x84 RGB, 5 images", cnn, (images, labels), loss).bench(&mut criterion);
    criterion.final_summary();
}
