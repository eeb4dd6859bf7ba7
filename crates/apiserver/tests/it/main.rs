//! The server as its clients see it, called in-process.

mod access;
mod cluster;
mod deleting;
mod patching;
mod reading;
mod watching;
mod writing;
