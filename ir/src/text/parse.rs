//! Parses graphs: text → statements, each with its places, then names → values.
//!
//! The parser checks syntax and names. Whether the graph makes sense is the verifier's to say: [`super::read`] asks both.

use super::{
    lex::{Lexer, Spanned, Token, shortened},
    spans::{DeclSpans, NodeSpans, SourceMap},
};
use crate::{
    diagnostic::{Code, Source, SourceError, SourceErrors, Span, did_you_mean},
    graph::{ConstId, Decl, Graph, InputId, Node, NodeId, Value},
    op::{Attr, AttrError, Op, OpKind, Order},
    types::{Channels, Elem, F32, Scale, Type},
};
use std::{collections::HashMap, sync::Arc};

/// Parses one graph. Also gives the places of everything in it.
///
/// # Errors
/// Everything that does not fit the grammar or names something unknown. After an error the next line is tried.
pub fn parse(source: &Arc<Source>) -> Result<(Graph, SourceMap), SourceErrors> {
    let mut lexer = Lexer::new(source.text());
    let next = lexer.advance();
    let mut parser = Parser { source, lexer, next, errors: Vec::new(), broke_off: false };
    let syntax = parser.file();
    // Without its header a text has no inputs, and every use of one would be an error.
    let resolved = if syntax.result.is_some() { syntax.resolve(source, &mut parser.errors) } else { None };
    match resolved {
        Some(parsed) if parser.errors.is_empty() => Ok(parsed),
        _ => Err(SourceErrors::new(source, parser.errors)),
    }
}

/// A failure that was reported: the caller goes on elsewhere.
struct Reported;

type Parsed<T> = Result<T, Reported>;

/// `%name` or `@name`: its sigil, name and place.
#[derive(Clone, Copy)]
struct Name<'a> {
    sigil: char,
    name: &'a str,
    span: Span,
}

struct NodeSyntax<'a> {
    name: Name<'a>,
    op: Op,
    operands: Vec<Name<'a>>,
    ty: Type,
    locs: Vec<Arc<str>>,
    approximates: Option<OpKind>,
    spans: NodeSpans,
}

