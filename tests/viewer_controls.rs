//! Every control has a name and does what it says, by pointer and by key, wherever the focus is; letters typed into the search
//! field are letters. No picture is looked at here.

mod support;

use std::path::PathBuf;
use std::sync::Arc;

use diaret::attribution::heatmap::Sign;
use diaret::attribution::{Baseline, Method};
use diaret::fundus::{Identity, Listing};
use diaret::grading::{Grade, Output, Target};
use diaret::nn::Network;
use diaret::session::{Case, CaseId, Event, NetworkState, Picture, prepare_to_show};
use diaret::viewer::model::{Effect, Filter, Floating};
use diaret::viewer::screen::{Asked, Layout, Screen};
use diaret::viewer::settings::{Settings, Theme};
use diaret::viewer::theme;
use egui::{Key, Modifiers, Rect, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

struct Window {
    screen: Screen,
    asked: Vec<Asked>,
}

fn window(names: &[&str]) -> Harness<'static, Window> {
    let screen = Screen::new(&Settings::default());
    let mut harness = Harness::builder().with_size([1600.0, 1000.0]).with_context_setup(theme::install).build_ui_state(
        |ui, window: &mut Window| {
            let area = ui.ctx().content_rect();
            ui.scope_builder(egui::UiBuilder::new().max_rect(area), |ui| {
                ui.set_clip_rect(area);
                let asked = window.screen.show(ui);
                window.asked.push(asked);
            });
        },
        Window { screen, asked: Vec::new() },
    );
    for network in [Network::ResNet50, Network::InceptionV3] {
        tell(&mut harness, Event::Network(network, NetworkState::Ready));
    }
    let gone = NetworkState::Unavailable("no weights yet".to_owned());
    tell(&mut harness, Event::Network(Network::InceptionResNetV2, gone));
    let cases = names
        .iter()
        .map(|name| Case { path: PathBuf::from(format!("/photographs/{name}.jpg")), identity: Identity::default() });
    tell(
        &mut harness,
        Event::Opened { title: "photographs".to_owned(), cases: cases.collect(), unreadable: Vec::new() },
    );
    harness.run_steps(4);
    harness
}

fn tell(harness: &mut Harness<'static, Window>, event: Event) {
    let context = harness.ctx.clone();
    harness.state_mut().screen.apply(&context, event);
}

fn click(harness: &mut Harness<'static, Window>, name: &str) {
    harness.get_by_label(name).click();
    harness.run_steps(4);
}

fn press(harness: &mut Harness<'static, Window>, key: Key) {
    harness.key_press(key);
    harness.run_steps(4);
}

fn effects(harness: &Harness<'static, Window>) -> Vec<Effect> {
    harness.state().asked.iter().flat_map(|asked| asked.effects.clone()).collect()
}

#[test]
fn controls_do_what_they_say() {
    let mut harness = window(&["a", "b"]);
    click(&mut harness, "Evidence: For");
    click(&mut harness, "Network: InceptionV3");
    assert_eq!(harness.state().screen.model.overlay.sign, Sign::Positive);
    assert_eq!(harness.state().screen.model.request.network, Network::InceptionV3);
    click(&mut harness, "Network: InceptionResNetV2");
    assert_eq!(harness.state().screen.model.request.network, Network::InceptionV3, "it has no weights");
    click(&mut harness, "Baseline: Blurred baseline");
    click(&mut harness, "Black baseline");
    click(&mut harness, "Output explained: Referable (grade ≥ 2)");
    harness.get_all_by_label("3  Severe NPDR").next().expect("a probability comes first").click();
    harness.run_steps(4);
    click(&mut harness, "Method: Integrated gradients");
    click(&mut harness, "Grad-CAM");
    let request = harness.state().screen.model.request;
    assert_eq!(request.baseline, Baseline::Black);
    assert_eq!(request.output, Output::Probability(Target::Grade(Grade::Severe)));
    assert_eq!(request.method, Method::GradCam);
    let shown = effects(&harness).into_iter().filter(|effect| matches!(effect, Effect::Show(_))).count();
    assert_eq!(shown, 4, "the session was asked once for each of the four changes");
}

#[test]
fn a_picture_is_wanted_sharper_once_when_a_pane_comes_closer() {
    let mut harness = window(&["a", "b"]);
    let (shown, prepared) = prepare_to_show(&support::sample("IDRiD_048.jpg"), &mut Listing::default(), true).unwrap();
    let (photograph, file) = shown.expect("it was asked for");
    let reduced = Arc::new(Picture::new(photograph, prepared.field).put_by(file));
    tell(&mut harness, Event::Picture(CaseId(0), Arc::clone(&reduced)));
    harness.run_steps(4);
    let wanted = |harness: &Harness<'static, Window>| {
        harness.state().asked.iter().filter_map(|asked| asked.sharper.clone()).collect::<Vec<_>>()
    };
    assert!(wanted(&harness).is_empty(), "all of it is in view");
    press(&mut harness, Key::Z);
    let [(CaseId(0), picture)] = &*wanted(&harness) else { panic!("asked {} times", wanted(&harness).len()) };
    assert!(Arc::ptr_eq(picture, &reduced));
    tell(&mut harness, Event::Picture(CaseId(0), Arc::new(reduced.whole().unwrap())));
    tell(&mut harness, Event::Picture(CaseId(0), Arc::clone(&reduced)));
    harness.run_steps(4);
    assert!(harness.state().screen.model.picture.as_ref().is_some_and(|shown| !shown.is_reduced()), "it was late");
    assert_eq!(wanted(&harness).len(), 1, "it is as sharp as it gets");
    press(&mut harness, Key::ArrowRight);
    press(&mut harness, Key::ArrowLeft);
    tell(&mut harness, Event::Picture(CaseId(0), Arc::clone(&reduced)));
    harness.run_steps(4);
    assert_eq!(wanted(&harness).len(), 2, "it came back as it was kept");
    let why = "its decoder failed".to_owned();
    tell(&mut harness, Event::PictureFailed(CaseId(0), why.clone()));
    harness.run_steps(4);
    let model = &harness.state().screen.model;
    assert!(model.notice.as_ref().is_some_and(|notice| notice.contains(&why)) && model.picture.is_some());
}

