//! Text to spanned Dockerfile instructions.
#![forbid(unsafe_code)]
