//! Chat as lines: standard input is sent, what is received is printed.
//!
//! `/to NAME`, `/group NAME UID…` and `/quit` are commands; a line that begins with `//` is sent with
//! one slash less. Received: `bob: hi`, in a group `group:ID bob: hi`; what this process sent itself is
//! not repeated.

use std::collections::HashSet;
use std::io::{BufRead as _, Write as _};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::{anyhow, bail};
use ringway_client::schema::Message;
use ringway_client::{Client, Draft, Event, Events, State, new_client_msg_id};
use ringway_engine::ids::{ConversationId, Uid};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::{Chat, parse_to, target, text};

/// Ids of messages that this process sent and that have not come by yet.
type OwnIds = Arc<Mutex<HashSet<String>>>;

pub(super) async fn run(chat: Chat) -> anyhow::Result<()> {
    let own = OwnIds::default();
    // Events are taken on a task of their own: answers to sends wait behind them.
    let printing = tokio::spawn(print(chat.events, chat.me.clone(), Arc::clone(&own)));
    let client = chat.client.clone();
    let mut sender =
        Sender { chat_to: chat.to, me: chat.me, client: chat.client, own, sends: JoinSet::new(), failed: 0 };
    let mut lines = read_lines();
    let closed = client.wait_for(|state| matches!(state, State::Closed { .. }));
    tokio::pin!(closed);
    loop {
        tokio::select! {
            line = lines.recv() => match line.transpose()? {
                Some(line) if line.trim() == "/quit" => break,
                Some(line) => match line.strip_prefix("/group ") {
                    Some(rest) => sender.open_group(&chat.api, &chat.tokens, rest).await,
                    None => sender.take(&line).await?,
                },
                None => break,
            },
            answered = sender.sends.join_next(), if !sender.sends.is_empty() => sender.note(answered),
            state = &mut closed => match state {
                Some(State::Closed { reason, .. }) => bail!("closed: {reason}"),
                _ => bail!("closed"),
            },
        }
    }
    while let Some(answered) = sender.sends.join_next().await {
        sender.note(Some(answered));
    }
    client.close().await;
    printing.await??;
    if sender.failed > 0 { Err(anyhow!("{} messages were not sent", sender.failed)) } else { Ok(()) }
}

/// Lines read ahead; past it the reading waits, and with it whoever writes them.
const LINES_MAX: usize = 64;

/// Reads standard input on a thread of its own: a read cannot be given up. Bytes that are no UTF-8 are
/// replaced, not refused.
fn read_lines() -> mpsc::Receiver<std::io::Result<String>> {
    let (lines, incoming) = mpsc::channel(LINES_MAX);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().split(b'\n') {
            let text = line.map(|bytes| String::from_utf8_lossy(&bytes).trim_end_matches('\r').to_owned());
            if lines.blocking_send(text).is_err() {
                return;
            }
        }
    });
    incoming
}

/// What an answered send leaves: its line and, when it failed, why.
type Answered = Result<(), String>;

struct Sender {
    chat_to: Option<ConversationId>,
    me: Uid,
    client: Client,
    own: OwnIds,
    sends: JoinSet<Answered>,
    failed: usize,
}

impl Sender {
    async fn take(&mut self, line: &str) -> anyhow::Result<()> {
        if let Some(name) = line.strip_prefix("/to ") {
            match parse_to(&self.me, name.trim()) {
                Ok(conv) => self.chat_to = Some(conv),
                Err(error) => eprintln!("{error}"),
            }
            return Ok(());
        }
        let body = match line.strip_prefix('/') {
            Some(rest) if rest.starts_with('/') => rest,
            Some(_) => {
                eprintln!("unknown command: {line} (there are /to, /group and /quit; // sends a slash)");
                return Ok(());
            }
            None => line,
        };
        if body.is_empty() {
            return Ok(());
        }
        let Some(to) = self.chat_to.as_ref().and_then(|conv| target(conv, &self.me)) else {
            eprintln!("to whom? /to NAME, or start with --to");
            self.failed += 1;
            return Ok(());
        };
        let client_msg_id = new_client_msg_id()?;
        self.own.lock().unwrap_or_else(PoisonError::into_inner).insert(client_msg_id.clone());
        let draft = Draft { client_msg_id, ..Draft::text(to, body) };
        match self.client.enqueue(draft).await {
            Ok(pending) => {
                self.sends.spawn(async move { pending.await.map(drop).map_err(|error| error.to_string()) });
            }
            Err(error) => self.note(Some(Ok(Err(error.to_string())))),
        }
        Ok(())
    }

    async fn open_group(
        &mut self,
        api: &ringway_client::http::Api,
        tokens: &ringway_client::http::SessionTokens,
        rest: &str,
    ) {
        let mut words = rest.split_whitespace();
        let name = words.next().unwrap_or_default();
        let members: Vec<&str> = words.collect();
        let created = async { api.create_group(&tokens.access().await?, name, &members).await };
        match created.await {
            Ok(group) => {
                eprintln!("talking to {} ({name})", group.conv);
                self.chat_to = ConversationId::parse(&group.conv).ok();
            }
            Err(error) => eprintln!("no group: {error}"),
        }
    }

    fn note(&mut self, answered: Option<Result<Answered, tokio::task::JoinError>>) {
        let failure = match answered {
            None | Some(Ok(Ok(()))) => return,
            Some(Ok(Err(reason))) => reason,
            Some(Err(error)) => error.to_string(),
        };
        self.failed += 1;
        eprintln!("not sent: {failure}");
    }
}

/// Prints until the client ends; each line is flushed, a reader may be waiting for it.
async fn print(mut events: Events, me: Uid, own: OwnIds) -> anyhow::Result<()> {
    while let Some(event) = events.next().await {
        match event {
            Event::Message(message) => {
                let mine = own.lock().unwrap_or_else(PoisonError::into_inner).remove(&message.client_msg_id);
                if !(mine && message.from == me.as_str()) {
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{}", line_of(&message))?;
                    out.flush()?;
                }
            }
            Event::State(state) => eprintln!("{}", state_line(&state)),
            Event::Refused(error) => eprintln!("refused: {}", error.message),
            _ => {}
        }
    }
    Ok(())
}

/// A received message as one line.
fn line_of(message: &Message) -> String {
    let said = format!("{}: {}", text::sender(message), text::one_line(&text::of_message(message)));
    if message.conv.starts_with("group:") { format!("{} {said}", message.conv) } else { said }
}

fn state_line(state: &State) -> String {
    match state {
        State::Connecting { url, .. } => format!("connecting to {url}"),
        State::Connected { uid, .. } => format!("connected as {uid}"),
        State::Waiting { until, reason } => {
            let seconds = until.saturating_duration_since(Instant::now()).as_secs_f64();
            format!("reconnecting in {seconds:.1} s: {reason}")
        }
        State::Closed { reason, .. } => format!("closed: {reason}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_received_message_is_one_line() {
        let message = |conv: &str, body: &str| Message {
            conv: conv.into(),
            from: "bob".into(),
            kind: "text".into(),
            body: body.into(),
            ..Message::default()
        };
        assert_eq!(line_of(&message("p2p:alice:bob", "hi\nthere")), "bob: hi\\nthere");
        assert_eq!(line_of(&message("group:g1", "hi")), "group:g1 bob: hi");
    }
}
