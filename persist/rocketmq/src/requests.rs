//! The requests that this adapter makes of name servers and brokers, and how their answers are read.
//!
//! The body of a batch is its records, one after the other, all numbers big-endian:
//!
//! ```text
//! i32  length of all of this record
//! i32  0 (the broker writes its magic code)
//! i32  0 (and its checksum)
//! i32  0 (flags)
//! i32  length of the bytes
//! ...  the bytes
//! i16  0 (length of properties: there are none)
//! ```

use std::time::{SystemTime, UNIX_EPOCH};

use bytes::{BufMut as _, Bytes, BytesMut};
use ringway_store::ports::{LogOffset, LogRecord};
use rocketmq_protocol::protocol::body::message_codec::decode_message_frame;
use rocketmq_protocol::protocol::header::client_request_header::GetRouteInfoRequestHeader;
use rocketmq_protocol::protocol::header::get_max_offset_request_header::GetMaxOffsetRequestHeader;
use rocketmq_protocol::protocol::header::get_max_offset_response_header::GetMaxOffsetResponseHeader;
use rocketmq_protocol::protocol::header::message_operation_header::send_message_request_header_v2::SendMessageRequestHeaderV2;
use rocketmq_protocol::protocol::header::pull_message_request_header::PullMessageRequestHeader;
use rocketmq_protocol::protocol::header::pull_message_response_header::PullMessageResponseHeader;
use rocketmq_protocol::protocol::header::query_consumer_offset_request_header::QueryConsumerOffsetRequestHeader;
use rocketmq_protocol::protocol::header::query_consumer_offset_response_header::QueryConsumerOffsetResponseHeader;
use rocketmq_protocol::protocol::header::update_consumer_offset_header::UpdateConsumerOffsetRequestHeader;
use rocketmq_protocol::protocol::route::topic_route_data::TopicRouteData;
use rocketmq_protocol::{RemotingCommand, RequestCode};

use crate::config::RocketConfig;
use crate::error::NoAnswer;
use crate::limits::{FRAME_BYTES, SUSPEND_MS};

/// What brokers answer, by the protocol's numbers.
mod code {
    pub(super) const SUCCESS: i32 = 0;
    pub(super) const SYSTEM_BUSY: i32 = 2;
    pub(super) const FLUSH_DISK_TIMEOUT: i32 = 10;
    pub(super) const SLAVE_NOT_AVAILABLE: i32 = 11;
    pub(super) const FLUSH_SLAVE_TIMEOUT: i32 = 12;
    pub(super) const NO_PERMISSION: i32 = 16;
    pub(super) const PULL_NOT_FOUND: i32 = 19;
    pub(super) const PULL_RETRY_IMMEDIATELY: i32 = 20;
    pub(super) const PULL_OFFSET_MOVED: i32 = 21;
    pub(super) const QUERY_NOT_FOUND: i32 = 22;
}

/// The broker holds the pull until something comes.
const SUSPEND: i32 = 2;
/// The subscription is part of the request: no consumer is registered with the broker.
const SUBSCRIPTION: i32 = 4;

pub(crate) fn route(topic: &str) -> RemotingCommand {
    let header = GetRouteInfoRequestHeader::new(topic, None);
    RemotingCommand::create_request_command(RequestCode::GetRouteinfoByTopic, header)
}

pub(crate) fn read_route(answer: &RemotingCommand) -> Result<TopicRouteData, NoAnswer> {
    let body = successful(answer)?.body().ok_or_else(|| NoAnswer("an empty route".to_owned()))?;
    TopicRouteData::decode(body).map_err(|error| NoAnswer(error.to_string()))
}

/// A batch for one queue.
pub(crate) fn send(config: &RocketConfig, queue_id: i32, records: &[Bytes]) -> RemotingCommand {
    let born = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
    let header = SendMessageRequestHeaderV2 {
        a: config.producer_group.as_str().into(),
        b: config.topic.as_str().into(),
        // The topic that a missing one would be made after: itself, so none is made.
        c: config.topic.as_str().into(),
        d: 0,
        e: queue_id,
        g: i64::try_from(born).unwrap_or(i64::MAX),
        m: Some(true),
        ..SendMessageRequestHeaderV2::default()
    };
    RemotingCommand::create_request_command(RequestCode::SendBatchMessage, header).set_body(encode(records))
}

