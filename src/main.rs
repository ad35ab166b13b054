//! The `keygate` binary: parses arguments, runs a command, gives its exit code.

#![forbid(unsafe_code)]

fn main() {}
