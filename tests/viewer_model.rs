//! What the viewer does, without a window: keys and filters, the other eye, rows that stand still, a map under its own question.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use diaret::attribution::{Attribution, Baseline, Method};
use diaret::fundus::{Identity, Laterality, PixelMap};
use diaret::grading::{Assessment, Grade, NetworkGrade, Output, Target, Verdict};
use diaret::nn::Network;
use diaret::session::{Case, CaseId, Event, Map, MapRequest, NetworkState, View};
use diaret::viewer::commands::{self, Command};
use diaret::viewer::model::{Effect, Filter, Floating, Model, OrderBy};
use diaret::viewer::settings::Settings;
use egui::{Key, Modifiers};

/// A file named `PATIENT_EYE`, or a name that says nothing.
fn case(name: &str) -> Case {
    let path = PathBuf::from(format!("/photographs/{name}.jpg"));
    Case { identity: Identity::from_file_name(&path), path }
}

fn open(names: &[&str]) -> (Model, Vec<Effect>) {
    let mut model = Model::new(&Settings::default());
    for network in [Network::ResNet50, Network::InceptionV3] {
        model.apply(Event::Network(network, NetworkState::Ready));
    }
    let gone = NetworkState::Unavailable("no weights yet".to_owned());
    model.apply(Event::Network(Network::InceptionResNetV2, gone));
    let cases = names.iter().map(|name| case(name)).collect();
    let effects = model.apply(Event::Opened { title: "photographs".to_owned(), cases, unreadable: Vec::new() });
    (model, effects)
}

/// The two networks' words as an event.
fn assessed(case: usize, first: Grade, second: Grade) -> Event {
    let word = |grade: Grade| {
        let mut logits = [0.0; 5];
        logits[usize::from(grade.digit())] = 3.0;
        Verdict::Graded(NetworkGrade::from_logits(&logits))
    };
    let networks = BTreeMap::from([(Network::ResNet50, word(first)), (Network::InceptionV3, word(second))]);
    Event::Assessed(CaseId(case), Arc::new(Assessment::consensus(networks).expect("two networks spoke")))
}

fn map(request: MapRequest) -> Map {
    let attribution = Attribution {
        method: request.method,
        shape: [1, 1, 3],
        map: vec![0.0; 3],
        f_input: 1.0,
        f_baseline: Some(0.0),
        completeness_error: Some(1.0),
        completeness_gap: Some(-1.0),
        map_change: None,
        converged: false,
        gradient_evaluations: 1,
        next: None,
        history: Vec::new(),
        mass_at_rim: 0.0,
        seconds: 0.1,
    };
    Map {
        request,
        attribution: Arc::new(attribution),
        mask: Arc::from([true]),
        pixel_map: PixelMap { origin: [0.0, 0.0], scale: 1.0 },
        precision: "f32",
        finished: false,
    }
}

fn shown(effects: &[Effect]) -> Option<View> {
    effects.iter().find_map(|effect| match effect {
        Effect::Show(view) => Some(*view),
        _ => None,
    })
}

fn names(model: &Model) -> Vec<&str> {
    model.cases.shown().iter().filter_map(|&case| model.cases.get(case)).map(|entry| entry.name.as_str()).collect()
}

/// Presses a key and does what it stands for.
fn press(model: &mut Model, key: Key, held: Modifiers) -> Vec<Effect> {
    model.act(commands::for_key(key, held).expect("the key has a command"))
}

