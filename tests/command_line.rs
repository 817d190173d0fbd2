//! The contract of the command line: statuses, records, and that a run twice gives the same bytes.

mod support;

use std::process::Stdio;

use support::{command, diaret, records, sample, samples, status, stderr};

fn text(path: &std::path::Path) -> String {
    path.to_str().expect("the path is UTF-8").to_owned()
}

#[test]
fn photographs_that_are_all_graded_end_with_0() {
    let output = diaret(["grade", &text(&sample("IDRiD_048.jpg")), "--format", "jsonl"]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let records = records(&output.stdout);
    let record = &records["IDRiD_048.jpg"];
    let keys: Vec<&str> = record.as_object().expect("an object").keys().map(String::as_str).collect();
    let mut expected =
        ["file", "status", "reason", "patient", "eye", "grade", "probabilities", "referable_probability", "networks"];
    expected.sort_unstable();
    let mut sorted = keys.clone();
    sorted.sort_unstable();
    assert_eq!(sorted, expected);
    assert_eq!(record["status"], "graded");
    assert_eq!(record["eye"], "left", "the CSV beside the samples says so");
    let probabilities: Vec<f64> = serde_json::from_value(record["probabilities"].clone()).expect("five numbers");
    assert_eq!(probabilities.len(), 5);
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-9);
    let referable = record["referable_probability"].as_f64().expect("a number");
    assert!((probabilities[2..].iter().sum::<f64>() - referable).abs() < 1e-9);
}

#[test]
fn the_consensus_is_the_mean_of_the_networks_shown() {
    let output = diaret(["grade", &text(&sample("IDRiD_306.jpg")), "--format", "jsonl"]);
    let records = records(&output.stdout);
    let record = &records["IDRiD_306.jpg"];
    let networks = record["networks"].as_object().expect("networks");
    assert_eq!(networks.len(), 3, "one that is missing is said to be missing");
    let words: Vec<Vec<f64>> =
        networks.values().filter_map(|word| serde_json::from_value(word["probabilities"].clone()).ok()).collect();
    assert!(!words.is_empty());
    for class in 0..5 {
        let mean = words.iter().map(|word| word[class]).sum::<f64>() / words.len() as f64;
        assert!((record["probabilities"][class].as_f64().expect("a number") - mean).abs() < 1e-9);
    }
    for word in networks.values() {
        assert!(word["probabilities"].is_array() || word["unavailable"].is_string(), "{word}");
    }
}

#[test]
fn csv_has_the_columns_agreed() {
    let folder = tempfile::tempdir().expect("a folder");
    support::broken_files(folder.path());
    std::fs::copy(sample("IDRiD_290.jpg"), folder.path().join("IDRiD_290.jpg")).expect("copied");
    let output = diaret(["grade", &text(folder.path()), "--format", "csv"]);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let mut reader = csv::Reader::from_reader(output.stdout.as_slice());
    let mut columns: Vec<String> = "file,status,reason,patient,eye,grade,p0,p1,p2,p3,p4,referable_probability"
        .split(',')
        .map(Into::into)
        .collect();
    for network in ["resnet50", "inception-v3", "inception-resnet-v2"] {
        columns.push(format!("{network}_grade"));
        columns.extend((0..5).map(|class| format!("{network}_p{class}")));
    }
    assert_eq!(reader.headers().expect("a header").iter().collect::<Vec<_>>(), columns);
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().expect("rows as long as the header");
    assert_eq!(rows.len(), 7);
    for row in rows {
        let graded = &row[1] == "graded";
        assert_eq!(graded, row[2].is_empty(), "a reason where there is no grade: {row:?}");
        assert_eq!(graded, row[5].parse::<u8>().is_ok_and(|grade| grade < 5));
        assert_eq!(graded, row[11].parse::<f64>().is_ok());
    }
}

#[test]
fn the_same_run_gives_the_same_bytes_whatever_the_threads() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["IDRiD_048.jpg", "IDRiD_199.jpg", "IDRiD_224.jpg"] {
        std::fs::copy(sample(name), folder.path().join(name)).expect("copied");
    }
    let once = diaret(["grade", &text(folder.path()), "--format", "jsonl"]);
    let again = command()
        .args(["grade", &text(folder.path()), "--format", "jsonl"])
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("the program starts");
    assert_eq!(status(&once), 0, "{}", stderr(&once));
    assert_eq!(once.stdout, again.stdout);
}

#[test]
fn a_path_that_does_not_exist_is_a_failure_that_names_it() {
    for arguments in
        [vec!["grade", "not-there"], vec!["explain", "not-there", "--network", "resnet50"], vec!["not-there"]]
    {
        let output = diaret(&arguments);
        assert_eq!(status(&output), 1, "{arguments:?}");
        assert!(stderr(&output).contains("not-there"), "{}", stderr(&output));
    }
}

