//! From the text of a rule to statements.

use std::net::{IpAddr, Ipv6Addr};

use super::{
    expr::{NatKind, Op, Verdict},
    field::Key,
    kind::{Form, Kind, parse_number},
    names,
    statement::{Bounds, Element, Item, NAT_FLAGS, Reject, Right, Set, Statement, Value},
    tokens::tokens,
};

/// A rule: what it does, and its comment.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) statements: Vec<Statement>,
    pub(crate) comment: Option<String>,
}

/// Reads a rule, as `nft` would print it. An error says what was expected.
pub(crate) fn rule(text: &str) -> Result<Parsed, String> {
    let tokens = tokens(text).ok_or("a quote has no end")?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let mut parsed = Parsed { statements: Vec::new(), comment: None };
    while parser.peek().is_some() {
        if parser.eat("comment") {
            parsed.comment = Some(parser.next("a comment").map_err(|expected| parser.error(&expected))?.to_owned());
            continue;
        }
        let statement = parser.statement().map_err(|expected| parser.error(&expected))?;
        parsed.statements.push(statement);
    }
    if parsed.statements.is_empty() {
        return Err("a rule without a statement".into());
    }
    Ok(parsed)
}

struct Parser<'a> {
    tokens: &'a [String],
    at: usize,
}

/// What was expected where something else was found.
type Parse<T> = Result<T, String>;

impl<'a> Parser<'a> {
    fn error(&self, expected: &str) -> String {
        match self.peek() {
            Some(word) => format!("`{word}` is not understood: expected {expected}"),
            None => format!("expected {expected} at its end"),
        }
    }

