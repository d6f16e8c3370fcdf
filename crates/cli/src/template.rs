//! Docker's `--format`: `json`, `table`, or a template of Go's, of which that is read which listings are asked for:
//! `{{.Name}}`, `{{json .}}`, `{{json .Name}}`, `{{upper .Name}}`, `{{lower .Name}}`, `{{.Label "name"}}`.

use serde_json::Value;

use crate::table::Table;

/// What rows are written by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Template {
    /// One JSON object a row.
    Json,
    /// One line a row.
    Rows(Vec<Part>),
    /// The same in columns, under headings.
    Table(Vec<Part>),
}

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text as it is.
    Text(String),
    /// A value: the function, and the field, of which none is the whole row.
    Value(Function, Option<String>),
    /// The value of a label.
    Label(String),
}

/// What is done with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    /// It is written as it is.
    Plain,
    /// As JSON.
    Json,
    /// In capitals.
    Upper,
    /// In small letters.
    Lower,
}

impl Template {
    /// Reads a format; `None` is `table`, which the listing knows by itself.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        match text {
            "table" | "" | "pretty" => Ok(None),
            "json" => Ok(Some(Self::Json)),
            text => match text.strip_prefix("table ") {
                Some(text) => parts(text).map(|parts| Some(Self::Table(parts))),
                None => parts(text).map(|parts| Some(Self::Rows(parts))),
            },
        }
    }

    /// Writes rows; an error names a field that they do not have.
    pub fn render(&self, rows: &[Value]) -> Result<String, String> {
        match self {
            Self::Json => Ok(rows.iter().flat_map(|row| [row.to_string(), "\n".to_owned()]).collect()),
            Self::Rows(parts) => rows.iter().map(|row| Ok(line(parts, row)? + "\n")).collect(),
            Self::Table(parts) => {
                let headings: String = parts.iter().map(heading).collect();
                let mut table = Table::new(&headings.split('\t').collect::<Vec<_>>());
                for row in rows {
                    table.row(line(parts, row)?.split('\t').map(str::to_owned).collect());
                }
                Ok(table.render())
            }
        }
    }
}

fn parts(text: &str) -> Result<Vec<Part>, String> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find("{{") {
        let end = rest[start..]
            .find("}}")
            .ok_or_else(|| format!("`{text}` is no template: a `{{{{` is not closed"))?;
        if start > 0 {
            parts.push(Part::Text(unescape(&rest[..start])));
        }
        parts.push(action(rest[start + 2..start + end].trim().trim_matches('-').trim())?);
        rest = &rest[start + end + 2..];
    }
    if !rest.is_empty() {
        parts.push(Part::Text(unescape(rest)));
    }
    if parts.iter().all(|part| matches!(part, Part::Text(_))) {
        return Err(format!(
            "`{text}` is no format; choose table, json, or a template such as '{{{{.Name}}}}'"
        ));
    }
    Ok(parts)
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

fn action(text: &str) -> Result<Part, String> {
    let refused = || {
        format!(
            "`{{{{{text}}}}}` is more than is read here: {{{{.Field}}}}, {{{{json .Field}}}}, {{{{upper .Field}}}}, \
             {{{{lower .Field}}}} and {{{{.Label \"name\"}}}} are"
        )
    };
    let field = |word: &str| -> Result<Option<String>, String> {
        let name = word.strip_prefix('.').ok_or_else(refused)?;
        if name.is_empty() {
            return Ok(None);
        }
        if name.chars().all(|c| c.is_ascii_alphanumeric()) {
            Ok(Some(name.to_owned()))
        } else {
            Err(refused())
        }
    };
    // `.Name | upper` is the same as `upper .Name`.
    let words: Vec<&str> = match text.split_once('|') {
        Some((value, function)) => vec![function.trim(), value.trim()],
        None => text.split_whitespace().collect(),
    };
    match words.as_slice() {
        [word] => Ok(Part::Value(Function::Plain, field(word)?)),
        [".Label", name] => Ok(Part::Label(name.trim_matches('"').to_owned())),
        ["json", word] => Ok(Part::Value(Function::Json, field(word)?)),
        ["upper", word] => Ok(Part::Value(Function::Upper, field(word)?)),
        ["lower", word] => Ok(Part::Value(Function::Lower, field(word)?)),
        _ => Err(refused()),
    }
}

fn line(parts: &[Part], row: &Value) -> Result<String, String> {
    let mut text = String::new();
    for part in parts {
        match part {
            Part::Text(literal) => text.push_str(literal),
            Part::Label(name) => {
                let labels = row["Labels"].as_str().unwrap_or_default();
                let found =
                    labels.split(',').find_map(|pair| pair.strip_prefix(name.as_str())?.strip_prefix('='));
                text.push_str(found.unwrap_or_default());
            }
            Part::Value(function, field) => {
                let value = match field {
                    None => row,
                    Some(name) => row.get(name).ok_or_else(|| unknown(name, row))?,
                };
                let plain = || match value {
                    Value::String(text) => text.clone(),
                    Value::Null => String::new(),
                    other => other.to_string(),
                };
                text.push_str(&match function {
                    Function::Plain => plain(),
                    Function::Json => value.to_string(),
                    Function::Upper => plain().to_uppercase(),
                    Function::Lower => plain().to_lowercase(),
                });
            }
        }
    }
    Ok(text)
}

fn unknown(name: &str, row: &Value) -> String {
    let known: Vec<&str> =
        row.as_object().into_iter().flat_map(|row| row.keys().map(String::as_str)).collect();
    format!("rows have no `{name}`; they have {}", known.join(", "))
}

/// Returns a part's heading: Docker's words for fields.
fn heading(part: &Part) -> String {
    match part {
        Part::Text(text) => text.clone(),
        Part::Label(name) => name.clone(),
        Part::Value(_, None) => String::new(),
        Part::Value(_, Some(name)) => match name.as_str() {
            "ID" => "CONTAINER ID".to_owned(),
            "RunningFor" => "CREATED".to_owned(),
            "CreatedAt" => "CREATED AT".to_owned(),
            "ExitCode" => "EXIT CODE".to_owned(),
            "LocalVolumes" => "LOCAL VOLUMES".to_owned(),
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
    fn what_is_not_read_is_refused() {
        for format in ["{{.Name", "{{range .}}{{end}}", "xml", "{{.Nam}}", "{{if .Name}}x{{end}}"] {
            assert!(rendered(format).is_err(), "{format}");
        }
    }
}
