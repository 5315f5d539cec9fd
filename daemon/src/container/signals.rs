//! Names of signals, as images and requests give them.
//!
//! Never: sends one.

use nix::sys::signal::Signal;

/// SIGRTMIN as programs see it: the C library keeps two of the kernel's for itself.
const RT_MIN: u8 = 34;
/// SIGRTMAX.
const RT_MAX: u8 = 64;

/// The number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3` or `RTMAX-1`; `None`: no signal.
pub fn signal_number(text: &str) -> Option<u8> {
    if let Ok(number) = text.parse::<u8>() {
        return (1..=RT_MAX).contains(&number).then_some(number);
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let real_time = |rest: &str, base: u8, sign: char| -> Option<u8> {
        let offset = if rest.is_empty() { 0 } else { rest.strip_prefix(sign)?.parse::<u8>().ok()? };
        let number = if sign == '+' { base.checked_add(offset)? } else { base.checked_sub(offset)? };
        (RT_MIN..=RT_MAX).contains(&number).then_some(number)
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest, RT_MIN, '+');
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest, RT_MAX, '-');
    }
    let name = match name {
        "CLD" => "CHLD",
        "POLL" => "IO",
        "IOT" => "ABRT",
        name => name,
    };
    format!("SIG{name}").parse::<Signal>().ok().and_then(|signal| u8::try_from(signal as i32).ok())
}

#[cfg(test)]
mod tests {
    use super::signal_number;

    #[test]
    fn all_ways_to_write_one() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("term", Some(15)),
            ("9", Some(9)),
            ("SIGRTMIN+3", Some(37)),
            ("RTMAX-1", Some(63)),
            ("SIGRTMIN", Some(34)),
            ("SIGCLD", Some(17)),
            ("0", None),
            ("65", None),
            ("SIGRTMIN+40", None),
            ("nonsense", None),
        ] {
            assert_eq!(signal_number(text), number, "{text}");
        }
    }
}
