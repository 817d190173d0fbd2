//! Work comes in that one photograph can make fail; what it gives goes out, or the words for why it gives nothing.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// What `work` gives. A panic is the fault of what it works on, and no reason to end: the error is what to say of that.
pub fn contained<R>(work: impl FnOnce() -> R) -> Result<R, &'static str> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|_| "the program failed on it, which is a defect")
}
