//! Expressions to values.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ops::Range;

use coracle_report::Diagnostic;
use hcl_edit::Span as _;
use hcl_edit::expr::TraversalOperator as Step;
use hcl_edit::expr::{BinaryOperator, Expression, ForExpr, FuncCall, ObjectKey, Traversal, UnaryOperator};

use crate::source::{Fault, Source, with_near};
use crate::types;
use crate::value::Value;

/// How much all evaluation of one definition may weigh (elements and bytes of text that were made).
const BUDGET: u64 = 8 << 20;
/// How deep names and functions may lead to one another.
const DEPTH: u32 = 64;

/// Bounds the work, so that a hostile file ends with an error.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    spent: Cell<u64>,
    depth: Cell<u32>,
}

impl Meter {
    /// Pays for work.
    pub(crate) fn pay(&self, weight: u64) -> Result<(), Diagnostic> {
        self.spent.set(self.spent.get().saturating_add(weight));
        if self.spent.get() > BUDGET {
            return Err(Diagnostic::error(
                "bake-too-much",
                "evaluating the definition takes too much: it is bounded",
            )
            .with_hint("look for ranges, matrices or repeated texts that multiply"));
        }
        Ok(())
    }

    /// Goes one level deeper while `work` runs.
    pub(crate) fn deeper<T>(&self, work: impl FnOnce() -> Result<T, Fault>) -> Result<T, Fault> {
        if self.depth.get() >= DEPTH {
            let message = format!("names and functions lead to one another more than {DEPTH} deep");
            return Err(Box::new(Diagnostic::error("bake-too-deep", message)));
        }
        self.depth.set(self.depth.get() + 1);
        let result = work();
        self.depth.set(self.depth.get() - 1);
        result
    }
}

/// What the names outside of an expression mean.
pub(crate) trait Names {
    /// Returns the value of a variable.
    fn variable(&self, name: &str) -> Result<Option<Value>, Fault>;
    /// Returns an attribute of a block (`target.NAME.ATTRIBUTE`), or all of them.
    fn block(&self, kind: &str, name: &str, attribute: Option<&str>) -> Result<Value, Fault>;
    /// Calls a function; `None` when there is none of that name.
    fn call(&self, name: &str, args: Vec<Value>) -> Option<Result<Value, Fault>>;
    /// Returns the names that variables have.
    fn variables(&self) -> Vec<String>;
    /// Returns the names that functions have.
    fn functions(&self) -> Vec<String>;
}

/// Names of an expression's own: of loops, matrices and parameters.
#[derive(Clone, Copy)]
pub(crate) struct Locals<'a> {
    pub parent: Option<&'a Locals<'a>>,
    pub values: &'a BTreeMap<String, Value>,
}

impl Locals<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name).or_else(|| self.parent?.get(name))
    }
}

/// Where an expression stands.
#[derive(Clone, Copy)]
pub(crate) struct Evaluator<'a> {
    pub source: &'a Source,
    pub names: &'a dyn Names,
    pub meter: &'a Meter,
    pub locals: Option<&'a Locals<'a>>,
}

pub(crate) fn place_of(expression: &Expression) -> Range<usize> {
    expression.span().unwrap_or_default()
}

