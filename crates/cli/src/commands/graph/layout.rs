//! Where the nodes of a stage graph stand: columns by how far they are from what they start with, in each column by
//! where their edges come from.

use coracle_engine::{StageGraph, StageOrigin};

/// Width of a stage's box.
pub const STAGE_WIDTH: f64 = 380.0;
/// Width of an image's box.
pub const IMAGE_WIDTH: f64 = 190.0;
/// Height of a box's heading.
pub const HEADING: f64 = 38.0;
/// Height of a step's row.
pub const ROW: f64 = 24.0;
/// Below the last row.
pub const FOOT: f64 = 8.0;
/// Around everything.
pub const MARGIN: f64 = 28.0;
const GAP_X: f64 = 90.0;
const GAP_Y: f64 = 28.0;
/// How often columns are put in order.
const SWEEPS: usize = 4;

/// What a node stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// An image.
    Image(String),
    /// The stage with this number.
    Stage(usize),
}

/// A node in its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it stands for.
    pub kind: NodeKind,
    /// Left edge.
    pub x: f64,
    /// Upper edge.
    pub y: f64,
    /// Width.
    pub width: f64,
    /// Height.
    pub height: f64,
    /// Whether the target needs it.
    pub needed: bool,
    column: usize,
}

/// An edge between nodes, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// From this node's right side.
    pub from: usize,
    /// To this node's left side.
    pub to: usize,
    /// At this step; `None` is the heading (`FROM`).
    pub step: Option<usize>,
}

/// A drawing's nodes and edges.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The nodes.
    pub nodes: Vec<Node>,
    /// The edges.
    pub edges: Vec<Edge>,
    /// Width of everything, margins included.
    pub width: f64,
    /// Height of everything.
    pub height: f64,
}

impl Layout {
    /// Places a graph.
    pub fn of(graph: &StageGraph) -> Self {
        let mut layout = Self { nodes: Vec::new(), edges: Vec::new(), width: 0.0, height: 0.0 };
        for (index, stage) in graph.stages.iter().enumerate() {
            let height =
                HEADING + ROW * stage.steps.len() as f64 + if stage.steps.is_empty() { 0.0 } else { FOOT };
            layout.add(NodeKind::Stage(index), STAGE_WIDTH, height, stage.needed);
        }
        for (to, stage) in graph.stages.iter().enumerate() {
            let from_steps = stage.steps.iter().enumerate();
            let from_steps =
                from_steps.flat_map(|(at, step)| step.from.iter().map(move |from| (Some(at), from)));
            for (step, origin) in stage.base.iter().map(|base| (None, base)).chain(from_steps) {
                let from = match origin {
                    StageOrigin::Stage(index) => *index,
                    StageOrigin::Image(name) => layout.image(name, stage.needed),
                };
                layout.edges.push(Edge { from, to, step });
            }
        }
        layout.columns();
        layout.order();
        layout
    }

    fn add(&mut self, kind: NodeKind, width: f64, height: f64, needed: bool) -> usize {
        self.nodes.push(Node { kind, x: 0.0, y: 0.0, width, height, needed, column: 0 });
        self.nodes.len() - 1
    }

    fn image(&mut self, name: &str, needed: bool) -> usize {
        let kind = NodeKind::Image(name.to_owned());
        let found = self.nodes.iter().position(|node| node.kind == kind);
        let index = found.unwrap_or_else(|| self.add(kind, IMAGE_WIDTH, HEADING, false));
        self.nodes[index].needed |= needed;
        index
    }

    /// Stages depend on earlier ones only, so that going through them in order sees every edge's beginning first.
    fn columns(&mut self) {
        let mut edges = self.edges.clone();
        edges.sort_by_key(|edge| edge.to);
        for edge in &edges {
            let least = self.nodes[edge.from].column + 1;
            let column = &mut self.nodes[edge.to].column;
            *column = (*column).max(least);
        }
        // An image stands just before the first stage that takes it.
        for index in 0..self.nodes.len() {
            if matches!(self.nodes[index].kind, NodeKind::Image(_)) {
                let users = self.edges.iter().filter(|edge| edge.from == index);
                let first = users.map(|edge| self.nodes[edge.to].column).min().unwrap_or(1);
                self.nodes[index].column = first.saturating_sub(1);
            }
        }
    }

    fn order(&mut self) {
        let count = self.nodes.iter().map(|node| node.column + 1).max().unwrap_or(0);
        let mut columns: Vec<Vec<usize>> = vec![Vec::new(); count];
        for (index, node) in self.nodes.iter().enumerate() {
            columns[node.column].push(index);
        }
        let mut x = MARGIN;
        for column in &columns {
            let width = column.iter().map(|index| self.nodes[*index].width).fold(0.0, f64::max);
            for index in column {
                self.nodes[*index].x = x + (width - self.nodes[*index].width);
            }
            x += width + GAP_X;
        }
        self.width = x - GAP_X + MARGIN;
        for sweep in 0..SWEEPS {
            for column in &mut columns {
                let mut keyed: Vec<(f64, usize)> =
                    column.iter().map(|index| (self.wish(*index, sweep), *index)).collect();
                keyed.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                *column = keyed.into_iter().map(|(_, index)| index).collect();
                let mut y = MARGIN;
                for index in column.iter() {
                    self.nodes[*index].y = y;
                    y += self.nodes[*index].height + GAP_Y;
                }
            }
        }
        self.height = self.nodes.iter().map(|node| node.y + node.height).fold(0.0, f64::max) + MARGIN;
        // Short columns stand in the middle.
        for column in &columns {
            let bottom = column.last().map_or(0.0, |last| self.nodes[*last].y + self.nodes[*last].height);
            let shift = ((self.height - MARGIN - bottom) / 2.0).max(0.0);
            for index in column {
                self.nodes[*index].y += shift;
            }
        }
    }

    /// Returns the height at which a node would like to stand: the mean of its neighbours, on one side at a time.
    fn wish(&self, index: usize, sweep: usize) -> f64 {
        let ends = self.edges.iter().filter_map(|edge| {
            if sweep.is_multiple_of(2) {
                (edge.to == index).then(|| self.port(edge.from, None))
            } else {
                (edge.from == index).then(|| self.port(edge.to, edge.step))
            }
        });
        let (sum, count) = ends.fold((0.0, 0_u32), |(sum, count), end| (sum + end, count + 1));
        if count == 0 { self.nodes[index].y } else { sum / f64::from(count) }
    }

    /// Returns the height at which an edge meets a node.
    pub fn port(&self, node: usize, step: Option<usize>) -> f64 {
        let top = self.nodes[node].y;
        step.map_or(top + HEADING / 2.0, |step| top + HEADING + ROW * (step as f64 + 0.5))
    }
}
