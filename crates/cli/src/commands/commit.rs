//! `coracle commit`: an image of what a container made of its own.

use coracle_engine::{CommitRequest, Images, Result};

use super::Done;
use crate::command_line::truth;
use crate::context::Context;

const EXAMPLES: &str = "\
Examples:
  coracle commit web web:patched
  coracle commit -c 'CMD [\"serve\"]' -c 'ENV MODE=test' -m 'with the tools' web web:test
";

/// Options of `coracle commit`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Who makes it.
    #[arg(short, long, value_name = "NAME")]
    pub author: Option<String>,
    /// Change its configuration by an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, SHELL,
    /// STOPSIGNAL, USER, VOLUME or WORKDIR.
    #[arg(short, long, value_name = "INSTRUCTION")]
    pub change: Vec<String>,
    /// A remark.
    #[arg(short, long, value_name = "TEXT")]
    pub message: Option<String>,
    /// Freeze the container meanwhile.
    #[arg(short, long, value_name = "BOOL", action = clap::ArgAction::Set, value_parser = truth, num_args = 0..=1,
          require_equals = true, default_value = "true", default_missing_value = "true")]
    pub pause: bool,
    /// The container, by name or the beginning of its id.
    pub container: String,
    /// The image's name.
    #[arg(value_name = "IMAGE[:TAG]")]
    pub image: Option<String>,
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let reference = args.image.as_deref().map(Images::parse).transpose()?;
    let engine = context.quiet_engine()?;
    let containers = engine.containers();
    let id = containers.find(&args.container)?.record.id;
    let request = CommitRequest {
        reference,
        author: args.author,
        message: args.message,
        changes: args.change,
        running: !args.pause,
    };
    context.printer.data(containers.commit(&id, &request)?.to_string());
    Ok(Done::Ok)
}
