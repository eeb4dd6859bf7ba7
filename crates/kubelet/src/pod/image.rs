//! Which image a container runs, and in plain words why there is none.
//!
//! Images come from the store that the builder writes to, and from registries. A name that was given here and that no registry
//! has heard of means the image here, whatever the policy is: `Always` asks the registry only about what came from it.

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

/// Finds a container's image, and pulls it where the policy says so, with what `secrets` say of registries.
pub(crate) fn find(
    machine: &dyn Machine,
    name: &str,
    policy: Option<&str>,
    secrets: &[Vec<u8>],
) -> Result<Image, Trouble> {
    let is_pinned = name.contains('@');
    let problem = match (machine.resolve_image(name), policy) {
        (Ok(image), Some("Always")) if image.from_registry && !is_pinned => {
            match machine.pull_image(name, secrets) {
                Ok(image) => return Ok(image),
                Err(problem) => problem,
            }
        }
        (Ok(image), _) => return Ok(image),
        (Err(ImageProblem::Missing), policy) if policy != Some("Never") => {
            match machine.pull_image(name, secrets) {
                Ok(image) => return Ok(image),
                Err(problem) => problem,
            }
        }
        (Err(problem), _) => problem,
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
                "image \"{name}\" is not in the local store and nothing here pulls images; build it with \
                 `shipway build -t {name} .`"
            ),
        },
        ImageProblem::NotPulled(why) => Trouble {
            reason: "ErrImagePull",
            waiting: "ImagePullBackOff",
            message: format!(
                "image \"{name}\": {why}; if it is yours, build it with `shipway build -t {name} .`"
            ),
        },
        ImageProblem::Unreadable(why) => Trouble {
            reason: "ErrImagePull",
            waiting: "ImagePullBackOff",
            message: format!("image \"{name}\" could not be read from the local store: {why}"),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::fake::FakeMachine;

    #[test]
    fn the_policy_says_when_the_registry_is_asked() {
        const PINNED: &str = "web@sha256:00";
        for (name, image, here, there, policy, want) in [
            ("missing", "web", false, true, Some("IfNotPresent"), (Ok(()), 1)),
            ("missing, no policy", "web", false, true, None, (Ok(()), 1)),
            ("missing everywhere", "web", false, false, Some("Always"), (Err("ErrImagePull"), 1)),
            ("missing, never", "web", false, true, Some("Never"), (Err("ErrImageNeverPull"), 0)),
            ("here", "web", true, true, Some("IfNotPresent"), (Ok(()), 0)),
            ("here and there, always", "web", true, true, Some("Always"), (Ok(()), 1)),
            ("only here, always", "web", true, false, Some("Always"), (Ok(()), 0)),
            ("pinned, always", PINNED, true, true, Some("Always"), (Ok(()), 0)),
            ("here, never", "web", true, true, Some("Never"), (Ok(()), 0)),
        ] {
            let machine = FakeMachine::default();
            if here {
                machine.add_image(image);
            }
            if there {
                machine.add_to_registry(image);
            }
            let found = find(&machine, image, policy, &[]).map(drop).map_err(|trouble| trouble.reason);
            assert_eq!((found, machine.pulls()), want, "case {name}");
        }
    }
}
