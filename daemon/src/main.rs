//! The `taffrail` program: arguments in, exit code out.
//!
//! Never: logic; that is the library's.

use std::process::ExitCode;

fn main() -> ExitCode {
    daemon::cli::main()
}
