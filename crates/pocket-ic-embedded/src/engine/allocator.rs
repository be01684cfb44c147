//! Memory that is no longer used, but that the allocator still holds.

/// Returns unused memory to the system, where the allocator does not do so on its own.
///
/// The compiler temporarily uses hundreds of times the size of a module, on several threads; glibc keeps the memory
/// that they free.
pub(super) fn return_unused_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` has no preconditions, and other threads may allocate at the same time.
    unsafe {
        libc::malloc_trim(0);
    }
}
