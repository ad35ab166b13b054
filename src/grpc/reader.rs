//! Messages read where they stand: for questions that come at every request, of which few fields matter.

use prost::encoding::{MIN_TAG, WireType, decode_varint};

/// Something that is not read straight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Odd;

/// The fields of a message in their order. After the first that is odd comes nothing.
pub(super) struct FieldReader<'m>(&'m [u8]);

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Field<'m> {
    pub(super) tag: u32,
    /// A message, a text or bytes; absent: a number.
    bytes: Option<&'m [u8]>,
}

impl<'m> FieldReader<'m> {
    pub(super) fn new(message: &'m [u8]) -> Self {
        Self(message)
    }

    /// Most numbers are keys and lengths of one byte.
    fn number(&mut self) -> Option<u64> {
        match self.0 {
            [byte @ ..0x80, rest @ ..] => {
                self.0 = rest;
                Some(u64::from(*byte))
            }
            _ => decode_varint(&mut self.0).ok(),
        }
    }

    fn read(&mut self) -> Option<Field<'m>> {
        let key = u32::try_from(self.number()?).ok()?;
        let (tag, wire_type) = (key >> 3, WireType::try_from(u64::from(key & 7)).ok()?);
        if tag < MIN_TAG {
            return None;
        }
        let length = match wire_type {
            WireType::Varint => {
                self.number()?;
                return Some(Field { tag, bytes: None });
            }
            WireType::LengthDelimited => usize::try_from(self.number()?).ok()?,
            WireType::ThirtyTwoBit => 4,
            WireType::SixtyFourBit => 8,
            WireType::StartGroup | WireType::EndGroup => return None,
        };
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(Field { tag, bytes: (wire_type == WireType::LengthDelimited).then_some(bytes) })
    }
}

impl<'m> Iterator for FieldReader<'m> {
    type Item = Result<Field<'m>, Odd>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.read();
        if field.is_none() {
            self.0 = &[];
        }
        Some(field.ok_or(Odd))
    }
}

impl<'m> Field<'m> {
    /// What it holds, where that is no number.
    pub(super) fn bytes(&self) -> Result<&'m [u8], Odd> {
        self.bytes.ok_or(Odd)
    }
}
