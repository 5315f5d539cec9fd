//! What each command does.
//!
//! Owns: the commands. Never: a system call of its own; see `sys`.

use std::{
    env,
    error::Error,
    fs,
    io::{self, Write},
    os::fd::AsFd,
    process::Command,
    time::{Duration, Instant},
};

use crate::{
    limits::{FLOOD_BUFFER, FLOOD_LINE, POUR_PAUSE, TOUCH_STRIDE, TREE_CHILDREN},
    output, sys,
};

/// The code to end with, or why the command failed.
pub(crate) type Outcome = Result<u8, Box<dyn Error>>;

pub(crate) fn argument<'a>(args: &'a [String], at: usize, name: &str) -> Result<&'a str, Box<dyn Error>> {
    args.get(at).map(String::as_str).ok_or_else(|| format!("{name} is missing").into())
}

fn number(args: &[String], at: usize, name: &str) -> Result<u64, Box<dyn Error>> {
    let text = argument(args, at, name)?;
    text.parse().map_err(|_| format!("{name} must be a whole number, not {text:?}").into())
}

#[expect(clippy::disallowed_methods, reason = "to let time pass is what these commands are for")]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

pub(crate) fn hello(_: &[String]) -> Outcome {
    output::line("hello from a container under its own shim")?;
    Ok(0)
}

pub(crate) fn nothing(_: &[String]) -> Outcome {
    Ok(0)
}

pub(crate) fn count(args: &[String]) -> Outcome {
    let (last, interval) = (number(args, 0, "N")?, number(args, 1, "MS")?);
    let mut nr = 0;
    while last == 0 || nr < last {
        nr += 1;
        output::line(&format!("line {nr}"))?;
        if interval > 0 && nr != last {
            pause(Duration::from_millis(interval));
        }
    }
    Ok(0)
}

/// Numbered lines of one length. Made in place: what is measured with them is the reader, not the writer.
struct FloodLine([u8; FLOOD_LINE]);

impl FloodLine {
    fn new() -> Self {
        let mut line = [b'.'; FLOOD_LINE];
        line[FLOOD_LINE - 1] = b'\n';
        Self(line)
    }

    /// `flood 17 ....`
    fn number(&mut self, nr: u64) -> &[u8] {
        let end = FLOOD_LINE - 1;
        let mut rest = &mut self.0[..end];
        // A line has room for the longest number.
        write!(rest, "flood {nr} ").ok();
        &self.0
    }
}

fn lines_in(bytes: u64) -> u64 {
    bytes / FLOOD_LINE as u64
}

pub(crate) fn flood(args: &[String]) -> Outcome {
    let mut out = io::BufWriter::with_capacity(FLOOD_BUFFER, unbuffered()?);
    write_lines(&mut out, args)
}

pub(crate) fn drip(args: &[String]) -> Outcome {
    write_lines(&mut unbuffered()?, args)
}

/// As a flood, but no faster than asked for; a reader that was away is caught up with.
pub(crate) fn pour(args: &[String]) -> Outcome {
    let (rate, seconds, code) =
        (number(args, 0, "BYTES")?, number(args, 1, "SECONDS")?, number(args, 2, "CODE")?);
    let mut out = io::BufWriter::with_capacity(FLOOD_BUFFER, unbuffered()?);
    let (mut line, begun, mut nr) = (FloodLine::new(), Instant::now(), 0);
    let all = lines_in(rate * seconds);
    while nr < all {
        let millis = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        while nr < lines_in(rate * millis / 1000).min(all) {
            nr += 1;
            out.write_all(line.number(nr))?;
        }
        out.flush()?;
        pause(POUR_PAUSE);
    }
    Ok(u8::try_from(code)?)
}

pub(crate) fn silent(args: &[String]) -> Outcome {
    sys::close_outputs();
    sleep(args)
}

/// stdout without the buffer that std puts before it.
fn unbuffered() -> io::Result<fs::File> {
    io::stdout().as_fd().try_clone_to_owned().map(fs::File::from)
}

fn write_lines(out: &mut impl Write, args: &[String]) -> Outcome {
    let mut line = FloodLine::new();
    for nr in 1..=lines_in(number(args, 0, "BYTES")?) {
        out.write_all(line.number(nr))?;
    }
    out.flush()?;
    linger(args)
}

/// Waits where the second argument asks for it, so that the supervisor can still be looked at.
fn linger(args: &[String]) -> Outcome {
    if args.len() > 1 { sleep(&args[1..]) } else { Ok(0) }
}

pub(crate) fn exit(args: &[String]) -> Outcome {
    let code = u8::try_from(number(args, 0, "CODE")?)?;
    if args.len() > 1 {
        pause(Duration::from_millis(number(args, 1, "MS")?));
    }
    Ok(code)
}

