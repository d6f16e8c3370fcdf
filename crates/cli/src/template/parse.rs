//! The text of a Go template to a tree (Go's `text/template`): texts, values, pipes, `if`, `range`, `with`, variables.

/// A part of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// Text as it is.
    Text(String),
    /// A value that is written.
    Value(Pipe),
    /// `$name := pipe` or `$name = pipe`.
    Set(String, Pipe),
    /// Branches with their conditions, and what is else.
    If(Vec<(Pipe, Vec<Node>)>, Vec<Node>),
    /// For each member: the names of index and member, what of, the body, and the body when there is none.
    Range(Vec<String>, Pipe, Vec<Node>, Vec<Node>),
    /// With a value as the dot.
    With(Pipe, Vec<Node>, Vec<Node>),
}

/// Commands, each but the first with the last one's value as its last argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pipe(pub Vec<Vec<Operand>>);

/// A word of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// `.A.B`: what is below the dot; nothing is the dot itself.
    Field(Vec<String>),
    /// `$name.A`: what is below a variable, `$` being the whole.
    Variable(String, Vec<String>),
    /// A function's name.
    Function(String),
    /// A text.
    Text(String),
    /// A whole number.
    Number(i64),
    /// `true`, `false`.
    Truth(bool),
    /// `nil`.
    Nil,
    /// A pipe in parentheses, and what is below its value.
    Inner(Pipe, Vec<String>),
}

/// How deep blocks and parentheses may lie in one another.
const DEEPEST: usize = 32;

/// Reads a template.
pub fn parse(text: &str) -> Result<Vec<Node>, String> {
    let pieces = pieces(text)?;
    let mut reader = Reader { pieces: &pieces, next: 0, depth: 0 };
    let nodes = reader.block()?;
    match reader.pieces.get(reader.next) {
        None => Ok(nodes),
        Some(Piece::Action(action)) => Err(format!("`{{{{{action}}}}}` has no beginning")),
        Some(Piece::Text(_)) => unreachable!("a block takes all texts"),
    }
}

enum Piece {
    Text(String),
    Action(String),
}

fn pieces(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims = false;
    while let Some(start) = rest.find("{{") {
        let inside = &rest[start + 2..];
        let end =
            closing(inside).ok_or_else(|| format!("`{text}` is no template: a `{{{{` is not closed"))?;
        let mut action = &inside[..end];
        let before = &rest[..start];
        let left = action.starts_with("- ");
        let before = if trims { before.trim_start() } else { before };
        let before = if left { before.trim_end() } else { before };
        trims = action.ends_with(" -");
        action = action.strip_prefix("- ").unwrap_or(action);
        action = action.strip_suffix(" -").unwrap_or(action);
        if !before.is_empty() {
            pieces.push(Piece::Text(unescape(before)));
        }
        let action = action.trim();
        if !(action.starts_with("/*") && action.ends_with("*/")) {
            pieces.push(Piece::Action(action.to_owned()));
        }
        rest = &inside[end + 2..];
    }
    let rest = if trims { rest.trim_start() } else { rest };
    if !rest.is_empty() {
        pieces.push(Piece::Text(unescape(rest)));
    }
    Ok(pieces)
}

/// Returns where an action ends; braces in its texts do not end it.
fn closing(text: &str) -> Option<usize> {
    let mut quote = None;
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, mark @ (b'"' | b'`')) => quote = Some(mark),
            (Some(b'"'), b'\\') => at += 1,
            (Some(mark), byte) if mark == byte => quote = None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn unescape(text: &str) -> String {
    text.replace("\\t", "\t").replace("\\n", "\n")
}

struct Reader<'a> {
    pieces: &'a [Piece],
    next: usize,
    depth: usize,
}

impl Reader<'_> {
    /// Reads up to an `end` or `else`, which is left.
    fn block(&mut self) -> Result<Vec<Node>, String> {
        self.depth += 1;
        if self.depth > DEEPEST {
            return Err("the template's blocks lie too deep in one another".to_owned());
        }
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get(self.next) {
            let action = match piece {
                Piece::Text(text) => {
                    nodes.push(Node::Text(text.clone()));
                    self.next += 1;
                    continue;
                }
                Piece::Action(action) => action.as_str(),
            };
            let (word, rest) = action.split_once(char::is_whitespace).unwrap_or((action, ""));
            if matches!(word, "end" | "else") {
                break;
            }
            self.next += 1;
            nodes.push(match word {
                "if" => self.condition(rest)?,
                "range" => {
                    let (names, pipe) = declared(rest)?;
                    let (body, otherwise) = self.bodies()?;
                    Node::Range(names, pipe, body, otherwise)
                }
                "with" => {
                    let (names, pipe) = declared(rest)?;
                    let (mut body, otherwise) = self.bodies()?;
                    if let Some(name) = names.first() {
                        let dot = Pipe(vec![vec![Operand::Field(Vec::new())]]);
                        body.insert(0, Node::Set(name.clone(), dot));
                    }
                    Node::With(pipe, body, otherwise)
                }
                "define" | "template" | "block" | "break" | "continue" => {
                    return Err(format!("`{{{{{word}}}}}` is more of Go's templates than is read here"));
                }
                _ => match declared(action)? {
                    (names, pipe) if names.is_empty() => Node::Value(pipe),
                    (mut names, pipe) => Node::Set(names.remove(0), pipe),
                },
            });
        }
        self.depth -= 1;
        Ok(nodes)
    }

    fn condition(&mut self, first: &str) -> Result<Node, String> {
        let mut branches = vec![(pipe(first)?, self.block()?)];
        loop {
            let action = self.closer()?;
            let Some(rest) = action.strip_prefix("else") else { return Ok(Node::If(branches, Vec::new())) };
            if let Some(condition) = rest.trim().strip_prefix("if ") {
                branches.push((pipe(condition)?, self.block()?));
                continue;
            }
            let otherwise = self.block()?;
            return match self.closer()?.as_str() {
                "end" => Ok(Node::If(branches, otherwise)),
                other => Err(format!("`{{{{{other}}}}}` comes after the last branch")),
            };
        }
    }

    fn bodies(&mut self) -> Result<(Vec<Node>, Vec<Node>), String> {
        let body = self.block()?;
        if self.closer()? == "end" {
            return Ok((body, Vec::new()));
        }
        let otherwise = self.block()?;
        self.closer()?;
        Ok((body, otherwise))
    }

    /// Takes the `end` or `else` that a block stopped at.
    fn closer(&mut self) -> Result<String, String> {
        match self.pieces.get(self.next) {
            Some(Piece::Action(action)) => {
                self.next += 1;
                Ok(action.clone())
            }
            _ => Err("a block of the template has no `{{end}}`".to_owned()),
        }
    }
}

