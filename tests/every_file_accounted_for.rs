//! One record for each candidate below the paths given, whatever is wrong with it, in the order of their names.

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use support::{broken_files, diaret, records, sample, status, stderr};

fn put(folder: &Path, names: &[&str]) {
    std::fs::create_dir_all(folder).expect("a folder");
    for name in names {
        std::fs::copy(sample("IDRiD_199.jpg"), folder.join(name)).expect("copied");
    }
}

fn files(output: &std::process::Output) -> Vec<String> {
    let text = std::str::from_utf8(&output.stdout).expect("UTF-8");
    text.lines()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).expect("a record")["file"].as_str().expect("a name").into()
        })
        .collect()
}

#[test]
fn a_tree_with_broken_files_gives_a_record_each() {
    let root = tempfile::tempdir().expect("a folder");
    let nested = root.path().join("a").join("nested é");
    put(&nested, &["eye.jpg", "UPPER.JPG"]);
    put(&root.path().join("a-1"), &["x.jpeg"]);
    // Known by its signature alone.
    put(root.path(), &["without extension"]);
    let broken = broken_files(&nested);
    std::fs::write(root.path().join("readme.md"), "# no photograph").expect("written");
    let output = diaret(["grade".as_ref(), root.path().as_os_str(), "--format".as_ref(), "jsonl".as_ref()]);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let mut expected: Vec<String> = broken
        .iter()
        .map(|name| nested.join(name))
        .chain([nested.join("eye.jpg"), nested.join("UPPER.JPG"), root.path().join("a-1/x.jpeg")])
        .chain([root.path().join("without extension")])
        .map(|path| path.to_str().expect("UTF-8").to_owned())
        .collect();
    expected.sort();
    assert_eq!(files(&output), expected);
    let records = records(&output.stdout);
    for name in broken {
        let record = &records[name];
        assert_eq!(record["status"], "skipped", "{name}");
        let reason = record["reason"].as_str().expect("a reason");
        assert!(reason.contains(name), "the reason names the file: {reason}");
        for key in ["grade", "probabilities", "referable_probability"] {
            assert!(record[key].is_null(), "{name}: {key}");
        }
    }
    for name in ["eye.jpg", "UPPER.JPG", "x.jpeg", "without extension"] {
        assert_eq!(records[name]["status"], "graded", "{name}");
    }
}

#[test]
fn a_file_given_twice_is_graded_once() {
    let root = tempfile::tempdir().expect("a folder");
    put(root.path(), &["1_left.jpg"]);
    let spelled = [root.path().to_path_buf(), root.path().join("1_left.jpg"), root.path().join(".").join("1_left.jpg")];
    let arguments: Vec<PathBuf> = spelled.into_iter().collect();
    let output = support::command().arg("grade").args(&arguments).args(["--format", "jsonl"]).output().expect("starts");
    assert_eq!(status(&output), 0, "{}", stderr(&output));
    assert_eq!(files(&output), [arguments[1].to_str().expect("UTF-8")]);
    assert_eq!(records(&output.stdout)["1_left.jpg"]["eye"], "left");
}

#[test]
fn a_relative_path_stays_relative() {
    let root = tempfile::tempdir().expect("a folder");
    put(&root.path().join("in"), &["x.jpg"]);
    let output = support::command()
        .current_dir(root.path())
        .args(["grade", "in", "--format", "jsonl"])
        .output()
        .expect("the program starts");
    assert_eq!(files(&output), [Path::new("in").join("x.jpg").to_str().expect("UTF-8")], "{}", stderr(&output));
}

#[cfg(unix)]
#[test]
fn links_are_followed_and_loops_are_not() {
    use std::os::unix::fs::symlink;
    let root = tempfile::tempdir().expect("a folder");
    let elsewhere = tempfile::tempdir().expect("a folder");
    put(elsewhere.path(), &["far.jpg"]);
    put(root.path(), &["near.jpg"]);
    symlink(elsewhere.path(), root.path().join("linked")).expect("a link");
    symlink(root.path(), root.path().join("loop")).expect("a link");
    symlink(root.path().join("gone"), root.path().join("gone.jpg")).expect("a link");
    let output = diaret(["grade".as_ref(), root.path().as_os_str(), "--format".as_ref(), "jsonl".as_ref()]);
    assert_eq!(status(&output), 3, "{}", stderr(&output));
    let names: BTreeSet<String> = records(&output.stdout).into_keys().collect();
    assert_eq!(names, ["far.jpg", "gone.jpg", "near.jpg"].map(String::from).into());
    assert_eq!(records(&output.stdout)["gone.jpg"]["status"], "skipped", "a link that leads nowhere");
    assert!(stderr(&output).contains("loop"), "{}", stderr(&output));
    std::fs::remove_file(root.path().join("gone.jpg")).expect("removed");
    let output = diaret(["grade".as_ref(), root.path().as_os_str()]);
    assert_eq!(status(&output), 0, "a loop hides nothing: {}", stderr(&output));
}

#[test]
fn nothing_to_grade_is_said() {
    let root = tempfile::tempdir().expect("a folder");
    let output = diaret(["grade".as_ref(), root.path().as_os_str(), "--format".as_ref(), "jsonl".as_ref()]);
    assert_eq!(status(&output), 0);
    assert!(output.stdout.is_empty());
    assert!(stderr(&output).contains("no photographs"), "{}", stderr(&output));
}
