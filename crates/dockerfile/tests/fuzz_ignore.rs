//! Any bytes are an ignore file or a clear error; verdicts hold together; matching is never slow.

use std::path::Path;

use coracle_dockerfile::IgnoreFile;
use coracle_testkit::{Fuzz, outcome};

#[test]
fn the_ignore_matcher_takes_anything() {
    Fuzz::new("ignore")
        .seed("# comment\n*\n!src/**/*.rs\n/target/\n**/node_modules\nd[a-c]?\\*\n../x\n")
        .seed("a/**\n!a/b/c\n--\na/b/c/d")
        .words([
            "**", "**/", "/", "!", "[", "]", "[^a-z]", "\\", "?", "*", "..", ".", "#", "\n", "\u{feff}", "ζ",
        ])
        .run(|input| {
            let text = String::from_utf8_lossy(input);
            // What follows a line of two dashes is the path.
            let (rules, path) = text.split_once("\n--\n").unwrap_or((&text, "a/b/c"));
            match IgnoreFile::parse(Path::new(".dockerignore"), rules) {
                Ok(file) => {
                    let path = path.trim_matches('/');
                    let hidden = file.verdict(path).is_hidden();
                    let enter = file.may_show_below(path);
                    if hidden && !enter {
                        assert!(file.verdict(&format!("{path}/x")).is_hidden(), "below {path:?}");
                    }
                    outcome((file.rules().len(), hidden, enter))
                }
                Err(error) => outcome((error.code, error.span.map(|span| span.start.line))),
            }
        });
}
