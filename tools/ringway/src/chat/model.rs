//! What the screen shows and what has to be done about it (pure: no terminal, no socket).
//!
//! `update` takes one input and returns the actions it asks for; `draw` reads the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ringway_client::schema::{Conversations, Message, Messages, Target};
use ringway_client::{Event, State};
use ringway_engine::ids::{ConversationId, Uid};

use super::{parse_to, short_name, target, text};

/// Messages shown of one conversation; the oldest go first.
const SHOWN_MAX: usize = 2_000;
/// Messages asked for at once when scrolling up.
pub(super) const HISTORY_PAGE: u32 = 50;

/// Something that happened.
#[derive(Debug)]
pub(super) enum Input {
    /// A key.
    Key(KeyEvent),
    /// Text pasted at once.
    Paste(String),
    /// The terminal has another size.
    Resized,
    /// The SDK tells.
    Client(Event),
    /// The list of conversations was read.
    Listed(Conversations),
    /// A page of history was read.
    History(Messages),
    /// A send was answered.
    Sent(u64, Result<(), String>),
    /// A group was made.
    Opened(ConversationId, String),
    /// Something to tell.
    Notice(String),
}

/// Something to do.
#[derive(Debug, PartialEq)]
pub(super) enum Action {
    /// Send; answer with `Input::Sent`.
    Send { local: u64, to: Target, body: String },
    /// Create a group; answer with `Input::Opened`.
    Group { name: String, members: Vec<String> },
    /// Read the conversations.
    List,
    /// Read the page below a sequence.
    History { conv: String, before_seq: u64 },
    /// Mark read.
    Read { conv: String, seq: u64 },
    /// End.
    Quit,
}

/// A message of this process that has no number yet.
#[derive(Debug)]
pub(super) struct Unsent {
    pub(super) local: u64,
    pub(super) body: String,
    /// Why it never will have one.
    pub(super) failed: Option<String>,
}

/// One conversation.
#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) id: ConversationId,
    pub(super) title: String,
    pub(super) unread: u64,
    /// Sender and text by sequence.
    pub(super) messages: BTreeMap<u64, (String, String)>,
    pub(super) unsent: Vec<Unsent>,
    /// Messages scrolled up from the newest.
    pub(super) scrolled: usize,
    /// The server's time of its newest message, which orders the list.
    used_ms: u64,
    read: u64,
    complete: bool,
    asked: bool,
}

/// The whole screen.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) me: Uid,
    conversations: BTreeMap<ConversationId, Conversation>,
    pub(super) open: Option<ConversationId>,
    pub(super) input: Vec<char>,
    pub(super) cursor: usize,
    pub(super) state: State,
    pub(super) notice: String,
    next_local: u64,
}

impl Model {
    pub(super) fn new(me: Uid, state: State) -> Self {
        Self {
            me,
            conversations: BTreeMap::new(),
            open: None,
            input: Vec::new(),
            cursor: 0,
            state,
            notice: "/to NAME   /group NAME UID…   /quit   Tab: next conversation   PgUp: history".to_owned(),
            next_local: 1,
        }
    }

    /// The conversation on show.
    pub(super) fn shown(&self) -> Option<&Conversation> {
        self.conversations.get(self.open.as_ref()?)
    }

    /// All conversations, those with the newest messages first.
    pub(super) fn ordered(&self) -> Vec<&Conversation> {
        let mut ordered: Vec<&Conversation> = self.conversations.values().collect();
        ordered.sort_by_key(|conv| std::cmp::Reverse(conv.used_ms));
        ordered
    }

    /// The connection in words.
    pub(super) fn status(&self, now: Instant) -> String {
        match &self.state {
            State::Connecting { attempt: 0, .. } => "connecting…".to_owned(),
            State::Connecting { .. } => "reconnecting…".to_owned(),
            State::Connected { uid, .. } => format!("connected as {uid}"),
            State::Waiting { until, reason } => {
                let seconds = until.saturating_duration_since(now).as_secs_f64();
                format!("reconnecting in {seconds:.1} s… ({})", text::one_line(reason))
            }
            State::Closed { reason, .. } => format!("closed: {} (Esc leaves)", text::one_line(reason)),
        }
    }

    /// Takes one input.
    pub(super) fn update(&mut self, input: Input) -> Vec<Action> {
        match input {
            Input::Key(key) if key.kind != KeyEventKind::Release => self.key(key),
            Input::Key(_) | Input::Resized => Vec::new(),
            Input::Paste(pasted) => {
                pasted.chars().for_each(|letter| self.insert(if letter == '\r' { '\n' } else { letter }));
                Vec::new()
            }
            Input::Client(event) => self.event(event),
            Input::Listed(list) => self.listed(list),
            Input::History(page) => self.history(page),
            Input::Sent(local, result) => {
                self.sent(local, result);
                Vec::new()
            }
            Input::Opened(conv, title) => {
                self.conversation(&conv).title = title;
                self.show(conv)
            }
            Input::Notice(notice) => {
                self.notice = text::one_line(&notice);
                Vec::new()
            }
        }
    }

