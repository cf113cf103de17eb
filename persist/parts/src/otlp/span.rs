//! A span: its ids, its times, its attributes; and the resource that all spans of a process are of.
//!
//! Names of attributes are those of the OpenTelemetry semantic conventions where these have one, else ours, which begin
//! with `ringway.`. No body, token or name of a user is ever among them: a conversation is told by its hash.

use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, Status};
use ringway_hops::ids::{mix, root_span, trace_id};
use ringway_hops::{Hop, Station};

use super::request::Request;

/// The span that all others of a message's trace have as their parent.
const ROOT: &str = "message";
/// Its trace was sampled, as W3C's trace context flags it.
const SAMPLED: u32 = 1;

/// What all spans of a process are of.
pub(super) fn resource(service: &str, instance: &str) -> Resource {
    let attributes = vec![
        text("service.namespace", "ringway"),
        text("service.name", service),
        text("service.instance.id", instance),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ];
    Resource { attributes, ..Resource::default() }
}

/// The span of a hop that began at `from_us`. `instance` is a hash of this process's name.
pub(super) fn of_hop(hop: &Hop, from_us: u64, instance: u64) -> Span {
    let kind = match hop.station {
        Station::Received | Station::Arrived | Station::Consumed => SpanKind::Consumer,
        _ => SpanKind::Internal,
    };
    let place = mix(hop.who) ^ mix(hop.at_us.rotate_left(8) ^ hop.station as u64);
    let span_id = mix(mix(hop.msg_id ^ instance) ^ place).max(1);
    let parent_span_id = root_span(hop.msg_id).to_vec();
    let of = Span { span_id: span_id.to_be_bytes().to_vec(), parent_span_id, ..Span::default() };
    of_message(hop, hop.station.name(), kind, (from_us, hop.at_us), of)
}

/// The root of a message's trace: from the hub that took it until it is durable, numbered and on its way to devices.
pub(super) fn of_root(hop: &Hop, from_us: u64) -> Span {
    let of = Span { span_id: root_span(hop.msg_id).to_vec(), ..Span::default() };
    let of_all = Hop { who: 0, ..hop.clone() };
    of_message(&of_all, ROOT, SpanKind::Producer, (from_us, hop.at_us), of)
}

fn of_message(hop: &Hop, name: &str, kind: SpanKind, (from_us, to_us): (u64, u64), of: Span) -> Span {
    let mut attributes = vec![text("messaging.message.id", hop.msg_id.to_string())];
    if hop.conv != 0 {
        attributes.push(text("ringway.conversation", format!("{:016x}", hop.conv)));
    }
    if hop.seq != 0 {
        attributes.push(number("ringway.seq", hop.seq));
    }
    if let Some(shard) = hop.shard {
        attributes.push(number("ringway.shard", u64::from(shard)));
    }
    if let Some(queue) = &hop.queue {
        attributes.push(text("messaging.destination.partition.id", &**queue));
    }
    match hop.station {
        Station::Told => attributes.push(number("ringway.nodes", hop.who)),
        Station::Consumed => attributes.push(number("ringway.offset", hop.who)),
        Station::Received | Station::Sent | Station::Pushed | Station::Acknowledged if hop.who != 0 => {
            attributes.push(number("ringway.connection", hop.who));
        }
        _ => {}
    }
    Span {
        trace_id: trace_id(hop.msg_id).to_vec(),
        flags: SAMPLED,
        name: name.to_owned(),
        kind: kind.into(),
        start_time_unix_nano: from_us.saturating_mul(1_000),
        end_time_unix_nano: to_us.saturating_mul(1_000),
        attributes,
        ..of
    }
}

/// The span of an answered request, a trace of its own; `drawn` are random bytes.
pub(super) fn of_request(request: &Request, drawn: [u8; 24]) -> Span {
    // Methods that are none of HTTP's are not told.
    let (method, verb) = if request.method == "OTHER" { ("_OTHER", "HTTP") } else { (request.method, request.method) };
    let mut attributes =
        vec![text("http.request.method", method), number("http.response.status_code", u64::from(request.status))];
    attributes.extend(request.route.as_deref().map(|route| text("http.route", route)));
    let name = request.route.as_ref().map_or_else(|| verb.to_owned(), |route| format!("{verb} {route}"));
    let failed = (request.status >= 500).then(|| Status { code: StatusCode::Error.into(), ..Status::default() });
    let (trace_id, span_id) = drawn.split_at(16);
    let ended = request.ended_us.saturating_mul(1_000);
    Span {
        trace_id: trace_id.to_vec(),
        span_id: span_id.to_vec(),
        flags: SAMPLED,
        name,
        kind: SpanKind::Server.into(),
        start_time_unix_nano: ended.saturating_sub(request.took.as_nanos() as u64),
        end_time_unix_nano: ended,
        attributes,
        status: failed,
        ..Span::default()
    }
}

fn text(key: &str, value: impl Into<String>) -> KeyValue {
    attribute(key, Value::StringValue(value.into()))
}

fn number(key: &str, value: u64) -> KeyValue {
    // A connection's key may be above: its bits are what counts.
    attribute(key, Value::IntValue(value as i64))
}

fn attribute(key: &str, value: Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn request(method: &'static str, route: Option<&str>, status: u16) -> Span {
        let took = Duration::from_micros(1_500);
        let request = Request { ended_us: 10_000, took, method, route: route.map(str::to_owned), status };
        of_request(&request, [7; 24])
    }

    #[test]
    fn a_request_is_told_by_method_route_and_status_alone() {
        let span = request("GET", Some("/v1/users/{uid}"), 200);
        assert_eq!((span.name.as_str(), span.kind), ("GET /v1/users/{uid}", SpanKind::Server.into()));
        assert_eq!((span.start_time_unix_nano, span.end_time_unix_nano), (8_500_000, 10_000_000));
        assert_eq!((span.trace_id.len(), span.span_id.len(), span.parent_span_id.len()), (16, 8, 0));
        let keys: Vec<&str> = span.attributes.iter().map(|attribute| attribute.key.as_str()).collect();
        assert_eq!(keys, ["http.request.method", "http.response.status_code", "http.route"]);
        assert_eq!(span.status, None);
        let failed = request("OTHER", None, 503);
        assert_eq!(failed.name, "HTTP");
        assert_eq!(failed.status.unwrap().code, i32::from(StatusCode::Error));
        assert!(failed.attributes.contains(&text("http.request.method", "_OTHER")));
    }
}
