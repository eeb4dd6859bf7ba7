//! Who makes a request.

/// An authenticated user. Put it into a request's extensions to call the router in-process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Name, such as `system:serviceaccount:default:default`.
    pub user: String,
    /// Groups, without `system:authenticated`.
    pub groups: Vec<String>,
}

impl Identity {
    /// The administrator: everything is allowed.
    pub fn admin() -> Self {
        Self { user: "shipway-admin".to_owned(), groups: vec!["system:masters".to_owned()] }
    }

    /// The controllers of the cluster.
    pub fn controllers() -> Self {
        Self { user: "system:kube-controller-manager".to_owned(), groups: Vec::new() }
    }

    /// The kubelet of a node.
    pub fn node(name: &str) -> Self {
        Self { user: format!("system:node:{name}"), groups: vec!["system:nodes".to_owned()] }
    }

    /// A service account.
    pub fn service_account(namespace: &str, name: &str) -> Self {
        Self {
            user: format!("system:serviceaccount:{namespace}:{name}"),
            groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        }
    }

    /// Nobody: may ask whether the server is alive.
    pub fn anonymous() -> Self {
        Self { user: "system:anonymous".to_owned(), groups: vec!["system:unauthenticated".to_owned()] }
    }

    /// Whether nobody has proven who this is.
    pub fn is_anonymous(&self) -> bool {
        self.user == "system:anonymous"
    }

    /// Whether this is a member of `group`.
    pub fn is_in(&self, group: &str) -> bool {
        (group == "system:authenticated" && !self.is_anonymous()) || self.groups.iter().any(|g| g == group)
    }
}