    /// Puts a conversation on show, new or not.
    pub(super) fn show(&mut self, id: ConversationId) -> Vec<Action> {
        let conv = self.conversation(&id);
        conv.scrolled = 0;
        let history = conv.ask_history(u64::MAX);
        self.open = Some(id);
        history.into_iter().chain(self.read_shown()).collect()
    }

    fn conversation(&mut self, id: &ConversationId) -> &mut Conversation {
        let me = &self.me;
        self.conversations.entry(id.clone()).or_insert_with(|| Conversation {
            id: id.clone(),
            title: short_name(id.as_str(), me.as_str()),
            unread: 0,
            messages: BTreeMap::new(),
            unsent: Vec::new(),
            scrolled: 0,
            used_ms: 0,
            read: 0,
            complete: false,
            asked: false,
        })
    }

    fn event(&mut self, event: Event) -> Vec<Action> {
        match event {
            Event::State(state) => {
                let connected = matches!(state, State::Connected { .. });
                self.state = state;
                if connected { vec![Action::List] } else { Vec::new() }
            }
            Event::Message(message) => self.message(&message),
            // A new group has a name that only the list tells.
            Event::Changed(_) => vec![Action::List],
            Event::Refused(error) => {
                self.notice = text::one_line(&error.message);
                Vec::new()
            }
            _ => Vec::new(),
        }
    }

    fn message(&mut self, message: &Arc<Message>) -> Vec<Action> {
        let Ok(id) = ConversationId::parse(&message.conv) else { return Vec::new() };
        let others = message.from != self.me.as_str();
        let on_show = self.open.as_ref() == Some(&id);
        let conv = self.conversation(&id);
        conv.keep(message);
        if conv.scrolled > 0 {
            conv.scrolled += 1;
        }
        if others && !on_show && message.seq > conv.read {
            conv.unread += 1;
        }
        if on_show { self.read_shown() } else { Vec::new() }
    }

    fn listed(&mut self, list: Conversations) -> Vec<Action> {
        for one in list.items {
            let Ok(id) = ConversationId::parse(&one.conv) else { continue };
            let on_show = self.open.as_ref() == Some(&id);
            let conv = self.conversation(&id);
            if !one.name.is_empty() {
                conv.title = text::one_line(&one.name);
            }
            conv.read = conv.read.max(one.read);
            conv.used_ms = conv.used_ms.max(one.last.map_or(0, |last| last.ts));
            conv.unread = if on_show { 0 } else { one.unread };
        }
        if self.open.is_none()
            && let Some(first) = self.ordered().first().map(|conv| conv.id.clone())
        {
            return self.show(first);
        }
        Vec::new()
    }

    fn history(&mut self, page: Messages) -> Vec<Action> {
        let Ok(id) = ConversationId::parse(&page.conv) else { return Vec::new() };
        let conv = self.conversation(&id);
        conv.asked = false;
        conv.complete = !page.more;
        for message in &page.items {
            conv.keep(message);
        }
        if self.open.as_ref() == Some(&id) { self.read_shown() } else { Vec::new() }
    }

    fn sent(&mut self, local: u64, result: Result<(), String>) {
        for conv in self.conversations.values_mut() {
            match &result {
                // Its message comes, or has come, with its number.
                Ok(()) => conv.unsent.retain(|unsent| unsent.local != local),
                Err(reason) => {
                    for unsent in conv.unsent.iter_mut().filter(|unsent| unsent.local == local) {
                        unsent.failed = Some(text::one_line(reason));
                    }
                }
            }
        }
    }

