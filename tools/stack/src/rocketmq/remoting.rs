//! Single requests in RocketMQ's own protocol, for asking a server whether it serves and telling it what topics it has.
//!
//! ```text
//! u32  length of all that follows
//! u32  length of the header; the highest byte says how it is written, 0 for JSON
//! ...  header: {"code":…,"flag":…,"opaque":…,"extFields":{…}}
//! ...  body
//! ```
//!
//! Blocking, a connection a request, every wait bounded. It trusts the server it speaks to.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use serde_json::{Map, Value, json};

use super::access::Account;
use super::tls::RocketMqTls;

/// How long a connection or an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that we read.
const LENGTH_MAX: u32 = 16 * 1024 * 1024;

/// What is asked for, by the protocol's number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    /// Make a topic, or change it.
    UpdateTopic = 17,
    /// Change settings of the broker.
    UpdateBrokerConfig = 25,
    /// What settings a broker has.
    BrokerConfig = 26,
    /// Which brokers have a topic.
    Route = 105,
    /// Make an account of the broker's access control.
    CreateUser = 3001,
    /// Give an account rights.
    UpdateAcl = 3007,
}

/// The answer to a request.
#[derive(Debug)]
pub(super) struct Answer {
    /// 0 is success.
    pub(super) code: i64,
    /// What a failure says.
    pub(super) remark: String,
    /// What was asked for.
    pub(super) body: Vec<u8>,
}

/// What a server asks of those who speak to it.
#[derive(Debug, Clone, Default)]
pub(super) struct Door {
    /// Who signs.
    pub(super) account: Option<Account>,
    pub(super) tls: Option<RocketMqTls>,
}

/// Sends a request to a port on loopback and waits for the answer.
pub(super) fn request(port: u16, door: &Door, code: Code, fields: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let frame = match &door.account {
        Some(account) => {
            let signed = signed(account, fields, body);
            let fields: Vec<(&str, &str)> =
                signed.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            frame(code, &fields, body)?
        }
        None => frame(code, fields, body)?,
    };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    match &door.tls {
        Some(tls) => exchange(&mut tls.over(stream)?, &frame),
        None => exchange(&mut stream, &frame),
    }
}

fn exchange(stream: &mut (impl Read + Write), frame: &[u8]) -> Result<Answer> {
    stream.write_all(frame)?;
    let length = read_length(stream)?;
    if !(4..=LENGTH_MAX).contains(&length) {
        bail!("an answer of {length} bytes");
    }
    let mut bytes = vec![0; usize::try_from(length)?];
    stream.read_exact(&mut bytes)?;
    answer(&bytes).context("an answer that is none")
}

/// The fields with a signature: HMAC-SHA1 over all values in the order of their names, and the body.
fn signed(account: &Account, fields: &[(&str, &str)], body: &[u8]) -> Vec<(String, String)> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let mut signed: Vec<(String, String)> = fields.iter().map(own).collect();
    signed.push(("AccessKey".to_owned(), account.name.clone()));
    signed.sort_unstable();
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, account.secret.as_bytes());
    let mut context = hmac::Context::with_key(&key);
    for (_, value) in &signed {
        context.update(value.as_bytes());
    }
    context.update(body);
    signed.push(("Signature".to_owned(), STANDARD.encode(context.sign())));
    signed
}

fn frame(code: Code, fields: &[(&str, &str)], body: &[u8]) -> Result<Vec<u8>> {
    let fields: Map<String, Value> = fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect();
    let header = json!({
        "code": code as u32, "flag": 0, "language": "JAVA", "opaque": 1, "version": 0, "extFields": fields,
        "serializeTypeCurrentRPC": "JSON",
    });
    let header = serde_json::to_vec(&header)?;
    let mut frame = Vec::new();
    frame.extend_from_slice(&u32::try_from(4 + header.len() + body.len())?.to_be_bytes());
    frame.extend_from_slice(&u32::try_from(header.len())?.to_be_bytes());
    frame.extend_from_slice(&header);
    frame.extend_from_slice(body);
    Ok(frame)
}

fn read_length(stream: &mut impl Read) -> Result<u32> {
    let mut bytes = [0; 4];
    stream.read_exact(&mut bytes)?;
    Ok(u32::from_be_bytes(bytes))
}

fn answer(bytes: &[u8]) -> Option<Answer> {
    let (length, rest) = bytes.split_at_checked(4)?;
    let length = u32::from_be_bytes(length.try_into().ok()?) & 0x00FF_FFFF;
    let (header, body) = rest.split_at_checked(usize::try_from(length).ok()?)?;
    let header: Value = serde_json::from_slice(header).ok()?;
    let remark = header.get("remark").and_then(Value::as_str).unwrap_or_default();
    Some(Answer { code: header.get("code")?.as_i64()?, remark: remark.to_owned(), body: body.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_read_back_as_it_was_written() {
        let frame = frame(Code::UpdateTopic, &[("topic", "im_event")], b"body").unwrap();
        assert_eq!(u32::from_be_bytes(frame[..4].try_into().unwrap()) as usize, frame.len() - 4);
        let answer = answer(&frame[4..]).unwrap();
        assert_eq!((answer.code, answer.body.as_slice()), (17, b"body".as_slice()));
    }

    #[test]
    fn a_signature_is_what_the_java_client_computes() {
        let account = Account { name: "ak".to_owned(), secret: "secret".to_owned() };
        let signed = signed(&account, &[("z", "last"), ("a", "first"), ("SecurityToken", "token")], b"body");
        assert_eq!(signed.last().unwrap().1, "wuJkFDNRMKY6aFXTDwT/vg0UC8M=");
    }

    #[test]
    fn a_cut_answer_is_none() {
        let frame = frame(Code::Route, &[], b"").unwrap();
        assert!(answer(&frame[4..frame.len() - 1]).is_none());
        assert!(answer(&frame[4..6]).is_none());
    }
}
