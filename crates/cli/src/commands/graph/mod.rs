//! `coracle graph build`: the stages of a Dockerfile as a drawing, with times and what is cached.

mod layout;
mod svg;
mod text;

use std::path::PathBuf;

use coracle_engine::{BuildOptions, Failure, Result};

use super::Done;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::reporters::Progress;

const EXAMPLES: &str = "\
Examples:
  coracle graph build . -o stages.svg
  coracle graph build . --format mermaid
";

/// What is drawn.
#[derive(Debug, clap::Subcommand)]
pub enum Graph {
    /// Draw the stages of a Dockerfile: steps, times of the last run, what is cached, what is not needed.
    Build(Args),
}

/// Options of `coracle graph build`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Directory of the build context.
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// Dockerfile (default: PATH/Dockerfile).
    #[arg(short, long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Stage that would be built instead of the last one.
    #[arg(long, value_name = "STAGE")]
    pub target: Option<String>,
    /// Set a build argument: NAME=value.
    #[arg(long, value_name = "NAME=VALUE")]
    pub build_arg: Vec<String>,
    /// What is written (default: by the ending of FILE, else svg).
    #[arg(long, value_enum, value_name = "FORMAT")]
    pub format: Option<Format>,
    /// Write to this file instead of standard output.
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// How a graph is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// A picture.
    Svg,
    /// For Markdown.
    Mermaid,
    /// For programs.
    Json,
    /// For Graphviz.
    Dot,
}

/// Runs the command.
pub fn run(context: &Context, graph: Graph) -> Result<Done> {
    let Graph::Build(args) = graph;
    let cancel = Cancel::on_signals().map_err(|error| Failure::ours("catching signals", &error))?;
    let (engine, _) = context.engine(Progress::Quiet)?;
    let pairs = args.build_arg.iter().map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        (name.to_owned(), value.to_owned())
    });
    let options = BuildOptions {
        context: args.path.into(),
        dockerfile: args.file,
        target: args.target,
        build_args: pairs.collect(),
        ..BuildOptions::default()
    };
    let graph = engine.builds().graph(&options, cancel.flag())?;
    let ending = args.output.as_ref().and_then(|path| path.extension()?.to_str());
    let format = args.format.unwrap_or(match ending {
        Some("mmd" | "mermaid" | "md") => Format::Mermaid,
        Some("json") => Format::Json,
        Some("dot" | "gv") => Format::Dot,
        _ => Format::Svg,
    });
    let text = match format {
        Format::Svg => svg::render(&graph),
        Format::Mermaid => text::mermaid(&graph),
        Format::Dot => text::dot(&graph),
        Format::Json => format!("{}\n", serde_json::json!(graph)),
    };
    match &args.output {
        Some(path) => std::fs::write(path, text)
            .map_err(|error| Failure::ours(format_args!("writing {}", path.display()), &error))?,
        None => context.printer.raw_data(text.as_bytes()),
    }
    Ok(Done::Ok)
}

/// Returns milliseconds as people read them.
fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds as f64 / 1000.0;
    if milliseconds < 60_000 {
        format!("{seconds:.1}s")
    } else {
        format!("{}m{:02}s", milliseconds / 60_000, milliseconds / 1000 % 60)
    }
}

/// Returns text cut to so many characters.
fn shorten(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use coracle_engine::{StageGraph, StageNode, StageOrigin, StageStep, StepState};

    use super::*;

    fn step(
        text: &str,
        state: Option<StepState>,
        milliseconds: Option<u64>,
        from: Vec<StageOrigin>,
    ) -> StageStep {
        StageStep { text: text.to_owned(), line: 1, state, milliseconds, from }
    }

    fn graph() -> StageGraph {
        let image = |name: &str| Some(StageOrigin::Image(name.to_owned()));
        let stage =
            |name: &str, needed, base, steps| StageNode { name: name.to_owned(), needed, base, steps };
        StageGraph {
            file: "Dockerfile".to_owned(),
            target: 2,
            unknown: None,
            stages: vec![
                stage(
                    "build",
                    true,
                    image("node:22"),
                    vec![
                        step("RUN echo \"<a> & b\"", Some(StepState::Cached), Some(65_000), Vec::new()),
                        step("COPY . .", Some(StepState::Would), Some(12), Vec::new()),
                    ],
                ),
                stage("docs", false, image("node:22"), vec![step("RUN docs", None, None, Vec::new())]),
                stage(
                    "stage-2",
                    true,
                    image("nginx"),
                    vec![step(
                        "COPY --from=build /a /b",
                        Some(StepState::Maybe),
                        None,
                        vec![StageOrigin::Stage(0)],
                    )],
                ),
            ],
        }
    }

    #[test]
    fn nothing_overlaps_and_edges_go_right() {
        let layout = layout::Layout::of(&graph());
        for (at, a) in layout.nodes.iter().enumerate() {
            for b in &layout.nodes[at + 1..] {
                let apart = a.x + a.width <= b.x
                    || b.x + b.width <= a.x
                    || a.y + a.height <= b.y
                    || b.y + b.height <= a.y;
                assert!(apart, "{a:?} {b:?}");
            }
        }
        for edge in &layout.edges {
            let (from, to) = (&layout.nodes[edge.from], &layout.nodes[edge.to]);
            assert!(from.x + from.width < to.x);
        }
        assert_eq!((layout.nodes.len(), layout.edges.len()), (5, 4));
    }

    #[test]
    fn texts() {
        insta::assert_snapshot!(format!("{}\n{}", text::mermaid(&graph()), text::dot(&graph())));
    }

    #[test]
    fn the_picture_is_well_formed() {
        let picture = svg::render(&graph());
        assert!(picture.contains("&lt;a&gt; &amp; b"));
        assert!(picture.contains("1m05s") && picture.contains("not needed"));
        let open = picture.matches("<g").count();
        assert_eq!(open, picture.matches("</g>").count());
    }
}
