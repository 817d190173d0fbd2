//! What the workers of a session share: the board, the networks, the caches and the way back to whoever shows the results.

use std::collections::HashMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crossbeam_channel::Sender;

use super::board::{Board, Job, List, Mark, Shown, Stage};
use super::cache::Cache;
use super::contained::contained;
use super::networks::Networks;
use super::prepare::{Prepared, Unusable, prepare_to_show};
use super::progress::{Reporter, Ticket};
use super::{CaseId, Event, Map, MapRequest, NetworkState, Picture, lock};
use crate::attribution::Cancel;
use crate::fundus::{FieldOfView, Listing, Photograph, Source};
use crate::grading::{Assessment, NetworkGrade, Verdict};
use crate::nn::Network;

/// Bytes of pictures, their originals left in their files where that is worth it: five of 4288 x 2848. So many stay whatever they
/// take: the one on screen, the next and the one before.
const PICTURES: usize = 64 << 20;
const PICTURES_AT_LEAST: usize = 3;
/// Bytes of what networks see: about forty photographs.
const INPUTS: usize = 48 << 20;
/// Bytes of thumbnails: about two thousand.
const THUMBNAILS: usize = 64 << 20;
/// Bytes of finished maps: about two hundred.
const MAPS: usize = 256 << 20;

/// Shared by all workers.
pub struct Hub {
    /// The networks.
    pub networks: Networks,
    /// Work under way.
    pub reporter: Arc<Reporter>,
    board: Mutex<Board>,
    changed: Condvar,
    caches: Mutex<Caches>,
    grading: Mutex<Option<Ticket>>,
    events: Sender<Event>,
    wake: Box<dyn Fn() + Send + Sync>,
}

struct Caches {
    pictures: Cache<CaseId, Arc<Picture>>,
    inputs: Cache<CaseId, Arc<Prepared>>,
    thumbnails: Cache<CaseId, Arc<image::RgbaImage>>,
    /// By image and network, whose weights do not change while a session lasts. A few hundred bytes each: none is let go.
    grades: HashMap<([u8; 32], Network), NetworkGrade>,
    maps: Cache<MapKey, Map>,
}

/// What a finished map depends on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct MapKey {
    image: [u8; 32],
    weights: String,
    request: String,
}

impl MapKey {
    /// Image, weights and every setting of the request.
    pub fn new(image: [u8; 32], weights: &str, request: &MapRequest) -> Self {
        // Debug prints every field, and floats so that different ones never look the same.
        Self { image, weights: weights.to_owned(), request: format!("{request:?}") }
    }
}

/// A photograph with everything that showing it needs.
pub struct Loaded {
    /// What networks and list need.
    pub prepared: Arc<Prepared>,
    /// What the panes need, if it was asked for.
    pub picture: Option<Arc<Picture>>,
}

impl Hub {
    /// Nothing is open yet.
    pub fn new(events: Sender<Event>, wake: Box<dyn Fn() + Send + Sync>) -> Self {
        Self {
            networks: Networks::loading(&Network::ALL),
            reporter: Arc::default(),
            board: Mutex::default(),
            changed: Condvar::new(),
            caches: Mutex::new(Caches {
                pictures: Cache::new(PICTURES, PICTURES_AT_LEAST),
                inputs: Cache::new(INPUTS, 1),
                thumbnails: Cache::new(THUMBNAILS, 1),
                grades: HashMap::new(),
                maps: Cache::new(MAPS, 1),
            }),
            grading: Mutex::new(None),
            events,
            wake,
        }
    }

    // What is told.

    /// Tells something that concerns no list.
    pub fn tell(&self, event: Event) {
        // The receiver lives as long as the session; after it nobody listens, and nothing is lost.
        self.events.send(event).ok();
        (self.wake)();
    }

    /// Tells something of a list, if it is still open.
    pub fn tell_of(&self, list: &Arc<List>, event: Event) {
        {
            let board = lock(&self.board);
            if !board.is_open(list) {
                return;
            }
            self.events.send(event).ok();
        }
        (self.wake)();
    }

