//! `diaret bench` measures for real, keeps what it measured, and compares only what is the same computation.

mod support;

use std::fmt::Write;
use std::path::Path;
use std::process::Output;

use support::{command, diaret, sample, status, stderr};

/// A forward pass, a gradient and secants of ResNet-50, once each; `more` goes to the end of the line.
fn bench(json: &Path, more: &[&str]) -> Output {
    command()
        .args(["bench", "--only", "speed", "--network", "resnet50", "--batches", "1", "--runs", "1", "--images"])
        .arg(sample("IDRiD_048.jpg"))
        .arg("--json")
        .arg(json)
        .args(more)
        .output()
        .expect("the program starts")
}

fn report(json: &Path) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(json).expect("it is there")).expect("a report")
}

#[test]
fn a_short_run_measures_and_its_tables_are_printed_again_from_the_report() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let output = bench(&json, &[]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let report = report(&json);
    let threads = report["machine"]["threads"].as_u64().expect("a number");
    let rows = report["speed"].as_array().expect("rows");
    assert_eq!(rows.len(), if threads > 1 { 6 } else { 3 });
    assert_eq!(report["peaks"].as_array().expect("peaks").len(), rows.len() / 3);
    for row in rows {
        assert_eq!(row["weights"], "shipped");
        let seconds = row["ours"][0].as_f64().expect("measured");
        let rate = 2.0 * row["products"].as_f64().expect("counted") / seconds / 1e9;
        let peak = report["peaks"][usize::from(row["threads"] != 1)]["gflops"].as_f64().expect("measured");
        assert!(rate > 0.0 && peak > 1.0, "{row}");
    }
    let left_out = report["left_out"].as_array().expect("a list");
    for what in ["nothing is compared", "training: not asked for", "InceptionV3: not asked for", "passes of 8 at once"]
    {
        assert!(left_out.iter().any(|left| left.as_str().is_some_and(|left| left.contains(what))), "{what}");
    }
    let printed = diaret(["bench".as_ref(), "--tables".as_ref(), json.as_os_str()]);
    assert_eq!(status(&printed), 0, "{}", stderr(&printed));
    assert_eq!(printed.stdout, output.stdout);
    assert!(String::from_utf8_lossy(&printed.stdout).contains("| ResNet-50 | input gradient | f32 | 1 |"));
}

#[test]
fn rows_of_an_earlier_report_are_taken_where_nothing_has_changed() {
    let folder = tempfile::tempdir().expect("a folder");
    let secants = |name: &str, more: &[&str]| {
        let json = folder.path().join(name);
        let output = bench(&json, more);
        assert_eq!(status(&output), 0, "{}", stderr(&output));
        let rows = report(&json)["speed"].as_array().expect("rows").clone();
        rows.into_iter().filter(|row| row["pass"] == "secants").collect::<Vec<_>>()
    };
    let first = secants("first.json", &["--program", "one"]);
    assert!(first.iter().all(|row| row["stamp"]["seconds"].as_f64().is_some_and(|seconds| seconds > 0.0)), "{first:?}");
    let former = folder.path().join("first.json");
    let again = |name: &str, program: &str| {
        secants(name, &["--program", program, "--former", former.to_str().expect("it is Unicode")])
    };
    let time = |row: &serde_json::Value| row["ours"][0].as_f64().expect("measured");
    let is_taken = |rows: &[serde_json::Value]| {
        assert_eq!(rows.len(), first.len());
        rows.iter().zip(&first).all(|(row, first)| (time(row) - time(first)).abs() < 1e-12)
    };
    assert!(is_taken(&again("second.json", "one")), "nothing has changed");
    assert!(!is_taken(&again("third.json", "another")), "of another program");
}

#[cfg(unix)]
#[test]
fn a_program_that_computes_something_else_is_not_compared() {
    let folder = tempfile::tempdir().expect("a folder");
    let json = folder.path().join("report.json");
    let script = r#"while read -r line; do case "$line" in
        *'"ask":"about"'*) echo '{"name": "Another 1.0"}';;
        *'"ask":"settings"'*) echo '["its way"]';;
        *) echo '{"seconds": 0.001, "logits": [1, 2, 3, 4, 5], "norm": 1}';; esac; done"#;
    let output = bench(&json, &["--quick", "--beside", "sh", "-c", script]);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let report = report(&json);
    assert_eq!(report["other"], "Another 1.0");
    for row in report["speed"].as_array().expect("rows") {
        assert_eq!(row["other"].as_array().map(Vec::len), Some(0), "its milliseconds are of another computation");
        assert_eq!(row["ours"].as_array().map(Vec::len), Some(1));
    }
    assert!(report["left_out"].to_string().contains("not compared, its logits are"), "{}", report["left_out"]);
}

#[test]
fn arguments_are_explained_and_refused() {
    let help = diaret(["bench", "--help"]);
    assert_eq!(status(&help), 0);
    for option in ["--quick", "--network", "--device", "--precision", "--json", "--beside", "--tables"] {
        assert!(String::from_utf8_lossy(&help.stdout).contains(option), "{option}");
    }
    for arguments in [
        vec!["bench", "--runs", "0"],
        vec!["bench", "--precision", "f16"],
        vec!["bench", "--tables", "report.json", "--quick"],
        vec!["bench", "--only", "everything"],
    ] {
        assert_eq!(status(&diaret(&arguments)), 2, "{arguments:?}");
    }
    let missing = diaret(["bench", "--tables", "not-there.json"]);
    assert_eq!(status(&missing), 1);
    assert!(stderr(&missing).contains("not-there.json"));
    let nobody = diaret(["bench", "--beside", "no-such-program"]);
    assert_eq!(status(&nobody), 1);
    assert!(stderr(&nobody).contains("no-such-program"), "{}", stderr(&nobody));
}

#[test]
fn rules_are_compared_from_the_rows_that_are_there() {
    let folder = tempfile::tempdir().expect("a folder");
    let csv = folder.path().join("rules.csv");
    let mut rows =
        "file,network,weights,reference,reference_intervals,way,gradients,distance,completeness_error\n".to_owned();
    // Errors of 1 / gradients, and of half of that.
    for (way, factor) in [("uniform", 1.0), ("secants", 0.5)] {
        for gradients in [24, 96] {
            let distance = factor / f64::from(gradients);
            writeln!(rows, "a.jpg,resnet50,hash,midpoints,256,{way},{gradients},{distance},0.01")
                .expect("a string takes all");
        }
    }
    std::fs::write(&csv, rows).expect("a file");
    let compare = ["compare-rules".as_ref(), "--out".as_ref(), csv.as_os_str()];
    let output = diaret(compare);
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    let table = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(table.contains("from the map by the midpoints of 256 intervals"), "{table}");
    assert!(table.contains("| ResNet-50 | uniform midpoints | 1 | 4.17 / 4.17 / 4.17 % |"), "{table}");
    assert!(table.contains("| 50 / 50 / 50 | 200 / 200 / 200 |"), "{table}");
    assert!(table.contains("| 25 / 25 / 25 | 100 / 100 / 100 |"), "{table}");
    let photograph = sample("IDRiD_048.jpg");
    let output = diaret(compare.into_iter().chain(["--images".as_ref(), photograph.as_os_str()]));
    assert_eq!(status(&output), 2, "points are learnt from other photographs, which are missing");
}
