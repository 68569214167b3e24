//! Patterns that claim nothing, told by their text while the compiler is at work: it warns of none that a macro made.

/// Whether a pattern is more than one of those that match anything: a name of its own, `_`, `..`, `0..`, `[..]`, or one of
/// several of which one is such.
#[must_use]
pub const fn claims_something(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let (mut from, mut at, mut depth) = (0, 0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
            b'"' | b'\'' => at = end_of_text(bytes, at),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            // A guard claims what it says.
            b'i' if depth == 0 && starts_with(bytes, at, b"if ") && at > 0 && bytes[at - 1] == b' ' => return true,
            b'|' if depth == 0 => {
                if takes_all(bytes, from, at) {
                    return false;
                }
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    !takes_all(bytes, from, bytes.len())
}

/// Where the text, or the letter, ends whose first quote is at `at`.
const fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let (quote, is_raw) = (bytes[at], at > 0 && matches!(bytes[at - 1], b'r' | b'#'));
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' && !is_raw { 2 } else { 1 };
    }
    end
}

/// Whether the pattern between matches anything.
const fn takes_all(bytes: &[u8], from: usize, to: usize) -> bool {
    let (from, to) = (skip_spaces(bytes, from, to), without_spaces(bytes, from, to));
    if from >= to {
        return false;
    }
    match bytes[from] {
        b'(' if bytes[to - 1] == b')' => takes_all(bytes, from + 1, to - 1),
        // `[_]` is of one element.
        b'[' if bytes[to - 1] == b']' => !is_single(bytes, from + 1, to - 1) && takes_all(bytes, from + 1, to - 1),
        b'&' => takes_all(bytes, from + 1, to),
        b'r' if starts_with(bytes, from, b"ref ") => takes_all(bytes, from + 4, to),
        b'm' if starts_with(bytes, from, b"mut ") => takes_all(bytes, from + 4, to),
        b'.' if starts_with(bytes, from, b"..") => ends_anywhere(bytes, from, to),
        // `0u8..`
        b'0' => {
            let end = end_of_word(bytes, from + 1, to);
            let is_zero = end == from + 1 || matches!(bytes[from + 1], b'u' | b'i' | b'_');
            is_zero && starts_with(bytes, end, b"..") && ends_anywhere(bytes, end, to)
        }
        b'_' => {
            let end = skip_spaces(bytes, end_of_word(bytes, from, to), to);
            end == to || bytes[end] == b'@' && takes_all(bytes, end + 1, to)
        }
        _ => false,
    }
}

/// Whether the range whose dots are at `from` has no end, or the largest: `..=u64::MAX`.
const fn ends_anywhere(bytes: &[u8], from: usize, to: usize) -> bool {
    to - from == 2 || starts_with(bytes, from, b"..=") && to - from > 6 && starts_with(bytes, to - 3, b"MAX")
}

const fn end_of_word(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut end = from;
    while end < to && (bytes[end].is_ascii_alphanumeric() || bytes[end] == b'_') {
        end += 1;
    }
    end
}

const fn skip_spaces(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut at = from;
    while at < to && bytes[at] == b' ' {
        at += 1;
    }
    at
}

const fn without_spaces(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut end = to;
    while from < end && bytes[end - 1] == b' ' {
        end -= 1;
    }
    end
}

/// Whether a list's pattern has no `..`.
const fn is_single(bytes: &[u8], from: usize, to: usize) -> bool {
    let mut at = from;
    while at + 1 < to {
        if starts_with(bytes, at, b"..") {
            return false;
        }
        at += 1;
    }
    true
}

const fn starts_with(bytes: &[u8], at: usize, word: &[u8]) -> bool {
    let mut length = 0;
    while length < word.len() && at + length < bytes.len() && bytes[at + length] == word[length] {
        length += 1;
    }
    length == word.len()
}
