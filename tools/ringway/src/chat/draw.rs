//! Paints the model.

use std::time::Instant;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};
use ringway_client::State;

use super::model::{Conversation, Model};
use super::text;

const LIST_WIDTH: u16 = 22;

/// Paints everything.
pub(super) fn draw(model: &Model, now: Instant, frame: &mut Frame<'_>) {
    let rows = Layout::vertical([Constraint::Min(3), Constraint::Length(3), Constraint::Length(1)]);
    let [upper, input, status] = rows.areas(frame.area());
    let [list, messages] = Layout::horizontal([Constraint::Length(LIST_WIDTH), Constraint::Min(10)]).areas(upper);
    draw_list(model, list, frame);
    draw_messages(model, messages, frame);
    draw_input(model, input, frame);
    draw_status(model, now, status, frame);
}

fn draw_list(model: &Model, area: Rect, frame: &mut Frame<'_>) {
    let lines: Vec<Line<'_>> = model
        .ordered()
        .into_iter()
        .map(|conv| {
            let unread = if conv.unread > 0 { format!(" ({})", conv.unread) } else { String::new() };
            let mut style = Style::new();
            if conv.unread > 0 {
                style = style.add_modifier(Modifier::BOLD);
            }
            if model.open.as_ref() == Some(&conv.id) {
                style = style.add_modifier(Modifier::REVERSED);
            }
            Line::styled(format!("{}{unread}", conv.title), style)
        })
        .collect();
    frame.render_widget(Paragraph::new(lines).block(Block::new().borders(Borders::ALL).title("Conversations")), area);
}

fn draw_messages(model: &Model, area: Rect, frame: &mut Frame<'_>) {
    let title = model.shown().map_or("", |conv| conv.title.as_str());
    let block = Block::new().borders(Borders::ALL).title(title.to_owned());
    let inner = block.inner(area);
    let lines = model.shown().map(|conv| visible(model, conv, inner)).unwrap_or_default();
    let blank = usize::from(inner.height).saturating_sub(lines.len());
    let padded: Vec<Line<'_>> = std::iter::repeat_with(Line::default).take(blank).chain(lines).collect();
    frame.render_widget(Paragraph::new(padded).block(block), area);
}

/// The lines that fit, the newest at the bottom; built upwards, so that old ones cost nothing.
fn visible(model: &Model, conv: &Conversation, area: Rect) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(area.width), usize::from(area.height));
    let mut upwards: Vec<Line<'static>> = Vec::new();
    let mut put = |said: &str, style: Style| {
        upwards.extend(wrap(said, width).into_iter().rev().map(|row| Line::styled(row, style)));
        upwards.len() < height
    };
    let mut room = true;
    let unsent = conv.unsent.iter().rev().skip(conv.scrolled);
    for one in unsent {
        let (mark, style) = match &one.failed {
            Some(reason) => (format!("  ✗ {reason}"), Style::new().fg(Color::Red)),
            None => ("  …".to_owned(), Style::new().add_modifier(Modifier::DIM)),
        };
        let said = one.body.split('\n').map(text::one_line).collect::<Vec<_>>().join("\n");
        room = room && put(&format!("{}: {said}{mark}", model.me), style);
    }
    let scrolled = conv.scrolled.saturating_sub(conv.unsent.len());
    for (from, said) in conv.messages.values().rev().skip(scrolled) {
        if !room {
            break;
        }
        let style = if from == "*" { Style::new().add_modifier(Modifier::ITALIC) } else { Style::new() };
        room = put(&format!("{from}: {said}"), style);
    }
    upwards.truncate(height);
    upwards.reverse();
    upwards
}

/// Breaks text into rows of at most `width` columns.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut rows = Vec::new();
    for line in text.split('\n') {
        let (mut row, mut used) = (String::new(), 0);
        for letter in line.chars() {
            let columns = Span::raw(letter.to_string()).width();
            if used + columns > width && !row.is_empty() {
                rows.push(std::mem::take(&mut row));
                used = 0;
            }
            row.push(letter);
            used += columns;
        }
        rows.push(row);
    }
    rows
}

