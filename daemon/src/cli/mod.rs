//! The command line: `taffrail serve` and the commands for people.
//!
//! Results go to stdout, messages to stderr. Owns: arguments, exit codes, what is printed. Never: what the
//! daemon does.

mod args;
mod check;
mod config;
mod connect;
mod exit;
mod explain;
mod image;
mod print;
mod quickstart;
mod serve;
mod shutdown;
mod status;
mod time;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, error::ErrorKind};

use args::{Arguments, Command};
use exit::{Failure, USAGE};

/// The program.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let help = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            // Nobody to tell when the terminal is gone.
            drop(error.print());
            return if help { ExitCode::SUCCESS } else { ExitCode::from(USAGE) };
        }
    };
    match run(arguments) {
        Ok(code) => code,
        Err(failure) => {
            print::message(&format!("taffrail: {failure}"));
            failure.code()
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    match arguments.command {
        Command::Serve(serve) => serve::run(&serve),
        Command::Quickstart(quickstart) => quickstart::run(&quickstart),
        Command::Config(config) => config::run(&config),
        Command::Check(check) => check::run(&check),
        Command::Image(image) => image::run(image),
        Command::Status(status) => status::run(&status),
        Command::Explain(explain) => explain::run(&explain),
        Command::Version(version) => version_of(version.json),
        Command::Man => man(),
    }
}

fn version_of(json: bool) -> Result<ExitCode, Failure> {
    let version = env!("CARGO_PKG_VERSION");
    if json {
        let lowest = protocol::version::LOWEST;
        let highest = protocol::version::HIGHEST;
        print::json(&serde_json::json!({
            "version": version, "cri": "v1", "wire": { "lowest": lowest, "highest": highest },
        }))?;
    } else {
        print::line(&format!("taffrail {version}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// The man page, for packagers: `taffrail man > taffrail.8`.
fn man() -> Result<ExitCode, Failure> {
    let page = clap_mangen::Man::new(Arguments::command()).section("8");
    page.render(&mut std::io::stdout())
        .map_err(|e| Failure::failed(format!("the page cannot be written: {e}")))?;
    Ok(ExitCode::SUCCESS)
}
