//! Files and folders come in; the candidates below them go out, in order of name, each once.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use walkdir::WalkDir;

use crate::fundus;

/// What lies below the paths given.
#[derive(Debug, Default)]
pub struct Files {
    /// Files with an image or DICOM extension or signature: the argument joined with the path below it.
    pub candidates: Vec<PathBuf>,
    /// Files that are neither.
    pub others: Vec<PathBuf>,
    /// Links that lead back to a folder above them: what lies there is found anyway.
    pub loops: Vec<PathBuf>,
    /// Folders that could not be read, in words.
    pub unreadable: Vec<String>,
}

/// A path that was given and leads nowhere.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// There is nothing.
    #[error("no such file or folder: {0}")]
    Missing(PathBuf),
    /// Something is there that cannot be looked at.
    #[error("cannot be read ({reason}): {path}")]
    Unreadable {
        /// The argument.
        path: PathBuf,
        /// What the system says.
        reason: std::io::Error,
    },
}

impl Files {
    /// Looks below `paths`, folder by folder, until `cancelled`. Links are followed, loops are not.
    pub fn find(paths: &[PathBuf], cancelled: &dyn Fn() -> bool) -> Result<Self, FilesError> {
        let mut found = Self::default();
        let mut seen = HashSet::new();
        for path in paths {
            if let Err(reason) = path.metadata() {
                return Err(match reason.kind() {
                    std::io::ErrorKind::NotFound => FilesError::Missing(path.clone()),
                    _ => FilesError::Unreadable { path: path.clone(), reason },
                });
            }
            for entry in WalkDir::new(path).follow_links(true) {
                if cancelled() {
                    return Ok(found);
                }
                found.sort_out(entry, &mut seen);
            }
        }
        // By the whole name and not folder by folder: the order in which anybody sorts the records.
        found.candidates.sort_by_cached_key(|path| path.as_os_str().as_encoded_bytes().to_vec());
        found.others.sort();
        found.loops.sort();
        found.unreadable.sort();
        Ok(found)
    }

    fn sort_out(&mut self, entry: walkdir::Result<walkdir::DirEntry>, seen: &mut HashSet<Place>) {
        match entry {
            Ok(entry) if entry.file_type().is_dir() => {}
            Ok(entry) => {
                let path = entry.path();
                if !seen.insert(place(path)) {
                    return;
                }
                // Pipes, sockets and devices could be waited on for ever.
                if entry.file_type().is_file() && fundus::is_candidate(path) {
                    self.candidates.push(path.to_path_buf());
                } else {
                    self.others.push(path.to_path_buf());
                }
            }
            Err(error) => match error.path() {
                // A link that leads nowhere, called like a photograph, is a photograph that cannot be read.
                Some(path) if error.loop_ancestor().is_none() && path.is_symlink() => {
                    if seen.insert(place(path)) {
                        let list = if fundus::is_candidate(path) { &mut self.candidates } else { &mut self.others };
                        list.push(path.to_path_buf());
                    }
                }
                Some(path) if error.loop_ancestor().is_some() => self.loops.push(path.to_path_buf()),
                _ => self.unreadable.push(error.to_string()),
            },
        }
    }
}

/// The same for every spelling of a path: its real folder and its name there.
type Place = (PathBuf, Option<OsString>);

fn place(path: &Path) -> Place {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    (folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf()), path.file_name().map(ToOwned::to_owned))
}
