//! A worker of the background: what comes next, the rows in sight, the rest of the list.

use std::sync::Arc;

use super::board::{Job, List, Task};
use super::hub::Hub;
use crate::fundus::Listing;

/// Works until the session ends.
pub fn run(hub: &Hub) {
    let (mut listing, mut listing_of) = (Listing::default(), Arc::<List>::default());
    while let Some(job) = hub.next_job() {
        if !Arc::ptr_eq(&listing_of, &job.list) {
            (listing, listing_of) = (Listing::default(), Arc::clone(&job.list));
        }
        hub.skip_on_panic(&job.list, job.case, || work(hub, &job, &mut listing));
        hub.release(&job.list, job.case);
    }
}

fn work(hub: &Hub, job: &Job, listing: &mut Listing) {
    if !hub.stand_back(job) {
        return;
    }
    if job.task == Task::Grade {
        hub.count_graded();
    }
    let Some(loaded) = hub.load(&job.list, job.case, job.task == Task::Prefetch, listing) else { return };
    if job.task == Task::Thumbnail {
        hub.give_thumbnail(&job.list, job.case, &loaded.prepared);
        return;
    }
    // The photograph's pixels are let go before waiting for the networks: the caches hold what is kept of them.
    let prepared = loaded.prepared;
    drop(loaded.picture);
    let settled = hub.networks.settled();
    let go_on = || {
        let goes_on = hub.stand_back(job);
        if hub.is_refining() {
            // Beside a map that gets sharper the buffers of one network must do.
            hub.networks.rest();
        }
        goes_on
    };
    let assessment = hub.assess(&prepared, &go_on);
    if !job.list.cancel.is_cancelled() {
        hub.tell_assessment(&job.list, job.case, assessment.map(Arc::new).as_ref(), settled);
    }
}
