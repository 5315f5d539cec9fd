//! The house rules as tests.
//!
//! Never: parses Rust; where a rule needs that, the wall moves into a crate.
