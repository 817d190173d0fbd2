//! A session on real photographs: what a window hears, in which order, and that it ends.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use diaret::attribution::{Baseline, Method, Stop};
use diaret::grading::Output;
use diaret::home::Home;
use diaret::nn::{DeviceChoice, Network};
use diaret::session::{Case, CaseId, Event, Map, MapRequest, NetworkState, Options, Session, View};

/// Nothing takes longer, even on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A session and everything heard from it.
struct Heard {
    session: Session,
    events: Vec<Event>,
    woken: Arc<AtomicUsize>,
}

impl Heard {
    fn start() -> Self {
        let woken = Arc::new(AtomicUsize::new(0));
        let wake = Arc::clone(&woken);
        let home = Home::find().expect("the source tree holds weights");
        let session = Session::start(Options { home, device: DeviceChoice::Cpu }, move || {
            wake.fetch_add(1, Ordering::Relaxed);
        });
        Self { session, events: Vec::new(), woken }
    }

    /// Listens until `enough`.
    fn until(&mut self, what: &str, enough: impl Fn(&[Event]) -> bool) {
        let began = Instant::now();
        while !enough(&self.events) {
            assert!(began.elapsed() < PATIENCE, "waited in vain for {what}");
            std::thread::sleep(Duration::from_millis(5));
            self.events.extend(self.session.drain());
        }
    }

    fn open(&mut self, folder: &Path) -> Vec<Case> {
        self.session.open(vec![folder.to_path_buf()]);
        self.until("the list", |events| events.iter().any(|event| matches!(event, Event::Opened { .. })));
        let opened = self.events.iter().rev().find_map(|event| match event {
            Event::Opened { cases, .. } => Some(cases.clone()),
            _ => None,
        });
        opened.expect("it was opened")
    }

    fn maps(&self) -> Vec<(CaseId, &Map)> {
        let map = |event| match event {
            &Event::Map(case, ref map) => Some((case, map)),
            _ => None,
        };
        self.events.iter().filter_map(map).collect()
    }

    fn position(&self, matches: impl Fn(&Event) -> bool) -> usize {
        self.events.iter().position(matches).expect("it was heard")
    }
}

/// A map that is quick to make.
fn quick() -> MapRequest {
    MapRequest {
        network: Network::ResNet50,
        method: Method::Ig,
        output: Output::LogOddsReferable,
        baseline: Baseline::Blur,
        stop: Stop { tolerance: 0.5, completeness: None, max_steps: 16 },
    }
}

/// A map that nobody will see the end of.
fn endless() -> MapRequest {
    MapRequest { stop: Stop { tolerance: 1e-9, completeness: None, max_steps: 100_000 }, ..quick() }
}

fn finished(events: &[Event], wanted: CaseId) -> bool {
    events.iter().any(|event| matches!(event, Event::Map(case, map) if *case == wanted && map.finished))
}

fn folder(names: &[&str]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    for name in names {
        std::fs::copy(support::sample(name), folder.path().join(name)).expect("copied");
    }
    folder
}

