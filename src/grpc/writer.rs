//! Messages written straight into their bytes: for answers that are made at every request, where a message built first would be
//! dozens of small texts that are copied, written once and freed again.

use prost::encoding::{WireType, encode_key, encode_varint};
use std::time::Duration;

/// Fields of one message, one after the other. Like any proto3 writer it leaves out what has its default.
pub(super) struct MessageWriter<'b>(&'b mut Vec<u8>);

impl<'b> MessageWriter<'b> {
    /// Writes behind what is there.
    pub(super) fn new(bytes: &'b mut Vec<u8>) -> Self {
        Self(bytes)
    }

    /// Fields that were written before.
    pub(super) fn fields(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A number, of whatever length.
    pub(super) fn number(&mut self, tag: u32, value: u64) {
        if value > 0 {
            encode_key(tag, WireType::Varint, self.0);
            encode_varint(value, self.0);
        }
    }

    /// A text.
    pub(super) fn text(&mut self, tag: u32, text: &str) {
        if !text.is_empty() {
            encode_key(tag, WireType::LengthDelimited, self.0);
            encode_varint(text.len() as u64, self.0);
            self.0.extend_from_slice(text.as_bytes());
        }
    }

    /// A `google.protobuf.Duration`.
    pub(super) fn span(&mut self, tag: u32, span: Duration) {
        self.nested(tag, |message| {
            message.number(1, span.as_secs());
            message.number(2, u64::from(span.subsec_nanos()));
        });
    }

    /// A message of two texts: a header, or an entry of a map.
    pub(super) fn pair(&mut self, tag: u32, name: &str, value: &str) {
        self.nested(tag, |message| {
            message.text(1, name);
            message.text(2, value);
        });
    }

    /// A message within this one, also where it is empty. Its length goes before it and is only known after it: one byte is
    /// kept for it, and what is written is moved when it takes more.
    pub(super) fn nested(&mut self, tag: u32, write: impl FnOnce(&mut MessageWriter<'_>)) {
        encode_key(tag, WireType::LengthDelimited, self.0);
        let start = self.0.len();
        self.0.push(0);
        write(&mut MessageWriter(self.0));
        let length = self.0.len().saturating_sub(start).saturating_sub(1);
        match (u8::try_from(length), self.0.get_mut(start)) {
            (Ok(short), Some(slot)) if short < 0x80 => *slot = short,
            _ => {
                let mut prefix = [0; 10];
                let mut unused = &mut prefix[..];
                encode_varint(length as u64, &mut unused);
                let unused = unused.len();
                let used = prefix.len().saturating_sub(unused);
                self.0.splice(start..=start, prefix.into_iter().take(used));
            }
        }
    }
}
