//! The programs of one recorded graph, each made when it is first wanted, and a cache of them.
//!
//! Does not know: values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::graph::Graph;
use crate::linearize::{Linearized, linearize};
use crate::passes::simplified;
use crate::program::Program;

/// What can be run of a recorded graph.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Outputs: loss, one gradient per parameter, auxiliary tensors.
    pub graph: Graph,
    /// Number of parameters.
    pub parameters: usize,
    /// Whether gradient and forward derivative have been found to agree.
    pub verified: OnceLock<Result<()>>,
    forward: OnceLock<Program>,
    gradient: OnceLock<Program>,
    linearized: OnceLock<Result<LinearizedPrograms>>,
}

/// Programs of the two parts of a linearized graph.
#[derive(Debug)]
pub(crate) struct LinearizedPrograms {
    /// Outputs: loss, gradients, residuals.
    pub primal: Program,
    /// Tangents and residuals to the tangents of the gradients.
    pub hvp: Program,
    /// Number of residuals.
    pub residuals: usize,
}

impl Compiled {
    fn new(graph: Graph, parameters: usize) -> Self {
        let (verified, forward) = (OnceLock::new(), OnceLock::new());
        Self { graph, parameters, verified, forward, gradient: OnceLock::new(), linearized: OnceLock::new() }
    }

    /// Loss and auxiliary tensors alone.
    pub fn forward(&self) -> &Program {
        self.forward.get_or_init(|| {
            let (loss, rest) = self.graph.outputs.split_at(1);
            let outputs = [loss, &rest[self.parameters..]].concat();
            Program::new(&self.graph.restricted_to(outputs))
        })
    }

    /// Loss, gradients and auxiliary tensors.
    pub fn gradient(&self) -> &Program {
        self.gradient.get_or_init(|| Program::new(&self.graph))
    }

    /// Loss and gradients, split for Hessian-vector products.
    pub fn linearized(&self) -> Result<&LinearizedPrograms> {
        let made = self.linearized.get_or_init(|| {
            let Linearized { primal, linear, residuals } = self.linearized_graph()?;
            Ok(LinearizedPrograms { primal: Program::new(&primal), hvp: Program::new(&linear), residuals })
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Loss and gradients, with the tangents of the gradients.
    pub fn linearized_graph(&self) -> Result<Linearized> {
        let outputs = &self.graph.outputs[..=self.parameters];
        linearize(&self.graph.restricted_to(outputs.to_vec()), &outputs[1..])
    }

    /// The derivative of the loss along a direction, as primal and linear program.
    pub fn directional(&self) -> Result<(Program, Program)> {
        let loss = &self.graph.outputs[..1];
        let linearized = linearize(&self.graph.restricted_to(loss.to_vec()), loss)?;
        Ok((Program::new(&linearized.primal), Program::new(&linearized.linear)))
    }
}

/// Programs by the graphs they were made from.
///
/// A closure that is traced again, at every meta-step say, records the same graph: with a cache its programs are made
/// once. Equality is that of the whole graph (operations, attributes, shapes, types); nothing is keyed by the closure.
/// Cloning shares the cache. It keeps the 64 graphs used last.
#[derive(Clone, Debug, Default)]
pub struct ProgramCache {
    shelves: Arc<Mutex<Shelves>>,
}

#[derive(Debug, Default)]
struct Shelves {
    made: HashMap<u64, (u64, Arc<Compiled>)>,
    clock: u64,
    hits: u64,
}

const CAPACITY: usize = 64;

impl ProgramCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// How often a graph was found in it.
    pub fn hits(&self) -> u64 {
        self.lock().hits
    }

    /// Number of graphs in it.
    pub fn len(&self) -> usize {
        self.lock().made.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Programs of a graph as it was recorded.
    pub(crate) fn compiled(&self, recorded: &Graph, parameters: usize) -> Arc<Compiled> {
        let recorded = simplified(recorded);
        let key = recorded.fingerprint();
        let mut shelves = self.lock();
        shelves.clock += 1;
        let now = shelves.clock;
        if let Some((used, found)) = shelves.made.get_mut(&key).filter(|(_, found)| found.graph == recorded) {
            *used = now;
            let found = found.clone();
            shelves.hits += 1;
            return found;
        }
        if shelves.made.len() >= CAPACITY {
            let oldest = shelves.made.iter().min_by_key(|(_, (used, _))| *used).map(|(key, _)| *key);
            oldest.map(|key| shelves.made.remove(&key));
        }
        let compiled = Arc::new(Compiled::new(recorded, parameters));
        shelves.made.insert(key, (now, compiled.clone()));
        compiled
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
