//! Good and hostile PROXY headers and forwarded addresses.

use proptest::prelude::*;

use super::*;

fn header(version_and_command: u8, family: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = SIGNATURE.to_vec();
    bytes.extend([version_and_command, family]);
    bytes.extend(u16::try_from(body.len()).unwrap().to_be_bytes());
    bytes.extend(body);
    bytes
}

const IPV4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 1, 0xc0, 0x01, 0x01, 0xbb];

fn ipv6() -> Vec<u8> {
    let mut body = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets().to_vec();
    body.extend(Ipv6Addr::LOCALHOST.octets());
    body.extend([0xc0, 0x01, 0x01, 0xbb]);
    body
}

#[test]
fn a_header_tells_the_client_and_its_own_length() {
    let check = |bytes: Vec<u8>, source: Option<&str>| {
        let expected = ProxyHeader { source: source.map(|source| source.parse().unwrap()) };
        assert_eq!(parse(&bytes), Ok(Some((expected, bytes.len()))));
        let mut followed = bytes.clone();
        followed.extend(b"GET / HTTP/1.1");
        assert_eq!(parse(&followed), Ok(Some((expected, bytes.len()))));
        // And no byte of it less is enough.
        (0..bytes.len()).for_each(|cut| assert_eq!(parse(&bytes[..cut]), Ok(None), "cut at {cut}"));
    };
    check(header(0x21, 0x11, &IPV4), Some("203.0.113.7:49153"));
    check(header(0x21, 0x21, &ipv6()), Some("[2001:db8::7]:49153"));
    check(header(0x21, 0x11, &[&IPV4[..], &[0x04, 0, 1, 0]].concat()), Some("203.0.113.7:49153"));
    check(header(0x20, 0x00, &[]), None);
    check(header(0x20, 0x11, &IPV4), None);
    check(header(0x20, 0xff, &[9; 5]), None);
    check(header(0x21, 0x00, &[1, 2, 3]), None);
    check(header(0x21, 0x31, &[0; 216]), None);
}

#[test]
fn hostile_headers_are_refused_before_they_are_whole() {
    let check = |bytes: &[u8], error: ProxyError| assert_eq!(parse(bytes), Err(error), "{bytes:?}");
    check(b"GET / HTTP/1.1\r\n", ProxyError::Signature);
    check(b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ProxyError::Signature);
    check(b"\r\n\r\n\0\r\nQUIX", ProxyError::Signature);
    check(&header(0x11, 0x11, &IPV4)[..13], ProxyError::Version(1));
    check(&header(0x31, 0x11, &IPV4)[..13], ProxyError::Version(3));
    check(&header(0x22, 0x11, &IPV4)[..13], ProxyError::Command(2));
    check(&header(0x21, 0x11, &[0; 4_081])[..16], ProxyError::TooLong(4_097));
    check(&header(0x21, 0x11, &[0; 65_535])[..16], ProxyError::TooLong(65_551));
    check(&header(0x21, 0x11, &IPV4[..11]), ProxyError::TooShort(27));
    check(&header(0x21, 0x11, &[]), ProxyError::TooShort(16));
    check(&header(0x21, 0x21, &ipv6()[..35]), ProxyError::TooShort(51));
    check(&header(0x21, 0x21, &ipv6()[..31]), ProxyError::TooShort(47));
    check(&header(0x21, 0x31, &[0; 215]), ProxyError::TooShort(231));
    check(&header(0x21, 0x12, &IPV4), ProxyError::Family(0x12));
    check(&header(0x21, 0x41, &IPV4), ProxyError::Family(0x41));
}

#[test]
fn networks_hold_exactly_their_addresses() {
    let trusted =
        TrustedPeers::parse(["10.0.0.0/8", " 192.0.2.1 ", "2001:db8::/32", "::ffff:198.51.100.0/120"]).unwrap();
    let check = |address: &str, holds: bool| {
        assert_eq!(trusted.contains(address.parse().unwrap()), holds, "{address}");
    };
    check("10.255.255.255", true);
    check("11.0.0.0", false);
    check("9.255.255.255", false);
    check("192.0.2.1", true);
    check("192.0.2.2", false);
    check("::ffff:10.1.2.3", true);
    check("2001:db8:ffff::1", true);
    check("2001:db9::", false);
    check("198.51.100.200", true);
    check("198.51.101.0", false);
    check("::1", false);
    let everyone = TrustedPeers::parse(["0.0.0.0/0", "::/0"]).unwrap();
    assert!(everyone.contains(Ipv4Addr::new(8, 8, 8, 8).into()) && everyone.contains(Ipv6Addr::LOCALHOST.into()));
    assert!(TrustedPeers::default().is_empty() && !TrustedPeers::default().contains(Ipv4Addr::LOCALHOST.into()));
}

#[test]
fn what_is_no_network_is_named() {
    for entry in ["", "balancer", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "10.0.0/8", "::/129", "::ffff:10.0.0.0/95"]
    {
        assert_eq!(TrustedPeers::parse(["10.0.0.1", entry]), Err(TrustedPeersError(entry.to_owned())));
    }
}

#[test]
fn the_client_is_the_rightmost_stranger() {
    let trusted = TrustedPeers::parse(["10.0.0.0/8", "fd00::/8"]).unwrap();
    let check = |header: &str, client: Option<&str>| {
        let client = client.map(|client| client.parse::<IpAddr>().unwrap());
        assert_eq!(client_address(header, &trusted), client, "{header:?}");
    };
    check("203.0.113.7", Some("203.0.113.7"));
    check("203.0.113.7, 10.0.0.1", Some("203.0.113.7"));
    check("1.1.1.1, 203.0.113.7 ,10.0.0.1,fd00::2", Some("203.0.113.7"));
    check("made up, 203.0.113.7", Some("203.0.113.7"));
    check("203.0.113.7:5000, [fd00::1]:80", Some("203.0.113.7"));
    check("[2001:db8::7]", Some("2001:db8::7"));
    check("[2001:db8::7]:443", Some("2001:db8::7"));
    check("::ffff:203.0.113.7", Some("203.0.113.7"));
    check("10.0.0.9, 10.0.0.1", Some("10.0.0.9"));
    check("203.0.113.7, unknown", None);
    check("203.0.113.7,", None);
    check("", None);
    check("[", None);
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_break_the_parser(tail in prop::collection::vec(any::<u8>(), 0..300), signed in 0_usize..=12) {
        let bytes = [&SIGNATURE[..signed], &tail].concat();
        if let Ok(Some((_, taken))) = parse(&bytes) {
            prop_assert!(taken <= bytes.len() && taken <= HEADER_BYTES_MAX);
            prop_assert_eq!(parse(&bytes[..taken]), parse(&bytes));
        }
    }

    #[test]
    fn arbitrary_text_never_breaks_the_address_readers(text in "[0-9a-f:.,/\\[\\] x]{0,60}") {
        let trusted = TrustedPeers::parse(text.split(',')).unwrap_or_default();
        let _ = client_address(&text, &trusted);
        let _ = trusted.contains(Ipv6Addr::LOCALHOST.into());
    }
}