/// A graph whose names are not resolved.
#[derive(Default)]
struct Syntax<'a> {
    name: &'a str,
    header: Span,
    inputs: Vec<(Name<'a>, Type, Span)>,
    result: Option<(Type, Span)>,
    consts: Vec<(Name<'a>, Type, Span)>,
    nodes: Vec<NodeSyntax<'a>>,
    output: Option<Name<'a>>,
    /// What lines with errors define: uses of it are not errors.
    broken: Vec<Name<'a>>,
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    lexer: Lexer<'a>,
    next: Spanned<'a>,
    errors: Vec<SourceError>,
    /// Whether it was said that the text ends too early.
    broke_off: bool,
}

impl<'a> Parser<'a> {
    fn advance(&mut self) -> Spanned<'a> {
        std::mem::replace(&mut self.next, self.lexer.advance())
    }

    fn peek(&self) -> Token<'a> {
        self.next.token
    }

    fn report(&mut self, error: SourceError) -> Reported {
        self.errors.push(error);
        Reported
    }

    fn error(&mut self, code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Reported {
        self.report(SourceError::new(self.source, code, span, message, label))
    }

    /// Reports that something else was expected than what comes next.
    fn expected<T>(&mut self, what: &str) -> Parsed<T> {
        self.broke_off |= self.peek() == Token::End;
        let found = self.peek().describe();
        let (code, message, label) = match self.peek() {
            Token::Bad(Code::UnterminatedString, _) => {
                (Code::UnterminatedString, "this string has no end".to_owned(), "starts here".to_owned())
            }
            Token::Bad(code, c @ ('%' | '@')) => (code, format!("a name must follow `{c}`"), "no name".to_owned()),
            Token::Bad(code, _) => (code, format!("unexpected character {found}"), format!("expected {what}")),
            _ => (Code::UnexpectedToken, format!("expected {what}, found {found}"), format!("expected {what}")),
        };
        Err(self.error(code, self.next.span, message, label))
    }

    /// Takes the token if it is this one.
    fn eat(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == token;
        if found {
            self.advance();
        }
        found
    }

    fn sign(&mut self, sign: char) -> Parsed<Span> {
        let span = self.next.span;
        if self.eat(Token::Sign(sign)) { Ok(span) } else { self.expected(&format!("`{sign}`")) }
    }

    fn word(&mut self, what: &str) -> Parsed<(&'a str, Span)> {
        let Token::Word(word) = self.peek() else { return self.expected(what) };
        Ok((word, self.advance().span))
    }

    fn keyword(&mut self, keyword: &str) -> Parsed<()> {
        if self.eat(Token::Word(keyword)) { Ok(()) } else { self.expected(&format!("`{keyword}`")) }
    }

    fn at_name(&mut self) -> Parsed<Name<'a>> {
        let Token::At(name) = self.peek() else { return self.expected("`@name`") };
        Ok(Name { sigil: '@', name, span: self.advance().span })
    }

    fn value(&mut self) -> Parsed<Name<'a>> {
        match self.peek() {
            Token::Percent(name) => Ok(Name { sigil: '%', name, span: self.advance().span }),
            Token::At(_) => self.at_name(),
            _ => self.expected("a value, `%name` or `@name`"),
        }
    }

    fn number<T: std::str::FromStr>(&mut self, what: &str) -> Parsed<T> {
        let Token::Number(text) = self.peek() else { return self.expected(what) };
        let span = self.advance().span;
        let unreadable = |_| self.error(Code::BadNumber, span, format!("`{}` is not {what}", shortened(text)), "this");
        text.parse().map_err(unreadable)
    }

    fn float(&mut self) -> Parsed<F32> {
        let span = self.next.span;
        let value: f32 = self.number("a float")?;
        if value.is_finite() {
            return Ok(F32::new(value));
        }
        Err(self.error(Code::BadNumber, span, "a float must be finite and fit in 32 bits", "this is not"))
    }

    /// Items with commas between them, perhaps none, up to a closing sign; gives its place.
    fn list(&mut self, close: char, mut item: impl FnMut(&mut Self) -> Parsed<()>) -> Parsed<Span> {
        let end = self.next.span;
        if self.eat(Token::Sign(close)) {
            return Ok(end);
        }
        item(self)?;
        while self.eat(Token::Sign(',')) {
            item(self)?;
        }
        self.sign(close)
    }

    /// Skips to the first token of a later line.
    fn next_line(&mut self) {
        while !self.next.first_on_line && self.peek() != Token::End {
            self.advance();
        }
        // What was skipped may be all that is missing.
        self.broke_off |= self.peek() == Token::End;
    }

    fn file(&mut self) -> Syntax<'a> {
        let mut syntax = Syntax::default();
        // A text that does not start like a graph is none, and more need not be said.
        if self.keyword("graph").is_err() {
            return syntax;
        }
        if self.header(&mut syntax).is_err() {
            self.next_line();
        }
        while self.peek() != Token::End {
            // Enough is reported of this text.
            if self.errors.len() > SourceErrors::MOST {
                return syntax;
            }
            // A broken line must not be tried again.
            let start = self.next.span.start;
            match self.statement(&mut syntax) {
                Ok(true) => {
                    if self.peek() != Token::End {
                        let _ = self.expected::<()>("the end of the text: a file holds one graph");
                    }
                    return syntax;
                }
                Ok(false) => {}
                Err(Reported) => {
                    if self.next.span.start == start {
                        self.advance();
                    }
                    self.next_line();
                }
            }
        }
        // Where the text broke off in a line, that was said.
        if !self.broke_off {
            let _ = self.expected::<()>(if syntax.output.is_none() { "`return`" } else { "`}`" });
        }
        syntax
    }

    /// What follows the keyword: `@name(%input: type, …) -> type {`
    fn header(&mut self, syntax: &mut Syntax<'a>) -> Parsed<()> {
        let name = self.at_name()?;
        (syntax.name, syntax.header) = (name.name, name.span);
        self.sign('(')?;
        self.list(')', |parser| {
            let Token::Percent(name) = parser.peek() else { return parser.expected("an input, `%name: type`") };
            let name = Name { sigil: '%', name, span: parser.advance().span };
            parser.sign(':')?;
            let (ty, span) = parser.ty()?;
            syntax.inputs.push((name, ty, span));
            Ok(())
        })?;
        if !self.eat(Token::Arrow) {
            return self.expected("`->`");
        }
        syntax.result = Some(self.ty()?);
        self.sign('{').map(|_| ())
    }

    /// A line of the body; whether it was the closing brace.
    fn statement(&mut self, syntax: &mut Syntax<'a>) -> Parsed<bool> {
        match self.peek() {
            Token::Word("const") if syntax.output.is_none() => {
                self.advance();
                let name = self.at_name()?;
                match self.sign(':').and_then(|_| self.ty()) {
                    Ok((ty, span)) => syntax.consts.push((name, ty, span)),
                    Err(Reported) => {
                        syntax.broken.push(name);
                        return Err(Reported);
                    }
                }
            }
            Token::Percent(name) if syntax.output.is_none() => {
                let name = Name { sigil: '%', name, span: self.advance().span };
                match self.node(name) {
                    Ok(node) => syntax.nodes.push(node),
                    Err(Reported) => {
                        syntax.broken.push(name);
                        return Err(Reported);
                    }
                }
            }
            Token::Word("return") if syntax.output.is_none() => {
                self.advance();
                syntax.output = Some(self.value()?);
            }
            Token::Sign('}') if syntax.output.is_some() => {
                self.advance();
                return Ok(true);
            }
            _ if syntax.output.is_some() => return self.expected("`}`"),
            _ => return self.expected("`const`, a node or `return`"),
        }
        Ok(false)
    }

    /// What follows a node's name.
    fn node(&mut self, name: Name<'a>) -> Parsed<NodeSyntax<'a>> {
        self.sign('=')?;
        let (kind, op_span) = self.op_kind()?;
        let mut operands = Vec::new();
        if matches!(self.peek(), Token::Percent(_) | Token::At(_)) {
            operands.push(self.value()?);
            while self.eat(Token::Sign(',')) {
                operands.push(self.value()?);
            }
        }
        let op = self.attrs(kind, op_span)?;
        self.sign(':')?;
        let (ty, ty_span) = self.ty()?;
        let (mut approximates, mut end) = (None, ty_span);
        if self.eat(Token::Word("approximates")) {
            let (kind, span) = self.op_kind()?;
            (approximates, end) = (Some(kind), span);
        }
        let (mut locs, mut loc_spans) = (Vec::new(), Vec::new());
        if self.eat(Token::Word("loc")) {
            loop {
                let Token::Text(text) = self.peek() else { return self.expected("a string") };
                loc_spans.push(self.advance().span);
                locs.push(text.into());
                if !self.eat(Token::Sign(',')) {
                    break;
                }
            }
        }
        let spans = NodeSpans {
            node: name.span.to(loc_spans.last().copied().unwrap_or(end)),
            op: op_span,
            operands: operands.iter().map(|o| o.span).collect(),
            ty: ty_span,
            locs: loc_spans,
        };
        Ok(NodeSyntax { name, op, operands, ty, locs, approximates, spans })
    }

    fn op_kind(&mut self) -> Parsed<(OpKind, Span)> {
        let (name, span) = self.word("an op")?;
        if let Some(kind) = OpKind::from_name(name) {
            return Ok((kind, span));
        }
        let help = did_you_mean(name, OpKind::ALL.iter().map(|k| k.name()));
        let message = format!("unknown op `{}`", shortened(name));
        let error = SourceError::new(self.source, Code::UnknownOp, span, message, "no such op");
        Err(self.report(error.with_help(help)))
    }

    fn attrs(&mut self, kind: OpKind, op_span: Span) -> Parsed<Op> {
        let mut given: Vec<Option<(Attr, Span)>> = vec![None; kind.attr_names().len()];
        if self.eat(Token::Sign('{')) {
            loop {
                let (name, span) = self.word("an attribute")?;
                let index = kind.attr_names().iter().position(|n| *n == name);
                let Some(index) = index.filter(|&i| given[i].is_none()) else {
                    let (message, label) = match index {
                        Some(_) => (format!("attribute `{name}` is given twice"), "again"),
                        None => (format!("{kind} has no attribute `{}`", shortened(name)), "not of this op"),
                    };
                    let help = match kind.attr_names() {
                        [] => format!("{kind} takes no attributes"),
                        names => format!("{kind} takes once each: {}", names.join(", ")),
                    };
                    let error = SourceError::new(self.source, Code::UnknownAttribute, span, message, label);
                    return Err(self.report(error.with_help(Some(help))));
                };
                self.sign('=')?;
                let start = self.next.span;
                let attr = self.attr()?;
                given[index] = Some((attr, start));
                if !self.eat(Token::Sign(',')) {
                    break;
                }
            }
            self.sign('}')?;
        }
        if let Some(i) = given.iter().position(Option::is_none) {
            let message = format!("{kind} needs the attribute `{}`", kind.attr_names()[i]);
            let label = format!("needs `{} = …`, {}", kind.attr_names()[i], kind.attr_kinds()[i]);
            return Err(self.error(Code::MissingAttribute, op_span, message, label));
        }
        let (values, spans): (Vec<Attr>, Vec<Span>) = given.into_iter().flatten().unzip();
        Op::from_attrs(kind, &values).map_err(|error| match error {
            AttrError::Kind { index, wanted, .. } => {
                self.error(Code::AttributeKind, spans[index], error.to_string(), format!("must be {wanted}"))
            }
            AttrError::Count { .. } => unreachable!("none is missing"),
        })
    }

    fn attr(&mut self) -> Parsed<Attr> {
        if self.eat(Token::Sign('[')) {
            let (mut floats, mut ints) = (Vec::new(), Vec::new());
            self.list(']', |parser| {
                if let Token::Number(text) = parser.peek() {
                    ints.extend(text.parse::<i64>());
                }
                parser.float().map(|value| floats.push(value))
            })?;
            let whole = ints.len() == floats.len() && !ints.is_empty();
            return Ok(if whole { Attr::Ints(ints) } else { Attr::F32s(floats) });
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
        let (word, span) = self.word("a number, a list or a name")?;
        let named = Elem::from_name(word).map(Attr::Elem).or_else(|| Order::from_name(word).map(Attr::Order));
        let Some(attr) = named else {
            let message = format!("unknown attribute value `{}`", shortened(word));
            return Err(self.error(Code::AttributeKind, span, message, "neither an element type nor an order"));
        };
        Ok(attr)
    }

    /// A type and its place.
    fn ty(&mut self) -> Parsed<(Type, Span)> {
        let (word, start) = self.word("a type")?;
        let Some(elem) = Elem::from_name(word) else {
            let help = format!("element types are {}", Elem::ALL.map(Elem::name).join(", "));
            let message = format!("unknown element type `{}`", shortened(word));
            let error = SourceError::new(self.source, Code::UnknownElement, start, message, "no element type");
            return Err(self.report(error.with_help(Some(help))));
        };
        let scale = if self.peek() == Token::Sign('<') { self.scale()? } else { Scale::UNIT };
        self.sign('[')?;
        let mut shape = Vec::new();
        let end = self.list(']', |parser| parser.number("an extent").map(|extent| shape.push(extent)))?;
        Ok((Type { shape, elem, scale }, start.to(end)))
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
            let name = self.at_name()?.name.into();
            self.sign(':')?;
            scale.channels = Some(Channels { name, axis: self.number("an axis")? });
        }
        self.sign('>')?;
        Ok(scale)
    }
}

