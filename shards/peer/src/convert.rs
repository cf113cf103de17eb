//! Between what the program says and the bodies that travel.

use ringway_engine::event::{Event, encode_message};
use ringway_engine::packet::schema::Sent;
use ringway_store::ports::{ServerMessage, Signal};

use crate::body::{
    Body, BodyError, DeliverItemV1, DeliverV1, KickV1, NudgeV1, SentV1, SignalV1, SubmitV1, TransientToV1, TransientV1,
};
use crate::words::{Ask, Deliver, DeliverItem, Reply, TransientPush, TransientTo, Word};

impl From<&Word> for Body {
    fn from(word: &Word) -> Self {
        match word {
            Word::Deliver(deliver) => Self::Deliver(DeliverV1 {
                conv: deliver.conv.clone(),
                epoch: deliver.epoch,
                items: deliver.items.iter().map(item_body).collect(),
            }),
            Word::Transient(push) => Self::Transient(TransientV1 {
                to: match &push.to {
                    TransientTo::Users(users) => TransientToV1::Users(users.clone()),
                    TransientTo::Group(group) => TransientToV1::Group(group.clone()),
                },
                json: push.json.clone(),
                protobuf: push.protobuf.clone(),
            }),
            Word::Kick { session, reason } => Self::Kick(KickV1 { session: *session, reason: reason.clone() }),
            Word::Nudge { uid, conv, epoch, head } => {
                Self::Nudge(NudgeV1 { uid: uid.clone(), conv: conv.clone(), epoch: *epoch, head: *head })
            }
            Word::Missed => Self::Missed,
        }
    }
}

fn item_body(item: &DeliverItem) -> DeliverItemV1 {
    DeliverItemV1 { seq: item.seq, event: encode_message(&item.event).to_vec() }
}

impl TryFrom<Body> for Word {
    type Error = BodyError;

    fn try_from(body: Body) -> Result<Self, BodyError> {
        let kind = body.kind();
        match body {
            Body::Deliver(deliver) => deliver_of(deliver).map(Self::Deliver).ok_or(BodyError::Malformed(kind)),
            Body::Transient(push) => Ok(Self::Transient(TransientPush {
                to: match push.to {
                    TransientToV1::Users(users) => TransientTo::Users(users),
                    TransientToV1::Group(group) => TransientTo::Group(group),
                },
                json: push.json,
                protobuf: push.protobuf,
            })),
            Body::Kick(kick) => Ok(Self::Kick { session: kick.session, reason: kick.reason }),
            Body::Nudge(nudge) => {
                Ok(Self::Nudge { uid: nudge.uid, conv: nudge.conv, epoch: nudge.epoch, head: nudge.head })
            }
            Body::Missed => Ok(Self::Missed),
            _ => Err(BodyError::Unknown(kind)),
        }
    }
}

/// `None` unless every event is a message of the conversation, and the numbers rise.
fn deliver_of(body: DeliverV1) -> Option<Deliver> {
    let mut items = Vec::with_capacity(body.items.len());
    let mut last = 0;
    for item in body.items {
        let Ok(Event::Message(event)) = Event::decode(&item.event) else { return None };
        if event.conv != body.conv || item.seq <= last {
            return None;
        }
        last = item.seq;
        items.push(DeliverItem { seq: item.seq, event });
    }
    Some(Deliver { conv: body.conv, epoch: body.epoch, items })
}

impl From<Ask> for Body {
    fn from(ask: Ask) -> Self {
        match ask {
            Ask::Signal(Signal::MembersAdded { conv, uids }) => Self::Signal(SignalV1::MembersAdded { conv, uids }),
            Ask::Signal(Signal::MembersRemoved { conv, uids }) => Self::Signal(SignalV1::MembersRemoved { conv, uids }),
            Ask::Signal(Signal::SessionRevoked { sid, until_ms }) => {
                Self::Signal(SignalV1::SessionRevoked { sid, until_ms })
            }
            Ask::Resync => Self::Resync,
            Ask::Submit(message) => Self::Submit(SubmitV1 {
                conv: message.conv,
                client_msg_id: message.client_msg_id,
                kind: message.kind,
                body: message.body,
            }),
            Ask::Trace(msg_id) => Self::Trace(msg_id),
            Ask::Online(uids) => Self::Online(uids),
            Ask::Ping => Self::Ping,
        }
    }
}

