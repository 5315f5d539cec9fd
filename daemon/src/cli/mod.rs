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

use std::{path::Path, process::ExitCode};

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
        Command::Man(man) => pages(man.into.as_deref()),
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

/// The manual, for packagers: `taffrail man > taffrail.8`, or all pages into a folder.
fn pages(into: Option<&Path>) -> Result<ExitCode, Failure> {
    let failed = |e: std::io::Error| Failure::failed(format!("the manual cannot be written: {e}"));
    let mut top = Arguments::command().disable_help_subcommand(true);
    top.build();
    match into {
        None => page(top).render(&mut std::io::stdout()).map_err(failed)?,
        Some(folder) => write_pages(top, folder).map_err(failed)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn page(command: clap::Command) -> clap_mangen::Man {
    clap_mangen::Man::new(command).section("8")
}

fn write_pages(command: clap::Command, folder: &Path) -> std::io::Result<()> {
    for below in command.get_subcommands().filter(|below| !below.is_hide_set()) {
        write_pages(below.clone(), folder)?;
    }
    page(command).generate_to(folder).map(drop)
}
