//! Access tokens: JWT, HS256 and nothing else, signed with a key that lives in the data folder.
//!
//! The algorithm is pinned here and never taken from a token's header. Time is an argument: the crate's
//! own clock checks are off and done in [`TokenKey::verify`]. A token never reaches a log; neither do
//! the errors carry any part of one.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ringway_engine::ids::{DeviceId, Uid};
use ringway_engine::limits::TOKEN_BYTES_MAX;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::hmac;

const AUDIENCE: &str = "ringway";
const KEY_BYTES: usize = 32;

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user.
    pub sub: Uid,
    /// Unix seconds of issue.
    pub iat: u64,
    /// Unix seconds; refused from then on.
    pub exp: u64,
    /// The sign-in it belongs to; revoking that ends it.
    pub sid: String,
    /// When set, the token serves this device alone.
    pub dev: Option<DeviceId>,
}

/// Why a token is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TokenError {
    /// Above [`TOKEN_BYTES_MAX`]; it was not read.
    #[error("token is too long")]
    TooLong,
    /// Not three parts of base64 and JSON, or a claim is missing or of the wrong type.
    #[error("token is malformed")]
    Malformed,
    /// Signed (or not) by anything but HS256.
    #[error("token has a foreign algorithm")]
    Algorithm,
    /// The signature is not ours.
    #[error("token has a wrong signature")]
    Signature,
    /// Its time is over.
    #[error("token has expired")]
    Expired,
    /// Meant for somebody else.
    #[error("token has a foreign audience")]
    Audience,
}

/// The JSON of the claims.
#[derive(Serialize, Deserialize)]
struct Wire {
    sub: String,
    // The crate compares it; here it is only written.
    #[serde(default, skip_deserializing)]
    aud: &'static str,
    iat: u64,
    exp: u64,
    sid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dev: Option<String>,
}

/// The key that signs and checks.
pub struct TokenKey {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey")
    }
}

