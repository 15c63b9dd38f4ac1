//! Operations that Burn sends to a server under another one's name, run as others.
//!
//! A remote device goes through `burn-fusion`, which holds each operation twice: as code, that devices of this process
//! run, and as representation, that a server is sent. In Burn 0.22.1 four representations are those of another operation
//! (`burn-fusion`, `src/ops`): `float_permute` and `float_flip` in `tensor.rs` and `bool_permute` in `bool_tensor.rs` say
//! that they are on integers, `int_matmul` in `int_tensor.rs` that it is on floats. The server takes the tensor for what it
//! is not, panics ("Expected int handle, got float"), and the session ends, with every tensor in it. Each has an exact
//! equivalent, which is sent in its place. `unfold4d` has no representation there and is a permutation inside.
//!
//! Does not know: programs, which operations a device lacks.

use burn::tensor::{Shape, Slice};
use burn_ir::{
    BackendIr, BaseOperationIr as Base, FlipOpIr, HandleKind, IntOperationIr, MatmulOpIr, ModuleOperationIr,
    OperationIr, TensorIr, Unfold4dOpIr,
};
use burn_router::TensorInterpreter;

use crate::layout::{self, settled};

/// Runs an operation on a remote device.
pub(crate) fn register<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, op: &OperationIr) {
    let (out, result) = match op {
        OperationIr::BaseFloat(Base::Permute(op)) => {
            let x = float(interpreter, &op.input);
            (&op.out, HandleKind::Float(permuted(x, &op.axes, B::float_swap_dims)))
        }
        OperationIr::BaseBool(Base::Permute(op)) => {
            let x = boolean(interpreter, &op.input);
            (&op.out, HandleKind::Bool(permuted(x, &op.axes, B::bool_swap_dims)))
        }
        OperationIr::BaseFloat(Base::Flip(op)) => (&op.out, flip(interpreter, op)),
        OperationIr::Int(IntOperationIr::Matmul(op)) => (&op.out, matmul(interpreter, op)),
        // Any other unfolding is a convolution inside.
        OperationIr::Module(ModuleOperationIr::Unfold4d(op))
            if op.options.padding == [0, 0] && op.options.dilation == [1, 1] =>
        {
            (&op.out, unfold4d(interpreter, op))
        }
        _ => return layout::register(interpreter, op),
    };
    interpreter.register_tensor_to_device(out.id, settled(result, &out.shape));
}

/// A permutation by exchanges of two axes: axis `i` of the result is axis `axes[i]` of the input.
fn permuted<T>(mut x: T, axes: &[usize], swap: impl Fn(T, usize, usize) -> T) -> T {
    let mut order = Vec::from_iter(0..axes.len());
    for (to, axis) in axes.iter().enumerate() {
        let from = order.iter().position(|at| at == axis).unwrap_or(to);
        if from != to {
            order.swap(from, to);
            x = swap(x, from, to);
        }
    }
    x
}

/// Every element along the axes, backwards.
fn flip<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, op: &FlipOpIr) -> HandleKind<B> {
    let step = |axis| if op.axes.contains(&axis) { -1 } else { 1 };
    let slices: Vec<Slice> =
        (0..op.out.shape.num_dims()).map(|axis| Slice::from_range_stepped(Slice::full(), step(axis))).collect();
    HandleKind::Float(B::float_slice(float(interpreter, &op.input), &slices))
}

/// The sum of the products, by broadcasting. Exact, with all products in memory; matrices of integers are small.
fn matmul<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, op: &MatmulOpIr) -> HandleKind<B> {
    let (lhs, rhs) = (int(interpreter, &op.lhs), int(interpreter, &op.rhs));
    let summed = op.out.shape.num_dims() - 1;
    let widened = |shape: &Shape, at: usize| {
        let mut dims = shape.to_vec();
        dims.insert(at, 1);
        Shape::from(dims)
    };
    let lhs = B::int_reshape(lhs, widened(&op.lhs.shape, summed + 1));
    let rhs = B::int_reshape(rhs, widened(&op.rhs.shape, summed - 1));
    HandleKind::Int(B::int_reshape(B::int_sum_dim(B::int_mul(lhs, rhs), summed), op.out.shape.clone()))
}

/// What Burn does by default, up to the permutation.
fn unfold4d<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, op: &Unfold4dOpIr) -> HandleKind<B> {
    let rows = B::float_unfold(float(interpreter, &op.x), 2, op.kernel_size[0], op.options.stride[0]);
    let blocks = B::float_unfold(rows, 3, op.kernel_size[1], op.options.stride[1]);
    let blocks = permuted(blocks, &[0, 1, 4, 5, 2, 3], B::float_swap_dims);
    HandleKind::Float(B::float_reshape(blocks, op.out.shape.clone()))
}

fn float<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, tensor: &TensorIr) -> B::FloatTensorPrimitive {
    match interpreter.get_tensor(tensor) {
        HandleKind::Float(tensor) => tensor,
        other => unreachable!("a graph that was checked has {} where an operation on floats reads", other.name()),
    }
}

