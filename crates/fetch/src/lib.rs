//! HTTP for everything that downloads: proxy, host CA, budgets, retry.
#![forbid(unsafe_code)]
