//! Meta-batches in pieces, query sets in pieces, and the memory of both foretold.
#![allow(missing_docs)]

mod common;

use burn::module::{Module, Param};
use burn::nn::{Dropout, DropoutConfig};
use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_func::{Params, Residuals};
use burn_meta::models::{Cnn4, Cnn4Config, Mlp, Norm, cross_entropy, mean_squared_error};
use burn_meta::{
    Accumulator, CancelToken, Error, Estimator, InnerLoopConfig, InnerRatesConfig, Maml, MamlConfig, MemoryEstimate,
    MetaStep, Phases, Place, Report, Rule, Task,
};
use common::*;

const STEPS: usize = 3;

fn estimators() -> Vec<Estimator> {
    vec![
        Estimator::Exact,
        Estimator::truncated(2),
        Estimator::binomial(2),
        Estimator::frozen(2),
        Estimator::segments(2, 1),
        Estimator::Adaptive { tolerance: 1e-3 },
        Estimator::FirstOrder,
        Estimator::implicit(20),
        Estimator::Reptile,
    ]
}

fn config(estimator: Estimator) -> MamlConfig {
    let inner = InnerLoopConfig::new(0.02).with_steps(STEPS);
    let proximal = if matches!(estimator, Estimator::Implicit { .. }) { 40.0 } else { 0.0 };
    MamlConfig::new(inner.with_proximal(proximal), estimator)
}

fn many(n: usize) -> Vec<Task<Points>> {
    (0..n).map(|i| Task { support: points(5, 10 * i), query: points(8, 10 * i + 5) }).collect()
}

/// A network that drops units: what it computes depends on the number of a task.
#[derive(Module, Debug)]
struct Dropped {
    net: Mlp,
    dropout: Dropout,
}

fn dropped() -> Dropped {
    Dropped { net: mlp(), dropout: DropoutConfig::new(0.3).init() }
}

fn dropped_loss(model: &Dropped, (x, y): Points) -> (Tensor<1>, Tensor<2>) {
    let out = model.net.forward(model.dropout.forward(x));
    (mean_squared_error(out.clone(), y), out)
}

fn rows(net: &Mlp, (x, y): Points) -> (Tensor<1>, Tensor<2>) {
    let out = net.forward(x);
    (mean_squared_error(out.clone(), y), out)
}

/// The numbers of a step that may not depend on how it was divided.
fn numbers<A>(step: &MetaStep<A>) -> (Vec<f64>, Vec<burn_meta::TaskLosses>, f64, Report) {
    let timeless = Report { seconds: 0.0, phases: Phases::default(), peak_bytes: 0, threads: 0, ..step.report.clone() };
    (step.gradient.to_f64(), step.losses.clone(), step.query_loss(), timeless)
}

#[test]
fn a_meta_batch_in_pieces_is_the_whole_bit_for_bit() {
    let (model, tasks, weights) = (dropped(), many(5), [0.5, 0.0, 2.0, 1.0, 0.25]);
    for estimator in estimators() {
        for threads in [1, 3] {
            let maml = config(estimator).with_threads(Some(threads)).init().unwrap();
            let whole = maml.at_step(7).batch(&tasks).with_weights(&weights).gradient(&model, dropped_loss);
            // Products with a Hessian that changes sign may stop the solver, in all of them alike.
            let Ok(whole) = whole else { panic!("{estimator:?}: {}", whole.unwrap_err()) };
            for sizes in [vec![1; 5], vec![2, 3], vec![4, 0, 1]] {
                let maml = maml.at_step(7);
                let (mut sum, mut from) = (maml.accumulate(), 0);
                for size in sizes {
                    let piece = maml.batch(&tasks[from..from + size]).with_weights(&weights[from..from + size]);
                    sum.add(&piece, &model, dropped_loss).unwrap();
                    from += size;
                    assert_eq!((sum.tasks(), maml.step()), (from, 7));
                }
                let step = sum.finish().unwrap();
                // Keys that began anew with every piece would draw other masks; sums in another order would round otherwise.
                assert_eq!(numbers(&step), numbers(&whole), "{estimator:?}");
                assert!(step.outputs.iter().zip(&whole.outputs).all(|(a, b)| a.to_data() == b.to_data()));
                assert_eq!(maml.step(), 8);
            }
        }
    }
}

