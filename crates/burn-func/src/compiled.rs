//! The programs of one recorded graph, each made when it is first wanted, and a cache of them.
//!
//! Does not know: values.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::error::Result;
use crate::graph::Graph;
use crate::linearize::{Linearized, linearize, linearize_keeping};
use crate::lower::{plain, stored};
use crate::many::BatchedPrograms;
use crate::passes::simplified;
use crate::program::Program;
use crate::residuals::Residuals;
use crate::vector::VectorPrograms;
use burn::tensor::DType;

/// What can be run of a recorded graph.
#[derive(Debug)]
pub(crate) struct Compiled {
    /// Outputs: loss, one gradient per parameter, auxiliary tensors.
    pub graph: Graph,
    /// Number of parameters.
    pub parameters: usize,
    /// How the device stores booleans, for masks that derivatives add.
    pub bool_dtype: DType,
    /// Whether gradient and forward derivative have been found to agree.
    pub verified: Arc<OnceLock<Result<()>>>,
    forward: Arc<OnceLock<Program>>,
    gradient: Arc<OnceLock<Program>>,
    /// Loss, some of the gradients and auxiliary tensors, by which parameters are chosen.
    partial: Arc<Mutex<HashMap<Vec<bool>, Arc<Program>>>>,
    directional: Arc<OnceLock<Result<DirectionalPrograms>>>,
    /// Programs of a vector-valued closure.
    pub vector: Arc<OnceLock<Result<VectorPrograms>>>,
    /// What linearizations keep.
    pub residuals: Residuals,
    chosen: Arc<Chosen>,
    policies: Arc<Mutex<HashMap<Residuals, Arc<Chosen>>>>,
}

/// Programs that depend on the residual policy, made when first wanted.
#[derive(Debug, Default)]
struct Chosen {
    linearized: OnceLock<Result<LinearizedPrograms>>,
    batched: BatchedPrograms,
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
    /// The graphs they were made from.
    pub graphs: Linearized,
}

/// Programs of the derivative of the loss along a direction.
#[derive(Debug)]
pub(crate) struct DirectionalPrograms {
    /// Outputs: loss, auxiliary tensors, residuals.
    pub primal: Program,
    /// Tangents and residuals to the derivative.
    pub linear: Program,
    /// Number of residuals.
    pub residuals: usize,
}

impl Compiled {
    fn new(graph: Graph, parameters: usize, bool_dtype: DType) -> Self {
        let (verified, forward, gradient) = (Arc::default(), Arc::default(), Arc::default());
        let (partial, directional, vector) = (Arc::default(), Arc::default(), Arc::default());
        let (residuals, chosen, policies) = (Residuals::default(), Arc::default(), Arc::default());
        Self {
            graph,
            parameters,
            bool_dtype,
            verified,
            forward,
            gradient,
            partial,
            directional,
            vector,
            residuals,
            chosen,
            policies,
        }
        .with_residuals(residuals)
    }

    /// The same programs with another choice of residuals. All choices of one graph share what does not depend on it, and
    /// each is compiled once.
    pub fn with_residuals(&self, residuals: Residuals) -> Self {
        let mut policies = self.policies.lock().unwrap_or_else(PoisonError::into_inner);
        if policies.len() >= POLICIES && !policies.contains_key(&residuals) {
            policies.clear(); // budgets that change from step to step are not kept for ever
        }
        Self {
            graph: self.graph.clone(),
            parameters: self.parameters,
            bool_dtype: self.bool_dtype,
            verified: self.verified.clone(),
            forward: self.forward.clone(),
            gradient: self.gradient.clone(),
            partial: self.partial.clone(),
            directional: self.directional.clone(),
            vector: self.vector.clone(),
            residuals,
            chosen: policies.entry(residuals).or_default().clone(),
            policies: self.policies.clone(),
        }
    }

    /// Loss and auxiliary tensors alone.
    pub fn forward(&self) -> &Program {
        self.forward.get_or_init(|| {
            let (loss, rest) = self.graph.outputs.split_at(1);
            let outputs = [loss, &rest[self.parameters..]].concat();
            self.program(&self.graph.restricted_to(outputs))
        })
    }

    /// Loss, gradients and auxiliary tensors.
    pub fn gradient(&self) -> &Program {
        self.gradient.get_or_init(|| self.program(&self.graph))
    }

