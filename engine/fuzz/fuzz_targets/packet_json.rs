//! Any bytes as a JSON payload: neither side panics, and what a side reads it writes and reads again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_engine::packet::{
    Format, Request, decode_commands, decode_server, encode, encode_command, schema::Command,
};

fuzz_target!(|data: &[u8]| {
    let _ = decode_commands(Format::Json, data, &mut |command| match command {
        Ok((id, request)) => read_again(id, &request),
        Err(refusal) => assert!(refusal.detail.len() < 128, "a refusal tells back much of the command"),
    });
    let _ = decode_server(Format::Json, data, &mut |packet| {
        let mut payload = Vec::new();
        encode(Format::Json, &packet, &mut payload);
        let mut read = Vec::new();
        let end = decode_server(Format::Json, &payload, &mut |packet| read.push(packet));
        assert_eq!((read, end), (vec![packet], Ok(())));
    });
});

fn read_again(id: u64, request: &Request) {
    let mut payload = Vec::new();
    encode_command(Format::Json, &Command::from((id, request.clone())), &mut payload);
    let mut read = Vec::new();
    let end = decode_commands(Format::Json, &payload, &mut |command| read.push(command));
    assert_eq!((read, end), (vec![Ok((id, request.clone()))], Ok(())));
}
