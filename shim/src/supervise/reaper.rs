//! Reaps children that nobody waits for, and only those.
//!
//! While a runtime's command runs, an unknown child that has ended may be the very process whose id the command is
//! about to write down. It is reaped only when every command that ran when it was first seen has ended.
//!
//! Owns: unknown children. Never: touches a known one.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    limits::ORPHANS_MAX,
    sys::pidfd::{is_zombie_child, peek_any, reap_child},
};

/// The reaper.
#[derive(Debug, Default)]
pub(crate) struct Reaper {
    /// Commands that run, by the number they got at their start.
    flights: BTreeSet<u64>,
    /// The number of the next one.
    next: u64,
    /// Unknown ended children, and the number of the next command when they were first seen.
    orphans: BTreeMap<i32, u64>,
    /// Something may be left to reap.
    pending: bool,
}

/// A runtime's command that runs. To be given back at its end, after its pid file was read.
#[derive(Debug)]
pub(crate) struct Flight(u64);

impl Reaper {
    /// A command starts.
    pub(crate) fn begin(&mut self) -> Flight {
        let flight = self.next;
        self.next += 1;
        self.flights.insert(flight);
        Flight(flight)
    }

    /// A command has ended and what it made is known.
    pub(crate) fn end(&mut self, flight: &Flight) {
        self.flights.remove(&flight.0);
        self.pending = true;
    }

    /// Some child has ended.
    pub(crate) fn notice(&mut self) {
        self.pending = true;
    }

    /// A child is known from now on.
    pub(crate) fn claim(&mut self, pid: i32) {
        self.orphans.remove(&pid);
    }

    /// Whether a sweep may find something.
    pub(crate) fn is_pending(&self) -> bool {
        self.pending
    }

    /// Reaps what may be reaped.
    pub(crate) fn sweep(&mut self, is_known: impl Fn(i32) -> bool) {
        self.pending = false;
        while self.flights.is_empty() {
            self.orphans.clear();
            match peek_any() {
                Ok(Some(pid)) if !is_known(pid) => reap_child(pid),
                // A known one hides those behind it until its own event, which comes at once, is handled.
                Ok(Some(_)) => {
                    self.pending = true;
                    return;
                }
                Ok(None) | Err(_) => return,
            }
        }
        if matches!(peek_any(), Ok(Some(_))) {
            self.sweep_among_flights(is_known);
        }
    }

    fn sweep_among_flights(&mut self, is_known: impl Fn(i32) -> bool) {
        let oldest = self.flights.first().copied().unwrap_or(self.next);
        for pid in crate::sys::children::own() {
            if is_known(pid) || !is_zombie_child(pid) {
                continue;
            }
            match self.orphans.get(&pid) {
                Some(&seen) if oldest >= seen => {
                    reap_child(pid);
                    self.orphans.remove(&pid);
                }
                None if self.orphans.len() < ORPHANS_MAX => {
                    self.orphans.insert(pid, self.next);
                }
                Some(_) | None => {}
            }
        }
    }
}
