//! What a container is told to do, and so how it may end.
//!
//! Never: asks a daemon.

use crate::random::Random;

/// SIGKILL, as a shell counts.
const KILLED: i32 = 137;

/// The demo program ends so at SIGTERM, unless its command says otherwise.
const AT_TERM: i32 = 0;

/// runc's own first process ends so at SIGTERM, where the signal came before it had become the program.
const NOT_YET: i32 = 2;

/// One container's program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Plan {
    /// Ends by itself with this code, after so many milliseconds.
    Exit(u8, u64),
    /// Runs until it is asked, and then ends with this code.
    Trap(u8),
    /// Runs until it is killed.
    Stubborn,
    /// Cannot be started.
    Broken,
}

impl Plan {
    /// One by chance.
    pub fn random(random: &mut Random) -> Self {
        let code = u8::try_from(random.below(100) + 1).unwrap_or(1);
        match random.below(10) {
            0..3 => Self::Exit(code, random.below(1500)),
            3..8 => Self::Trap(code),
            8 => Self::Stubborn,
            _ => Self::Broken,
        }
    }

    /// The arguments of the demo program; empty: there is no such program.
    pub fn args(self) -> Vec<String> {
        let words = match self {
            Self::Exit(code, ms) => format!("exit {code} {ms}"),
            Self::Trap(code) => format!("trap {code} 3600"),
            Self::Stubborn => "ignore-term 3600".to_owned(),
            Self::Broken => String::new(),
        };
        words.split_whitespace().map(str::to_owned).collect()
    }

    /// Whether it may have ended with this code. `told`: somebody asked for its end.
    pub fn may_end(self, code: i32, told: bool) -> bool {
        match self {
            Self::Exit(own, _) => {
                code == i32::from(own) || (told && [KILLED, AT_TERM, NOT_YET].contains(&code))
            }
            // Its own handler may not be there yet when the signal comes.
            Self::Trap(own) => told && [i32::from(own), KILLED, AT_TERM, NOT_YET].contains(&code),
            Self::Stubborn => told && [KILLED, AT_TERM, NOT_YET].contains(&code),
            Self::Broken => false,
        }
    }

    /// Whether it ends by itself.
    pub fn ends(self) -> bool {
        matches!(self, Self::Exit(..) | Self::Broken)
    }
}
