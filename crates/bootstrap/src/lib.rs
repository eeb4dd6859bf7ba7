//! A base image straight from a distribution's signed package archive.
#![forbid(unsafe_code)]
