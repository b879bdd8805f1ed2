//! Parses graphs.

use super::lex::{Spanned, Token, lex, shortened};
use crate::{
    diagnostic::SourceError,
    graph::{ConstId, Decl, Graph, InputId, Node, NodeId, Value},
    infer::{infer, well_formed},
    op::{Attr, Op, OpKind, Order},
    types::{Channels, Elem, F32, Scale, Type},
};
use std::{collections::HashMap, ops::Range};

/// Parses one graph. `file` names the text in errors. Every node's written type is checked against the inferred one.
///
/// # Errors
/// At the first place that does not fit the grammar, names something unknown, or has another type than is written.
pub fn parse(file: &str, source: &str) -> Result<Graph, Box<SourceError>> {
    let error = |(message, span): Failure| Box::new(SourceError::new(file, source, span, message));
    let tokens = lex(source).map_err(error)?;
    Parser { tokens, at: 0, values: HashMap::new() }.graph().map_err(error)
}

type Failure = (String, Range<usize>);
type Parsed<T> = Result<T, Failure>;

struct Parser<'a> {
    tokens: Vec<Spanned<'a>>,
    at: usize,
    /// What each `%name` and `@name` stands for, with its sigil.
    values: HashMap<(char, &'a str), Value>,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Token<'a> {
        self.tokens[self.at].0
    }

    fn span(&self) -> Range<usize> {
        self.tokens[self.at].1.clone()
    }

    fn advance(&mut self) -> Spanned<'a> {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn expected<T>(&self, what: &str) -> Parsed<T> {
        Err((format!("expected {what}, found {}", self.peek().describe()), self.span()))
    }

    /// Takes the token if it is this one.
    fn eat(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    fn sign(&mut self, sign: char) -> Parsed<()> {
        if self.eat(Token::Sign(sign)) { Ok(()) } else { self.expected(&format!("`{sign}`")) }
    }

    fn word(&mut self, what: &str) -> Parsed<&'a str> {
        let Token::Word(word) = self.peek() else { return self.expected(what) };
        self.advance();
        Ok(word)
    }

    fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        if self.eat(Token::Word(keyword)) { Ok(()) } else { self.expected(&format!("`{keyword}`")) }
    }

    fn at_name(&mut self) -> Parsed<&'a str> {
        let Token::At(name) = self.peek() else { return self.expected("`@name`") };
        self.advance();
        Ok(name)
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Parsed<T> {
        if let Token::Number(text) = self.peek()
            && let Ok(value) = text.parse()
        {
            self.advance();
            return Ok(value);
        }
        self.expected(what)
    }

    fn float(&mut self) -> Parsed<F32> {
        let span = self.span();
        let value: f32 = self.number("a float")?;
        if value.is_finite() { Ok(F32::new(value)) } else { Err((format!("{value} is not finite"), span)) }
    }

    fn graph(mut self) -> Parsed<Graph> {
        self.keyword("graph")?;
        let name = self.at_name()?;
        self.sign('(')?;
        let mut graph = Graph::new(name, Vec::new());
        while let Token::Percent(name) = self.peek() {
            let span = self.advance().1;
            self.sign(':')?;
            let ty = self.ty()?;
            self.define(('%', name), Value::Input(InputId(graph.inputs.len() as u32)), span)?;
            graph.inputs.push(Decl { name: name.into(), ty });
            if !self.eat(Token::Sign(',')) {
                break;
            }
        }
        self.sign(')')?;
        if !self.eat(Token::Arrow) {
            return self.expected("`->`");
        }
        let result_span = self.span();
        let result = self.ty()?;
        self.sign('{')?;
        while self.eat(Token::Word("const")) {
            let span = self.span();
            let name = self.at_name()?;
            self.sign(':')?;
            let ty = self.ty()?;
            self.define(('@', name), Value::Const(ConstId(graph.consts.len() as u32)), span)?;
            graph.consts.push(Decl { name: name.into(), ty });
        }
        while let Token::Percent(name) = self.peek() {
            let span = self.advance().1;
            let node = self.node(&graph)?;
            self.define(('%', name), Value::Node(NodeId(graph.nodes.len() as u32)), span)?;
            graph.nodes.push(node);
        }
        self.keyword("return")?;
        graph.output = self.value()?;
        if *graph.ty(graph.output) != result {
            let found = graph.ty(graph.output);
            return Err((format!("the graph returns {found}, not {result}"), result_span));
        }
        self.sign('}')?;
        if self.peek() == Token::End { Ok(graph) } else { self.expected("the end of the text") }
    }

    fn define(&mut self, name: (char, &'a str), value: Value, span: Range<usize>) -> Parsed<()> {
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err((format!("{}{} is defined twice", name.0, shortened(name.1)), span)),
        }
    }

    fn node(&mut self, graph: &Graph) -> Parsed<Node> {
        self.sign('=')?;
        let op_span = self.span();
        let name = self.word("an op")?;
        let Some(kind) = OpKind::from_name(name) else {
            return Err((format!("unknown op `{}`", shortened(name)), op_span));
        };
        let mut operands = Vec::new();
        if matches!(self.peek(), Token::Percent(_) | Token::At(_)) {
            operands.push(self.value()?);
            while self.eat(Token::Sign(',')) {
                operands.push(self.value()?);
            }
        }
        let op = self.attrs(kind)?;
        self.sign(':')?;
        let ty_span = self.span();
        let ty = self.ty()?;
        let types: Vec<&Type> = operands.iter().map(|&v| graph.ty(v)).collect();
        let inferred = infer(&op, &types).map_err(|e| (e.to_string(), op_span))?;
        if inferred != ty {
            return Err((format!("{kind} gives {inferred} here, not {ty}"), ty_span));
        }
        let mut locs = Vec::new();
        if self.eat(Token::Word("loc")) {
            loop {
                let Token::Text(text) = self.peek() else { return self.expected("a string") };
                self.advance();
                locs.push(text.into());
                if !self.eat(Token::Sign(',')) {
                    break;
                }
            }
        }
        Ok(Node { op, operands, ty, locs })
    }

    fn attrs(&mut self, kind: OpKind) -> Parsed<Op> {
        let open = self.span();
        let mut attrs: Vec<(&str, Attr)> = Vec::new();
        if self.eat(Token::Sign('{')) {
            loop {
                let span = self.span();
                let name = self.word("an attribute")?;
                if !kind.attr_names().contains(&name) || attrs.iter().any(|a| a.0 == name) {
                    let known = kind.attr_names().join(", ");
                    let known = if known.is_empty() { "none".into() } else { known };
                    return Err((format!("`{}`: {kind} takes once each: {known}", shortened(name)), span));
                }
                self.sign('=')?;
                attrs.push((name, self.attr()?));
                if !self.eat(Token::Sign(',')) {
                    break;
                }
            }
            self.sign('}')?;
        }
        let mut values = Vec::new();
        for name in kind.attr_names() {
            let Some(attr) = attrs.iter().find(|a| a.0 == *name) else {
                return Err((format!("{kind} needs the attribute `{name}`"), open));
            };
            values.push(attr.1.clone());
        }
        Op::from_attrs(kind, &values).map_err(|message| (message, open))
    }

    fn attr(&mut self) -> Parsed<Attr> {
        if self.eat(Token::Sign('[')) {
            let mut values = Vec::new();
            while let Token::Number(_) = self.peek() {
                values.push(self.float()?);
                if !self.eat(Token::Sign(',')) {
                    break;
                }
            }
            self.sign(']')?;
            return Ok(Attr::F32s(values));
        }
        if let Token::Number(text) = self.peek() {
            return match text.parse() {
                Ok(value) => {
                    self.advance();
                    Ok(Attr::Int(value))
                }
                Err(_) => self.float().map(Attr::F32),
            };
        }
        let span = self.span();
        let word = self.word("a number, a list or a name")?;
        (Elem::from_name(word).map(Attr::Elem))
            .or_else(|| Order::from_name(word).map(Attr::Order))
            .ok_or_else(|| (format!("unknown attribute value `{}`", shortened(word)), span))
    }

    fn value(&mut self) -> Parsed<Value> {
        let key = match self.peek() {
            Token::Percent(name) => ('%', name),
            Token::At(name) => ('@', name),
            _ => return self.expected("a value"),
        };
        let span = self.advance().1;
        let found = self.values.get(&key).copied();
        found.ok_or_else(|| (format!("{}{} is not defined before its use", key.0, shortened(key.1)), span))
    }

    fn ty(&mut self) -> Parsed<Type> {
        let span = self.span();
        let word = self.word("a type")?;
        let Some(elem) = Elem::from_name(word) else {
            return Err((format!("unknown element type `{}`", shortened(word)), span));
        };
        let scale = if self.peek() == Token::Sign('<') && elem.is_int() { self.scale()? } else { Scale::UNIT };
        self.sign('[')?;
        let mut shape = Vec::new();
        while let Token::Number(_) = self.peek() {
            shape.push(self.number("an extent")?);
            if !self.eat(Token::Sign(',')) {
                break;
            }
        }
        self.sign(']')?;
        let ty = Type { shape, elem, scale };
        well_formed(&ty).map_err(|message| (message, span))?;
        Ok(ty)
    }

    fn scale(&mut self) -> Parsed<Scale> {
        self.sign('<')?;
        let mut scale = Scale::UNIT;
        let mut channels = true;
        if let Token::Number(_) = self.peek() {
            scale.factor = self.float()?;
            channels = self.eat(Token::Sign('*'));
        }
        if channels {
            let name = self.at_name()?.into();
            self.sign(':')?;
            scale.channels = Some(Channels { name, axis: self.number("an axis")? });
        }
        self.sign('>')?;
        Ok(scale)
    }
}
