//! The worker of the screen: picture, bars and map of the one case that a person looks at.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::board::{Shown, Stage};
use super::contained::contained;
use super::explain::{Explanation, explain};
use super::hub::{Hub, Loaded, MapKey};
use super::prepare::Prepared;
use super::{Event, Map};
use crate::attribution::integrated_gradients::Update;
use crate::attribution::{Attribution, AttributionError};
use crate::fundus::Listing;
use crate::grading::Assessment;
use crate::nn::{Model, Network};

/// The worker and what it keeps between two views.
pub struct Screen<'a> {
    hub: &'a Hub,
    listing: Listing,
    /// The visit whose picture has been told.
    pictured: Option<u64>,
    /// The visit whose picture and bars have been told.
    presented: Option<u64>,
    /// The network that was explained last.
    explained: Option<Network>,
}

impl<'a> Screen<'a> {
    /// Works for `hub`.
    pub fn new(hub: &'a Hub) -> Self {
        Self { hub, listing: Listing::default(), pictured: None, presented: None, explained: None }
    }

    /// Works until the session ends.
    pub fn run(&mut self) {
        while let Some(shown) = self.hub.next_view() {
            self.present(&shown);
            self.hub.set_stage(&shown, Stage::Idle);
        }
    }

    fn present(&mut self, shown: &Shown) {
        let case = shown.view.case;
        let mut known = None;
        if self.presented != Some(shown.visit) {
            // The CSV beside the photographs may have changed since.
            self.listing = Listing::default();
            let settled = self.hub.networks.settled();
            known = self.hub.known_assessment(case).map(Arc::new);
            if known.is_some() {
                self.hub.tell_assessment(&shown.list, case, known.as_ref(), settled);
            }
        }
        if !self.hub.occupy(shown) {
            return;
        }
        let mut prepared = None;
        self.hub.skip_on_panic(&shown.list, case, || prepared = self.show_case(shown, known));
        self.hub.release(&shown.list, case);
        if let Some(prepared) = prepared
            && !shown.cancel.is_cancelled()
            && let Err(why) = contained(|| self.show_map(shown, &prepared))
        {
            // The photograph and its grade stay.
            self.hub.tell_of(&shown.list, Event::MapFailed(case, shown.view.map, why.to_owned()));
        }
    }

    /// Picture and bars, unless they are on screen already; `told` are the bars that are.
    fn show_case(&mut self, shown: &Shown, told: Option<Arc<Assessment>>) -> Option<Arc<Prepared>> {
        let (list, case) = (&shown.list, shown.view.case);
        let pictured = self.pictured == Some(shown.visit);
        let Loaded { prepared, picture } = self.hub.load(list, case, !pictured, &mut self.listing)?;
        // Once a visit: the viewer may have it whole by now, where what is kept is not.
        if let Some(picture) = picture.filter(|_| !pictured) {
            self.hub.tell_of(list, Event::Picture(case, picture));
            self.pictured = Some(shown.visit);
        }
        if self.presented != Some(shown.visit) {
            if !self.show_bars(shown, &prepared, told) {
                return None;
            }
            self.presented = Some(shown.visit);
        }
        Some(prepared)
    }

    /// Bars as soon as a network is there, again with each further one; false when the view changed meanwhile.
    fn show_bars(&self, shown: &Shown, prepared: &Prepared, mut told: Option<Arc<Assessment>>) -> bool {
        loop {
            let settled = self.hub.networks.settled();
            let assessment = self.hub.assess(prepared, &|| !shown.cancel.is_cancelled()).map(Arc::new);
            if shown.cancel.is_cancelled() {
                return false;
            }
            if assessment != told {
                self.hub.tell_assessment(&shown.list, shown.view.case, assessment.as_ref(), settled);
                told = assessment;
            }
            if settled {
                return true;
            }
            self.hub.wait_for_networks();
        }
    }

    fn show_map(&mut self, shown: &Shown, prepared: &Prepared) {
        let request = shown.view.map;
        let failed = |why: String| self.hub.tell_of(&shown.list, Event::MapFailed(shown.view.case, request, why));
        let model = match self.hub.networks.model(request.network) {
            Ok(model) => model,
            Err(why) => return failed(format!("{} is not available: {why}", request.network.label())),
        };
        let key = MapKey::new(prepared.sha256, model.weights_hash(), &request);
        if let Some(map) = self.hub.map(&key) {
            return self.hub.tell_of(&shown.list, Event::Map(shown.view.case, map));
        }
        match self.make_map(shown, prepared, model.as_ref()) {
            Ok(map) => {
                self.hub.keep_map(key, &map);
                self.hub.tell_of(&shown.list, Event::Map(shown.view.case, map));
            }
            Err(AttributionError::Cancelled) => {}
            Err(error) => failed(error.to_string()),
        }
    }

    fn make_map(&mut self, shown: &Shown, prepared: &Prepared, model: &dyn Model) -> Result<Map, AttributionError> {
        let (hub, request) = (self.hub, shown.view.map);
        if self.explained.replace(request.network) != Some(request.network) {
            // Turned kernels are as large as the weights: only those of the network on screen are kept.
            hub.networks.forget_gradients(request.network);
        }
        // Buffers that grade with all networks are as large as those of a map: they do not wait beside it.
        hub.networks.rest();
        let executor =
            model.executor(model.rows_at_once()).map_err(|error| AttributionError::Function(error.to_string()))?;
        let ticket = hub.reporter.begin("Map", 0);
        let mask: Arc<[bool]> = prepared.input.mask.as_slice().into();
        let map = |attribution: Attribution, finished| Map {
            request,
            attribution: Arc::new(attribution),
            mask: Arc::clone(&mask),
            pixel_map: prepared.input.map,
            precision: model.precision().name(),
            finished,
        };
        let mut hear = |update: Update| match update {
            Update::Gradients(taken) => ticket.done().store(taken, Ordering::Relaxed),
            Update::Map(attribution) if !shown.cancel.is_cancelled() => {
                ticket.expect(attribution.next.unwrap_or_default());
                hub.tell_of(&shown.list, Event::Map(shown.view.case, map(*attribution, false)));
                hub.set_stage(shown, Stage::Refining);
            }
            Update::Map(_) => {}
        };
        let Explanation { attribution, .. } = explain(executor, &prepared.input, &request, &shown.cancel, &mut hear)?;
        Ok(map(attribution, true))
    }
}
