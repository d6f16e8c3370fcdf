//! A stage graph as Mermaid and DOT, one node a stage.

use std::fmt::Write as _;

use coracle_engine::{StageGraph, StageNode, StepState};

use super::layout::{Layout, NodeKind};
use super::{duration, shorten};

/// Returns a Mermaid flow chart.
pub fn mermaid(graph: &StageGraph) -> String {
    let layout = Layout::of(graph);
    let mut out = "flowchart LR\n".to_owned();
    for (index, node) in layout.nodes.iter().enumerate() {
        let _ = match &node.kind {
            NodeKind::Image(name) => writeln!(out, "  n{index}([\"{}\"])", entities(name)),
            NodeKind::Stage(at) => {
                let lines: Vec<String> =
                    describe(&graph.stages[*at]).iter().map(|line| entities(line)).collect();
                writeln!(out, "  n{index}[\"{}\"]", lines.join("<br/>"))
            }
        };
    }
    for edge in &layout.edges {
        let arrow = if edge.step.is_some() { "-.->" } else { "-->" };
        let _ = writeln!(out, "  n{} {arrow} n{}", edge.from, edge.to);
    }
    out.push_str(
        "  classDef cached stroke:#2da44e\n  classDef build stroke:#d4a72c\n  classDef off opacity:0.4\n",
    );
    for (index, node) in layout.nodes.iter().enumerate() {
        let class = match &node.kind {
            _ if !node.needed => "off",
            NodeKind::Stage(at) if is_cached(&graph.stages[*at]) => "cached",
            NodeKind::Stage(at) if graph.stages[*at].steps.iter().any(|step| step.state.is_some()) => "build",
            NodeKind::Image(_) | NodeKind::Stage(_) => continue,
        };
        let _ = writeln!(out, "  class n{index} {class}");
    }
    out
}

/// Returns a graph for Graphviz.
pub fn dot(graph: &StageGraph) -> String {
    let layout = Layout::of(graph);
    let mut out =
        "digraph stages {\n  rankdir=LR;\n  node [fontname=\"sans-serif\", fontsize=11];\n".to_owned();
    for (index, node) in layout.nodes.iter().enumerate() {
        let style = if node.needed { "" } else { ", color=\"gray\", fontcolor=\"gray\"" };
        let _ = match &node.kind {
            NodeKind::Image(name) => {
                writeln!(out, "  n{index} [shape=oval, label=\"{}\"{style}];", quoted(name))
            }
            NodeKind::Stage(at) => {
                let mut lines = String::new();
                for line in describe(&graph.stages[*at]) {
                    lines.push_str(&quoted(&line));
                    lines.push_str("\\l");
                }
                writeln!(out, "  n{index} [shape=box, label=\"{lines}\"{style}];")
            }
        };
    }
    for edge in &layout.edges {
        let style = if edge.step.is_some() { " [style=dashed]" } else { "" };
        let _ = writeln!(out, "  n{} -> n{}{style};", edge.from, edge.to);
    }
    out.push_str("}\n");
    out
}

fn is_cached(stage: &StageNode) -> bool {
    let cached = |state| matches!(state, Some(StepState::Cached | StepState::Base));
    !stage.steps.is_empty() && stage.steps.iter().all(|step| cached(step.state))
}

fn describe(stage: &StageNode) -> Vec<String> {
    let mut lines =
        vec![if stage.needed { stage.name.clone() } else { format!("{} (not needed)", stage.name) }];
    for step in &stage.steps {
        let mark = match step.state {
            Some(StepState::Cached | StepState::Base) => "✔",
            Some(StepState::Made | StepState::Would) => "●",
            Some(StepState::Maybe) => "◐",
            Some(StepState::Open) | None => "·",
        };
        let time = step.milliseconds.map_or(String::new(), |time| format!(" {}", duration(time)));
        lines.push(format!("{mark} {}{time}", shorten(&step.text, 60)));
    }
    lines
}

/// Returns text that Mermaid takes for text.
fn entities(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        match character {
            '"' | '<' | '>' | '#' | '&' | '`' | '\\' => {
                let _ = write!(out, "#{};", u32::from(character));
            }
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

/// Returns text for a quoted string of DOT.
fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"")
}
