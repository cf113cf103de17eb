//! The one table of wire error codes and the one of close codes.
//!
//! Two types, because they do different things: an [`ErrorCode`] refuses one command (or one HTTP
//! request) and the connection lives; a [`CloseCode`] ends the connection. Numbers are never reused
//! or renumbered; `PROTOCOL.md` shows both tables and a test compares it with this file.
//!
//! Error ranges: `400x` the command itself is wrong, `401x` who is asking, `403x` not allowed,
//! `404x` not there, `405x` to `415x` as the HTTP status of the same digits, `429x` too much at
//! once, `5xxx` the server's own trouble. `429x` and `5xxx` are temporary: the same command may
//! succeed later, after `retry_after_ms`. For all others repeating the command changes nothing.
//!
//! Close ranges: 3000–3499 and 4000–4499 say "come back", 3500–3999 and 4500–4999 say "do not come
//! back the same way". 3xxx speak of the connection, 4xxx of the account. Below 3000 are the codes
//! of RFC 6455 §7.4.1.

use crate::packet::schema::ErrorReply;

/// One row of [`ERRORS`].
#[derive(Debug, Clone, Copy)]
pub struct ErrorRow {
    /// The code.
    pub code: ErrorCode,
    /// Its name in documents, logs and metrics.
    pub name: &'static str,
    /// The status of an HTTP answer that carries it.
    pub http_status: u16,
    /// Default wait before a repeat in milliseconds; 0 exactly for codes that are not temporary.
    pub retry_after_ms: u64,
    /// What it means to the client's author.
    pub meaning: &'static str,
}

/// One row of [`CLOSES`].
#[derive(Debug, Clone, Copy)]
pub struct CloseRow {
    /// The code.
    pub code: CloseCode,
    /// Its name: the reason text of the close frame.
    pub name: &'static str,
    /// Whether a client comes back by itself.
    pub reconnect: bool,
    /// What it means to the client's author.
    pub meaning: &'static str,
}

