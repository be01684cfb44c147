//! Memory that the compiler used and the allocator still holds.

/// Gives memory that is not in use back to the system, where the allocator does not do so by itself.
///
/// The compiler takes hundreds of times the size of a module for a moment, on several threads; glibc keeps what they free.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: it has no preconditions, and other threads may allocate meanwhile.
    unsafe {
        libc::malloc_trim(0);
    }
}
