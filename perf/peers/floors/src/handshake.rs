//! The upgrade of RFC 6455, without any check.

use tungstenite::handshake::derive_accept_key;

const END: &[u8] = b"\r\n\r\n";
const KEY: &[u8] = b"sec-websocket-key:";

/// Answers a whole request: the bytes it took and the response. `None` while its end has not come, or when it holds no
/// key.
pub fn answer(input: &[u8]) -> Option<(usize, Vec<u8>)> {
    let length = input.windows(END.len()).position(|window| window == END)? + END.len();
    let mut lines = input.get(..length)?.split(|byte| *byte == b'\n');
    let key = lines.find_map(|line| {
        let (name, value) = line.split_at_checked(KEY.len())?;
        name.eq_ignore_ascii_case(KEY).then(|| value.trim_ascii())
    })?;
    let accept = derive_accept_key(key);
    let response = format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Accept: {accept}\r\n\r\n"
    );
    Some((length, response.into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_standards_own_example_is_answered() {
        let request = b"GET / HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nrest";
        let (length, response) = answer(request).unwrap();
        assert_eq!(&request[length..], b"rest");
        assert!(String::from_utf8(response).unwrap().contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
        assert_eq!(answer(&request[..length - 1]), None);
    }
}
