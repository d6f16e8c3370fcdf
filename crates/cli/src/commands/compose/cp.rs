//! `coracle compose cp`: files into and out of the containers of a service.

use coracle_container::ContainerId;
use coracle_engine::{Failure, Result};
use coracle_report::Diagnostic;

use super::options::Session;
use crate::commands::{Done, cp};

/// Options of `coracle compose cp`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    how: cp::How,
    /// Copy into every container of the service, those of one-time runs too.
    #[arg(long, conflicts_with = "index")]
    all: bool,
    /// The container of this number.
    #[arg(long, value_name = "NUMBER")]
    index: Option<u32>,
    /// SERVICE:PATH, a path here, or `-` for an archive on standard input.
    source: String,
    /// SERVICE:PATH, a path here, or `-` for an archive on standard output.
    destination: String,
}

/// Runs the command.
pub fn run(session: &Session<'_>, args: Args) -> Result<Done> {
    let engine = session.quiet_engine()?;
    let asked: Vec<String> = [&args.source, &args.destination]
        .into_iter()
        .filter_map(|text| match cp::End::read(text) {
            cp::End::Inside(service, _) => Some(service.to_owned()),
            cp::End::Here(_) | cp::End::Stream => None,
        })
        .collect();
    let project = session.open(&engine, &asked)?;
    let find = |service: &str| -> Result<Vec<ContainerId>> {
        let projects = engine.projects();
        let mut views = if args.all {
            let mut views = projects.containers_of(&project)?;
            views.retain(|view| view.service() == Some(service));
            views
        } else {
            projects.service_containers(&project, &[service.to_owned()])?
        };
        views.sort_by_key(coracle_engine::ContainerView::number);
        if let Some(index) = args.index {
            views.retain(|view| view.number() == index);
        } else if !args.all {
            views.truncate(1);
        }
        if views.is_empty() {
            let message = format!("service `{service}` has no such container");
            let error = Diagnostic::error("no-such-container", message);
            return Err(Failure::user(error.with_hint(format!("coracle compose up -d {service}"))));
        }
        Ok(views.into_iter().map(|view| view.record.id).collect())
    };
    if session.dry_run {
        session.show_lines(&[format!("copy {} to {}", args.source, args.destination)]);
        return Ok(Done::Ok);
    }
    cp::copy(session.context, &engine, &args.source, &args.destination, args.how, &find)
}
