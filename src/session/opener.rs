//! The worker that opens lists: files and folders come in, a list of cases goes up.

use std::path::{Path, PathBuf};

use crossbeam_channel::Receiver;

use super::files::Files;
use super::hub::{Hub, name};
use super::{Case, Event};
use crate::attribution::Cancel;
use crate::fundus::Listing;

/// What is to be opened, until something else is.
pub struct Opening {
    /// Files and folders.
    pub paths: Vec<PathBuf>,
    /// Set when something else is opened.
    pub cancel: Cancel,
}

/// Works until nobody can ask any more.
pub fn run(hub: &Hub, openings: &Receiver<Opening>) {
    for Opening { paths, cancel } in openings {
        if !cancel.is_cancelled() {
            open(hub, &paths, &cancel);
        }
    }
}

fn open(hub: &Hub, paths: &[PathBuf], cancel: &Cancel) {
    let title = title(paths);
    let _ticket = hub.reporter.begin(format!("Looking for photographs in {title}"), 0);
    match Files::find(paths, &|| cancel.is_cancelled()) {
        Err(error) => hub.tell(Event::OpenFailed(error.to_string())),
        Ok(files) if files.candidates.is_empty() && !cancel.is_cancelled() => {
            hub.tell(Event::OpenFailed(nothing(paths, &files.unreadable)));
        }
        Ok(files) => {
            let mut listing = Listing::default();
            let cases =
                files.candidates.into_iter().map(|path| Case { identity: listing.identity(&path), path }).collect();
            hub.put_up(cancel, title, cases, files.unreadable);
        }
    }
}

/// Why there is no list.
fn nothing(paths: &[PathBuf], unreadable: &[String]) -> String {
    let places = paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ");
    if unreadable.is_empty() {
        format!("no photographs in {places}: JPEG, PNG, TIFF, BMP, WebP and DICOM files are opened")
    } else {
        format!("no photographs in {places}; not searched: {}", unreadable.join("; "))
    }
}

/// What the list is called: its folder or file, else the first of them and how many more.
fn title(paths: &[PathBuf]) -> String {
    let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
    let named = match first.file_name() {
        Some(_) => name(first),
        // `.` and `..` are called what they lead to.
        None => first.canonicalize().map_or_else(|_| first.display().to_string(), |real| name(&real)),
    };
    match paths.len() {
        0 | 1 => named,
        count => format!("{named} and {} more", count - 1),
    }
}
