//! The C library's heap.
//!
//! Owns: one call. Never: an allocation.

/// Gives free pages of all arenas back to the system. Takes a millisecond for some megabytes, with each arena locked in
/// turn. Blocking.
pub fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: the call takes a plain number and touches only memory that nobody has.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
