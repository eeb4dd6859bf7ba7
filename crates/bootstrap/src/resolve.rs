//! Which packages a base image needs.

use std::collections::{BTreeMap, VecDeque};

use crate::error::BootstrapError;
use crate::index::{Package, PackageIndex};
use crate::relation::{Relation, parse_relations};

/// Chosen if the archive has it: it says that the tree is merged already, where its alternative would bring Perl to do it.
const MERGED_MARKER: &str = "usr-is-merged";

/// Returns the essential packages, `wanted`, and all that they need, sorted by name.
///
/// Of alternatives one that is there already counts, else the first that can be had; of those that provide a virtual
/// package the one with the highest priority, then the first by name. Like apt's answer for an empty system, but for
/// recommendations, which a base image does without.
pub(crate) fn resolve<'a>(
    index: &'a PackageIndex,
    wanted: &[String],
) -> Result<Vec<&'a Package>, BootstrapError> {
    let mut resolver =
        Resolver { index, providers: index.providers(), chosen: BTreeMap::new(), queue: VecDeque::new() };
    let mut seeds: Vec<&Package> = index.packages().filter(|package| package.essential).collect();
    seeds.sort_by(|a, b| a.name.cmp(&b.name));
    seeds.extend(index.get(MERGED_MARKER));
    for name in wanted {
        let found = resolver.find(&Relation { name: name.clone(), constraint: None });
        seeds.push(found.ok_or_else(|| unresolvable(name, "the base image"))?);
    }
    for seed in seeds {
        resolver.choose(seed);
    }
    while let Some(package) = resolver.queue.pop_front() {
        for group in parse_relations(&package.pre_depends).iter().chain(&parse_relations(&package.depends)) {
            resolver.satisfy(group, &package.name)?;
        }
    }
    resolver.check_conflicts()?;
    Ok(resolver.chosen.into_values().collect())
}

fn unresolvable(what: &str, needed_by: &str) -> BootstrapError {
    BootstrapError::Unresolvable { what: what.to_owned(), needed_by: needed_by.to_owned() }
}

struct Resolver<'a> {
    index: &'a PackageIndex,
    providers: crate::index::Providers,
    chosen: BTreeMap<&'a str, &'a Package>,
    queue: VecDeque<&'a Package>,
}

impl<'a> Resolver<'a> {
    fn choose(&mut self, package: &'a Package) {
        if self.chosen.insert(&package.name, package).is_none() {
            self.queue.push_back(package);
        }
    }

    fn satisfy(&mut self, group: &[Relation], needed_by: &str) -> Result<(), BootstrapError> {
        if group.iter().any(|relation| self.is_satisfied(relation)) {
            return Ok(());
        }
        let found = group.iter().find_map(|relation| self.find(relation));
        let found = found.ok_or_else(|| {
            let texts: Vec<String> = group.iter().map(ToString::to_string).collect();
            unresolvable(&texts.join(" | "), needed_by)
        })?;
        self.choose(found);
        Ok(())
    }

    fn is_satisfied(&self, relation: &Relation) -> bool {
        let itself = self.chosen.get(relation.name.as_str());
        if itself.is_some_and(|package| relation.accepts(Some(&package.version))) {
            return true;
        }
        let providers = self.providers.get(&relation.name).map(Vec::as_slice).unwrap_or_default();
        providers.iter().any(|(name, version)| {
            self.chosen.contains_key(name.as_ref()) && relation.accepts(version.as_deref())
        })
    }

    fn find(&self, relation: &Relation) -> Option<&'a Package> {
        let itself = self.index.get(&relation.name);
        if let Some(package) = itself.filter(|package| relation.accepts(Some(&package.version))) {
            return Some(package);
        }
        let providers = self.providers.get(&relation.name)?;
        let fitting = providers.iter().filter(|(_, version)| relation.accepts(version.as_deref()));
        let packages = fitting.filter_map(|(name, _)| self.index.get(name));
        packages.min_by_key(|package| (priority_rank(&package.priority), package.name.as_str()))
    }

    fn check_conflicts(&self) -> Result<(), BootstrapError> {
        for package in self.chosen.values() {
            let both =
                parse_relations(&package.conflicts).into_iter().chain(parse_relations(&package.breaks));
            for relation in both.flatten() {
                let other = self.chosen.get(relation.name.as_str());
                let hit = other
                    .filter(|other| other.name != package.name && relation.accepts(Some(&other.version)));
                if let Some(other) = hit {
                    let what = format!("{}, which {} does not go with", other.name, package.name);
                    return Err(unresolvable(&what, "the base image"));
                }
            }
        }
        Ok(())
    }
}

fn priority_rank(priority: &str) -> usize {
    let known = ["required", "important", "standard", "optional", "extra"];
    known.iter().position(|name| *name == priority).unwrap_or(known.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::tests::{index_of, paragraph};

    fn names(paragraphs: &[String], wanted: &[&str]) -> Result<Vec<String>, String> {
        let index = index_of(paragraphs);
        let wanted: Vec<String> = wanted.iter().map(|name| (*name).to_owned()).collect();
        let found = resolve(&index, &wanted).map_err(|error| error.to_string())?;
        Ok(found.iter().map(|package| package.name.clone()).collect())
    }

    #[test]
    fn essential_and_wanted_packages_come_with_what_they_need() {
        let archive = [
            paragraph("base", "1", "Essential: yes\nPre-Depends: awk\nDepends: libc (>= 2)\n"),
            paragraph("libc", "2.1", ""),
            paragraph("gawk", "1", "Provides: awk\nPriority: optional\n"),
            paragraph("mawk", "1", "Provides: awk\nPriority: required\n"),
            paragraph("apt", "1", "Depends: keyring | other, base\nRecommends: extra\n"),
            paragraph("other", "1", ""),
            paragraph("extra", "1", ""),
        ];
        assert_eq!(names(&archive, &["apt"]).unwrap(), ["apt", "base", "libc", "mawk", "other"]);
    }

    #[test]
    fn an_alternative_that_is_there_already_counts() {
        let archive = [
            paragraph("init", "1", "Essential: yes\nDepends: usrmerge | usr-is-merged\n"),
            paragraph("usrmerge", "1", "Depends: perl\n"),
            paragraph("usr-is-merged", "1", ""),
            paragraph("perl", "1", ""),
        ];
        assert_eq!(names(&archive, &[]).unwrap(), ["init", "usr-is-merged"]);
    }

    #[test]
    fn versions_bound_what_is_provided() {
        let provided = |version: &str| {
            [
                paragraph("a", "1", "Essential: yes\nDepends: api (>= 2)\n"),
                paragraph("b", "9", &format!("Provides: api{version}\n")),
            ]
        };
        assert_eq!(names(&provided(" (= 2.1)"), &[]).unwrap(), ["a", "b"]);
        for (name, version) in [("too old", " (= 1)"), ("without version", "")] {
            let error = names(&provided(version), &[]).unwrap_err();
            assert!(error.contains("api (>= 2)"), "case {name}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_had_is_named_with_who_needs_it() {
        let archive =
            [paragraph("a", "1", "Essential: yes\nDepends: b | c (<< 1)\n"), paragraph("c", "1", "")];
        let error = names(&archive, &[]).unwrap_err();
        assert!(error.contains("b | c (<< 1)") && error.contains('a'), "{error}");
        assert!(names(&archive[1..], &["nothing"]).unwrap_err().contains("nothing"));
        let archive =
            [paragraph("a", "1", "Essential: yes\nConflicts: b\n"), paragraph("b", "1", "Essential: yes\n")];
        assert!(names(&archive, &[]).unwrap_err().contains('b'));
    }
}
