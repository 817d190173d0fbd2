//! Requests come in; results and progress go out as [`Event`]s. The only room with threads, caches and devices.
//!
//! One queue with three priorities (on screen, next in the list, the rest of the list). A request has a key (image hash,
//! weights hash, method, settings): the same key is computed once and cached in memory by bytes. A newer [`View`] cancels
//! the work of the former. Knows no widgets: it calls `wake` when there is something to [`Session::drain`].
//!
//! Threads: one for the case on screen (`screen`), one for its original when a view comes closer (`sharpen`), two to four for
//! everything else (`background`), one that opens lists (`opener`), one that tells progress (`progress`) and, at the start, one
//! that reads weights. While a person waits for picture, bars or the first map, the background stands still between two steps;
//! kernels share rayon's pool.

mod background;
mod batch;
mod board;
mod cache;
mod contained;
mod explain;
mod explained;
mod files;
mod hub;
mod messages;
mod networks;
mod opener;
mod picture;
mod prepare;
mod progress;
mod screen;
mod sharpen;
mod thumbnail;
mod together;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use crossbeam_channel::{Receiver, Sender, unbounded};

pub use batch::{Graded, grade_all};
pub use explain::{Explanation, explain};
pub use explained::{Explained, precision_moves};
pub use files::{Files, FilesError};
pub use messages::{Case, CaseId, Event, Map, MapRequest, NetworkState, Progress, View};
pub use networks::Networks;
use networks::open_device;
pub use picture::{Level, Picture};
pub use prepare::{Prepared, Unusable, prepare, prepare_to_show};

use crate::attribution::Cancel;
use crate::home::Home;
use crate::nn::DeviceChoice;
use hub::Hub;
use opener::Opening;
use screen::Screen;

/// How a session starts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The program's files.
    pub home: Home,
    /// The device asked for.
    pub device: DeviceChoice,
}

/// The workers behind a window. Dropping it stops them.
pub struct Session {
    hub: Arc<Hub>,
    events: Receiver<Event>,
    openings: Option<Sender<Opening>>,
    opening: Mutex<Cancel>,
    workers: Vec<JoinHandle<()>>,
}

impl Session {
    /// Starts the workers and begins to load weights; returns at once. `wake` is called from workers whenever events wait.
    pub fn start(options: Options, wake: impl Fn() + Send + Sync + 'static) -> Self {
        let (sender, events) = unbounded();
        let (openings, to_open) = unbounded();
        let hub = Arc::new(Hub::new(sender, Box::new(wake)));
        let mut workers = Vec::new();
        let mut work = |name: &str, task: Box<dyn FnOnce(&Hub) + Send>| {
            let shared = Arc::clone(&hub);
            match std::thread::Builder::new().name(name.to_owned()).spawn(move || task(&shared)) {
                Ok(worker) => workers.push(worker),
                Err(error) => hub.tell(Event::OpenFailed(format!("the system gives no thread for {name}: {error}"))),
            }
        };
        work("weights", Box::new(move |hub| load_networks(hub, &options)));
        work("opener", Box::new(move |hub| opener::run(hub, &to_open)));
        work("screen", Box::new(|hub| Screen::new(hub).run()));
        work("sharpen", Box::new(sharpen::run));
        for _ in 0..background_workers() {
            work("background", Box::new(background::run));
        }
        work("progress", Box::new(|hub| hub.reporter.run(|progress| hub.tell(Event::Progress(progress)))));
        Self { hub, events, openings: Some(openings), opening: Mutex::default(), workers }
    }

    /// Opens files and folders (recursively) as the new list; everything of the former is cancelled. The list is graded in
    /// the background after the case on screen. Where nothing can be opened, the former list stays.
    pub fn open(&self, paths: Vec<PathBuf>) {
        let cancel = Cancel::default();
        std::mem::replace(&mut *lock(&self.opening), cancel.clone()).cancel();
        if let Some(openings) = &self.openings {
            // The opener lives until the session is dropped.
            openings.send(Opening { paths, cancel }).ok();
        }
    }

    /// What is on screen now. Decodes, grades and explains it before anything else; cancels the former view's map.
    pub fn show(&self, view: View) {
        self.hub.with_board(|board| board.show(view));
    }

    /// The picture of the case on screen, which [is reduced](Picture::is_reduced), is wanted whole: it comes as another
    /// [`Event::Picture`], soon. What is not on screen any more is not sharpened.
    pub fn sharpen(&self, case: CaseId, picture: Arc<Picture>) {
        self.hub.with_board(|board| board.sharpen(case, picture));
    }

    /// The cases likely to be shown next, the likeliest first, made ready once the case on screen has its first map. After
    /// each [`Session::show`] of another case these are the next and the previous by name, until this is called.
    pub fn expect(&self, cases: &[CaseId]) {
        self.hub.with_board(|board| board.expect(cases));
    }

    /// The rows that are visible and have no thumbnail yet; replaces the former wish.
    // By value, as a wish that is handed over.
    #[allow(clippy::needless_pass_by_value)]
    pub fn want_thumbnails(&self, cases: Vec<CaseId>) {
        self.hub.want_thumbnails(&cases);
    }

    /// Everything that has happened since the last call; never blocks.
    pub fn drain(&self) -> Vec<Event> {
        self.events.try_iter().collect()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        lock(&self.opening).cancel();
        self.openings.take();
        self.hub.with_board(|board| {
            board.stopping = true;
            board.cancel();
        });
        self.hub.reporter.stop();
        for worker in self.workers.drain(..) {
            // A worker that panicked has told so on stderr.
            worker.join().ok();
        }
    }
}

/// Opens the device and reads the weights, telling how each network stands.
fn load_networks(hub: &Hub, options: &Options) {
    let device = match open_device(options.device) {
        Ok(device) => device,
        Err(why) => return hub.networks.give_up(&why, &mut |network, state| hub.tell_network(network, state)),
    };
    hub.tell(Event::Device { label: device.label.clone(), fallback: device.fallback.clone() });
    let _ticket = hub.reporter.begin("Reading the networks' weights", 0);
    hub.networks.load(&options.home.weights(), &device, &mut |network, state| hub.tell_network(network, state));
}

/// Two overlap decoding and networks; more than four would only hold more photographs in memory.
fn background_workers() -> usize {
    std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 4)
}

/// A worker that panicked leaves consistent data behind: every change under a lock is a whole one.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
