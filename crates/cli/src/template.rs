//! Docker's `--format`: `json`, `table`, or a template of Go's with Docker's functions.
//!
//! Read are values (`{{.Name}}`, `{{.State.Pid}}`), pipes, `if`, `range`, `with`, variables, and the functions of
//! [`functions`]. Refused are templates within templates (`define`, `template`, `block`), `break` and `continue`.

mod eval;
mod functions;
mod parse;

use serde_json::Value;

use crate::table::Table;
use parse::{Node, Operand, Pipe};

/// What rows are written by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// One JSON object a row.
    Json,
    /// One line a row.
    Rows(Vec<Node>),
    /// The same in columns, under headings.
    Table(Vec<Node>),
}

impl Template {
    /// Reads a format; `None` is `table`, which the listing knows by itself.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "table" | "" | "pretty" => Ok(None),
            "json" => Ok(Some(Self::Json)),
            text => match text.strip_prefix("table ") {
                Some(text) => nodes(text).map(|nodes| Some(Self::Table(nodes))),
                None => nodes(text).map(|nodes| Some(Self::Rows(nodes))),
            },
        }
    }

    /// Writes rows; an error names a field that they do not have.
    pub fn render(&self, rows: &[Value]) -> Result<String, String> {
        match self {
            Self::Json => Ok(rows.iter().flat_map(|row| [row.to_string(), "\n".to_owned()]).collect()),
            Self::Rows(nodes) => rows.iter().map(|row| Ok(eval::render(nodes, row)? + "\n")).collect(),
            Self::Table(nodes) => {
                let headings: String = nodes.iter().map(heading).collect();
                let mut table = Table::new(&headings.split('\t').collect::<Vec<_>>());
                for row in rows {
                    table.row(eval::render(nodes, row)?.split('\t').map(str::to_owned).collect());
                }
                Ok(table.render())
            }
        }
    }
}

fn nodes(text: &str) -> Result<Vec<Node>, String> {
    let nodes = parse::parse(text)?;
    if nodes.iter().all(|node| matches!(node, Node::Text(_))) {
        return Err(format!(
            "`{text}` is no format; choose table, json, or a template such as '{{{{.Name}}}}'"
        ));
    }
    Ok(nodes)
}