impl TryFrom<Body> for Ask {
    type Error = BodyError;

    fn try_from(body: Body) -> Result<Self, BodyError> {
        Ok(match body {
            Body::Signal(signal) => Self::Signal(match signal {
                SignalV1::MembersAdded { conv, uids } => Signal::MembersAdded { conv, uids },
                SignalV1::MembersRemoved { conv, uids } => Signal::MembersRemoved { conv, uids },
                SignalV1::SessionRevoked { sid, until_ms } => Signal::SessionRevoked { sid, until_ms },
            }),
            Body::Resync => Self::Resync,
            Body::Submit(submit) => Self::Submit(ServerMessage {
                conv: submit.conv,
                client_msg_id: submit.client_msg_id,
                kind: submit.kind,
                body: submit.body,
            }),
            Body::Trace(msg_id) => Self::Trace(msg_id),
            Body::Online(uids) => Self::Online(uids),
            Body::Ping => Self::Ping,
            other => return Err(BodyError::Unknown(other.kind())),
        })
    }
}

impl From<Reply> for Body {
    fn from(reply: Reply) -> Self {
        match reply {
            Reply::Done => Self::Done,
            Reply::Sent(sent) => Self::Sent(SentV1 {
                conv: sent.conv,
                msg_id: sent.msg_id,
                epoch: sent.epoch,
                seq: sent.seq,
                ts: sent.ts,
            }),
            Reply::Temporary(why) => Self::Temporary(why),
            Reply::Refused(why) => Self::Refused(why),
            Reply::Trace(json) => Self::Traced(json),
            Reply::Online(uids) => Self::AreOnline(uids),
        }
    }
}

impl TryFrom<Body> for Reply {
    type Error = BodyError;

    fn try_from(body: Body) -> Result<Self, BodyError> {
        Ok(match body {
            Body::Done => Self::Done,
            Body::Sent(sent) => {
                Self::Sent(Sent { conv: sent.conv, msg_id: sent.msg_id, epoch: sent.epoch, seq: sent.seq, ts: sent.ts })
            }
            Body::Temporary(why) => Self::Temporary(why),
            Body::Refused(why) => Self::Refused(why),
            Body::Traced(json) => Self::Trace(json),
            Body::AreOnline(uids) => Self::Online(uids),
            other => return Err(BodyError::Unknown(other.kind())),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use ringway_engine::event::{MessageEvent, ReadEvent};
    use rkyv::util::AlignedVec;

    use super::*;
    use crate::body::align;
    use crate::frame::{Class, class};

    fn event(conv: &str, body: &str) -> MessageEvent {
        MessageEvent {
            conv: conv.into(),
            msg_id: 7,
            from: "a".into(),
            client_msg_id: "c".into(),
            kind: "text".into(),
            body: body.into(),
            enc: "".into(),
            ts_ms: 1,
        }
    }

    fn text() -> impl Strategy<Value = String> {
        ".{0,24}"
    }

    fn texts() -> impl Strategy<Value = Vec<String>> {
        prop::collection::vec(text(), 0..6)
    }

    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), 0..80)
    }

    fn word() -> impl Strategy<Value = Word> {
        let items = prop::collection::btree_map(1_u64.., text(), 0..6);
        let deliver = (text(), any::<u64>(), items).prop_map(|(conv, epoch, items)| {
            let items = items.into_iter().map(|(seq, body)| DeliverItem { seq, event: event(&conv, &body) }).collect();
            Word::Deliver(Deliver { conv, epoch, items })
        });
        let to = prop_oneof![texts().prop_map(TransientTo::Users), text().prop_map(TransientTo::Group)];
        let push = (to, bytes(), bytes());
        prop_oneof![
            deliver,
            push.prop_map(|(to, json, protobuf)| Word::Transient(TransientPush { to, json, protobuf })),
            (any::<u64>(), text()).prop_map(|(session, reason)| Word::Kick { session, reason }),
            (text(), text(), any::<u64>(), any::<u64>()).prop_map(|(uid, conv, epoch, head)| Word::Nudge {
                uid,
                conv,
                epoch,
                head
            }),
        ]
    }

