//! Tells on which line and in which column of a text an offset lies. A file may hold as many mistakes as it has bytes,
//! so each place must be found without walking through what stands before it.

/// A text with what is needed to find places in it.
pub struct Lines<'t> {
    text: &'t str,
    /// Where each line begins.
    starts: Vec<usize>,
    /// How many characters begin before each block of bytes.
    before: Vec<usize>,
}

impl<'t> Lines<'t> {
    /// Bytes that are looked through for one place, at most.
    const BLOCK: usize = 64;

    pub fn new(text: &'t str) -> Self {
        let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        let starts = std::iter::once(0).chain(ends.map(|(at, _)| at.saturating_add(1))).collect();
        let (mut before, mut count) = (vec![0], 0_usize);
        for block in text.as_bytes().chunks(Self::BLOCK) {
            count = count.saturating_add(characters(block));
            before.push(count);
        }
        Self { text, starts, before }
    }

    /// Line and column, in characters, of an offset: both from 1. What lies behind the end is at the end.
    pub fn place(&self, offset: usize) -> (usize, usize) {
        let offset = offset.min(self.text.len());
        let line = self.starts.partition_point(|start| *start <= offset);
        let start = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        (line, self.upto(offset).saturating_sub(self.upto(start)).saturating_add(1))
    }

    /// A line, counted from 1; empty when there is no such line.
    pub fn line(&self, number: usize) -> &'t str {
        let start = number.checked_sub(1).and_then(|at| self.starts.get(at));
        let end = self.starts.get(number).copied().unwrap_or(self.text.len());
        start.and_then(|start| self.text.get(*start..end)).unwrap_or_default()
    }

    /// How many characters begin before an offset.
    fn upto(&self, offset: usize) -> usize {
        let block = offset / Self::BLOCK;
        let from = block.saturating_mul(Self::BLOCK);
        let rest = self.text.as_bytes().get(from..offset).map_or(0, characters);
        self.before.get(block).copied().unwrap_or_default().saturating_add(rest)
    }
}

/// Every character of UTF-8 has one byte that does not continue another.
fn characters(bytes: &[u8]) -> usize {
    bytes.iter().filter(|byte| **byte & 0b1100_0000 != 0b1000_0000).count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The same, by walking.
    fn walked(text: &str, offset: usize) -> (usize, usize) {
        let before = &text[..offset];
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        (before.matches('\n').count() + 1, column)
    }

    #[test]
    fn places_are_counted_from_one_and_end_with_the_text() {
        let lines = Lines::new("a\nä…b\n");
        assert_eq!([0, 1, 2, 4, 7, 8].map(|at| lines.place(at)), [(1, 1), (1, 2), (2, 1), (2, 2), (2, 3), (2, 4)]);
        assert_eq!([9, usize::MAX].map(|at| lines.place(at)), [(3, 1), (3, 1)]);
        assert_eq!([0, 1, 2, 3, 4].map(|number| lines.line(number)), ["", "a\n", "ä…b\n", "", ""]);
        assert_eq!((Lines::new("").place(0), Lines::new("").line(1)), ((1, 1), ""));
    }

    proptest! {
        #[test]
        fn every_place_is_found_as_by_walking(text in "[a\nä…]{0,300}") {
            let lines = Lines::new(&text);
            for offset in (0..=text.len()).filter(|at| text.is_char_boundary(*at)) {
                prop_assert_eq!(lines.place(offset), walked(&text, offset));
            }
            for (at, line) in text.split_inclusive('\n').enumerate() {
                prop_assert_eq!(lines.line(at + 1), line);
            }
        }
    }
}
