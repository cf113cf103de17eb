//! The terminal: a reading a second, painted; keys in between.
//!
//! A node that does not answer for a while is said to be away, and what was last seen stays. The terminal is given back
//! however the loop ends, a panic included.

use std::time::Instant;

use ratatui::Frame;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::{Constraint, Layout};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use ringway_service::failure::one_line;

use super::figures::Figures;
use super::reading::Reading;
use super::{INTERVAL, Source, table};

/// Columns that one key moves the table by.
const COLUMNS: i32 = 8;

/// What is shown.
#[derive(Debug, Default)]
struct View {
    lines: Vec<table::Line>,
    /// Why the node was not read last, if so.
    away: Option<String>,
    /// Lines that are above the screen, and columns left of it.
    above: u16,
    left: u16,
}

/// What a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Quit,
    Scroll(i32),
    Shift(i32),
}

pub(super) fn run(source: &Source, first: Reading) -> anyhow::Result<()> {
    let mut terminal = ratatui::try_init()?;
    let result = watch(source, first, &mut terminal);
    ratatui::restore();
    result
}

fn watch(source: &Source, first: Reading, terminal: &mut ratatui::DefaultTerminal) -> anyhow::Result<()> {
    // Two readings of one moment: what there is, without rates.
    let mut view = View { lines: table::lines(&source.admin, &Figures::between(&first, &first)), ..View::default() };
    let (mut before, mut next) = (first, Instant::now() + INTERVAL);
    loop {
        terminal.draw(|frame| draw(&view, frame))?;
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) => match wish(key) {
                    Some(Wish::Quit) => return Ok(()),
                    Some(Wish::Scroll(lines)) => view.scroll(lines),
                    Some(Wish::Shift(columns)) => view.shift(columns),
                    None => {}
                },
                // Painted anew at once.
                _ => continue,
            }
            continue;
        }
        match source.read() {
            Ok(after) => {
                view.lines = table::lines(&source.admin, &Figures::between(&before, &after));
                view.away = None;
                before = after;
            }
            Err(error) => view.away = Some(one_line(&error)),
        }
        next = Instant::now().max(next + INTERVAL);
    }
}

impl View {
    fn scroll(&mut self, lines: i32) {
        self.above = moved(self.above, lines, self.lines.len());
    }

    fn shift(&mut self, columns: i32) {
        let widest = self.lines.iter().map(|line| line.text.len()).max().unwrap_or(0);
        self.left = moved(self.left, columns, widest);
    }
}

/// A place moved by so much, but not past the last of so many.
fn moved(place: u16, by: i32, count: usize) -> u16 {
    let last = u16::try_from(count.saturating_sub(1)).unwrap_or(u16::MAX);
    let place = i32::from(place).saturating_add(by).clamp(0, i32::from(last));
    u16::try_from(place).unwrap_or(last)
}

fn wish(key: KeyEvent) -> Option<Wish> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Wish::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Wish::Quit),
        KeyCode::Up => Some(Wish::Scroll(-1)),
        KeyCode::Down => Some(Wish::Scroll(1)),
        KeyCode::Left => Some(Wish::Shift(-COLUMNS)),
        KeyCode::Right => Some(Wish::Shift(COLUMNS)),
        KeyCode::PageUp => Some(Wish::Scroll(-10)),
        KeyCode::PageDown => Some(Wish::Scroll(10)),
        KeyCode::Home => Some(Wish::Scroll(i32::MIN)),
        _ => None,
    }
}

fn draw(view: &View, frame: &mut Frame<'_>) {
    let [body, status] = Layout::vertical([Constraint::Min(1), Constraint::Length(1)]).areas(frame.area());
    let lines: Vec<Line<'_>> = view.lines.iter().map(painted).collect();
    frame.render_widget(Paragraph::new(lines).scroll((view.above, view.left)), body);
    let status_line = match &view.away {
        Some(why) => Line::styled(why.as_str(), Style::new().fg(Color::Red)),
        None => Line::styled("q quits, arrows move", Style::new().add_modifier(Modifier::DIM)),
    };
    frame.render_widget(Paragraph::new(status_line), status);
}

fn painted(line: &table::Line) -> Line<'_> {
    let style = if line.head { Style::new().add_modifier(Modifier::BOLD) } else { Style::new() };
    Line::styled(line.text.as_str(), style)
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::*;

    fn rows(view: &View) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(24, 4)).unwrap();
        terminal.draw(|frame| draw(view, frame)).unwrap();
        let buffer = terminal.backend().buffer();
        let row = |y| (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
        (0..buffer.area.height).map(|y| row(y).trim_end().to_owned()).collect()
    }

    #[test]
    fn a_frame_shows_the_table_from_where_it_was_scrolled_to_and_who_is_away() {
        let line = |text: &str, head| table::Line { text: text.to_owned(), head };
        let lines = vec![line("shard  turns/s", true), line("    0       12", false), line("    1       34", false)];
        let mut view = View { lines, ..View::default() };
        assert_eq!(rows(&view), ["shard  turns/s", "    0       12", "    1       34", "q quits, arrows move"]);
        view.scroll(1);
        view.away = Some("no answer from there".into());
        assert_eq!(rows(&view), ["    0       12", "    1       34", "", "no answer from there"]);
        view.scroll(100);
        assert_eq!(view.above, 2, "the last line stays");
        view.scroll(i32::MIN);
        assert_eq!(view.above, 0);
        view.shift(COLUMNS);
        assert_eq!(rows(&view)[..2], ["urns/s", "    12"]);
        view.shift(COLUMNS);
        assert_eq!(view.left, 13, "the last column stays");
    }

    #[test]
    fn keys_quit_and_scroll() {
        let pressed = |code| wish(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(pressed(KeyCode::Char('q')), Some(Wish::Quit));
        assert_eq!(pressed(KeyCode::Down), Some(Wish::Scroll(1)));
        assert_eq!(pressed(KeyCode::Char('c')), None);
        assert_eq!(wish(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Wish::Quit));
    }
}
