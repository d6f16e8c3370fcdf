//! Functions on lists, sets and maps.

use std::collections::BTreeMap;

use super::{Answer, LARGEST, count, items, map, nth, number, text, whole};
use crate::value::Value;

pub(super) fn call(name: &str, args: &[Value]) -> Option<Answer> {
    Some(match name {
        "length" => length(args),
        "concat" => concat(args),
        "contains" => count(args, 2, 2).and_then(|()| Ok(Value::Bool(items(args, 0)?.contains(&args[1])))),
        "sethaselement" => {
            count(args, 2, 2).and_then(|()| Ok(Value::Bool(items(args, 0)?.contains(&args[1]))))
        }
        "lookup" => lookup(args),
        "merge" => merge(args),
        "keys" => map(args, 0).map(|map| Value::List(map.keys().map(Value::text).collect())),
        "values" => map(args, 0).map(|map| Value::List(map.values().cloned().collect())),
        "coalesce" => {
            let found = args.iter().find(|value| **value != Value::Null);
            found.cloned().ok_or_else(|| "every argument is null".to_owned())
        }
        "coalescelist" => {
            let found = args.iter().find(|value| value.as_items().is_some_and(|items| !items.is_empty()));
            found.cloned().ok_or_else(|| "every list is empty".to_owned())
        }
        "compact" => items(args, 0).map(|items| {
            let full = |item: &&Value| !matches!(item, Value::Null) && **item != Value::text("");
            Value::List(items.iter().filter(full).cloned().collect())
        }),
        "distinct" => items(args, 0).map(|items| Value::List(distinct(items))),
        "reverse" | "reverselist" => {
            items(args, 0).map(|items| Value::List(items.iter().rev().cloned().collect()))
        }
        "flatten" => {
            let mut flat = Vec::new();
            items(args, 0).map(|items| {
                flatten(items, &mut flat);
                Value::List(flat)
            })
        }
        "sort" => sort(args),
        "element" => element(args),
        "index" => index(args),
        "hasindex" => count(args, 2, 2).map(|()| Value::Bool(index(args).is_ok())),
        "indexof" | "index_of" => index_of(args),
        "slice" => slice(args),
        "chunklist" => chunks(args),
        "range" => range(args),
        "zipmap" => zip(args),
        "setunion" => sets(args, |all, set| all.extend(set.iter().cloned())),
        "setintersection" => sets(args, |all, set| all.retain(|item| set.contains(item))),
        "setsubtract" => sets(args, |all, set| all.retain(|item| !set.contains(item))),
        "setsymmetricdifference" => sets(args, |all, set| {
            let new: Vec<Value> = set.iter().filter(|item| !all.contains(item)).cloned().collect();
            all.retain(|item| !set.contains(item));
            all.extend(new);
        }),
        "setproduct" => product(args),
        _ => return None,
    })
}

fn length(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let length = match &args[0] {
        Value::List(items) | Value::Set(items) => items.len(),
        Value::Map(map) => map.len(),
        Value::String(text) => text.chars().count(),
        other => return Err(format!("{} has no length", crate::eval::a(other))),
    };
    Ok(Value::Number(length as f64))
}

fn concat(args: &[Value]) -> Answer {
    let mut all = Vec::new();
    for at in 0..args.len() {
        all.extend(items(args, at)?.iter().cloned());
    }
    Ok(Value::List(all))
}

fn lookup(args: &[Value]) -> Answer {
    count(args, 2, 3)?;
    let (map, key) = (map(args, 0)?, text(args, 1)?);
    let found = map.get(&key).or_else(|| args.get(2));
    found.cloned().ok_or_else(|| format!("there is no element `{key}`, and no default is given"))
}

fn merge(args: &[Value]) -> Answer {
    let mut all = BTreeMap::new();
    for at in 0..args.len() {
        if args[at] != Value::Null {
            all.extend(map(args, at)?.clone());
        }
    }
    Ok(Value::Map(all))
}

fn distinct(items: &[Value]) -> Vec<Value> {
    // By text first: comparing each with each would take too long.
    let mut seen = std::collections::HashSet::new();
    items.iter().filter(|item| seen.insert(format!("{item:?}"))).cloned().collect()
}

fn flatten(items: &[Value], flat: &mut Vec<Value>) {
    for item in items {
        match item {
            Value::List(inner) | Value::Set(inner) => flatten(inner, flat),
            other => flat.push(other.clone()),
        }
    }
}

