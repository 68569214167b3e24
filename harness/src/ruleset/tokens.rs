//! From the text of a rule to its words.

/// The words of a text: names, numbers, addresses; quoted ones without their quotes; each sign by itself.
pub(crate) fn tokens(text: &str) -> Option<Vec<String>> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let length = match first {
            '"' => {
                let end = rest[1..].find('"')?;
                tokens.push(rest[1..=end].to_owned());
                rest = rest[end + 2..].trim_start();
                continue;
            }
            '!' | '=' | '<' | '>' if rest[1..].starts_with('=') => 2,
            _ if is_sign(first) => 1,
            _ => rest.find(|c: char| c.is_whitespace() || c == '"' || is_sign(c)).unwrap_or(rest.len()),
        };
        tokens.push(rest[..length].to_owned());
        rest = rest[length..].trim_start();
    }
    Some(tokens)
}

fn is_sign(c: char) -> bool {
    matches!(c, '{' | '}' | ',' | ';' | '(' | ')' | '=' | '!' | '<' | '>' | '&' | '|')
}
