//! Relations between packages: `Depends`, `Provides`, `Conflicts`.

use std::cmp::Ordering;

use crate::version;

/// One alternative of a dependency, such as `libc6 (>= 2.36)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Relation {
    pub(crate) name: String,
    pub(crate) constraint: Option<Constraint>,
}

/// A bound on the version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Constraint {
    operator: Operator,
    version: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Earlier,
    EarlierOrEqual,
    Equal,
    LaterOrEqual,
    Later,
}

impl Relation {
    /// Whether a package of this name with `version` is meant. `None` is a name provided without version.
    pub(crate) fn accepts(&self, version: Option<&str>) -> bool {
        match (&self.constraint, version) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(constraint), Some(version)) => constraint.accepts(version),
        }
    }
}

impl std::fmt::Display for Relation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)?;
        match &self.constraint {
            Some(constraint) => write!(f, " ({} {})", constraint.operator.text(), constraint.version),
            None => Ok(()),
        }
    }
}

impl Constraint {
    fn accepts(&self, version: &str) -> bool {
        let order = version::compare(version, &self.version);
        match self.operator {
            Operator::Earlier => order == Ordering::Less,
            Operator::EarlierOrEqual => order != Ordering::Greater,
            Operator::Equal => order == Ordering::Equal,
            Operator::LaterOrEqual => order != Ordering::Less,
            Operator::Later => order == Ordering::Greater,
        }
    }

    /// Returns the version of `(= version)`, which is how a package says what it provides.
    pub(crate) fn exact(&self) -> Option<&str> {
        (self.operator == Operator::Equal).then_some(self.version.as_str())
    }
}

impl Operator {
    fn text(self) -> &'static str {
        match self {
            Self::Earlier => "<<",
            Self::EarlierOrEqual => "<=",
            Self::Equal => "=",
            Self::LaterOrEqual => ">=",
            Self::Later => ">>",
        }
    }
}

/// Parses `a, b | c (>= 1)`: all of the outer list, any of an inner one. What cannot be read is left out.
pub(crate) fn parse_relations(text: &str) -> Vec<Vec<Relation>> {
    let groups = text.split(',').map(|group| group.split('|').filter_map(parse_relation).collect::<Vec<_>>());
    groups.filter(|group| !group.is_empty()).collect()
}

/// Spec: Debian Policy section 7.1. The architecture qualifier (`:any`) does not matter in a system of one architecture.
fn parse_relation(text: &str) -> Option<Relation> {
    let (name, constraint) = match text.split_once('(') {
        Some((name, rest)) => (name, Some(parse_constraint(rest.split(')').next()?)?)),
        None => (text, None),
    };
    let name = name.split(['[', '<']).next()?.trim();
    let name = name.split(':').next()?;
    (!name.is_empty()).then(|| Relation { name: name.to_owned(), constraint })
}

fn parse_constraint(text: &str) -> Option<Constraint> {
    let text = text.trim();
    let digits = text.find(|c: char| !matches!(c, '<' | '>' | '='))?;
    let (operator, version) = text.split_at(digits);
    let operator = match operator {
        "<<" => Operator::Earlier,
        "<=" | "<" => Operator::EarlierOrEqual,
        "=" => Operator::Equal,
        ">=" | ">" => Operator::LaterOrEqual,
        ">>" => Operator::Later,
        _ => return None,
    };
    Some(Constraint { operator, version: version.trim().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relations_are_read_as_policy_writes_them() {
        let groups = parse_relations("libc6 (>= 2.36), awk | mawk:any (<< 2) , perl:any, ,x(=1)");
        let texts: Vec<Vec<String>> =
            groups.iter().map(|group| group.iter().map(ToString::to_string).collect()).collect();
        assert_eq!(
            texts,
            [vec!["libc6 (>= 2.36)"], vec!["awk", "mawk (<< 2)"], vec!["perl"], vec!["x (= 1)"]]
        );
    }

    #[test]
    fn constraints_compare_versions() {
        for (constraint, version, want) in [
            ("a", Some("1"), true),
            ("a", None, true),
            ("a (>= 1)", None, false),
            ("a (>= 1)", Some("1"), true),
            ("a (>> 1)", Some("1"), false),
            ("a (<< 1)", Some("1~rc"), true),
            ("a (<= 1)", Some("1.1"), false),
            ("a (= 1)", Some("1-0"), true),
        ] {
            let groups = parse_relations(constraint);
            assert_eq!(groups[0][0].accepts(version), want, "{constraint} and {version:?}");
        }
    }
}