    /// What is on show counts as read.
    fn read_shown(&mut self) -> Vec<Action> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        let conv = self.conversation(&open);
        conv.unread = 0;
        match conv.messages.last_key_value() {
            Some((&seq, _)) if seq > conv.read => {
                conv.read = seq;
                vec![Action::Read { conv: open.as_str().to_owned(), seq }]
            }
            _ => Vec::new(),
        }
    }

    fn key(&mut self, key: KeyEvent) -> Vec<Action> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        match key.code {
            KeyCode::Esc => return vec![Action::Quit],
            KeyCode::Char('c' | 'd') if control => return vec![Action::Quit],
            KeyCode::Enter if key.modifiers.contains(KeyModifiers::ALT) => self.insert('\n'),
            KeyCode::Enter => return self.submit(),
            KeyCode::Char(letter) if !control => self.insert(letter),
            KeyCode::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.input.remove(self.cursor);
            }
            KeyCode::Delete if self.cursor < self.input.len() => {
                self.input.remove(self.cursor);
            }
            KeyCode::Left => self.cursor = self.cursor.saturating_sub(1),
            KeyCode::Right => self.cursor = (self.cursor + 1).min(self.input.len()),
            KeyCode::Home => self.cursor = 0,
            KeyCode::End => self.cursor = self.input.len(),
            KeyCode::Tab | KeyCode::Down => return self.step(1),
            KeyCode::BackTab | KeyCode::Up => return self.step(-1),
            KeyCode::PageUp => return self.scroll_up(),
            KeyCode::PageDown => {
                if let Some(open) = self.open.clone() {
                    let conv = self.conversation(&open);
                    conv.scrolled = conv.scrolled.saturating_sub(10);
                }
            }
            _ => {}
        }
        Vec::new()
    }

    fn insert(&mut self, letter: char) {
        self.input.insert(self.cursor, letter);
        self.cursor += 1;
    }

    /// The next or the previous conversation of the list.
    fn step(&mut self, by: isize) -> Vec<Action> {
        let ordered = self.ordered();
        let count = ordered.len().max(1) as isize;
        let at = self.open.as_ref().and_then(|open| ordered.iter().position(|conv| conv.id == *open));
        let next = at.map_or(0, |at| (at as isize + by).rem_euclid(count) as usize);
        match ordered.get(next).map(|conv| conv.id.clone()) {
            Some(id) => self.show(id),
            None => Vec::new(),
        }
    }

    fn scroll_up(&mut self) -> Vec<Action> {
        let Some(open) = self.open.clone() else { return Vec::new() };
        let conv = self.conversation(&open);
        conv.scrolled = (conv.scrolled + 10).min(conv.messages.len().saturating_sub(1));
        let near_top = conv.scrolled + 20 >= conv.messages.len();
        let lowest = conv.messages.first_key_value().map_or(u64::MAX, |(&seq, _)| seq);
        if near_top { conv.ask_history(lowest).into_iter().collect() } else { Vec::new() }
    }

    fn submit(&mut self) -> Vec<Action> {
        let line: String = std::mem::take(&mut self.input).into_iter().collect();
        self.cursor = 0;
        let body = match line.strip_prefix('/') {
            Some(rest) if !rest.starts_with('/') => return self.command(rest),
            Some(rest) => rest.to_owned(),
            None => line,
        };
        if body.trim().is_empty() {
            return Vec::new();
        }
        let place = self.open.clone().and_then(|id| target(&id, &self.me).map(|to| (id, to)));
        let Some((id, to)) = place else {
            self.notice = "to whom? /to NAME".to_owned();
            return Vec::new();
        };
        let local = self.next_local;
        self.next_local += 1;
        let conv = self.conversation(&id);
        conv.scrolled = 0;
        conv.unsent.push(Unsent { local, body: body.clone(), failed: None });
        vec![Action::Send { local, to, body }]
    }

    fn command(&mut self, command: &str) -> Vec<Action> {
        let mut words = command.split_whitespace();
        match (words.next(), words.next()) {
            (Some("quit"), _) => return vec![Action::Quit],
            (Some("to"), Some(name)) => match parse_to(&self.me, name) {
                Ok(id) => return self.show(id),
                Err(error) => self.notice = error.to_string(),
            },
            (Some("group"), Some(name)) => {
                return vec![Action::Group { name: name.to_owned(), members: words.map(str::to_owned).collect() }];
            }
            _ => self.notice = format!("unknown command: /{}", text::one_line(command)),
        }
        Vec::new()
    }
}

impl Conversation {
    fn keep(&mut self, message: &Message) {
        self.used_ms = self.used_ms.max(message.ts);
        self.messages.insert(message.seq, (text::sender(message).to_owned(), text::of_message(message)));
        if self.messages.len() > SHOWN_MAX && self.scrolled == 0 {
            self.messages.pop_first();
            self.complete = false;
        }
    }

