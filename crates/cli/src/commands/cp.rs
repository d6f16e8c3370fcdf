//! `coracle cp`: files into and out of containers.

use std::io::{IsTerminal as _, Write as _};
use std::os::fd::AsFd as _;
use std::path::Path;

use coracle_container::ContainerId;
use coracle_engine::{CopyRequest, Engine, Failure, Result};
use coracle_report::Diagnostic;

use super::Done;
use crate::context::Context;
use crate::table::size;

const EXAMPLES: &str = "\
Examples:
  coracle cp web:/etc/nginx/nginx.conf .
  coracle cp ./dist/. web:/usr/share/nginx/html
  coracle cp web:/var/log - | tar t          an archive on standard output
";

/// How files are copied.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct How {
    /// Keep owners and groups.
    #[arg(short, long)]
    pub archive: bool,
    /// Follow a link that the source names.
    #[arg(short = 'L', long)]
    pub follow_link: bool,
    /// Do not say what was copied.
    #[arg(short, long)]
    pub quiet: bool,
}

/// Options of `coracle cp`.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    #[command(flatten)]
    pub how: How,
    /// CONTAINER:PATH, a path here, or `-` for an archive on standard input.
    pub source: String,
    /// CONTAINER:PATH, a path here, or `-` for an archive on standard output.
    pub destination: String,
}

/// One end of a copy.
#[derive(Debug, PartialEq, Eq)]
pub enum End<'a> {
    /// A path here.
    Here(&'a str),
    /// A name and a path inside.
    Inside(&'a str, &'a str),
    /// `-`.
    Stream,
}

impl<'a> End<'a> {
    /// Reads an end as Docker does: what begins with `/` or `.` is a path here, even with a colon in it.
    pub fn read(text: &'a str) -> Self {
        if text == "-" {
            return Self::Stream;
        }
        if text.starts_with(['/', '.']) {
            return Self::Here(text);
        }
        match text.split_once(':') {
            Some((name, path)) if !name.is_empty() => Self::Inside(name, path),
            _ => Self::Here(text),
        }
    }
}

/// Runs the command.
pub fn run(context: &Context, args: Args) -> Result<Done> {
    let engine = context.quiet_engine()?;
    let find = |name: &str| Ok(vec![engine.containers().find(name)?.record.id]);
    copy(context, &engine, &args.source, &args.destination, args.how, &find)
}

/// Copies; `find` returns the containers that a name means: the first is read from, all are written to.
pub fn copy(
    context: &Context,
    engine: &Engine,
    source: &str,
    destination: &str,
    how: How,
    find: &dyn Fn(&str) -> Result<Vec<ContainerId>>,
) -> Result<Done> {
    let containers = engine.containers();
    let request = CopyRequest { archive: how.archive, follow_link: how.follow_link };
    let say = |bytes: u64, to: &str| {
        if !how.quiet {
            context.printer.status(format!("Successfully copied {} to {to}", size(bytes)));
        }
    };
    match (End::read(source), End::read(destination)) {
        (End::Inside(..), End::Inside(..)) => {
            Err(usage("copying between containers is not supported")
                .with_hint("copy out to here first, then in"))
        }
        (End::Here(path), End::Inside(name, inside)) => {
            for id in find(name)? {
                let done = containers.copy_in(&id, Path::new(path), inside, request)?;
                say(done.bytes, destination);
            }
            return Ok(Done::Ok);
        }
        (End::Inside(name, inside), End::Here(path)) => {
            let id = first(find(name)?, name)?;
            let done = containers.copy_out(&id, inside, Path::new(path), request)?;
            say(done.bytes, path);
            return Ok(Done::Ok);
        }
        (End::Stream, End::Inside(name, inside)) => {
            let input = std::io::stdin()
                .as_fd()
                .try_clone_to_owned()
                .map_err(|error| Failure::ours("opening standard input", &error))?;
            let id = first(find(name)?, name)?;
            containers.copy_from_archive(&id, &std::fs::File::from(input), inside, request)?;
            return Ok(Done::Ok);
        }
        (End::Inside(name, inside), End::Stream) => {
            let out = std::io::stdout();
            if out.is_terminal() {
                return Err(Failure::user(
                    usage("an archive is not for a terminal").with_hint("redirect it, or name a path"),
                ));
            }
            let id = first(find(name)?, name)?;
            let mut out = std::io::BufWriter::new(out.lock());
            containers.copy_to_archive(&id, inside, &mut out)?;
            out.flush().map_err(|error| Failure::ours("writing the archive", &error))?;
            return Ok(Done::Ok);
        }
        (End::Here(_) | End::Stream, End::Here(_) | End::Stream) => {
            Err(usage("one end must be in a container").with_hint("write it as CONTAINER:PATH"))
        }
    }
    .map_err(Failure::user)
}

fn first(found: Vec<ContainerId>, name: &str) -> Result<ContainerId> {
    let none = || Failure::user(Diagnostic::error("no-such-container", format!("no container for `{name}`")));
    found.into_iter().next().ok_or_else(none)
}

fn usage(message: &str) -> Diagnostic {
    Diagnostic::error("usage", message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_copies() {
        assert_eq!(End::read("web:/etc"), End::Inside("web", "/etc"));
        assert_eq!(End::read("web:"), End::Inside("web", ""));
        assert_eq!(End::read("./a:b"), End::Here("./a:b"));
        assert_eq!(End::read("/a:b"), End::Here("/a:b"));
        assert_eq!(End::read("dir"), End::Here("dir"));
        assert_eq!(End::read("-"), End::Stream);
    }
}
