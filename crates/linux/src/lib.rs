//! Kernel calls; the only crate with `unsafe`.
//!
//! Every other crate reaches the kernel through the safe functions here. Nothing in it decides policy: it
//! makes one call, or one short sequence that belongs together, and says which step failed. The processor's instructions for SHA-256
//! are here too, for the same reason.
#![expect(unsafe_code, reason = "the one crate that talks to the kernel")]

mod caps;
mod cgroup;
mod connect;
mod descriptors;
mod device_filter;
mod early;
mod entries;
mod fresh;
mod hidden_input;
mod index_mount;
mod inherited;
mod inotify;
mod interrupt;
mod keyring;
mod listen;
mod manager_group;
mod mount;
mod mount_attr;
mod netlink;
mod netns;
pub mod nft;
mod overlay;
mod parents;
mod power_cut;
mod process;
mod program;
mod read;
mod root;
mod seal;
mod sha256;
mod surroundings;
mod sync;
mod syscall_filter;
mod terminal;

pub use caps::Capabilities;
pub use cgroup::{Cgroup, Limits};
pub use connect::connect_tcp;
pub use descriptors::{receive_descriptor, send_descriptor};
pub use early::EarlyFile;
pub use fresh::{Attributes, set_modified};
pub use hidden_input::HiddenInput;
pub use index_mount::{INDEX_DATA, can_mount_indexes, mount_index};
pub use inherited::{forget_caller, hear_of_children, reset_signals};
pub use inotify::Inotify;
pub use interrupt::{Interrupts, Signals, take_signals};
pub use keyring::{forget_secret, keep_secret, kept_secret};
pub use listen::listen_tcp;
pub use manager_group::OwnGroup;
pub use mount::{
    MountAttributes, attach, clone_at, clone_tree, detach, make_all_private, new_filesystem, open_path,
    pivot_into,
};
pub use mount_attr::set_read_only;
pub use netlink::{InterfaceAddress, Link, NetlinkError, Route, RouteSocket, Veth};
pub use netns::{NetworkNamespace, forget_private_mounts, keep_mounts_private};
pub use overlay::{MAX_LOWERS, Overlay};
pub use parents::Parents;
pub use power_cut::cut_power;
pub use process::{
    CONTAINER_NAMESPACES, Ended, Forked, Namespaces, PROCESS_NAMESPACE, become_subreaper, change_directory,
    close_others_on_exec, die_with_parent, execute, exit_now, fork_into, join_namespace, keep_on_exec,
    kernel_working_directory, new_cgroup_namespace, new_session, no_new_privileges, open_parent, open_pidfd,
    replace_standard, set_hostname, set_ids, signal_pidfd, spawn_bound, wait_end, wait_for, wait_pidfd,
};
pub use program::forget_code;
pub use read::read_cached_at;
pub use root::{Kind, Metadata, Root, xattrs_of};
pub use rustix::fs::OFlags as OpenFlags;
pub use seal::ensure_sealed;
pub use sha256::{Sha256Lane, sha256_two};
pub use surroundings::{
    enable_loopback, is_in_proc, is_limit, is_root, limit, limit_open_files, own_ids, set_umask, since_boot,
    spread_directories, wait_readable,
};
pub use sync::{
    exchange, filesystem_magic, free_bytes, free_files, is_read_only, rename_new, reserve_bytes,
    sync_directory, sync_filesystem, total_bytes,
};
pub use syscall_filter::{ArgumentTest, FilterAction, FilterRule, SyscallFilter};
pub use terminal::{
    RawTerminal, WindowSize, control_terminal, give_to, set_nonblocking, set_window_size, terminal_peer,
    window_size,
};
