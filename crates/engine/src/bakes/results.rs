//! Where a target's results go: outputs, caches, annotations, attestations.

use std::io;
use std::str::FromStr;

use coracle_bakefile::{Attribute, Entry, Target};
use coracle_report::Diagnostic;

use super::BakeRequest;
use super::options::Located;
use crate::{Annotation, AttestOptions, BuildOptions, Failure, Output, Stream};

/// Fills in the destinations.
pub(super) fn fill(
    options: &mut BuildOptions,
    target: &Target,
    request: &BakeRequest,
    at: &Located<'_>,
) -> Result<(), Diagnostic> {
    let stdout = || match request.stdout {
        Some(open) => open(),
        None => Err(io::Error::other("there is no standard output")),
    };
    let outputs = &mut options.output.outputs;
    for entry in target.entries(Attribute::Output) {
        outputs.push(output(entry, request, &stdout).map_err(|why| at.place(Attribute::Output, why))?);
    }
    let mut annotations = Vec::new();
    for text in target.texts(Attribute::Annotations) {
        annotations.extend(Annotation::parse(text).map_err(|why| at.place(Attribute::Annotations, why))?);
    }
    if !annotations.is_empty() && outputs.is_empty() {
        outputs.push(Output::store());
    }
    outputs.iter_mut().for_each(|output| output.annotate(&annotations));
    let attested: Vec<String> = target.entries(Attribute::Attest).iter().map(text).collect();
    options.output.attest =
        AttestOptions::parse(&attested).map_err(|why| at.place(Attribute::Attest, why))?;
    options.cache_from = caches(target, Attribute::CacheFrom, "src", request, at)?;
    options.cache_to = caches(target, Attribute::CacheTo, "dest", request, at)?;
    Ok(())
}

/// Reads an output; its file or directory lies where the definition is used.
fn output(
    entry: &Entry,
    request: &BakeRequest,
    stdout: &dyn Fn() -> io::Result<Stream>,
) -> Result<Output, Diagnostic> {
    Output::parse(&text(&here(entry, "dest", request)), stdout)
}

fn caches<T: FromStr<Err = String>>(
    target: &Target,
    attribute: Attribute,
    directory: &str,
    request: &BakeRequest,
    at: &Located<'_>,
) -> Result<Vec<T>, Diagnostic> {
    let read = |entry: &Entry| {
        text(&here(entry, directory, request)).parse().map_err(|why| at.wrong(attribute, why))
    };
    target.entries(attribute).iter().map(read).collect()
}

/// Makes a path of an entry one that starts from the request's directory.
fn here(entry: &Entry, name: &str, request: &BakeRequest) -> Entry {
    let mut entry = entry.clone();
    if let Some(path) = entry.get_mut(name).filter(|path| !path.is_empty() && *path != "-") {
        *path = request.directory.join(&*path).to_string_lossy().into_owned();
    }
    entry
}

/// Writes an entry as the options of the command line are written: `type=...,key=value`, quoted as in CSV.
fn text(entry: &Entry) -> String {
    let field = |(name, value): (&String, &String)| {
        let field = format!("{name}={value}");
        if field.contains([',', '"']) { format!("\"{}\"", field.replace('"', "\"\"")) } else { field }
    };
    entry.iter().map(field).collect::<Vec<_>>().join(",")
}

/// Returns the outputs that go to the same standard output: only one may.
pub(super) fn check_stdout<'p>(
    plans: impl Iterator<Item = (&'p str, &'p BuildOptions)>,
) -> Result<(), Failure> {
    let streams = plans.filter(|(_, options)| options.output.outputs.iter().any(Output::is_stream));
    let names: Vec<&str> = streams.map(|(name, _)| name).collect();
    if let [first, second, ..] = names[..] {
        let message = format!("targets `{first}` and `{second}` cannot share standard output");
        let error = Diagnostic::error("bad-output", message);
        return Err(Failure::user(error.with_hint("give all but one a dest=FILE")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_written_as_options() {
        let pairs = [("type", "image"), ("name", "a,b"), ("annotation.x", "say \"hi\"")];
        let entry: Entry = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        assert_eq!(text(&entry), "\"annotation.x=say \"\"hi\"\"\",\"name=a,b\",type=image");
    }
}
