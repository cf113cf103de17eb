//! The JSON format, read by borrowing: a text is copied only when it holds escapes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Message, Packet, Unreadable, frames};

#[derive(Deserialize)]
struct Line<'a> {
    #[serde(default)]
    id: u64,
    #[serde(borrow)]
    connected: Option<Standing<'a>>,
    sent: Option<Numbered>,
    #[serde(borrow)]
    message: Option<Text<'a>>,
    #[serde(borrow)]
    messages: Option<Page<'a>>,
    #[serde(borrow)]
    signal: Option<Call<'a>>,
    error: Option<Refused>,
    pong: Option<IgnoredAny>,
    ok: Option<IgnoredAny>,
    receipt: Option<IgnoredAny>,
    typing: Option<IgnoredAny>,
    #[serde(borrow)]
    resync: Option<Named<'a>>,
}

#[derive(Deserialize)]
struct Numbered {
    #[serde(default)]
    seq: u64,
}

#[derive(Deserialize)]
struct Refused {
    #[serde(default)]
    code: u32,
}

#[derive(Deserialize)]
struct Standing<'a> {
    #[serde(borrow, default)]
    recovered: BTreeMap<Cow<'a, str>, bool>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow, default)]
    conv: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow, default)]
    conv: Cow<'a, str>,
    #[serde(default)]
    more: bool,
    #[serde(borrow, default)]
    items: Vec<Text<'a>>,
}

#[derive(Deserialize)]
struct Call<'a> {
    #[serde(borrow, default)]
    from: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Text<'a> {
    #[serde(borrow, default)]
    conv: Cow<'a, str>,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    seq: u64,
    #[serde(borrow, default)]
    from: Cow<'a, str>,
    #[serde(borrow, default)]
    client_msg_id: Cow<'a, str>,
    #[serde(borrow, default)]
    body: Cow<'a, str>,
}

impl Text<'_> {
    fn packet(&self) -> Packet<'_> {
        Packet::Message(Message {
            conv: self.conv.as_bytes(),
            epoch: self.epoch,
            seq: self.seq,
            from: self.from.as_bytes(),
            client_msg_id: self.client_msg_id.as_bytes(),
            body: self.body.as_bytes(),
        })
    }
}

/// Appends an `ack`. A conversation's id holds nothing that JSON would escape.
pub(super) fn append_ack(conv: &[u8], epoch: u64, seq: u64, out: &mut Vec<u8>) {
    let conv = String::from_utf8_lossy(conv);
    let payload = format!("{{\"ack\":{{\"conv\":\"{conv}\",\"epoch\":{epoch},\"seq\":{seq}}}}}");
    frames::append(out, frames::TEXT, payload.as_bytes());
}

/// Reads one object a line.
pub(super) fn read(payload: &[u8], on: &mut dyn FnMut(&Packet<'_>)) -> Result<(), Unreadable> {
    for line in payload.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let line: Line<'_> = serde_json::from_slice(line).map_err(|_| Unreadable)?;
        if let Some(message) = &line.message {
            on(&message.packet());
        } else if let Some(sent) = line.sent {
            on(&Packet::Sent { id: line.id, seq: sent.seq });
        } else if let Some(page) = &line.messages {
            page.items.iter().for_each(|item| on(&item.packet()));
            on(&Packet::Page { id: line.id, conv: page.conv.as_bytes(), more: page.more });
        } else if let Some(signal) = &line.signal {
            on(&Packet::Signal { from: signal.from.as_bytes(), body: signal.body.as_bytes() });
        } else if let Some(error) = line.error {
            on(&Packet::Error { id: line.id, code: error.code });
        } else if let Some(standing) = &line.connected {
            for (conv, _) in standing.recovered.iter().filter(|(_, recovered)| !**recovered) {
                on(&Packet::Unrecovered { conv: conv.as_bytes() });
            }
            on(&Packet::Connected);
        } else if line.pong.is_some() {
            on(&Packet::Pong);
        } else if line.ok.is_some() {
            on(&Packet::Done { id: line.id });
        } else if line.receipt.is_some() {
            on(&Packet::Receipt);
        } else if line.typing.is_some() {
            on(&Packet::Typing);
        } else if let Some(resync) = &line.resync {
            on(&Packet::Resync { conv: resync.conv.as_bytes() });
        } else {
            on(&Packet::Other);
        }
    }
    Ok(())
}
