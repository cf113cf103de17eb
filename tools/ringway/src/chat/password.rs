//! Asks for a password on the terminal, without showing it.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers, read};
use ratatui::crossterm::terminal::{disable_raw_mode, enable_raw_mode};
use ringway_engine::ids::Uid;

/// Ends raw mode however the asking ends.
struct Raw;

impl Drop for Raw {
    fn drop(&mut self) {
        // Nothing can be done about a terminal that no longer answers.
        let _ = disable_raw_mode();
    }
}

/// Asks; there is no default password to fall back to.
pub(super) fn ask(me: &Uid) -> anyhow::Result<String> {
    if !std::io::stdin().is_terminal() {
        bail!("no terminal to ask on: give the password in RINGWAY_PASSWORD");
    }
    eprint!("Password for {me} (a new user gets it): ");
    std::io::stderr().flush()?;
    enable_raw_mode()?;
    let raw = Raw;
    let mut password = String::new();
    loop {
        let Event::Key(key) = read()? else { continue };
        match take(&mut password, key) {
            Step::More => {}
            Step::Done => break,
            Step::GivenUp => bail!("no password given"),
        }
    }
    drop(raw);
    eprintln!();
    Ok(password)
}

/// What a key led to.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    More,
    Done,
    GivenUp,
}

fn take(password: &mut String, key: KeyEvent) -> Step {
    if key.kind == KeyEventKind::Release {
        return Step::More;
    }
    let is_chord = key.modifiers.contains(KeyModifiers::CONTROL);
    match key.code {
        KeyCode::Enter => return Step::Done,
        // A line feed, as scripts write it: terminals send a carriage return.
        KeyCode::Char('j') if is_chord => return Step::Done,
        KeyCode::Char('c' | 'd') if is_chord => return Step::GivenUp,
        KeyCode::Char('u') if is_chord => password.clear(),
        KeyCode::Char(letter) if !is_chord => password.push(letter),
        KeyCode::Backspace => drop(password.pop()),
        _ => {}
    }
    Step::More
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_taken_and_chords_are_not() {
        let mut password = String::new();
        let mut press = |code, modifiers| (take(&mut password, KeyEvent::new(code, modifiers)), password.clone());
        let (plain, control) = (KeyModifiers::NONE, KeyModifiers::CONTROL);
        press(KeyCode::Char('x'), plain);
        assert_eq!(press(KeyCode::Char('u'), control), (Step::More, String::new()));
        press(KeyCode::Char('j'), plain);
        press(KeyCode::Char('Ä'), KeyModifiers::SHIFT);
        press(KeyCode::Char('y'), plain);
        assert_eq!(press(KeyCode::Backspace, plain), (Step::More, "jÄ".to_owned()));
        assert_eq!(press(KeyCode::Char('k'), control).1, "jÄ");
        assert_eq!(press(KeyCode::Enter, plain), (Step::Done, "jÄ".to_owned()));
        assert_eq!(press(KeyCode::Char('j'), control), (Step::Done, "jÄ".to_owned()));
        for letter in ['c', 'd'] {
            assert_eq!(press(KeyCode::Char(letter), control).0, Step::GivenUp);
        }
    }
}
