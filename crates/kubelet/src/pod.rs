//! One pod: what is known of it, what to do next, what to say of it, and the worker that does it.

mod back_off;
mod environment;
pub(crate) mod files;
mod image;
mod order;
mod plan;
mod record;
mod status;
mod worker;

pub(crate) use environment::{Facts, Sources, expand, field, resource_field};
pub(crate) use order::{
    IMAGE_ID as IMAGE_ID_LABEL, POD_NAME as POD_NAME_LABEL, POD_NAMESPACE as POD_NAMESPACE_LABEL,
    ROOT as ROOT_LABEL, bind, group,
};
pub(crate) use record::State;
pub(crate) use worker::{Command, Context, View, Worker};
