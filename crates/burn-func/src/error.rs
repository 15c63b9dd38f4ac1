//! What can go wrong, each variant with the thing, the place and what to do.
//!
//! Does not know: how any of it came about.

use std::fmt;

use burn::tensor::DType;

/// The transform that was being applied when an operation had no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transform {
    /// Recording a closure.
    Trace,
    /// Forward-mode differentiation (JVP, linearize, HVP).
    Jvp,
    /// Batching of a graph.
    Vmap,
}

impl fmt::Display for Transform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Trace => "trace",
            Self::Jvp => "forward-mode differentiation",
            Self::Vmap => "batching (vmap)",
        })
    }
}

/// Error of a transform.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The module has no parameter that requires a gradient.
    #[error(
        "no parameter of the module requires a gradient ({parameters} float parameters seen): the model must live on an \
         autodiff device, as in training (create it on `device.autodiff()`, or call `.train()` after `.valid()`)"
    )]
    NotAutodiff {
        /// Float parameters seen in the module.
        parameters: usize,
    },

    /// Two parameters, or a parameter and a batch tensor, live on different devices.
    #[error("{what} is on {found}, the model on {expected}: move both to one device")]
    TwoDevices {
        /// The tensor that is elsewhere.
        what: String,
        /// Where it is.
        found: String,
        /// Where the model is.
        expected: String,
    },

    /// The closure panicked, or called what cannot be recorded.
    #[error("the closure panicked while it was traced: {message}")]
    Closure {
        /// The panic's own message and place, and what to do about it where that is known.
        message: String,
    },

    /// The closure's loss is not a scalar.
    #[error("the loss must have one element, this one has shape {shape:?}: reduce it with `.mean()` or `.sum()`")]
    NotScalar {
        /// Shape of what the closure returned.
        shape: Vec<usize>,
    },

    /// The loss does not depend on any parameter of the module.
    #[error(
        "the loss does not depend on any parameter of the module: was it detached, or computed from another module?"
    )]
    NoGradient,

    /// A tensor the closure returned was not computed from the traced module or batch.
    #[error(
        "{what} returned by the closure is not on the device of the trace: it was not computed from the traced module or batch"
    )]
    ForeignOutput {
        /// The output concerned.
        what: String,
    },

    /// An operation that the transform cannot handle.
    #[error("`{op}` has no rule for {transform}: {reason}")]
    Unsupported {
        /// The operation, as the intermediate representation names it.
        op: String,
        /// The transform that met it.
        transform: Transform,
        /// Why, and what to do.
        reason: String,
    },

    /// The reverse-mode gradient and a forward-mode derivative disagree.
    #[error(
        "the gradient does not contain the whole derivative: along a fixed direction the loss changes by {jvp:.6e}, the \
         gradient says {expected:.6e} (allowed difference {tolerance:.1e}). The closure calls `detach` on something that \
         depends on a parameter (mark it with `burn_func::stop_gradient` instead), or a derivative rule is wrong"
    )]
    GradientMismatch {
        /// Derivative of the loss along the direction, by forward mode.
        jvp: f64,
        /// The same by the inner product of gradient and direction.
        expected: f64,
        /// Largest difference allowed.
        tolerance: f64,
    },

    /// A tensor has another shape or type than the one the closure was traced with.
    #[error("{what} has {found}, the closure was traced with {expected}: trace again for another shape or type")]
    Mismatch {
        /// The tensor concerned.
        what: String,
        /// Shape and type now.
        found: String,
        /// Shape and type when traced.
        expected: String,
    },

    /// The loss is infinite or not a number.
    #[error("the loss is {loss}")]
    NonFinite {
        /// Its value.
        loss: f64,
    },

    /// Something computed is infinite or not a number.
    #[error("{what} is not finite")]
    NonFiniteValue {
        /// What it is.
        what: String,
    },

    /// An argument that nothing can be computed with.
    #[error("{what}: {problem}")]
    Argument {
        /// The argument.
        what: &'static str,
        /// What is wrong with it.
        problem: String,
    },

    /// A dense matrix that would not fit.
    #[error(
        "a dense matrix over {parameters} parameters takes {bytes} bytes; more than {limit} parameters are refused: use \
         products with it, `lanczos` for its spectrum or `estimate_diagonal`"
    )]
    TooLarge {
        /// Rows and columns of the matrix.
        parameters: usize,
        /// Memory it takes.
        bytes: usize,
        /// Rows and columns allowed.
        limit: usize,
    },

    /// No executor runs programs on this device.
    #[error("no executor for device {device}: {reason} (this build runs programs on: {known})")]
    NoExecutor {
        /// The device.
        device: String,
        /// Why, and what to do.
        reason: &'static str,
        /// What this build can run on.
        known: String,
    },

    /// A device does not compute in an element type.
    #[error(
        "{what} is of {dtype:?}, which {device} does not compute in; of floats it has {supported:?}: `burn_func::cast` the \
         model and give a batch of that type"
    )]
    UnsupportedType {
        /// The tensor concerned.
        what: String,
        /// Its element type.
        dtype: DType,
        /// The device.
        device: String,
        /// Float types the device computes in.
        supported: Vec<DType>,
    },

    /// A device has no kernel for an operation, or one that computes something else.
    #[error("`{op}` does not run on {device}: {reason}; another device can")]
    NoKernel {
        /// The operation, as the intermediate representation names it.
        op: String,
        /// The device.
        device: String,
        /// Why, and what to do.
        reason: &'static str,
    },

    /// A kernel failed while a program ran.
    #[error("a program failed on the device: {message}")]
    Execution {
        /// What the backend said.
        message: String,
    },

    /// A point in parameter space does not belong to the module or trace it is used with.
    #[error("parameter `{path}`: {problem}")]
    Params {
        /// Path of the parameter in the module, as in `blocks.0.conv.weight`.
        path: String,
        /// What is wrong with it.
        problem: String,
    },

    /// A rule is registered for an operation that has one.
    #[error("a rule for the operation `{id}` is registered already: rules cannot be replaced, as programs are cached")]
    DuplicateRule {
        /// Name of the operation.
        id: String,
    },

    /// A filter chooses no parameter.
    #[error("{filter} matches no trainable parameter of the module; it has {known}")]
    NothingChosen {
        /// The filter, or the one of its patterns that matches nothing.
        filter: String,
        /// The first paths it could have matched.
        known: String,
    },

    /// A graph is malformed; a fault of this crate or of a custom rule.
    #[error("malformed graph: {problem}\n{context}")]
    Malformed {
        /// What is wrong.
        problem: String,
        /// The neighbouring operations.
        context: String,
    },
}

/// Result of a transform.
pub type Result<T, E = Error> = std::result::Result<T, E>;
