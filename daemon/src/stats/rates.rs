//! Rates of processor use, from this sample and the one before.
//!
//! Owns: one sample a cgroup. Never: samples by itself.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// A sample is compared with one that is at least this old, in nanoseconds: over less, the kernel's own
/// granularity shows. The kubelet asks each 10 s, people each second.
const LEAST_AGE: u64 = NANOS_PER_SECOND / 2;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: i64,
    cpu_nanos: u64,
    /// The rate told last, told again until the sample is old enough.
    rate: Option<u64>,
}

/// The samples.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<HashMap<String, Sample>>);

impl Rates {
    /// Nanoseconds of processor time in a second since the sample before; `None`: there is no earlier one.
    pub(super) fn rate(&self, key: &str, at: i64, cpu_nanos: u64) -> Option<u64> {
        let mut samples = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = samples.get_mut(key) else {
            samples.insert(key.to_owned(), Sample { at, cpu_nanos, rate: None });
            return None;
        };
        // A clock that was set back gives no rate.
        let age = u64::try_from(at - before.at).unwrap_or(0);
        if age >= LEAST_AGE {
            let used = u128::from(cpu_nanos.saturating_sub(before.cpu_nanos));
            let rate = u64::try_from(used * u128::from(NANOS_PER_SECOND) / u128::from(age)).ok();
            *before = Sample { at, cpu_nanos, rate };
        } else if at < before.at {
            *before = Sample { at, cpu_nanos, rate: None };
        }
        before.rate
    }

    pub(super) fn keep_only(&self, there: &impl Fn(&str) -> bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|key, _| there(key));
    }
}