    fn peek(&self) -> Option<&'a str> {
        self.tokens.get(self.at).map(String::as_str)
    }

    fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == Some(word);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str) -> Parse<()> {
        if self.eat(word) { Ok(()) } else { Err(format!("`{word}`")) }
    }

    fn next(&mut self, expected: &str) -> Parse<&'a str> {
        let word = self.peek().ok_or_else(|| expected.to_owned())?;
        self.at += 1;
        Ok(word)
    }

    /// The next word as `convert` reads it; not taken where it cannot.
    fn word<T>(&mut self, expected: &str, convert: impl FnOnce(&str) -> Option<T>) -> Parse<T> {
        let value = self.peek().and_then(convert).ok_or_else(|| expected.to_owned())?;
        self.at += 1;
        Ok(value)
    }

    fn number<T: TryFrom<u64>>(&mut self, expected: &str) -> Parse<T> {
        self.word(expected, |word| T::try_from(parse_number(word)?).ok())
    }

    fn statement(&mut self) -> Parse<Statement> {
        if let Some(verdict) = self.verdict()? {
            return Ok(Statement::Verdict(verdict));
        }
        let start = self.at;
        match self.next("a statement")? {
            "counter" => self.counter(),
            "masquerade" => {
                let (_, port, flags) = self.translation()?;
                Ok(Statement::Masquerade { port, flags })
            }
            "redirect" => {
                let (_, port, flags) = self.translation()?;
                Ok(Statement::Redirect { port, flags })
            }
            "snat" => self.nat(NatKind::Source),
            "dnat" => self.nat(NatKind::Destination),
            "reject" => self.reject(),
            "log" => self.log(),
            "limit" => self.limit(),
            _ => {
                self.at = start;
                self.about_a_key()
            }
        }
    }

    fn verdict(&mut self) -> Parse<Option<Verdict>> {
        let verdict = match self.peek() {
            Some("accept") => Verdict::Accept,
            Some("drop") => Verdict::Drop,
            Some("continue") => Verdict::Continue,
            Some("return") => Verdict::Return,
            Some("queue") => Verdict::Queue,
            Some("jump") => {
                self.at += 1;
                return Ok(Some(Verdict::Jump(self.next("a chain")?.to_owned())));
            }
            Some("goto") => {
                self.at += 1;
                return Ok(Some(Verdict::Goto(self.next("a chain")?.to_owned())));
            }
            _ => return Ok(None),
        };
        self.at += 1;
        Ok(Some(verdict))
    }

    fn counter(&mut self) -> Parse<Statement> {
        let (mut packets, mut bytes) = (0, 0);
        if self.eat("packets") {
            packets = self.number("a number of packets")?;
            self.expect("bytes")?;
            bytes = self.number("a number of bytes")?;
        }
        Ok(Statement::Counter { packets, bytes })
    }

    fn nat(&mut self, kind: NatKind) -> Parse<Statement> {
        let said = if self.eat("ip") { Some("ip") } else { self.eat("ip6").then_some("ip6") };
        let (address, port, flags) = self.translation()?;
        if address.is_none() && port.is_none() {
            return Err("`to` and an address".into());
        }
        Ok(Statement::Nat { kind, family: said, address, port, flags })
    }

    /// `to ADDRESS:PORT FLAGS`, all of it optional.
    #[allow(clippy::type_complexity)]
    fn translation(&mut self) -> Parse<(Option<Bounds<IpAddr>>, Option<Bounds<u16>>, u32)> {
        let (mut address, mut port, mut flags) = (None, None, 0);
        if self.eat("to") {
            (address, port) = self.word("an address, with or without a port", endpoint)?;
        }
        while let Some(flag) = self.peek().and_then(|word| names::number(NAT_FLAGS, word)) {
            flags |= flag as u32;
            self.at += 1;
            self.eat(",");
        }
        Ok((address, port, flags))
    }

    fn reject(&mut self) -> Parse<Statement> {
        // The default depends on the family, which `lower` knows; icmpx stands for it until then.
        let mut reject = Reject::Icmpx(1);
        if self.eat("with") {
            let protocol = self.next("`icmp`, `icmpv6`, `icmpx` or `tcp`")?;
            if protocol == "tcp" {
                self.expect("reset")?;
                return Ok(Statement::Reject(Reject::TcpReset));
            }
            self.eat("type");
            let (names, make): (_, fn(u8) -> Reject) = match protocol {
                "icmp" => (names::REJECT_ICMP, Reject::Icmp),
                "icmpv6" => (names::REJECT_ICMPV6, Reject::Icmpv6),
                "icmpx" => (names::REJECT_ICMPX, Reject::Icmpx),
                _ => return Err("`icmp`, `icmpv6`, `icmpx` or `tcp reset` after `reject with`".into()),
            };
            let code = |word: &str| names::number(names, word).or_else(|| parse_number(word))?.try_into().ok();
            reject = make(self.word("a reason", code)?);
        }
        Ok(Statement::Reject(reject))
    }

    fn log(&mut self) -> Parse<Statement> {
        let (mut prefix, mut group, mut level) = (None, None, None);
        loop {
            if self.eat("prefix") {
                prefix = Some(self.next("a prefix")?.to_owned());
            } else if self.eat("group") {
                group = Some(self.number("a group")?);
            } else if self.eat("level") {
                level = Some(self.word("a level", |word| names::number(names::LOG_LEVEL, word))? as u32);
            } else {
                return Ok(Statement::Log { prefix, group, level });
            }
        }
    }

    fn limit(&mut self) -> Parse<Statement> {
        self.expect("rate")?;
        let over = self.eat("over");
        let (rate, unit) = self.word("a rate: `10/second`", |word| {
            let (rate, unit) = word.split_once('/')?;
            Some((rate.parse().ok()?, names::number(names::RATE_UNIT, unit)?))
        })?;
        let mut burst = 5;
        if self.eat("burst") {
            burst = self.number("a number of packets")?;
            self.eat("packets");
        }
        Ok(Statement::Limit { rate, unit, burst, bytes: false, over })
    }

    /// `KEY [. KEY] set VALUE`, `… vmap { … }`, or a match.
    fn about_a_key(&mut self) -> Parse<Statement> {
        let mut keys = vec![self.key()?];
        while self.eat(".") {
            keys.push(self.key()?);
        }
        if self.eat("set") {
            let key = keys.remove(0);
            let value = self.value_to_set(&key)?;
            return Ok(Statement::Set { key, value });
        }
        if self.eat("vmap") {
            return Ok(Statement::VerdictMap { map: self.set(&keys, true)?, keys });
        }
        let (op, right) = self.comparison(&keys)?;
        Ok(Statement::Match { keys, op, right })
    }

    fn key(&mut self) -> Parse<Key> {
        let words: Vec<_> = self.tokens[self.at..].iter().map(String::as_str).collect();
        let (key, taken) = Key::parse(&words).ok_or("a statement that is known here")?;
        self.at += taken;
        Ok(key)
    }

    fn value_to_set(&mut self, key: &Key) -> Parse<Value> {
        match self.word("a value", |word| key.kind.encode(word)) {
            Ok(value) => Ok(Value::Constant(value)),
            Err(_) => {
                let of = self.key().map_err(|_| "a value, or what has one")?;
                self.change(of)
            }
        }
    }

    /// What is done to the bits of what a mark is set to.
    fn change(&mut self, of: Key) -> Parse<Value> {
        if self.eat("|") {
            let xor = self.bits(&of)?;
            Ok(Value::Changed { mask: xor.iter().map(|byte| !byte).collect(), of, xor })
        } else if self.eat("^") {
            Ok(Value::Changed { mask: vec![0xff; of.kind.len], xor: self.bits(&of)?, of })
        } else if self.eat("&") {
            let mask = self.bits(&of)?;
            let xor = if self.eat("^") { self.bits(&of)? } else { vec![0; mask.len()] };
            Ok(Value::Changed { of, mask, xor })
        } else {
            Ok(Value::Of(of))
        }
    }

    fn comparison(&mut self, keys: &[Key]) -> Parse<(Op, Right)> {
        let key = &keys[0];
        if self.eat("&") {
            let mask = self.bits(key)?;
            let op = self.word("`==` or `!=`", Op::from_symbol)?;
            return Ok((op, Right::Masked { mask, value: self.bits(key)? }));
        }
        if self.eat("!") {
            return Ok((Op::Eq, Right::AnyOf(self.bits(key)?)));
        }
        let said = self.word("an operator", Op::from_symbol).ok();
        let op = said.unwrap_or(Op::Eq);
        if self.peek().is_some_and(|word| word == "{" || word.starts_with('@')) {
            return Ok((op, Right::Set(self.set(keys, false)?)));
        }
        if keys.len() > 1 {
            return Err("a set, for several keys at once".into());
        }
        match key.kind.form {
            // `ct state established,related`: any of them. With an operator, exactly these.
            Form::Flags(_) if said.is_none() => {
                let bits = self.bits(key)?;
                // `tcp flags syn / syn,ack`: of the latter, just the former.
                if self.eat("/") {
                    return Ok((Op::Eq, Right::Masked { mask: self.bits(key)?, value: bits }));
                }
                Ok((Op::Ne, Right::AnyOf(bits)))
            }
            Form::Flags(_) => Ok((op, Right::Item(Item::Value(self.bits(key)?)))),
            _ => Ok((op, Right::Item(self.item(&key.kind)?))),
        }
    }

    /// Bits: `a,b`, `a|b` or `(a|b)`; a plain value where the key has no flags.
    fn bits(&mut self, key: &Key) -> Parse<Vec<u8>> {
        let Form::Flags(_) = key.kind.form else {
            return self.word("a value", |word| key.kind.encode(word));
        };
        let grouped = self.eat("(");
        let mut number = 0;
        loop {
            number |= key.kind.value(&self.word("a flag", |word| key.kind.encode(word))?);
            if !self.eat(",") && !self.eat("|") {
                break;
            }
        }
        if grouped {
            self.expect(")")?;
        }
        key.kind.number(number).ok_or_else(|| "flags that fit".into())
    }

    fn item(&mut self, kind: &Kind) -> Parse<Item> {
        self.word("a value", |word| item(kind, word)).map_err(|_| format!("a value ({})", example(kind)))
    }

    fn set(&mut self, keys: &[Key], map: bool) -> Parse<Set> {
        if let Some(name) = self.peek().and_then(|word| word.strip_prefix('@')) {
            self.at += 1;
            return Ok(Set::Named(name.to_owned(), None));
        }
        self.expect("{")?;
        let mut elements = Vec::new();
        while !self.eat("}") {
            let mut items = Vec::new();
            let named = if self.eat("*") { &[] } else { keys };
            for (index, key) in named.iter().enumerate() {
                if index > 0 {
                    self.expect(".")?;
                }
                items.push(self.item(&key.kind)?);
            }
            let verdict = if map {
                self.expect(":")?;
                Some(self.verdict()?.ok_or("a verdict")?)
            } else {
                None
            };
            elements.push(Element { items, verdict });
            if !self.eat(",") && self.peek() != Some("}") {
                return Err("`,` or `}`".into());
            }
        }
        if elements.is_empty() { Err("an element".into()) } else { Ok(Set::Elements(elements)) }
    }
}