/// Reads `$a, $b := pipe`, `$a = pipe` or a pipe alone.
fn declared(text: &str) -> Result<(Vec<String>, Pipe), String> {
    let split = text.split_once(":=").or_else(|| text.split_once(" = "));
    match split {
        Some((names, value)) if names.trim_start().starts_with('$') && !names.contains('"') => {
            let name = |name: &str| name.trim().strip_prefix('$').unwrap_or_default().to_owned();
            Ok((names.split(',').map(name).collect(), pipe(value)?))
        }
        _ => Ok((Vec::new(), pipe(text)?)),
    }
}

fn pipe(text: &str) -> Result<Pipe, String> {
    let words = words(text)?;
    let mut reader = Words { all: &words, next: 0, depth: 0, text };
    let pipe = reader.pipe()?;
    if reader.next < words.len() {
        return Err(format!("`{{{{{text}}}}}` cannot be read"));
    }
    Ok(pipe)
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Word {
    Open,
    Close,
    Bar,
    Text(String),
    Plain(String),
}

fn words(text: &str) -> Result<Vec<Word>, String> {
    let mut words = Vec::new();
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' => words.push(Word::Open),
            ')' => words.push(Word::Close),
            '|' => words.push(Word::Bar),
            '"' | '`' => {
                let mut literal = String::new();
                loop {
                    match characters.next() {
                        None => return Err(format!("`{{{{{text}}}}}` has a text without end")),
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match characters.next() {
                            Some('n') => literal.push('\n'),
                            Some('t') => literal.push('\t'),
                            Some(other) => literal.push(other),
                            None => {}
                        },
                        Some(other) => literal.push(other),
                    }
                }
                words.push(Word::Text(literal));
            }
            c => {
                let mut plain = c.to_string();
                while let Some(next) = characters.peek()
                    && !next.is_whitespace()
                    && !matches!(next, '(' | ')' | '|' | '"' | '`')
                {
                    plain.push(*next);
                    characters.next();
                }
                words.push(Word::Plain(plain));
            }
        }
    }
    Ok(words)
}

struct Words<'a> {
    all: &'a [Word],
    next: usize,
    depth: usize,
    text: &'a str,
}

impl Words<'_> {
    fn pipe(&mut self) -> Result<Pipe, String> {
        let refused = |text: &str| format!("`{{{{{text}}}}}` cannot be read");
        let mut commands = vec![Vec::new()];
        while let Some(word) = self.all.get(self.next) {
            let last = commands.last_mut().expect("there is one from the beginning");
            match word {
                Word::Close => break,
                Word::Bar => commands.push(Vec::new()),
                Word::Open => {
                    self.next += 1;
                    self.depth += 1;
                    if self.depth > DEEPEST {
                        return Err(refused(self.text));
                    }
                    let inner = self.pipe()?;
                    if self.all.get(self.next) != Some(&Word::Close) {
                        return Err(refused(self.text));
                    }
                    let below = match self.all.get(self.next + 1) {
                        Some(Word::Plain(plain)) if plain.starts_with('.') => {
                            self.next += 1;
                            fields(plain).ok_or_else(|| refused(self.text))?
                        }
                        _ => Vec::new(),
                    };
                    self.depth -= 1;
                    last.push(Operand::Inner(inner, below));
                }
                Word::Text(text) => last.push(Operand::Text(text.clone())),
                Word::Plain(plain) => last.push(operand(plain).ok_or_else(|| refused(self.text))?),
            }
            self.next += 1;
        }
        if commands.iter().any(Vec::is_empty) {
            return Err(refused(self.text));
        }
        Ok(Pipe(commands))
    }
}

fn operand(plain: &str) -> Option<Operand> {
    if let Some(rest) = plain.strip_prefix('$') {
        let (name, below) = rest.find('.').map_or((rest, ""), |dot| rest.split_at(dot));
        return Some(Operand::Variable(name.to_owned(), fields(below)?));
    }
    if plain.starts_with('.') {
        return Some(Operand::Field(fields(plain)?));
    }
    match plain {
        "true" => return Some(Operand::Truth(true)),
        "false" => return Some(Operand::Truth(false)),
        "nil" => return Some(Operand::Nil),
        _ => {}
    }
    if let Ok(number) = plain.parse() {
        return Some(Operand::Number(number));
    }
    plain.chars().all(|c| c.is_ascii_alphabetic()).then(|| Operand::Function(plain.to_owned()))
}

/// Reads `.A.B`; the dot alone is nothing below it.
fn fields(text: &str) -> Option<Vec<String>> {
    if matches!(text, "" | ".") {
        return Some(Vec::new());
    }
    let parts = text.strip_prefix('.')?.split('.');
    let legal = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
    parts.map(|part| legal(part).then(|| part.to_owned())).collect()
}
