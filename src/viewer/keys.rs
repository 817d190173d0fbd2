//! Pressed keys come in; commands go out. Taken before any widget sees them, so that they work wherever the focus is; while a
//! person types into a field, letters are letters.

use egui::{Context, Event, Key, Modifiers};

use super::commands::{self, Command};
use super::model::Floating;

/// The commands of the keys pressed since the last frame, taken out of egui's input.
pub fn pressed(context: &Context, floating: Option<Floating>) -> Vec<Command> {
    let typing = context.text_edit_focused();
    context.input_mut(|input| {
        let mut pressed = Vec::new();
        input.events.retain(|event| match command(event, typing, floating) {
            Some(command) => {
                pressed.push(command);
                false
            }
            None => true,
        });
        if !pressed.is_empty() {
            // The letter that came with the key must not land in the field that the command may have opened.
            input.events.retain(|event| !matches!(event, Event::Text(_)));
        }
        pressed
    })
}

fn command(event: &Event, typing: bool, floating: Option<Floating>) -> Option<Command> {
    let Event::Key { key, pressed: true, repeat, modifiers, .. } = event else { return None };
    if *key == Key::Escape && *modifiers == Modifiers::NONE {
        return match floating? {
            Floating::Palette => Some(Command::Palette),
            Floating::Help => Some(Command::Help),
        };
    }
    let command = commands::for_key(*key, *modifiers)?;
    let writes = !modifiers.command && *key != Key::F1;
    let steps = matches!(
        command,
        Command::Step(_)
            | Command::Zoom(_)
            | Command::Pan(_)
            | Command::StepOpacity(_)
            | Command::Brighten(_)
            | Command::Steepen(_)
    );
    let allowed = match floating {
        Some(_) => matches!(command, Command::Palette | Command::Help),
        None => true,
    };
    (allowed && !(typing && writes) && (steps || !repeat)).then_some(command)
}
