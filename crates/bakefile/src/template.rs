//! Templates in quotes and heredocs: interpolation, `%{ if }`, `%{ for }`, and the trim marks.

use std::collections::BTreeMap;

use hcl_edit::template::{Directive, Element, StringTemplate, Strip, Template};

use crate::eval::{Evaluator, Locals, a, place_of};
use crate::source::Fault;
use crate::value::Value;

impl Evaluator<'_> {
    /// A text of one interpolation alone is the value itself, of any type.
    pub(crate) fn string_template(&self, template: &StringTemplate) -> Result<Value, Fault> {
        let elements: Vec<&Element> = template.iter().collect();
        if let [Element::Interpolation(only)] = elements.as_slice() {
            return self.value(&only.expr);
        }
        self.elements(&elements).map(Value::String)
    }

    pub(crate) fn template(&self, template: &Template) -> Result<Value, Fault> {
        let elements: Vec<&Element> = template.iter().collect();
        self.elements(&elements).map(Value::String)
    }

    fn elements(&self, elements: &[&Element]) -> Result<String, Fault> {
        self.trimmed(elements, false, false)
    }

    /// Writes elements; `start` and `end` say whether the marks around them trim their outer ends.
    fn trimmed(&self, elements: &[&Element], start: bool, end: bool) -> Result<String, Fault> {
        let mut out = String::new();
        for (at, element) in elements.iter().enumerate() {
            match element {
                Element::Literal(text) => {
                    let before = at.checked_sub(1).map_or(start, |at| strips_after(elements[at]));
                    let after = elements.get(at + 1).map_or(end, |next| strips_before(next));
                    let mut text = text.value().as_str();
                    if before {
                        text = text.trim_start();
                    }
                    if after {
                        text = text.trim_end();
                    }
                    out.push_str(text);
                }
                Element::Interpolation(interpolation) => {
                    let value = self.value(&interpolation.expr)?;
                    let place = place_of(&interpolation.expr);
                    let text = value.as_text().ok_or_else(|| {
                        self.error(format!("{} cannot be a part of a text", a(&value)), &place)
                    })?;
                    out.push_str(&text);
                }
                Element::Directive(directive) => out.push_str(&self.directive(directive)?),
            }
            self.pay(1)?;
        }
        self.pay(out.len() as u64)?;
        Ok(out)
    }

    fn directive(&self, directive: &Directive) -> Result<String, Fault> {
        match directive {
            Directive::If(directive) => {
                let condition = &directive.if_expr.cond_expr;
                let truth = self.truth(&self.value(condition)?, &place_of(condition))?;
                let otherwise = directive.else_expr.as_ref();
                let end = directive.endif_expr.strip;
                if truth {
                    let elements: Vec<&Element> = directive.if_expr.template.iter().collect();
                    let close = otherwise.map_or(end, |part| part.strip);
                    self.trimmed(&elements, right(directive.if_expr.strip), left(close))
                } else if let Some(part) = otherwise {
                    let elements: Vec<&Element> = part.template.iter().collect();
                    self.trimmed(&elements, right(part.strip), left(end))
                } else {
                    Ok(String::new())
                }
            }
            Directive::For(directive) => {
                let part = &directive.for_expr;
                let place = place_of(&part.collection_expr);
                let elements: Vec<&Element> = part.template.iter().collect();
                let mut out = String::new();
                for (key, value) in self.pairs(self.value(&part.collection_expr)?, &place)? {
                    let mut names = BTreeMap::from([(part.value_var.as_str().to_owned(), value)]);
                    if let Some(name) = &part.key_var {
                        names.insert(name.as_str().to_owned(), key);
                    }
                    let locals = Locals { parent: self.locals, values: &names };
                    let inner = Evaluator { locals: Some(&locals), ..*self };
                    let close = directive.endfor_expr.strip;
                    out.push_str(&inner.trimmed(&elements, right(part.strip), left(close))?);
                }
                Ok(out)
            }
        }
    }
}

fn left(strip: Strip) -> bool {
    matches!(strip, Strip::Start | Strip::Both)
}

fn right(strip: Strip) -> bool {
    matches!(strip, Strip::End | Strip::Both)
}

fn strips_before(element: &Element) -> bool {
    match element {
        Element::Literal(_) => false,
        Element::Interpolation(interpolation) => left(interpolation.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(directive) => left(directive.if_expr.strip),
            Directive::For(directive) => left(directive.for_expr.strip),
        },
    }
}

fn strips_after(element: &Element) -> bool {
    match element {
        Element::Literal(_) => false,
        Element::Interpolation(interpolation) => right(interpolation.strip),
        Element::Directive(directive) => match &**directive {
            Directive::If(directive) => right(directive.endif_expr.strip),
            Directive::For(directive) => right(directive.endfor_expr.strip),
        },
    }
}