macro_rules! error_codes {
    ($($variant:ident = $code:literal, $name:literal, $status:literal, $retry_ms:literal, $meaning:literal;)*) => {
        /// Why one command or HTTP request was refused. The connection lives.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u32)]
        pub enum ErrorCode {
            $(#[doc = $meaning] $variant = $code,)*
        }

        /// Every error code, rising.
        pub const ERRORS: &[ErrorRow] = &[$(ErrorRow {
            code: ErrorCode::$variant,
            name: $name,
            http_status: $status,
            retry_after_ms: $retry_ms,
            meaning: $meaning,
        },)*];

        impl ErrorCode {
            /// The code with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: u32) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name in documents, logs and metrics.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The status of an HTTP answer that carries this code.
            #[must_use]
            pub const fn http_status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// Default wait before a repeat, in milliseconds; 0 when the code is not temporary.
            #[must_use]
            pub const fn retry_after_ms(self) -> u64 {
                match self { $(Self::$variant => $retry_ms,)* }
            }
        }
    };
}

// variant = code, name, HTTP status, retry_after_ms, meaning
error_codes! {
    Malformed = 4000, "malformed", 400, 0, "The command or request cannot be read: no command, two commands, a field of the wrong type.";
    UnknownCommand = 4001, "unknown_command", 400, 0, "The server does not know this command.";
    InvalidArgument = 4002, "invalid_argument", 400, 0, "The command was read, but one of its values is not allowed.";
    NotConnected = 4010, "not_connected", 401, 0, "A command without a `connect` before it, or a request without a token.";
    AlreadyConnected = 4011, "already_connected", 409, 0, "A second `connect` on one connection.";
    TokenRefused = 4012, "token_refused", 401, 0, "The token is not valid here: signature, audience, user or revocation.";
    TokenExpired = 4013, "token_expired", 401, 0, "The token was valid once; get a new one.";
    LoginFailed = 4014, "login_failed", 401, 0, "User or password is wrong.";
    Forbidden = 4030, "forbidden", 403, 0, "The user may not do this.";
    NotAMember = 4031, "not_a_member", 403, 0, "The user is not a member of the conversation.";
    NotFound = 4040, "not_found", 404, 0, "No such user, group, conversation or path.";
    MethodNotAllowed = 4050, "method_not_allowed", 405, 0, "The path exists, but not with this method.";
    Conflict = 4090, "conflict", 409, 0, "The name is taken, or the state is no longer what the request assumes.";
    TooLarge = 4130, "too_large", 413, 0, "A body or a list is above its bound.";
    UnsupportedMediaType = 4150, "unsupported_media_type", 415, 0, "The request's content type is not the expected one.";
    RateLimited = 4290, "rate_limited", 429, 1_000, "More than the configured rate.";
    Busy = 4291, "busy", 503, 500, "A bounded queue on the way is full.";
    Internal = 5000, "internal", 500, 1_000, "The server failed; the command may or may not have taken effect.";
    Unavailable = 5030, "unavailable", 503, 2_000, "The node is starting, draining, or cut off from what it needs.";
    StorageFull = 5070, "storage_full", 507, 5_000, "The event log has no room; nothing was accepted.";
}

impl ErrorCode {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// Whether the same command may succeed later.
    #[must_use]
    pub const fn temporary(self) -> bool {
        self.retry_after_ms() != 0
    }

    /// The reply that tells a client; `detail` is for people and must hold no token or body.
    #[must_use]
    pub fn reply(self, detail: impl Into<String>) -> ErrorReply {
        ErrorReply {
            code: self.code(),
            message: detail.into(),
            temporary: self.temporary(),
            retry_after_ms: self.retry_after_ms(),
        }
    }
}

macro_rules! close_codes {
    ($($variant:ident = $code:literal, $name:literal, $reconnect:literal, $meaning:literal;)*) => {
        /// Why a connection was ended by the server.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        pub enum CloseCode {
            $(#[doc = $meaning] $variant = $code,)*
        }

        /// Every close code the server sends, rising.
        pub const CLOSES: &[CloseRow] = &[$(CloseRow {
            code: CloseCode::$variant,
            name: $name,
            reconnect: $reconnect,
            meaning: $meaning,
        },)*];

        impl CloseCode {
            /// The code with this number, if there is one.
            #[must_use]
            pub const fn from_code(code: u16) -> Option<Self> {
                match code {
                    $($code => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// The name: the reason text of the close frame.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }
        }
    };
}

// variant = code, name, whether to reconnect, meaning
close_codes! {
    Normal = 1000, "normal", false, "The client closed; this is the answer.";
    GoingAway = 1001, "going_away", true, "The server stops.";
    Protocol = 1002, "protocol_error", false, "A frame breaks RFC 6455.";
    UnsupportedData = 1003, "unsupported_data", false, "A binary frame on the JSON subprotocol, or a text frame on the protobuf one.";
    InvalidUtf8 = 1007, "invalid_utf8", false, "A text frame or a close reason is not UTF-8.";
    Policy = 1008, "policy", false, "Too many fragments or pings.";
    TooBig = 1009, "too_big", false, "A message above 64 KiB.";
    Internal = 1011, "internal", true, "The server failed.";
    Draining = 3001, "draining", true, "The node is being emptied; a `reconnect` push came before.";
    SlowReader = 3002, "slow_reader", true, "The device did not read what was sent; resume and sync.";
    HeartbeatTimeout = 3003, "heartbeat_timeout", true, "Nothing came from the device for the heartbeat bound.";
    AuthTimeout = 3004, "auth_timeout", true, "No valid `connect` in time.";
    Overloaded = 3005, "overloaded", true, "The node sheds load; back off before the next try.";
    NotTheProtocol = 3500, "not_the_protocol", false, "Bytes that are no protocol at all.";
    TokenRefused = 3501, "token_refused", false, "The token in `connect` is not valid; the same one never will be.";
    TokenExpired = 4001, "token_expired", true, "The session's token ran out; come back with a fresh one.";
    KickedSameDevice = 4500, "same_device", false, "The same device connected elsewhere.";
    KickedDeviceLimit = 4501, "device_limit", false, "A further device of the user pushed this one out.";
    Revoked = 4502, "revoked", false, "The token, the device or the account was revoked.";
    KickedPlatformLimit = 4503, "platform_limit", false, "A further device of the same platform class pushed this one out.";
}

impl CloseCode {
    /// The number in the close frame.
    #[must_use]
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The `reason` of the `kicked` push that goes before the close; `None` when none does.
    #[must_use]
    pub const fn kicked_reason(self) -> Option<&'static str> {
        match self {
            Self::KickedSameDevice | Self::KickedDeviceLimit | Self::Revoked | Self::KickedPlatformLimit => {
                Some(self.name())
            }
            _ => None,
        }
    }
}

/// Whether a client whose connection ended with `code` comes back by itself, codes of a newer server
/// included. 1005 and 1006 (the connection just broke) say yes; the violations of RFC 6455 say no,
/// because the same bytes would end the next connection too.
#[must_use]
pub const fn reconnect(code: u16) -> bool {
    !matches!(code, 1000 | 1002 | 1003 | 1007..=1010 | 3500..=3999 | 4500..=4999)
}

// The tables rise without repeats and the close codes keep to their ranges.
const _: () = {
    let mut rest = ERRORS;
    let mut last = 0;
    while let [row, tail @ ..] = rest {
        assert!(row.code.code() > last, "error codes rise");
        assert!(row.code.temporary() == (row.code.code() >= 4290), "429x and 5xxx are the temporary ones");
        last = row.code.code();
        rest = tail;
    }
    let mut rest = CLOSES;
    let mut last = 0;
    while let [row, tail @ ..] = rest {
        assert!(row.code.code() > last, "close codes rise");
        assert!(row.reconnect == reconnect(row.code.code()), "a close code lies in the wrong range");
        assert!(row.name.len() <= 123, "a close frame has room for 123 bytes of reason");
        last = row.code.code();
        rest = tail;
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_codes_name_each_other() {
        for row in ERRORS {
            assert_eq!(ErrorCode::from_code(row.code.code()), Some(row.code));
            assert_eq!(row.code.name(), row.name);
            assert!((400..600).contains(&row.code.http_status()), "{}", row.name);
        }
        for row in CLOSES {
            assert_eq!(CloseCode::from_code(row.code.code()), Some(row.code));
            assert_eq!(row.code.name(), row.name);
        }
        assert_eq!(ErrorCode::from_code(4999), None);
        assert_eq!(CloseCode::from_code(1005), None);
    }

    #[test]
    fn a_temporary_error_says_when_to_try_again() {
        let busy = ErrorCode::Busy.reply("hub is full");
        assert_eq!((busy.code, busy.temporary, busy.retry_after_ms), (4291, true, 500));
        let malformed = ErrorCode::Malformed.reply("no command");
        assert_eq!((malformed.temporary, malformed.retry_after_ms), (false, 0));
    }

    #[test]
    fn a_client_comes_back_unless_told_not_to() {
        for code in [1001, 1005, 1006, 1011, 1012, 3001, 3400, 4001, 4499] {
            assert!(reconnect(code), "{code}");
        }
        for code in [1000, 1002, 1009, 3500, 3501, 3999, 4500, 4999] {
            assert!(!reconnect(code), "{code}");
        }
    }
}
