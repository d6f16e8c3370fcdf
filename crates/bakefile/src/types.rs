//! Type expressions (`list(string)`), conversion to them, and values from the environment's text.

use std::collections::BTreeMap;

use coracle_report::Diagnostic;
use hcl_edit::expr::{Expression, ObjectKey};

use crate::eval::{a, place_of};
use crate::source::{Fault, Source, with_near};
use crate::value::Value;

/// A type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Type {
    Any,
    String,
    Number,
    Bool,
    List(Box<Type>),
    Set(Box<Type>),
    Map(Box<Type>),
    Tuple(Vec<Type>),
    /// By name: the type, and whether it may be missing.
    Object(BTreeMap<String, (Type, bool)>),
}

impl std::fmt::Display for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::String => f.write_str("string"),
            Self::Number => f.write_str("number"),
            Self::Bool => f.write_str("bool"),
            Self::List(of) => write!(f, "list({of})"),
            Self::Set(of) => write!(f, "set({of})"),
            Self::Map(of) => write!(f, "map({of})"),
            Self::Tuple(of) => {
                let items: Vec<String> = of.iter().map(Self::to_string).collect();
                write!(f, "tuple([{}])", items.join(", "))
            }
            Self::Object(of) => {
                let items: Vec<String> = of
                    .iter()
                    .map(|(name, (kind, optional))| match optional {
                        true => format!("{name} = optional({kind})"),
                        false => format!("{name} = {kind}"),
                    })
                    .collect();
                write!(f, "object({{{}}})", items.join(", "))
            }
        }
    }
}

const NAMES: [&str; 9] = ["string", "number", "bool", "any", "list", "set", "map", "tuple", "object"];

/// Reads a type expression.
pub(crate) fn parse(source: &Source, expression: &Expression) -> Result<Type, Fault> {
    let place = place_of(expression);
    let wrong = |message: &str| source.error("bake-type", message, &place);
    match expression {
        Expression::Parenthesis(inner) => parse(source, inner.inner()),
        // JSON has no other way to say it.
        Expression::String(text) if source.name().extension().is_some_and(|kind| kind == "json") => {
            let inner = hcl_edit::parser::parse_expr(text.as_str())
                .map_err(|error| wrong(&format!("not a type: {}", error.message())))?;
            parse(&Source::new(source.name(), text.as_str()), &inner)
        }
        Expression::Variable(name) => match name.as_str() {
            "string" => Ok(Type::String),
            "number" => Ok(Type::Number),
            "bool" => Ok(Type::Bool),
            "any" => Ok(Type::Any),
            other => {
                let error = Diagnostic::error("bake-type", format!("there is no type `{other}`"));
                Err(source.place(with_near(error, other, NAMES), &place))
            }
        },
        Expression::FuncCall(call) => {
            let args: Vec<&Expression> = call.args.iter().collect();
            let [of] = args.as_slice() else { return Err(wrong("a type takes one argument")) };
            match (call.name.name.as_str(), of) {
                ("list", of) => Ok(Type::List(Box::new(parse(source, of)?))),
                ("set", of) => Ok(Type::Set(Box::new(parse(source, of)?))),
                ("map", of) => Ok(Type::Map(Box::new(parse(source, of)?))),
                ("tuple", Expression::Array(items)) => {
                    Ok(Type::Tuple(items.iter().map(|item| parse(source, item)).collect::<Result<_, _>>()?))
                }
                ("object", Expression::Object(object)) => {
                    let mut fields = BTreeMap::new();
                    for (key, value) in object {
                        let name = match key {
                            ObjectKey::Ident(name) => name.as_str().to_owned(),
                            ObjectKey::Expression(Expression::String(name)) => name.as_str().to_owned(),
                            ObjectKey::Expression(_) => {
                                return Err(wrong("an object's attributes are plain names"));
                            }
                        };
                        let (kind, optional) = match value.expr() {
                            Expression::FuncCall(call) if call.name.name.as_str() == "optional" => {
                                (call.args.get(0).ok_or_else(|| wrong("`optional` takes a type"))?, true)
                            }
                            kind => (kind, false),
                        };
                        fields.insert(name, (parse(source, kind)?, optional));
                    }
                    Ok(Type::Object(fields))
                }
                (other, _) => {
                    let error = Diagnostic::error("bake-type", format!("`{other}(...)` is not a type"));
                    Err(source.place(with_near(error, other, NAMES), &place))
                }
            }
        }
        _ => Err(wrong("a type is a keyword such as `string` or `list(number)`, written as it is")),
    }
}

