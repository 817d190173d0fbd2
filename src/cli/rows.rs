//! A CSV file that grows by rows whenever some are known, so that a command that was broken off goes on where it was.

use std::fs::File;
use std::io::Write;
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

/// Adds some, all or none of them, below a head where they are the first.
pub fn append(path: &Path, rows: &[impl Serialize]) -> anyhow::Result<()> {
    let cannot = || format!("cannot write {}", path.display());
    let mut file = File::options().create(true).append(true).open(path).with_context(cannot)?;
    let new = file.metadata().with_context(cannot)?.len() == 0;
    let mut writer = csv::WriterBuilder::new().has_headers(new).from_writer(Vec::new());
    rows.iter().try_for_each(|row| writer.serialize(row)).with_context(cannot)?;
    file.write_all(&writer.into_inner()?).with_context(cannot)
}
