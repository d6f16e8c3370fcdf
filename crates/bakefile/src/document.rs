//! The text of one file to blocks and attributes; HCL and JSON give the same.

use std::ops::Range;

use coracle_report::Diagnostic;
use hcl_edit::Span as _;
use hcl_edit::expr::{Expression, ObjectKey};
use hcl_edit::structure::Body;

use crate::source::{Fault, Source};

/// The largest file that is read.
const LIMIT: usize = 4 << 20;

/// An attribute: its expression and the place of its name.
#[derive(Clone, Debug)]
pub(crate) struct Attribute {
    pub name: String,
    pub place: Range<usize>,
    pub value: Expression,
}

/// A block with its labels.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    pub kind: String,
    pub place: Range<usize>,
    pub labels: Vec<String>,
    pub body: Document,
}

/// What a file or a block holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct Document {
    pub attributes: Vec<Attribute>,
    pub blocks: Vec<Block>,
}

impl Document {
    pub(crate) fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name == name)
    }
}

/// The blocks that a bake file may have, with what they may hold.
const BLOCKS: [&str; 4] = ["target", "group", "variable", "function"];

/// Reads a file: JSON when its name ends so or its text begins so, else HCL.
pub(crate) fn parse(source: &Source) -> Result<Document, Fault> {
    if source.text().len() > LIMIT {
        let message =
            format!("a bake file of {} bytes is too large: {LIMIT} are allowed", source.text().len());
        return Err(source.error("bake-syntax", message, &(0..0)));
    }
    let named = source.name().extension().is_some_and(|kind| kind.eq_ignore_ascii_case("json"));
    if named || source.text().trim_start().starts_with('{') { json(source) } else { hcl(source) }
}

fn hcl(source: &Source) -> Result<Document, Fault> {
    let body = hcl_edit::parser::parse_body(source.text()).map_err(|error| syntax(source, &error))?;
    document(source, &body)
}

fn syntax(source: &Source, error: &hcl_edit::parser::Error) -> Fault {
    let at = error.location().offset();
    source.error("bake-syntax", error.message().trim().replace('\n', "; "), &(at..at + 1))
}

fn document(source: &Source, body: &Body) -> Result<Document, Fault> {
    let mut found = Document::default();
    for structure in body {
        if let Some(attribute) = structure.as_attribute() {
            let place = attribute.key.span().unwrap_or_default();
            let name = attribute.key.as_str().to_owned();
            if found.attribute(&name).is_some() {
                return Err(source.error("bake-twice", format!("`{name}` is given twice"), &place));
            }
            found.attributes.push(Attribute { name, place, value: attribute.value.clone() });
        } else if let Some(block) = structure.as_block() {
            found.blocks.push(Block {
                kind: block.ident.as_str().to_owned(),
                place: block.ident.span().unwrap_or_default(),
                labels: block.labels.iter().map(|label| label.as_str().to_owned()).collect(),
                body: document(source, &block.body)?,
            });
        }
    }
    Ok(found)
}

/// Reads JSON: every JSON text is an expression of the language but for a few escapes.
fn json(source: &Source) -> Result<Document, Fault> {
    if let Err(error) = serde_json::from_str::<serde_json::Value>(source.text()) {
        let line_start: usize =
            source.text().split_inclusive('\n').take(error.line().saturating_sub(1)).map(str::len).sum();
        let at = line_start + error.column().saturating_sub(1);
        return Err(source.error("bake-syntax", error.to_string(), &(at..at + 1)));
    }
    let text = escapes(source.text());
    let root = hcl_edit::parser::parse_expr(text.trim()).map_err(|error| syntax(source, &error))?;
    let mut found = Document::default();
    for (name, place, value) in members(source, &root)? {
        if !BLOCKS.contains(&name.as_str()) {
            found.attributes.push(Attribute { name, place, value: value.clone() });
            continue;
        }
        for bodies in each(value) {
            for (label, place, value) in members(source, bodies)? {
                for body in each(value) {
                    let body = block_body(source, body)?;
                    let labels = vec![label.clone()];
                    found.blocks.push(Block { kind: name.clone(), place: place.clone(), labels, body });
                }
            }
        }
    }
    Ok(found)
}