/// Converts a value.
pub(crate) fn convert(value: Value, kind: &Type) -> Result<Value, String> {
    let wrong = |value: &Value| format!("{kind} is needed, not {}", a(value));
    match (kind, value) {
        (Type::Any, value) => Ok(value),
        (_, Value::Null) => Ok(Value::Null),
        (Type::String, value) => value.as_text().map(Value::String).ok_or_else(|| wrong(&value)),
        (Type::Number, value) => value.as_number().map(Value::Number).ok_or_else(|| wrong(&value)),
        (Type::Bool, value) => value.as_bool().map(Value::Bool).ok_or_else(|| wrong(&value)),
        (Type::List(of), Value::List(items) | Value::Set(items)) => {
            Ok(Value::List(items.into_iter().map(|item| convert(item, of)).collect::<Result<_, _>>()?))
        }
        (Type::Set(of), Value::List(items) | Value::Set(items)) => {
            Ok(Value::set(items.into_iter().map(|item| convert(item, of)).collect::<Result<_, _>>()?))
        }
        (Type::Tuple(of), Value::List(items)) => {
            if items.len() != of.len() {
                return Err(format!("{kind} is needed, not a list of {} elements", items.len()));
            }
            let items = items.into_iter().zip(of).map(|(item, of)| convert(item, of));
            Ok(Value::List(items.collect::<Result<_, _>>()?))
        }
        (Type::Map(of), Value::Map(map)) => {
            let pairs = map.into_iter().map(|(name, value)| Ok((name, convert(value, of)?)));
            Ok(Value::Map(pairs.collect::<Result<_, String>>()?))
        }
        (Type::Object(of), Value::Map(mut map)) => {
            let mut fields = BTreeMap::new();
            for (name, (kind, optional)) in of {
                let value = match map.remove(name) {
                    Some(value) => convert(value, kind).map_err(|why| format!("{name}: {why}"))?,
                    None if *optional => Value::Null,
                    None => return Err(format!("attribute `{name}` is missing")),
                };
                fields.insert(name.clone(), value);
            }
            Ok(Value::Map(fields))
        }
        (_, value) => Err(wrong(&value)),
    }
}

/// Reads a text of the environment as a value of a type: the words of a list by commas, the pairs of a map likewise.
pub(crate) fn from_text(text: &str, kind: &Type) -> Result<Value, String> {
    let texts = || -> Result<Vec<Value>, String> {
        if text.is_empty() {
            return Ok(Vec::new());
        }
        Ok(fields(text)?.into_iter().map(Value::String).collect())
    };
    match kind {
        Type::List(of) | Type::Set(of) if composite(of) => Err(format!("{kind} can only be given as JSON")),
        Type::Map(of) if composite(of) => Err(format!("{kind} can only be given as JSON")),
        Type::List(_) | Type::Set(_) | Type::Tuple(_) => convert(Value::List(texts()?), kind),
        Type::Map(_) | Type::Object(_) => {
            let mut map = BTreeMap::new();
            for pair in if text.is_empty() { Vec::new() } else { fields(text)? } {
                let (name, value) =
                    pair.split_once('=').ok_or_else(|| format!("`{pair}` is not NAME=VALUE"))?;
                map.insert(name.to_owned(), Value::text(value));
            }
            convert(Value::Map(map), kind)
        }
        _ => convert(Value::text(text), kind),
    }
}

fn composite(kind: &Type) -> bool {
    !matches!(kind, Type::Any | Type::String | Type::Number | Type::Bool)
}

/// Splits one line of comma-separated values.
pub(crate) fn fields(line: &str) -> Result<Vec<String>, String> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(line.as_bytes());
    let mut records = reader.records();
    let Some(record) = records.next() else { return Ok(Vec::new()) };
    let record = record.map_err(|error| format!("not comma-separated values: {error}"))?;
    Ok(record.iter().map(str::to_owned).collect())
}
