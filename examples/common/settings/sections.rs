//! The sections of settings that the programs are made of.
//!
//! Does not know: which program has which.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{Count, Positive, Share, declare};
use crate::arguments::EstimatorName;
use crate::device::DeviceName;

/// How an inner step moves the parameters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RuleName {
    /// Gradient descent.
    Sgd,
    /// Gradient descent with momentum.
    Momentum,
    /// Gradient descent with Nesterov's momentum.
    Nesterov,
    /// Adam.
    Adam,
    /// RMSProp.
    Rmsprop,
}

/// Inner learning rates that are learned too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LearnedRates {
    /// One for every weight (Meta-SGD)
    MetaSgd,
    /// One for every tensor of weights
    PerLayer,
    /// One for every tensor of weights and inner step (MAML++)
    PerLayerPerStep,
}

/// How the meta-learning rate goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// The same from beginning to end.
    Constant,
    /// Down to nothing along a cosine.
    Cosine,
}

/// A network for images, as it is in the literature.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backbone {
    /// Four blocks of convolution, normalisation, ReLU and pooling; 32 filters
    Cnn4,
    /// The same with 64 filters and strided convolutions in the place of pooling
    Omniglot,
    /// ResNet-12 with 64, 160, 320 and 640 filters
    Resnet12,
    /// ResNet-12 with 64, 128, 256 and 512 filters
    Resnet12Narrow,
    /// Wide residual network 28-10
    WideResnet,
    /// Fully connected, on flattened images
    Mlp,
    /// One layer, on flattened images
    Linear,
}

/// What normalisation layers take their statistics from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NormName {
    /// The batch, on the query set too (transductive), as in MAML
    Batch,
    /// The batch, with a scale and a shift of its own for each inner step (MAML++)
    PerStep,
    /// Each image by itself
    Layer,
    /// There is no normalisation
    None,
}

