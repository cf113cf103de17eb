//! `ringway chat`: a terminal client, for people and for scripts.
//!
//! Signs in over the HTTP API, then leaves everything about connections to the SDK: a server that is
//! killed and started again is a line in the status bar. `model` decides what is shown and asked for,
//! `draw` paints it, `screen` and `plain` do the input and output. Runs on a tokio runtime of its own.

mod draw;
mod model;
mod password;
mod plain;
mod screen;
mod text;

use std::io::IsTerminal as _;

use anyhow::{Context as _, bail};
use clap::Args;
use ringway_client::http::{Api, ApiError, SessionTokens};
use ringway_client::schema::Target;
use ringway_client::{Client, Events, Options};
use ringway_engine::errors::ErrorCode;
use ringway_engine::ids::{ConversationId, Uid};

/// Talk from the terminal.
///
/// When standard output is no terminal, or with --plain: lines of standard input are sent, received
/// messages are printed one a line, `bob: hi`, in a group `group:ID bob: hi`, with control characters
/// escaped; changes of the connection go to standard error. At the end of the input it waits until
/// everything is acknowledged, and exits with 0.
#[derive(Debug, Args)]
pub(crate) struct ChatArgs {
    /// Your user id; registered when it is free.
    name: String,
    /// Address of the HTTP API.
    #[arg(long, default_value = "http://127.0.0.1:7480")]
    url: String,
    /// Whom to talk to at once: a user id, or `group:ID`.
    #[arg(long)]
    to: Option<String>,
    /// Password. Better in the environment: other users of the machine can read arguments.
    #[arg(long, env = "RINGWAY_PASSWORD", hide_env_values = true)]
    password: Option<String>,
    /// Name of this device; two chats of one user that run at once need two names.
    #[arg(long, default_value = "terminal")]
    device: String,
    /// Lines instead of a screen.
    #[arg(long)]
    plain: bool,
}

/// A signed-in user with a running client.
struct Chat {
    me: Uid,
    api: Api,
    tokens: SessionTokens,
    client: Client,
    events: Events,
    to: Option<ConversationId>,
}

/// Runs a chat to its end. Blocks; not to be called on a runtime's thread.
///
/// # Errors
/// No server, wrong password, kicked, or messages that were refused.
pub(crate) fn run(args: ChatArgs) -> anyhow::Result<()> {
    let plain = args.plain || !std::io::stdout().is_terminal();
    let me = Uid::parse(&args.name).map_err(|error| anyhow::anyhow!("{:?}: {error}", args.name))?;
    let to = args.to.as_deref().map(|to| parse_to(&me, to)).transpose()?;
    let password = match args.password.clone() {
        Some(password) => password,
        None => password::ask(&me)?,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let result = runtime.block_on(async {
        let chat = sign_in(&args, me, to, &password).await?;
        if plain { plain::run(chat).await } else { screen::run(chat).await }
    });
    // A thread may still sit in a read of standard input.
    runtime.shutdown_background();
    result
}

async fn sign_in(args: &ChatArgs, me: Uid, to: Option<ConversationId>, password: &str) -> anyhow::Result<Chat> {
    let api = Api::new(&args.url)?;
    let session = match api.register_or_login(me.as_str(), password, &args.device, "desktop").await {
        Ok(session) => session,
        Err(error) if error.is(ErrorCode::LoginFailed) => bail!("{me} is registered already, with another password"),
        Err(error @ ApiError::Unreachable(_)) => {
            return Err(error).with_context(|| format!("no server at {}: start one with `ringway up`", args.url));
        }
        Err(error) => return Err(error.into()),
    };
    let gateways = api.locate().await?.items;
    let urls: Vec<String> = gateways.into_iter().map(|gateway| gateway.ws).collect();
    let tokens = SessionTokens::new(api.clone(), session);
    let mut options = Options::new("", &args.device, tokens.clone());
    if urls.is_empty() {
        bail!("the server is starting or stopping: try again in a moment");
    }
    options.urls = urls;
    let (client, events) = Client::connect(options)?;
    Ok(Chat { me, api, tokens, client, events, to })
}

/// `bob` or `group:ID`, as a conversation of `me`.
fn parse_to(me: &Uid, to: &str) -> anyhow::Result<ConversationId> {
    let parsed = match to.strip_prefix("group:") {
        Some(id) => ConversationId::group(id),
        None => Uid::parse(to).map(|peer| ConversationId::p2p(me, &peer)),
    };
    parsed.map_err(|error| anyhow::anyhow!("{to:?}: {error}"))
}

/// Where a message to a conversation goes.
fn target(conv: &ConversationId, me: &Uid) -> Option<Target> {
    ringway_client::target_of(conv, me.as_str())
}

/// The short name of a conversation: `bob`, or `group:ID`.
fn short_name(conv: &str, me: &str) -> String {
    match ConversationId::parse(conv).ok().and_then(|id| ringway_client::target_of(&id, me)) {
        Some(target) if !target.user.is_empty() => target.user,
        _ => conv.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_client::{group, user};

    #[test]
    fn a_target_is_a_user_or_a_group() {
        let me = Uid::parse("alice").unwrap();
        assert_eq!(parse_to(&me, "bob").unwrap().as_str(), "p2p:alice:bob");
        assert_eq!(parse_to(&me, "group:g1").unwrap().as_str(), "group:g1");
        assert!(parse_to(&me, "Bob!").is_err() && parse_to(&me, "group:").is_err());
        assert_eq!(target(&parse_to(&me, "bob").unwrap(), &me), Some(user("bob")));
        assert_eq!(target(&parse_to(&me, "group:g1").unwrap(), &me), Some(group("g1")));
        assert_eq!(short_name("p2p:alice:bob", "alice"), "bob");
        assert_eq!(short_name("group:g1", "alice"), "group:g1");
    }

    #[test]
    fn the_arguments_hold_together() {
        #[derive(Debug, clap::Parser)]
        struct Whole {
            #[command(flatten)]
            chat: ChatArgs,
        }
        use clap::{CommandFactory as _, Parser as _};
        Whole::command().debug_assert();
        let whole = Whole::parse_from(["x", "alice", "--to", "bob", "--plain"]);
        assert!(whole.chat.plain && whole.chat.to.as_deref() == Some("bob") && whole.chat.device == "terminal");
    }
}
