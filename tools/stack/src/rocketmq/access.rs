//! The broker's access control: accounts that sign requests, and what each may do.
//!
//! A broker that has it on asks everybody for a signature, us too: we are its one account that may do anything. The
//! name server has none.

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::remoting::{self, Code, Door};

/// A name and a secret to sign with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Account {
    pub(super) name: String,
    pub(super) secret: String,
}

/// Somebody who may use a broker with access control.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RocketMqUser {
    /// The access key.
    pub name: String,
    /// The secret key.
    pub secret: String,
    /// What it may do, and nothing else: `Topic:NAME` or `Group:NAME`, and actions with commas between them, as in
    /// `Pub,Get`.
    pub rules: Vec<(String, String)>,
}

/// Settings of a broker that asks for signatures and checks rights. `broker` is who we are, and the broker itself
/// towards other brokers.
pub(super) fn settings(broker: &Account) -> Vec<(&'static str, String)> {
    let class = |name: &str| format!("org.apache.rocketmq.auth.{name}");
    vec![
        ("authenticationEnabled", "true".to_owned()),
        ("authenticationProvider", class("authentication.provider.DefaultAuthenticationProvider")),
        ("authenticationMetadataProvider", class("authentication.provider.LocalAuthenticationMetadataProvider")),
        ("initAuthenticationUser", json!({ "username": broker.name, "password": broker.secret }).to_string()),
        (
            "innerClientAuthenticationCredentials",
            json!({ "accessKey": broker.name, "secretKey": broker.secret }).to_string(),
        ),
        ("authorizationEnabled", "true".to_owned()),
        ("authorizationProvider", class("authorization.provider.DefaultAuthorizationProvider")),
        ("authorizationMetadataProvider", class("authorization.provider.LocalAuthorizationMetadataProvider")),
    ]
}

/// Makes a user with its rights, on a broker that may have it already.
pub(super) fn make(port: u16, door: &Door, user: &RocketMqUser) -> Result<()> {
    let body = json!({ "username": user.name, "password": user.secret }).to_string();
    let made = remoting::request(port, door, Code::CreateUser, &[("username", &user.name)], body.as_bytes())?;
    if made.code != 0 && !made.remark.contains("existed") {
        bail!("user {} was refused with {}: {}", user.name, made.code, made.remark);
    }
    if user.rules.is_empty() {
        return Ok(());
    }
    let subject = format!("User:{}", user.name);
    let entry = |(resource, actions): &(String, String)| {
        let actions: Vec<&str> = actions.split(',').collect();
        json!({ "resource": resource, "actions": actions, "decision": "Allow" })
    };
    let entries: Vec<_> = user.rules.iter().map(entry).collect();
    let policies = json!([{ "policyType": "Custom", "entries": entries }]);
    let body = json!({ "subject": subject, "policies": policies }).to_string();
    let given = remoting::request(port, door, Code::UpdateAcl, &[("subject", &subject)], body.as_bytes())?;
    if given.code != 0 {
        bail!("rights of {} were refused with {}: {}", user.name, given.code, given.remark);
    }
    Ok(())
}