#[test]
fn learned_rates_and_two_losses_add_up_too() {
    let (net, tasks) = (mlp(), many(3));
    let config = config(Estimator::binomial(2));
    let rates = InnerRatesConfig::per_layer_per_step().init(&net, &config.inner).unwrap();
    let maml = config.init().unwrap().with_rates(&rates);
    let absolute = |net: &Mlp, (x, y): Points| (net.forward(x) - y).abs().mean();
    let whole = maml.batch(&tasks).gradient_of(&net, loss, absolute).unwrap();
    let mut sum = maml.accumulate();
    for task in &tasks {
        sum.add_of(&maml.batch(std::slice::from_ref(task)), &net, loss, absolute).unwrap();
    }
    let step = sum.finish().unwrap();
    let read = |step: &MetaStep<()>| -> Vec<TensorData> {
        let (at, grads) = (Params::from_module(&rates).unwrap(), step.rate_grads.as_ref().unwrap());
        at.specs().iter().map(|spec| grads.get::<1>(spec.id).unwrap().into_data()).collect()
    };
    assert_eq!(step.gradient.to_f64(), whole.gradient.to_f64());
    assert_eq!(read(&step), read(&whole));
    assert!(read(&whole)[0].iter::<f64>().all(|grad| grad != 0.0));
}

#[test]
fn a_piece_that_fails_leaves_no_trace_and_names_its_task() {
    let (net, tasks) = (mlp(), many(4));
    let maml = config(Estimator::Exact).with_threads(Some(1)).init().unwrap();
    let whole = maml.at_step(0).meta_gradient(&net, &tasks, loss).unwrap();
    let mut sum = maml.accumulate();
    sum.add(&maml.batch(&tasks[..2]), &net, loss).unwrap();

    let mut poisoned = tasks[2..].to_vec();
    poisoned[1].query.1 = poisoned[1].query.1.clone().mul_scalar(f64::NAN);
    let error = sum.add(&maml.batch(&poisoned), &net, loss).unwrap_err();
    assert!(matches!(error, Error::NonFinite { task: 3, place: Place::Query, .. }), "{error}");

    let stop = CancelToken::new();
    let piece = maml.batch(&tasks[2..]).cancelled_by(&stop).on_progress(|progress| {
        assert_eq!((progress.done, progress.tasks), (3, 4));
        stop.cancel();
    });
    let error = sum.add(&piece, &net, loss).unwrap_err();
    assert!(matches!(error, Error::Cancelled { done: 3, tasks: 4 }), "{error}");
    assert_eq!((sum.tasks(), maml.step()), (2, 0));

    sum.add(&maml.batch(&tasks[2..]), &net, loss).unwrap();
    assert_eq!(sum.finish().unwrap().gradient.to_f64(), whole.gradient.to_f64());
    assert_eq!(maml.step(), 1);
}

#[test]
fn pieces_that_do_not_go_together_are_refused() {
    let (net, tasks) = (mlp(), many(2));
    let maml = config(Estimator::Exact).init().unwrap();
    assert!(matches!(maml.accumulate::<()>().finish(), Err(Error::EmptyMetaBatch)));
    let mut idle: Accumulator<()> = maml.accumulate();
    idle.add(&maml.batch(&tasks).with_weights(&[0.0, 0.0]), &net, loss).unwrap();
    let error = idle.finish().unwrap_err();
    assert_eq!(error.to_string(), "weights of the tasks: all are zero");

    let mut sum = maml.accumulate();
    sum.add(&maml.batch(&tasks), &net, loss).unwrap();
    let other = config(Estimator::Exact).init().unwrap();
    let error = sum.add(&other.batch(&tasks), &net, loss).unwrap_err();
    assert_eq!(error.to_string(), "accumulation: a piece is of another meta-learner than the others");
    // Another module of the same shapes: its gradient belongs to other parameters.
    let error = sum.add(&maml.batch(&tasks), &mlp(), loss).unwrap_err();
    assert_eq!(error.to_string(), "accumulation: a piece has another model than the others");
    assert_eq!(maml.step(), 0);
}