fn draw_input(model: &Model, area: Rect, frame: &mut Frame<'_>) {
    let block = Block::new().borders(Borders::ALL);
    let inner = block.inner(area);
    let shown: Vec<char> = model.input.iter().map(|&letter| if letter == '\n' { '⏎' } else { letter }).collect();
    let before: String = shown.iter().take(model.cursor).collect();
    let all: String = shown.into_iter().collect();
    // The part around the cursor is shown when the line is longer than the field.
    let at = Span::raw(before).width() as u16;
    let skip = (at + 1).saturating_sub(inner.width);
    frame.render_widget(Paragraph::new(all).scroll((0, skip)).block(block), area);
    frame.set_cursor_position(Position::new(inner.x + at - skip, inner.y));
}

fn draw_status(model: &Model, now: Instant, area: Rect, frame: &mut Frame<'_>) {
    let color = match &model.state {
        State::Connected { .. } => Color::Green,
        State::Connecting { .. } | State::Waiting { .. } => Color::Yellow,
        State::Closed { .. } => Color::Red,
    };
    let line = Line::from(vec![
        Span::styled(format!("● {}", model.status(now)), Style::new().fg(color)),
        Span::raw("   "),
        Span::styled(model.notice.clone(), Style::new().add_modifier(Modifier::DIM)),
    ]);
    frame.render_widget(Paragraph::new(line), area);
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
    use ringway_client::Event;
    use ringway_client::schema::Message;
    use ringway_engine::ids::Uid;

    use super::super::model::Input;
    use super::*;

    #[test]
    fn a_frame_shows_conversations_messages_what_is_unsent_and_the_way_back() {
        let now = Instant::now();
        let waiting = State::Waiting { until: now + Duration::from_millis(1_200), reason: "gone".into() };
        let mut model = Model::new(Uid::parse("alice").unwrap(), waiting);
        model.notice.clear();
        let type_line = |model: &mut Model, line: &str| {
            model.update(Input::Paste(line.into()));
            model.update(Input::Key(KeyEvent::new(KeyCode::Enter, KeyModifiers::NONE)));
        };
        let receive = |model: &mut Model, from: &str, seq, body: &str| {
            let conv = format!("p2p:alice:{from}");
            let message = Message { conv, from: from.into(), seq, ts: seq, body: body.into(), ..Message::default() };
            model.update(Input::Client(Event::Message(Arc::new(message))));
        };
        type_line(&mut model, "/to bob");
        receive(&mut model, "bob", 1, "hello 号 with more words than one row holds");
        receive(&mut model, "carol", 2, "psst");
        type_line(&mut model, "are you there?");
        type_line(&mut model, "no");
        model.update(Input::Sent(2, Err("blocked".into())));
        model.update(Input::Paste("typing".into()));

        let mut terminal = Terminal::new(TestBackend::new(60, 12)).unwrap();
        terminal.draw(|frame| draw(&model, now, frame)).unwrap();
        let rows: Vec<String> = rows(&terminal);
        assert_eq!(
            rows,
            [
                "┌Conversations───────┐┌bob─────────────────────────────────┐",
                "│carol (1)           ││                                    │",
                "│bob                 ││                                    │",
                "│                    ││bob: hello 号 with more words than o│",
                "│                    ││ne row holds                        │",
                "│                    ││alice: are you there?  …            │",
                "│                    ││alice: no  ✗ blocked                │",
                "└────────────────────┘└────────────────────────────────────┘",
                "┌──────────────────────────────────────────────────────────┐",
                "│typing                                                    │",
                "└──────────────────────────────────────────────────────────┘",
                "● reconnecting in 1.2 s… (gone)                             ",
            ]
        );
    }

    /// The painted rows; a wide letter's second cell is empty and left out.
    fn rows(terminal: &Terminal<TestBackend>) -> Vec<String> {
        let buffer = terminal.backend().buffer();
        (0..buffer.area.height)
            .map(|y| {
                let mut skip = 0;
                let mut row = String::new();
                for x in 0..buffer.area.width {
                    if skip > 0 {
                        skip -= 1;
                        continue;
                    }
                    let symbol = buffer[(x, y)].symbol();
                    skip = Span::raw(symbol).width().saturating_sub(1);
                    row.push_str(symbol);
                }
                row
            })
            .collect()
    }

    #[test]
    fn rows_are_broken_by_columns() {
        assert_eq!(wrap("号号号", 4), ["号号", "号"]);
        assert_eq!(wrap("ab\n\nc", 4), ["ab", "", "c"]);
        assert_eq!(wrap("号", 1), ["号"]);
    }
}