#[test]
fn arguments_that_make_no_sense_end_with_2() {
    let image = text(&sample("IDRiD_048.jpg"));
    for arguments in [
        vec!["grade"],
        vec!["grade", &image, "--format", "xml"],
        vec!["grade", &image, "--network", "vgg16"],
        vec!["explain", &image],
        vec!["explain", &image, "--network", "resnet50", "--target", "1"],
        vec!["explain", &image, "--network", "resnet50", "--output", "log-odds-referable", "--target", "predicted"],
        vec!["explain", &image, "--network", "resnet50", "--output", "logit", "--target", "5"],
        vec!["explain", &image, "--network", "resnet50", "--tolerance", "-1"],
        vec!["explain", &image, "--network", "resnet50", "--max-steps", "1"],
        vec!["--device", "abacus"],
    ] {
        let output = diaret(&arguments);
        assert_eq!(status(&output), 2, "{arguments:?}: {}", stderr(&output));
        assert!(!output.stderr.is_empty() && output.stdout.is_empty());
    }
    assert_eq!(status(&diaret(["--help"])), 0);
    assert_eq!(status(&diaret(["grade", "--help"])), 0);
    assert_eq!(status(&diaret(["--version"])), 0);
}

#[test]
fn a_network_without_weights_asked_for_by_name_is_a_failure() {
    let image = text(&sample("IDRiD_048.jpg"));
    for arguments in [
        vec!["grade", &image, "--network", "inception-resnet-v2"],
        vec!["explain", &image, "--network", "inception-resnet-v2"],
    ] {
        let output = diaret(&arguments);
        assert_eq!(status(&output), 1, "{arguments:?}");
        assert!(stderr(&output).contains("InceptionResNetV2"), "{}", stderr(&output));
        assert!(output.stdout.is_empty(), "no numbers of a network without weights");
    }
}

#[test]
fn files_that_are_no_images_are_named_and_change_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::copy(sample("IDRiD_287.jpg"), folder.path().join("IDRiD_287.jpg")).expect("copied");
    std::fs::write(folder.path().join("notes.txt"), "of no interest").expect("written");
    let output = diaret(["grade", &text(folder.path()), "--format", "jsonl"]);
    assert_eq!(status(&output), 0);
    assert_eq!(records(&output.stdout).len(), 1);
    assert!(stderr(&output).contains("notes.txt") && stderr(&output).contains("1 other file"), "{}", stderr(&output));
}

#[test]
fn out_appears_whole_or_not_at_all() {
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("records.jsonl");
    std::fs::write(&out, "from before").expect("written");
    let image = text(&sample("IDRiD_048.jpg"));
    let failing = diaret(["grade", &image, "--network", "inception-resnet-v2", "--out", &text(&out)]);
    assert_eq!(status(&failing), 1);
    assert_eq!(std::fs::read_to_string(&out).expect("it is still there"), "from before");
    let done = diaret(["grade", &image, "--format", "jsonl", "--out", &text(&out)]);
    assert_eq!(status(&done), 0, "{}", stderr(&done));
    assert_eq!(records(&std::fs::read(&out).expect("it is there")).len(), 1);
    assert_eq!(std::fs::read_dir(folder.path()).expect("readable").count(), 1, "nothing half written is left");
    let nowhere = diaret(["grade", &image, "--out", &text(&folder.path().join("no/such/folder.csv"))]);
    assert_eq!(status(&nowhere), 1);
    assert!(stderr(&nowhere).contains("folder.csv"));
}

#[test]
fn the_instructions_can_be_chosen_and_give_the_same_grade() {
    let image = text(&sample("IDRiD_048.jpg"));
    let grade = |set: Option<&str>| {
        let mut run = command();
        run.args(["grade", &image, "--network", "inception-v3", "--format", "jsonl"]);
        set.map(|set| run.env("DIARET_ISA", set));
        run.output().expect("the program starts")
    };
    let probabilities = |output: &std::process::Output| -> Vec<f64> {
        assert_eq!(status(output), 0, "{}", stderr(output));
        serde_json::from_value(records(&output.stdout)["IDRiD_048.jpg"]["probabilities"].clone()).expect("five numbers")
    };
    let [portable, chosen] = [grade(Some("portable")), grade(None)].map(|output| probabilities(&output));
    assert!(portable.iter().zip(&chosen).all(|(one, other)| (one - other).abs() < 1e-4), "{portable:?}, {chosen:?}");
    let wrong = grade(Some("abacus"));
    assert_eq!(status(&wrong), 1);
    assert!(stderr(&wrong).contains("abacus") && stderr(&wrong).contains("portable"), "{}", stderr(&wrong));
}

#[cfg(target_os = "linux")]
#[test]
fn records_that_were_written_before_the_disk_was_full_are_kept() {
    let folder = tempfile::tempdir().expect("a folder");
    for name in ["IDRiD_048.jpg", "IDRiD_199.jpg", "IDRiD_224.jpg"] {
        std::fs::copy(sample(name), folder.path().join(name)).expect("copied");
    }
    let out = folder.path().join("records.jsonl");
    // A file of 2 KiB at most holds two records, and a part of the third.
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args([
            "-c",
            limited,
            env!("CARGO_BIN_EXE_diaret"),
            "grade",
            &text(folder.path()),
            "--format",
            "jsonl",
            "--out",
        ])
        .arg(&out)
        .output()
        .expect("a shell");
    assert_eq!(status(&output), 1, "{}", stderr(&output));
    let part = folder.path().join("records.jsonl.part");
    assert!(
        stderr(&output).contains(&format!("those of 2 photographs are in {}", part.display())),
        "{}",
        stderr(&output)
    );
    assert!(!out.exists());
    assert_eq!(records(&std::fs::read(part).expect("it is there")).len(), 2, "and both are whole");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = command()
        .args(["grade", &text(&samples()), "--format", "jsonl"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(status(&output), 0);
    assert!(!stderr(&output).contains("panic") && !stderr(&output).contains("error"), "{}", stderr(&output));
}
