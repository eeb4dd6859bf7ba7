//! Streams as clients see them: through the server, over connections made of memory.

mod cut;
mod exec;
#[path = "../../tests/it/fake_node.rs"]
mod fake_node;
mod forward;
mod limits;
mod log;
mod support;
