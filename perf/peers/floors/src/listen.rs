//! How each relay begins: a port on loopback, and a ready line.

use std::io::{Error, Result, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 4_096;

/// Listens on 127.0.0.1 at the port of the first argument (0: any), with every descriptor that this process may have,
/// and tells on standard output where.
///
/// # Errors
/// No port was given, or it cannot be had.
pub fn listen() -> Result<TcpListener> {
    let port = std::env::args().nth(1).and_then(|port| port.parse::<u16>().ok());
    let port = port.ok_or_else(|| Error::other("the first argument is a port"))?;
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    setrlimit(Resource::Nofile, limit)?;
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, port)).into())?;
    socket.listen(BACKLOG)?;
    let listener = TcpListener::from(socket);
    let mut output = std::io::stdout();
    writeln!(output, "{{\"ready\":{{\"ws\":\"ws://{}/\"}}}}", listener.local_addr()?)?;
    output.flush()?;
    Ok(listener)
}
