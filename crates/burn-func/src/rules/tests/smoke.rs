//! The harness itself: it passes what is right and finds what is wrong.

use super::harness::{Operand, check};

#[test]
fn a_product_with_broadcasting() {
    let operands = [Operand::wave(&[3, 4], 1), Operand::wave(&[1, 4], 2)];
    check("mul", &operands, |e, x| vec![e.mul(&x[0], &x[1])]);
    check("mul, one held", &[operands[0].clone().held(), operands[1].clone()], |e, x| vec![e.mul(&x[0], &x[1])]);
    check("mul, nothing in it", &[Operand::wave(&[0, 4], 1), Operand::wave(&[1, 4], 2)], |e, x| {
        vec![e.mul(&x[0], &x[1])]
    });
}

#[test]
#[should_panic(expected = "off by")]
fn a_step_is_no_derivative() {
    // `sign` is constant almost everywhere, and here it is not: the differences see the jump, the rule does not.
    check("sign", &[Operand::active(&[3], |_| 0.0)], |e, x| vec![e.sign(&x[0])]);
}
