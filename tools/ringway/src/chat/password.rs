//! Asks for a password on the terminal, without showing it.

use std::io::{IsTerminal as _, Write as _};

use anyhow::bail;
use ratatui::crossterm::event::{Event, KeyCode, KeyEventKind, KeyModifiers, read};
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
        if key.kind == KeyEventKind::Release {
            continue;
        }
        match key.code {
            KeyCode::Enter => break,
            KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => bail!("no password given"),
            KeyCode::Char(letter) => password.push(letter),
            KeyCode::Backspace => {
                password.pop();
            }
            _ => {}
        }
    }
    drop(raw);
    eprintln!();
    Ok(password)
}