fn item(kind: &Kind, word: &str) -> Option<Item> {
    if let (Form::Ipv4 | Form::Ipv6, Some((address, length))) = (kind.form, word.split_once('/')) {
        let length: u8 = length.parse().ok().filter(|length| usize::from(*length) <= 8 * kind.len)?;
        return Some(Item::Prefix(kind.encode(address)?, length));
    }
    // Names of devices and types may hold a dash.
    if let (Form::Ipv4 | Form::Ipv6 | Form::Number, Some((first, last))) = (kind.form, word.split_once('-')) {
        return Some(Item::Range(kind.encode(first)?, kind.encode(last)?));
    }
    kind.encode(word).map(Item::Value)
}

fn example(kind: &Kind) -> String {
    match kind.form {
        Form::Ipv4 => "10.20.0.0/16".into(),
        Form::Ipv6 => "fd00:20::/64".into(),
        Form::Mac => "02:00:00:00:00:01".into(),
        Form::Name => "a device's name of at most 15 bytes".into(),
        Form::Index => "`lo`, or a device's number; for names there are iifname and oifname".into(),
        Form::Number | Form::Hex => "a number that fits".into(),
        Form::Symbol(names) | Form::Flags(names) => names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "),
    }
}

/// `10.0.0.1`, `10.0.0.1-10.0.0.9:80-90`, `[fd00::1]:80`, `fd00::1`, `:80`.
#[allow(clippy::type_complexity)]
fn endpoint(word: &str) -> Option<(Option<Bounds<IpAddr>>, Option<Bounds<u16>>)> {
    if let Ok(address) = word.parse::<Ipv6Addr>() {
        return Some((Some(Bounds { first: address.into(), last: None }), None));
    }
    let (addresses, port) = match word.rfind(':') {
        Some(_) if word.ends_with(']') => (word, None),
        Some(at) => (&word[..at], Some(bounds(&word[at + 1..], |port| port.parse().ok())?)),
        None => (word, None),
    };
    if addresses.is_empty() {
        return Some((None, port));
    }
    let bare = |address: &str| address.trim_start_matches('[').trim_end_matches(']').parse().ok();
    Some((Some(bounds(addresses, bare)?), port))
}

fn bounds<T>(word: &str, convert: impl Fn(&str) -> Option<T>) -> Option<Bounds<T>> {
    let mut parts = word.splitn(2, '-').map(convert);
    let (first, last) = (parts.next()??, parts.next());
    Some(Bounds { first, last: last.map_or(Some(None), |last| last.map(Some))? })
}
