//! A CSV file that grows by a row whenever one is known, so that a command that was broken off goes on where it was.

use std::fs::File;
use std::path::Path;

use anyhow::Context;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The rows that are there; none where there is no file.
pub fn read<R: DeserializeOwned>(path: &Path) -> anyhow::Result<Vec<R>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let cannot = || format!("cannot read {}: move it away to begin anew", path.display());
    csv::Reader::from_path(path).with_context(cannot)?.deserialize().collect::<Result<_, _>>().with_context(cannot)
}

/// Adds one, below a head where it is the first.
pub fn append(path: &Path, row: &impl Serialize) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let file = File::options().create(true).append(true).open(path).with_context(cannot)?;
    let new = file.metadata().with_context(cannot)?.len() == 0;
    let mut writer = csv::WriterBuilder::new().has_headers(new).from_writer(file);
    writer.serialize(row).with_context(cannot)?;
    writer.flush().with_context(cannot)
}