declare! {
    /// Images and how they are split into classes to train, validate and test on.
    Data, DataOptions, "data", "Data" {
        /// Data to use, in any form it comes in: a folder of class folders, an archive, a pickle, HDF5, npz, CSV; for
        /// Omniglot one or more archives [default: none, images are drawn on the spot]
        path: Vec<PathBuf>, "data" [value_name = "PATH", num_args = 1..];
        /// Other data to test on; what of it is also in the training data, by the names of classes, is dropped
        test_path: Vec<PathBuf>, "test-data" [value_name = "PATH", num_args = 1..];
        /// Take the part of the benchmark that is there: fewer classes or images than it should have
        partial: bool, "partial" [num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL"];
        /// Train on each image turned by 0, 90, 180 and 270 degrees as four classes; validation and test classes are not turned
        rotations: bool, "rotations" [num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL"];
        /// Change training images at random: characters turned by up to 15 degrees, scaled by 0.85 to 1.15, slanted by up to 10
        /// degrees and moved by up to 2 of 28 pixels; photographs cropped, flipped and their colours jittered
        augment: bool, "augment" [num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL"];
        /// Height and width that images are scaled to, at least 16
        image_size: Count, "image-size" [value_name = "PIXELS"];
        /// Classes to draw where there is no data
        drawn_classes: Count, "drawn-classes" [value_name = "N"];
        /// Images of each class to draw where there is no data
        drawn_images: Count, "drawn-images" [value_name = "N"];
    } maybe {
        /// Split whatever classes there are at random into these fractions to train, validate and test on, such as 0.64,0.16,0.2
        split: Vec<Share>, "split" [value_name = "TRAIN,VAL,TEST", value_delimiter = ','];
    }

    /// A classification task.
    Task, TaskOptions, "task", "Task" {
        /// Classes of a task
        way: Count, "way" [value_name = "N"];
        /// Support images of each class
        shot: Count, "shot" [value_name = "N"];
        /// Query images of each class in training
        query: Count, "query" [value_name = "N"];
    } maybe {}

    /// A regression task.
    Points, PointsOptions, "task", "Task" {
        /// Support points of a task
        shot: Count, "shot" [value_name = "N"];
        /// Query points of a task in training
        query: Count, "query" [value_name = "N"];
    } maybe {}

    /// The network for images.
    Model, ModelOptions, "model", "Network" {
        /// Kind of network
        backbone: Backbone, "backbone" [value_enum, value_name = "NAME"];
    } maybe {
        /// Widths: filters of cnn4 (one number), of the four blocks of resnet12, the factor of wide-resnet, hidden layers of mlp
        /// [default: as in the literature]
        filters: Vec<Count>, "filters" [value_name = "N,..", value_delimiter = ','];
        /// Normalisation [default: as in the literature, from the batch]
        norm: NormName, "norm" [value_enum, value_name = "NAME"];
    }

    /// The network for points.
    Widths, WidthsOptions, "model", "Network" {
        /// Widths of the hidden layers, such as 40,40
        hidden: Vec<Count>, "hidden" [value_name = "WIDTHS", value_delimiter = ','];
    } maybe {}

    /// The inner loop.
    Inner, InnerOptions, "inner", "Inner loop" {
        /// Inner steps K in training
        steps: Count, "inner-steps" [value_name = "K"];
        /// Inner learning rate
        learning_rate: Positive, "inner-lr" [value_name = "RATE"];
        /// How an inner step moves the parameters
        rule: RuleName, "inner-rule" [value_enum, value_name = "NAME"];
    } maybe {
        /// Momentum of the rules that have it [default: 0.9]
        momentum: Share, "inner-momentum" [value_name = "SHARE"];
        /// Weight decay of the inner loop
        weight_decay: Positive, "inner-decay" [value_name = "STRENGTH"];
        /// Strength of a pull towards the start in the inner loop: the gradient of LAMBDA / 2 times the squared distance
        proximal: Positive, "proximal" [value_name = "LAMBDA"];
        /// Largest norm of an inner gradient
        clip: Positive, "inner-clip" [value_name = "NORM"];
        /// Parameters that adapt, by path with `*` for anything; `head` is the linear classifier (that is ANIL) [default: all]
        adapt: Vec<String>, "adapt-only" [value_name = "PATHS", value_delimiter = ','];
        /// Learn the inner learning rates too, from the one given on, by Adam at the rate of the meta-step [default: no]
        learned_rates: LearnedRates, "learned-rates" [value_enum, value_name = "NAME"];
    }

    /// The estimator of the meta-gradient.
    Estimator, EstimatorOptions, "estimator", "Estimator of the meta-gradient" {
        /// How the meta-gradient is estimated
        name: EstimatorName, "estimator" [value_enum, value_name = "NAME"];
    } maybe {
        /// Order L of the truncated, binomial, hybrid and fitted estimators, 0 to the number of inner steps K; 0 is
        /// first-order, K is exact [default: 2, or K if that is less]
        order: usize, "order" [value_name = "L"];
        /// Expand the binomial estimator with the step size L/K of the inner learning rate, as the code of its paper does
        scaled: bool, "scaled" [num_args = 0..=1, default_missing_value = "true", require_equals = true, value_name = "BOOL"];
        /// Inner steps C, counted from the last, that the hybrid estimator expands [default: all but one, or L]
        window: usize, "window" [value_name = "C"];
        /// Products that the fitted estimator takes for its fit [default: 4]
        probe: usize, "probe" [value_name = "PRODUCTS"];
        /// Segments S of the segments estimator; K is exact [default: 2, or K if that is less]
        segments: usize, "segments" [value_name = "S"];
        /// Products D of the frozen estimator, of each segment of the segments estimator, or at most of the implicit one
        /// [default: 2, 1 and 20]
        degree: usize, "degree" [value_name = "D"];
        /// Relative error that the adaptive estimator is to stay below, by its own estimate [default: 0.01]
        tolerance: Positive, "tolerance" [value_name = "ERROR"];
    }

    /// Meta-training.
    Train, TrainOptions, "train", "Meta-training" {
        /// Meta-steps; 0 tests the untrained network
        iterations: usize, "iterations" [value_name = "N"];
        /// Tasks of each meta-step
        meta_batch: Count, "meta-batch" [value_name = "TASKS"];
        /// Learning rate of the meta-step, by Adam
        meta_lr: Positive, "meta-lr" [value_name = "RATE"];
        /// How the meta-learning rate goes over the meta-steps
        schedule: Schedule, "schedule" [value_enum, value_name = "NAME"];
        /// Meta-steps at the beginning that are first-order whatever the estimator
        first_order_steps: usize, "first-order-steps" [value_name = "N"];
        /// Validate after every so many meta-steps, and test what was best in validation; 0 never does, and tests the last
        validate_every: usize, "validate-every" [value_name = "N"];
        /// Tasks of a validation, always the same ones
        validation_tasks: Count, "validation-tasks" [value_name = "TASKS"];
        /// Keep a checkpoint after every so many meta-steps
        checkpoint_every: Count, "checkpoint-every" [value_name = "N"];
    } maybe {
        /// Stop when so many validations in a row were no better than the best one before [default: never]
        patience: Count, "patience" [value_name = "VALIDATIONS"];
        /// Largest norm of a meta-gradient
        clip: Positive, "meta-clip" [value_name = "NORM"];
        /// Tasks of a meta-step in memory at a time [default: all]; the results do not depend on it
        accumulate: Count, "accumulate" [value_name = "TASKS"];
        /// Query images or points of a task that are computed at a time, for less memory [default: all]; not for networks that
        /// normalise by the statistics of the batch
        query_chunk: Count, "query-chunk" [value_name = "N"];
    }

    /// The test.
    Test, TestOptions, "test", "Test" {
        /// Test tasks, at least 2; always the same ones for the same data, sizes and seed
        tasks: Count, "test-tasks" [value_name = "TASKS"];
        /// Query images or points in validation and test: of each class, where there are classes
        query: Count, "test-query" [value_name = "N"];
        /// Seed of the test tasks
        seed: u32, "test-seed" [value_name = "SEED"];
    } maybe {
        /// Inner steps in validation and test [default: as in training]
        inner_steps: Count, "test-inner-steps" [value_name = "STEPS"];
    }

    /// What is the same for everything.
    Run, RunOptions, "run", "Run" {
        /// Where to compute
        device: DeviceName, "device" [value_enum, value_name = "NAME"];
        /// Seed of the initial weights and of the training tasks
        seed: u32, "seed" [value_name = "SEED"];
    } maybe {
        /// Tasks in work at a time [default: the number of cores]; the results do not depend on it
        threads: Count, "threads" [value_name = "N"];
    }
}