/// Returns a part's heading: Docker's words for fields.
fn heading(node: &Node) -> String {
    let Node::Value(Pipe(commands)) = node else {
        return if let Node::Text(text) = node { text.clone() } else { String::new() };
    };
    let words = commands.first().map(Vec::as_slice).unwrap_or_default();
    let field = words.iter().find_map(|word| match word {
        Operand::Field(path) => path.last().map(String::as_str),
        _ => None,
    });
    match (field, words.last()) {
        (Some("Label"), Some(Operand::Text(name))) => name.clone(),
        (None, _) => String::new(),
        (Some(name), _) => match name {
            "ID" => "CONTAINER ID".to_owned(),
            "RunningFor" => "CREATED".to_owned(),
            "CreatedAt" => "CREATED AT".to_owned(),
            "ExitCode" => "EXIT CODE".to_owned(),
            "LocalVolumes" => "LOCAL VOLUMES".to_owned(),
            "CPUPerc" => "CPU %".to_owned(),
            "MemUsage" => "MEM USAGE / LIMIT".to_owned(),
            "MemPerc" => "MEM %".to_owned(),
            "NetIO" => "NET I/O".to_owned(),
            "BlockIO" => "BLOCK I/O".to_owned(),
            name => name.to_uppercase(),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rendered(format: &str) -> Result<String, String> {
        let rows = [
            json!({"Name": "web", "ExitCode": 0, "Labels": "a=1,b=2", "State": "running"}),
            json!({"Name": "database", "ExitCode": 3, "Labels": "", "State": "exited"}),
        ];
        Template::parse(format)?.expect("a template").render(&rows)
    }

    fn one(format: &str) -> Result<String, String> {
        let row = json!({
            "Id": "abcdef0123", "Name": "/web", "State": {"Running": true, "Pid": 42, "Health": null},
            "Config": {"Env": ["A=1", "B=2"], "Labels": {"tier": "front", "a.b": "c"}},
            "Networks": {"one": {"IP": "10.0.0.2"}, "another": {"IP": "10.0.1.2"}},
        });
        Template::parse(format)?.expect("a template").render(&[row]).map(|text| text.trim_end().to_owned())
    }

    #[test]
    fn the_forms_that_listings_are_asked_for() {
        assert_eq!(rendered("{{.Name}} {{.ExitCode}}").unwrap(), "web 0\ndatabase 3\n");
        assert_eq!(rendered("{{ json .Name }}").unwrap(), "\"web\"\n\"database\"\n");
        assert_eq!(
            rendered("{{.Name | upper}}\\t{{lower .State}}").unwrap(),
            "WEB\trunning\nDATABASE\texited\n"
        );
        assert_eq!(rendered("{{.Label \"b\"}}|").unwrap(), "2|\n|\n");
        let table = "NAME       EXIT CODE\nweb        0\ndatabase   3\n";
        assert_eq!(rendered("table {{.Name}}\\t{{.ExitCode}}").unwrap(), table);
        assert_eq!(rendered("json").unwrap().matches("\"ExitCode\":").count(), 2);
        assert_eq!(Template::parse("table"), Ok(None));
    }

    #[test]
    fn the_forms_that_inspect_is_asked_for() {
        for (format, expected) in [
            ("{{.State.Running}} {{.State.Pid}}", "true 42"),
            ("{{range .Config.Env}}{{println .}}{{end}}", "A=1\nB=2"),
            (
                "{{range $name, $net := .Networks}}{{$name}}={{$net.IP}} {{end}}",
                "another=10.0.1.2 one=10.0.0.2",
            ),
            ("{{index .Config.Labels \"a.b\"}}", "c"),
            ("{{(index .Networks \"one\").IP}}", "10.0.0.2"),
            ("{{if .State.Health}}{{.State.Health.Status}}{{else}}none{{end}}", "none"),
            ("{{if eq .State.Pid 41 42}}yes{{else if .Name}}no{{end}}", "yes"),
            ("{{with .State}}{{.Pid}}{{end}}{{with .Nothing}}x{{else}}-{{end}}", "42-"),
            ("{{$id := .Id}}{{slice $id 0 4}} {{truncate $id 2}}", "abcd ab"),
            ("{{join .Config.Env \", \"}} {{len .Config.Env}}", "A=1, B=2 2"),
            ("{{.Config.Env}} {{.Config.Labels}}", "[A=1 B=2] map[a.b:c tier:front]"),
            ("{{printf \"%-6s|%5d|%q\" .Id .State.Pid \"x\"}}", "abcdef0123|   42|\"x\""),
            ("a {{- .State.Pid -}} b{{/* nothing */}}", "a42b"),
            ("{{split .Name \"/\" | json}}", "[\"\",\"web\"]"),
            ("{{not .State.Running}} {{or .Missing .Name}} {{and true .Name}}", "false /web /web"),
            ("{{\"}}\"}}", "}}"),
        ] {
            assert_eq!(one(format).as_deref(), Ok(expected), "{format}");
        }
    }

    #[test]
    fn what_is_not_read_is_refused() {
        for format in [
            "{{.Name",
            "xml",
            "{{.Nam}}",
            "{{range .Name}}{{end}}",
            "{{if .Name}}x",
            "{{end}}",
            "{{}}",
            "{{.Name}}{{else}}",
            "{{template \"x\"}}",
            "{{nothing .Name}}",
            "{{.Name 1}}",
            "{{$x}}",
            "{{\"x}}",
            "{{(.Name}}",
            "{{.Name | .Name}}",
            "{{range .Name}}{{break}}{{end}}",
            "{{.A..B}}",
        ] {
            assert!(rendered(format).is_err(), "{format}");
        }
        let deep = format!("{}{}", "{{if .Name}}".repeat(100), "{{end}}".repeat(100));
        assert!(rendered(&deep).is_err());
        assert!(rendered(&format!("{{{{{}.Name{}}}}}", "(".repeat(1000), ")".repeat(1000))).is_err());
    }
}
