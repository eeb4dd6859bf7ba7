//! Network namespaces, addresses, published ports, firewall rules.
#![forbid(unsafe_code)]
