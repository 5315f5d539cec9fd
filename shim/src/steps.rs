//! Named steps of the static program: places where a test may kill, fail or delay it. Only with the feature
//! `failpoints`; else they are nothing, not a byte.
//!
//! Owns: the obeying. Never: what a step does; the names are `role.verb`, unique among those of the daemon too (a
//! tidy test keeps `docs/steps.txt`).

use crate::fault::Fault;

/// Marks that a step is reached that cannot fail.
#[inline(always)]
pub(crate) fn reach(name: &'static str) {
    // It has nothing to fail with.
    drop(check(name));
}

/// Marks that a step is reached that can fail, and fails where a test wants it.
#[inline(always)]
#[cfg_attr(not(feature = "failpoints"), expect(unused_variables, reason = "no name is kept in a release"))]
pub(crate) fn check(name: &'static str) -> Result<(), Fault> {
    #[cfg(feature = "failpoints")]
    obey(name)?;
    Ok(())
}

#[cfg(feature = "failpoints")]
#[expect(clippy::disallowed_methods, reason = "time that passes is what the test asks for")]
fn obey(name: &'static str) -> Result<(), Fault> {
    use protocol::failpoint::{Action, hit};
    match hit(name) {
        None => Ok(()),
        Some(Action::Kill) => {
            nix::sys::signal::raise(nix::sys::signal::Signal::SIGKILL).ok();
            Ok(())
        }
        Some(Action::Fail) => Err(Fault::new(format!("the failpoint {name} says so"))),
        Some(Action::Delay(time)) => {
            std::thread::sleep(time);
            Ok(())
        }
    }
}
