//! Where the program's own files are: weights, samples, fonts.
//!
//! `DIARET_DATA` names the folder; else it is looked for from the executable's place (beside it, in `../share/diaret`, and
//! upwards from a source tree's `target/release`). The working directory is never asked: what the program shows must not
//! depend on where it was started.

use std::path::{Path, PathBuf};

/// The folder that holds `weights/` and `assets/`.
#[derive(Clone, Debug)]
pub struct Home(PathBuf);

/// Neither `DIARET_DATA` nor the executable's place leads to the program's files.
#[derive(Debug, thiserror::Error)]
#[error(
    "DiaRet's weights were not found from {searched}: set DIARET_DATA to the folder that holds `weights` and `assets`"
)]
pub struct HomeNotFound {
    searched: String,
}

impl Home {
    /// Finds the folder as the module's head says.
    pub fn find() -> Result<Self, HomeNotFound> {
        if let Some(named) = std::env::var_os("DIARET_DATA") {
            let folder = PathBuf::from(named);
            return if is_home(&folder) {
                Ok(Self(folder))
            } else {
                Err(HomeNotFound { searched: format!("DIARET_DATA={}", folder.display()) })
            };
        }
        let executable = std::env::current_exe().and_then(|path| path.canonicalize()).unwrap_or_default();
        executable
            .ancestors()
            .skip(1)
            .flat_map(|folder| [folder.to_path_buf(), folder.join("share/diaret"), folder.join("Resources")])
            .find(|folder| is_home(folder))
            .map(Self)
            .ok_or_else(|| HomeNotFound { searched: executable.display().to_string() })
    }

    /// The folder of the manifest and the safetensors files.
    pub fn weights(&self) -> PathBuf {
        self.0.join("weights")
    }

    /// The bundled photographs.
    pub fn samples(&self) -> PathBuf {
        self.0.join("assets/samples")
    }
}

/// Either part is enough: that the other is missing is then said where it is wanted, by the networks that are not available
/// and the samples that cannot be opened.
fn is_home(folder: &Path) -> bool {
    folder.join("weights/manifest.toml").is_file() || folder.join("assets/samples").is_dir()
}