#[test]
fn rows_and_filters_are_chosen_by_pointer() {
    let mut harness = window(&["a", "b"]);
    click(&mut harness, "b, not graded yet");
    assert_eq!(harness.state().screen.model.selected, Some(CaseId(1)));
    click(&mut harness, "Skipped 0");
    assert_eq!(harness.state().screen.model.cases.filter(), Filter::Skipped);
    click(&mut harness, "All 2");
    assert_eq!(harness.state().screen.model.cases.shown().len(), 2);
}

#[test]
fn the_slider_is_moved_by_pointer_and_by_assistive_means() {
    let mut harness = window(&["a"]);
    let rect = harness.get_by_label("Overlay opacity").rect();
    harness.drag_at(rect.left_center() + vec2(7.0, 0.0));
    harness.run_steps(2);
    harness.drop_at(rect.left_center() + vec2(7.0, 0.0));
    harness.run_steps(2);
    assert!(harness.state().screen.model.overlay.opacity < 0.02);
    harness.get_by_label("Overlay opacity").set_value_accesskit(0.8);
    harness.run_steps(2);
    assert!((harness.state().screen.model.overlay.opacity - 0.8).abs() < 0.01);
}

#[test]
fn keys_work_wherever_the_focus_is_but_not_while_typing() {
    let mut harness = window(&["a", "b", "bc"]);
    harness.get_by_label("Network: InceptionV3").focus();
    harness.run_steps(2);
    press(&mut harness, Key::Space);
    assert!(harness.state().screen.model.overlay.hidden, "Space toggles the overlay, whatever has the focus");
    assert_eq!(harness.state().screen.model.request.network, Network::ResNet50);
    press(&mut harness, Key::ArrowRight);
    assert_eq!(harness.state().screen.model.selected, Some(CaseId(1)));

    harness.event(egui::Event::Text("/".to_owned()));
    press(&mut harness, Key::Slash);
    let find = harness.get_by_label("Find a case");
    assert!(find.is_focused());
    assert_eq!(harness.state().screen.model.cases.find(), "", "the key that opens the field is not typed into it");
    harness.get_by_label("Find a case").type_text("b");
    press(&mut harness, Key::B);
    assert!(harness.state().screen.model.list, "B is a letter now");
    assert_eq!(harness.state().screen.model.cases.shown(), [CaseId(1), CaseId(2)]);
    press(&mut harness, Key::Escape);
    assert_eq!(harness.state().screen.model.cases.shown().len(), 3);
    press(&mut harness, Key::B);
    assert!(!harness.state().screen.model.list, "and a command again");
}

#[test]
fn the_palette_finds_a_command_and_does_it() {
    let mut harness = window(&["a"]);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::K);
    harness.run_steps(4);
    assert_eq!(harness.state().screen.model.floating, Some(Floating::Palette));
    harness.get_by_label("Find a command").type_text("dark or light");
    harness.run_steps(4);
    press(&mut harness, Key::Enter);
    assert_eq!(harness.state().screen.model.theme, Theme::Light);
    assert_eq!(harness.state().screen.model.floating, None);
    press(&mut harness, Key::F1);
    assert_eq!(harness.state().screen.model.floating, Some(Floating::Help));
    press(&mut harness, Key::Escape);
    assert_eq!(harness.state().screen.model.floating, None);
}

#[test]
fn only_the_rows_in_view_are_drawn_and_asked_for() {
    let names: Vec<String> = (0..2000).map(|n| format!("photograph {n:04}")).collect();
    let mut harness = window(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let wanted = |harness: &Harness<'static, Window>| {
        harness.state().asked.iter().filter_map(|asked| asked.thumbnails.clone()).next_back().expect("asked for")
    };
    assert!(wanted(&harness).len() < 40);
    assert_eq!(wanted(&harness)[0], CaseId(0));
    press(&mut harness, Key::End);
    harness.run_steps(20);
    assert!(harness.query_by_label("photograph 1999, not graded yet").is_some(), "the list follows the keys");
    assert!(harness.query_by_label("photograph 0000, not graded yet").is_none());
    assert!(wanted(&harness).contains(&CaseId(1999)));
    let began = std::time::Instant::now();
    harness.run_steps(20);
    assert!(began.elapsed().as_secs_f64() / 20.0 < 0.1, "a frame takes {:?}", began.elapsed() / 20);
}

#[test]
fn every_part_has_its_place_and_pictures_grow_when_others_fold() {
    for size in [vec2(1280.0, 800.0), vec2(1600.0, 1000.0), vec2(1920.0, 1080.0)] {
        let window = Rect::from_min_size(pos2(0.0, 0.0), size);
        let [whole, bare] = [true, false].map(|open| Layout::new(window, open, open));
        for layout in [whole, bare] {
            let parts = [layout.top, layout.list, layout.panes, layout.controls, layout.dock, layout.status];
            let area: f32 = parts.iter().map(Rect::area).sum();
            assert!((area - window.area()).abs() < 1.0, "parts fill the window and do not overlap");
        }
        assert!(bare.panes.width() > whole.panes.width() && bare.panes.height() > whole.panes.height());
    }
}
