//! An operation of one's own: `sqrt(x^2 + eps)`, of one operand and a number.
//!
//! Does not know: who registers it.

use burn_func::rules::{Batching, CustomRule, Derivative};

/// Its rule, which takes a batch axis as any elementwise operation does.
pub fn soft_abs(id: &'static str) -> CustomRule {
    CustomRule {
        id,
        lower: |emit, x, eps| {
            let square = emit.mul(&x[0], &x[0]);
            let shifted = emit.add_scalar(&square, eps[0].elem());
            emit.sqrt(&shifted)
        },
        backward: |emit, op, grad| {
            let inverse = emit.recip(&op.outputs[0]);
            let slope = emit.mul(&op.inputs[0], &inverse);
            vec![emit.mul(grad, &slope)]
        },
        derivative: Derivative::Formula(|jvp, op| {
            let (x, y) = (op.inputs().next().unwrap().clone(), op.outputs().next().unwrap().clone());
            if let Some(tangent) = jvp.tangent(&x) {
                let inverse = jvp.emit.recip(&y);
                let slope = jvp.emit.mul(&x, &inverse);
                let tangent = jvp.emit.mul(&slope, &tangent);
                jvp.set(&y, tangent);
            }
            Ok(())
        }),
        batching: Batching::Elementwise,
    }
}
