//! The static program beside the daemon: it supervises one container, or does another small duty by role.
//!
//! Owns: the choice of the role. Never: does the work of one.

mod fault;
mod init;
mod keeper;
mod limits;
mod pin;
mod steps;
mod supervise;
mod sys;

use std::process::ExitCode;

/// Exit code for a wrong call.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let role = std::env::args().nth(1);
    let done = match role.as_deref() {
        None | Some("supervise") => supervise::run(),
        Some("kept") => supervise::run_kept(),
        Some("keeper") => keeper::run(std::env::args().nth(2).as_deref()),
        Some("pin") => pin::run(),
        Some("init") => init::run(),
        Some("--version" | "version") => {
            say(&mut std::io::stdout(), concat!("taffrail-shim ", env!("CARGO_PKG_VERSION")));
            return ExitCode::SUCCESS;
        }
        Some(_) => {
            let usage = "taffrail-shim: started by taffrail; roles: supervise (standard input is a socket), kept, keeper DIR, pin, init";
            say(&mut std::io::stderr(), usage);
            return ExitCode::from(USAGE);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            say(&mut std::io::stderr(), &format!("taffrail-shim: {fault}"));
            ExitCode::FAILURE
        }
    }
}

/// A line for a person, who may have gone.
fn say(to: &mut dyn std::io::Write, text: &str) {
    drop(writeln!(to, "{text}"));
}
