//! The house rules as tests: the ten that matter most (`CONTRIBUTING.md` has them all).
//!
//! They search texts and parse nothing; where a rule needs more, the wall moves into a crate. An exception stands
//! beside its rule, with its reason, and no list of them grows past five lines. Never: a rule that clippy has.

#[cfg(test)]
mod calls;
#[cfg(test)]
mod dependencies;
#[cfg(test)]
mod files;
#[cfg(test)]
mod progress;
#[cfg(test)]
mod source;
#[cfg(test)]
mod steps;
#[cfg(test)]
mod traits;
#[cfg(test)]
mod walls;
#[cfg(test)]
mod words;
