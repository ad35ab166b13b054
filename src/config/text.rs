//! Small texts of a configuration: durations, numbers for people, quoting, and what a misspelt word may have meant.

use std::time::Duration;

/// What a duration may look like, in words.
pub const DURATION: &str = "a whole number and a unit, `ms`, `s`, `m` (minutes), `h` or `d`, such as \"90s\"";

const UNITS: [(&str, u64); 5] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

/// Reads a duration such as `250ms`, `90s`, `1m`, `24h` or `7d`.
pub fn duration(text: &str) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, millis) = UNITS.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*millis).map(Duration::from_millis)
}

/// Writes a duration in the largest unit that holds it whole.
pub fn show_duration(span: Duration) -> String {
    let millis = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let largest = UNITS.iter().rev().find(|(_, size)| millis.is_multiple_of(*size));
    largest.map_or_else(
        || format!("{millis}ms"),
        |(name, size)| format!("{}{name}", millis.checked_div(*size).unwrap_or_default()),
    )
}

/// Writes a number with its thousands apart: `1,000,000`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::with_capacity(digits.len().saturating_mul(2));
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && digits.len().saturating_sub(at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Quotes what was written, escaped and cut to a readable length.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let shown: String = text.chars().take(SHOWN).flat_map(char::escape_debug).collect();
    let cut = if text.chars().nth(SHOWN).is_some() { "…" } else { "" };
    // `escape_debug` is made for string literals; inside backticks quotes need no escape.
    format!("`{}{cut}`", shown.replace("\\\"", "\"").replace("\\'", "'"))
}

/// Lists words for people: `a`, `b` and `c`; of many, the first ones and how many there are beside them.
pub fn listed<'w>(words: impl IntoIterator<Item = &'w str>) -> String {
    const SHOWN: usize = 32;
    let mut words = words.into_iter();
    let mut shown: Vec<String> = words.by_ref().take(SHOWN).map(|word| format!("`{word}`")).collect();
    let beside = words.count();
    if beside > 0 {
        shown.push(format!("{} more", grouped(beside as u64)));
    }
    match shown.split_last() {
        None => "nothing".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}

/// The word that was probably meant, if one is close.
pub fn closest<'w>(written: &str, words: impl IntoIterator<Item = &'w str>) -> Option<&'w str> {
    const LONGEST: usize = 64;
    if written.len() > LONGEST {
        return None;
    }
    let length = written.chars().count();
    let enough = (length / 3).clamp(1, 3);
    // Words cannot be nearer to each other than their lengths are: most are left out by that alone.
    let alike = |word: &&str| word.len() <= LONGEST && word.chars().count().abs_diff(length) <= enough;
    let near = words.into_iter().filter(alike).map(|word| (distance(written, word), word));
    near.filter(|(distance, _)| *distance <= enough).min_by_key(|(distance, _)| *distance).map(|(_, word)| word)
}

/// What is allowed, with the word that was probably meant in front.
pub fn allowed_words<'w>(written: &str, words: impl IntoIterator<Item = &'w str> + Clone) -> String {
    let meant = closest(written, words.clone()).map(|word| format!("did you mean `{word}`? ")).unwrap_or_default();
    let mut count = words.clone().into_iter();
    let verb = if count.next().is_some() && count.next().is_some() { "allowed are" } else { "allowed is" };
    format!("{meant}{verb} {}", listed(words))
}

/// Edits (insert, remove or replace a character, swap two neighbours) that turn one word into the other: the optimal
/// string alignment of Wagner and Fischer with Damerau's swap.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (i, x) in a.chars().enumerate() {
        let mut next = vec![i.saturating_add(1)];
        for (j, y) in b.iter().enumerate() {
            let cell = |row: &[usize], at: usize| row.get(at).copied().unwrap_or(usize::MAX);
            let replaced = cell(&row, j).saturating_add(usize::from(x != *y));
            let inserted = cell(&next, j).saturating_add(1);
            let removed = cell(&row, j.saturating_add(1)).saturating_add(1);
            let neighbour = j.checked_sub(1).and_then(|left| Some((left, b.get(left)?)));
            let swapped = match neighbour {
                Some((left, z)) if *z == x && last == Some(*y) => cell(&before, left).saturating_add(1),
                _ => usize::MAX,
            };
            next.push(replaced.min(inserted).min(removed).min(swapped));
        }
        before = std::mem::replace(&mut row, next);
        last = Some(x);
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_and_written() {
        for (text, millis) in
            [("250ms", 250), ("0s", 0), ("90s", 90_000), ("1m", 60_000), ("24h", 86_400_000), ("7d", 604_800_000)]
        {
            assert_eq!(duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
        for text in
            ["", "s", "1", "1 s", "-1s", "1.5s", "1S", "1w", "1µs", "99999999999999999999s", "18446744073709551615d"]
        {
            assert_eq!(duration(text), None, "{text}");
        }
        for text in ["250ms", "0s", "90s", "1m", "1d", "36h"] {
            assert_eq!(duration(text).map(show_duration).as_deref(), Some(text));
        }
    }

    #[test]
    fn numbers_are_grouped_and_words_guessed() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(closest("scops", ["name", "scopes", "routes"]), Some("scopes"));
        assert_eq!(closest("raed", ["admin", "read"]), Some("read"));
        assert_eq!(["", "bac", "abc", "bacs", "xyz"].map(|word| distance("bac", word)), [3, 0, 1, 1, 3]);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(closest("banana", ["name", "scopes", "routes"]), None);
        assert_eq!(allowed_words("nam", ["name"]), "did you mean `name`? allowed is `name`");
        let many = listed(["a"; 1_032]);
        assert!(many.starts_with("`a`, `a`, ") && many.ends_with("`a` and 1,000 more"), "{many}");
        assert_eq!(listed(["a"; 32]), format!("{}`a` and `a`", "`a`, ".repeat(30)));
        assert_eq!(quoted("a`\"\n\u{1b}"), "`a`\"\\n\\u{1b}`");
    }
}