#[test]
fn a_list_opens_on_its_first_case_and_keys_step_through_it() {
    let (mut model, effects) = open(&["a", "b", "c"]);
    assert_eq!(shown(&effects), Some(View { case: CaseId(0), map: model.request }));
    assert!(effects.contains(&Effect::Expect(vec![CaseId(1)])));
    let effects = press(&mut model, Key::ArrowRight, Modifiers::NONE);
    assert_eq!(shown(&effects).map(|view| view.case), Some(CaseId(1)));
    assert!(effects.contains(&Effect::Reveal(CaseId(1))));
    press(&mut model, Key::End, Modifiers::NONE);
    assert_eq!(model.selected, Some(CaseId(2)));
    assert_eq!(shown(&press(&mut model, Key::ArrowDown, Modifiers::NONE)), None, "there is nothing after the last");
    press(&mut model, Key::Home, Modifiers::NONE);
    press(&mut model, Key::ArrowUp, Modifiers::NONE);
    assert_eq!(model.selected, Some(CaseId(0)));
}

#[test]
fn another_case_forgets_the_former_ones_picture_and_map() {
    let (mut model, _) = open(&["a", "b"]);
    let request = model.request;
    model.apply(Event::Map(CaseId(0), map(request)));
    assert!(model.map.is_some());
    model.act(Command::Step(1));
    assert!(model.map.is_none() && model.picture.is_none());
    model.apply(Event::Map(CaseId(0), map(request)));
    model.apply(Event::MapFailed(CaseId(0), request, "late".to_owned()));
    assert!(model.map.is_none() && model.map_failure.is_none(), "what was asked before is of no use");
}

#[test]
fn a_map_that_cannot_be_refined_stays_and_says_why() {
    let (mut model, _) = open(&["a"]);
    let request = model.request;
    model.apply(Event::Map(CaseId(0), map(request)));
    model.apply(Event::MapFailed(CaseId(0), request, "the card is out of memory".to_owned()));
    assert!(model.map.is_some() && model.map_failure.as_deref() == Some("the card is out of memory"));
    press(&mut model, Key::N, Modifiers::NONE);
    model.apply(Event::MapFailed(CaseId(0), request, "late".to_owned()));
    assert!(model.map_failure.is_none(), "another network was asked meanwhile");
}

#[test]
fn rows_are_told_apart_by_as_much_of_their_path_as_it_takes() {
    let mut model = Model::new(&Settings::default());
    let paths = ["/a/p1/left.jpg", "/a/p2/left.jpg", "/a/p2/left.png", "/b/p2/left.png", "/a/p1/right.jpg"];
    let cases = paths.map(|path| Case { path: path.into(), identity: Identity::default() }).to_vec();
    model.apply(Event::Opened { title: "all".to_owned(), cases, unreadable: Vec::new() });
    let names = (0..5).map(|place| model.cases.get(CaseId(place)).expect("a row").name.as_str());
    assert_eq!(names.collect::<Vec<_>>(), ["p1/left", "p2/left.jpg", "/a/p2/left.png", "/b/p2/left.png", "right"]);
}

#[test]
fn folders_that_cannot_be_searched_are_named() {
    let (mut model, _) = open(&["a"]);
    let cases = vec![Case { path: "b.jpg".into(), identity: Identity::default() }];
    let unreadable = vec!["p002: Permission denied".to_owned()];
    model.apply(Event::Opened { title: "all".to_owned(), cases, unreadable });
    assert_eq!(model.notice.as_deref(), Some("Not searched: p002: Permission denied"));
    assert_eq!(model.selected, Some(CaseId(0)));
}

#[test]
fn a_map_never_stands_under_another_question() {
    let (mut model, _) = open(&["a"]);
    let former = model.request;
    model.apply(Event::Map(CaseId(0), map(former)));
    let effects = press(&mut model, Key::N, Modifiers::NONE);
    assert_eq!(model.request.network, Network::InceptionV3);
    assert_eq!(shown(&effects), Some(View { case: CaseId(0), map: model.request }));
    assert!(model.map.is_none());
    model.apply(Event::Map(CaseId(0), map(former)));
    assert!(model.map.is_none());
    model.apply(Event::Map(CaseId(0), map(model.request)));
    assert!(model.map.is_some());
    for command in [
        Command::Output(Output::Probability(Target::Predicted)),
        Command::Method(Method::GradCam),
        Command::Baseline(Baseline::Black),
    ] {
        assert!(shown(&model.act(command)).is_some(), "{command:?}");
        assert!(model.act(command).is_empty(), "{command:?} again is no new question");
    }
}

