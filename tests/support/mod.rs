//! What the tests of the program as a whole share: its binary, photographs and files that are none.
#![allow(dead_code)] // Each test takes what it needs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The sample photographs of the source tree.
pub fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/samples")
}

/// One sample.
pub fn sample(name: &str) -> PathBuf {
    samples().join(name)
}

/// Runs the program somewhere else than in the source tree.
pub fn diaret<I: AsRef<std::ffi::OsStr>>(arguments: impl IntoIterator<Item = I>) -> Output {
    command().args(arguments).output().expect("the program starts")
}

/// The program, to be run elsewhere than in the source tree.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_diaret"));
    command.current_dir(std::env::temp_dir()).stdin(Stdio::null());
    command
}

/// Its exit status.
pub fn status(output: &Output) -> i32 {
    output.status.code().expect("it ended by itself")
}

/// What it said on stderr.
pub fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// JSON lines, by the file's name.
pub fn records(bytes: &[u8]) -> BTreeMap<String, serde_json::Value> {
    let text = std::str::from_utf8(bytes).expect("records are UTF-8");
    text.lines()
        .map(|line| {
            let record: serde_json::Value = serde_json::from_str(line).expect("each line is a record");
            let file = record["file"].as_str().expect("each record has a file").to_owned();
            (Path::new(&file).file_name().expect("it has a name").to_string_lossy().into_owned(), record)
        })
        .collect()
}

/// Files that call themselves images and are none.
pub fn broken_files(folder: &Path) -> Vec<&'static str> {
    let photograph = std::fs::read(sample("IDRiD_199.jpg")).expect("the sample is there");
    let mut bitmap = b"BM".to_vec();
    bitmap.extend((54u32 + 256 * 256 * 3).to_le_bytes());
    bitmap.extend([0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 0, 24, 0, 0, 0, 0, 0]);
    bitmap.extend((256u32 * 256 * 3).to_le_bytes());
    bitmap.extend([0; 16]);
    let black = [bitmap.clone(), vec![0; 256 * 256 * 3]].concat();
    // SplitMix64: noise without the patterns that a simpler generator leaves from row to row.
    let mut state = 0u64;
    let noise = std::iter::repeat_with(|| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) >> 56) as u8
    });
    let noise = [bitmap, noise.take(256 * 256 * 3).collect()].concat();
    let mut bomb = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    bomb.extend([0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60, 8, 2, 0, 0, 0]);
    bomb.extend([0; 64]);
    let files: [(&str, &[u8]); 6] = [
        ("empty.jpg", b""),
        ("text.png", b"not an image"),
        ("cut.jpg", &photograph[..9000]),
        ("black.bmp", &black),
        ("noise.bmp", &noise),
        ("bomb.png", &bomb),
    ];
    for (name, bytes) in files {
        std::fs::write(folder.join(name), bytes).expect("the folder can be written");
    }
    files.map(|(name, _)| name).to_vec()
}
