//! Which image a container runs, and in plain words why there is none.
//!
//! Images come from the store that the builder writes to. `Always` means that the name is looked up again at each start, and
//! the store is where it is looked up first; there is no registry client yet, so a name that is not in the store is an error
//! that says what to type.

use crate::machine::{Image, ImageProblem, Machine};

/// Why a container has no image, as its status shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    /// The first reason.
    pub reason: &'static str,
    /// The reason while it waits for the next look.
    pub waiting: &'static str,
    /// What is missing and what to do.
    pub message: String,
}

/// Finds a container's image; also says whether it would have been pulled upstream.
pub(crate) fn find(machine: &dyn Machine, name: &str, policy: Option<&str>) -> Result<Image, Trouble> {
    let problem = match machine.resolve_image(name) {
        Ok(image) => return Ok(image),
        Err(problem) => problem,
    };
    let never = policy == Some("Never");
    Err(match problem {
        ImageProblem::InvalidName(why) => Trouble {
            reason: "InvalidImageName",
            waiting: "InvalidImageName",
            message: format!("image \"{name}\" is not a valid name: {why}"),
        },
        ImageProblem::Missing if never => Trouble {
            reason: "ErrImageNeverPull",
            waiting: "ErrImageNeverPull",
            message: format!(
                "image \"{name}\" is not in the local store and imagePullPolicy is Never; build it with \
                 `shipway build -t {name} .`"
            ),
        },
        ImageProblem::Missing => Trouble {
            reason: "ErrImagePull",
            waiting: "ImagePullBackOff",
            message: format!(
                "image \"{name}\" is not in the local store and pulling from registries is not available yet; build it \
                 with `shipway build -t {name} .`"
            ),
        },
        ImageProblem::Unreadable(why) => Trouble {
            reason: "ErrImagePull",
            waiting: "ImagePullBackOff",
            message: format!("image \"{name}\" could not be read from the local store: {why}"),
        },
    })
}