#[test]
fn a_folder_is_graded_and_broken_files_say_why() {
    let folder = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg", "IDRiD_224.jpg"]);
    let broken: BTreeSet<&str> = support::broken_files(folder.path()).into_iter().collect();
    std::fs::write(folder.path().join("notes.txt"), "none").expect("written");
    let mut heard = Heard::start();
    let cases = heard.open(folder.path());
    assert_eq!(cases.len(), 9);
    assert!(cases.is_sorted_by_key(|case| case.path.clone()));
    assert!(
        heard.events.iter().any(|event| matches!(event, Event::Opened { unreadable, .. } if unreadable.is_empty()))
    );
    heard.session.want_thumbnails((0..9).map(CaseId).collect());
    let settled = |events: &[Event]| {
        let done = |event: &Event| match event {
            Event::Assessed(case, _) | Event::Skipped(case, _) => Some(*case),
            _ => None,
        };
        events.iter().filter_map(done).collect::<BTreeSet<_>>().len() == 9
            && events.iter().filter(|event| matches!(event, Event::Thumbnail(..))).count() >= 3
    };
    heard.until("all nine", settled);
    for event in &heard.events {
        match event {
            Event::Skipped(CaseId(index), reason) => {
                let name = cases[*index].path.file_name().expect("a name").to_str().expect("UTF-8");
                assert!(broken.contains(name) && reason.contains(name), "{name}: {reason}");
            }
            Event::Assessed(CaseId(index), assessment) => {
                assert!(cases[*index].path.to_string_lossy().contains("IDRiD"));
                assert!((assessment.probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
            }
            Event::Thumbnail(_, thumbnail) => {
                assert_eq!(thumbnail.dimensions(), (88, 88));
                assert_eq!((thumbnail.get_pixel(0, 0)[3], thumbnail.get_pixel(44, 44)[3]), (0, 255));
            }
            _ => {}
        }
    }
    assert!(heard.woken.load(Ordering::Relaxed) > 0);
    let states: BTreeMap<Network, &NetworkState> = heard
        .events
        .iter()
        .filter_map(|event| match event {
            Event::Network(network, state) => Some((*network, state)),
            _ => None,
        })
        .collect();
    assert_eq!(states.len(), 3, "each network says how it stands");
    assert_eq!(states[&Network::ResNet50], &NetworkState::Ready);
    assert!(matches!(states[&Network::InceptionResNetV2], NetworkState::Unavailable(why) if !why.is_empty()));
}

#[test]
fn picture_then_bars_then_coarse_map_then_sharper() {
    let folder = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg"]);
    let mut heard = Heard::start();
    heard.open(folder.path());
    heard.session.show(View { case: CaseId(0), map: quick() });
    heard.until("the map", |events| finished(events, CaseId(0)));
    let picture = heard.position(|event| matches!(event, Event::Picture(CaseId(0), _)));
    let bars = heard.position(|event| matches!(event, Event::Assessed(CaseId(0), _)));
    let map = heard.position(|event| matches!(event, Event::Map(..)));
    assert!(picture < map && bars < map);
    let maps = heard.maps();
    assert!(maps.len() >= 2 && !maps[0].1.finished, "coarse first");
    let evaluations: Vec<usize> = maps.iter().map(|(_, map)| map.attribution.gradient_evaluations).collect();
    assert!(evaluations.is_sorted());
    assert!(maps.iter().all(|(case, map)| *case == CaseId(0) && map.request == quick()));
    if let Event::Picture(_, picture) = &heard.events[picture] {
        assert_eq!(picture.size, [4288, 2848]);
        assert_eq!(picture.levels[1].pixels.dimensions(), (2144, 1424));
    }
    // The neighbour is made ready without being asked for.
    heard.until("the neighbour", |events| events.iter().any(|event| matches!(event, Event::Assessed(CaseId(1), _))));
}

#[test]
fn another_view_cancels_the_former_and_a_finished_map_comes_at_once() {
    let folder = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg"]);
    let mut heard = Heard::start();
    heard.open(folder.path());
    heard.session.show(View { case: CaseId(0), map: quick() });
    heard.until("the first map", |events| finished(events, CaseId(0)));

    heard.events.clear();
    heard.session.show(View { case: CaseId(0), map: endless() });
    heard.until("a map without end", |events| events.iter().any(|event| matches!(event, Event::Map(..))));
    assert!(
        !heard.events.iter().any(|event| matches!(event, Event::Picture(CaseId(0), _))),
        "the picture is on screen already"
    );
    heard.session.show(View { case: CaseId(1), map: quick() });
    heard.events.clear();
    heard.until("the other case's map", |events| finished(events, CaseId(1)));

    heard.events.clear();
    let began = Instant::now();
    heard.session.show(View { case: CaseId(0), map: quick() });
    heard.until("the map again", |events| finished(events, CaseId(0)));
    assert!(began.elapsed() < Duration::from_secs(2), "it was kept: {:?}", began.elapsed());
    assert_eq!(heard.maps().len(), 1, "no gradient was taken again");
    assert!(heard.events.iter().any(|event| matches!(event, Event::Picture(CaseId(0), _))), "it came back");
    assert!(heard.events.iter().any(|event| matches!(event, Event::Assessed(CaseId(0), _))));
}

#[test]
fn a_picture_that_was_put_by_becomes_whole_when_that_is_wanted() {
    let folder = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg"]);
    let mut heard = Heard::start();
    heard.open(folder.path());
    let mut shown = |case: usize, reduced: Option<bool>| {
        heard.events.clear();
        heard.session.show(View { case: CaseId(case), map: quick() });
        let picture = |events: &[Event]| {
            events.iter().find_map(|event| match event {
                Event::Picture(of, picture)
                    if of.0 == case && reduced.is_none_or(|reduced| picture.is_reduced() == reduced) =>
                {
                    Some(picture.clone())
                }
                _ => None,
            })
        };
        heard.until("its picture", |events| picture(events).is_some());
        picture(&heard.events).expect("it was waited for")
    };
    let first = shown(0, Some(false));
    shown(1, None);
    let again = shown(0, Some(true));
    assert_eq!((again.size, again.levels[0].pixels.dimensions()), (first.size, (2144, 1424)));
    heard.events.clear();
    heard.session.sharpen(CaseId(0), again);
    let whole = |events: &[Event]| {
        events.iter().find_map(|event| match event {
            Event::Picture(CaseId(0), picture) => Some(picture.clone()),
            _ => None,
        })
    };
    heard.until("the whole picture", |events| whole(events).is_some());
    let found = whole(&heard.events).expect("it was waited for");
    assert!(found.levels[0].pixels == first.levels[0].pixels && found.levels[0].scale == 1);
    heard.events.clear();
    heard.session.show(View { case: CaseId(0), map: endless() });
    heard.until("another map", |events| events.iter().any(|event| matches!(event, Event::Map(..))));
    assert!(whole(&heard.events).is_none(), "the picture is on screen already");
}

#[test]
fn another_list_voids_the_former() {
    let first = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg"]);
    let second = folder(&["IDRiD_287.jpg"]);
    let mut heard = Heard::start();
    heard.open(first.path());
    heard.session.show(View { case: CaseId(1), map: endless() });
    heard.until("a picture", |events| events.iter().any(|event| matches!(event, Event::Picture(..))));
    heard.session.open(vec![second.path().to_path_buf()]);
    let opened_twice = |events: &[Event]| events.iter().filter(|e| matches!(e, Event::Opened { .. })).count() == 2;
    heard.until("the second list", opened_twice);
    let assessed = |events: &[Event]| {
        let opened = events.iter().rposition(|event| matches!(event, Event::Opened { .. })).unwrap_or(0);
        events[opened..].iter().any(|event| matches!(event, Event::Assessed(..)))
    };
    heard.until("its grade", assessed);
    let opened = heard.events.iter().rposition(|event| matches!(event, Event::Opened { .. })).expect("opened");
    for event in &heard.events[opened..] {
        match event {
            Event::Assessed(case, _) | Event::Skipped(case, _) => assert_eq!(*case, CaseId(0), "the only one there is"),
            Event::Map(..) | Event::Picture(..) => panic!("of the former list: nothing was shown since"),
            _ => {}
        }
    }
}

#[test]
fn what_cannot_be_opened_is_said_and_the_former_list_stays() {
    let first = folder(&["IDRiD_048.jpg"]);
    let empty = tempfile::tempdir().expect("a folder");
    let mut heard = Heard::start();
    heard.open(first.path());
    for path in [empty.path().to_path_buf(), empty.path().join("not-there")] {
        heard.events.clear();
        heard.session.open(vec![path.clone()]);
        let name = path.display().to_string();
        heard.until("the refusal", |events| {
            events.iter().any(|event| matches!(event, Event::OpenFailed(why) if why.contains(&name)))
        });
    }
    heard.session.show(View { case: CaseId(0), map: quick() });
    heard.until("the case of the list that stayed", |events| {
        events.iter().any(|event| matches!(event, Event::Picture(CaseId(0), _)))
    });
}

#[test]
fn dropping_it_at_any_moment_ends_it() {
    let folder = folder(&["IDRiD_048.jpg", "IDRiD_199.jpg", "IDRiD_224.jpg"]);
    for milliseconds in [0, 30, 150, 400, 900, 2000] {
        let session = Heard::start().session;
        session.open(vec![folder.path().to_path_buf()]);
        session.want_thumbnails(vec![CaseId(0), CaseId(2)]);
        std::thread::sleep(Duration::from_millis(milliseconds));
        session.show(View { case: CaseId(1), map: endless() });
        std::thread::sleep(Duration::from_millis(milliseconds));
        let began = Instant::now();
        drop(session);
        assert!(began.elapsed() < Duration::from_secs(20), "dropped after {milliseconds} ms: {:?}", began.elapsed());
    }
}
