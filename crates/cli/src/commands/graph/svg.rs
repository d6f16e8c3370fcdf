//! A stage graph as SVG: boxes with a row a step, curves for what is taken from where.

use std::fmt::Write as _;

use coracle_engine::{StageGraph, StageStep, StepState};

use super::layout::{HEADING, Layout, MARGIN, NodeKind, ROW};
use super::{duration, shorten};

const STYLE: &str = "\
text{font-family:ui-sans-serif,system-ui,'Segoe UI',Roboto,'DejaVu Sans',sans-serif;font-size:12px;fill:#24292f}\
.mono{font-family:ui-monospace,SFMono-Regular,Menlo,'DejaVu Sans Mono',monospace;font-size:11px}\
.name{font-weight:600;font-size:13px}.time{fill:#656d76;font-size:11px}\
.stage{fill:#fff;stroke:#d0d7de}.target{stroke:#0969da;stroke-width:2}.image{fill:#eef2f6;stroke:#d0d7de}\
.rule{stroke:#eaeef2}.edge{fill:none;stroke:#8c959f;stroke-width:1.5}.copy{stroke-dasharray:5 4}\
.off{opacity:.4}.note{fill:#656d76;font-size:11px}";

/// Rows of the legend.
const LEGEND: f64 = 40.0;

/// Returns the drawing.
pub fn render(graph: &StageGraph) -> String {
    let layout = Layout::of(graph);
    let (width, height) = (layout.width.max(620.0), layout.height + LEGEND);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\">\n<title>Stages of {}</title>\n<style>{STYLE}</style>\n\
         <defs><marker id=\"tip\" viewBox=\"0 0 8 8\" refX=\"7\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" \
         orient=\"auto\"><path d=\"M0 0L8 4L0 8z\" fill=\"#8c959f\"/></marker></defs>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#f6f8fa\"/>\n",
        escape(&graph.file)
    );
    for edge in &layout.edges {
        let (from, to) = (&layout.nodes[edge.from], &layout.nodes[edge.to]);
        let (x1, y1) = (from.x + from.width, layout.port(edge.from, None));
        let (x2, y2) = (to.x, layout.port(edge.to, edge.step));
        let bend = ((x2 - x1) / 2.0).max(40.0);
        let off = if to.needed { "" } else { " off" };
        let copy = if edge.step.is_some() { " copy" } else { "" };
        let _ = writeln!(
            out,
            "<path class=\"edge{copy}{off}\" d=\"M{x1} {y1}C{} {y1} {} {y2} {x2} {y2}\" marker-end=\"url(#tip)\"/>",
            x1 + bend,
            x2 - bend
        );
    }
    for node in &layout.nodes {
        let off = if node.needed { "" } else { " class=\"off\"" };
        let _ = writeln!(out, "<g transform=\"translate({} {})\"{off}>", node.x, node.y);
        let size = format!("width=\"{}\" height=\"{}\"", node.width, node.height);
        match &node.kind {
            NodeKind::Image(name) => {
                let _ = writeln!(out, "<rect class=\"image\" rx=\"19\" {size}/>");
                let name = escape(&shorten(name, 28));
                let _ = writeln!(
                    out,
                    "<text x=\"{}\" y=\"24\" text-anchor=\"middle\">{name}</text>",
                    node.width / 2.0
                );
            }
            NodeKind::Stage(index) => {
                let stage = &graph.stages[*index];
                let target = if *index == graph.target { " target" } else { "" };
                let _ = writeln!(out, "<rect class=\"stage{target}\" rx=\"8\" {size}/>");
                let name = escape(&shorten(&stage.name, 36));
                let _ = writeln!(out, "<text class=\"name\" x=\"14\" y=\"24\">{name}</text>");
                let known: Vec<u64> = stage.steps.iter().filter_map(|step| step.milliseconds).collect();
                let note = if !stage.needed {
                    "not needed".to_owned()
                } else if known.is_empty() {
                    String::new()
                } else {
                    duration(known.iter().sum())
                };
                let _ = writeln!(
                    out,
                    "<text class=\"time\" x=\"{}\" y=\"24\" text-anchor=\"end\">{note}</text>",
                    node.width - 14.0
                );
                if !stage.steps.is_empty() {
                    let _ = writeln!(out, "<path class=\"rule\" d=\"M0 {HEADING}H{}\"/>", node.width);
                }
                for (at, step) in stage.steps.iter().enumerate() {
                    row(&mut out, step, HEADING + ROW * (at as f64 + 0.5), node.width);
                }
            }
        }
        out.push_str("</g>\n");
    }
    legend(&mut out, graph, layout.height + LEGEND / 2.0 - 8.0);
    out.push_str("</svg>\n");
    out
}

fn row(out: &mut String, step: &StageStep, y: f64, width: f64) {
    let (colour, state) = look(step.state);
    let text = escape(&shorten(&step.text, 46));
    let whole = escape(&step.text);
    let time = step.milliseconds.map_or(String::new(), duration);
    let base = y + 4.0;
    let _ = writeln!(
        out,
        "<g><title>line {}: {whole} ({state})</title><circle cx=\"20\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\"/>",
        step.line
    );
    let _ = writeln!(out, "<text class=\"mono\" x=\"32\" y=\"{base}\">{text}</text>");
    let right = width - 14.0;
    let _ = writeln!(
        out,
        "<text class=\"time\" x=\"{right}\" y=\"{base}\" text-anchor=\"end\">{time}</text></g>"
    );
}

/// Returns a state's colour and word.
fn look(state: Option<StepState>) -> (&'static str, &'static str) {
    match state {
        Some(StepState::Base | StepState::Cached) => ("#2da44e", "cached"),
        Some(StepState::Made | StepState::Would) => ("#d4a72c", "would be built"),
        Some(StepState::Maybe) => ("#eac54f", "may be built"),
        Some(StepState::Open) | None => ("#c4cbd2", "not known"),
    }
}

fn legend(out: &mut String, graph: &StageGraph, y: f64) {
    let mut x = MARGIN;
    for state in [Some(StepState::Cached), Some(StepState::Would), None] {
        let (colour, word) = look(state);
        let _ = writeln!(
            out,
            "<circle cx=\"{x}\" cy=\"{y}\" r=\"4.5\" fill=\"{colour}\"/><text class=\"note\" x=\"{}\" y=\"{}\">{word}</text>",
            x + 10.0,
            y + 4.0
        );
        x += 110.0;
    }
    let _ = writeln!(
        out,
        "<text class=\"note\" x=\"{x}\" y=\"{}\">solid: FROM, dashed: files; times are those of the last run{}</text>",
        y + 4.0,
        graph.unknown.as_ref().map_or(String::new(), |why| format!("; {}", escape(&shorten(why, 60))))
    );
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for character in text.chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // XML has no other control characters.
            other if other.is_control() => escaped.push(' '),
            other => escaped.push(other),
        }
    }
    escaped
}
