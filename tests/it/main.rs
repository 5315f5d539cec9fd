//! Tests of the real binaries through their real doors, one module for each feature.
//!
//! Never: a fake where the host has the real thing.

fn main() {}