impl TokenKey {
    /// A key from its bytes.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; KEY_BYTES]) -> Self {
        hmac::choose_provider();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_exp = false;
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        Self { encoding: EncodingKey::from_secret(bytes), decoding: DecodingKey::from_secret(bytes), validation }
    }

    /// Reads the key file, or makes it (mode 0600) when there is none. Processes that race end up with
    /// one key: the file appears whole, under its name, once.
    ///
    /// # Errors
    /// The file system's, or `InvalidData` when the file is not 32 bytes long.
    pub fn load_or_create(path: &Path) -> io::Result<Self> {
        if let Some(key) = Self::load(path)? {
            return Ok(key);
        }
        let mut bytes = [0; KEY_BYTES];
        getrandom::fill(&mut bytes).map_err(|error| io::Error::other(error.to_string()))?;
        let mut suffix = [0; 8];
        getrandom::fill(&mut suffix).map_err(|error| io::Error::other(error.to_string()))?;
        let temporary = path.with_extension(format!("new-{:016x}", u64::from_le_bytes(suffix)));
        let written = write_new(&temporary, &bytes).and_then(|()| match fs::hard_link(&temporary, path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            linked => linked,
        });
        let removed = fs::remove_file(&temporary);
        written?;
        removed?;
        if let Some(folder) = path.parent() {
            fs::File::open(folder)?.sync_all()?;
        }
        Self::load(path)?.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "token key vanished"))
    }

    fn load(path: &Path) -> io::Result<Option<Self>> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let bytes = <[u8; KEY_BYTES]>::try_from(bytes.as_slice()).map_err(|_| {
            let message = format!("{} is not a key of {KEY_BYTES} bytes", path.display());
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(Some(Self::from_bytes(&bytes)))
    }

    /// Signs claims.
    ///
    /// # Errors
    /// [`TokenError::Signature`] when the cryptographic library fails, which it has no reason to.
    pub fn sign(&self, claims: &Claims) -> Result<String, TokenError> {
        let wire = Wire {
            sub: claims.sub.to_string(),
            aud: AUDIENCE,
            iat: claims.iat,
            exp: claims.exp,
            sid: claims.sid.clone(),
            dev: claims.dev.as_ref().map(ToString::to_string),
        };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &wire, &self.encoding).map_err(|_| TokenError::Signature)
    }

    /// Checks a token at `now_s` (Unix seconds).
    ///
    /// # Errors
    /// See [`TokenError`].
    pub fn verify(&self, token: &str, now_s: u64) -> Result<Claims, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        // A header that names an algorithm unknown to the crate (`none` among them) is not readable to it.
        let header = jsonwebtoken::decode_header(token).map_err(|error| match error.kind() {
            ErrorKind::Json(_) => TokenError::Algorithm,
            _ => TokenError::Malformed,
        })?;
        if header.alg != Algorithm::HS256 {
            return Err(TokenError::Algorithm);
        }
        let wire = jsonwebtoken::decode::<Wire>(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::InvalidSignature => TokenError::Signature,
                ErrorKind::InvalidAlgorithm => TokenError::Algorithm,
                ErrorKind::InvalidAudience => TokenError::Audience,
                ErrorKind::MissingRequiredClaim(claim) if claim == "aud" => TokenError::Audience,
                _ => TokenError::Malformed,
            })?
            .claims;
        if now_s >= wire.exp {
            return Err(TokenError::Expired);
        }
        let sub = Uid::parse(&wire.sub).map_err(|_| TokenError::Malformed)?;
        let dev = wire.dev.as_deref().map(DeviceId::parse).transpose().map_err(|_| TokenError::Malformed)?;
        Ok(Claims { sub, iat: wire.iat, exp: wire.exp, sid: wire.sid, dev })
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};
    use std::os::unix::fs::PermissionsExt as _;

    const KEY: [u8; 32] = [7; 32];

    fn claims() -> Claims {
        Claims {
            sub: Uid::parse("alice").unwrap(),
            iat: 100,
            exp: 200,
            sid: "s-1".into(),
            dev: Some(DeviceId::parse("Phone-1").unwrap()),
        }
    }

    fn forged(algorithm: Algorithm, key: &[u8], claims: &Value) -> String {
        jsonwebtoken::encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(key)).unwrap()
    }

    #[test]
    fn a_signed_token_gives_its_claims_back_until_it_expires() {
        let key = TokenKey::from_bytes(&KEY);
        let token = key.sign(&claims()).unwrap();
        assert_eq!(key.verify(&token, 199), Ok(claims()));
        assert_eq!(key.verify(&token, 200), Err(TokenError::Expired));
        let mut plain = claims();
        plain.dev = None;
        assert_eq!(key.verify(&key.sign(&plain).unwrap(), 0), Ok(plain));
    }

    #[test]
    fn what_is_not_ours_is_refused() {
        let key = TokenKey::from_bytes(&KEY);
        let good = json!({"sub":"alice","aud":"ringway","iat":1,"exp":200,"sid":"s"});
        let with = |name: &str, value: Value| {
            let mut claims = good.clone();
            if value.is_null() {
                claims.as_object_mut().unwrap().remove(name);
            } else {
                claims[name] = value;
            }
            forged(Algorithm::HS256, &KEY, &claims)
        };
        let body = "eyJzdWIiOiJhbGljZSIsImF1ZCI6InJpbmd3YXkiLCJpYXQiOjEsImV4cCI6MjAwLCJzaWQiOiJzIn0";
        let valid = forged(Algorithm::HS256, &KEY, &good);
        let (_, after_header) = valid.split_once('.').unwrap();
        let mut tampered = valid.clone().into_bytes();
        let middle = valid.find('.').unwrap() + 12;
        tampered[middle] = if tampered[middle] == b'A' { b'B' } else { b'A' };
        let cases = [
            ("none", format!("eyJhbGciOiJub25lIn0.{body}."), TokenError::Algorithm),
            ("none, our signature", format!("eyJhbGciOiJub25lIn0.{after_header}"), TokenError::Algorithm),
            ("RS256", format!("eyJhbGciOiJSUzI1NiJ9.{after_header}"), TokenError::Algorithm),
            ("HS384", forged(Algorithm::HS384, &KEY, &good), TokenError::Algorithm),
            ("HS512", forged(Algorithm::HS512, &KEY, &good), TokenError::Algorithm),
            ("foreign key", forged(Algorithm::HS256, &[8; 32], &good), TokenError::Signature),
            ("tampered", String::from_utf8(tampered).unwrap(), TokenError::Signature),
            ("no signature", valid[..=valid.rfind('.').unwrap()].to_owned(), TokenError::Signature),
            ("no exp", with("exp", Value::Null), TokenError::Malformed),
            ("exp is text", with("exp", json!("200")), TokenError::Malformed),
            ("no sub", with("sub", Value::Null), TokenError::Malformed),
            ("bad sub", with("sub", json!("Alice")), TokenError::Malformed),
            ("bad dev", with("dev", json!("a b")), TokenError::Malformed),
            ("no aud", with("aud", Value::Null), TokenError::Audience),
            ("foreign aud", with("aud", json!("other")), TokenError::Audience),
            ("expired", with("exp", json!(99)), TokenError::Expired),
            ("empty", String::new(), TokenError::Malformed),
            ("one part", "abc".into(), TokenError::Malformed),
            ("no base64", "!.!.!".into(), TokenError::Malformed),
            ("too long", "a".repeat(TOKEN_BYTES_MAX + 1), TokenError::TooLong),
        ];
        for (name, token, expected) in cases {
            assert_eq!(key.verify(&token, 100), Err(expected), "{name}");
        }
        assert!(key.verify(&valid, 100).is_ok());
    }

    #[test]
    fn racing_processes_share_one_key_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token.key");
        let tokens: Vec<String> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8)
                .map(|_| scope.spawn(|| TokenKey::load_or_create(&path).unwrap().sign(&claims()).unwrap()))
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert!(tokens.iter().all(|token| *token == tokens[0]));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left");
        fs::write(&path, b"short").unwrap();
        assert_eq!(TokenKey::load_or_create(&path).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
