//! Which pods need an image.

use shipway_oci::Digest;
use shipway_runtime::Containers;

use crate::pod::{IMAGE_ID_LABEL, POD_NAME_LABEL, POD_NAMESPACE_LABEL};

/// Returns a pod, as `namespace/name`, that has a container of the image, running or ended.
///
/// What cannot be read is passed over: it is about to go, or has never been whole.
pub fn pod_of_image(containers: &Containers, image_id: &Digest) -> Option<String> {
    let wanted = image_id.to_string();
    let labels = |container: shipway_runtime::Container| Some(container.spec().ok()?.labels);
    let all = containers.list().unwrap_or_default().into_iter().filter_map(labels);
    let user = all.into_iter().find(|labels| labels.get(IMAGE_ID_LABEL) == Some(&wanted))?;
    let text = |label: &str| user.get(label).map(String::as_str).unwrap_or_default();
    Some(format!("{}/{}", text(POD_NAMESPACE_LABEL), text(POD_NAME_LABEL)))
}

/// Returns the IDs of the images that containers of pods are of, running or ended.
pub fn images_of_pods(containers: &Containers) -> Vec<Digest> {
    let image_id = |container: shipway_runtime::Container| {
        container.spec().ok()?.labels.get(IMAGE_ID_LABEL)?.parse().ok()
    };
    containers.list().unwrap_or_default().into_iter().filter_map(image_id).collect()
}
