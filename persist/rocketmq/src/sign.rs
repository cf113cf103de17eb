//! Signing requests, as the brokers' access control wants it.
//!
//! The signature is HMAC-SHA1 under the secret key, in Base64, over the values of all header fields in the order of
//! their names, followed by the body. It goes into the field `Signature`, the access key into `AccessKey`.
//! Source: `AclClientRPCHook` and `AclUtils` of Apache RocketMQ 5.4.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac::{Context, HMAC_SHA1_FOR_LEGACY_USE_ONLY, Key};
use rocketmq_protocol::RemotingCommand;

use crate::config::Credentials;

const ACCESS_KEY: &str = "AccessKey";
const SIGNATURE: &str = "Signature";

/// Adds the signature to a request that is complete otherwise.
pub(crate) fn sign(command: &mut RemotingCommand, credentials: &Credentials) {
    command.make_custom_header_to_net();
    command.add_ext_field(ACCESS_KEY, credentials.access_key.as_str());
    let mut fields: Vec<(&str, &str)> = Vec::new();
    for (name, value) in command.ext_fields().into_iter().flatten() {
        if name.as_str() != SIGNATURE {
            fields.push((name.as_str(), value.as_str()));
        }
    }
    fields.sort_unstable();
    let mut context = Context::with_key(&Key::new(HMAC_SHA1_FOR_LEGACY_USE_ONLY, credentials.secret_key.as_bytes()));
    for (_, value) in fields {
        context.update(value.as_bytes());
    }
    if let Some(body) = command.body() {
        context.update(body);
    }
    let signature = STANDARD.encode(context.sign());
    command.add_ext_field(SIGNATURE, signature);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_what_the_java_client_computes() {
        let credentials = Credentials { access_key: "ak".to_owned(), secret_key: "secret".to_owned() };
        let mut command = RemotingCommand::create_remoting_command(10).set_body("body");
        command.add_ext_field("z", "last");
        command.add_ext_field("a", "first");
        // Access control's own example has a session token too, which is one more field.
        command.add_ext_field("SecurityToken", "token");
        sign(&mut command, &credentials);
        let fields = command.ext_fields().unwrap();
        assert_eq!(fields.get("Signature").unwrap().as_str(), "wuJkFDNRMKY6aFXTDwT/vg0UC8M=");
        assert_eq!(fields.get("AccessKey").unwrap().as_str(), "ak");
    }

    #[test]
    fn signing_again_gives_the_same() {
        let credentials = Credentials { access_key: "ak".to_owned(), secret_key: "secret".to_owned() };
        let mut command = RemotingCommand::create_remoting_command(10);
        sign(&mut command, &credentials);
        let first = command.ext_fields().unwrap().get("Signature").unwrap().clone();
        sign(&mut command, &credentials);
        assert_eq!(command.ext_fields().unwrap().get("Signature").unwrap(), &first);
    }
}