#[test]
fn networks_without_weights_are_stepped_over_and_replaced() {
    let (mut model, _) = open(&["a"]);
    press(&mut model, Key::N, Modifiers::NONE);
    press(&mut model, Key::N, Modifiers::NONE);
    assert_eq!(model.request.network, Network::ResNet50, "the third has no weights");
    assert!(model.act(Command::Network(Network::InceptionResNetV2)).is_empty());
    let broken = NetworkState::Unavailable("resnet50.safetensors has a wrong hash".to_owned());
    let effects = model.apply(Event::Network(Network::ResNet50, broken.clone()));
    assert_eq!(shown(&effects).map(|view| view.map.network), Some(Network::InceptionV3));
    model.apply(Event::Network(Network::InceptionV3, broken));
    assert_eq!(model.ready().count(), 0);
    assert!(model.act(Command::NextNetwork).is_empty());
}

#[test]
fn the_two_eyes_of_a_patient_stand_together_and_a_key_goes_between_them() {
    let (mut model, _) = open(&["10_left", "11_left", "10_right", "lone"]);
    assert_eq!(names(&model), ["10_left", "10_right", "11_left", "lone"]);
    let effects = press(&mut model, Key::E, Modifiers::NONE);
    assert_eq!(shown(&effects).map(|view| view.case), Some(CaseId(2)));
    press(&mut model, Key::E, Modifiers::NONE);
    assert_eq!(model.selected, Some(CaseId(0)));
    model.act(Command::Select(CaseId(3)));
    assert!(press(&mut model, Key::E, Modifiers::NONE).is_empty());
    assert!(model.notice.is_some(), "that there is none is said");
}

#[test]
fn the_other_eye_of_the_same_date_comes_before_a_nearer_one() {
    let dated = |eye, date: &str| Case {
        path: PathBuf::from(format!("{date}.jpg")),
        identity: Identity {
            patient: Some("10".to_owned()),
            eye: Some(eye),
            date: Some(date.to_owned()),
            ..Identity::default()
        },
    };
    let (left, right) = (Laterality::Left, Laterality::Right);
    let cases = vec![dated(left, "2015-03-02"), dated(right, "2014-01-01"), dated(right, "2015-03-02")];
    let mut model = Model::new(&Settings::default());
    model.apply(Event::Opened { title: String::new(), cases, unreadable: Vec::new() });
    model.act(Command::OtherEye);
    assert_eq!(model.selected, Some(CaseId(2)));
}

#[test]
fn the_same_name_in_another_folder_is_another_person() {
    let (mut model, _) = open(&["p001/fundus_left", "p002/fundus_left", "p002/fundus_right", "p003/fundus_right"]);
    let list: Vec<CaseId> = model.cases.shown().to_vec();
    assert_eq!(list, [0, 1, 2, 3].map(CaseId), "nobody is grouped across folders");
    assert_eq!(model.cases.other_eye(CaseId(0)), None);
    assert_eq!(model.cases.other_eye(CaseId(1)), Some(CaseId(2)));
    assert_eq!(model.cases.other_eye(CaseId(3)), None);
    assert!(press(&mut model, Key::E, Modifiers::NONE).is_empty() && model.notice.is_some());

    let said = Identity { patient_within: None, ..model.cases.get(CaseId(0)).unwrap().case.identity.clone() };
    model.apply(Event::Identified(CaseId(0), said.clone()));
    assert_eq!(model.cases.other_eye(CaseId(0)), None, "nor is what a file says what another's name seems to say");
    let eye = Some(Laterality::Right);
    model.apply(Event::Identified(CaseId(3), Identity { eye, ..said }));
    assert_eq!(model.cases.other_eye(CaseId(0)), Some(CaseId(3)), "what both files say holds everywhere");
    model.act(Command::Order(OrderBy::Name));
    assert_eq!(model.cases.shown(), [0, 3, 1, 2].map(CaseId));
}

