//! OCI bundle to process; the shim; exec; logs.
#![forbid(unsafe_code)]
