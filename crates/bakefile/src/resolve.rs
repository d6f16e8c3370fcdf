//! Names to values: variables with their overrides, the user's functions, attributes of other blocks.

use std::cell::RefCell;
use std::collections::BTreeMap;

use coracle_report::Diagnostic;
use hcl_edit::expr::Expression;

use crate::document::{Attribute, Block, Document};
use crate::eval::{Evaluator, Locals, Meter, Names, place_of};
use crate::functions::{self, Facts};
use crate::source::{Fault, Source, with_near};
use crate::types::{self, Type};
use crate::value::Value;

/// One block with its file.
#[derive(Clone, Copy)]
pub(crate) struct Placed<'a> {
    pub source: &'a Source,
    pub block: &'a Block,
}

#[derive(Clone)]
enum State {
    Running,
    Done(Value),
}

/// Everything that files define, and what has been evaluated of it.
pub(crate) struct Resolver<'a> {
    pub files: &'a [(Source, Document)],
    pub meter: Meter,
    facts: &'a Facts,
    environment: &'a BTreeMap<String, String>,
    given: &'a BTreeMap<String, Value>,
    states: RefCell<BTreeMap<String, State>>,
    running: RefCell<Vec<String>>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(
        files: &'a [(Source, Document)],
        facts: &'a Facts,
        environment: &'a BTreeMap<String, String>,
        given: &'a BTreeMap<String, Value>,
    ) -> Self {
        Self {
            files,
            meter: Meter::default(),
            facts,
            environment,
            given,
            states: RefCell::default(),
            running: RefCell::default(),
        }
    }

    pub(crate) fn evaluator<'b>(
        &'b self,
        source: &'b Source,
        locals: Option<&'b Locals<'b>>,
    ) -> Evaluator<'b> {
        Evaluator { source, names: self, meter: &self.meter, locals }
    }

    /// Returns the blocks of a kind in the order of the files.
    pub(crate) fn blocks(&self, kind: &str) -> Vec<Placed<'a>> {
        let mut found = Vec::new();
        for (source, document) in self.files {
            found.extend(
                document
                    .blocks
                    .iter()
                    .filter(|block| block.kind == kind)
                    .map(|block| Placed { source, block }),
            );
        }
        found
    }

    fn named(&self, kind: &str, name: &str) -> Vec<Placed<'a>> {
        self.blocks(kind)
            .into_iter()
            .filter(|placed| placed.block.labels.iter().any(|label| label == name))
            .collect()
    }

    /// Returns the last attribute of that name among blocks, with its file.
    fn last(blocks: &[Placed<'a>], name: &str) -> Option<(&'a Source, &'a Attribute)> {
        blocks.iter().rev().find_map(|placed| Some((placed.source, placed.block.body.attribute(name)?)))
    }

    /// Evaluates something that has a name, once, and finds circles.
    fn once(&self, key: &str, work: impl FnOnce() -> Result<Value, Fault>) -> Result<Value, Fault> {
        match self.states.borrow().get(key) {
            Some(State::Done(value)) => return Ok(value.clone()),
            Some(State::Running) => {
                let chain = self.running.borrow().join(" -> ");
                let message = format!("`{key}` depends on itself");
                return Err(Box::new(
                    Diagnostic::error("bake-circle", message).with_note(format!("{chain} -> {key}")),
                ));
            }
            None => {}
        }
        self.states.borrow_mut().insert(key.to_owned(), State::Running);
        self.running.borrow_mut().push(key.to_owned());
        let result = self.meter.deeper(work);
        self.running.borrow_mut().pop();
        match &result {
            Ok(value) => self.states.borrow_mut().insert(key.to_owned(), State::Done(value.clone())),
            Err(_) => self.states.borrow_mut().remove(key),
        };
        result
    }

    /// Evaluates a variable: the environment over its default, then its type and its validations.
    fn evaluate_variable(&self, name: &str, blocks: &[Placed<'a>]) -> Result<Value, Fault> {
        let kind = match Self::last(blocks, "type") {
            Some((source, attribute)) => Some(types::parse(source, &attribute.value)?),
            None => None,
        };
        let default = match Self::last(blocks, "default") {
            Some((source, attribute)) => {
                let value = self.evaluator(source, None).value(&attribute.value)?;
                let place = place_of(&attribute.value);
                Some(match &kind {
                    Some(kind) => types::convert(value, kind).map_err(|why| {
                        source.error("bake-type", format!("the default of `{name}`: {why}"), &place)
                    })?,
                    None => value,
                })
            }
            None => None,
        };
        let first = blocks[0];
        let at = |why: String| {
            let message = format!("`{name}` of the environment: {why}");
            first.source.error("bake-variable", message, &first.block.place)
        };
        let json_name = format!("{name}_JSON");
        let json = self.environment.get(&json_name).filter(|_| self.named("variable", &json_name).is_empty());
        let value = match (json, self.environment.get(name)) {
            (Some(json), _) if kind.is_some() => {
                let value = serde_json::from_str(json)
                    .map_err(|error| at(format!("{json_name} is not JSON: {error}")))?;
                types::convert(Value::from_json(&value), kind.as_ref().unwrap_or(&Type::Any)).map_err(at)?
            }
            (_, Some(text)) => {
                let assumed = match (&kind, &default) {
                    (Some(kind), _) => kind.clone(),
                    (None, Some(Value::Bool(_))) => Type::Bool,
                    (None, Some(Value::Number(_))) => Type::Number,
                    (None, Some(Value::List(_) | Value::Map(_) | Value::Set(_))) => {
                        return Err(at(
                            "a list or map can only be given when the variable has a type".to_owned()
                        ));
                    }
                    (None, _) => Type::String,
                };
                types::from_text(text, &assumed).map_err(at)?
            }
            // Without value and default it is empty when it is text, as in Docker, and null else.
            _ => default.unwrap_or_else(|| if kind.is_none() { Value::text("") } else { Value::Null }),
        };
        self.validate(name, blocks, &value)?;
        Ok(value)
    }

    fn validate(&self, name: &str, blocks: &[Placed<'a>], value: &Value) -> Result<(), Fault> {
        let own = BTreeMap::from([(name.to_owned(), value.clone())]);
        let locals = Locals { parent: None, values: &own };
        for placed in blocks {
            for block in placed.block.body.blocks.iter().filter(|block| block.kind == "validation") {
                let evaluator = self.evaluator(placed.source, Some(&locals));
                let Some(condition) = block.body.attribute("condition") else {
                    return Err(placed.source.error(
                        "bake-block",
                        "`validation` needs `condition`",
                        &block.place,
                    ));
                };
                let place = place_of(&condition.value);
                let truth = evaluator.value(&condition.value)?;
                if !evaluator.truth(&truth, &place)? {
                    let why = match block.body.attribute("error_message") {
                        Some(message) => evaluator.text(&message.value, "the message")?,
                        None => format!("variable `{name}` is not valid"),
                    };
                    return Err(placed.source.error("bake-validation", why, &place));
                }
            }
        }
        Ok(())
    }

    /// Calls a function that a file defines.
    fn call_own(&self, placed: Placed<'a>, name: &str, args: Vec<Value>) -> Result<Value, Fault> {
        let (source, body) = (placed.source, &placed.block.body);
        let names = |attribute: &Attribute| -> Result<Vec<String>, Fault> {
            let wrong = |place| source.error("bake-function", "parameters are plain names", &place);
            let one = |expression: &Expression| match expression {
                Expression::Variable(name) => Ok(name.as_str().to_owned()),
                Expression::String(name) => Ok(name.as_str().to_owned()),
                other => Err(wrong(place_of(other))),
            };
            match &attribute.value {
                Expression::Array(items) => items.iter().map(one).collect(),
                other => Ok(vec![one(other)?]),
            }
        };
        let params = body.attribute("params").map(names).transpose()?.unwrap_or_default();
        let rest = body
            .attribute("variadic_params")
            .map(names)
            .transpose()?
            .and_then(|names| names.into_iter().next());
        let Some(result) = body.attribute("result") else {
            return Err(source.error(
                "bake-function",
                format!("function `{name}` has no `result`"),
                &placed.block.place,
            ));
        };
        if args.len() < params.len() || (rest.is_none() && args.len() > params.len()) {
            let message = format!("function `{name}` takes {} arguments, not {}", params.len(), args.len());
            return Err(Box::new(Diagnostic::error("bake-function", message)));
        }
        let mut args = args;
        let more = args.split_off(params.len());
        let mut values: BTreeMap<String, Value> = params.into_iter().zip(args).collect();
        values.extend(rest.map(|rest| (rest, Value::List(more))));
        let locals = Locals { parent: None, values: &values };
        self.meter.deeper(|| self.evaluator(source, Some(&locals)).value(&result.value))
    }
}

impl Names for Resolver<'_> {
    fn variable(&self, name: &str) -> Result<Option<Value>, Fault> {
        let attribute =
            self.files.iter().rev().find_map(|(source, document)| Some((source, document.attribute(name)?)));
        let blocks = self.named("variable", name);
        if let Some((source, attribute)) = attribute {
            if !blocks.is_empty() && self.environment.contains_key(name) {
                return self.once(name, || self.evaluate_variable(name, &blocks)).map(Some);
            }
            return self.once(name, || self.evaluator(source, None).value(&attribute.value)).map(Some);
        }
        if !blocks.is_empty() {
            return self.once(name, || self.evaluate_variable(name, &blocks)).map(Some);
        }
        Ok(self.given.get(name).cloned())
    }

    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Result<Value, Fault> {
        let blocks = self.named(kind, name);
        if blocks.is_empty() {
            let all: Vec<String> =
                self.blocks(kind).iter().flat_map(|placed| placed.block.labels.clone()).collect();
            let error = Diagnostic::error("bake-block", format!("there is no {kind} `{name}`"));
            return Err(Box::new(with_near(error, name, all.iter().map(String::as_str))));
        }
        let Some(attribute) = attribute else {
            let mut map = BTreeMap::new();
            for placed in &blocks {
                for attribute in &placed.block.body.attributes {
                    map.insert(attribute.name.clone(), self.block(kind, name, Some(&attribute.name))?);
                }
            }
            return Ok(Value::Map(map));
        };
        let found = Self::last(&blocks, attribute);
        if attribute == "name" && found.is_none() {
            return Ok(Value::text(name));
        }
        let Some((source, found)) = found else {
            let names = blocks.iter().flat_map(|placed| &placed.block.body.attributes);
            let error =
                Diagnostic::error("bake-attribute", format!("{kind} `{name}` does not set `{attribute}`"));
            return Err(Box::new(with_near(
                error,
                attribute,
                names.map(|attribute| attribute.name.as_str()),
            )));
        };
        if blocks.iter().any(|placed| placed.block.body.attribute("matrix").is_some())
            && attribute != "matrix"
        {
            let message = format!("{kind} `{name}` is a matrix: there is no one value of `{attribute}`");
            return Err(Box::new(Diagnostic::error("bake-attribute", message)));
        }
        self.once(&format!("{kind}.{name}.{attribute}"), || self.evaluator(source, None).value(&found.value))
    }

    fn call(&self, name: &str, args: Vec<Value>) -> Option<Result<Value, Fault>> {
        if let Some(own) = self.named("function", name).last() {
            return Some(self.call_own(*own, name, args));
        }
        let answer = functions::call(name, &args, self.facts)?;
        Some(answer.map_err(|why| Box::new(Diagnostic::error("bake-function", format!("`{name}`: {why}")))))
    }

    fn variables(&self) -> Vec<String> {
        let blocks = self.blocks("variable");
        let mut names: Vec<String> = blocks.iter().flat_map(|placed| placed.block.labels.clone()).collect();
        for (_, document) in self.files {
            names.extend(document.attributes.iter().map(|attribute| attribute.name.clone()));
        }
        names.extend(self.given.keys().cloned());
        names
    }

    fn functions(&self) -> Vec<String> {
        let own = self.blocks("function");
        let own = own.iter().flat_map(|placed| placed.block.labels.clone());
        own.chain(functions::NAMES.iter().map(|name| (*name).to_owned())).collect()
    }
}
