//! The terminal: keys in, frames out, actions carried out by the SDK.
//!
//! Keys are read on a thread of their own (the terminal offers no other way without polling), which ends
//! with the process. The terminal is given back however the loop ends, a panic included.

use std::time::{Duration, Instant};

use ratatui::crossterm::event::{self, DisableBracketedPaste, EnableBracketedPaste};
use ratatui::crossterm::execute;
use ringway_client::http::{Api, SessionTokens};
use ringway_client::{Client, Draft, PendingSend, State};
use ringway_engine::ids::ConversationId;
use tokio::sync::mpsc;

use super::Chat;
use super::draw::draw;
use super::model::{Action, HISTORY_PAGE, Input, Model};

/// Keys and answers that wait for the loop; past it their sources wait.
const INPUTS_MAX: usize = 256;
/// How often a countdown is painted anew.
const TICK_MS: u64 = 100;

pub(super) async fn run(chat: Chat) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = converse(chat, &mut terminal).await;
    // Bracketed paste off first: `restore` leaves the alternate screen.
    let _ = execute!(std::io::stdout(), DisableBracketedPaste);
    ratatui::restore();
    result
}

async fn converse(chat: Chat, terminal: &mut ratatui::DefaultTerminal) -> anyhow::Result<()> {
    let Chat { me, api, tokens, client, mut events, to } = chat;
    // Not every terminal knows it; without it a paste is a row of keys.
    let _ = execute!(std::io::stdout(), EnableBracketedPaste);
    let (inputs, mut incoming) = mpsc::channel(INPUTS_MAX);
    read_keys(inputs.clone());
    let hands = Hands { client: client.clone(), api, tokens, inputs, sends: send_in_order(client.clone()) };
    let mut model = Model::new(me, client.state());
    let mut actions = to.map(|conv| model.show(conv)).unwrap_or_default();
    let mut tick = tokio::time::interval(Duration::from_millis(TICK_MS));
    loop {
        for action in actions.drain(..) {
            if action == Action::Quit {
                // Bounded: a server that is away must not hold the user.
                let _ = tokio::time::timeout(Duration::from_secs(1), client.close()).await;
                return Ok(());
            }
            hands.carry_out(action);
        }
        terminal.draw(|frame| draw(&model, Instant::now(), frame))?;
        let input = tokio::select! {
            Some(input) = incoming.recv() => Some(input),
            Some(event) = events.next() => Some(Input::Client(event)),
            _ = tick.tick(), if matches!(model.state, State::Waiting { .. }) => None,
        };
        // What else is there already is taken before the next painting.
        let mut next = input;
        while let Some(input) = next {
            actions.extend(model.update(input));
            next = incoming.try_recv().ok();
        }
    }
}

/// Carries actions out, each on a task of its own; answers come back as inputs.
struct Hands {
    client: Client,
    api: Api,
    tokens: SessionTokens,
    inputs: mpsc::Sender<Input>,
    sends: mpsc::UnboundedSender<(u64, Draft, mpsc::Sender<Input>)>,
}

impl Hands {
    fn carry_out(&self, action: Action) {
        let (client, inputs) = (self.client.clone(), self.inputs.clone());
        match action {
            Action::Send { local, to, body } => {
                // As fast as one types: the client's own bound is what counts.
                let _ = self.sends.send((local, Draft::text(to, body), inputs));
            }
            Action::Group { name, members } => {
                let (api, tokens) = (self.api.clone(), self.tokens.clone());
                tokio::spawn(async move {
                    let input = create_group(&api, &tokens, &name, &members).await;
                    let _ = inputs.send(input).await;
                });
            }
            Action::List => {
                tokio::spawn(async move {
                    let answer = client.conversations("", 0).await;
                    let input = answer.map_or_else(|error| Input::Notice(error.to_string()), Input::Listed);
                    let _ = inputs.send(input).await;
                });
            }
            Action::History { conv, before_seq } => {
                tokio::spawn(async move {
                    // An empty last page also comes of an error: a conversation that does not exist yet.
                    let page = client.sync_before(&conv, before_seq, HISTORY_PAGE).await.unwrap_or_default();
                    let page = ringway_client::schema::Messages { conv, ..page };
                    let _ = inputs.send(Input::History(page)).await;
                });
            }
            Action::Read { conv, seq } => {
                // A read mark that is refused is of no concern to the user.
                tokio::spawn(async move { client.read(&conv, seq).await });
            }
            Action::Quit => {}
        }
    }
}

/// A task that hands sends over one after the other: tasks of their own could change places.
fn send_in_order(client: Client) -> mpsc::UnboundedSender<(u64, Draft, mpsc::Sender<Input>)> {
    let (sends, mut queue) = mpsc::unbounded_channel::<(u64, Draft, mpsc::Sender<Input>)>();
    tokio::spawn(async move {
        while let Some((local, draft, inputs)) = queue.recv().await {
            match client.enqueue(draft).await {
                Ok(pending) => {
                    tokio::spawn(tell_answer(local, pending, inputs));
                }
                Err(error) => {
                    let _ = inputs.send(Input::Sent(local, Err(error.to_string()))).await;
                }
            }
        }
    });
    sends
}

async fn tell_answer(local: u64, pending: PendingSend, inputs: mpsc::Sender<Input>) {
    let answer = pending.await.map(drop).map_err(|error| error.to_string());
    let _ = inputs.send(Input::Sent(local, answer)).await;
}

async fn create_group(api: &Api, tokens: &SessionTokens, name: &str, members: &[String]) -> Input {
    let members: Vec<&str> = members.iter().map(String::as_str).collect();
    let created = async { api.create_group(&tokens.access().await?, name, &members).await };
    match created.await {
        Ok(group) => match ConversationId::parse(&group.conv) {
            Ok(conv) => Input::Opened(conv, group.name),
            Err(error) => Input::Notice(error.to_string()),
        },
        Err(error) => Input::Notice(error.to_string()),
    }
}

fn read_keys(inputs: mpsc::Sender<Input>) {
    std::thread::spawn(move || {
        // Ends when the terminal does, or when the loop no longer listens.
        while let Ok(event) = event::read() {
            let input = match event {
                event::Event::Key(key) => Input::Key(key),
                event::Event::Paste(pasted) => Input::Paste(pasted),
                // Painted anew at once.
                event::Event::Resize(..) => Input::Resized,
                _ => continue,
            };
            if inputs.blocking_send(input).is_err() {
                return;
            }
        }
    });
}
