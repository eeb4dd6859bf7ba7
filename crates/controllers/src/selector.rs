//! Label selectors.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

/// Labels as objects carry them.
pub(crate) type Labels = BTreeMap<String, String>;

/// Returns whether `labels` satisfy `selector`; an unknown operator matches nothing.
pub(crate) fn matches(selector: &LabelSelector, labels: Option<&Labels>) -> bool {
    let value = |key: &str| labels.and_then(|labels| labels.get(key));
    let equal = selector.match_labels.iter().flatten().all(|(key, wanted)| value(key) == Some(wanted));
    equal
        && selector.match_expressions.iter().flatten().all(|rule| {
            let values = rule.values.as_deref().unwrap_or_default();
            matches_rule(&rule.operator, values, value(&rule.key))
        })
}

/// Returns whether one value satisfies one rule.
pub(crate) fn matches_rule(operator: &str, values: &[String], found: Option<&String>) -> bool {
    let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
    match operator {
        "In" => found.is_some_and(|found| values.contains(found)),
        "NotIn" => found.is_none_or(|found| !values.contains(found)),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => number(found).zip(number(values.first())).is_some_and(|(found, wanted)| found > wanted),
        "Lt" => number(found).zip(number(values.first())).is_some_and(|(found, wanted)| found < wanted),
        _ => false,
    }
}

/// Returns whether all of `wanted` are in `labels`.
pub(crate) fn matches_map(wanted: &Labels, labels: Option<&Labels>) -> bool {
    wanted.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;

    use super::*;

    #[test]
    fn selectors_match_as_upstream() {
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let rule = |operator: &str, values: &[&str]| LabelSelector {
            match_labels: None,
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: "app".to_owned(),
                operator: operator.to_owned(),
                values: Some(values.iter().map(ToString::to_string).collect()),
            }]),
        };
        let equal = |value: &str| LabelSelector {
            match_labels: Some(Labels::from([("app".to_owned(), value.to_owned())])),
            match_expressions: None,
        };
        let cases = [
            ("empty selects all", LabelSelector::default(), true),
            ("equal", equal("web"), true),
            ("unequal", equal("db"), false),
            ("in", rule("In", &["web", "db"]), true),
            ("not in", rule("NotIn", &["web"]), false),
            ("exists", rule("Exists", &[]), true),
            ("absent", rule("DoesNotExist", &[]), false),
            ("unknown operator", rule("Like", &["w*"]), false),
        ];
        for (name, selector, want) in cases {
            assert_eq!(matches(&selector, Some(&labels)), want, "case {name}");
        }
    }
}
