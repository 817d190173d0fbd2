//! A wish for files or a folder comes in; the system's dialog opens without holding up the window; paths come out.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A folder.
    Folder,
    /// Files.
    Files,
}

/// What came of a dialog.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// These were chosen.
    Chosen(Vec<PathBuf>),
    /// It was closed.
    Closed,
    /// The desktop has no dialog to show, in words.
    NoDialog(&'static str),
}

/// A dialog that ends sooner than this without a choice was never seen by anybody.
const SEEN: Duration = Duration::from_millis(300);

const NO_DIALOG: &str =
    "This desktop has no file dialog: install xdg-desktop-portal or zenity, or drop a folder on this window";

/// The dialogs of a window: one at a time.
pub struct Dialogs {
    answers: Receiver<Answer>,
    answer: Sender<Answer>,
    open: bool,
}

impl Default for Dialogs {
    fn default() -> Self {
        let (answer, answers) = unbounded();
        Self { answers, answer, open: false }
    }
}

impl Dialogs {
    /// Opens a dialog unless one is open. It is made on this thread, as some systems demand, and waited for on another;
    /// `wake` is called when the person has answered.
    pub fn ask(&mut self, wanted: Wanted, wake: impl Fn() + Send + 'static) {
        if self.open {
            return;
        }
        self.open = true;
        let answer = self.answer.clone();
        let dialog = rfd::AsyncFileDialog::new();
        let chosen: std::pin::Pin<Box<dyn Future<Output = Vec<rfd::FileHandle>> + Send>> = match wanted {
            Wanted::Folder => {
                let folder = dialog.set_title("Open a folder of fundus photographs").pick_folder();
                Box::pin(async { folder.await.into_iter().collect() })
            }
            Wanted::Files => {
                let files = dialog.set_title("Open fundus photographs").pick_files();
                Box::pin(async { files.await.unwrap_or_default() })
            }
        };
        let begun = Instant::now();
        std::thread::spawn(move || {
            let paths = wait(chosen).into_iter().map(|file| file.path().to_path_buf()).collect();
            // The window may be gone by now.
            answer.send(judge(paths, begun.elapsed())).ok();
            wake();
        });
    }

    /// What came of the dialog since the last call.
    pub fn answered(&mut self) -> Option<Answer> {
        let answer = self.answers.try_recv().ok()?;
        self.open = false;
        Some(answer)
    }
}

/// rfd does not say whether there was a dialog to be closed; the clock does.
fn judge(paths: Vec<PathBuf>, shown: Duration) -> Answer {
    match paths.is_empty() {
        false => Answer::Chosen(paths),
        true if shown < SEEN => Answer::NoDialog(NO_DIALOG),
        true => Answer::Closed,
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs one future to its end on this thread.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dialog_that_nobody_can_have_seen_is_missed() {
        let folder = || vec![PathBuf::from("photographs")];
        assert_eq!(judge(folder(), Duration::ZERO), Answer::Chosen(folder()));
        assert_eq!(judge(Vec::new(), Duration::from_secs(2)), Answer::Closed);
        assert_eq!(judge(Vec::new(), Duration::from_millis(20)), Answer::NoDialog(NO_DIALOG));
    }
}
