//! Tests of the whole program.
#![forbid(unsafe_code)]

mod layers;
mod newcomer;