fn int<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, tensor: &TensorIr) -> B::IntTensorPrimitive {
    match interpreter.get_tensor(tensor) {
        HandleKind::Int(tensor) => tensor,
        other => unreachable!("a graph that was checked has {} where an operation on integers reads", other.name()),
    }
}

fn boolean<B: BackendIr>(interpreter: &mut TensorInterpreter<B>, tensor: &TensorIr) -> B::BoolTensorPrimitive {
    match interpreter.get_tensor(tensor) {
        HandleKind::Bool(tensor) => tensor,
        other => unreachable!("a graph that was checked has {} where an operation on booleans reads", other.name()),
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::{DType, TensorData};
    use burn_backend::read_sync;
    use burn_dispatch::backends::Flex;
    use burn_ir::{PermuteOpIr, TensorId, TensorStatus, Unfold4dOptionsIr};

    use super::*;

    fn out() -> TensorId {
        TensorId::new(1 << 40)
    }

    /// The distinct numbers from one on.
    fn numbers(shape: &[usize], dtype: DType) -> TensorData {
        TensorData::new(Vec::from_iter(1..=shape.iter().product::<usize>() as i64), shape.to_vec()).convert_dtype(dtype)
    }

    fn mask(shape: &[usize]) -> TensorData {
        TensorData::new(Vec::from_iter((0..shape.iter().product::<usize>()).map(|i| i % 5 < 2)), shape.to_vec())
    }

    /// Holds an operation as a server is sent it against the operation itself, both run here.
    fn same(inputs: &[TensorData], op: impl Fn(&[TensorIr]) -> OperationIr) {
        let run = |register: fn(&mut TensorInterpreter<Flex>, &OperationIr)| {
            let mut interpreter = TensorInterpreter::<Flex>::new(Default::default());
            let inputs: Vec<_> =
                inputs.iter().map(|data| interpreter.register_tensor_data_desc(data.clone())).collect();
            let op = op(&inputs);
            register(&mut interpreter, &op);
            let out = TensorIr { status: TensorStatus::ReadOnly, ..op.outputs().next().unwrap().clone() };
            let data = read_sync(interpreter.read_tensor_async(out.clone())).unwrap();
            assert_eq!((data.shape(), data.dtype()), (&out.shape, out.dtype), "{op:?}");
            data
        };
        run(register).assert_eq(&run(|interpreter, op| interpreter.register_op(op.clone())), true);
    }

    #[test]
    fn permutations() {
        let shape = [2, 3, 4, 5];
        for axes in [[0, 1, 2, 3], [3, 0, 2, 1], [1, 2, 3, 0], [1, 0, 3, 2], [3, 2, 0, 1]] {
            let permute = |x: &[TensorIr]| Base::Permute(PermuteOpIr::create(x[0].clone(), axes.to_vec(), out));
            same(&[numbers(&shape, DType::F64)], |x| OperationIr::BaseFloat(permute(x)));
            same(&[mask(&shape)], |x| OperationIr::BaseBool(permute(x)));
            same(&[numbers(&shape, DType::I64)], |x| OperationIr::BaseInt(permute(x)));
        }
    }

    #[test]
    fn flips() {
        for axes in [vec![0], vec![1], vec![0, 2], vec![2, 1, 0], vec![]] {
            same(&[numbers(&[3, 1, 4], DType::F32)], |x| {
                OperationIr::BaseFloat(Base::Flip(FlipOpIr::create(x[0].clone(), axes.clone(), out)))
            });
        }
    }

    #[test]
    fn products_of_integer_matrices() {
        for (lhs, rhs) in [([1, 2, 3], [1, 3, 4]), ([5, 2, 3], [1, 3, 4]), ([1, 1, 3], [5, 3, 1])] {
            // Two to the 53 and more, which a float would round.
            let large = numbers(&lhs, DType::I64).iter::<i64>().map(|x| x + (1 << 53)).collect();
            same(&[TensorData::new(large, lhs), numbers(&rhs, DType::I64)], |x| {
                let op = MatmulOpIr::create(x[0].clone(), x[1].clone(), out);
                OperationIr::Int(IntOperationIr::Matmul(op))
            });
        }
    }

    #[test]
    fn unfoldings() {
        for (stride, padding, dilation, blocks) in
            [([1, 1], [0, 0], [1, 1], 16), ([2, 3], [0, 0], [1, 1], 4), ([1, 1], [1, 0], [1, 1], 24)]
        {
            same(&[numbers(&[2, 3, 5, 6], DType::F64)], |x| {
                let out = TensorIr::uninit(out(), [2, 18, blocks].into(), DType::F64);
                let options = Unfold4dOptionsIr { stride, padding, dilation };
                let op = Unfold4dOpIr { x: x[0].clone(), kernel_size: [2, 3], options, out };
                OperationIr::Module(ModuleOperationIr::Unfold4d(op))
            });
        }
    }
}
