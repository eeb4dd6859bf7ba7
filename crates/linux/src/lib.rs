//! Kernel calls; the only crate with `unsafe`.
//!
//! Every other crate reaches the kernel through the safe functions here. Nothing in it decides policy: it
//! makes one call, or one short sequence that belongs together, and says which step failed.
