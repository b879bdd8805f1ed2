//! Graphs for other tools: Graphviz and JSON.

use petgraph::{
    dot::{Config, Dot},
    graph::{DiGraph, NodeIndex},
};
use serde_json::{Value as Json, json};
use std::{collections::HashMap, fmt};
use swint_ir::{
    Graph, Type, Value,
    graph::Decl,
    op::{Attr, Class, OpKind},
};

/// A vertex of the drawing: its lines of text, and its colour.
struct Vertex {
    lines: Vec<String>,
    colour: &'static str,
}

/// The graph in Graphviz' language. A vertex is an input or a node, with its constants, attributes and type in its text;
/// what works on floats is red, what moves elements grey, and the rest, integer arithmetic, green.
pub fn dot(graph: &Graph) -> String {
    let mut drawing: DiGraph<Vertex, &str> = DiGraph::new();
    let mut vertices: HashMap<Value, NodeIndex> = HashMap::new();
    for (i, input) in graph.inputs.iter().enumerate() {
        let lines = vec![format!("%{}", input.name), input.ty.to_string()];
        let vertex = drawing.add_node(Vertex { lines, colour: "lightblue" });
        vertices.insert(Value::Input(swint_ir::InputId(i as u32)), vertex);
    }
    for (id, node) in graph.iter() {
        let mut lines = vec![format!("{id} {}", node.op.kind())];
        lines.extend(constants(graph, &node.operands).map(|c| format!("@{}", c.name)));
        lines.extend(attributes(node.op.attrs(), node.op.kind().attr_names()).map(|(n, a)| format!("{n} = {a}")));
        lines.push(node.ty.to_string());
        lines.extend(node.approximates.map(|kind| format!("approximates {kind}")));
        lines.extend(node.locs.iter().map(|loc| format!("\"{loc}\"")));
        let float = node.ty.is_float() || node.operands.iter().any(|&v| graph.ty(v).is_float());
        let colour = match (float, node.op.kind().class()) {
            (_, Class::Index) => "lightgrey",
            (true, _) => "lightpink",
            (false, _) => "lightgreen",
        };
        let vertex = drawing.add_node(Vertex { lines, colour });
        for operand in &node.operands {
            if let Some(&from) = vertices.get(operand) {
                drawing.add_edge(from, vertex, "");
            }
        }
        vertices.insert(Value::Node(id), vertex);
    }
    let colour = |_, (_, vertex): (NodeIndex, &Vertex)| format!("fillcolor={}", vertex.colour);
    let config = [Config::EdgeNoLabel, Config::GraphContentOnly];
    let body = Dot::with_attr_getters(&drawing, &config, &|_, _| "arrowsize=0.7".to_owned(), &colour);
    format!("digraph \"{}\" {{\n    node [shape=box style=filled fontname=monospace]\n{body}}}\n", graph.name)
}

impl fmt::Display for Vertex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Each line with its end, which petgraph makes a left-justified one.
        self.lines.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// The graph as JSON: `name`, `inputs`, `constants`, `nodes` with operands as the text names them, `output`.
pub fn json(graph: &Graph) -> Json {
    let decls = |decls: &[Decl]| -> Vec<Json> {
        decls.iter().map(|d| json!({"name": &*d.name, "type": type_json(&d.ty)})).collect()
    };
    let nodes: Vec<Json> = graph
        .iter()
        .map(|(id, node)| {
            let attrs: serde_json::Map<String, Json> = attributes(node.op.attrs(), node.op.kind().attr_names())
                .map(|(n, a)| (n.to_owned(), attr_json(&a)))
                .collect();
            json!({
                "id": id.to_string(),
                "op": node.op.kind().name(),
                "operands": node.operands.iter().map(|&v| graph.value_name(v)).collect::<Vec<_>>(),
                "attributes": attrs,
                "type": type_json(&node.ty),
                "approximates": node.approximates.map(OpKind::name),
                "loc": node.locs.iter().map(|l| &**l).collect::<Vec<_>>(),
            })
        })
        .collect();
    json!({
        "name": &*graph.name,
        "inputs": decls(&graph.inputs),
        "constants": decls(&graph.consts),
        "nodes": nodes,
        "output": graph.value_name(graph.output),
    })
}

/// `{"text", "element", "shape"}` and, for integers, `"scale"` and `"channel_scales": {"constant", "axis"}`.
fn type_json(ty: &Type) -> Json {
    let mut json = json!({"text": ty.to_string(), "element": ty.elem.name(), "shape": ty.shape});
    if ty.elem.is_int() {
        json["scale"] = json!(ty.scale.factor.get());
    }
    if let Some(channels) = &ty.scale.channels {
        json["channel_scales"] = json!({"constant": &*channels.name, "axis": channels.axis});
    }
    json
}

fn attr_json(attr: &Attr) -> Json {
    match attr {
        Attr::Int(v) => json!(v),
        Attr::F32(v) => json!(v.get()),
        Attr::F32s(v) => json!(v.iter().map(|x| x.get()).collect::<Vec<_>>()),
        Attr::Ints(v) => json!(v),
        Attr::Elem(v) => json!(v.name()),
        Attr::Order(v) => json!(v.name()),
    }
}

fn constants<'a>(graph: &'a Graph, operands: &'a [Value]) -> impl Iterator<Item = &'a Decl> {
    operands.iter().filter_map(|v| if let Value::Const(c) = v { Some(&graph.consts[c.index()]) } else { None })
}

fn attributes(values: Vec<Attr>, names: &'static [&'static str]) -> impl Iterator<Item = (&'static str, Attr)> {
    names.iter().copied().zip(values)
}

#[cfg(test)]
mod tests {
    use super::*;
    use swint_ir::random;

    /// Graphviz' grammar as another implementation reads it.
    #[test]
    fn a_parser_of_graphviz_reads_every_vertex_and_edge() {
        for seed in 0..200 {
            let g = random::graph(seed, 12);
            let text = dot(&g);
            let ast = dot_parser::ast::Graph::try_from(text.as_str()).unwrap_or_else(|e| panic!("{e}\n{text}"));
            let read = dot_parser::canonical::Graph::from(ast);
            assert_eq!(read.nodes.set.len(), g.inputs.len() + g.nodes.len(), "{text}");
            let edges = g.nodes.iter().flat_map(|n| &n.operands).filter(|v| !matches!(v, Value::Const(_)));
            assert_eq!(read.edges.set.len(), edges.count(), "{text}");
        }
    }

    #[test]
    fn json_holds_what_the_text_says() {
        for seed in 0..50 {
            let g = random::graph(seed, 12);
            let json = json(&g);
            for (i, node) in g.nodes.iter().enumerate() {
                assert_eq!(json["nodes"][i]["op"], node.op.kind().name());
                assert_eq!(json["nodes"][i]["type"]["text"], node.ty.to_string());
                let operands = json["nodes"][i]["operands"].as_array().unwrap();
                let names: Vec<&str> = operands.iter().map(|o| o.as_str().unwrap()).collect();
                let text = g.to_string();
                let line = text.lines().find(|l| l.trim_start().starts_with(&format!("%{i} = "))).unwrap();
                assert!(line.contains(&names.join(", ")), "{line}: {names:?}");
            }
        }
    }
}
