//! Memory that is no longer used goes back to the system.

/// Gives back what the heap holds and nobody uses: glibc keeps the gaps that hundreds of megabytes of kernels leave when
/// they have been packed. Elsewhere there is nothing to do.
pub fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it takes a number and touches only what nobody has.
    unsafe {
        libc::malloc_trim(0);
    }
}