#[test]
fn rows_do_not_move_until_asked() {
    let (mut model, _) = open(&["a", "b", "c"]);
    press(&mut model, Key::W, Modifiers::NONE);
    assert_eq!(model.cases.order_by(), OrderBy::Worst);
    model.apply(assessed(2, Grade::Proliferative, Grade::Proliferative));
    model.apply(assessed(1, Grade::Severe, Grade::Severe));
    assert_eq!(names(&model), ["a", "b", "c"], "results change rows where they stand");
    assert!(model.cases.is_stale());
    press(&mut model, Key::W, Modifiers::NONE);
    assert_eq!(names(&model), ["c", "b", "a"], "what is not graded comes last");
    assert!(!model.cases.is_stale());
    press(&mut model, Key::W, Modifiers::SHIFT);
    assert_eq!(names(&model), ["a", "b", "c"]);
}

#[test]
fn worst_first_keeps_the_eyes_of_a_patient_together() {
    let (mut model, _) = open(&["10_left", "10_right", "11_left", "11_right"]);
    for (place, grade) in [Grade::None, Grade::Severe, Grade::Moderate, Grade::Moderate].into_iter().enumerate() {
        model.apply(assessed(place, grade, grade));
    }
    model.act(Command::Order(OrderBy::Worst));
    assert_eq!(names(&model), ["10_right", "10_left", "11_left", "11_right"]);
}

#[test]
fn filters_count_and_show_and_what_comes_later_is_appended() {
    let (mut model, _) = open(&["a", "b", "c", "d"]);
    model.apply(assessed(0, Grade::None, Grade::None));
    model.apply(assessed(2, Grade::Moderate, Grade::Severe));
    model.apply(Event::Skipped(CaseId(3), "d.jpg: not a fundus photograph: give another".to_owned()));
    let counts = Filter::ALL.map(|filter| model.cases.count(filter));
    assert_eq!(counts, [4, 1, 1, 1]);
    press(&mut model, Key::S, Modifiers::SHIFT);
    assert_eq!(names(&model), ["d"]);
    press(&mut model, Key::R, Modifiers::SHIFT);
    assert_eq!(names(&model), ["c"]);
    model.apply(assessed(1, Grade::Severe, Grade::Severe));
    assert_eq!(names(&model), ["c", "b"], "a row that is newly admitted moves no other");
    press(&mut model, Key::D, Modifiers::SHIFT);
    assert_eq!(names(&model), ["c"]);
    press(&mut model, Key::A, Modifiers::SHIFT);
    assert_eq!(names(&model), ["a", "b", "c", "d"]);
}

#[test]
fn find_looks_at_names_and_patients() {
    let (mut model, _) = open(&["10_left", "10_right", "other"]);
    assert_eq!(press(&mut model, Key::Slash, Modifiers::NONE), [Effect::FocusFind]);
    model.cases.set_find("RIGHT");
    assert_eq!(names(&model), ["10_right"]);
    model.cases.set_find(" 10 ");
    assert_eq!(names(&model), ["10_left", "10_right"]);
    model.act(Command::Step(1));
    assert_eq!(model.selected, Some(CaseId(1)), "keys step through what is shown");
    model.cases.set_find("nobody");
    assert!(names(&model).is_empty());
    model.act(Command::Step(1));
    assert_eq!(model.selected, Some(CaseId(1)), "the case on screen stays");
}

