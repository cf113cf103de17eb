//! Just enough HTTP/1.1 to prepare a run and to read counters: one request a connection, blocking.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _};
use std::time::Duration;

use anyhow::{Context as _, bail};
use serde_json::Value;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 8 * 1024 * 1024;
const TIMEOUT: Duration = Duration::from_secs(30);

/// An `http://` base address.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    host: String,
}

impl Http {
    /// From a URL such as `http://127.0.0.1:7480`.
    ///
    /// # Errors
    /// Not such a URL.
    pub(crate) fn new(url: &str) -> anyhow::Result<Self> {
        let host = url.strip_prefix("http://").with_context(|| format!("{url}: only http:// is spoken"))?;
        let host = host.split('/').next().unwrap_or_default().to_owned();
        resolve(&host)?;
        Ok(Self { host })
    }

    /// The text at a path.
    ///
    /// # Errors
    /// No connection, or a status other than 200.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<String> {
        let (status, text) = self.exchange(&format!("GET {path} HTTP/1.1\r\n"), "")?;
        if status != 200 {
            bail!("GET {path}: HTTP {status}");
        }
        Ok(text)
    }

    /// Status and JSON answer to a JSON body.
    ///
    /// # Errors
    /// No connection, or no JSON.
    pub(crate) fn post(&self, path: &str, token: Option<&str>, body: &Value) -> anyhow::Result<(u16, Value)> {
        let bearer = token.map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let head = format!("POST {path} HTTP/1.1\r\nContent-Type: application/json\r\n{bearer}");
        let (status, text) = self.exchange(&head, &body.to_string())?;
        Ok((status, serde_json::from_str(&text).with_context(|| format!("POST {path}: HTTP {status}: {text}"))?))
    }

    fn exchange(&self, head: &str, body: &str) -> anyhow::Result<(u16, String)> {
        let address = resolve(&self.host)?;
        let mut stream =
            TcpStream::connect_timeout(&address, TIMEOUT).with_context(|| format!("http://{}", self.host))?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        let (host, length) = (&self.host, body.len());
        let request = format!("{head}Host: {host}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer)?;
        let answer = String::from_utf8(answer).context("an HTTP answer that is not text")?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an HTTP answer without a head")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("no HTTP status")?;
        if head.to_ascii_lowercase().contains("transfer-encoding: chunked") {
            return Ok((status, dechunk(body).context("an HTTP answer with broken chunks")?));
        }
        Ok((status, body.to_owned()))
    }
}

/// The first address of `host:port`.
///
/// # Errors
/// There is none.
pub(crate) fn resolve(host: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = host.to_socket_addrs().with_context(|| format!("{host} is no host and port"))?;
    addresses.next().with_context(|| format!("{host} has no address"))
}

fn dechunk(mut body: &str) -> Option<String> {
    let mut text = String::new();
    loop {
        let (size, rest) = body.split_once("\r\n")?;
        let size = usize::from_str_radix(size.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(text);
        }
        text.push_str(rest.get(..size)?);
        body = rest.get(size..)?.strip_prefix("\r\n")?;
    }
}