    /// Tells a network's state; whoever waits for it goes on.
    pub fn tell_network(&self, network: Network, state: NetworkState) {
        self.tell(Event::Network(network, state));
        self.notify();
    }

    // What is wanted.

    /// Changes the board and lets everybody look at it again.
    pub fn with_board<R>(&self, change: impl FnOnce(&mut Board) -> R) -> R {
        let result = change(&mut lock(&self.board));
        self.changed.notify_all();
        result
    }

    fn notify(&self) {
        // Under the lock, so that nobody is between looking and waiting.
        drop(lock(&self.board));
        self.changed.notify_all();
    }

    fn wait<'a>(&self, board: MutexGuard<'a, Board>) -> MutexGuard<'a, Board> {
        self.changed.wait(board).unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts up a new list and tells it; everything of the former is cancelled and forgotten.
    pub fn put_up(&self, cancel: &Cancel, title: String, cases: Vec<super::Case>, unreadable: Vec<String>) {
        {
            let mut board = lock(&self.board);
            if cancel.is_cancelled() || board.stopping {
                return;
            }
            board.put_up(cases.clone());
            let mut caches = lock(&self.caches);
            caches.pictures.clear();
            caches.inputs.clear();
            caches.thumbnails.clear();
            self.events.send(Event::Opened { title, cases, unreadable }).ok();
        }
        lock(&self.grading).take();
        self.changed.notify_all();
        (self.wake)();
    }

    /// The next view for the worker of the screen; `None` when the session ends.
    pub fn next_view(&self) -> Option<Shown> {
        self.next(|board| if std::mem::take(&mut board.fresh) { board.shown.clone() } else { None })
    }

    /// The next picture on screen whose original is wanted, with its list; `None` when the session ends.
    pub fn next_reduced(&self) -> Option<(Arc<List>, CaseId, Arc<Picture>)> {
        self.next(|board| {
            let (case, picture) = board.reduced.take()?;
            Some((Arc::clone(&board.list), case, picture))
        })
    }

    /// What `take` takes from the board, as soon as it finds something; `None` when the session ends.
    fn next<T>(&self, mut take: impl FnMut(&mut Board) -> Option<T>) -> Option<T> {
        let mut board = lock(&self.board);
        while !board.stopping {
            let taken = take(&mut board);
            if taken.is_some() {
                return taken;
            }
            board = self.wait(board);
        }
        None
    }

    /// Says how far the view on screen is, if it is still there.
    pub fn set_stage(&self, shown: &Shown, stage: Stage) {
        self.with_board(|board| {
            if !shown.cancel.is_cancelled() {
                board.stage = stage;
            }
        });
    }

    /// The next job of the background; `None` when the session ends.
    pub fn next_job(&self) -> Option<Job> {
        let mut board = lock(&self.board);
        loop {
            if board.stopping {
                return None;
            }
            if let Some(job) = board.next_job(self.networks.settled()) {
                return Some(job);
            }
            let idle = if board.is_quiet() { self.networks.take_idle() } else { Vec::new() };
            if idle.is_empty() {
                board = self.wait(board);
            } else {
                // To give memory back takes a moment, in which nobody should wait for the board.
                drop(board);
                drop(idle);
                board = lock(&self.board);
            }
        }
    }

    /// Waits until nobody else works on the case on screen and takes it; false when it left the screen meanwhile.
    pub fn occupy(&self, shown: &Shown) -> bool {
        let mut board = lock(&self.board);
        while board.is_busy(shown.view.case) {
            if shown.cancel.is_cancelled() {
                return false;
            }
            board = self.wait(board);
        }
        if shown.cancel.is_cancelled() {
            return false;
        }
        board.occupy(shown.view.case);
        true
    }

    /// Ends work on a case.
    pub fn release(&self, list: &Arc<List>, case: CaseId) {
        self.with_board(|board| board.release(list, case));
    }

    /// Waits while what is on screen needs the machine; false when the job's list was closed meanwhile.
    pub fn stand_back(&self, job: &Job) -> bool {
        let mut board = lock(&self.board);
        while board.stands_back(job.case) && !job.list.cancel.is_cancelled() {
            board = self.wait(board);
        }
        !job.list.cancel.is_cancelled()
    }

    /// Whether a map gets sharper on screen.
    pub fn is_refining(&self) -> bool {
        lock(&self.board).stage == Stage::Refining
    }

    /// Waits until a network's state changes, or a moment.
    pub fn wait_for_networks(&self) {
        let board = lock(&self.board);
        drop(self.changed.wait_timeout(board, Duration::from_millis(50)).unwrap_or_else(PoisonError::into_inner));
    }

    // What is computed once.

    /// A photograph from the caches, else from its file; tells what was learned of it. `None` if it gives no picture.
    pub fn load(&self, list: &Arc<List>, case: CaseId, picture: bool, listing: &mut Listing) -> Option<Loaded> {
        {
            let mut caches = lock(&self.caches);
            let known = (caches.inputs.get(&case), caches.pictures.get(&case));
            match known {
                (Some(prepared), drawn) if !picture || drawn.is_some() => {
                    return Some(Loaded { prepared, picture: drawn });
                }
                _ => {}
            }
        }
        let entry = list.cases.get(case.0)?;
        let _ticket = self.reporter.begin(format!("Opening {}", name(&entry.path)), 0);
        let (shown, prepared) = match prepare_to_show(&entry.path, listing, picture) {
            Ok(both) => both,
            Err(Unusable { reason, identity }) => {
                self.tell_identity(list, case, &identity);
                self.skip(list, case, reason);
                return None;
            }
        };
        self.tell_identity(list, case, &prepared.identity);
        let prepared = Arc::new(prepared);
        let (picture, kept) = shown.map(|(photograph, file)| drawn(photograph, file, prepared.field)).unzip();
        self.keep(list, case, &prepared, kept);
        Some(Loaded { prepared, picture })
    }

    fn skip(&self, list: &Arc<List>, case: CaseId, reason: String) {
        self.with_board(|board| board.is_open(list).then(|| board.set_mark(case, Mark::Skipped)));
        self.tell_of(list, Event::Skipped(case, reason));
        self.count_graded();
    }

    /// Does some work on a case. What makes it panic is one photograph's fault, not the list's: it is skipped, and the next one
    /// follows.
    pub fn skip_on_panic(&self, list: &Arc<List>, case: CaseId, work: impl FnOnce()) {
        if let (Err(why), Some(entry)) = (contained(work), list.cases.get(case.0)) {
            self.skip(list, case, format!("{why}: {}", entry.path.display()));
        }
    }

    fn tell_identity(&self, list: &Arc<List>, case: CaseId, identity: &crate::fundus::Identity) {
        if list.cases.get(case.0).is_some_and(|known| known.identity != *identity) {
            self.tell_of(list, Event::Identified(case, identity.clone()));
        }
    }

    fn keep(&self, list: &Arc<List>, case: CaseId, prepared: &Arc<Prepared>, picture: Option<Arc<Picture>>) {
        {
            let board = lock(&self.board);
            if !board.is_open(list) {
                return;
            }
            let mut caches = lock(&self.caches);
            caches.inputs.insert(case, Arc::clone(prepared), prepared.bytes());
            let thumbnail = Arc::clone(&prepared.thumbnail);
            let bytes = thumbnail.as_raw().len();
            caches.thumbnails.insert(case, thumbnail, bytes);
            if let Some(picture) = picture {
                let bytes = picture.bytes();
                caches.pictures.insert(case, picture, bytes);
            }
        }
        self.give_thumbnail(list, case, prepared);
    }

    /// Tells a thumbnail, if somebody waits for it.
    pub fn give_thumbnail(&self, list: &Arc<List>, case: CaseId, prepared: &Prepared) {
        let wanted = self.with_board(|board| board.is_open(list) && board.fulfil(case));
        if wanted {
            self.tell_of(list, Event::Thumbnail(case, Arc::clone(&prepared.thumbnail)));
        }
    }

    /// Gives at once the thumbnails that are there, and puts the other rows in the queue.
    pub fn want_thumbnails(&self, cases: &[CaseId]) {
        let mut given = false;
        self.with_board(|board| {
            let mut caches = lock(&self.caches);
            let mut missing = Vec::with_capacity(cases.len());
            for &case in cases {
                let in_input = |prepared: Arc<Prepared>| Arc::clone(&prepared.thumbnail);
                let thumbnail = caches.thumbnails.get(&case).or_else(|| caches.inputs.get(&case).map(in_input));
                if let Some(thumbnail) = thumbnail {
                    given = true;
                    self.events.send(Event::Thumbnail(case, thumbnail)).ok();
                } else {
                    missing.push(case);
                }
            }
            board.want(&missing);
        });
        if given {
            (self.wake)();
        }
    }

    /// What is known of a case without opening its file.
    pub fn known_assessment(&self, case: CaseId) -> Option<Assessment> {
        let mut caches = lock(&self.caches);
        let prepared = caches.inputs.get(&case)?;
        let word = |network| match caches.grades.get(&(prepared.sha256, network)) {
            Some(grade) => Some((network, Verdict::Graded(*grade))),
            None => Some((network, Verdict::Unavailable { unavailable: self.networks.model(network).err()? })),
        };
        let networks = Network::ALL.into_iter().map(word).collect::<Option<_>>()?;
        Assessment::consensus(networks)
    }

    /// Every network's word on an image, each computed once. `go_on` is asked before each network runs; `None` when it says
    /// no or when no network is available.
    pub fn assess(&self, prepared: &Prepared, go_on: &dyn Fn() -> bool) -> Option<Assessment> {
        let mut networks = std::collections::BTreeMap::new();
        for network in Network::ALL {
            let key = (prepared.sha256, network);
            let known = lock(&self.caches).grades.get(&key).copied();
            let verdict = match known {
                Some(grade) => Verdict::Graded(grade),
                None if !go_on() => return None,
                None => self.networks.verdict(network, &prepared.input.pixels),
            };
            if let Verdict::Graded(grade) = verdict {
                lock(&self.caches).grades.insert(key, grade);
            }
            networks.insert(network, verdict);
        }
        Assessment::consensus(networks)
    }

    /// Tells a case's assessment, and marks it as graded if all networks had `settled` before they were asked.
    pub fn tell_assessment(&self, list: &Arc<List>, case: CaseId, assessment: Option<&Arc<Assessment>>, settled: bool) {
        if settled {
            self.with_board(|board| board.is_open(list).then(|| board.set_mark(case, Mark::Graded)));
            self.count_graded();
        }
        if let Some(assessment) = assessment {
            self.tell_of(list, Event::Assessed(case, Arc::clone(assessment)));
        }
    }

    /// Keeps the progress of the list's grading.
    pub fn count_graded(&self) {
        // Counted under the lock: an older count never comes after a newer one.
        let mut grading = lock(&self.grading);
        let (done, total) = lock(&self.board).count();
        if done == total {
            grading.take();
        } else {
            let ticket = grading.get_or_insert_with(|| self.reporter.begin("Grading the list", total));
            ticket.done().store(done, std::sync::atomic::Ordering::Relaxed);
        }
    }

    /// A finished map.
    pub fn map(&self, key: &MapKey) -> Option<Map> {
        lock(&self.caches).maps.get(key)
    }

    /// Keeps a finished map.
    pub fn keep_map(&self, key: MapKey, map: &Map) {
        let bytes = map.attribution.map.len() * size_of::<f32>() + map.mask.len();
        lock(&self.caches).maps.insert(key, map.clone(), bytes);
    }
}

/// The picture of a whole photograph, and the one that is kept of it.
fn drawn(photograph: Photograph, file: Source, field: FieldOfView) -> (Arc<Picture>, Arc<Picture>) {
    let whole = Picture::new(photograph, field);
    let kept = Arc::new(whole.put_by(file));
    (Arc::new(whole), kept)
}

/// A file's name, for a person.
pub fn name(path: &std::path::Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}
