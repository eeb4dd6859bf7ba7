use serde_json::{from_value, json};

use super::*;

fn deployment(replicas: i32, image: &str) -> Deployment {
    from_value(json!({
        "metadata": {"name": "web", "namespace": "ns", "uid": "d", "generation": 1},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    }))
    .unwrap()
}

fn now() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

/// A server that does what a plan says, and pods that become ready at once.
struct World {
    deployment: Deployment,
    sets: Vec<Arc<ReplicaSet>>,
    steps: Vec<String>,
    clock: i64,
}

impl World {
    fn new(deployment: Deployment) -> Self {
        Self { deployment, sets: Vec::new(), steps: Vec::new(), clock: 0 }
    }

    fn edit(&mut self, name: &str, edit: impl FnOnce(&mut ReplicaSet)) {
        let set = self.sets.iter_mut().find(|set| set.metadata.name.as_deref() == Some(name)).unwrap();
        edit(Arc::make_mut(set));
    }

    fn apply(&mut self, action: Action) {
        match action {
            Action::Create(mut set) => {
                self.clock += 1;
                set.metadata.creation_timestamp = Some(Timestamp::from_second(self.clock).unwrap().into());
                set.metadata.uid = Some(format!("uid{}", self.clock));
                self.steps.push(format!("create {}", wanted(&set)));
                self.sets.push(Arc::new(*set));
            }
            Action::Scale { name, from, to, annotations } => {
                self.steps.push(format!("scale {from} to {to}"));
                self.edit(&name, |set| {
                    set.spec.replicas = Some(to);
                    set.metadata.annotations.get_or_insert_default().extend(annotations);
                });
            }
            Action::Annotate { name, annotations } => {
                self.edit(&name, |set| set.metadata.annotations.get_or_insert_default().extend(annotations));
            }
            Action::SetRevision(number) => {
                let annotations = self.deployment.metadata.annotations.get_or_insert_default();
                annotations.insert(revision::REVISION.to_owned(), number.to_string());
            }
            Action::Delete(names) => {
                self.steps.push(format!("delete {}", names.len()));
                self.sets.retain(|set| !names.contains(&name(set)));
            }
            Action::SetStatus(status) => self.deployment.status = Some(*status),
        }
    }

    /// Lets every wanted pod be there and ready.
    fn pods_settle(&mut self) {
        for set in &mut self.sets {
            let set = Arc::make_mut(set);
            let size = set.spec.replicas.unwrap();
            let status = set.status.get_or_insert_default();
            status.replicas = size;
            status.ready_replicas = (size > 0).then_some(size);
            status.available_replicas = (size > 0).then_some(size);
        }
    }

    fn step(&mut self) -> usize {
        let plan = plan(
            &self.deployment,
            &self.sets,
            &|set| set.status.as_ref().is_some_and(|s| s.replicas > 0),
            now(),
        );
        let count = plan.actions.len();
        plan.actions.into_iter().for_each(|action| self.apply(action));
        count
    }

    fn settle(&mut self) {
        for _ in 0..50 {
            if self.step() == 0 {
                return;
            }
            self.pods_settle();
        }
        panic!("it never settles: {:?}", self.steps);
    }

    fn set_image(&mut self, image: &str) {
        let spec = &mut self.deployment.spec;
        spec.template.spec.as_mut().unwrap().containers[0].image = Some(image.to_owned());
        *self.deployment.metadata.generation.as_mut().unwrap() += 1;
    }

    fn sizes(&self) -> Vec<i32> {
        self.sets.iter().map(|set| wanted(set)).collect()
    }

    fn condition(&self, kind: &str) -> (String, String) {
        let conditions = self.deployment.status.as_ref().unwrap().conditions.as_ref().unwrap();
        let found = conditions.iter().find(|condition| condition.type_.as_deref() == Some(kind)).unwrap();
        (found.status.clone().unwrap(), found.reason.clone().unwrap())
    }
}

#[test]
fn the_first_rollout_makes_one_set_of_full_size() {
    let mut world = World::new(deployment(3, "a"));
    world.step();
    assert_eq!(world.steps, ["create 3"]);
    let set = &world.sets[0];
    let hash = &set.metadata.labels.as_ref().unwrap()[HASH_LABEL];
    assert_eq!(set.metadata.name, Some(format!("web-{hash}")));
    let spec = &set.spec;
    assert_eq!(spec.selector.match_labels.as_ref().unwrap()[HASH_LABEL], *hash);
    assert_eq!(
        spec.template.as_ref().unwrap().metadata.as_ref().unwrap().labels.as_ref().unwrap()[HASH_LABEL],
        *hash
    );
    let annotations = set.metadata.annotations.as_ref().unwrap();
    assert_eq!(
        (annotations[revision::DESIRED].as_str(), annotations[revision::MAXIMUM].as_str()),
        ("3", "4")
    );
    assert_eq!(annotations[revision::REVISION], "1");
    assert_eq!(world.condition("Available").0, "False");
    world.settle();
    assert_eq!(world.condition("Available"), ("True".to_owned(), "MinimumReplicasAvailable".to_owned()));
    assert_eq!(world.condition("Progressing"), ("True".to_owned(), "NewReplicaSetAvailable".to_owned()));
    let status = world.deployment.status.as_ref().unwrap();
    assert_eq!(
        (status.replicas, status.available_replicas, status.unavailable_replicas),
        (Some(3), Some(3), None)
    );
}

