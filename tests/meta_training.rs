//! The same meta-training on two devices: `BURN_META_TEST_DEVICE` names the one that is held against Flex.

use std::time::Instant;

#[path = "../crates/burn-func/tests/common/devices.rs"]
#[allow(dead_code, unused_imports)]
mod devices;

use burn::module::Module;
use burn::optim::AdamConfig;
use burn::tensor::{Device, Int, Tensor};
use burn_func::Params;
use burn_meta::models::{Cnn4, Cnn4Config, cross_entropy};
use burn_meta::{
    Control, Estimator, Event, InnerLoopConfig, MamlConfig, MetaLearner, MetaTrainerConfig, Metric, Objective, Task,
    accuracy,
};
use fewshot_data::{EpisodeSpec, Episodes, Glyphs, ImageTasks, LabeledImages, Pipeline, Tasks, ToDevice};

type Images = (Tensor<4>, Tensor<1, Int>);

/// Losses and accuracies of 20 meta-iterations of a CNN4 with 4 filters on drawn characters of 28 x 28, 3-way 1-shot with 2
/// queries a class, 2 inner steps of 0.1, binomial of order 1, meta-batches of 2, Adam of 1e-3.
fn train(device: &Device, weights: &Cnn4) -> Vec<(f64, f64)> {
    let data = Glyphs::new(30, 5).generate().unwrap();
    let episodes = Episodes::new(&data, EpisodeSpec::new(3, 1, 2), 7).unwrap();
    let tasks = ImageTasks::new(data, episodes, &Pipeline::new()).unwrap();
    // Tasks are made on the CPU, wherever the network is.
    let task = |index: u64| -> Result<Task<Images>, fewshot_data::Error> {
        let task = tasks.draw(index)?.to_device(&Device::flex());
        let pair = |set: LabeledImages| (set.images, set.labels);
        Ok(Task { support: pair(task.support), query: pair(task.query) })
    };
    let objective = Objective::new(|net: &Cnn4, (images, labels): Images| {
        let logits = net.forward(images);
        (cross_entropy(logits.clone(), labels), logits)
    })
    .with_metric(Metric::higher("accuracy", accuracy));
    let net = weights.clone().fork(device);
    let maml = MamlConfig::new(InnerLoopConfig::new(0.1).with_steps(2), Estimator::binomial(1)).init().unwrap();
    let (sender, steps) = std::sync::mpsc::channel();
    let record = move |event: &Event<'_>| {
        if let Event::Step(step) = event {
            sender.send((step.loss, step.metrics[0].1)).unwrap();
        }
        Control::Continue
    };
    let mut trainer = MetaTrainerConfig::new(20).with_meta_batch(2).init(maml).unwrap().with_callback(record);
    let optim = AdamConfig::new().with_epsilon(1e-8).init();
    trainer.run(MetaLearner::new(net, optim, 1e-3), &objective, task, None).unwrap();
    drop(trainer);
    steps.iter().collect()
}

/// The tolerance is 1e-3 of losses about 1: single precision rounds at 6e-8, and 20 steps of Adam, which divides by small
/// numbers, blow that up by a few hundred. A wrong learning rate or a wrong order of tasks differs by 1e-1.
#[test]
fn devices_train_alike() {
    let flex = Device::flex().autodiff();
    flex.seed(5);
    let weights = Cnn4Config::new(1, 28, 3).with_hidden(4).init(&flex);
    Params::from_module(&weights).unwrap();
    let timed = |device: &Device| {
        let started = Instant::now();
        (train(device, &weights), started.elapsed().as_secs_f64())
    };
    let (expected, on_flex) = timed(&flex);
    let (found, on_device) = timed(&devices::test_device());
    assert_eq!((expected.len(), found.len()), (20, 20));
    let difference = expected.iter().zip(&found).map(|((a, _), (b, _))| (a - b).abs()).fold(0.0, f64::max);
    println!(
        "20 meta-iterations on flex {on_flex:.2} s, on {} {on_device:.2} s; losses {:.4} to {:.4}, largest difference {difference:.1e}",
        devices::name(),
        expected[0].0,
        expected[19].0,
    );
    assert!(expected.iter().zip(&found).all(|((a, _), (b, _))| (a - b).abs() < 1e-3), "{expected:?} {found:?}");
    assert!(
        expected.windows(2).any(|pair| (pair[0].0 - pair[1].0).abs() > 1e-2),
        "the losses differ from task to task"
    );
}
