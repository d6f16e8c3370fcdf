//! Functions on numbers and truth values.

use super::{Answer, count, number, text, truth, whole};
use crate::value::Value;

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    Some(match name {
        "abs" | "absolute" => one(args, f64::abs),
        "ceil" => one(args, f64::ceil),
        "floor" => one(args, f64::floor),
        "int" => one(args, f64::trunc),
        "negate" => one(args, |x| -x),
        "signum" => one(args, |x| if x == 0.0 { 0.0 } else { x.signum() }),
        "add" => two(args, |x, y| Ok(x + y)),
        "subtract" => two(args, |x, y| Ok(x - y)),
        "multiply" => two(args, |x, y| Ok(x * y)),
        "divide" => two(args, |x, y| nonzero(y).map(|y| x / y)),
        "modulo" => two(args, |x, y| nonzero(y).map(|y| x % y)),
        "pow" => two(args, |x, y| Ok(x.powf(y))),
        "log" => two(args, |x, base| Ok(x.ln() / base.ln())),
        "max" => fold(args, f64::max),
        "min" => fold(args, f64::min),
        "parseint" => parse_int(args),
        "greaterthan" => compare(args, |x, y| x > y),
        "greaterthanorequalto" => compare(args, |x, y| x >= y),
        "lessthan" => compare(args, |x, y| x < y),
        "lessthanorequalto" => compare(args, |x, y| x <= y),
        "equal" => count(args, 2, 2).map(|()| Value::Bool(args[0] == args[1])),
        "notequal" => count(args, 2, 2).map(|()| Value::Bool(args[0] != args[1])),
        "not" => truth(args, 0).map(|x| Value::Bool(!x)),
        "and" => both(args, |x, y| x && y),
        "or" => both(args, |x, y| x || y),
        _ => return None,
    })
}

fn finite(number: f64) -> Answer {
    if number.is_finite() { Ok(Value::Number(number)) } else { Err("the result is not a number".to_owned()) }
}

fn nonzero(number: f64) -> Result<f64, String> {
    if number == 0.0 { Err("division by zero".to_owned()) } else { Ok(number) }
}

fn one(args: &[Value], change: impl Fn(f64) -> f64) -> Answer {
    count(args, 1, 1)?;
    finite(change(number(args, 0)?))
}

fn two(args: &[Value], change: impl Fn(f64, f64) -> Result<f64, String>) -> Answer {
    count(args, 2, 2)?;
    finite(change(number(args, 0)?, number(args, 1)?)?)
}

fn compare(args: &[Value], holds: impl Fn(f64, f64) -> bool) -> Answer {
    count(args, 2, 2)?;
    Ok(Value::Bool(holds(number(args, 0)?, number(args, 1)?)))
}

fn both(args: &[Value], holds: impl Fn(bool, bool) -> bool) -> Answer {
    count(args, 2, 2)?;
    Ok(Value::Bool(holds(truth(args, 0)?, truth(args, 1)?)))
}

fn fold(args: &[Value], choose: impl Fn(f64, f64) -> f64) -> Answer {
    count(args, 1, usize::MAX)?;
    let mut best = number(args, 0)?;
    for at in 1..args.len() {
        best = choose(best, number(args, at)?);
    }
    finite(best)
}

fn parse_int(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (text, base) = (text(args, 0)?, whole(args, 1)?);
    let base = u32::try_from(base).ok().filter(|base| (2..=36).contains(base));
    let base = base.ok_or_else(|| "the base is between 2 and 36".to_owned())?;
    let number =
        i64::from_str_radix(&text, base).map_err(|_| format!("`{text}` is not a number of base {base}"))?;
    Ok(Value::Number(number as f64))
}
