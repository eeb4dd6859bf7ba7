//! What a container must not see and must not be able to do.

use shipway_runtime::{CapabilityProfile, Resources};

use crate::{Fixture, can_run};

#[test]
fn capabilities_are_dockers_and_nothing_is_inheritable() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let status =
        "while read name value; do case $name in Cap*) echo $name $value;; esac; done < /proc/self/status";
    let (_, output) = fixture.shell("root", status);
    let set = "00000000a80425fb";
    let none = "0000000000000000";
    assert_eq!(
        output,
        format!("CapInh: {none}\nCapPrm: {set}\nCapEff: {set}\nCapBnd: {set}\nCapAmb: {none}\n")
    );
    let mut spec = fixture.spec("user", &["sh", "-c", status]);
    spec.user = "web".to_owned();
    spec.capabilities = CapabilityProfile::Build;
    let (_, output) = fixture.run(&spec).unwrap();
    assert!(
        output.contains(&format!("CapEff: {none}\n")) && output.contains("CapBnd: 00000000800405fb"),
        "{output}"
    );
}

#[test]
fn the_kernels_files_are_masked_and_devices_denied() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let (_, output) = fixture.shell(
        "masks",
        "cat /proc/timer_list; echo x > /proc/sys/kernel/core_pattern; mknod /tmp/disk b 254 0 && dd if=/tmp/disk of=/dev/null count=1; echo x > /dev/null && echo null works; ls /sys/firmware",
    );
    assert!(output.contains("null works"), "{output}");
    assert!(output.matches("Read-only file system").count() == 1, "{output}");
    assert!(output.contains("/tmp/disk': Operation not permitted"), "{output}");
}

#[test]
fn no_descriptor_of_the_host_leaks_in() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let (_, output) = fixture.shell("descriptors", "ls /proc/1/fd; true");
    assert_eq!(output, "0\n1\n2\n");
    for number in 3..20 {
        let mut spec = fixture.spec(&format!("cwd{number}"), &["pwd"]);
        spec.cwd = format!("/proc/self/fd/{number}");
        assert!(fixture.run(&spec).is_err(), "descriptor {number}");
    }
}

#[test]
fn links_in_the_image_lead_nowhere_outside() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let outside = fixture.dir.path().join("outside");
    fs_err::create_dir(&outside).unwrap();
    for (name, link) in [("dev", "dev"), ("proc", "proc"), ("hosts", "etc/hosts")] {
        let image = fixture.image();
        drop(fs_err::remove_file(image.join(link)));
        std::os::unix::fs::symlink(&outside, image.join(link)).unwrap();
        // Whether it starts or is refused: nothing may appear outside.
        drop(fixture.run(&fixture.spec(name, &["true"])));
        fs_err::remove_file(image.join(link)).unwrap();
        assert_eq!(fs_err::read_dir(&outside).unwrap().count(), 0, "case {name}");
    }
}

#[test]
fn limits_hold_and_nothing_is_left_of_an_ended_container() {
    if !can_run() {
        return;
    }
    let fixture = Fixture::new();
    let mounts = || fs_err::read_to_string("/proc/self/mountinfo").unwrap().lines().count();
    let before = mounts();
    let mut spec =
        fixture.spec("pids", &["sh", "-c", "for i in 1 2 3 4 5 6 7 8 9; do sleep 5 & done; echo started"]);
    spec.resources = Resources { pids: Some(4), ..Resources::default() };
    let (_, output) = fixture.run(&spec).unwrap();
    assert!(output.contains("can't fork"), "{output}");
    assert_eq!(mounts(), before);
    let group = shipway_linux::Cgroup::at(&format!("{}/pids", spec.cgroup_parent));
    assert_eq!(group.processes(), Vec::<i32>::new());
}
