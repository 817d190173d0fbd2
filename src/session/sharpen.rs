//! The worker that brings the original of a picture on screen when a view comes closer than the picture is sharp.

use std::sync::Arc;

use super::Event;
use super::contained::contained;
use super::hub::Hub;

/// Works until the session ends.
pub fn run(hub: &Hub) {
    while let Some((list, case, picture)) = hub.next_reduced() {
        let whole = contained(|| picture.whole().map_err(|error| error.to_string()));
        hub.tell_of(
            &list,
            match whole.unwrap_or_else(|why| Err(why.to_owned())) {
                Ok(whole) => Event::Picture(case, Arc::new(whole)),
                Err(why) => Event::PictureFailed(case, why),
            },
        );
    }
}
