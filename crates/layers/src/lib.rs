//! Layers as mountable trees: import, commit, export, prepare.
#![forbid(unsafe_code)]
