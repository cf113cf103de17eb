//! The schema in Rust and the one in proto/ringway/v1.proto say the same.

use prost::Message as Prost;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor, ReflectMessage, SerializeOptions, Value};
use serde_json::Value as Json;

use super::samples;

fn descriptor(name: &str) -> MessageDescriptor {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/packet/proto");
    let files = protox::compile(["ringway/v1.proto"], [folder]).unwrap();
    let pool = DescriptorPool::from_file_descriptor_set(files).unwrap();
    pool.get_message_by_name(&format!("ringway.v1.{name}")).unwrap()
}

/// Our JSON in the form that protobuf's own JSON mapping would have.
fn normalise(json: Json) -> Json {
    match json {
        Json::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("msg_id", Json::String(text)) => (name, text.parse::<u64>().unwrap().into()),
                ("resume", Json::Object(points)) => {
                    let points = points.into_iter().map(|(conv, point)| {
                        (conv, serde_json::json!({"epoch": point[0].as_u64(), "seq": point[1].as_u64()}))
                    });
                    (name, Json::Object(points.collect()))
                }
                (_, value) => (name, normalise(value)),
            })
            .collect(),
        Json::Array(items) => items.into_iter().map(normalise).collect(),
        other => other,
    }
}

/// Decodes our bytes by the proto file and compares the JSON; returns the dynamic message.
fn check<T: Prost + serde::Serialize>(name: &str, packet: &T) -> DynamicMessage {
    let dynamic = DynamicMessage::decode(descriptor(name), packet.encode_to_vec().as_slice()).unwrap();
    let options = SerializeOptions::new().use_proto_field_name(true).stringify_64_bit_integers(false);
    let theirs = dynamic.serialize_with_options(serde_json::value::Serializer, &options).unwrap();
    assert_eq!(normalise(serde_json::to_value(packet).unwrap()), theirs, "{name}");
    assert_no_unknown_or_unset_field(&dynamic);
    assert_eq!(T::encode_to_vec(packet).len(), dynamic.encoded_len());
    dynamic
}

/// A field of the proto file that Rust lacks would stay unset; one that only Rust has, unknown.
fn assert_no_unknown_or_unset_field(message: &DynamicMessage) {
    let name = message.descriptor().name().to_owned();
    assert_eq!(message.unknown_fields().count(), 0, "{name} has a field only in Rust");
    let envelope = ["Command", "ServerPacket"].contains(&name.as_str());
    for field in message.descriptor().fields() {
        if !message.has_field(&field) {
            assert!(envelope, "{name}.{} is only in the proto file", field.name());
            continue;
        }
        match (field.kind(), message.get_field(&field).into_owned()) {
            (_, Value::Map(map)) => {
                for value in map.values() {
                    if let Value::Message(inner) = value {
                        assert_no_unknown_or_unset_field(inner);
                    }
                }
            }
            (Kind::Message(_), Value::Message(inner)) => assert_no_unknown_or_unset_field(&inner),
            (Kind::Message(_), Value::List(items)) => {
                for item in items {
                    assert_no_unknown_or_unset_field(item.as_message().unwrap());
                }
            }
            _ => {}
        }
    }
}

/// Every field of the envelope is set in one of the samples.
fn check_envelope<T: Prost + serde::Serialize>(name: &str, packets: &[T]) {
    let dynamic: Vec<DynamicMessage> = packets.iter().map(|packet| check(name, packet)).collect();
    for field in descriptor(name).fields() {
        assert!(dynamic.iter().any(|message| message.has_field(&field)), "no sample has {name}.{}", field.name());
    }
}

#[test]
fn commands_are_what_the_proto_file_says() {
    check_envelope("Command", &samples::commands());
}

#[test]
fn server_packets_are_what_the_proto_file_says() {
    check_envelope("ServerPacket", &samples::server_packets());
}

#[test]
fn the_names_of_known_commands_are_the_fields_of_the_envelope() {
    let fields: Vec<String> = descriptor("Command").fields().map(|field| field.name().to_owned()).collect();
    assert_eq!(fields[0], "id");
    assert_eq!(fields[1..], super::json::COMMANDS);
}
