//! Patterns that claim nothing, told by their text while the compiler is at work: it warns of none that a macro made.

/// Whether a pattern is more than one of those that match anything: a name of its own, `_`, `..`, `0..`, `[..]`, or one of
/// several of which one is such.
#[must_use]
pub const fn claims_something(pattern: &str) -> bool {
    !any_takes_all(pattern.as_bytes(), 0, pattern.len())
}

/// Whether one of the alternatives between matches anything.
const fn any_takes_all(bytes: &[u8], from: usize, to: usize) -> bool {
    // A guard claims what it says.
    if find(bytes, from, to, b"if ") < to {
        return false;
    }
    let mut from = from;
    loop {
        let end = find(bytes, from, to, b"|");
        if takes_all(bytes, from, end) {
            return true;
        }
        if end == to {
            return false;
        }
        from = end + 1;
    }
}

/// Whether what is wanted may stand here: a word does not begin within another.
const fn begins_word(bytes: &[u8], at: usize, wanted: &[u8]) -> bool {
    wanted.len() == 1 || at > 0 && is_space(bytes[at - 1])
}

/// Whether each part of a tuple matches anything, or what stands in parentheses.
const fn all_take_all(bytes: &[u8], from: usize, to: usize) -> bool {
    let (mut from, to) = (from, without_comma(bytes, from, to));
    loop {
        let end = find(bytes, from, to, b",");
        if !any_takes_all(bytes, from, end) {
            return false;
        }
        if end == to {
            return true;
        }
        from = end + 1;
    }
}

/// Where a sign stands outside of brackets and texts, or a word after a space; the end, where it does not.
const fn find(bytes: &[u8], from: usize, to: usize, wanted: &[u8]) -> usize {
    let (mut at, mut depth) = (from, 0_usize);
    while at < to {
        match bytes[at] {
            b'"' | b'\'' => at = end_of_text(bytes, at),
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ if depth == 0 && begins_word(bytes, at, wanted) && starts_with(bytes, at, wanted) => return at,
            _ => {}
        }
        at += 1;
    }
    to
}

/// Where the parts end, without a comma after the last.
const fn without_comma(bytes: &[u8], from: usize, to: usize) -> usize {
    let end = without_spaces(bytes, from, to);
    if from < end && bytes[end - 1] == b',' { end - 1 } else { end }
}

/// Where the text, or the letter, ends whose first quote is at `at`.
const fn end_of_text(bytes: &[u8], at: usize) -> usize {
    let mut hashes = 0;
    while hashes < at && bytes[at - 1 - hashes] == b'#' {
        hashes += 1;
    }
    let is_raw = hashes < at && bytes[at - 1 - hashes] == b'r';
    let mut end = at + 1;
    while end < bytes.len() {
        match bytes[end] {
            b'\\' if !is_raw => end += 1,
            quote if quote == bytes[at] && (!is_raw || closes(bytes, end, hashes)) => return end,
            _ => {}
        }
        end += 1;
    }
    end
}

/// Whether as many `#` follow the quote as were before the raw text.
const fn closes(bytes: &[u8], quote: usize, hashes: usize) -> bool {
    let mut count = 0;
    while quote + 1 + count < bytes.len() && bytes[quote + 1 + count] == b'#' {
        count += 1;
    }
    count >= hashes
}

/// Whether the pattern between matches anything.
const fn takes_all(bytes: &[u8], from: usize, to: usize) -> bool {
    let (from, to) = (skip_spaces(bytes, from, to), without_spaces(bytes, from, to));
    if from >= to {
        return false;
    }
    match bytes[from] {
        b'(' if bytes[to - 1] == b')' => all_take_all(bytes, from + 1, to - 1),
        // `[_]` is of one element.
        b'[' if bytes[to - 1] == b']' => {
            let to = without_comma(bytes, from + 1, to - 1);
            !is_single(bytes, from + 1, to) && takes_all(bytes, from + 1, to)
        }
        b'&' => takes_all(bytes, from + 1, to),
        b'r' if starts_with(bytes, from, b"ref ") => takes_all(bytes, from + 4, to),
        b'm' if starts_with(bytes, from, b"mut ") => takes_all(bytes, from + 4, to),
        b'.' if starts_with(bytes, from, b"..") => ends_anywhere(bytes, from, to),
        // `0u8..`
        b'0' => {
            let end = end_of_word(bytes, from + 1, to);
            let mut suffix = from + 1;
            while suffix < end && bytes[suffix] == b'_' {
                suffix += 1;
            }
            let is_zero = suffix == end || bytes[suffix] == b'u';
            let dots = skip_spaces(bytes, end, to);
            // Of what may be negative, zero and more is a part.
            is_zero && starts_with(bytes, dots, b"..") && ends_anywhere(bytes, dots, to) && !is_signed(bytes, dots, to)
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
    if to - from == 2 {
        return true;
    }
    let word = skip_spaces(bytes, from + 3, to);
    let colons = skip_spaces(bytes, end_of_word(bytes, word, to), to);
    let is_number = word < to && matches!(bytes[word], b'u' | b'i') && colons - word >= 2 && colons - word <= 6;
    let last = skip_spaces(bytes, if colons + 2 < to { colons + 2 } else { to }, to);
    starts_with(bytes, from, b"..=")
        && is_number
        && starts_with(bytes, colons, b"::")
        && to - last == 3
        && starts_with(bytes, last, b"MAX")
}

/// Whether the range whose dots are at `from` ends with a number that has a sign: `..=i64::MAX`.
const fn is_signed(bytes: &[u8], from: usize, to: usize) -> bool {
    let word = skip_spaces(bytes, from + 3, to);
    word < to && bytes[word] == b'i'
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
    while at < to && is_space(bytes[at]) {
        at += 1;
    }
    at
}

const fn without_spaces(bytes: &[u8], from: usize, to: usize) -> usize {
    let mut end = to;
    while from < end && is_space(bytes[end - 1]) {
        end -= 1;
    }
    end
}

const fn is_space(byte: u8) -> bool {
    byte.is_ascii_whitespace()
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