    fn ask() -> impl Strategy<Value = Ask> {
        let submit = (text(), text(), text(), text());
        prop_oneof![
            (text(), texts()).prop_map(|(conv, uids)| Ask::Signal(Signal::MembersAdded { conv, uids })),
            (text(), texts()).prop_map(|(conv, uids)| Ask::Signal(Signal::MembersRemoved { conv, uids })),
            (text(), any::<u64>()).prop_map(|(sid, until_ms)| Ask::Signal(Signal::SessionRevoked { sid, until_ms })),
            submit.prop_map(|(conv, client_msg_id, kind, body)| {
                Ask::Submit(ServerMessage { conv, client_msg_id, kind, body })
            }),
            any::<u64>().prop_map(Ask::Trace),
            texts().prop_map(Ask::Online),
            Just(Ask::Resync),
            Just(Ask::Ping),
        ]
    }

    fn reply() -> impl Strategy<Value = Reply> {
        let sent = (text(), any::<[u64; 4]>());
        prop_oneof![
            sent.prop_map(|(conv, [msg_id, epoch, seq, ts])| Reply::Sent(Sent { conv, msg_id, epoch, seq, ts })),
            text().prop_map(Reply::Temporary),
            text().prop_map(Reply::Refused),
            text().prop_map(Reply::Trace),
            texts().prop_map(Reply::Online),
            Just(Reply::Done),
        ]
    }

    /// Over the wire and back, at any place in a buffer.
    fn travelled(body: &Body, wanted: Class) -> Body {
        assert_eq!(class(body.kind()), wanted);
        let mut stream = vec![0; 3];
        stream.extend_from_slice(&body.encode());
        Body::decode(body.kind(), align(&mut AlignedVec::new(), &stream[3..])).unwrap()
    }

    proptest! {
        #[test]
        fn a_word_arrives_as_it_was_said(word in word()) {
            prop_assert_eq!(Word::try_from(travelled(&Body::from(&word), Class::Word)), Ok(word));
        }

        #[test]
        fn an_ask_arrives_as_it_was_asked(ask in ask()) {
            prop_assert_eq!(Ask::try_from(travelled(&Body::from(ask.clone()), Class::Ask)), Ok(ask));
        }

        #[test]
        fn a_reply_arrives_as_it_was_given(reply in reply()) {
            prop_assert_eq!(Reply::try_from(travelled(&Body::from(reply.clone()), Class::Reply)), Ok(reply));
        }

        #[test]
        fn any_bytes_are_a_body_or_refused(kind: u8, bytes in bytes()) {
            if let Ok(body) = Body::decode(kind, align(&mut AlignedVec::new(), &bytes)) {
                prop_assert_eq!(body.kind(), kind);
                let _ = Word::try_from(body.clone());
                prop_assert!(Ask::try_from(body.clone()).is_err() || Reply::try_from(body).is_err());
            }
        }
    }

    #[test]
    fn a_batch_whose_parts_do_not_fit_is_refused() {
        let message = |conv: &str| encode_message(&event(conv, "x")).to_vec();
        let read = ReadEvent { conv: "c".into(), uid: "a".into(), seq: 1, ts_ms: 1 };
        let read = Event::Read(read).encode().to_vec();
        for (items, sound) in [
            (vec![(1, message("c")), (2, message("c"))], true),
            (vec![(2, message("c")), (1, message("c"))], false),
            (vec![(1, message("c")), (1, message("c"))], false),
            (vec![(0, message("c"))], false),
            (vec![(1, message("d"))], false),
            (vec![(1, read)], false),
            (vec![(1, b"garbage".to_vec())], false),
        ] {
            let items = items.into_iter().map(|(seq, event)| DeliverItemV1 { seq, event }).collect();
            let body = Body::Deliver(DeliverV1 { conv: "c".into(), epoch: 1, items });
            assert_eq!(Word::try_from(body).is_ok(), sound);
        }
    }
}
