//! The worker that brings the original of a picture on screen when a view comes closer than the picture is sharp.

use std::sync::Arc;

use super::Event;
use super::hub::Hub;

/// Works until the session ends.
pub fn run(hub: &Hub) {
    while let Some((list, case, picture)) = hub.next_reduced() {
        hub.skip_on_panic(&list, case, || match picture.whole() {
            Ok(whole) => hub.tell_of(&list, Event::Picture(case, Arc::new(whole))),
            Err(error) => hub.skip(&list, case, error.to_string()),
        });
    }
}
