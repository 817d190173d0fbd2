//! Patient, eye and date come from what a file says, never from a guess.

use std::fs;
use std::path::Path;

use diaret::fundus::{Identity, Laterality, Listing};

fn named(name: &str) -> (Option<String>, Option<Laterality>) {
    let identity = Listing::default().identity(Path::new("nowhere").join(name).as_path());
    assert_eq!(identity.date, None, "{name}");
    (identity.patient, identity.eye)
}

#[test]
fn usual_names_say_patient_and_eye() {
    let right = Some(Laterality::Right);
    let left = Some(Laterality::Left);
    for (name, patient, eye) in [
        ("10_left.jpeg", "10", left),
        ("10_right.jpeg", "10", right),
        ("x_OD.jpg", "x", right),
        ("x_OS.jpg", "x", left),
        ("clinic-7_R.png", "clinic-7", right),
        ("A 12-L.tif", "A 12", left),
    ] {
        assert_eq!(named(name), (Some(patient.to_owned()), eye), "{name}");
    }
}

#[test]
fn an_eye_before_the_end_says_no_patient() {
    assert_eq!(named("OD_2019_4.jpg"), (None, Some(Laterality::Right)));
    assert_eq!(named("17_left_2.jpg"), (None, Some(Laterality::Left)));
}

#[test]
fn other_names_say_nothing() {
    for name in [
        "IDRiD_048.jpg",
        "leftover.jpg",
        "bright.png",
        "L.png",
        "20051020_44261_0100_PP.tif",
        "left_right.jpg",
        "R_scan.png",
    ] {
        assert_eq!(named(name), (None, None), "{name}");
    }
}

#[test]
fn the_csv_beside_a_photograph_comes_before_its_name() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("list.csv"),
        "\u{feff}file,eye,patient,date\n10_left.jpeg,OD,P-1,2024-02-29\nquiet_R.png,,,\nodd.png,both,P-2,29.2.2024\n",
    )
    .unwrap();
    fs::write(folder.path().join("notes.csv"), "name,eye\n10_left.jpeg,left\n").unwrap();
    let mut listing = Listing::default();
    let mut identity = |name: &str| listing.identity(&folder.path().join(name));
    assert_eq!(
        identity("10_left.jpeg"),
        Identity { patient: Some("P-1".to_owned()), eye: Some(Laterality::Right), date: Some("2024-02-29".to_owned()) }
    );
    let from_name = Identity { patient: Some("quiet".to_owned()), eye: Some(Laterality::Right), date: None };
    assert_eq!(identity("quiet_R.png"), from_name, "empty cells are silent");
    let patient_only = Identity { patient: Some("P-2".to_owned()), eye: None, date: None };
    assert_eq!(identity("odd.png"), patient_only, "what is no eye and no day is unknown");
}

#[test]
fn a_broken_csv_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken.csv"), [0xFF, 0xFE, 0x00, b'"', b'\n', 0xC3]).unwrap();
    let identity = Listing::default().identity(&folder.path().join("7_R.png"));
    assert_eq!((identity.patient.as_deref(), identity.eye), (Some("7"), Some(Laterality::Right)));
}
