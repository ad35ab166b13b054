//! Frames as they come in on one connection. Those that move a call forward are free; of the others a client may send so many
//! at a time and so many a second, and is read later when it sends more: it waits for itself, and nobody else does. What a
//! frame says is for HTTP/2 to judge; here only its kind and length are looked at.

use super::connection::PREFACE_BYTES;
use crate::domain::time::Ticks;
use std::time::Duration;

/// Credit of a connection, at most, and what it gets back in a second.
const MOST: i64 = 4_000;
const A_SECOND: i64 = 4_000;
const MICROS_EACH: u64 = 1_000_000 / A_SECOND.unsigned_abs();
/// What a call adds, for what a client says beside it: windows, settings, pings.
const CALL: i64 = 2;
/// What a call costs that is taken back. It is free for its client, and not for the server.
const RESET: i64 = 6;
/// Any other frame that moves nothing.
const IDLE: i64 = 1;

/// After so long without a call, and without credit, a connection is ended.
const HOPELESS_US: u64 = 5_000_000;

const HEAD_BYTES: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What was said on one connection so far.
#[derive(Debug)]
pub(super) struct Inflow {
    /// Bytes that are no part of what comes next: the preface, or the rest of a frame.
    skip: usize,
    head: [u8; HEAD_BYTES],
    have: usize,
    /// Whether a head of several frames has begun.
    in_head: bool,
    credit: i64,
    since: Option<Ticks>,
    /// Since when its credit is used up without a call in between.
    empty_since: Option<Ticks>,
}

impl Inflow {
    pub(super) const fn new() -> Self {
        Self {
            skip: PREFACE_BYTES,
            head: [0; HEAD_BYTES],
            have: 0,
            in_head: false,
            credit: MOST,
            since: None,
            empty_since: None,
        }
    }

    /// Looks at what came; gives the number of frames that began.
    pub(super) fn heard(&mut self, mut bytes: &[u8]) -> u32 {
        let mut frames = 0_u32;
        loop {
            let skipped = self.skip.min(bytes.len());
            self.skip = self.skip.saturating_sub(skipped);
            bytes = bytes.get(skipped..).unwrap_or_default();
            if bytes.is_empty() {
                return frames;
            }
            let missing = HEAD_BYTES.saturating_sub(self.have).min(bytes.len());
            let (came, rest) = bytes.split_at_checked(missing).unwrap_or_default();
            for (place, byte) in self.head.iter_mut().skip(self.have).zip(came) {
                *place = *byte;
            }
            self.have = self.have.saturating_add(missing);
            bytes = rest;
            if self.have == HEAD_BYTES {
                self.have = 0;
                frames = frames.saturating_add(1);
                self.frame();
            }
        }
    }

    fn frame(&mut self) {
        let [high, middle, low, kind, flags, ..] = self.head;
        self.skip = u32::from_be_bytes([0, high, middle, low]) as usize;
        let worth = match kind {
            HEADERS => CALL,
            DATA if self.skip > 0 || flags & END_STREAM != 0 => 0,
            RST_STREAM => RESET.saturating_neg(),
            _ => IDLE.saturating_neg(),
        };
        if kind == HEADERS {
            self.empty_since = None;
        }
        self.in_head = matches!(kind, HEADERS | CONTINUATION) && flags & END_HEADERS == 0;
        self.credit = self.credit.saturating_add(worth).min(MOST);
    }

    /// Whether it stands in the middle of a frame, or of a head of several.
    pub(super) const fn midway(&self) -> bool {
        self.skip > 0 || self.have > 0 || self.in_head
    }

    /// Whether nothing may be read for now. `now` is asked for only when the credit is used up.
    pub(super) fn is_over(&mut self, now: impl FnOnce() -> Ticks) -> bool {
        if self.credit > 0 {
            return false;
        }
        let now = now();
        // Whatever passed before the first look has filled the credit already.
        let passed = self.since.map_or(0, |since| now.as_micros().saturating_sub(since.as_micros()));
        self.since = Some(now);
        let back = i64::try_from(passed).unwrap_or(i64::MAX).saturating_mul(A_SECOND) / 1_000_000;
        self.credit = self.credit.saturating_add(back).min(MOST);
        if self.credit >= MOST / 2 {
            self.empty_since = None;
        } else if self.empty_since.is_none() {
            self.empty_since = Some(now);
        }
        self.credit <= 0
    }

