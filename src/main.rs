//! The `keygate` binary: parses arguments, runs a command, gives its exit code.

#![forbid(unsafe_code)]

use std::process::ExitCode;

/// Chosen by measurement; it belongs to the binary, so that programs that use the library choose their own.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    keygate::cli::run(std::env::args_os())
}
