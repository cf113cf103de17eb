//! `ringway token`: an access token for scripts and first steps.
//!
//! Opens accounts and the token key beside a node that may be running; needs none.

use std::io::Write as _;

use anyhow::Context as _;
use clap::Args;
use ringway_engine::ids::{DeviceId, Uid};
use ringway_service::failure::Failure;
use ringway_store::embedded::open_directory;
use ringway_store::ports::{Account, Directory, DirectoryError};
use ringway_store::token::Claims;

use crate::clock::unix_ms;
use crate::config::Config;
use crate::settings::DataArgs;

/// Arguments of `ringway token`.
#[derive(Debug, Args)]
pub(crate) struct TokenArgs {
    #[command(flatten)]
    data: DataArgs,
    /// User id; created when absent, without a password
    #[arg(long, value_name = "UID")]
    user: String,
    /// The token serves this device alone
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Life of the token in seconds [default: api.access_token_ttl_s]
    #[arg(long, value_name = "SECONDS")]
    ttl_s: Option<u64>,
}

/// Prints a token.
///
/// # Errors
/// Wrong ids, or the data folder cannot be opened.
pub(crate) fn run(args: &TokenArgs) -> Result<(), Failure> {
    let config = args.data.sources().load::<Config>().map_err(Failure::Usage)?;
    let user = Uid::parse(&args.user).with_context(|| format!("--user {:?}", args.user)).map_err(Failure::Usage)?;
    let device = args.device.as_deref().map(DeviceId::parse).transpose();
    let device = device.with_context(|| format!("--device {:?}", args.device)).map_err(Failure::Usage)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("no runtime")?;
    let token = runtime.block_on(issue(&config, user, device, args.ttl_s))?;
    writeln!(std::io::stdout(), "{token}").context("standard output")?;
    Ok(())
}

async fn issue(config: &Config, user: Uid, device: Option<DeviceId>, ttl_s: Option<u64>) -> anyhow::Result<String> {
    let (directory, key) = open_directory(&config.data.folder).await?;
    let now_ms = unix_ms();
    if directory.account(&user).await?.is_none() {
        let account = Account { uid: user.clone(), name: user.to_string(), created_ms: now_ms };
        match directory.create_account(&account, "").await {
            // Somebody else was quicker: the user is there, which is all we want.
            Ok(()) | Err(DirectoryError::Taken) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let mut session = [0; 16];
    getrandom::fill(&mut session).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let iat = now_ms / 1_000;
    let claims = Claims {
        sub: user,
        iat,
        exp: iat.saturating_add(ttl_s.unwrap_or(config.api.access_token_ttl_s)),
        sid: format!("token-{:032x}", u128::from_le_bytes(session)),
        dev: device,
    };
    Ok(key.sign(&claims)?)
}
