//! Which pods need an image.

use shipway_oci::Digest;
use shipway_runtime::{Container, Containers, Status};

use crate::pod::{IMAGE_ID_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL};

/// Returns a pod, as `namespace/name`, that has a container of the image, running or ended.
///
/// What cannot be read is passed over: it is about to go, or has never been whole.
pub fn pod_of_image(containers: &Containers, image_id: &Digest) -> Option<String> {
    pod_with(containers, image_id, |_container| true)
}

/// Returns a pod, as `namespace/name`, in which a container of the image runs.
pub fn running_pod_of_image(containers: &Containers, image_id: &Digest) -> Option<String> {
    let runs = |container: &Container| container.state().is_ok_and(|state| state.status == Status::Running);
    pod_with(containers, image_id, runs)
}

fn pod_with(
    containers: &Containers,
    image_id: &Digest,
    is_meant: impl Fn(&Container) -> bool,
) -> Option<String> {
    let wanted = image_id.to_string();
    let all = containers.list().unwrap_or_default().into_iter();
    let user = all.filter_map(|container| {
        let labels = container.spec().ok()?.labels;
        (labels.get(IMAGE_ID_LABEL) == Some(&wanted) && is_meant(&container)).then_some(labels)
    });
    let user = user.into_iter().next()?;
    let text = |label: &str| user.get(label).map(String::as_str).unwrap_or_default();
    Some(format!("{}/{}", text(POD_NAMESPACE_LABEL), text(POD_NAME_LABEL)))
}

/// Returns the IDs of the images that containers of pods are of, running or ended.
pub fn images_of_pods(containers: &Containers) -> Vec<Digest> {
    let image_id = |container: Container| container.spec().ok()?.labels.get(IMAGE_ID_LABEL)?.parse().ok();
    containers.list().unwrap_or_default().into_iter().filter_map(image_id).collect()
}