fn encode(records: &[Bytes]) -> Bytes {
    let mut body = BytesMut::with_capacity(records.iter().map(|record| record.len() + FRAME_BYTES).sum());
    for record in records {
        // Records are far shorter than 2 GiB.
        body.put_i32((record.len() + FRAME_BYTES) as i32);
        body.put_slice(&[0; 12]);
        body.put_i32(record.len() as i32);
        body.put_slice(record);
        body.put_i16(0);
    }
    body.freeze()
}

/// Nothing but a plain success says that a batch is flushed, and copied where copies are asked for.
pub(crate) fn read_sent(answer: &RemotingCommand) -> Result<(), NoAnswer> {
    let why = match answer.code() {
        code::SUCCESS => return Ok(()),
        code::FLUSH_DISK_TIMEOUT => "the flush to disk took too long",
        code::SLAVE_NOT_AVAILABLE => "no replica is there to take a copy",
        code::FLUSH_SLAVE_TIMEOUT => "the copy to a replica took too long",
        _ => return successful(answer).map(drop),
    };
    Err(NoAnswer(why.to_owned()))
}

/// Whether a broker turned a batch away unseen, as it had more to do than it keeps waiting.
pub(crate) fn was_too_busy(answer: &RemotingCommand) -> bool {
    answer.code() == code::SYSTEM_BUSY
}

/// What a broker's access control says of a request that it turned away; none: it did not.
pub(crate) fn denial(answer: &RemotingCommand) -> Option<&str> {
    (answer.code() == code::NO_PERMISSION).then(|| answer.remark().map_or("", |remark| remark.as_str()))
}

/// Records from an offset on. A waiting pull is answered when a record comes, or with nothing after a while.
pub(crate) fn pull(
    config: &RocketConfig,
    queue_id: i32,
    from: u64,
    records_max: usize,
    waiting: bool,
) -> RemotingCommand {
    let header = PullMessageRequestHeader {
        consumer_group: config.consumer_group.as_str().into(),
        topic: config.topic.as_str().into(),
        queue_id,
        queue_offset: i64::try_from(from).unwrap_or(i64::MAX),
        max_msg_nums: i32::try_from(records_max).unwrap_or(i32::MAX),
        sys_flag: if waiting { SUBSCRIPTION | SUSPEND } else { SUBSCRIPTION },
        suspend_timeout_millis: if waiting { SUSPEND_MS } else { 0 },
        subscription: Some("*".into()),
        expression_type: Some("TAG".into()),
        ..PullMessageRequestHeader::default()
    };
    RemotingCommand::create_request_command(RequestCode::PullMessage, header)
}

/// What a pull brought.
#[derive(Debug)]
pub(crate) struct Pulled {
    pub(crate) records: Vec<LogRecord>,
    /// The queue's first offset.
    pub(crate) start: u64,
    /// The offset that its next record gets.
    pub(crate) end: u64,
}

pub(crate) fn read_pulled(answer: &RemotingCommand) -> Result<Pulled, NoAnswer> {
    let found = match answer.code() {
        code::SUCCESS => true,
        code::PULL_NOT_FOUND | code::PULL_RETRY_IMMEDIATELY | code::PULL_OFFSET_MOVED => false,
        _ => return Err(refusal(answer)),
    };
    let header: PullMessageResponseHeader =
        answer.decode_command_custom_header().map_err(|error| NoAnswer(error.to_string()))?;
    let records = match answer.body() {
        Some(body) if found => decode(body.clone())?,
        _ => Vec::new(),
    };
    Ok(Pulled { records, start: offset(header.min_offset), end: offset(header.max_offset) })
}

fn decode(mut body: Bytes) -> Result<Vec<LogRecord>, NoAnswer> {
    let mut records = Vec::new();
    while !body.is_empty() {
        let frame = decode_message_frame(&mut body).map_err(|error| NoAnswer(error.to_string()))?;
        records.push(LogRecord { offset: LogOffset(offset(frame.queue_offset)), bytes: frame.body });
    }
    Ok(records)
}

/// The offset that a queue's next record gets.
pub(crate) fn end(topic: &str, queue_id: i32) -> RemotingCommand {
    let header =
        GetMaxOffsetRequestHeader { topic: topic.into(), queue_id, committed: true, topic_request_header: None };
    RemotingCommand::create_request_command(RequestCode::GetMaxOffset, header)
}

