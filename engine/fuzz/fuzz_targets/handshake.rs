//! Any bytes as an upgrade request: no panic, and the bytes that came after it change nothing.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ringway_engine::{limits::HANDSHAKE_BYTES_MAX, websocket::handshake};

fuzz_target!(|data: &[u8]| match handshake::parse(data) {
    Ok(Some((upgrade, size))) => {
        assert!(size <= data.len() && size <= HANDSHAKE_BYTES_MAX);
        assert_eq!(handshake::parse(&data[..size]), Ok(Some((upgrade.clone(), size))));
        assert_eq!(handshake::parse(&data[..size - 1]), Ok(None));
        assert!(upgrade.path.starts_with('/'));
        assert!(upgrade.response(None).ends_with(b"\r\n\r\n"));
    }
    Ok(None) => assert!(data.len() < HANDSHAKE_BYTES_MAX),
    Err(error) => {
        assert!((400..600).contains(&error.status()));
        assert!(error.response().starts_with(b"HTTP/1.1 "));
    }
});