fn sort(args: &[Value]) -> Answer {
    count(args, 1, 1)?;
    let texts = items(args, 0)?.iter().map(|item| item.as_text().ok_or("only strings can be sorted"));
    let mut texts: Vec<String> = texts.collect::<Result<_, _>>()?;
    texts.sort();
    Ok(Value::List(texts.into_iter().map(Value::String).collect()))
}

fn element(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (items, index) = (items(args, 0)?, whole(args, 1)?);
    if items.is_empty() {
        return Err("an empty list has no elements".to_owned());
    }
    Ok(items[index.rem_euclid(items.len() as i64) as usize].clone())
}

fn index(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let found = match &args[0] {
        Value::Map(map) => map.get(&text(args, 1)?),
        _ => items(args, 0)?.get(usize::try_from(whole(args, 1)?).unwrap_or(usize::MAX)),
    };
    found.cloned().ok_or_else(|| "there is no such element".to_owned())
}

fn index_of(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let found = items(args, 0)?.iter().position(|item| *item == args[1]);
    found.map(|at| Value::Number(at as f64)).ok_or_else(|| "the list has no such element".to_owned())
}

fn slice(args: &[Value]) -> Answer {
    count(args, 3, 3)?;
    let items = items(args, 0)?;
    let bounds = usize::try_from(whole(args, 1)?).ok().zip(usize::try_from(whole(args, 2)?).ok());
    let part = bounds.and_then(|(start, end)| items.get(start..end));
    part.map(|part| Value::List(part.to_vec()))
        .ok_or_else(|| format!("the slice is not within the list's {} elements", items.len()))
}

fn chunks(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (items, size) = (items(args, 0)?, whole(args, 1)?);
    let size = usize::try_from(size).map_err(|_| "the size cannot be negative".to_owned())?;
    if size == 0 {
        return Ok(Value::List(vec![Value::List(items.to_vec())]));
    }
    Ok(Value::List(items.chunks(size).map(|chunk| Value::List(chunk.to_vec())).collect()))
}

fn range(args: &[Value]) -> Answer {
    count(args, 1, 3)?;
    let (start, end) =
        if args.len() == 1 { (0.0, number(args, 0)?) } else { (number(args, 0)?, number(args, 1)?) };
    let step = if args.len() == 3 { number(args, 2)? } else { (end - start).signum() };
    if step == 0.0 || (end - start) * step < 0.0 {
        return Err("the step does not lead from the start to the end".to_owned());
    }
    if (end - start) / step > LARGEST as f64 / 16.0 {
        return Err(format!("a range has at most {} elements", LARGEST / 16));
    }
    let mut numbers = Vec::new();
    let mut at = start;
    while (step > 0.0 && at < end) || (step < 0.0 && at > end) {
        numbers.push(Value::Number(at));
        let next = at + step;
        if next <= at && step > 0.0 || next >= at && step < 0.0 {
            return Err("the step is too small".to_owned());
        }
        at = next;
    }
    Ok(Value::List(numbers))
}

fn zip(args: &[Value]) -> Answer {
    count(args, 2, 2)?;
    let (keys, values) = (items(args, 0)?, items(args, 1)?);
    if keys.len() != values.len() {
        return Err(format!("{} keys for {} values", keys.len(), values.len()));
    }
    let pairs = keys.iter().zip(values).map(|(key, value)| {
        Ok((key.as_text().ok_or_else(|| "a key is a string".to_owned())?, value.clone()))
    });
    Ok(Value::Map(pairs.collect::<Result<_, String>>()?))
}

fn sets(args: &[Value], mut combine: impl FnMut(&mut Vec<Value>, &[Value])) -> Answer {
    count(args, 1, usize::MAX)?;
    if args.iter().filter_map(Value::as_items).any(|items| items.len() > 4096) {
        return Err("a set has at most 4096 elements here".to_owned());
    }
    let mut all = distinct(items(args, 0)?);
    for at in 1..args.len() {
        combine(&mut all, &distinct(items(args, at)?));
    }
    Ok(Value::set(all))
}

fn product(args: &[Value]) -> Answer {
    count(args, 2, usize::MAX)?;
    let mut rows: Vec<Vec<Value>> = vec![Vec::new()];
    for at in 0..args.len() {
        let items = items(args, at)?;
        if rows.len().saturating_mul(items.len()) > LARGEST / 64 {
            return Err("the product is too large".to_owned());
        }
        rows = rows
            .iter()
            .flat_map(|row| {
                items
                    .iter()
                    .map(move |item| row.iter().cloned().chain(std::iter::once(item.clone())).collect())
            })
            .collect();
    }
    let _ = nth(args, 0)?;
    Ok(Value::List(rows.into_iter().map(Value::List).collect()))
}
