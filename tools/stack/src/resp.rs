//! A small client of the Redis protocol (RESP 2), for asking a server what it is and telling it what to be.
//!
//! ```text
//! command   *<count>\r\n  then for each word  $<bytes>\r\n<word>\r\n
//! reply     +<text>\r\n | -<error>\r\n | :<number>\r\n | $<bytes>\r\n<text>\r\n | $-1\r\n | *<count>\r\n<replies>
//! ```
//!
//! Blocking, one command at a time, every wait bounded. It trusts the server it speaks to.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

/// How long a connection or an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Elements of an array and bytes of a text that we read at most; the longest we ask for is a page of `INFO`.
const LENGTH_MAX: usize = 64 * 1024 * 1024;

/// What a server answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// A text, short or long.
    Text(String),
    /// A number.
    Number(i64),
    /// Nothing there.
    Nil,
    /// Several of them.
    Array(Vec<Reply>),
}

/// A connection to one server.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    /// Connects to a port on loopback.
    ///
    /// # Errors
    /// Nobody listens, or nobody answers.
    pub fn open(port: u16) -> Result<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        stream.set_write_timeout(Some(TIMEOUT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends one command and reads its reply.
    ///
    /// # Errors
    /// The server answered with an error, too late or not at all.
    pub fn command(&mut self, words: &[&str]) -> Result<Reply> {
        let mut bytes = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            bytes.extend_from_slice(format!("${}\r\n{word}\r\n", word.len()).as_bytes());
        }
        self.stream.get_mut().write_all(&bytes)?;
        self.reply().with_context(|| format!("at {}", words.join(" ")))
    }

    /// Sends one command whose reply is a text.
    ///
    /// # Errors
    /// As [`Connection::command`], or the reply is something else.
    pub fn text(&mut self, words: &[&str]) -> Result<String> {
        match self.command(words)? {
            Reply::Text(text) => Ok(text),
            other => bail!("{} answered {other:?}", words.join(" ")),
        }
    }

    /// One field of `INFO`; empty when the server does not have it.
    ///
    /// # Errors
    /// As [`Connection::command`].
    pub fn info(&mut self, field: &str) -> Result<String> {
        let page = self.text(&["INFO"])?;
        let value = page.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        Ok(value.unwrap_or_default().to_owned())
    }

    fn reply(&mut self) -> Result<Reply> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        let Some(line) = line.strip_suffix("\r\n") else { bail!("the server closed the connection") };
        let (kind, rest) = line.split_at_checked(1).context("an empty line")?;
        match kind {
            "+" => Ok(Reply::Text(rest.to_owned())),
            "-" => bail!("{rest}"),
            ":" => Ok(Reply::Number(rest.parse()?)),
            "$" | "*" if rest == "-1" => Ok(Reply::Nil),
            "$" => {
                let mut text = vec![0; length(rest)? + 2];
                self.stream.read_exact(&mut text)?;
                text.truncate(text.len() - 2);
                Ok(Reply::Text(String::from_utf8_lossy(&text).into_owned()))
            }
            "*" => (0..length(rest)?).map(|_| self.reply()).collect::<Result<_>>().map(Reply::Array),
            _ => bail!("no reply: {line}"),
        }
    }
}

fn length(text: &str) -> Result<usize> {
    let length = text.parse()?;
    if length > LENGTH_MAX {
        bail!("a reply of {length}");
    }
    Ok(length)
}
