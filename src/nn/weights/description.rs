//! What a file of weights says of itself, so that nothing about it has to be guessed later.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use crate::nn::Network;
use crate::nn::graph::Variant;

/// The metadata key under which a [`Description`] lies in a safetensors file.
///
/// One key, because safetensors writes several in random order, and a file's hash must depend on its contents alone.
const KEY: &str = "diaret";

/// Which network a file holds, in which variant, and whose it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Description {
    /// The network.
    pub network: Network,
    /// What differs by the source of the weights, preprocessing and number of classes included.
    pub variant: Variant,
    /// Where the weights come from and what was done to them.
    pub provenance: String,
    /// Its licence, as an SPDX expression where there is one.
    pub licence: String,
}

/// A description and the files over which the parameters are spread, the first one included.
#[derive(Serialize, Deserialize)]
pub(super) struct Header {
    #[serde(flatten)]
    pub(super) description: Description,
    pub(super) files: Vec<String>,
}

impl Description {
    /// As safetensors metadata, with the names of all files of the network.
    pub(super) fn to_metadata(&self, files: &[String]) -> Result<HashMap<String, String>, serde_json::Error> {
        let header = Header { description: self.clone(), files: files.to_vec() };
        Ok(HashMap::from([(KEY.to_owned(), serde_json::to_string(&header)?)]))
    }
}

impl Header {
    /// Reads it back; `None` where the file was not written by this program.
    pub(super) fn of(store: &super::Store) -> Option<Result<Self, serde_json::Error>> {
        store.metadata(KEY).map(serde_json::from_str)
    }
}
