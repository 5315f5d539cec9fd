//! A tiny static program to run in containers: it is the whole of quickstart's image, and does in the tests'
//! containers what they ask for by its first argument.
//!
//! Owns: the table of commands and their usage. Never: needs a file, a library or a shell beside it.

mod commands;
mod limits;
mod network;
mod output;
mod sys;

use std::{env, io, process::ExitCode};

use commands::Outcome;

/// A command: its name, its arguments for people, what it does, and the function.
struct Command {
    name: &'static str,
    usage: &'static str,
    run: fn(&[String]) -> Outcome,
}

const COMMANDS: [Command; 25] = [
    Command { name: "hello", usage: "              print one line", run: commands::hello },
    Command {
        name: "count",
        usage: "N MS          print `line 1` to `line N` (0: for ever), one each MS ms",
        run: commands::count,
    },
    Command {
        name: "flood",
        usage: "BYTES [SECONDS]   print numbered lines of 100 bytes, fast, then wait",
        run: commands::flood,
    },
    Command { name: "drip", usage: "BYTES          the same, one write for each line", run: commands::drip },
    Command {
        name: "pour",
        usage: "BYTES SECONDS CODE   such lines, so many bytes a second, then end with CODE",
        run: commands::pour,
    },
    Command { name: "exit", usage: "CODE [MS]      end with CODE, after MS ms", run: commands::exit },
    Command { name: "die", usage: "SIGNAL          end by this signal (not as PID 1)", run: commands::die },
    Command { name: "sleep", usage: "SECONDS       ends with 0 at SIGTERM", run: commands::sleep },
    Command {
        name: "silent",
        usage: "SECONDS      close stdout and stderr, then sleep",
        run: commands::silent,
    },
    Command { name: "trap", usage: "CODE SECONDS   ends with CODE at SIGTERM", run: commands::trap },
    Command { name: "ignore-term", usage: "SECONDS", run: commands::ignore_term },
    Command {
        name: "orphan",
        usage: "SECONDS      end at once, leave a child that holds stdout",
        run: commands::orphan,
    },
    Command {
        name: "tree",
        usage: "SECONDS        children in sessions of their own that ignore SIGTERM",
        run: commands::tree,
    },
    Command { name: "setsid", usage: "SECONDS      one such child", run: commands::setsid },
    Command { name: "mem", usage: "MIB             touch that much memory, then wait", run: commands::mem },
    Command { name: "write-file", usage: "PATH TEXT", run: commands::write_file },
    Command { name: "cat", usage: "[PATH]...       files, or stdin", run: commands::cat },
    Command { name: "ls", usage: "PATH", run: commands::ls },
    Command { name: "env", usage: "                the environment", run: commands::environment },
    Command { name: "id", usage: "                 user, group, groups", run: commands::id },
    Command { name: "err", usage: "TEXT            print to stderr", run: commands::err },
    Command {
        name: "serve",
        usage: "PORT TEXT     a page over HTTP, and an echo of datagrams",
        run: network::serve,
    },
    Command {
        name: "fetch",
        usage: "ADDRESS:PORT  print the page that is served there",
        run: network::fetch,
    },
    Command {
        name: "call",
        usage: "NUMBER [ARG]... make a system call, print the error's number (0: none)",
        run: commands::call,
    },
    Command { name: "true", usage: "", run: commands::nothing },
];

fn usage() -> io::Result<()> {
    output::error_line("usage: taffrail-demo COMMAND [ARGUMENT]...")?;
    for command in &COMMANDS {
        output::error_line(
            &format!("  {} {}", command.name, command.usage).trim_end().replace("  \n", "\n"),
        )?;
    }
    Ok(())
}

fn main() -> ExitCode {
    // PID 1 of a container has no default disposition: without a handler SIGTERM would do nothing.
    sys::exit_at_term(0);
    let args: Vec<String> = env::args().skip(1).collect();
    let Some((name, rest)) = args.split_first() else {
        return outcome("hello", commands::hello(&[]));
    };
    match COMMANDS.iter().find(|command| command.name == name) {
        Some(command) => outcome(name, (command.run)(rest)),
        None => {
            // Nowhere is left to say that stderr is closed.
            drop(usage());
            ExitCode::from(limits::WRONG_USAGE)
        }
    }
}

fn outcome(name: &str, result: Outcome) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            // Nowhere is left to say that stderr is closed.
            drop(output::error_line(&format!("{name}: {e}")));
            ExitCode::from(limits::FAILED)
        }
    }
}