#[test]
fn query_sets_in_pieces_have_the_losses_and_gradients_of_the_whole() {
    let (net, tasks) = (mlp(), many(3));
    for estimator in estimators() {
        for weights in [None, Some([0.5, 0.0, 1.5])] {
            if weights.is_some() && !estimator.is_unrolled() {
                continue;
            }
            let on = |threads| config(estimator).with_threads(Some(threads)).init().unwrap();
            let (maml, many_threads) = (on(1), on(3));
            let batch = |maml: &Maml, chunk: usize| {
                let batch = maml.batch(&tasks).with_query_chunk(chunk);
                match &weights {
                    Some(weights) => batch.with_query_weights(weights).gradient(&net, rows),
                    None => batch.gradient(&net, rows),
                }
                .unwrap()
            };
            let whole = batch(&maml, 8); // as many as there are: not cut
            // 4 divides the 8 examples, 3 does not (2, 3 and 3 of them).
            for chunk in [4, 3, 1] {
                let step = batch(&maml, chunk);
                // Another order of summation rounds otherwise, by 1e-16 of numbers that cancel to a tenth at worst.
                let error = relative(&step.gradient, &whole.gradient);
                assert!(error <= 1e-12, "{estimator:?}, pieces of {chunk}: {error:e}");
                assert!((step.query_loss() - whole.query_loss()).abs() <= 1e-13 * whole.query_loss());
                for (piece, all) in step.outputs.iter().zip(&whole.outputs) {
                    assert_eq!(piece.dims(), [8, 1]);
                    assert!((piece.clone() - all.clone()).abs().max().into_scalar::<f64>() <= 1e-13);
                }
                let threaded = batch(&many_threads, chunk);
                assert_eq!(threaded.gradient.to_f64(), step.gradient.to_f64(), "{estimator:?} on three threads");
                let judged = maml.batch(&tasks).with_query_chunk(chunk).evaluate(&net, rows).unwrap();
                for (judged, at) in judged.iter().zip(0..) {
                    assert_eq!(judged.losses.query, step.losses[at].query);
                    assert_eq!(judged.outputs.to_data(), step.outputs[at].to_data());
                }
            }
            let plain = maml.batch(&tasks);
            let plain = match &weights {
                Some(weights) => plain.with_query_weights(weights).gradient(&net, rows),
                None => plain.gradient(&net, rows),
            };
            assert_eq!(plain.unwrap().gradient.to_f64(), whole.gradient.to_f64());
        }
    }
}

fn refusal<O: burn_func::Output>(loss: impl Fn(&Mlp, Points) -> O, tasks: &[Task<Points>], chunk: usize) -> String {
    let maml = config(Estimator::Exact).init().unwrap();
    let batch = maml.batch(tasks).with_query_chunk(chunk);
    let error = batch.gradient(&mlp(), &loss).err().expect("a refusal");
    assert!(matches!(error, Error::QueryChunk { .. }), "{error}");
    assert_eq!(maml.step(), 0);
    error.to_string()
}

#[test]
fn losses_that_are_no_means_over_examples_are_refused() {
    let tasks = many(2);
    let sum = |net: &Mlp, (x, y): Points| (net.forward(x) - y).powf_scalar(2.0).sum();
    let error = refusal(sum, &tasks, 4);
    assert!(
        error.contains("the loss of 4 examples is ") && error.contains("the mean over its two halves is "),
        "{error}"
    );
    refusal(sum, &tasks, 1);
    // A mean over as many as there are in the whole.
    refusal(|net: &Mlp, (x, y): Points| (net.forward(x) - y).powf_scalar(2.0).sum() / 8.0, &tasks, 4);
    // Statistics of the batch, by hand; and a penalty that pulls apart.
    let centred = |net: &Mlp, (x, y): Points| {
        let out = net.forward(x);
        mean_squared_error(out.clone() - out.mean_dim(0), y)
    };
    refusal(centred, &tasks, 4);
    let error = {
        let maml = config(Estimator::Exact).init().unwrap();
        maml.batch(&tasks).with_query_chunk(4).evaluate(&mlp(), centred).err().unwrap()
    };
    assert!(matches!(error, Error::QueryChunk { .. }), "{error}");
    // Another closure with the same meta-learner is tried too.
    let maml = config(Estimator::Exact).init().unwrap();
    assert!(maml.batch(&tasks).with_query_chunk(4).gradient(&mlp(), loss).is_ok());
    assert!(maml.batch(&tasks).with_query_chunk(4).gradient(&mlp(), sum).is_err());
    // What is not cut is not refused.
    assert!(maml.batch(&tasks).with_query_chunk(8).gradient(&mlp(), sum).is_ok());
}