impl Evaluator<'_> {
    /// Returns the value of an expression.
    pub(crate) fn value(&self, expression: &Expression) -> Result<Value, Fault> {
        let place = place_of(expression);
        let value = self.bare(expression).map_err(|fault| self.source.place(*fault, &place))?;
        Ok(value)
    }

    pub(crate) fn error(&self, message: impl Into<String>, place: &Range<usize>) -> Fault {
        self.source.error("bake-value", message, place)
    }

    pub(crate) fn pay(&self, weight: u64) -> Result<(), Fault> {
        self.meter.pay(weight).map_err(Box::new)
    }

    fn bare(&self, expression: &Expression) -> Result<Value, Fault> {
        match expression {
            Expression::Null(_) => Ok(Value::Null),
            Expression::Bool(value) => Ok(Value::Bool(*value.value())),
            Expression::Number(number) => Ok(Value::Number(number.value().as_f64().unwrap_or(f64::NAN))),
            Expression::String(text) => {
                self.pay(text.len() as u64)?;
                Ok(Value::text(text.as_str()))
            }
            Expression::Array(items) => {
                self.pay(items.len() as u64)?;
                Ok(Value::List(items.iter().map(|item| self.value(item)).collect::<Result<_, _>>()?))
            }
            Expression::Object(object) => {
                let mut map = BTreeMap::new();
                for (key, value) in object {
                    self.pay(1)?;
                    let name = match key {
                        ObjectKey::Ident(name) => name.as_str().to_owned(),
                        ObjectKey::Expression(key) => self.text(key, "a key")?,
                    };
                    map.insert(name, self.value(value.expr())?);
                }
                Ok(Value::Map(map))
            }
            Expression::StringTemplate(template) => self.string_template(template),
            Expression::HeredocTemplate(template) => self.template(&template.template),
            Expression::Parenthesis(inner) => self.value(inner.inner()),
            Expression::Variable(name) => self.variable(name.as_str(), &place_of(expression)),
            Expression::Conditional(choice) => {
                let place = place_of(&choice.cond_expr);
                let condition = self.value(&choice.cond_expr)?;
                let condition = condition.as_bool().ok_or_else(|| {
                    self.error(format!("a condition is a bool, not {}", a(&condition)), &place)
                })?;
                self.value(if condition { &choice.true_expr } else { &choice.false_expr })
            }
            Expression::FuncCall(call) => self.call(call),
            Expression::Traversal(traversal) => self.traversal(traversal),
            Expression::UnaryOp(operation) => {
                let value = self.value(&operation.expr)?;
                let place = place_of(&operation.expr);
                match operation.operator.value() {
                    UnaryOperator::Neg => Ok(Value::Number(-self.number(&value, &place)?)),
                    UnaryOperator::Not => Ok(Value::Bool(!self.truth(&value, &place)?)),
                }
            }
            Expression::BinaryOp(operation) => {
                let left = self.value(&operation.lhs_expr)?;
                let (left_place, right_place) =
                    (place_of(&operation.lhs_expr), place_of(&operation.rhs_expr));
                let operator = *operation.operator.value();
                // As in every language: what cannot matter is not evaluated.
                match operator {
                    BinaryOperator::And if !self.truth(&left, &left_place)? => return Ok(Value::Bool(false)),
                    BinaryOperator::Or if self.truth(&left, &left_place)? => return Ok(Value::Bool(true)),
                    _ => {}
                }
                let right = self.value(&operation.rhs_expr)?;
                match operator {
                    BinaryOperator::Eq => return Ok(Value::Bool(left == right)),
                    BinaryOperator::NotEq => return Ok(Value::Bool(left != right)),
                    BinaryOperator::And | BinaryOperator::Or => {
                        return Ok(Value::Bool(self.truth(&right, &right_place)?));
                    }
                    _ => {}
                }
                let (x, y) = (self.number(&left, &left_place)?, self.number(&right, &right_place)?);
                if y == 0.0 && matches!(operator, BinaryOperator::Div | BinaryOperator::Mod) {
                    return Err(self.error("division by zero", &right_place));
                }
                Ok(match operator {
                    BinaryOperator::Plus => Value::Number(x + y),
                    BinaryOperator::Minus => Value::Number(x - y),
                    BinaryOperator::Mul => Value::Number(x * y),
                    BinaryOperator::Div => Value::Number(x / y),
                    BinaryOperator::Mod => Value::Number(x % y),
                    BinaryOperator::Less => Value::Bool(x < y),
                    BinaryOperator::LessEq => Value::Bool(x <= y),
                    BinaryOperator::Greater => Value::Bool(x > y),
                    BinaryOperator::GreaterEq => Value::Bool(x >= y),
                    BinaryOperator::Eq | BinaryOperator::NotEq | BinaryOperator::And | BinaryOperator::Or => {
                        Value::Null
                    }
                })
            }
            Expression::ForExpr(loop_) => self.for_expression(loop_),
        }
    }

    /// Returns an expression's text.
    pub(crate) fn text(&self, expression: &Expression, what: &str) -> Result<String, Fault> {
        let value = self.value(expression)?;
        value.as_text().ok_or_else(|| {
            self.error(format!("{what} is a string, not {}", a(&value)), &place_of(expression))
        })
    }

    fn number(&self, value: &Value, place: &Range<usize>) -> Result<f64, Fault> {
        value
            .as_number()
            .ok_or_else(|| self.error(format!("a number is needed here, not {}", a(value)), place))
    }

    pub(crate) fn truth(&self, value: &Value, place: &Range<usize>) -> Result<bool, Fault> {
        value.as_bool().ok_or_else(|| self.error(format!("a bool is needed here, not {}", a(value)), place))
    }

    fn variable(&self, name: &str, place: &Range<usize>) -> Result<Value, Fault> {
        let found = match self.locals.and_then(|locals| locals.get(name)) {
            Some(value) => Some(value.clone()),
            None => self.names.variable(name)?,
        };
        let Some(value) = found else {
            let names = self.names.variables();
            let error = Diagnostic::error("bake-variable", format!("there is no variable `{name}`"));
            let error = with_near(error, name, names.iter().map(String::as_str));
            return Err(self.source.place(error, place));
        };
        self.pay(value.weight())?;
        Ok(value)
    }

    fn call(&self, call: &FuncCall) -> Result<Value, Fault> {
        let name = call.name.name.as_str();
        let place = call.name.name.span().unwrap_or_default();
        if !call.name.namespace.is_empty() {
            return Err(self.error("functions of providers do not exist in bake files", &place));
        }
        let args: Vec<&Expression> = call.args.iter().collect();
        match (name, args.as_slice()) {
            ("can", [one]) => return self.tried(one).map(|result| Value::Bool(result.is_ok())),
            ("try", [_, ..]) => {
                let mut last = None;
                for arg in args {
                    match self.tried(arg)? {
                        Ok(value) => return Ok(value),
                        Err(fault) => last = Some(fault),
                    }
                }
                let mut fault = last.expect("there is an argument");
                fault.message =
                    format!("no argument of `try` could be evaluated; the last: {}", fault.message);
                return Err(fault);
            }
            ("convert", [value, kind]) => {
                let kind = types::parse(self.source, kind)?;
                let value = self.value(value)?;
                return types::convert(value, &kind).map_err(|why| self.error(why, &place));
            }
            _ => {}
        }
        let mut values = Vec::with_capacity(args.len());
        for arg in &args {
            values.push(self.value(arg)?);
        }
        if call.args.expand_final() {
            let last = values.pop().unwrap_or(Value::Null);
            let items = last
                .as_items()
                .ok_or_else(|| self.error(format!("`...` needs a list, not {}", a(&last)), &place))?;
            values.extend(items.iter().cloned());
        }
        self.pay(1)?;
        let Some(result) = self.meter.deeper(|| Ok(self.names.call(name, values)))? else {
            let names = self.names.functions();
            let error = Diagnostic::error("bake-function", format!("there is no function `{name}`"));
            let error = with_near(error, name, names.iter().map(String::as_str));
            return Err(self.source.place(error, &place));
        };
        let value = result.map_err(|fault| self.source.place(*fault, &place))?;
        self.pay(value.weight())?;
        Ok(value)
    }

    /// Evaluates what may fail; only running out of the budget cannot be caught.
    fn tried(&self, expression: &Expression) -> Result<Result<Value, Fault>, Fault> {
        match self.value(expression) {
            Err(fault) if fault.code == "bake-too-much" => Err(fault),
            result => Ok(result),
        }
    }

    fn traversal(&self, traversal: &Traversal) -> Result<Value, Fault> {
        let steps: Vec<&Step> = traversal.operators.iter().map(hcl_edit::Decorated::value).collect();
        if let Expression::Variable(kind) = &traversal.expr
            && matches!(kind.as_str(), "target" | "group" | "variable")
            && self.locals.and_then(|locals| locals.get(kind.as_str())).is_none()
            && let Some(name) = steps.first().map(|step| self.step_name(step)).transpose()?.flatten()
        {
            let attribute = match steps.get(1) {
                Some(step) => self.step_name(step)?,
                None => None,
            };
            let place = traversal.span().unwrap_or_default();
            let value = self
                .meter
                .deeper(|| self.names.block(kind.as_str(), &name, attribute.as_deref()))
                .map_err(|fault| self.source.place(*fault, &place))?;
            self.pay(value.weight())?;
            let rest = if attribute.is_some() { 2 } else { 1 };
            return self.follow(value, &traversal.operators[rest..]);
        }
        let value = self.value(&traversal.expr)?;
        self.follow(value, &traversal.operators)
    }

    fn step_name(&self, step: &Step) -> Result<Option<String>, Fault> {
        match step {
            Step::GetAttr(name) => Ok(Some(name.as_str().to_owned())),
            Step::Index(index) => self.value(index).map(|value| value.as_text()),
            Step::LegacyIndex(_) | Step::AttrSplat(_) | Step::FullSplat(_) => Ok(None),
        }
    }

    fn follow(&self, value: Value, steps: &[hcl_edit::Decorated<Step>]) -> Result<Value, Fault> {
        let mut value = value;
        for (at, step) in steps.iter().enumerate() {
            let place = step.span().unwrap_or_default();
            value = match step.value() {
                Step::GetAttr(name) => self.element(value, &Value::text(name.as_str()), &place)?,
                Step::Index(index) => {
                    let key = self.value(index)?;
                    self.element(value, &key, &place)?
                }
                Step::LegacyIndex(index) => {
                    self.element(value, &Value::Number(*index.value() as f64), &place)?
                }
                splat => {
                    // What follows is done to each; `.*` reaches only to the next index, `[*]` to the end.
                    let rest = &steps[at + 1..];
                    let reach = match splat {
                        Step::AttrSplat(_) => rest
                            .iter()
                            .position(|step| !matches!(step.value(), Step::GetAttr(_)))
                            .unwrap_or(rest.len()),
                        _ => rest.len(),
                    };
                    let items = match value {
                        Value::List(items) | Value::Set(items) => items,
                        Value::Null => Vec::new(),
                        other => vec![other],
                    };
                    let mut each = Vec::with_capacity(items.len());
                    for item in items {
                        self.pay(1)?;
                        each.push(self.follow(item, &rest[..reach])?);
                    }
                    return self.follow(Value::List(each), &rest[reach..]);
                }
            };
        }
        Ok(value)
    }

    fn element(&self, value: Value, key: &Value, place: &Range<usize>) -> Result<Value, Fault> {
        match value {
            Value::Map(mut map) => {
                let Some(name) = key.as_text() else {
                    return Err(self.error(format!("a map's key is a string, not {}", a(key)), place));
                };
                map.remove(&name).ok_or_else(|| {
                    let error = Diagnostic::error("bake-key", format!("there is no element `{name}`"));
                    let names: Vec<&str> = map.keys().map(String::as_str).collect();
                    self.source.place(with_near(error, &name, names), place)
                })
            }
            Value::List(mut items) => {
                let count = items.len();
                let index = key.as_number().filter(|index| index.fract() == 0.0 && *index >= 0.0);
                let Some(index) = index else {
                    return Err(self.error("a list's index is a whole number from 0", place));
                };
                if index >= count as f64 {
                    return Err(
                        self.error(format!("index {index} is beyond the list's {count} elements"), place)
                    );
                }
                Ok(items.swap_remove(index as usize))
            }
            other => Err(self.error(format!("{} has no elements", a(&other)), place)),
        }
    }

    /// Returns the pairs that a loop goes over.
    pub(crate) fn pairs(&self, value: Value, place: &Range<usize>) -> Result<Vec<(Value, Value)>, Fault> {
        match value {
            Value::List(items) => {
                Ok(items.into_iter().enumerate().map(|(at, item)| (Value::Number(at as f64), item)).collect())
            }
            Value::Set(items) => Ok(items.into_iter().map(|item| (item.clone(), item)).collect()),
            Value::Map(map) => {
                Ok(map.into_iter().map(|(name, value)| (Value::String(name), value)).collect())
            }
            other => Err(self.error(format!("a loop goes over a list or a map, not {}", a(&other)), place)),
        }
    }

    fn for_expression(&self, loop_: &ForExpr) -> Result<Value, Fault> {
        let place = place_of(&loop_.intro.collection_expr);
        let pairs = self.pairs(self.value(&loop_.intro.collection_expr)?, &place)?;
        let mut list = Vec::new();
        let mut map: BTreeMap<String, Value> = BTreeMap::new();
        for (key, value) in pairs {
            self.pay(1)?;
            let mut names = BTreeMap::from([(loop_.intro.value_var.as_str().to_owned(), value)]);
            if let Some(name) = &loop_.intro.key_var {
                names.insert(name.as_str().to_owned(), key);
            }
            let locals = Locals { parent: self.locals, values: &names };
            let inner = Evaluator { locals: Some(&locals), ..*self };
            if let Some(condition) = &loop_.cond {
                let wanted = inner.value(&condition.expr)?;
                if !inner.truth(&wanted, &place_of(&condition.expr))? {
                    continue;
                }
            }
            let value = inner.value(&loop_.value_expr)?;
            let Some(key) = &loop_.key_expr else {
                list.push(value);
                continue;
            };
            let name = inner.text(key, "a key")?;
            if loop_.grouping {
                match map.entry(name).or_insert_with(|| Value::List(Vec::new())) {
                    Value::List(items) => items.push(value),
                    _ => return Err(self.error("a group of values is a list", &place_of(key))),
                }
            } else if map.insert(name.clone(), value).is_some() {
                let message =
                    format!("two elements have the key `{name}`; write `...` after the value to group them");
                return Err(self.error(message, &place_of(key)));
            }
        }
        Ok(if loop_.key_expr.is_some() { Value::Map(map) } else { Value::List(list) })
    }
}

/// The value's type with its article.
pub(crate) fn a(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        other => format!("a {}", other.kind()),
    }
}
