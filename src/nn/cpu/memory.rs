//! Memory that is no longer used goes back to the system.

/// Bytes from which on a list gets pages of its own, which go back as soon as it is dropped.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGE: i32 = 1 << 20;

/// Gives back what the heap holds and nobody uses, and keeps large lists out of it from now on: glibc keeps the gaps that hundreds
/// of megabytes of kernels leave when they have been packed, and raises what it takes for large whenever such a list is dropped.
/// Elsewhere there is nothing to do.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: both take numbers and touch only what nobody has; the first is for lists to come.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
        libc::malloc_trim(0);
    }
}
