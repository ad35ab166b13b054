//! Following one call through several services: W3C Trace Context, <https://www.w3.org/TR/trace-context/>.
//!
//! What a caller says of its trace is a courtesy: whatever is not exactly right is passed over, and never an error.

use std::fmt;

/// What one trace is told from every other by. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct TraceId([u8; 16]);

/// What one span is told from the others of its trace by. Never all zeros.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SpanId([u8; 8]);

impl TraceId {
    /// From two numbers that nobody else has.
    #[must_use]
    pub const fn new(high: u64, low: u64) -> Self {
        let number = ((high as u128) << 64) | low as u128;
        Self((if number == 0 { 1 } else { number }).to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// A number that is as even as the id: which share of all traces it belongs to.
    #[must_use]
    pub const fn share(&self) -> u64 {
        let [.., a, b, c, d, e, f, g, h] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

impl SpanId {
    /// From a number that nobody else has.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self((if number == 0 { 1 } else { number }).to_be_bytes())
    }

    /// Its bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 8] {
        &self.0
    }
}

fn hexadecimal(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, f)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hexadecimal(&self.0, f)
    }
}

impl fmt::Debug for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a caller says of the trace that its call belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// The trace.
    pub trace: TraceId,
    /// The caller's own span.
    pub span: SpanId,
    /// Whether the caller keeps the trace.
    pub sampled: bool,
    /// What the services on the way wrote beside it, to be passed on as it came.
    pub state: Option<Box<str>>,
}

impl Caller {
    /// Bytes of a `tracestate`, at most: what everybody has to pass on.
    const STATE_BYTES: usize = 512;
    const PARENT_BYTES: usize = 55;

    /// Reads the headers `traceparent` and `tracestate`, each with all its lines. Nothing where the first is not there exactly once,
    /// or not legal; without the second where that is not.
    #[must_use]
    pub fn read<'h>(
        mut parents: impl Iterator<Item = &'h [u8]>,
        states: impl Iterator<Item = &'h [u8]>,
    ) -> Option<Self> {
        let parent = parents.next()?;
        if parents.next().is_some() {
            return None;
        }
        let caller = Self::of_parent(parent)?;
        Some(Self { state: state(states), ..caller })
    }

    /// `version-trace-span-flags`. A later version may say more behind that.
    fn of_parent(text: &[u8]) -> Option<Self> {
        let (parent, more) = text.split_at_checked(Self::PARENT_BYTES)?;
        let mut parts = parent.split(|byte| *byte == b'-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let [version] = bytes(version)?;
        let fits = match version {
            0 => more.is_empty(),
            0xff => false,
            _ => more.is_empty() || more.starts_with(b"-"),
        };
        let (trace, span, [flags]) = (bytes(trace)?, bytes(span)?, bytes::<1>(flags)?);
        if !fits || parts.next().is_some() || trace == [0; 16] || span == [0; 8] {
            return None;
        }
        Some(Self { trace: TraceId(trace), span: SpanId(span), sampled: flags & 1 == 1, state: None })
    }
}

/// Bytes as so many lower-case hexadecimal digits, and no more.
fn bytes<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| match byte {
        b'0'..=b'9' => Some(byte.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(byte.wrapping_sub(b'a').wrapping_add(10)),
        _ => None,
    };
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut read = [0; N];
    for (place, [high, low]) in read.iter_mut().zip(pairs) {
        *place = (digit(*high)? << 4) | digit(*low)?;
    }
    Some(read)
}

fn state<'h>(lines: impl Iterator<Item = &'h [u8]>) -> Option<Box<str>> {
    let mut joined = String::new();
    for line in lines {
        let line = std::str::from_utf8(line).ok()?.trim_matches([' ', '\t']);
        let legal = line.bytes().all(|byte| (b' '..=b'~').contains(&byte));
        if !legal || joined.len().saturating_add(line.len()) >= Caller::STATE_BYTES {
            return None;
        }
        if !joined.is_empty() && !line.is_empty() {
            joined.push(',');
        }
        joined.push_str(line);
    }
    (!joined.is_empty()).then(|| joined.into_boxed_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    fn read(parent: &str) -> Option<Caller> {
        Caller::read([parent.as_bytes()].into_iter(), std::iter::empty())
    }

    #[test]
    fn what_a_caller_says_of_its_trace_is_taken_where_it_is_exactly_right() {
        let caller = read(GOOD).unwrap();
        assert_eq!(caller.trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        assert_eq!((caller.span.to_string().as_str(), caller.sampled), ("b7ad6b7169203331", true));
        let sampled = |flags: &str| read(&GOOD.replace("-01", flags)).map(|caller| caller.sampled);
        for (flags, expected) in [
            ("-00", Some(false)),
            ("-02", Some(false)),
            ("-03", Some(true)),
            ("-ff", Some(true)),
            ("-0", None),
            ("-001", None),
            ("-0g", None),
            ("-0A", None),
            ("", None),
        ] {
            assert_eq!(sampled(flags), expected, "flags {flags}");
        }
        let later = GOOD.replacen("00", "cc", 1);
        for (parent, legal) in [
            ("", false),
            ("00", false),
            (later.as_str(), true),
            (&format!("{later}-what-follows"), true),
            (&format!("{later}."), false),
            (&format!("{GOOD}-more"), false),
            (&format!(" {GOOD}"), false),
            (&format!("{GOOD} "), false),
            (&GOOD.replacen("00", "ff", 1), false),
            (&GOOD.replacen("00", "0", 1), false),
            (&GOOD.to_uppercase(), false),
            (&GOOD.replace('-', "_"), false),
            (&GOOD.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)), false),
            (&GOOD.replace("b7ad6b7169203331", &"0".repeat(16)), false),
            (&GOOD.replace("0af765", "0af76g"), false),
            (&GOOD.replace("0af765", "0af7é"), false),
            (&GOOD.replace("0af7651916cd43dd8448eb211c80319c-b7", "0af7651916cd43dd8448eb211c80319cb7-"), false),
            (&"0".repeat(100_000), false),
            ("🔑", false),
        ] {
            assert_eq!(read(parent).is_some(), legal, "{parent:.80}");
        }
        let twice = [GOOD.as_bytes(), GOOD.as_bytes()];
        assert_eq!(Caller::read(twice.into_iter(), std::iter::empty()), None);
        assert_eq!(Caller::read(std::iter::empty(), std::iter::empty()), None);
    }

    #[test]
    fn a_state_is_passed_on_where_it_is_legal_and_never_makes_the_parent_wrong() {
        let state = |lines: &[&str]| {
            let lines = lines.iter().map(|line| line.as_bytes());
            Caller::read([GOOD.as_bytes()].into_iter(), lines).unwrap().state
        };
        assert_eq!(state(&["a=1", " b=2 ", ""]).as_deref(), Some("a=1,b=2"));
        assert_eq!(state(&["", "a=1"]).as_deref(), Some("a=1"));
        assert_eq!(state(&[&"a".repeat(511)]).map(|state| state.len()), Some(511));
        for wrong in [&[][..], &[""], &["a=\u{7f}"], &["a=ü"], &["a=1\nb=2"], &[&"a".repeat(512)]] {
            assert_eq!(state(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn no_id_is_nothing() {
        assert_eq!(TraceId::new(0, 0).to_string(), format!("{}1", "0".repeat(31)));
        assert_eq!(SpanId::new(0).to_string(), format!("{}1", "0".repeat(15)));
        assert_eq!(TraceId::new(1, u64::MAX).share(), u64::MAX);
    }
}
