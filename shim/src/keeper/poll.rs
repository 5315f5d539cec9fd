//! What a descriptor is to the keeper.
//!
//! Owns: the names and their order. Never: waits.

use crate::sys::epoll::{Epoll, Mark};

/// The keeper's set of descriptors.
pub(crate) type Poll = Epoll<Source>;

/// What a descriptor is to the keeper. Numbers are never used twice, so a late event finds nobody.
///
/// The order is the order of work: what was said counts before that its sayer has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Source {
    /// A shim says something.
    Channel(u32),
    /// A shim may have ended.
    Shim(u32),
    /// A process that a killed shim left may have ended.
    Ward(u32),
    /// A daemon orders something.
    Daemon(u32),
    /// A daemon connects.
    Listener,
    /// Some child has ended.
    Child,
}

impl Mark for Source {
    fn to_parts(self) -> (u32, u32) {
        match self {
            Self::Channel(number) => (0, number),
            Self::Shim(number) => (1, number),
            Self::Ward(number) => (2, number),
            Self::Daemon(number) => (3, number),
            Self::Listener => (4, 0),
            Self::Child => (5, 0),
        }
    }

    fn of_parts(kind: u32, number: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::Channel(number),
            1 => Self::Shim(number),
            2 => Self::Ward(number),
            3 => Self::Daemon(number),
            4 => Self::Listener,
            5 => Self::Child,
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
            Source::Channel(7),
            Source::Shim(7),
            Source::Ward(7),
            Source::Daemon(7),
            Source::Listener,
            Source::Child,
        ];
        for (kind, source) in (0..).zip(sources) {
            assert_eq!(source.to_parts().0, kind);
            assert_eq!(Source::of_parts(kind, source.to_parts().1), Some(source));
        }
        assert_eq!(Source::of_parts(6, 0), None);
    }
}
