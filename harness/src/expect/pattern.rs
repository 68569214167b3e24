//! Patterns that claim nothing, told by their text while the compiler is at work: it warns of none that a macro made.

/// Whether a pattern is more than one of those that match anything: a name of its own, `_`, `..`, `0..`, `[..]`, or one of
/// several of which one is such.
#[must_use]
pub const fn claims_something(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let (mut from, mut at, mut depth) = (0, 0, 0_usize);
    while at < bytes.len() {
        match bytes[at] {
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

/// Whether the pattern between matches anything.
const fn takes_all(bytes: &[u8], from: usize, to: usize) -> bool {
    let (mut from, mut to) = (from, to);
    while from < to && bytes[from] == b' ' {
        from += 1;
    }
    while from < to && bytes[to - 1] == b' ' {
        to -= 1;
    }
    if from == to {
        return false;
    }
    match bytes[from] {
        b'(' if bytes[to - 1] == b')' => takes_all(bytes, from + 1, to - 1),
        // `[_]` is of one element.
        b'[' if bytes[to - 1] == b']' => !is_single(bytes, from + 1, to - 1) && takes_all(bytes, from + 1, to - 1),
        b'.' => to - from == 2,
        b'0' => starts_with(bytes, from, b"0..") && to - from == 3,
        b'_' => {
            let mut end = from;
            while end < to && (bytes[end].is_ascii_alphanumeric() || bytes[end] == b'_') {
                end += 1;
            }
            while end < to && bytes[end] == b' ' {
                end += 1;
            }
            end == to || bytes[end] == b'@' && takes_all(bytes, end + 1, to)
        }
        _ => false,
    }
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
