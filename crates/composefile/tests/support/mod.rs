//! Projects from one text, and what is said of them.

use std::io;
use std::path::Path;

use coracle_composefile::{LoadRequest, Loaded, Loader, load};
use coracle_report::Diagnostic;

struct Text<'t>(&'t str);

impl Loader for Text<'_> {
    fn read(&self, path: &Path) -> io::Result<String> {
        if path == Path::new("/shop/compose.yml") {
            return Ok(self.0.to_owned());
        }
        Err(io::Error::new(io::ErrorKind::NotFound, "no such file"))
    }

    fn exists(&self, path: &Path) -> bool {
        path == Path::new("/shop/compose.yml")
    }

    fn list(&self, _: &Path) -> io::Result<Vec<String>> {
        Ok(Vec::new())
    }
}

/// Loads a project of one file.
pub fn load_text(text: &str) -> Result<Loaded, Vec<Diagnostic>> {
    let request = LoadRequest {
        files: vec!["/shop/compose.yml".into()],
        project_directory: "/shop".into(),
        ..LoadRequest::default()
    };
    load(&request, &Text(text))
}

/// Loads a project that must be right.
pub fn loaded(text: &str) -> Loaded {
    load_text(text).unwrap_or_else(|errors| panic!("{text}\n{}", lines(&errors)))
}

/// Returns everything said of a project, a line each, with its place.
pub fn said(text: &str) -> String {
    match load_text(text) {
        Ok(loaded) => lines(&loaded.warnings),
        Err(errors) => lines(&errors),
    }
}

fn lines(diagnostics: &[Diagnostic]) -> String {
    let line = |diagnostic: &Diagnostic| format!("{diagnostic} [{}]", diagnostic.code);
    diagnostics.iter().map(line).collect::<Vec<_>>().join("\n")
}