#[test]
fn the_overlay_comes_back_as_it_was() {
    let (mut model, _) = open(&["a"]);
    model.act(Command::Opacity(0.35));
    press(&mut model, Key::Space, Modifiers::NONE);
    assert!(model.overlay.effective_opacity().abs() < 1e-6);
    press(&mut model, Key::Space, Modifiers::NONE);
    assert!((model.overlay.effective_opacity() - 0.35).abs() < 1e-6);
    model.act(Command::Opacity(0.0));
    press(&mut model, Key::Space, Modifiers::NONE);
    assert!(model.overlay.effective_opacity() > 0.3, "an overlay at 0 comes back so that it is seen");
}

#[test]
fn one_key_takes_all_display_adjustments_back() {
    let (mut model, _) = open(&["a"]);
    for (key, held) in [(Key::G, Modifiers::NONE), (Key::I, Modifiers::NONE), (Key::K, Modifiers::SHIFT)] {
        press(&mut model, key, held);
    }
    assert!(model.adjustments.red_free && model.adjustments.brightness > 0.0 && model.adjustments.contrast < 0.0);
    press(&mut model, Key::R, Modifiers::NONE);
    assert!(model.adjustments.is_neutral());
}

#[test]
fn choices_are_remembered_and_the_moment_is_not() {
    let (mut model, _) = open(&["a"]);
    for command in [
        Command::ToggleTheme,
        Command::ToggleDock,
        Command::Opacity(0.25),
        Command::Network(Network::InceptionV3),
        Command::Baseline(Baseline::Mean),
        Command::Output(Output::Logit(Target::Grade(Grade::Severe))),
    ] {
        model.act(command);
    }
    let settings = model.settings();
    model.act(Command::ToggleOverlay);
    let stored = serde_json::to_string(&model.settings()).expect("settings are plain data");
    let read: Settings = serde_json::from_str(&stored).expect("and read again");
    assert_eq!(read, settings);
    assert_eq!(Model::new(&read).settings(), settings);
    let older: Settings = serde_json::from_str(r#"{"dock": false}"#).expect("what is missing has its default");
    assert_eq!(older, Settings { dock: false, ..Settings::default() });
}

#[test]
fn what_floats_goes_with_the_key_that_brought_it() {
    let (mut model, _) = open(&["a"]);
    press(&mut model, Key::K, Modifiers::COMMAND);
    assert_eq!(model.floating, Some(Floating::Palette));
    press(&mut model, Key::F1, Modifiers::NONE);
    assert_eq!(model.floating, Some(Floating::Help));
    press(&mut model, Key::Questionmark, Modifiers::SHIFT);
    assert_eq!(model.floating, None);
}

#[test]
fn a_failed_opening_leaves_the_list_and_says_why() {
    let (mut model, _) = open(&["a"]);
    model.apply(Event::OpenFailed("no photographs in /empty".to_owned()));
    assert_eq!(names(&model), ["a"]);
    assert_eq!(model.notice.as_deref(), Some("no photographs in /empty"));
    assert_eq!(press(&mut model, Key::O, Modifiers::COMMAND), [Effect::AskFolder]);
    assert_eq!(press(&mut model, Key::O, Modifiers::COMMAND | Modifiers::SHIFT), [Effect::AskFiles]);
}

#[test]
fn two_thousand_files_are_settled_ordered_and_filtered_at_once() {
    let names: Vec<String> =
        (0..2000).map(|n| format!("{n:05}_{}", if n % 2 == 0 { "left" } else { "right" })).collect();
    let (mut model, _) = open(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let began = std::time::Instant::now();
    for place in 0..2000 {
        model.apply(assessed(place, Grade::ALL[place % 5], Grade::ALL[place % 4]));
    }
    for command in [Command::Order(OrderBy::Worst), Command::Filter(Filter::Referable), Command::Filter(Filter::All)] {
        model.act(command);
    }
    assert_eq!(model.cases.shown().len(), 2000);
    // A frame at 60 Hz is 16 ms; a result must cost far less than one.
    assert!(began.elapsed().as_millis() < 2000, "{:?}", began.elapsed());
}