pub(crate) fn die(args: &[String]) -> Outcome {
    sys::raise(i32::try_from(number(args, 0, "SIGNAL")?)?)?;
    Err("the signal did not end this process".into())
}

pub(crate) fn sleep(args: &[String]) -> Outcome {
    pause(Duration::from_secs(number(args, 0, "SECONDS")?));
    Ok(0)
}

pub(crate) fn trap(args: &[String]) -> Outcome {
    sys::exit_at_term(u8::try_from(number(args, 0, "CODE")?)?);
    output::line("ready")?;
    sleep(&args[1..])
}

pub(crate) fn ignore_term(args: &[String]) -> Outcome {
    sys::ignore_term();
    output::line("ready")?;
    sleep(args)
}

/// Starts this program again with other arguments and does not wait for it.
fn again(args: &[&str]) -> io::Result<()> {
    Command::new(env::current_exe()?).args(args).spawn().map(drop)
}

pub(crate) fn orphan(args: &[String]) -> Outcome {
    number(args, 0, "SECONDS")?;
    again(&["sleep", &args[0]])?;
    output::line("orphan left")?;
    Ok(0)
}

pub(crate) fn tree(args: &[String]) -> Outcome {
    number(args, 0, "SECONDS")?;
    for _ in 0..TREE_CHILDREN {
        again(&["setsid", &args[0]])?;
    }
    ignore_term(args)
}

pub(crate) fn setsid(args: &[String]) -> Outcome {
    sys::new_session()?;
    again(&["ignore-term", argument(args, 0, "SECONDS")?])?;
    ignore_term(args)
}

pub(crate) fn mem(args: &[String]) -> Outcome {
    let bytes = usize::try_from(number(args, 0, "MIB")?)?.saturating_mul(1 << 20);
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(bytes)?;
    memory.resize(bytes, 0);
    for at in (0..bytes).step_by(TOUCH_STRIDE) {
        memory[at] = 1;
    }
    output::line(&format!("holding {} bytes", std::hint::black_box(&memory).len()))?;
    loop {
        pause(Duration::from_secs(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "a container's own file; nobody reads half of it")]
pub(crate) fn write_file(args: &[String]) -> Outcome {
    fs::write(argument(args, 0, "PATH")?, argument(args, 1, "TEXT")?)?;
    Ok(0)
}

pub(crate) fn cat(args: &[String]) -> Outcome {
    let mut out = io::stdout().lock();
    if args.is_empty() {
        io::copy(&mut io::stdin().lock(), &mut out)?;
    }
    for path in args {
        let mut file = fs::File::open(path).map_err(|e| format!("{path}: {e}"))?;
        io::copy(&mut file, &mut out)?;
    }
    out.flush()?;
    Ok(0)
}

pub(crate) fn ls(args: &[String]) -> Outcome {
    let path = argument(args, 0, "PATH")?;
    let entries = fs::read_dir(path).map_err(|e| format!("{path}: {e}"))?;
    let mut names: Vec<String> = entries
        .map(|e| e.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()?;
    names.sort();
    for name in names {
        output::line(&name)?;
    }
    Ok(0)
}

pub(crate) fn environment(_: &[String]) -> Outcome {
    for (key, value) in env::vars_os() {
        output::line(&format!("{}={}", key.to_string_lossy(), value.to_string_lossy()))?;
    }
    Ok(0)
}

pub(crate) fn id(_: &[String]) -> Outcome {
    let status = fs::read_to_string("/proc/self/status")?;
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // The effective id is the second of real, effective, saved and file system's.
    let effective = |name: &str| field(name).split(' ').nth(1).unwrap_or_default().to_owned();
    output::line(&format!(
        "uid={} gid={} groups={}",
        effective("Uid:"),
        effective("Gid:"),
        field("Groups:")
    ))?;
    Ok(0)
}

pub(crate) fn call(args: &[String]) -> Outcome {
    let number = i64::try_from(number(args, 0, "NUMBER")?)?;
    let mut rest = [0; sys::CALL_ARGUMENTS];
    for (at, place) in rest.iter_mut().enumerate().take(args.len().saturating_sub(1)) {
        *place = i64::try_from(self::number(args, at + 1, "ARG")?)?;
    }
    output::line(&sys::call(number, rest).to_string())?;
    Ok(0)
}

pub(crate) fn err(args: &[String]) -> Outcome {
    output::error_line(argument(args, 0, "TEXT")?)?;
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::FloodLine;

    #[test]
    fn lines_of_a_flood_have_one_length_and_their_number() {
        let mut line = FloodLine::new();
        for nr in [1, 10, 99_999_999] {
            assert!(line.number(nr).starts_with(format!("flood {nr} .").as_bytes()));
        }
    }
}