#[test]
fn reconciling_a_settled_deployment_changes_nothing() {
    let mut world = World::new(deployment(2, "a"));
    world.settle();
    assert_eq!(world.step(), 0);
}

#[test]
fn a_new_template_rolls_one_pod_at_a_time() {
    let mut world = World::new(deployment(2, "a"));
    world.settle();
    world.steps.clear();
    world.set_image("b");
    world.settle();
    let want = ["create 1", "scale 2 to 1", "scale 1 to 2", "scale 1 to 0"];
    assert_eq!(world.steps, want);
    assert_eq!(world.sizes(), [0, 2]);
    assert_eq!(world.deployment.metadata.annotations.as_ref().unwrap()[revision::REVISION], "2");
}

#[test]
fn a_rollback_takes_the_old_set_again_and_numbers_it_anew() {
    let mut world = World::new(deployment(1, "a"));
    world.settle();
    world.set_image("b");
    world.settle();
    world.set_image("a");
    world.settle();
    assert_eq!(world.sizes(), [1, 0]);
    let annotations = world.sets[0].metadata.annotations.as_ref().unwrap();
    assert_eq!(
        (annotations[revision::REVISION].as_str(), annotations[revision::HISTORY].as_str()),
        ("3", "1")
    );
    assert_eq!(world.deployment.metadata.annotations.as_ref().unwrap()[revision::REVISION], "3");
}

#[test]
fn a_broken_new_template_leaves_the_old_pods_alone() {
    let mut world = World::new(deployment(2, "a"));
    world.settle();
    world.set_image("b");
    for _ in 0..5 {
        world.step();
    }
    assert_eq!(world.sizes(), [2, 1]);
    assert_eq!(world.condition("Available").0, "True");
}

#[test]
fn recreate_waits_until_the_old_pods_are_gone() {
    let mut world = World::new(deployment(2, "a"));
    world.deployment.spec.strategy = Some(from_value(json!({"type": "Recreate"})).unwrap());
    world.settle();
    world.steps.clear();
    world.set_image("b");
    world.step();
    world.step();
    assert_eq!(world.steps, ["scale 2 to 0"], "their pods still run");
    world.pods_settle();
    world.settle();
    assert_eq!(world.steps, ["scale 2 to 0", "create 2"]);
}

#[test]
fn scaling_moves_the_only_set() {
    let mut world = World::new(deployment(1, "a"));
    world.settle();
    world.deployment.spec.replicas = Some(4);
    world.settle();
    assert_eq!(world.sizes(), [4]);
    world.deployment.spec.replicas = Some(0);
    world.settle();
    assert_eq!(world.sizes(), [0]);
    world.deployment.spec.replicas = Some(2);
    world.settle();
    assert_eq!(world.sizes(), [2]);
}

#[test]
fn a_paused_deployment_scales_but_does_not_roll() {
    let mut world = World::new(deployment(1, "a"));
    world.settle();
    world.deployment.spec.paused = Some(true);
    world.set_image("b");
    world.deployment.spec.replicas = Some(2);
    world.settle();
    assert_eq!(world.sizes(), [2]);
    assert_eq!(world.condition("Progressing").1, "DeploymentPaused");
    world.deployment.spec.paused = None;
    world.settle();
    assert_eq!(world.sizes(), [0, 2]);
    assert_eq!(world.condition("Progressing").1, "NewReplicaSetAvailable");
}

#[test]
fn old_sets_beyond_the_history_limit_go() {
    let mut world = World::new(deployment(1, "a"));
    world.deployment.spec.revision_history_limit = Some(1);
    for image in ["a", "b", "c", "d"] {
        world.set_image(image);
        world.settle();
    }
    assert_eq!(world.sizes(), [0, 1]);
}

#[test]
fn a_rollout_without_progress_is_called_off_after_its_deadline() {
    let mut world = World::new(deployment(1, "a"));
    world.deployment.spec.progress_deadline_seconds = Some(10);
    let first = plan(&world.deployment, &world.sets, &|_| false, now());
    first.actions.into_iter().for_each(|action| world.apply(action));
    let second = plan(&world.deployment, &world.sets, &|_| false, now());
    second.actions.into_iter().for_each(|action| world.apply(action));
    let later = now() + Duration::from_secs(11);
    let plan = plan(&world.deployment, &world.sets, &|_| false, later);
    assert_eq!(plan.requeue, Requeue::OnEvent);
    plan.actions.into_iter().for_each(|action| world.apply(action));
    assert_eq!(world.condition("Progressing"), ("False".to_owned(), "ProgressDeadlineExceeded".to_owned()));
}
