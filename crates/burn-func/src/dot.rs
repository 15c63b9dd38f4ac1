//! Graphs as Graphviz draws them: `dot -Tsvg graph.dot > graph.svg`.
//!
//! Does not know: what the operations mean.

use std::collections::HashMap;
use std::fmt::Write;

use burn_ir::TensorId;

use crate::attributes::attributes;
use crate::graph::{Graph, Id, Role, Type, op_name};

impl Graph {
    /// The graph in Graphviz's language: inputs as boxes coloured by role, operations as ellipses with their attributes,
    /// values on the edges with shape and type, outputs as double boxes in their order.
    ///
    /// ```
    /// # use burn::nn::{Linear, LinearConfig};
    /// # use burn::tensor::{Device, Tensor};
    /// # let device = Device::flex().autodiff();
    /// # let model = LinearConfig::new(2, 1).init(&device);
    /// # let x = Tensor::<2>::from_data([[1.0, 2.0], [3.0, 4.0]], &device);
    /// let traced = burn_func::trace(&model, &x, |model: &Linear, x| model.forward(x).mean())?;
    /// let dot = traced.graph().to_dot();
    /// assert!(dot.starts_with("digraph"));
    /// # Ok::<(), burn_func::Error>(())
    /// ```
    pub fn to_dot(&self) -> String {
        let mut dot = String::from("digraph program {\n  node [fontname=\"monospace\"];\n");
        let mut makers: HashMap<TensorId, String> = HashMap::new();
        for (at, input) in self.inputs.iter().enumerate() {
            let name = format!("in{at}");
            let label = format!("{} {:?}\n{}", Id(input.tensor.id), input.role, Type(&input.tensor));
            let style = format!("shape=box, style=filled, fillcolor={}", colour(input.role));
            node(&mut dot, &name, &label, &style);
            makers.insert(input.tensor.id, name);
        }
        for (at, op) in self.ops.iter().enumerate() {
            let name = format!("op{at}");
            let label = [vec![op_name(op)], attributes(op)].concat().join("\n");
            node(&mut dot, &name, &label, "shape=ellipse");
            op.inputs().for_each(|read| edge(&mut dot, &makers, read, &name));
            makers.extend(op.outputs().map(|out| (out.id, name.clone())));
        }
        for (at, out) in self.outputs.iter().enumerate() {
            let name = format!("out{at}");
            node(&mut dot, &name, &format!("output {at}"), "shape=box, peripheries=2");
            edge(&mut dot, &makers, out, &name);
        }
        dot.push_str("}\n");
        dot
    }
}

fn colour(role: Role) -> &'static str {
    match role {
        Role::Parameter => "lightblue",
        Role::Batch => "palegreen",
        Role::Tangent => "lightpink",
        Role::Residual => "khaki",
        _ => "lightgrey",
    }
}

fn node(dot: &mut String, name: &str, label: &str, style: &str) {
    let _ = writeln!(dot, "  {name} [label=\"{}\", {style}];", escaped(label)); // a String takes everything
}

fn edge(dot: &mut String, makers: &HashMap<TensorId, String>, value: &burn_ir::TensorIr, to: &str) {
    if let Some(from) = makers.get(&value.id) {
        let label = format!("{} {}", Id(value.id), Type(value));
        let _ = writeln!(dot, "  {from} -> {to} [label=\"{}\"];", escaped(&label));
    }
}

/// A string between quotes: a line break is `\n` there, quotes and backslashes are marked.
fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Emitter;
    use crate::graph::Input;
    use burn::tensor::DType;
    use burn_ir::{CustomOpIr, OperationIr};
    use std::collections::HashSet;

    /// `y = 0.5 x; z = custom(y, c); return z, x, z`.
    fn graph(custom: &'static str) -> Graph {
        let mut e = Emitter::starting_at(0);
        let (x, c) = (e.value([2, 3].into(), DType::F64), e.value([2, 3].into(), DType::F64));
        let y = e.mul_scalar(&x, 0.5);
        let z = e.like(&y);
        let op = CustomOpIr::new(custom, &[y, c.clone()], std::slice::from_ref(&z));
        e.push(OperationIr::Custom(op), z.clone());
        let input = |tensor: &burn_ir::TensorIr, role| Input { tensor: tensor.clone(), role };
        let inputs = vec![input(&x, Role::Parameter), input(&c, Role::Constant)];
        Graph { inputs, ops: e.ops, outputs: vec![z.clone(), x, z] }
    }

    #[test]
    fn every_edge_joins_two_declared_nodes() {
        let dot = graph("mine").to_dot();
        let lines: Vec<&str> = dot.lines().collect();
        assert_eq!((lines[0], lines[lines.len() - 1]), ("digraph program {", "}"));
        let (mut nodes, mut edges) = (HashSet::new(), Vec::new());
        for line in &lines[2..lines.len() - 1] {
            assert!(line.ends_with("];"), "{line}");
            let subject = line.split('[').next().unwrap().trim();
            match subject.split_once(" -> ") {
                Some(ends) => edges.push(ends),
                None => assert!(nodes.insert(subject), "{subject} stands twice"),
            }
        }
        assert_eq!(nodes.len(), 2 + 2 + 3);
        assert_eq!(
            edges,
            [("in0", "op0"), ("op0", "op1"), ("in1", "op1"), ("op1", "out0"), ("in0", "out1"), ("op1", "out2")]
        );
        assert!(edges.iter().all(|(from, to)| nodes.contains(from) && nodes.contains(to)));
    }

    #[test]
    fn labels_say_what_it_is() {
        let dot = graph("mine").to_dot();
        assert!(
            dot.contains(r#"in0 [label="%0 Parameter\nF64[2, 3]", shape=box, style=filled, fillcolor=lightblue];"#)
        );
        assert!(dot.contains(r#"op0 [label="NumericFloat::MulScalar\n0.5", shape=ellipse];"#), "{dot}");
        assert!(dot.contains(r#"op0 -> op1 [label="%2 F64[2, 3]"];"#), "{dot}");
    }

    #[test]
    fn quotes_and_backslashes_are_marked() {
        let dot = graph("a \"b\" \\ c").to_dot();
        assert!(dot.contains(r#"op1 [label="Custom::a \"b\" \\ c", shape=ellipse];"#), "{dot}");
    }
}
