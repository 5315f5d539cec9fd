//! What a runtime says: on its streams, bounded, and in its own log, of which the last error counts.
//!
//! Owns: the text of a failure. Never: parses JSON beyond two fields of a line.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

use nix::sys::statvfs::statvfs;
use protocol::exit_record::cut;

use super::poll::Poll;
use crate::limits::{RUNTIME_LOG_MAX, WORDS_MAX};

/// The reading ends of a command's streams, and the first of what came through them.
#[derive(Debug, Default)]
pub(crate) struct Words {
    pipes: [Option<File>; 2],
    text: Vec<u8>,
}

impl Words {
    /// Listens to these, which are nonblocking and watched by the caller.
    pub(crate) fn listen(pipes: [Option<File>; 2]) -> Self {
        Self { pipes, text: Vec::new() }
    }

    /// The reading ends that are open, with their numbers.
    pub(crate) fn ends(&self) -> impl Iterator<Item = (u32, &File)> {
        (0..).zip(&self.pipes).filter_map(|(number, pipe)| Some((number, pipe.as_ref()?)))
    }

    /// Reads what is there and keeps the first [`WORDS_MAX`] bytes.
    pub(crate) fn ready(&mut self, poll: &Poll, number: u32) {
        let Some(place) = usize::try_from(number).ok().and_then(|n| self.pipes.get_mut(n)) else { return };
        let Some(pipe) = place else { return };
        let mut part = [0; 1024];
        loop {
            match pipe.read(&mut part) {
                Ok(count) if count > 0 => {
                    let room = WORDS_MAX.saturating_sub(self.text.len());
                    self.text.extend_from_slice(&part[..count.min(room)]);
                }
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => return,
                _ => {
                    poll.forget(&*pipe);
                    *place = None;
                    return;
                }
            }
        }
    }

    /// Reads the rest, stops listening, and gives the pipes back where they have not ended.
    pub(crate) fn stop(&mut self, poll: &Poll) -> [Option<File>; 2] {
        for number in 0..2 {
            self.ready(poll, number);
        }
        for pipe in self.pipes.iter().flatten() {
            poll.forget(pipe);
        }
        std::mem::take(&mut self.pipes)
    }

    /// What was said, for people.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.text).trim().to_owned()
    }
}

/// The last error in a runtime's log, or all of the log's end where it holds no JSON.
pub(crate) fn last_error(log: &Path) -> Option<String> {
    let mut file = File::open(log).ok()?;
    let size = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(u64::try_from(RUNTIME_LOG_MAX).ok()?))).ok()?;
    let mut bytes = Vec::new();
    file.take(u64::try_from(RUNTIME_LOG_MAX).ok()?).read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let is_error = |line: &&str| {
        field(line, "level").is_some_and(|level| level == "error" || level == "fatal" || level == "panic")
    };
    if let Some(message) = text.lines().rev().filter(is_error).find_map(|line| field(line, "msg")) {
        return Some(cut(&message).to_owned());
    }
    let has_json = text.lines().any(|line| line.trim_start().starts_with('{'));
    let plain = text.trim();
    (!has_json && !plain.is_empty()).then(|| cut(plain).to_owned())
}

/// Why a runtime that failed could not say why: there is no room for its log.
pub(crate) fn no_room(log: &Path) -> Option<String> {
    let folder = log.parent()?;
    let room = statvfs(folder).ok()?;
    let is_full = room.blocks_available() == 0 || (room.files() > 0 && room.files_available() == 0);
    is_full
        .then(|| format!("the runtime failed and could not say why: no space left in {}", folder.display()))
}

/// The string value of a key in a line of JSON. Tolerant: what is no such line has no such field.
fn field(line: &str, key: &str) -> Option<String> {
    let quoted = format!("\"{key}\"");
    let (_, rest) = line.split_once(&quoted)?;
    let rest = rest.trim_start().strip_prefix(':')?.trim_start().strip_prefix('"')?;
    let mut value = String::new();
    let mut chars = rest.chars();
    loop {
        match chars.next()? {
            '"' => return Some(value),
            '\\' => match chars.next()? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                'r' => value.push('\r'),
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let code = u32::from_str_radix(&digits, 16).ok()?;
                    value.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                other => value.push(other),
            },
            other => value.push(other),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::{field, last_error};

    fn log(text: &str) -> Option<String> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        last_error(file.path())
    }

    #[test]
    fn the_last_error_counts() {
        let text = "{\"level\":\"error\",\"msg\":\"first\",\"time\":\"t\"}\n\
            {\"msg\": \"exec: \\\"nope\\\": not found\\n\\u0041\", \"level\": \"error\"}\n\
            {\"level\":\"warning\",\"msg\":\"later\"}\n";
        assert_eq!(log(text).as_deref(), Some("exec: \"nope\": not found\nA"));
    }

    #[test]
    fn warnings_alone_are_no_error_and_plain_text_is_taken_whole() {
        assert_eq!(log("{\"level\":\"warning\",\"msg\":\"m\"}\n"), None);
        assert_eq!(log("runtime: out of threads\n").as_deref(), Some("runtime: out of threads"));
        assert_eq!(log(""), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in ".*") {
            field(&line, "msg");
            log(&line);
        }
    }
}
