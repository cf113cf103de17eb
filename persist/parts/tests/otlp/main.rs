//! Traces as a collector meets them: a real one on loopback, one that is away, one that never answers.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "a test may panic")]

mod collector;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use opentelemetry_proto::tonic::trace::v1::Span;
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use ringway_hops::ids::{root_span, trace_id};
use ringway_hops::{Hop, Hops, Station, limits::LANE_MAX};
use ringway_parts::board::Board;
use ringway_parts::otlp::Traces;
use ringway_parts::sections::Otlp;

use collector::{Answer, Collector, LIMIT, value};

/// Long enough for a collector that answers.
const FLUSH: Duration = Duration::from_secs(10);
const MESSAGE: u64 = 7_300_000_000_000_000_001;
const CONV: u64 = 0x4117_c268_2cf9_1d8b;

fn traces(service: &'static str, endpoint: &str) -> Traces {
    // As every program does first.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Traces::new(service, &Otlp { endpoint: endpoint.to_owned(), sample_one_in: 1 })
}

fn hop(at_us: u64, station: Station) -> Hop {
    Hop { at_us, from_us: 0, station, msg_id: MESSAGE, conv: CONV, seq: 3, who: 0, shard: Some(1), queue: None }
}

/// Hands hops over in the name of one process, and ends it.
async fn live(traces: &Traces, instance: &str, hops: Vec<Hop>) {
    let handed = traces.of_messages(&Board::default(), instance).unwrap().unwrap();
    hops.into_iter().for_each(|hop| handed.offer(hop));
    traces.finish(FLUSH).await;
}

fn by_time(mut spans: Vec<(String, Span)>) -> Vec<(String, Span)> {
    spans.sort_by_key(|(_, span)| (span.end_time_unix_nano, span.start_time_unix_nano));
    spans
}

