//! Any bytes as a protobuf payload: neither side panics, what a side reads it writes and reads again, and
//! what is read in place is what prost reads.
#![no_main]

use libfuzzer_sys::fuzz_target;
use prost::Message as _;
use ringway_engine::packet::{
    Format, Request, decode_commands, decode_server, encode, encode_command, schema::Command,
};

fuzz_target!(|data: &[u8]| {
    read_as_one(data);
    let _ = decode_commands(Format::Protobuf, data, &mut |command| match command {
        Ok((id, request)) => read_again(id, &request),
        Err(refusal) => assert!(refusal.detail.len() < 128, "a refusal tells back much of the command"),
    });
    let _ = decode_server(Format::Protobuf, data, &mut |packet| {
        let mut payload = Vec::new();
        encode(Format::Protobuf, &packet, &mut payload);
        let mut read = Vec::new();
        let end = decode_server(Format::Protobuf, &payload, &mut |packet| read.push(packet));
        assert_eq!((read, end), (vec![packet], Ok(())));
    });
});

/// One message: what is read in place is what prost reads.
fn read_as_one(message: &[u8]) {
    let mut payload = Vec::new();
    prost::encode_length_delimiter(message.len(), &mut payload).unwrap();
    payload.extend_from_slice(message);
    let _ = decode_commands(Format::Protobuf, &payload, &mut |command| {
        if let Ok((id, request)) = command {
            assert_eq!(Command::decode(message).unwrap(), Command::from((id, request)));
        }
    });
}

fn read_again(id: u64, request: &Request) {
    let mut payload = Vec::new();
    encode_command(Format::Protobuf, &Command::from((id, request.clone())), &mut payload);
    let mut read = Vec::new();
    let end = decode_commands(Format::Protobuf, &payload, &mut |command| read.push(command));
    assert_eq!((read, end), (vec![Ok((id, request.clone()))], Ok(())));
}
