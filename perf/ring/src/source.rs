//! Source addresses of connections that are made by the thousand.

use std::io::{Error, Result};
use std::os::fd::{AsFd, AsRawFd as _};

/// Lets a socket that is bound to an address and no port have its port chosen when it connects
/// (`IP_BIND_ADDRESS_NO_PORT`, ip(7)).
///
/// Chosen at the bind, a port must be free whatever it is connected to: beside the sockets of a run of a moment ago the
/// kernel searched seconds for those of 5,000. At the connect it need only differ from those to the same server.
///
/// # Errors
/// What the kernel said.
pub fn choose_port_late(socket: impl AsFd) -> Result<()> {
    let on: libc::c_int = 1;
    let length = size_of::<libc::c_int>() as libc::socklen_t;
    let socket = socket.as_fd().as_raw_fd();
    // SAFETY: the option's value is an int, which lives until the call returns, and so does the descriptor.
    let answer = unsafe {
        libc::setsockopt(socket, libc::IPPROTO_IP, libc::IP_BIND_ADDRESS_NO_PORT, (&raw const on).cast(), length)
    };
    if answer == 0 { Ok(()) } else { Err(Error::last_os_error()) }
}