#[test]
fn query_sets_that_cannot_be_cut_say_why() {
    let tasks = many(2);
    let error = refusal(loss, &tasks, 0);
    assert_eq!(error, "query sets in pieces: pieces of 0 examples: at least 1 is needed");
    let error = refusal(|net: &Mlp, (x, y): Points| (loss(net, (x.clone(), y)), net.forward(x).mean()), &tasks, 4);
    assert!(
        error.contains("output 0 of the query loss has a leading axis of 1, expected one row for each of 4"),
        "{error}"
    );

    let maml = config(Estimator::Exact).init().unwrap();
    let odd = [Task { support: points(5, 1), query: (wave::<2>([8, 2], 1), wave::<2>([1, 2], 2)) }];
    let shifted = |net: &Mlp, (x, shift): (Tensor<2>, Tensor<2>)| net.forward(x + shift).powf_scalar(2.0).mean();
    let error = maml.batch(&odd).with_query_chunk(4).gradient_of(&mlp(), loss, shifted).unwrap_err().to_string();
    assert!(error.contains("have leading axes of [8, 1], expected one size, the number of examples"), "{error}");
    let none = [Task { support: points(5, 1), query: () }];
    let weight = |net: &Mlp, ()| net.layers[0].weight.val().powf_scalar(2.0).mean();
    let error = maml.batch(&none).with_query_chunk(4).gradient_of(&mlp(), loss, weight).unwrap_err().to_string();
    assert!(error.contains("a query set has no tensors"), "{error}");
}

type Images = (Tensor<4>, Tensor<1, Int>);

fn images(n: usize, salt: usize) -> Images {
    let labels: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
    (wave([n, 1, 16, 16], salt).cast(DType::F32), Tensor::from_data(TensorData::new(labels, [n]), &device()))
}

fn image_loss(net: &Cnn4, (x, y): Images) -> (Tensor<1>, Tensor<2>) {
    let logits = net.forward(x);
    (cross_entropy(logits.clone(), y), logits)
}

#[test]
fn batch_statistics_are_refused_by_name_and_running_ones_are_not() {
    device().seed(3);
    let mut net = Cnn4Config::new(1, 16, 3).with_hidden(4).init(&device());
    let tasks = [Task { support: images(3, 1), query: images(12, 2) }];
    let maml = config(Estimator::binomial(2)).init().unwrap();
    let batch = || maml.batch(&tasks).with_query_chunk(5);
    for error in [
        batch().gradient(&net, image_loss).err().unwrap(),
        batch().evaluate(&net, image_loss).err().unwrap(),
        batch().memory(&net, image_loss).err().unwrap(),
    ] {
        assert!(matches!(error, Error::QueryChunk { .. }), "{error}");
        assert!(error.to_string().contains("`blocks.0.norm.Batch` takes the statistics of its batch"), "{error}");
    }
    // A layer that is there and that the query loss does not run says nothing about it.
    let head = |net: &Cnn4, (x, y): Images| {
        cross_entropy(net.head.forward(x.mean_dim(3).mean_dim(2).flatten(1, 3).repeat_dim(1, 4)), y)
    };
    assert!(batch().gradient_of(&net, image_loss, head).is_ok());

    // With its training flag off it takes running statistics, on an autodiff device too.
    for block in &mut net.blocks {
        let Some(Norm::Batch(norm)) = &mut block.norm else { panic!("{:?}", block.norm) };
        norm.training = Param::from_bool(false);
    }
    let pieces = batch().gradient(&net, image_loss).unwrap();
    let whole = maml.batch(&tasks).gradient(&net, image_loss).unwrap();
    let error = relative(&pieces.gradient, &whole.gradient);
    assert!(error <= 1e-4, "{error:e}"); // single precision, another order of summation
    assert_eq!(pieces.outputs[0].dims(), [12, 3]);
}

#[test]
fn pieces_of_a_random_closure_draw_numbers_of_their_own() {
    // Two halves of the query set are the same: the same masks would give them the same outputs.
    let (x, y) = points(4, 3);
    let twice = (Tensor::cat(vec![x.clone(), x], 0), Tensor::cat(vec![y.clone(), y], 0));
    let tasks = [Task { support: points(5, 1), query: twice }];
    let judge = |threads| {
        let maml = config(Estimator::FirstOrder).with_threads(Some(threads)).init().unwrap();
        let done = maml.batch(&tasks).with_query_chunk(4).evaluate(&dropped(), dropped_loss).unwrap().remove(0);
        let out: Vec<f64> = done.outputs.into_data().iter().collect();
        (out, done.losses)
    };
    let (outputs, losses) = judge(1);
    assert_ne!(outputs[..4], outputs[4..]);
    assert_eq!(judge(2), (outputs, losses));
}

