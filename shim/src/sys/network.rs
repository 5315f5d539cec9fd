//! Brings the loopback device of this process's network namespace up.
//!
//! Owns: one ioctl. Never: any other device.

use std::os::fd::AsRawFd;

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

nix::ioctl_write_ptr_bad!(
    /// Sets a device's flags.
    set_flags,
    libc::SIOCSIFFLAGS,
    libc::ifreq
);

/// Sets `lo` up; the kernel gives it 127.0.0.1 and ::1 by itself.
pub(crate) fn loopback_up() -> nix::Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut request = libc::ifreq {
        ifr_name: [0; libc::IFNAMSIZ],
        ifr_ifru: libc::__c_anonymous_ifr_ifru { ifru_flags: 0 },
    };
    for (place, &letter) in request.ifr_name.iter_mut().zip(b"lo") {
        *place = libc::c_char::try_from(letter).unwrap_or_default();
    }
    request.ifr_ifru.ifru_flags =
        libc::c_short::try_from(libc::IFF_UP | libc::IFF_RUNNING).unwrap_or_default();
    // SAFETY: the ioctl reads one ifreq with a terminated name and its flags, which outlives the call.
    unsafe { set_flags(any.as_raw_fd(), &raw const request) }.map(drop)
}
