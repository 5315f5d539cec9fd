//! What a descriptor is to the shim.
//!
//! Owns: the names and their order. Never: waits.

use crate::sys::epoll::{Epoll, Mark};

/// The shim's set of descriptors.
pub(crate) type Poll = Epoll<Source>;

/// What a descriptor is to the shim. Numbered ones are never reused, so a late event finds nobody.
///
/// The order is the order of work: output before calls, so that a reopened log holds what was written before;
/// endings last, so that the last output is in the log before the exit is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// The container's stdout (0) or stderr (1).
    Output(u32),
    /// What a runtime's command says.
    Words(u32),
    /// The container's stdin has room.
    Stdin,
    /// Something that feeds stdin.
    Feed(u32),
    /// A runtime connects to the console socket, or sends on it.
    Console,
    /// The kernel counted an out-of-memory event.
    Oom,
    /// Somebody connects to the control socket.
    Listener,
    /// A connection.
    Connection(u32),
    /// The keeper says something.
    Keeper,
    /// A runtime's create, undo or start has ended.
    Command,
    /// An exec's command or process has ended.
    Exec(u32),
    /// The init process has ended.
    Init,
    /// Some child has ended.
    Child,
}

impl Mark for Source {
    fn to_parts(self) -> (u32, u32) {
        match self {
            Self::Output(number) => (0, number),
            Self::Words(number) => (1, number),
            Self::Stdin => (2, 0),
            Self::Feed(number) => (3, number),
            Self::Console => (4, 0),
            Self::Oom => (5, 0),
            Self::Listener => (6, 0),
            Self::Connection(number) => (7, number),
            Self::Command => (8, 0),
            Self::Exec(number) => (9, number),
            Self::Init => (10, 0),
            Self::Child => (11, 0),
            Self::Keeper => (12, 0),
        }
    }

    fn of_parts(kind: u32, number: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::Output(number),
            1 => Self::Words(number),
            2 => Self::Stdin,
            3 => Self::Feed(number),
            4 => Self::Console,
            5 => Self::Oom,
            6 => Self::Listener,
            7 => Self::Connection(number),
            8 => Self::Command,
            9 => Self::Exec(number),
            10 => Self::Init,
            11 => Self::Child,
            12 => Self::Keeper,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{Mark, Source};

    #[test]
    fn every_source_comes_back() {
        let sources = [
            Source::Output(7),
            Source::Words(7),
            Source::Stdin,
            Source::Feed(7),
            Source::Console,
            Source::Oom,
            Source::Listener,
            Source::Connection(7),
            Source::Command,
            Source::Exec(7),
            Source::Init,
            Source::Child,
            Source::Keeper,
        ];
        for (kind, source) in (0..).zip(sources) {
            assert_eq!(source.to_parts().0, kind);
            assert_eq!(Source::of_parts(kind, source.to_parts().1), Some(source));
        }
        assert_eq!(Source::of_parts(13, 0), None);
    }
}