    /// Loss, the gradients of chosen parameters and auxiliary tensors.
    pub fn gradient_of(&self, chosen: &[bool]) -> Arc<Program> {
        let mut partial = self.partial.lock().unwrap_or_else(PoisonError::into_inner);
        let made = partial.entry(chosen.to_vec()).or_insert_with(|| {
            let (loss, rest) = self.graph.outputs.split_at(1);
            let (grads, aux) = rest.split_at(self.parameters);
            let grads: Vec<_> =
                grads.iter().zip(chosen).filter_map(|(grad, chosen)| chosen.then_some(grad.clone())).collect();
            Arc::new(self.program(&self.graph.restricted_to([loss, &grads, aux].concat())))
        });
        made.clone()
    }

    /// Loss and gradients, split for Hessian-vector products.
    pub fn linearized(&self) -> Result<&LinearizedPrograms> {
        let made = self.chosen.linearized.get_or_init(|| {
            let graphs = self.linearized_graph()?;
            let (primal, hvp) = (self.program(&graphs.primal), self.program(&graphs.linear));
            Ok(LinearizedPrograms { primal, hvp, residuals: graphs.residuals, graphs })
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// Programs over several items.
    pub fn batched(&self) -> &BatchedPrograms {
        &self.chosen.batched
    }

    /// Loss and gradients, with the tangents of the gradients.
    pub fn linearized_graph(&self) -> Result<Linearized> {
        let outputs = &self.graph.outputs[..=self.parameters];
        let graph = self.graph.restricted_to(outputs.to_vec());
        let made = linearize_keeping(&graph, &outputs[1..], self.residuals)?;
        let [primal, linear] = [made.primal, made.linear].map(|graph| stored(graph, self.bool_dtype));
        Ok(Linearized { primal, linear, ..made })
    }

    /// The derivative of the loss along a direction.
    pub fn directional(&self) -> Result<&DirectionalPrograms> {
        let made = self.directional.get_or_init(|| {
            let (loss, rest) = self.graph.outputs.split_at(1);
            let outputs = [loss, &rest[self.parameters..]].concat();
            let Linearized { primal, linear, residuals, .. } = linearize(&self.graph.restricted_to(outputs), loss)?;
            let (primal, linear) = (self.program(&primal), self.program(&linear));
            Ok(DirectionalPrograms { primal, linear, residuals })
        });
        made.as_ref().map_err(Clone::clone)
    }

    /// A program of a graph, with its booleans stored as the device stores them.
    pub fn program(&self, graph: &Graph) -> Program {
        Program::new(&plain(graph, self.bool_dtype))
    }

    /// Whether linearizations of both hold the same values in the same order.
    pub fn shares_linearization(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.chosen, &other.chosen)
    }
}

/// Residual policies whose programs are kept for one graph.
const POLICIES: usize = 8;

/// Programs by the graphs they were made from.
///
/// A closure that is traced again, at every meta-step say, records the same graph: with a cache its programs are made
/// once. Equality is that of the whole graph (operations, attributes, shapes, types); nothing is keyed by the closure.
/// Cloning shares the cache. It keeps the graphs used last: 64 of them, or as many as
/// [`with_capacity`](Self::with_capacity) says. Evicted programs live on where a [`Traced`](crate::Traced) holds them.
#[derive(Clone, Debug)]
pub struct ProgramCache {
    shelves: Arc<Mutex<Shelves>>,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Shelves {
    /// By the hash of the graph and the type of booleans: devices may differ in that alone.
    made: HashMap<(u64, DType), Shelf>,
    clock: u64,
    counts: CacheCounts,
}

#[derive(Debug)]
struct Shelf {
    used: u64,
    recorded: Graph,
    compiled: Arc<Compiled>,
}

/// What a [`ProgramCache`] has been asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheCounts {
    /// Graphs found in it.
    pub hits: u64,
    /// Graphs it did not have.
    pub misses: u64,
    /// Graphs it has given up for others.
    pub evictions: u64,
}

const CAPACITY: usize = 64;

impl Default for ProgramCache {
    fn default() -> Self {
        Self::with_capacity(CAPACITY)
    }
}

impl ProgramCache {
    /// An empty cache.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty cache that keeps the programs of at most this many graphs; of none at all with 0.
    pub fn with_capacity(capacity: usize) -> Self {
        Self { shelves: Arc::default(), capacity }
    }

    /// How often a graph was found in it.
    pub fn hits(&self) -> u64 {
        self.counts().hits
    }

    /// How often a graph was found in it, was not, and had to go.
    pub fn counts(&self) -> CacheCounts {
        self.lock().counts
    }

    /// How many graphs it keeps at most.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Number of graphs in it.
    pub fn len(&self) -> usize {
        self.lock().made.len()
    }

    /// Whether it is empty.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Programs of a graph as it was recorded. Other threads may look things up while a new graph is simplified.
    pub(crate) fn compiled(&self, recorded: &Graph, parameters: usize, bool_dtype: DType) -> Arc<Compiled> {
        let key = (recorded.fingerprint(), bool_dtype);
        if let Some(found) = self.lock().find(key, recorded) {
            return found;
        }
        let compiled = Arc::new(Compiled::new(simplified(recorded), parameters, bool_dtype));
        self.lock().put(key, recorded, compiled, self.capacity)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Shelves> {
        self.shelves.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shelves {
    fn find(&mut self, key: (u64, DType), recorded: &Graph) -> Option<Arc<Compiled>> {
        self.clock += 1;
        match self.made.get_mut(&key).filter(|shelf| shelf.recorded == *recorded) {
            Some(shelf) => {
                shelf.used = self.clock;
                self.counts.hits += 1;
                Some(shelf.compiled.clone())
            }
            None => {
                self.counts.misses += 1;
                None
            }
        }
    }

    /// Keeps new programs, or hands back those that another thread has put there in the meantime.
    fn put(&mut self, key: (u64, DType), recorded: &Graph, compiled: Arc<Compiled>, capacity: usize) -> Arc<Compiled> {
        if let Some(shelf) = self.made.get(&key).filter(|shelf| shelf.recorded == *recorded) {
            return shelf.compiled.clone();
        }
        if capacity == 0 {
            return compiled;
        }
        self.made.remove(&key); // another graph with the same hash
        while self.made.len() >= capacity {
            let oldest = self.made.iter().min_by_key(|(_, shelf)| shelf.used).map(|(key, _)| *key);
            self.counts.evictions += u64::from(oldest.and_then(|key| self.made.remove(&key)).is_some());
        }
        let shelf = Shelf { used: self.clock, recorded: recorded.clone(), compiled: compiled.clone() };
        self.made.insert(key, shelf);
        compiled
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::BoolStore;

    use super::*;
    use crate::emit::Emitter;
    use crate::graph::{Input, Role};
    use burn::tensor::DType;

    const NATIVE: DType = DType::Bool(BoolStore::Native);

    /// A graph that differs from others in the length of its input.
    fn graph(n: usize) -> Graph {
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([n].into(), DType::F32);
        let y = emit.exp(&x);
        Graph { inputs: vec![Input { tensor: x, role: Role::Parameter }], ops: emit.ops, outputs: vec![y] }
    }

    fn counts(hits: u64, misses: u64, evictions: u64) -> CacheCounts {
        CacheCounts { hits, misses, evictions }
    }

    #[test]
    fn the_graph_used_longest_ago_goes_first() {
        let cache = ProgramCache::with_capacity(2);
        let get = |n: usize| drop(cache.compiled(&graph(n), 1, NATIVE));
        get(1);
        get(2);
        get(1); // now 2 is the older one
        get(3); // and goes
        assert_eq!((cache.len(), cache.counts()), (2, counts(1, 3, 1)));
        get(1);
        assert_eq!(cache.counts(), counts(2, 3, 1));
        get(2);
        assert_eq!((cache.len(), cache.counts()), (2, counts(2, 4, 2)));
    }

    #[test]
    fn devices_that_store_booleans_otherwise_have_programs_of_their_own() {
        let (cache, other) = (ProgramCache::new(), DType::Bool(BoolStore::U32));
        let get = |bool_dtype| cache.compiled(&graph(1), 1, bool_dtype);
        for _ in 0..2 {
            assert_eq!([get(NATIVE).bool_dtype, get(other).bool_dtype], [NATIVE, other]);
        }
        assert_eq!((cache.len(), cache.counts()), (2, counts(2, 2, 0)));
    }

    #[test]
    fn masks_of_derivatives_and_expansions_are_stored_as_the_device_does() {
        use burn_ir::{CustomOpIr, OperationIr};

        use crate::rules::{Batching, CustomRule, Derivative, register};

        let rule = CustomRule {
            id: "compiled.relu",
            lower: |emit, x, _| {
                let mask = emit.lower_scalar(&x[0], 0.0);
                let zeros = emit.zeros_like(&x[0]);
                emit.mask_where(&x[0], &mask, &zeros)
            },
            backward: |emit, _, grad| vec![emit.zeros_like(grad)],
            derivative: Derivative::Formula(|jvp, op| {
                let (x, y) = crate::jvp::only(op);
                if let Some(tangent) = jvp.tangent(x) {
                    let mask = jvp.emit.lower_scalar(x, 0.0);
                    let zeros = jvp.emit.zeros_like(&tangent);
                    let tangent = jvp.emit.mask_where(&tangent, &mask, &zeros);
                    jvp.set(y, tangent);
                }
                Ok(())
            }),
            batching: Batching::Elementwise,
        };
        register(rule).unwrap();
        let mut emit = Emitter::starting_at(0);
        let x = emit.value([3].into(), DType::F32);
        let y = emit.like(&x);
        let op = CustomOpIr::new("compiled.relu", std::slice::from_ref(&x), std::slice::from_ref(&y));
        let y = emit.push(OperationIr::Custom(op), y);
        // Stands for a loss and its gradient: what they are does not matter here.
        let graph = Graph {
            inputs: vec![Input { tensor: x, role: Role::Parameter }],
            ops: emit.ops,
            outputs: vec![y.clone(), y],
        };
        let bytes = DType::Bool(BoolStore::U32);
        let compiled = ProgramCache::new().compiled(&graph, 1, bytes);
        let linearized = compiled.linearized().unwrap();
        let batched = compiled.hvps_program(2).unwrap();
        let directional = compiled.directional().unwrap();
        let programs = [compiled.forward(), compiled.gradient(), &linearized.primal, &linearized.hvp];
        let mut masks = 0;
        for program in programs.into_iter().chain([&directional.primal, &directional.linear, &*batched]) {
            let found = program.inputs.iter().chain(program.ops.iter().flat_map(|op| op.nodes()));
            let found: Vec<DType> = found.map(|tensor| tensor.dtype).filter(DType::is_bool).collect();
            assert!(found.iter().all(|&dtype| dtype == bytes), "{found:?} in {program:?}");
            masks += usize::from(!found.is_empty());
        }
        assert!(masks >= 6, "{masks} programs with masks");
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let cache = ProgramCache::with_capacity(0);
        cache.compiled(&graph(1), 1, NATIVE);
        cache.compiled(&graph(1), 1, NATIVE);
        assert_eq!((cache.len(), cache.counts()), (0, counts(0, 2, 0)));
    }

    #[test]
    fn threads_that_compile_at_once_share_what_comes_out() {
        let cache = ProgramCache::with_capacity(4);
        let made: Vec<Arc<Compiled>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|i| {
                    scope.spawn({
                        let cache = cache.clone();
                        move || cache.compiled(&graph(1 + i % 2), 1, NATIVE)
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!((0..8).all(|i| Arc::ptr_eq(&made[i], &made[i % 2])));
        let CacheCounts { hits, misses, evictions } = cache.counts();
        assert_eq!((cache.len(), hits + misses, evictions), (2, 8, 0));
    }

    #[test]
    fn residual_policies_of_a_graph_share_the_rest_and_are_compiled_once() {
        let cache = ProgramCache::new();
        let store = cache.compiled(&graph(3), 1, NATIVE);
        let again = store.with_residuals(Residuals::Recompute).with_residuals(Residuals::Store);
        assert!(store.shares_linearization(&again));
        let recompute = store.with_residuals(Residuals::Recompute);
        assert!(!store.shares_linearization(&recompute));
        assert!(recompute.shares_linearization(&store.with_residuals(Residuals::Recompute)));
        assert!(Arc::ptr_eq(&store.gradient, &recompute.gradient));
        for bytes in 0..100 {
            store.with_residuals(Residuals::Budget(bytes));
        }
        assert!(store.policies.lock().unwrap().len() <= POLICIES);
    }
}