pub(crate) fn read_end(answer: &RemotingCommand) -> Result<u64, NoAnswer> {
    let header: GetMaxOffsetResponseHeader =
        successful(answer)?.decode_command_custom_header().map_err(|error| NoAnswer(error.to_string()))?;
    Ok(offset(header.offset))
}

/// Tells the broker what is consumed.
pub(crate) fn commit(config: &RocketConfig, queue_id: i32, before: u64) -> RemotingCommand {
    let header = UpdateConsumerOffsetRequestHeader {
        consumer_group: config.consumer_group.as_str().into(),
        topic: config.topic.as_str().into(),
        queue_id,
        commit_offset: i64::try_from(before).unwrap_or(i64::MAX),
        topic_request_header: None,
    };
    RemotingCommand::create_request_command(RequestCode::UpdateConsumerOffset, header)
}

/// Asks what the broker was told.
pub(crate) fn committed(config: &RocketConfig, queue_id: i32) -> RemotingCommand {
    let mut header =
        QueryConsumerOffsetRequestHeader::new(config.consumer_group.as_str(), config.topic.as_str(), queue_id);
    header.set_zero_if_not_found = Some(false);
    RemotingCommand::create_request_command(RequestCode::QueryConsumerOffset, header)
}

pub(crate) fn read_committed(answer: &RemotingCommand) -> Result<Option<u64>, NoAnswer> {
    if answer.code() == code::QUERY_NOT_FOUND {
        return Ok(None);
    }
    let header: QueryConsumerOffsetResponseHeader =
        successful(answer)?.decode_command_custom_header().map_err(|error| NoAnswer(error.to_string()))?;
    Ok(header.offset.map(offset))
}

pub(crate) fn successful(answer: &RemotingCommand) -> Result<&RemotingCommand, NoAnswer> {
    if answer.code() == code::SUCCESS { Ok(answer) } else { Err(refusal(answer)) }
}

fn refusal(answer: &RemotingCommand) -> NoAnswer {
    let remark = answer.remark().map_or("", |remark| remark.as_str());
    NoAnswer(format!("refused with {}: {remark}", answer.code()))
}

/// Brokers say -1 where there is nothing.
fn offset(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rocketmq_protocol::common::message::message_decoder::decode_messages;

    use super::*;

    proptest! {
        #[test]
        fn a_batch_is_read_back_by_the_brokers_own_format(records in prop::collection::vec(
            prop::collection::vec(any::<u8>(), 0..200).prop_map(Bytes::from), 0..20)) {
            let mut body = encode(&records);
            let lengths: usize = records.iter().map(|record| record.len() + FRAME_BYTES).sum();
            prop_assert_eq!(body.len(), lengths);
            let read: Vec<Bytes> =
                decode_messages(&mut body).iter().map(|message| message.body().unwrap_or_default()).collect();
            prop_assert_eq!(read, records);
        }

        #[test]
        fn bytes_that_are_no_records_are_an_error_and_no_panic(bytes in prop::collection::vec(any::<u8>(), 1..300)) {
            prop_assert!(decode(Bytes::from(bytes)).is_err());
        }
    }

    #[test]
    fn a_batch_turned_away_is_told_from_one_of_an_unknown_fate() {
        let answer = |code: i32| RemotingCommand::create_response_command_with_code(code);
        assert!(was_too_busy(&answer(2)));
        assert!([0, 1, 10, 11, 12, 14].iter().all(|code| !was_too_busy(&answer(*code))));
    }

    #[test]
    fn a_denial_is_told_from_other_refusals() {
        let answer = |code: i32| RemotingCommand::create_response_command_with_code_remark(code, "why");
        assert_eq!(denial(&answer(16)), Some("why"));
        assert!([0, 1, 2, 14, 17].iter().all(|code| denial(&answer(*code)).is_none()));
    }

    #[test]
    fn only_a_plain_success_is_one() {
        let answer = |code: i32| RemotingCommand::create_response_command_with_code_remark(code, "why");
        read_sent(&answer(0)).unwrap();
        for code in [1, 2, 10, 11, 12, 13, 14, 16] {
            read_sent(&answer(code)).unwrap_err();
        }
        assert_eq!(read_sent(&answer(2)).unwrap_err().to_string(), "refused with 2: why");
    }
}