#[test]
fn memory_is_foretold_as_the_report_has_it() {
    let (net, tasks) = (mlp(), many(3));
    let stored = config(Estimator::Exact).init().unwrap().batch(&tasks).memory(&net, loss).unwrap();
    let budget = Residuals::Budget(stored.residual_bytes / stored.kept_steps / 2);
    for estimator in estimators() {
        for residuals in [Residuals::Store, Residuals::Recompute, budget] {
            for (rule, chunk, threads) in [(Rule::sgd(), 8, 1), (Rule::sgd(), 3, 2), (Rule::adam(), 4, 4)] {
                let mut config = config(estimator).with_threads(Some(threads));
                config.inner.rule = rule;
                let maml = config.init().unwrap().with_residuals(residuals);
                let batch = maml.batch(&tasks).with_query_chunk(chunk);
                let memory = batch.memory(&net, loss).unwrap();
                let report = batch.gradient(&net, loss).unwrap().report;
                let what = format!("{estimator:?}, {residuals:?}, {rule:?}");
                // What the linearizations held, against what their graphs said.
                assert_eq!(memory.residual_bytes, report.residual_bytes, "{what}");
                assert_eq!(memory.peak_bytes(), report.peak_bytes, "{what}");
                assert_eq!(memory.tasks_in_flight, report.threads, "{what}");
                assert!(memory.total_bytes > memory.peak_bytes());
                if residuals == Residuals::Store {
                    let kept = match estimator {
                        Estimator::FirstOrder | Estimator::Reptile => 0,
                        Estimator::Implicit { .. } => 1,
                        _ => estimator.reads(STEPS).len(),
                    };
                    assert_eq!(memory.kept_steps, kept, "{what}");
                    assert_eq!(memory.residual_bytes * stored.kept_steps, stored.residual_bytes * kept, "{what}");
                }
            }
        }
    }
}

#[test]
fn an_estimate_counts_what_there_is() {
    let (net, tasks) = (mlp(), many(3));
    let maml = config(Estimator::Exact).with_threads(Some(2)).init().unwrap();
    let memory = maml.batch(&tasks).memory(&net, loss).unwrap();
    // 2-6-1 in double precision; support sets of 5, query sets of 8 examples of 2 and 1 numbers.
    let parameters = 8 * (2 * 6 + 6 + 6 + 1);
    assert_eq!(memory.parameter_bytes, parameters);
    assert_eq!(memory.batch_bytes, 3 * 8 * (5 + 8) * (2 + 1));
    // Three gradients and their sum; of each of three steps point and gradient, and three vectors to sweep back with.
    assert_eq!(memory.gradient_bytes, 4 * parameters);
    assert_eq!(memory.vector_bytes, (2 * 3 + 3) * parameters);
    assert_eq!(maml.step(), 0);
    // Pieces of a query set that is larger than the support set take a smaller program, pieces of a meta-batch fewer gradients.
    let lean = config(Estimator::FirstOrder).init().unwrap();
    let of = |batch: burn_meta::MetaBatch<'_, Points, Points>| batch.memory(&net, loss).unwrap();
    let (whole, pieces) = (of(lean.batch(&tasks)), of(lean.batch(&tasks).with_query_chunk(4)));
    assert!(pieces.program_bytes < whole.program_bytes && pieces.total_bytes < whole.total_bytes);
    assert_eq!(of(lean.batch(&tasks[..1])).gradient_bytes, 2 * parameters);
    assert!(matches!(lean.batch(&tasks[..0]).memory(&net, loss), Err(Error::EmptyMetaBatch)));
}

#[test]
fn an_estimate_is_one_clear_line() {
    let mib = 1 << 20;
    let memory = MemoryEstimate {
        parameter_bytes: mib / 8,
        batch_bytes: 25 * mib,
        gradient_bytes: mib / 2,
        tasks_in_flight: 2,
        kept_steps: 5,
        residual_bytes: 150 * mib,
        vector_bytes: mib,
        program_bytes: 42 * mib,
        total_bytes: 412 * mib,
    };
    assert_eq!(
        memory.to_string(),
        "about 412.0 MiB: parameters 0.1, meta-batch 25.0, gradients 0.5, and for each of 2 task(s) at a time residuals of \
         5 step(s) 150.0, vectors 1.0, largest program 42.0"
    );
    let small = MemoryEstimate { total_bytes: 2048, ..memory };
    assert!(small.to_string().starts_with("about 2.0 KiB: "), "{small}");
    let read: MemoryEstimate = serde_json::from_str(&serde_json::to_string(&memory).unwrap()).unwrap();
    assert_eq!(read, memory);
}
