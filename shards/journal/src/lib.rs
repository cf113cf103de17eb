//! A segmented, group-committed journal on O_DIRECT files.
