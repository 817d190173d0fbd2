//! What goes between a session and whoever shows it: plain data.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Picture;
use crate::attribution::{Attribution, Baseline, Method, Stop};
use crate::fundus::{Identity, PixelMap};
use crate::grading::{Assessment, Output};
use crate::nn::Network;

/// A photograph of the open list: its place in the list by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CaseId(pub usize);

/// A file of the open list, before anything was computed.
#[derive(Clone, Debug)]
pub struct Case {
    /// The file.
    pub path: PathBuf,
    /// From CSV or name at once; a DICOM file's own tags follow with [`Event::Identified`].
    pub identity: Identity,
}

/// The map wanted for a case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MapRequest {
    /// The network explained.
    pub network: Network,
    /// Integrated Gradients or Grad-CAM.
    pub method: Method,
    /// What of it.
    pub output: Output,
    /// Where the path starts.
    pub baseline: Baseline,
    /// When it stops.
    pub stop: Stop,
}

/// What is on screen: the case and the map wanted over it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct View {
    /// The case.
    pub case: CaseId,
    /// Its map.
    pub map: MapRequest,
}

/// A map of a case, coarse at first, then sharper.
#[derive(Clone, Debug)]
pub struct Map {
    /// What was asked.
    pub request: MapRequest,
    /// The raw map and its evidence.
    pub attribution: Arc<Attribution>,
    /// `[side, side]`: the field's pixels.
    pub mask: Arc<[bool]>,
    /// Network pixels to the original's.
    pub pixel_map: PixelMap,
    /// What the convolutions were computed in.
    pub precision: &'static str,
    /// No sharper one follows.
    pub finished: bool,
}

/// How a network stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetworkState {
    /// Its weights are being read.
    Loading,
    /// It runs.
    Ready,
    /// It does not, and why: no weights yet, a wrong hash, a missing tensor.
    Unavailable(String),
}

/// Work under way, for the status line.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// What: `Map`, `Grading the list`, `Opening IDRiD_048.jpg`.
    pub label: String,
    /// Units done and units in all, if known: gradients, photographs.
    pub done: usize,
    /// 0 if unknown.
    pub total: usize,
    /// Since it began.
    pub elapsed: Duration,
}

/// What has happened since the last [`Session::drain`](super::Session::drain).
#[derive(Clone, Debug)]
pub enum Event {
    /// The device that is used, and what was asked for in vain.
    Device {
        /// `CPU · AVX2`.
        label: String,
        /// Why another was not taken.
        fallback: Option<String>,
    },
    /// A network's state changed.
    Network(Network, NetworkState),
    /// A list was opened; every former [`CaseId`] is void.
    Opened {
        /// What the top bar says: `samples`.
        title: String,
        /// In order of name.
        cases: Vec<Case>,
        /// Folders that could not be searched, and why.
        unreadable: Vec<String>,
    },
    /// Nothing could be opened, in words.
    OpenFailed(String),
    /// A DICOM file's tags were read.
    Identified(CaseId, Identity),
    /// 88 x 88, cropped to the field, transparent outside its circle.
    Thumbnail(CaseId, Arc<image::RgbaImage>),
    /// The photograph on screen is decoded; reduced where it was put by, and whole once that is asked for
    /// ([`super::Session::sharpen`]).
    Picture(CaseId, Arc<Picture>),
    /// The picture on screen stays reduced, and why.
    PictureFailed(CaseId, String),
    /// The networks have spoken.
    Assessed(CaseId, Arc<Assessment>),
    /// No photograph, and why (file, reason, remedy).
    Skipped(CaseId, String),
    /// A map of the case on screen.
    Map(CaseId, Map),
    /// What was asked for could not be made, or not be refined further, and why.
    MapFailed(CaseId, MapRequest, String),
    /// What is under way now; empty when nothing is.
    Progress(Vec<Progress>),
}
