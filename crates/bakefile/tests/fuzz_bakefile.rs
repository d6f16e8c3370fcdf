//! Any bytes are a definition or a clear error: no panic, places within the file, work that ends.

use std::collections::BTreeMap;

use coracle_bakefile::{Input, World, load};
use coracle_testkit::{Fuzz, outcome};

const WORDS: [&str; 40] = [
    "target \"a\" {\n",
    "group \"default\" {\n",
    "variable \"V\" {\n",
    "function \"f\" {\n",
    "validation {\n",
    "}\n",
    "inherits = [\"a\"]\n",
    "matrix = {\n",
    "name = \"a-${x}\"\n",
    "params = [x]\n",
    "result = ",
    "default = ",
    "type = list(string)\n",
    "condition = ",
    "args = { A = ",
    "contexts = { x = \"target:a\" }\n",
    "targets = [\"a\", \"*\"]\n",
    "output = [\"type=docker,dest=x\"]\n",
    "${",
    "%{ if ",
    "%{ for x in ",
    "%{ endif }",
    "~}",
    "$${",
    "<<-EOT\n",
    "EOT\n",
    "[for x in range(9999) : ",
    "{for k, v in target : k => v}",
    "[*]",
    ".*.",
    "? 1 : ",
    "jsonencode(",
    "setproduct(",
    "regex_replace(",
    "format(\"%s\", ",
    "V",
    "f(",
    "target.a.args",
    "1e999",
    "\\u{",
];

fn look(input: &[u8], name: &str, asked: &[&str]) -> u64 {
    let text = String::from_utf8_lossy(input).into_owned();
    let lines = text.split('\n').count();
    let world = World {
        environment: BTreeMap::from([("V".to_owned(), "x".to_owned())]),
        platform: "linux/amd64".to_owned(),
        home: "/root".to_owned(),
        now: jiff::Timestamp::UNIX_EPOCH,
    };
    let asked: Vec<String> = asked.iter().map(|name| (*name).to_owned()).collect();
    let set = ["*.args.A=1".to_owned(), "*.push=true".to_owned()];
    let found = load(&[Input { name: name.into(), text }], &world)
        .and_then(|definition| definition.select(&asked, &set).map(|selected| (definition, selected)));
    match found {
        Ok((definition, selected)) => {
            for name in selected.targets.keys() {
                // What a target starts from is always there, and nothing is lost that must be built.
                for (_, other) in selected.targets[name].links() {
                    assert!(selected.targets.contains_key(other), "{name} -> {other}");
                }
                let rest = selected.without(&std::collections::BTreeSet::from([name.clone()]));
                assert!(
                    rest.targets
                        .values()
                        .all(|target| target.links().all(|(_, other)| rest.targets.contains_key(other)))
                );
            }
            let text = selected.to_json().to_string();
            outcome((definition.targets.len(), definition.groups.len(), text.len() / 64))
        }
        Err(error) => {
            if let Some(span) = &error.span {
                assert!(span.start.line >= 1 && span.start.line as usize <= lines, "{span}");
            }
            outcome((error.code, error.message.len() / 8))
        }
    }
}

#[test]
fn hcl_takes_anything() {
    Fuzz::new("bakefile-hcl")
        .seed(include_str!("print/funcs.hcl"))
        .seed(include_str!("print/matrix.hcl"))
        .seed(include_str!("print/inherit.hcl"))
        .seed(include_str!("print/types.hcl"))
        .seed(include_str!("print/contexts.hcl"))
        .words(WORDS)
        .run(|input| look(input, "docker-bake.hcl", &["*"]));
}

#[test]
fn json_takes_anything() {
    Fuzz::new("bakefile-json")
        .seed(include_str!("print/escapes.bake.json"))
        .words(["\"target\": {", "\"${", "\\\"", "\\\\", "}\"", "\\ud83d", "\\u00e9", "[", "]", "null", "%{"])
        .run(|input| look(input, "docker-bake.json", &[]));
}
