//! Patient, eye and date come from what a file says, never from a guess.

use std::fs;
use std::path::Path;

use diaret::fundus::{Identity, Laterality, Listing};
use proptest::prelude::*;

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

/// What a table says.
fn listed(patient: &str, eye: Option<Laterality>) -> Identity {
    Identity { patient: Some(patient.to_owned()), eye, ..Identity::default() }
}

/// What is said of a file in a folder with these tables.
fn beside(tables: &[(&str, &[u8])], file: &str) -> Identity {
    let folder = tempfile::tempdir().unwrap();
    tables.iter().for_each(|(name, table)| fs::write(folder.path().join(name), table).unwrap());
    Listing::default().identity(&folder.path().join(file))
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
        Identity { date: Some("2024-02-29".to_owned()), ..listed("P-1", Some(Laterality::Right)) }
    );
    let within = Some(folder.path().to_path_buf());
    let from_name = Identity { patient_within: within, ..listed("quiet", Some(Laterality::Right)) };
    assert_eq!(identity("quiet_R.png"), from_name, "empty cells are silent");
    let patient_only = listed("P-2", None);
    assert_eq!(identity("odd.png"), patient_only, "what is no eye and no day is unknown");
}

#[test]
fn a_broken_csv_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("broken.csv"), [0xFF, 0xFE, 0x00, b'"', b'\n', 0xC3]).unwrap();
    let identity = Listing::default().identity(&folder.path().join("7_R.png"));
    assert_eq!((identity.patient.as_deref(), identity.eye), (Some("7"), Some(Laterality::Right)));
}

#[test]
fn a_patient_of_a_name_is_the_same_within_its_folder_alone() {
    let named = |path: &str| Identity::from_file_name(Path::new(path));
    let left = named("p001/fundus_left.jpg");
    assert_eq!(left.patient_key(), named("p001/fundus_right.jpg").patient_key());
    assert_ne!(left.patient_key(), named("p002/fundus_right.jpg").patient_key());
    assert_eq!(left.patient.as_deref(), Some("fundus"), "what is shown");
    let said = listed("fundus", Some(Laterality::Right));
    assert_eq!(said.clone().or(left.clone()).patient_key(), said.patient_key(), "what is said comes before the name");
    let eye = Identity { eye: Some(Laterality::Right), ..Identity::default() };
    assert_eq!(
        eye.or(left.clone()).patient_key(),
        left.patient_key(),
        "and where it is silent, the name keeps its folder"
    );
    assert_eq!(Identity::default().patient_key(), None);
}

#[test]
fn a_patient_of_a_table_is_the_same_in_every_folder() {
    let table: &[(&str, &[u8])] = &[("list.csv", b"file,patient\na.jpg,P-1\n")];
    assert_eq!(beside(table, "a.jpg").patient_key(), Some(("P-1", None)));
    assert_eq!(beside(table, "a.jpg").patient_key(), beside(table, "a.jpg").patient_key());
}

#[test]
fn latin_1_is_read_and_no_row_ends_a_table() {
    let table = b"file,patient,eye\na.jpg,M\xFCller,left\n\"\xE9t\xE9.jpg\",x\nshort\nb.jpg,P-2,right,more,and more\n";
    let tables: &[(&str, &[u8])] = &[("list.csv", table)];
    assert_eq!(beside(tables, "a.jpg"), listed("M\u{fc}ller", Some(Laterality::Left)));
    assert_eq!(beside(tables, "\u{e9}t\u{e9}.jpg"), listed("x", None));
    assert_eq!(beside(tables, "b.jpg"), listed("P-2", Some(Laterality::Right)));
}

#[test]
fn our_own_records_are_no_table_of_patients() {
    let records = b"file,status,reason,patient,eye,grade,p0,p1,p2,p3,p4,referable_probability\n7_L.png,graded,,wrong,right,0,1,0,0,0,0,0.1\n";
    let patients = b"file,patient\n7_L.png,P-7\n";
    let tables: [(&str, &[u8]); 2] = [("a worklist.csv", records), ("patients.csv", patients)];
    assert_eq!(beside(&tables, "7_L.png"), listed("P-7", Some(Laterality::Left)));
    let status_alone = b"file,status,patient\n7_L.png,done,P-8\n";
    assert_eq!(beside(&[("other.csv", status_alone)], "7_L.png").patient.as_deref(), Some("P-8"));
}

#[test]
fn what_two_tables_say_differently_is_unknown() {
    let first = b"file,patient,eye,date\n7_L.png,P-1,left,2024-02-29\n8_L.png,P-8,\n";
    let second = b"file;patient;eye;date\n7_L.png;P-2;left;\n8_L.png;P-8;right\n";
    let third = b"file,patient\n7_L.png,P-1\n";
    for names in [["a.csv", "b.csv", "c.csv"], ["c.csv", "b.csv", "a.csv"]] {
        let tables: [(&str, &[u8]); 3] = [(names[0], first), (names[1], second), (names[2], third)];
        let identity = beside(&tables, "7_L.png");
        assert_eq!(identity.patient_key(), None, "nor does the name decide, nor the majority");
        assert_eq!((identity.eye, identity.date.as_deref()), (Some(Laterality::Left), Some("2024-02-29")));
        assert_eq!(beside(&tables, "8_L.png"), listed("P-8", Some(Laterality::Right)), "they complete each other");
    }
    let twice: &[u8] = b"file,eye\n9_L.png,left\n9_L.png,right\n";
    assert_eq!(beside(&[("list.csv", twice)], "9_L.png").eye, None, "nor may one table contradict itself");
}

#[test]
fn a_table_that_cannot_be_one_says_nothing() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("folder.csv")).unwrap();
    let large = folder.path().join("large.csv");
    fs::write(&large, "file,patient\n7_R.png,P-9\n").unwrap();
    fs::File::options().write(true).open(large).unwrap().set_len(1 << 32).unwrap();
    assert_eq!(Listing::default().identity(&folder.path().join("7_R.png")).patient.as_deref(), Some("7"));
}

proptest! {
    #[test]
    fn every_separator_gives_the_same(
        separator in prop::sample::select(vec![',', ';', '\t']),
        patient in "[A-Za-z0-9,;\u{e4}\u{f6}-]{1,12}",
        place in 0_usize..3,
        latin_1 in any::<bool>(),
        ends in prop::sample::select(vec!["\n", "\r\n", "\r"]),
    ) {
        let mut columns = [("file", "a.png".to_owned()), ("patient", format!("\"{patient}\"")), ("eye", "OS".to_owned())];
        columns.rotate_left(place);
        let line = |cells: Vec<&str>| cells.join(&separator.to_string());
        let header = line(columns.iter().map(|(name, _)| *name).collect());
        let cells = line(columns.iter().map(|(_, cell)| cell.as_str()).collect());
        let table = format!("{header}{ends}{cells}{ends}");
        // Every character above is one byte of Latin-1.
        let bytes = if latin_1 { table.chars().map(|character| character as u8).collect() } else { table.into_bytes() };
        prop_assert_eq!(beside(&[("list.csv", &bytes)], "a.png"), listed(&patient, Some(Laterality::Left)));
    }

    #[test]
    fn any_bytes_are_a_table_or_none(bytes in prop::collection::vec(any::<u8>(), 0..300), head in any::<bool>()) {
        let table = if head { [b"file;patient;eye\n", &bytes[..]].concat() } else { bytes };
        let identity = beside(&[("list.csv", &table)], "7_R.png");
        prop_assert!(head || identity.patient.is_some());
    }
}