    fn ask_history(&mut self, before_seq: u64) -> Option<Action> {
        if self.complete || self.asked {
            return None;
        }
        self.asked = true;
        Some(Action::History { conv: self.id.as_str().to_owned(), before_seq })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_client::user;

    fn model() -> Model {
        Model::new(Uid::parse("alice").unwrap(), State::Connecting { attempt: 0, url: String::new() })
    }

    fn typed(model: &mut Model, line: &str) -> Vec<Action> {
        for letter in line.chars() {
            model.update(Input::Key(KeyEvent::new(KeyCode::Char(letter), KeyModifiers::NONE)));
        }
        pressed(model, KeyCode::Enter)
    }

    fn pressed(model: &mut Model, code: KeyCode) -> Vec<Action> {
        model.update(Input::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    }

    fn message(from: &str, peer: &str, seq: u64, body: &str) -> Message {
        let conv = format!("p2p:alice:{peer}");
        Message { conv, from: from.into(), seq, ts: seq, body: body.into(), kind: "text".into(), ..Message::default() }
    }

    fn received(model: &mut Model, message: Message) -> Vec<Action> {
        model.update(Input::Client(Event::Message(Arc::new(message))))
    }

    #[test]
    fn a_line_is_sent_to_the_open_conversation_and_shown_until_it_is_answered() {
        let mut model = model();
        assert!(typed(&mut model, "nobody hears this").is_empty());
        let opened = typed(&mut model, "/to bob");
        assert_eq!(opened, [Action::History { conv: "p2p:alice:bob".into(), before_seq: u64::MAX }]);
        let sent = typed(&mut model, "hi");
        assert_eq!(sent, [Action::Send { local: 1, to: user("bob"), body: "hi".into() }]);
        assert_eq!(model.shown().unwrap().unsent.len(), 1);
        received(&mut model, message("alice", "bob", 1, "hi"));
        model.update(Input::Sent(1, Ok(())));
        let conv = model.shown().unwrap();
        assert!(conv.unsent.is_empty() && conv.messages[&1] == ("alice".into(), "hi".into()) && conv.unread == 0);
    }

    #[test]
    fn a_failed_send_stays_with_its_reason() {
        let mut model = model();
        typed(&mut model, "/to bob");
        typed(&mut model, "hi");
        model.update(Input::Sent(1, Err("blocked".into())));
        assert_eq!(model.shown().unwrap().unsent[0].failed.as_deref(), Some("blocked"));
    }

    #[test]
    fn messages_elsewhere_are_counted_until_they_are_looked_at() {
        let mut model = model();
        typed(&mut model, "/to bob");
        assert!(received(&mut model, message("carol", "carol", 1, "psst")).is_empty());
        received(&mut model, message("carol", "carol", 2, "psst!"));
        let titles: Vec<_> = model.ordered().iter().map(|conv| (conv.title.as_str(), conv.unread)).collect();
        assert_eq!(titles, [("carol", 2), ("bob", 0)]);
        let actions = pressed(&mut model, KeyCode::Tab);
        assert!(actions.contains(&Action::Read { conv: "p2p:alice:carol".into(), seq: 2 }));
        assert_eq!(model.ordered()[0].unread, 0);
        assert_eq!(received(&mut model, message("carol", "carol", 3, "yes")).len(), 1, "read as it comes");
    }

    #[test]
    fn history_is_asked_for_once_and_joins_what_came_live() {
        let mut model = model();
        received(&mut model, message("bob", "bob", 9, "live"));
        typed(&mut model, "/to bob");
        assert!(pressed(&mut model, KeyCode::PageUp).is_empty(), "the first page is on its way");
        let items = (5..=9).map(|seq| message("bob", "bob", seq, "old")).collect();
        model.update(Input::History(Messages { conv: "p2p:alice:bob".into(), items, head: 9, more: true }));
        assert_eq!(model.shown().unwrap().messages.len(), 5);
        let more = pressed(&mut model, KeyCode::PageUp);
        assert_eq!(more, [Action::History { conv: "p2p:alice:bob".into(), before_seq: 5 }]);
        model.update(Input::History(Messages { conv: "p2p:alice:bob".into(), head: 9, ..Messages::default() }));
        assert!(pressed(&mut model, KeyCode::PageUp).is_empty(), "there is nothing older");
    }

    #[test]
    fn commands_and_slashes() {
        let mut model = model();
        let group = Action::Group { name: "team".into(), members: vec!["bob".into(), "carol".into()] };
        assert_eq!(typed(&mut model, "/group team bob carol"), [group]);
        typed(&mut model, "/to bob");
        assert_eq!(typed(&mut model, "//x"), [Action::Send { local: 1, to: user("bob"), body: "/x".into() }]);
        assert!(typed(&mut model, "/nonsense").is_empty() && model.notice.contains("nonsense"));
        assert_eq!(typed(&mut model, "/quit"), [Action::Quit]);
    }

    #[test]
    fn the_input_line_is_edited_by_letters_not_bytes() {
        let mut model = model();
        typed(&mut model, "/to bob");
        for code in [KeyCode::Char('号'), KeyCode::Char('x'), KeyCode::Left, KeyCode::Backspace, KeyCode::Char('y')] {
            pressed(&mut model, code);
        }
        assert!(matches!(&pressed(&mut model, KeyCode::Enter)[..], [Action::Send { body, .. }] if body == "yx"));
    }
}