impl<'a> Syntax<'a> {
    /// The graph, its names resolved; `None` when an error was added.
    fn resolve(self, source: &Arc<Source>, errors: &mut Vec<SourceError>) -> Option<(Graph, SourceMap)> {
        let mut values: HashMap<(char, &'a str), (Option<Value>, Span)> = HashMap::new();
        let mut define = |name: Name<'a>, value: Option<Value>| {
            if let Some((_, first)) = values.insert((name.sigil, name.name), (value, name.span)) {
                let message = format!("{}{} is defined twice", name.sigil, shortened(name.name));
                let error = SourceError::new(source, Code::DuplicateName, name.span, message, "defined again");
                errors.push(error.with_label(first, "defined here"));
            }
        };
        for (i, input) in self.inputs.iter().enumerate() {
            define(input.0, Some(Value::Input(InputId(i as u32))));
        }
        for (i, constant) in self.consts.iter().enumerate() {
            define(constant.0, Some(Value::Const(ConstId(i as u32))));
        }
        for (i, node) in self.nodes.iter().enumerate() {
            define(node.name, Some(Value::Node(NodeId(i as u32))));
        }
        for name in self.broken {
            define(name, None);
        }
        let mut find = |name: Name<'a>| match values.get(&(name.sigil, name.name)) {
            Some((value, _)) => *value,
            // Enough is reported of this text, and looking for what was meant takes time.
            None if errors.len() > SourceErrors::MOST => None,
            None => {
                let known = values.keys().filter(|k| k.0 == name.sigil && k.1.parse::<u64>().is_err()).map(|k| k.1);
                let message = format!("{}{} is not defined", name.sigil, shortened(name.name));
                let error = SourceError::new(source, Code::UndefinedName, name.span, message, "not defined");
                errors.push(error.with_help(did_you_mean(name.name, known)));
                None
            }
        };
        let (mut nodes, mut node_spans) = (Vec::with_capacity(self.nodes.len()), Vec::with_capacity(self.nodes.len()));
        for node in self.nodes {
            let operands = node.operands.into_iter().filter_map(&mut find).collect();
            let NodeSyntax { op, ty, locs, approximates, .. } = node;
            nodes.push(Node { op, operands, ty, locs, approximates });
            node_spans.push(node.spans);
        }
        let output_name = self.output?;
        let output = find(output_name)?;
        if !errors.is_empty() {
            return None;
        }
        let decls = |decls: Vec<(Name<'a>, Type, Span)>| -> (Vec<Decl>, Vec<DeclSpans>) {
            (decls.into_iter())
                .map(|(name, ty, span)| (Decl { name: name.name.into(), ty }, DeclSpans { name: name.span, ty: span }))
                .unzip()
        };
        let (inputs, input_spans) = decls(self.inputs);
        let (consts, const_spans) = decls(self.consts);
        let graph = Graph { name: self.name.into(), inputs, consts, nodes, output };
        let (result, result_span) = self.result?;
        if *graph.ty(output) != result {
            let message = format!("the graph returns {}, not {result}", graph.ty(output));
            let error = SourceError::new(source, Code::ResultType, result_span, message, "declared here");
            errors.push(error.with_label(output_name.span, "returned here"));
        }
        let map = SourceMap {
            source: source.clone(),
            header: self.header,
            inputs: input_spans,
            consts: const_spans,
            nodes: node_spans,
            output: output_name.span,
        };
        Some((graph, map))
    }
}