    /// Whether it was over again and again, for so long that nothing else is to be expected.
    pub(super) fn is_hopeless(&self, now: impl FnOnce() -> Ticks) -> bool {
        let since = self.empty_since;
        since.is_some_and(|since| now().as_micros().saturating_sub(since.as_micros()) >= HOPELESS_US)
    }

    /// How long until something may be read again.
    pub(super) fn wait(&self) -> Duration {
        let missing = u64::try_from(self.credit.saturating_neg()).unwrap_or_default().saturating_add(1);
        Duration::from_micros(missing.saturating_mul(MICROS_EACH)).max(Duration::from_millis(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

    fn frame(kind: u8, flags: u8, payload: usize) -> Vec<u8> {
        let length = u32::try_from(payload).unwrap().to_be_bytes();
        let mut frame = vec![length[1], length[2], length[3], kind, flags, 0, 0, 0, 1];
        frame.resize(HEAD_BYTES + payload, 0xff);
        frame
    }

    fn at(micros: u64) -> impl FnOnce() -> Ticks {
        move || Ticks::from_micros(micros)
    }

    #[test]
    fn frames_are_found_however_their_bytes_come() {
        let mut said = PREFACE.to_vec();
        for part in [frame(4, 0, 18), frame(HEADERS, 0, 40), frame(CONTINUATION, END_HEADERS, 7), frame(DATA, 1, 0)] {
            said.extend(part);
        }
        for size in [1, 2, 5, 9, 24, 33, said.len()] {
            let mut inflow = Inflow::new();
            assert!(inflow.midway(), "nothing was said yet");
            let frames: u32 = said.chunks(size).map(|part| inflow.heard(part)).sum();
            assert_eq!((frames, inflow.midway(), inflow.credit), (4, false, MOST - IDLE), "{size}");
            inflow.heard(&frame(HEADERS, END_HEADERS, 3)[..11]);
            assert!(inflow.midway());
            inflow.heard(&[0]);
            assert!(!inflow.midway());
            inflow.heard(&frame(HEADERS, 0, 3));
            assert!(inflow.midway(), "the head goes on");
        }
    }

    #[test]
    fn whoever_sends_frames_that_move_nothing_waits_for_itself() {
        let mut inflow = Inflow::new();
        inflow.heard(PREFACE);
        let ping = frame(6, 0, 8);
        for _ in 0..MOST - 1 {
            inflow.heard(&ping);
            assert!(!inflow.is_over(at(0)));
        }
        inflow.heard(&ping);
        assert!(inflow.is_over(at(0)) && inflow.is_over(at(100)));
        assert!(!inflow.is_over(at(1_000)));
        inflow.heard(&ping.repeat(4_003));
        assert!(inflow.is_over(at(1_000)) && inflow.wait() >= Duration::from_millis(999), "{inflow:?}");
        assert!(!inflow.is_over(at(1_002_000)) && !inflow.is_hopeless(at(1_002_000)));
        // It goes on like that, and asks nothing.
        inflow.heard(&ping.repeat(4_002));
        assert!(
            inflow.is_over(at(2_000_000)) && !inflow.is_hopeless(at(4_900_000)) && inflow.is_hopeless(at(5_000_000))
        );
        inflow.heard(&frame(HEADERS, END_HEADERS, 3));
        assert!(!inflow.is_hopeless(at(5_000_000)));
    }

    #[test]
    fn calls_are_free_with_what_belongs_to_them_and_those_that_are_taken_back_are_not() {
        let mut inflow = Inflow::new();
        inflow.heard(PREFACE);
        let call =
            [frame(HEADERS, END_HEADERS, 20), frame(DATA, END_STREAM, 50), frame(8, 0, 4), frame(6, 0, 8)].concat();
        for _ in 0..100_000 {
            inflow.heard(&call);
        }
        assert_eq!(inflow.credit, MOST - 2 * IDLE);
        let taken_back = [frame(HEADERS, END_HEADERS | END_STREAM, 20), frame(RST_STREAM, 0, 4)].concat();
        let most = (0..).take_while(|_| inflow.heard(&taken_back) > 0 && !inflow.is_over(at(0))).count();
        assert_eq!(most, 999, "{inflow:?}");
    }
}
