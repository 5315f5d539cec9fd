//! Tests of a modern node: systemd as process 1, cgroup v2 alone, every capability. They run as root of a virtual
//! machine that is thrown away (`.ci/vm`), one after the other, and use the host's own places and names: the unit as it
//! is installed, `/etc/taffrail`, `/run/taffrail`.
//!
//! Never: run on the machine of whoever calls the tests.
#![allow(unreachable_pub, missing_debug_implementations, reason = "a test program has no outside")]

#[cfg(test)]
mod killed;
#[cfg(test)]
mod node;
#[cfg(test)]
mod remains;
#[cfg(test)]
mod runs;
#[cfg(test)]
mod unit;
