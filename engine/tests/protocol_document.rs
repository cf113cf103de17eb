//! PROTOCOL.md says what the code does: its tables are the code's tables, its examples are read by the
//! codec, and it speaks of every command and every reply.

// Helpers of a test stand outside of its function, where the lints do not see that it is one.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::expect_used)]

use prost_reflect::DescriptorPool;
use ringway_engine::errors::{CLOSES, ERRORS};
use ringway_engine::limits;
use ringway_engine::packet::{Format, decode_commands, decode_server, encode, encode_command, schema};

const DOCUMENT: &str = include_str!("../PROTOCOL.md");

/// The part below a heading of the second level.
fn section(title: &str) -> &'static str {
    let heading = format!("\n## {title}\n");
    let start = DOCUMENT.find(&heading).unwrap_or_else(|| panic!("no section {title}")) + heading.len();
    let rest = &DOCUMENT[start..];
    rest.split("\n## ").next().unwrap()
}

/// The cells of the section's table, without its two head lines.
fn rows(title: &str) -> Vec<Vec<String>> {
    let lines = section(title).lines().filter(|line| line.starts_with('|')).skip(2);
    lines.map(|line| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// The lines of all JSON examples that start with this arrow.
fn examples(arrow: &str) -> Vec<&'static str> {
    let blocks = DOCUMENT.split("```json\n").skip(1).map(|block| block.split("```").next().unwrap());
    blocks.flat_map(str::lines).filter_map(|line| line.strip_prefix(arrow)).map(str::trim).collect()
}

/// The names in an envelope of the proto file, without `id`.
fn names(message: &str) -> Vec<String> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/packet/proto");
    let pool =
        DescriptorPool::from_file_descriptor_set(protox::compile(["ringway/v1.proto"], [folder]).unwrap()).unwrap();
    let envelope = pool.get_message_by_name(&format!("ringway.v1.{message}")).unwrap();
    envelope.fields().map(|field| field.name().to_owned()).filter(|name| name != "id").collect()
}

#[test]
fn the_error_table_is_the_codes() {
    let expected: Vec<Vec<String>> = ERRORS
        .iter()
        .map(|row| {
            let retry = if row.retry_after_ms == 0 { "–".to_owned() } else { row.retry_after_ms.to_string() };
            let name = format!("`{}`", row.name);
            vec![row.code.code().to_string(), name, row.http_status.to_string(), retry, row.meaning.to_owned()]
        })
        .collect();
    assert_eq!(rows("Error codes"), expected);
}

#[test]
fn the_close_table_is_the_codes() {
    let expected: Vec<Vec<String>> = CLOSES
        .iter()
        .map(|row| {
            let back = if row.reconnect { "yes" } else { "no" };
            vec![row.code.code().to_string(), format!("`{}`", row.name), back.to_owned(), row.meaning.to_owned()]
        })
        .collect();
    assert_eq!(rows("Close codes"), expected);
}

#[test]
fn the_limits_are_the_codes() {
    let documented: Vec<(String, u64)> =
        rows("Limits").into_iter().map(|row| (row[0].trim_matches('`').to_owned(), row[1].parse().unwrap())).collect();
    let expected = [
        ("MESSAGE_BYTES_MAX", limits::MESSAGE_BYTES_MAX as u64),
        ("FRAGMENTS_MAX", u64::from(limits::FRAGMENTS_MAX)),
        ("PINGS_PER_SECOND_MAX", u64::from(limits::PINGS_PER_SECOND_MAX)),
        ("PINGS_BURST_MAX", u64::from(limits::PINGS_BURST_MAX)),
        ("COMMANDS_PER_MESSAGE_MAX", limits::COMMANDS_PER_MESSAGE_MAX as u64),
        ("COMMANDS_INFLIGHT_MAX", limits::COMMANDS_INFLIGHT_MAX as u64),
        ("AUTH_TIMEOUT_MS", limits::AUTH_TIMEOUT_MS),
        ("HEARTBEAT_MS", limits::HEARTBEAT_MS),
        ("HEARTBEAT_DEAD_MS", limits::HEARTBEAT_DEAD_MS),
        ("TOKEN_BYTES_MAX", limits::TOKEN_BYTES_MAX as u64),
        ("RESUME_POINTS_MAX", limits::RESUME_POINTS_MAX as u64),
        ("DEVICES_PER_USER_MAX", limits::DEVICES_PER_USER_MAX as u64),
        ("CLIENT_MSG_ID_BYTES_MAX", limits::CLIENT_MSG_ID_BYTES_MAX as u64),
        ("PAGE_MESSAGES_MAX", limits::PAGE_MESSAGES_MAX as u64),
        ("CONVERSATIONS_MAX", limits::CONVERSATIONS_MAX as u64),
        ("CATCHUP_MESSAGES_MAX", limits::CATCHUP_MESSAGES_MAX),
        ("SLOW_READER_MS", limits::SLOW_READER_MS),
    ];
    assert_eq!(documented, expected.map(|(name, value)| (name.to_owned(), value)));
}

#[test]
fn every_command_has_a_heading_and_an_example() {
    let sent = examples("→");
    for name in names("Command") {
        assert!(section("Commands").contains(&format!("\n### `{name}`\n")), "{name} has no heading");
        assert!(sent.iter().any(|line| line.contains(&format!("\"{name}\":{{"))), "{name} has no example");
    }
}

#[test]
fn every_reply_and_push_has_a_row_and_an_example() {
    let expected: Vec<String> = names("ServerPacket").iter().map(|name| format!("`{name}`")).collect();
    let documented: Vec<String> = rows("Replies and pushes").into_iter().map(|row| row[0].clone()).collect();
    assert_eq!(documented, expected);
    let received = examples("←");
    for name in names("ServerPacket") {
        assert!(received.iter().any(|line| line.contains(&format!("\"{name}\":{{"))), "{name} has no example");
    }
}

/// An example that is read and written back unchanged has no field that the code does not know.
#[test]
fn examples_of_commands_are_read_and_written_back_unchanged() {
    for line in examples("→") {
        let mut read = 0;
        let end = decode_commands(Format::Json, line.as_bytes(), &mut |command| {
            assert!(command.is_ok(), "{line}: {command:?}");
            read += 1;
        });
        assert_eq!((read, end), (1, Ok(())), "{line}");
        let command: schema::Command = serde_json::from_str(line).unwrap();
        let mut written = Vec::new();
        encode_command(Format::Json, &command, &mut written);
        assert_eq!(String::from_utf8(written).unwrap(), line);
    }
}

#[test]
fn examples_of_server_packets_are_read_and_written_back_unchanged() {
    for line in examples("←") {
        let mut written = Vec::new();
        decode_server(Format::Json, line.as_bytes(), &mut |packet| encode(Format::Json, &packet, &mut written))
            .unwrap();
        assert_eq!(String::from_utf8(written).unwrap(), line);
    }
}