fn block_body(source: &Source, value: &Expression) -> Result<Document, Fault> {
    let mut body = Document::default();
    for (name, place, value) in members(source, value)? {
        if name == "validation" {
            for item in each(value) {
                let body_of = block_body(source, item)?;
                let block =
                    Block { kind: name.clone(), place: place.clone(), labels: Vec::new(), body: body_of };
                body.blocks.push(block);
            }
        } else {
            body.attributes.push(Attribute { name, place, value: value.clone() });
        }
    }
    Ok(body)
}

/// A value, or each of a list's.
fn each(value: &Expression) -> Vec<&Expression> {
    match value {
        Expression::Array(items) => items.iter().collect(),
        other => vec![other],
    }
}

type Member<'a> = (String, Range<usize>, &'a Expression);

fn members<'a>(source: &Source, value: &'a Expression) -> Result<Vec<Member<'a>>, Fault> {
    let Expression::Object(object) = value else {
        let place = value.span().unwrap_or_default();
        return Err(source.error("bake-syntax", "an object is expected here", &place));
    };
    let mut members = Vec::new();
    for (key, value) in object {
        let name = match key {
            ObjectKey::Ident(name) => name.as_str().to_owned(),
            ObjectKey::Expression(Expression::String(name)) => name.as_str().to_owned(),
            ObjectKey::Expression(other) => {
                let place = other.span().unwrap_or_default();
                return Err(source.error("bake-syntax", "a plain name is expected here", &place));
            }
        };
        let place = match key {
            ObjectKey::Ident(name) => name.span(),
            ObjectKey::Expression(name) => name.span(),
        };
        members.push((name, place.unwrap_or_default(), value.expr()));
    }
    Ok(members)
}

/// Rewrites the escapes of valid JSON that HCL does not have.
fn escapes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    // Braces that are open within an interpolation; in it JSON's escapes are undone: what is left is an expression.
    let (mut open, mut quoted, mut opener) = (0u32, false, ['\0'; 2]);
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            let begins = c == '{' && matches!(opener[1], '$' | '%') && opener[0] != opener[1];
            opener = [opener[1], c];
            match c {
                _ if open == 0 => open = u32::from(begins),
                '{' if !quoted => open += 1,
                '}' if !quoted => open -= 1,
                _ => {}
            }
            continue;
        }
        opener = ['\0'; 2];
        match chars.next() {
            Some('"') if open > 0 => {
                out.push('"');
                quoted = !quoted;
            }
            Some('\\') if open > 0 => {
                out.push('\\');
                let mut ahead = chars.clone();
                match (ahead.next(), ahead.next()) {
                    (Some('\\'), Some(next @ ('"' | '\\'))) => {
                        out.push(next);
                        chars = ahead;
                    }
                    _ => out.extend(chars.next()),
                }
            }
            Some('/') => out.push('/'),
            Some('b') => out.push_str("\\u0008"),
            Some('f') => out.push_str("\\u000c"),
            Some('u') => {
                let unit: String = chars.by_ref().take(4).collect();
                let high = u32::from_str_radix(&unit, 16).unwrap_or(0);
                if (0xd800..0xdc00).contains(&high) {
                    // Valid JSON has the other half next.
                    let low: String = chars.by_ref().skip(2).take(4).collect();
                    let low = u32::from_str_radix(&low, 16).unwrap_or(0xdc00);
                    let point = 0x10000 + ((high - 0xd800) << 10) + (low.wrapping_sub(0xdc00) & 0x3ff);
                    out.push(char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER));
                } else {
                    out.push_str("\\u");
                    out.push_str(&unit);
                }
            }
            Some(other) => {
                out.push('\\');
                out.push(other);
            }
            None => out.push('\\'),
        }
    }
    out
}

/// Checks that blocks are known and have the labels that they need.
pub(crate) fn check_blocks(source: &Source, document: &Document) -> Result<(), Fault> {
    for block in &document.blocks {
        if !BLOCKS.contains(&block.kind.as_str()) {
            let error = Diagnostic::error("bake-block", format!("unknown block `{}`", block.kind));
            return Err(source.place(crate::source::with_near(error, &block.kind, BLOCKS), &block.place));
        }
        if block.labels.len() != 1 {
            let message = format!("`{}` takes one name", block.kind);
            return Err(source.error("bake-block", message, &block.place));
        }
    }
    Ok(())
}