async fn until_measured(board: &Board, line: &str) {
    let began = Instant::now();
    while !board.measures().concat().contains(line) {
        assert!(began.elapsed() < LIMIT, "{line:?} is not in:\n{}", board.measures().concat());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn the_hops_of_two_gateways_and_a_persist_process_join_in_one_trace() {
    let mut collector = Collector::answering(&[]).await;
    let gateway = traces("ringway-gateway", &collector.endpoint);
    let persist = traces("ringway-persist", &collector.endpoint);
    let at_the_uplink = |at, station| Hop { conv: 0, shard: None, ..hop(at, station) };
    let of_first = vec![
        Hop { seq: 0, ..hop(1_000, Station::Batched) },
        Hop { seq: 0, ..at_the_uplink(1_400, Station::Logged) },
        at_the_uplink(1_500, Station::Numbered),
        Hop { who: 1, ..at_the_uplink(1_510, Station::Told) },
        hop(1_520, Station::Fanned),
        Hop { who: 5, ..hop(980, Station::Received) },
        Hop { who: 5, ..hop(1_530, Station::Sent) },
    ];
    live(&gateway, "gateway-1", of_first).await;
    let of_second = vec![
        hop(1_600, Station::Arrived),
        hop(1_610, Station::Fanned),
        Hop { who: 6, ..hop(1_620, Station::Pushed) },
        Hop { who: 6, from_us: 1_620, ..hop(9_000, Station::Acknowledged) },
    ];
    live(&traces("ringway-gateway", &collector.endpoint), "gateway-2", of_second).await;
    let in_queue = |at, station| Hop { shard: None, queue: Some("broker-a/3".into()), ..hop(at, station) };
    let of_persist = vec![
        Hop { seq: 0, who: 41, ..in_queue(2_000, Station::Consumed) },
        in_queue(2_100, Station::Numbered),
        in_queue(2_900, Station::Archived),
    ];
    live(&persist, "persist-1", of_persist).await;

    let spans = collector.spans();
    let who = |resource: &[_]| {
        assert_eq!(value(resource, "service.version").as_deref(), Some(env!("CARGO_PKG_VERSION")));
        let service = value(resource, "service.name").unwrap();
        format!("{service} {}", value(resource, "service.instance.id").unwrap())
    };
    let spans = by_time(spans.into_iter().map(|(resource, span)| (who(&resource), span)).collect());
    let shown: Vec<(&str, &str, u64, u64)> = spans
        .iter()
        .map(|(who, span)| {
            let (from, to) = (span.start_time_unix_nano / 1_000, span.end_time_unix_nano / 1_000);
            (who.as_str(), span.name.as_str(), from, to)
        })
        .collect();
    let [first, second, persist] =
        ["ringway-gateway gateway-1", "ringway-gateway gateway-2", "ringway-persist persist-1"];
    let expected = [
        (first, "received", 980, 980),
        (first, "batched", 1_000, 1_000),
        (first, "logged", 1_000, 1_400),
        (first, "numbered", 1_400, 1_500),
        (first, "told", 1_500, 1_510),
        (first, "message", 1_000, 1_520),
        (first, "fanned", 1_500, 1_520),
        (first, "sent", 1_520, 1_530),
        (second, "arrived", 1_600, 1_600),
        (second, "fanned", 1_600, 1_610),
        (second, "pushed", 1_610, 1_620),
        (persist, "consumed", 2_000, 2_000),
        (persist, "numbered", 2_000, 2_100),
        (persist, "archived", 2_100, 2_900),
        (second, "acknowledged", 1_620, 9_000),
    ];
    assert_eq!(shown, expected);
    check_ids(&spans);
    check_attributes(&spans);
}

fn check_ids(spans: &[(String, Span)]) {
    let (root, others): (Vec<&Span>, Vec<&Span>) =
        spans.iter().map(|(_, span)| span).partition(|span| span.name == "message");
    assert_eq!((root.len(), &root[0].span_id[..], root[0].parent_span_id.len()), (1, &root_span(MESSAGE)[..], 0));
    assert!(others.iter().all(|span| span.parent_span_id == root_span(MESSAGE)));
    assert!(spans.iter().all(|(_, span)| span.trace_id == trace_id(MESSAGE)));
    let ids: BTreeSet<&[u8]> = spans.iter().map(|(_, span)| &span.span_id[..]).collect();
    assert!(ids.len() == spans.len() && ids.iter().all(|id| id.len() == 8));
}

fn check_attributes(spans: &[(String, Span)]) {
    let told = |name: &str| {
        let (_, span) = spans.iter().find(|(_, span)| span.name == name).unwrap();
        let mut told: Vec<(String, String)> = span
            .attributes
            .iter()
            .map(|one| (one.key.clone(), value(&span.attributes, &one.key).unwrap()))
            .filter(|(key, _)| key != "messaging.message.id" && key != "ringway.conversation")
            .collect();
        told.sort_unstable();
        told.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>()
    };
    for (_, span) in spans {
        assert_eq!(value(&span.attributes, "messaging.message.id"), Some(MESSAGE.to_string()));
        assert_eq!(value(&span.attributes, "ringway.conversation").as_deref(), Some("4117c2682cf91d8b"));
        let kind = match span.name.as_str() {
            "message" => SpanKind::Producer,
            "received" | "arrived" | "consumed" => SpanKind::Consumer,
            _ => SpanKind::Internal,
        };
        assert_eq!(span.kind, i32::from(kind), "{}", span.name);
    }
    assert_eq!(told("received"), ["ringway.connection=5", "ringway.seq=3", "ringway.shard=1"]);
    assert_eq!(told("batched"), ["ringway.shard=1"]);
    assert_eq!(told("told"), ["ringway.nodes=1", "ringway.seq=3"]);
    assert_eq!(told("acknowledged"), ["ringway.connection=6", "ringway.seq=3", "ringway.shard=1"]);
    assert_eq!(told("consumed"), ["messaging.destination.partition.id=broker-a/3", "ringway.offset=41"]);
    assert_eq!(told("archived"), ["messaging.destination.partition.id=broker-a/3", "ringway.seq=3"]);
}

#[tokio::test]
async fn what_is_handed_over_reaches_the_collector_while_the_process_lives() {
    let mut collector = Collector::answering(&[]).await;
    let (traces, board) = (traces("ringway-gateway", &collector.endpoint), Board::default());
    let hops = traces.of_messages(&board, "gateway-1").unwrap().unwrap();
    hops.offer(hop(1, Station::Arrived));
    let first = collector.next().await;
    assert_eq!(first.resource_spans[0].scope_spans[0].spans[0].name, "arrived");
    until_measured(&board, "ringway_otlp_spans_total{outcome=\"exported\"} 1\n").await;
    // Many go in several requests, each of a bounded size.
    (1..=2_000).for_each(|id| hops.offer(Hop { msg_id: id, ..hop(id, Station::Arrived) }));
    until_measured(&board, "ringway_otlp_spans_total{outcome=\"exported\"} 2001\n").await;
    assert_eq!(collector.spans().len(), 2_000);
    traces.finish(FLUSH).await;
}

#[tokio::test]
async fn what_the_collector_wants_later_is_sent_again_and_what_it_refuses_is_counted() {
    let answers = [Answer::Status(503), Answer::Without(1), Answer::Status(400)];
    let mut collector = Collector::answering(&answers).await;
    let (traces, board) = (traces("ringway-gateway", &collector.endpoint), Board::default());
    let hops = traces.of_messages(&board, "gateway-1").unwrap().unwrap();
    hops.offer(hop(1, Station::Arrived));
    hops.offer(hop(2, Station::Fanned));
    let (first, again) = (collector.next().await, collector.next().await);
    assert_eq!(first, again);
    until_measured(&board, "ringway_otlp_spans_total{outcome=\"refused\"} 1\n").await;
    hops.offer(hop(3, Station::Pushed));
    until_measured(&board, "ringway_otlp_spans_total{outcome=\"refused\"} 2\n").await;
    let measured = board.measures().concat();
    for line in ["spans_total{outcome=\"exported\"} 1\n", "spans_total{outcome=\"dropped\"} 0\n", "failures_total 2\n"]
    {
        assert!(measured.contains(&format!("ringway_otlp_{line}")), "{measured}");
    }
    traces.finish(FLUSH).await;
}

/// Nothing else runs between two awaits here, so it is known what finds room.
#[tokio::test]
async fn a_collector_that_is_away_costs_spans_which_are_counted_and_no_time() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let (traces, board) = (traces("ringway-gateway", &endpoint), Board::default());
    let hops = traces.of_messages(&board, "gateway-1").unwrap().unwrap();
    let flood = |hops: &Hops| {
        (1..=LANE_MAX as u64 + 100).for_each(|id| hops.offer(Hop { msg_id: id, ..hop(id, Station::Arrived) }))
    };
    flood(&hops);
    assert!(board.measures().concat().contains("ringway_otlp_spans_total{outcome=\"dropped\"} 100\n"));
    until_measured(&board, "ringway_otlp_failures_total 1\n").await;
    // All wait now, as many as may; the oldest of them make room for these, but for the batch that was tried.
    flood(&hops);
    let dropped = 100 + 100 + LANE_MAX as u64 - 512;
    until_measured(&board, &format!("ringway_otlp_spans_total{{outcome=\"dropped\"}} {dropped}\n")).await;
    let began = Instant::now();
    traces.finish(Duration::from_secs(5)).await;
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(board.measures().concat().contains("ringway_otlp_spans_total{outcome=\"exported\"} 0\n"));
}

#[tokio::test]
async fn a_collector_that_never_answers_does_not_hold_up_the_end() {
    let deaf = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let traces = traces("ringway-gateway", &format!("http://{}", deaf.local_addr().unwrap()));
    let hops = traces.of_messages(&Board::default(), "gateway-1").unwrap().unwrap();
    hops.offer(hop(1, Station::Arrived));
    let began = Instant::now();
    traces.finish(Duration::from_millis(300)).await;
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(290) && took < Duration::from_secs(5), "{took:?}");
}

#[tokio::test]
async fn without_an_endpoint_there_is_nothing() {
    let (traces, board) = (traces("ringway-gateway", ""), Board::default());
    assert!(traces.of_messages(&board, "gateway-1").unwrap().is_none());
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    assert!(!board.measures().concat().contains("otlp"));
    traces.finish(FLUSH).await;
}
